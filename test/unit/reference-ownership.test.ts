/** The reference device overwrites memory that nothing else needs: results must be those of a machine that never does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import type { Device, DeviceBuffer } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';

const vector = tensor('f32', [4]);
const forever = Number.POSITIVE_INFINITY;

/** A value of the program and what it must be. */
interface Pair {
  readonly value: Value;
  readonly expected: readonly number[];
}

/** What a random step makes of two values it picks. */
type Step = (b: Builder, x: Pair, y: Pair) => readonly Pair[];

const sum = (x: readonly number[], y: readonly number[]) => x.map((v, i) => v + y[i]);
const replaced = (x: readonly number[], y: readonly number[]) => [x[0], y[1], y[2], x[3]];

function replace(b: Builder, x: Value, y: Value): Value {
  return b.op('dynamic_update_slice', [x, b.slice(y, 0, 1, 3), b.scalar('i32', 1)], {})[0];
}

const steps: Readonly<Record<string, Step>> = {
  add: (b, x, y) => [{ value: b.add(x.value, y.value), expected: sum(x.expected, y.expected) }],
  negate: (b, x) => [{ value: b.negate(x.value), expected: x.expected.map((v) => -v) }],
  constant: (b) => [{ value: b.constant(vector, [1, 2, 3, 4]), expected: [1, 2, 3, 4] }],
  rename: (b, x) => [{ value: b.reshape(b.reshape(x.value, [2, 2]), [4]), expected: x.expected }],
  replace: (b, x, y) => [{ value: replace(b, x.value, y.value), expected: replaced(x.expected, y.expected) }],
  put: (b, x, y) => [
    {
      value: b.put(x.value, b.constant(tensor('i32', [2]), [2, 7]), b.slice(y.value, 0, 0, 2)),
      expected: [x.expected[0], x.expected[1], y.expected[0], x.expected[3]],
    },
  ],
  swapInCall: (b, x, y) => {
    const swap = b.program.defineOnce('swap', 'swap', [vector, vector], (_, p, q) => [q, p]);
    const [first, second] = b.call(swap, [x.value, y.value]);
    return [
      { value: first, expected: y.expected },
      { value: second, expected: x.expected },
    ];
  },
  updateInCall: (b, x, y) => {
    const update = b.program.defineOnce('update', 'update', [vector, vector], (inner, p, q) => {
      const r = replace(inner, p, q);
      return [r, r, inner.constant(vector, [5, 6, 7, 8])];
    });
    const [first, second, third] = b.call(update, [x.value, y.value]);
    const expected = replaced(x.expected, y.expected);
    return [
      { value: first, expected },
      { value: second, expected },
      { value: third, expected: [5, 6, 7, 8] },
    ];
  },
  pack: (b, x, y) => {
    const [pack] = b.op('tuple', [x.value, y.value], {});
    return [0, 1].map((index) => ({
      value: b.op('get_tuple_element', [pack], { index })[0],
      expected: index === 0 ? x.expected : y.expected,
    }));
  },
  branch: (b, x, y) => {
    const taken = b.op('compare', [b.scalar('i32', 1), b.scalar('i32', 1)], { comparison_direction: 'EQ' })[0];
    const [first, second] = b.if(
      taken,
      (inner) => [replace(inner, x.value, y.value), y.value],
      (inner) => [x.value, inner.negate(y.value)],
    );
    return [
      { value: first, expected: replaced(x.expected, y.expected) },
      { value: second, expected: y.expected },
    ];
  },
  loop: (b, x, y) => {
    const [, first, second] = b.while(
      [b.scalar('i32', 0), x.value, y.value],
      (inner, i) => inner.compare('LT', i, inner.scalar('i32', 3)),
      (inner, i, p, q) => [inner.add(i, inner.scalar('i32', 1)), q, inner.add(replace(inner, p, q), x.value)],
    );
    let [p, q] = [x.expected, y.expected];
    for (let i = 0; i < 3; i++) [p, q] = [q, sum(replaced(p, q), x.expected)];
    return [
      { value: first, expected: p },
      { value: second, expected: q },
    ];
  },
  sharingLoop: (b, x, y) => {
    // What a body hands on twice, or from around the loop, is not the next iteration's to overwrite.
    const carry = (other: (total: Value) => Value) =>
      b.while(
        [b.scalar('i32', 0), x.value, y.value],
        (c, i) => c.compare('LT', i, c.scalar('i32', 3)),
        (c, i, p, q) => {
          const total = c.add(c.negate(p), c.add(c.negate(q), q));
          return [c.add(i, c.scalar('i32', 1)), total, other(total)];
        },
      );
    const twice = carry((total) => total);
    const around = carry(() => x.value);
    const follow = (other: (total: readonly number[]) => readonly number[]) => {
      let [p, q] = [x.expected, y.expected];
      for (let i = 0; i < 3; i++) {
        const total = sum(
          p.map((v) => -v),
          q.map((v) => v - v),
        );
        [p, q] = [total, other(total)];
      }
      return [p, q];
    };
    const pairs = (values: readonly Value[], expected: readonly (readonly number[])[]) =>
      expected.map((numbers, i) => ({ value: values[i + 1], expected: numbers }));
    return [
      ...pairs(
        twice,
        follow((total) => total),
      ),
      ...pairs(
        around,
        follow(() => x.expected),
      ),
    ];
  },
};

const plan = fc.record({
  picks: fc.array(fc.tuple(fc.constantFrom(...Object.keys(steps)), fc.nat(), fc.nat()), {
    minLength: 1,
    maxLength: 14,
  }),
  results: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
  next: fc.nat(),
});

const parameters = [
  { name: 'x', type: vector, role: 'input' },
  { name: 'w', type: vector, role: 'weight' },
  { name: 's', type: vector, role: 'state' },
] as const satisfies readonly Parameter[];

async function read(device: Device, buffer: DeviceBuffer): Promise<number[]> {
  return [...new Float32Array((await device.read(buffer)).slice().buffer)];
}

test('random programs with calls, branches and loops give what copying everywhere gives', async () => {
  const given = { x: [10, 20, 30, 40], w: [-1, 0, 1, 2], s: [100, 200, 300, 400] };
  let ran = 0;
  const property = fc.asyncProperty(plan, async ({ picks, results, next }) => {
    const expected: Record<string, readonly number[]> = {};
    const program = new ProgramBuilder().program(
      parameters,
      (b, { x, w, s }) => {
        const values: Pair[] = [
          { value: x, expected: given.x },
          { value: w, expected: given.w },
          { value: s, expected: given.s },
        ];
        for (const [name, i, j] of picks) {
          values.push(...steps[name](b, values[i % values.length], values[j % values.length]));
        }
        const named: Record<string, Value> = {};
        const name = (as: string, { value, expected: numbers }: Pair) => {
          named[as] = value;
          expected[as] = numbers;
        };
        results.forEach((at, i) => {
          name(`r${i}`, values[at % values.length]);
        });
        name('next', values[next % values.length]);
        return named;
      },
      { next: 's' },
    );
    await using device = createReferenceDevice();
    let executable: Awaited<ReturnType<Device['compile']>>;
    try {
      executable = await device.compile(program);
    } catch (error) {
      // Not every program keeps its state in place.
      assert.ok(isIngotError(error, 'StateWouldCopy'), String(error));
      return;
    }
    ran++;
    const w = await device.allocate(vector, 'weights');
    const s = await device.allocate(vector, 'state');
    device.write(w, Float32Array.from(given.w));
    const bound = await device.bind(executable, new Map([['w', w]]), new Map([['s', s]]));
    // Twice: what runs share must survive the first.
    for (let run = 0; run < 2; run++) {
      device.write(s, Float32Array.from(given.s));
      const ticket = device.submit(bound, new Map([['x', Float32Array.from(given.x)]]), {});
      for (const [name, view] of await device.wait(ticket, forever)) {
        const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
        assert.deepEqual([...new Float32Array(bytes.slice().buffer)], expected[name], name);
      }
      assert.deepEqual(await read(device, s), expected.next, 'state');
      assert.deepEqual(await read(device, w), given.w, 'weight');
    }
  });
  await fc.assert(property, { seed: 7, numRuns: 300 });
  assert.ok(ran > 50, `${ran} programs ran`);
});

test('a pool is updated in place inside branches, loops and nested calls', async () => {
  const rows = 4096;
  const pool = tensor('f32', [rows, 4]);
  const builder = new ProgramBuilder();
  const row = tensor('f32', [1, 4]);
  const inner = builder.define('inner', [pool, row], (b, p, r) => [b.put(p, b.constant(tensor('i32', [1]), [1]), r)]);
  const outer = builder.define('outer', [pool, row], (b, p, r) => [b.call(inner, [p, r])[0]]);
  const program = builder.program(
    [
      { name: 'pool', type: pool, role: 'state' },
      { name: 'row', type: row, role: 'input' },
      { name: 'yes', type: tensor('i1'), role: 'input' },
    ],
    (b, values) => {
      const called = b.call(outer, [values.pool, values.row])[0];
      const [, looped] = b.while(
        [b.scalar('i32', 0), called],
        (c, i) => c.compare('LT', i, c.scalar('i32', 3)),
        (c, i, p) => [c.add(i, c.scalar('i32', 1)), c.put(p, c.reshape(c.add(i, c.scalar('i32', 5)), [1]), values.row)],
      );
      const [chosen] = b.if(
        values.yes,
        (c) => [c.put(looped, c.constant(tensor('i32', [1]), [2]), values.row)],
        () => [looped],
      );
      return { next: chosen };
    },
    { next: 'pool' },
  );
  await using device = createReferenceDevice();
  const state = await device.allocate(pool, 'state');
  const executable = await device.compile(program);
  assert.ok(executable.scratchBytes < 1024, `${executable.scratchBytes}`);
  const bound = await device.bind(executable, new Map(), new Map([['pool', state]]));
  const inputs = new Map<string, ArrayBufferView>([
    ['row', Float32Array.of(1, 2, 3, 4)],
    ['yes', Uint8Array.of(1)],
  ]);
  await device.wait(device.submit(bound, inputs, {}), forever);
  const written = [];
  const contents = await read(device, state);
  for (let r = 0; r < rows; r++) if (contents[4 * r + 3] === 4) written.push(r);
  assert.deepEqual(written, [1, 2, 5, 6, 7]);
});
