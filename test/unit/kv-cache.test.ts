/** Keys and values into pools and back: the programs against the scalar reference, byte for byte, on both devices. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fromKvRows, putKv } from '../../src/composites/kv_cache.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import {
  type CodedKv,
  decodeKv,
  encodeKv,
  isCoded,
  kvCodeBits,
  kvDim,
  kvFormats,
  kvHeaderBytes,
  kvRow,
} from '../../src/numerics/kv-format.ts';
import { noCpu, openCpu } from '../conformance/devices.ts';
import { generator, integer, normal } from './composites-harness.ts';
import { ingot } from './formats-support.ts';

const coded = kvFormats.filter(isCoded);
const dims: readonly number[] = [8, 24, 32, 40, 64, 80, 96, 128, 192, 256];

/** Heads as models have them, and what is hard to code. */
function rowsOf(dim: number, seed: number): readonly Float32Array[] {
  const random = generator(seed);
  const row = (value: (i: number) => number) => Float32Array.from({ length: dim }, (_, i) => value(i));
  const drawn = normal(random, dim);
  return [
    row((i) => drawn[i]),
    row((i) => 3 * drawn[i] - 40),
    row((i) => (i === 3 ? 900 : drawn[i])),
    row(() => 0),
    row((i) => (i % 2 === 0 ? 0 : -0)),
    row(() => 1.001),
    row(() => -1e30),
    row((i) => 1e-42 * i),
    row((i) => 1e-20 * drawn[i]),
    row((i) => 1e37 * drawn[i]),
    // Halfway between codes.
    row((i) => (i === 0 ? 0 : i === 1 ? 255 : (integer(random, 508) + 1) / 2)),
    ...Array.from({ length: 8 }, () => row(() => (random() - 0.5) * 2 ** (integer(random, 9) - 4))),
  ];
}

let device: Device | undefined;
after(() => device?.[Symbol.asyncDispose]());

async function* devices(): AsyncGenerator<Device> {
  await using reference = createReferenceDevice();
  yield reference;
  if (noCpu !== undefined) return;
  device ??= openCpu(2);
  yield device;
}

const T = { sym: 'T', max: 64 } as const;

/** Pools that begin as `before`, after heads `x` of `heads` a token went to `slots`; and all of them read back. */
async function throughPool(
  on: Device,
  format: CodedKv,
  x: readonly Float32Array[],
  heads: number,
  slots: Int32Array,
  before: Uint8Array,
) {
  const dim = x[0].length;
  const { element, length } = kvRow(format, dim);
  const pool = tensor(element, [before.length / length / heads, heads, length]);
  const parameters: readonly Parameter[] = [
    { name: 'x', type: tensor('f32', [T, heads, dim]), role: 'input' },
    { name: 'slots', type: tensor('i32', [T]), role: 'input' },
    { name: 'pool', type: pool, role: 'state' },
  ];
  const program = new ProgramBuilder().program(
    parameters,
    (b, values) => {
      const after = putKv(b, values.pool, values.slots, values.x, format);
      return { pool: after, back: fromKvRows(b, after, format) };
    },
    { pool: 'pool' },
  );
  using state = await on.allocate(pool, 'state');
  on.write(state, before);
  const executable = await on.compile(program);
  using bound = await on.bind(executable, new Map(), new Map([['pool', state]]));
  const inputs = new Map<string, ArrayBufferView>([
    ['x', Float32Array.from(x.flatMap((row) => Array.from(row)))],
    ['slots', slots],
  ]);
  const results = await on.wait(on.submit(bound, inputs, { T: slots.length }), Number.POSITIVE_INFINITY);
  const back = results.get('back') ?? assert.fail();
  return { pool: await on.read(state), back: new Float32Array(back.buffer, back.byteOffset, back.byteLength / 4) };
}

for (const format of coded) {
  test(`${format}: pools hold the bytes of the reference, slots that nobody writes keep theirs`, async () => {
    for await (const on of devices()) {
      for (const [seed, dim] of dims.entries()) {
        const heads = 1 + (seed % 3);
        const { length } = kvRow(format, dim);
        const all = rowsOf(dim, seed);
        const x = all.slice(0, all.length - (all.length % heads));
        const count = x.length / heads;
        // No place twice: downwards from the third on, and around; the second token goes nowhere.
        const slots = Int32Array.from({ length: count }, (_, i) => (2 + (count + 3) * i) % (count + 4));
        slots[1] = -1;
        const stored = (i: number) => slots[Math.floor(i / heads)] >= 0;
        const random = generator(7);
        const before = Uint8Array.from({ length: (count + 4) * heads * length }, () => integer(random, 256));
        const expected = before.slice();
        x.forEach((row, i) => {
          if (!stored(i)) return;
          const at = (slots[Math.floor(i / heads)] * heads + (i % heads)) * length;
          expected.set(encodeKv(format, row), at);
        });
        const { pool, back } = await throughPool(on, format, x, heads, slots, before);
        assert.deepEqual(Buffer.from(pool), Buffer.from(expected), `${on.name}, heads of ${dim}`);
        x.forEach((_, i) => {
          if (!stored(i)) return;
          const at = slots[Math.floor(i / heads)] * heads + (i % heads);
          const row = expected.subarray(at * length, (at + 1) * length);
          assert.deepEqual(back.subarray(at * dim, (at + 1) * dim), decodeKv(format, row, dim), `${on.name}, row ${i}`);
        });
      }
    }
  });

  test(`${format}: what comes back is half a step away, and what bf16 makes of the minimum`, () => {
    const levels = 2 ** kvCodeBits[format] - 1;
    for (const [seed, dim] of dims.entries()) {
      for (const row of rowsOf(dim, 100 + seed)) {
        const [low, high] = [Math.min(...row), Math.max(...row)];
        const back = decodeKv(format, encodeKv(format, row), dim);
        // The step is rounded to bf16 too: of all levels together that is at most their 256th part.
        const bound = (high - low) * (0.5 / levels + 2 ** -8) + 2 ** -8 * Math.abs(low) + 1e-38;
        row.forEach((value, i) => {
          assert.ok(Math.abs(back[i] - value) <= bound, `${value} of [${low}, ${high}] comes back as ${back[i]}`);
        });
      }
    }
  });

  test(`${format}: a head with a value that is no number has no numbers, its neighbours do`, async () => {
    for await (const on of devices()) {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const x = [Float32Array.from(normal(generator(1), 16)), Float32Array.from(normal(generator(2), 16))];
        x[0][5] = bad;
        const before = new Uint8Array(2 * kvRow(format, 16).length);
        const { back } = await throughPool(on, format, x, 2, Int32Array.of(0), before);
        assert.ok(back.subarray(0, 16).every(Number.isNaN), `${on.name}, ${bad}`);
        assert.deepEqual(back.subarray(16), decodeKv(format, encodeKv(format, x[1]), 16));
      }
    }
  });
}

test('rows of pools: sizes, and dimensions that int4 does not take', () => {
  for (const format of kvFormats) {
    const { element, length } = kvRow(format, 64);
    assert.equal(kvDim(format, length), 64);
    assert.equal(element === 'ui8', isCoded(format));
  }
  assert.equal(kvRow('int8', 64).length, 64 + kvHeaderBytes);
  assert.equal(kvRow('int4', 64).length, 32 + kvHeaderBytes);
  assert.equal(kvRow('int8', 7).length, 7 + kvHeaderBytes);
  assert.throws(() => kvRow('int4', 12), ingot('UnsupportedOp', /heads of 12/));
});
