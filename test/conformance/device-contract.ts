/** What `devices/device.ts` promises, as tests that any device must pass. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ByteSource, memoryBytes } from '../../src/base/bytes.ts';
import { type ErrorCode, IngotError, isIngotError } from '../../src/base/errors.ts';
import type { Device, DeviceBuffer } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Program } from '../../src/ir/program.ts';
import { type DimValues, tensor } from '../../src/ir/types.ts';
import { encodableFormat } from '../../src/numerics/quant/formats.ts';

const T = { sym: 'T', max: 8 } as const;
const forever = Number.POSITIVE_INFINITY;
const none: ReadonlyMap<string, DeviceBuffer> = new Map();

function fails(code: ErrorCode, names: RegExp = /./): (error: unknown) => boolean {
  return (error) => isIngotError(error, code) && names.test(error.message);
}

function floats(view: ArrayBufferView | undefined): number[] {
  assert.ok(view !== undefined, 'the result is there');
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return [...new Float32Array(bytes.slice().buffer)];
}

/** y = x w^T + 1 */
function affine(): Program {
  return new ProgramBuilder().program(
    [
      { name: 'x', type: tensor('f32', [T, 3]), role: 'input' },
      { name: 'w', type: tensor('f32', [2, 3]), role: 'weight' },
    ],
    (b, { x, w }) => ({ y: b.add(b.dot(x, w, { contract: [[1, 1]] }), b.full('f32', [T, 2], 1)) }),
  );
}

/** Row `at` of the state becomes the input, by way of a called function; the sum of all rows as they were before. */
function store(rows: number): Program {
  const builder = new ProgramBuilder();
  const [pool, at, row] = [tensor('f32', [rows, 4]), tensor('i32', [1]), tensor('f32', [1, 4])];
  const put = builder.define('put', [pool, at, row], (b, p, i, r) => [b.put(p, i, r)]);
  return builder.program(
    [
      { name: 'pool', type: pool, role: 'state' },
      { name: 'at', type: at, role: 'input' },
      { name: 'row', type: row, role: 'input' },
    ],
    (b, values) => ({
      sum: b.reduce('add', values.pool, 0, [0]),
      next: b.call(put, [values.pool, values.at, values.row])[0],
    }),
    { next: 'pool' },
  );
}

/** state = state + 1, in a loop that never ends if `endless`. */
function count(endless: boolean): Program {
  return new ProgramBuilder().program(
    [{ name: 'n', type: tensor('f32', [2]), role: 'state' }],
    (b, { n }) => {
      const step = b.add(n, b.full('f32', [2], 1));
      if (!endless) return { next: step };
      return {
        next: b.while(
          [step],
          (inner) => inner.scalar('i1', true),
          (_, value) => [value],
        )[0],
      };
    },
    { next: 'n' },
  );
}

async function runOnce(
  device: Device,
  program: Program,
  inputs: Readonly<Record<string, ArrayBufferView>> = {},
  state: ReadonlyMap<string, DeviceBuffer> = none,
  dims: DimValues = {},
) {
  using executable = await device.compile(program);
  using bound = await device.bind(executable, none, state);
  return device.wait(device.submit(bound, new Map(Object.entries(inputs)), dims), forever);
}

export function testDeviceContract(name: string, create: () => Device): void {
  const contract = (what: string, body: (device: Device) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      await using device = create();
      await body(device);
    });

  contract('one executable runs with any value of a symbolic dimension, zero included', async (device) => {
    using executable = await device.compile(affine());
    using w = await device.allocate(tensor('f32', [2, 3]), 'weights');
    device.write(w, Float32Array.of(1, 2, 3, -1, -2, -3));
    using bound = await device.bind(executable, new Map([['w', w]]), none);
    for (const rows of [1, 5, 8, 0, 1]) {
      const x = Float32Array.from({ length: 3 * rows }, (_, i) => i);
      const results = await device.wait(device.submit(bound, new Map([['x', x]]), { T: rows }), forever);
      const dots = Array.from({ length: rows }, (_, r) => x[3 * r] + 2 * x[3 * r + 1] + 3 * x[3 * r + 2]);
      assert.deepEqual(
        floats(results.get('y')),
        dots.flatMap((dot) => [1 + dot, 1 - dot]),
      );
    }
  });

  contract('submit takes over the inputs, and their bytes may be reused', async (device) => {
    using executable = await device.compile(affine());
    using w = await device.allocate(tensor('f32', [2, 3]), 'weights');
    device.write(w, Float32Array.of(1, 0, 0, 0, 1, 0));
    using bound = await device.bind(executable, new Map([['w', w]]), none);
    const x = Float32Array.of(10, 20, 30);
    const first = device.submit(bound, new Map([['x', x]]), { T: 1 });
    x.set([1, 2, 3]);
    const second = device.submit(bound, new Map([['x', x]]), { T: 1 });
    x.fill(0);
    assert.deepEqual(floats((await device.wait(first, forever)).get('y')), [11, 21]);
    assert.deepEqual(floats((await device.wait(second, forever)).get('y')), [2, 3]);
    await assert.rejects(device.wait(second, forever), fails('InvalidArgument'), 'a ticket is waited for once');
  });

  contract('state is zero at first, updated by runs, and shared by executables', async (device) => {
    using pool = await device.allocate(tensor('f32', [3, 4]), 'state');
    using writes = await device.compile(store(3));
    using again = await device.compile(store(3));
    const state = new Map([['pool', pool]]);
    using one = await device.bind(writes, none, state);
    using two = await device.bind(again, none, state);
    const inputs = (at: number, value: number) =>
      new Map<string, ArrayBufferView>([
        ['at', Int32Array.of(at)],
        ['row', new Float32Array(4).fill(value)],
      ]);
    const tickets = [
      device.submit(one, inputs(0, 1), {}),
      device.submit(two, inputs(2, 5), {}),
      device.submit(one, inputs(7, 9), {}),
    ];
    const sums = [];
    for (const ticket of tickets) sums.push(floats((await device.wait(ticket, forever)).get('sum'))[0]);
    assert.deepEqual(sums, [0, 1, 6], 'each run sees what those before it wrote');
    assert.deepEqual(floats(await device.read(pool)), [1, 1, 1, 1, 0, 0, 0, 0, 5, 5, 5, 5]);
  });

  contract('results that are state are not returned', async (device) => {
    using n = await device.allocate(tensor('f32', [2]), 'state');
    const results = await runOnce(device, count(false), {}, new Map([['n', n]]));
    assert.deepEqual([...results.keys()], []);
    assert.deepEqual(floats(await device.read(n)), [1, 1]);
  });

  contract('write and read are ordered with runs', async (device) => {
    using n = await device.allocate(tensor('f32', [2]), 'state');
    using executable = await device.compile(count(false));
    using bound = await device.bind(executable, none, new Map([['n', n]]));
    const first = device.submit(bound, new Map(), {});
    device.write(n, Float32Array.of(100), 4);
    const second = device.submit(bound, new Map(), {});
    assert.deepEqual(floats(await device.read(n)), [2, 101]);
    assert.deepEqual(floats(await device.read(n, 4, 4)), [101]);
    await device.wait(first, forever);
    await device.wait(second, forever);
  });

  contract('a pool is updated in place: a run needs less memory than the pool', async (device) => {
    const rows = 1 << 16;
    using pool = await device.allocate(tensor('f32', [rows, 4]), 'state');
    using executable = await device.compile(store(rows));
    assert.ok(
      executable.scratchBytes < pool.bytes / 4,
      `scratch ${executable.scratchBytes} of a pool of ${pool.bytes}`,
    );
    await runOnce(
      device,
      store(rows),
      { at: Int32Array.of(9), row: Float32Array.of(1, 2, 3, 4) },
      new Map([['pool', pool]]),
    );
    assert.ok(device.memory().scratch.peak < pool.bytes / 4);
    assert.deepEqual(floats(await device.read(pool, 9 * 16, 16)), [1, 2, 3, 4]);
  });

  contract('a state that would have to be copied is refused', async (device) => {
    const type = tensor('f32', [2]);
    const swap = new ProgramBuilder().program(
      [
        { name: 'a', type, role: 'state' },
        { name: 'b', type, role: 'state' },
      ],
      (_, { a, b }) => ({ first: b, second: a }),
      { first: 'a', second: 'b' },
    );
    await assert.rejects(device.compile(swap), fails('StateWouldCopy'));
  });

  contract('an op that the device does not have is named before any memory is taken', async (device) => {
    const program = new ProgramBuilder().program(
      [{ name: 'x', type: tensor('f32', [2]), role: 'input' }],
      (b, { x }) => ({
        y: b.op(
          'custom_call',
          [x],
          { call_target_name: 'nowhere', has_side_effect: false, extra: {} },
          { types: [x.type] },
        )[0],
      }),
    );
    const refused = (error: unknown) =>
      isIngotError(error, 'UnsupportedOp') && error.place.op === 'custom_call' && error.place.device === device.name;
    await assert.rejects(device.compile(program), refused);
    assert.equal(device.memory().scratch.peak, 0);
  });

  contract('bind names what is missing, of another type, or freed', async (device) => {
    using executable = await device.compile(affine());
    using wrong = await device.allocate(tensor('f32', [3, 2]), 'weights');
    const freed = await device.allocate(tensor('f32', [2, 3]), 'weights');
    freed[Symbol.dispose]();
    for (const weights of [none, new Map([['w', wrong]]), new Map([['w', freed]])]) {
      await assert.rejects(device.bind(executable, weights, none), fails('InvalidArgument', /weight w/));
    }
    await using other = create();
    using foreign = await other.allocate(tensor('f32', [2, 3]), 'weights');
    await assert.rejects(
      device.bind(executable, new Map([['w', foreign]]), none),
      fails('InvalidArgument', /weight w/),
    );
  });

  contract('submit refuses inputs and dimensions that do not fit', async (device) => {
    using executable = await device.compile(affine());
    using w = await device.allocate(tensor('f32', [2, 3]), 'weights');
    const bound = await device.bind(executable, new Map([['w', w]]), none);
    const x = (length: number) => new Map([['x', new Float32Array(length)]]);
    assert.throws(() => device.submit(bound, new Map(), { T: 1 }), fails('InvalidArgument', /input x/));
    assert.throws(() => device.submit(bound, x(4), { T: 1 }), fails('InvalidArgument', /input x/));
    assert.throws(() => device.submit(bound, x(3), {}), fails('InvalidArgument', /dimension T/));
    assert.throws(() => device.submit(bound, x(27), { T: 9 }), fails('InvalidArgument', /dimension T/));
    bound[Symbol.dispose]();
    assert.throws(() => device.submit(bound, x(3), { T: 1 }), fails('InvalidArgument'));
  });

  contract('a buffer is freed after the last run that uses it, and not used afterwards', async (device) => {
    using executable = await device.compile(affine());
    const w = await device.allocate(tensor('f32', [2, 3]), 'weights');
    device.write(w, Float32Array.of(1, 1, 1, 2, 2, 2));
    using bound = await device.bind(executable, new Map([['w', w]]), none);
    const x = new Map([['x', Float32Array.of(1, 2, 3)]]);
    const ticket = device.submit(bound, x, { T: 1 });
    w[Symbol.dispose]();
    assert.equal(device.memory().weights.now, w.bytes);
    assert.deepEqual(floats((await device.wait(ticket, forever)).get('y')), [7, 13]);
    assert.equal(device.memory().weights.now, 0);
    assert.equal(device.memory().weights.peak, w.bytes);
    assert.throws(() => device.submit(bound, x, { T: 1 }), fails('InvalidArgument'));
    assert.throws(() => device.write(w, new Float32Array(6)), fails('InvalidArgument'));
    await assert.rejects(device.read(w), fails('InvalidArgument'));
  });

  contract('write and read stay inside a buffer', async (device) => {
    using buffer = await device.allocate(tensor('f32', [4]), 'state');
    assert.throws(() => device.write(buffer, new Float32Array(2), 12), fails('InvalidArgument'));
    assert.throws(() => device.write(buffer, new Uint8Array(4), -4), fails('InvalidArgument'));
    assert.throws(() => device.write(buffer, new Uint8Array(3)), fails('InvalidArgument'));
    await assert.rejects(device.read(buffer, 0, 20), fails('InvalidArgument'));
    await assert.rejects(device.read(buffer, 20), fails('InvalidArgument'));
    await assert.rejects(device.read(buffer, 0, Number.NaN), fails('InvalidArgument'));
  });

  contract('memory that cannot be had is a typed error, and nothing stays allocated', async (device) => {
    await assert.rejects(device.allocate(tensor('f32', [2 ** 45]), 'state'), fails('OutOfMemory', /\d{12,}/));
    const huge = { name: 'w', format: 'f32', shape: [2 ** 40, 32], bytes: emptySource(2 ** 47) };
    await assert.rejects(device.pack(huge), fails('OutOfMemory', /w/));
    assert.deepEqual(device.memory().state, { now: 0, peak: 0 });
    assert.deepEqual(device.memory().weights, { now: 0, peak: 0 });
  });

  contract('a packed weight multiplies as its decoded values do', async (device) => {
    const format = encodableFormat('q8_0');
    const values = Float32Array.from({ length: 64 }, (_, i) => Math.fround(Math.sin(i)));
    const bytes = new Uint8Array(2 * format.blockBytes);
    format.encode(values, bytes);
    const decoded = new Float32Array(64);
    format.decode(bytes, decoded);
    const weight = { name: 'w', format: 'q8_0', shape: [2, 32], bytes: memoryBytes(bytes) };
    using w = await device.pack(weight);
    assert.equal(w.bytes, device.packedBytes(weight));
    assert.equal(device.memory().weights.now, w.bytes);
    const program = new ProgramBuilder().program(
      [
        { name: 'x', type: tensor('f32', [1, 32]), role: 'input' },
        { name: 'w', type: tensor('f32', [2, 32]), role: 'weight', format: 'q8_0' },
      ],
      (b, { x, w: weights }) => ({ y: b.dot(x, weights, { contract: [[1, 1]] }) }),
    );
    using executable = await device.compile(program);
    using bound = await device.bind(executable, new Map([['w', w]]), none);
    // One column at a time, so that no order of additions matters.
    for (const column of [0, 7, 31]) {
      const x = new Float32Array(32);
      x[column] = 1;
      const results = await device.wait(device.submit(bound, new Map([['x', x]]), {}), forever);
      assert.deepEqual(floats(results.get('y')), [decoded[column], decoded[32 + column]]);
    }
  });

  contract('pack refuses what does not fit or changes, and leaves nothing behind', async (device) => {
    const weight = (format: string, bytes: ByteSource) => ({ name: 'w', format, shape: [2, 32], bytes });
    await assert.rejects(device.pack(weight('q8_0', emptySource(67))), fails('InvalidFile'));
    await assert.rejects(device.pack(weight('q9_9', emptySource(68))), fails('UnsupportedFile', /q9_9/));
    const changed: ByteSource = {
      ...emptySource(68),
      read: async () => {
        throw new IngotError('FileChanged', 'the file shrank');
      },
    };
    await assert.rejects(device.pack(weight('q8_0', changed)), fails('FileChanged'));
    assert.equal(device.memory().weights.now, 0);
  });

  contract('a deadline that has passed stops nothing that was not begun', async (device) => {
    using n = await device.allocate(tensor('f32', [2]), 'state');
    using executable = await device.compile(count(false));
    using bound = await device.bind(executable, none, new Map([['n', n]]));
    const ticket = device.submit(bound, new Map(), {});
    await assert.rejects(device.wait(ticket, performance.now() - 1), fails('DeadlineExceeded'));
    await device.wait(ticket, forever);
    assert.deepEqual(floats(await device.read(n)), [1, 1]);
  });

  contract('a run that does not end is stopped at its deadline, and the device goes on', async (device) => {
    using n = await device.allocate(tensor('f32', [2]), 'state');
    using endless = await device.compile(count(true));
    using bound = await device.bind(endless, none, new Map([['n', n]]));
    const ticket = device.submit(bound, new Map(), {});
    await assert.rejects(device.wait(ticket, performance.now() + 30), fails('DeadlineExceeded'));
    device.write(n, new Float32Array(2));
    await runOnce(device, count(false), {}, new Map([['n', n]]));
    assert.deepEqual(floats(await device.read(n)), [1, 1]);
  });

  contract('a raised signal ends a run, and the device goes on', async (device) => {
    using n = await device.allocate(tensor('f32', [2]), 'state');
    using endless = await device.compile(count(true));
    using bound = await device.bind(endless, none, new Map([['n', n]]));
    const ticket = device.submit(bound, new Map(), {});
    await assert.rejects(device.wait(ticket, forever, AbortSignal.abort()), fails('Aborted'));
    device.write(n, new Float32Array(2));
    await runOnce(device, count(false), {}, new Map([['n', n]]));
    assert.deepEqual(floats(await device.read(n)), [1, 1]);
  });

  contract('every element type crosses in memory layout', async (device) => {
    const cases = {
      i1: Uint8Array.of(1, 0),
      i4: Uint8Array.of(0xff, 7),
      bf16: Uint16Array.of(0x3f80, 0xc000),
      f16: Uint16Array.of(0x3c00, 0xfc00),
      i64: BigInt64Array.of(-1n, 1n << 62n),
      'complex<f64>': Float64Array.of(1, -2, 3, -4),
    } as const;
    for (const [element, data] of Object.entries(cases)) {
      const type = tensor(element as keyof typeof cases, [2]);
      const program = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => ({
        y: b.concatenate([b.slice(x, 0, 1, 2), b.slice(x, 0, 0, 1)], 0),
      }));
      const y = (await runOnce(device, program, { x: data })).get('y') as ArrayBufferView;
      const half = data.byteLength / 2;
      // The upper half of a byte with an integer of 4 bits says nothing.
      const mask = element === 'i4' ? 15 : 255;
      const bytes = (view: ArrayBufferView) =>
        Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), (byte) => byte & mask);
      assert.deepEqual(bytes(y), [...bytes(data).slice(half), ...bytes(data).slice(0, half)], element);
    }
  });

  contract('profile tells of the runs since it was last asked', async (device) => {
    using n = await device.allocate(tensor('f32', [2]), 'state');
    await runOnce(device, count(false), {}, new Map([['n', n]]));
    const { runs, seconds, kernels } = device.profile();
    assert.ok(runs === 1 && seconds >= 0, `${runs} runs, ${seconds} s`);
    for (const { kernel, calls, seconds, barrierSeconds, threadSeconds } of kernels) {
      assert.ok(calls > 0 && seconds >= barrierSeconds && barrierSeconds >= 0 && threadSeconds.length > 0, kernel);
    }
    const { submissions = 0, ...none } = device.profile();
    assert.deepEqual({ ...none, submissions }, { runs: 0, seconds: 0, kernels: [], submissions: 0 });
  });
}

function emptySource(length: number): ByteSource {
  return { name: 'zeros', length, read: async (_, count) => new Uint8Array(count) };
}
