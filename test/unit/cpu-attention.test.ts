/** The kernels of `paged_attention` against its decomposition as lowered loops on the same device, bit for bit. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { isSupported, largest } from '../../src/devices/cpu/kernels/attention-shape.ts';
import { attentionKernels } from '../../src/devices/cpu/kernels/paged-attention.ts';
import { targetKey, targets } from '../../src/devices/cpu/target.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { kvRow } from '../../src/numerics/kv-format.ts';
import { roundTo, toBits } from '../../src/numerics/rounding.ts';
import { openCpu } from '../conformance/devices.ts';
import { generator, integer } from './composites-harness.ts';
import {
  assertSame,
  base,
  type Case,
  decomposed,
  type Inputs,
  inPieces,
  latent,
  native,
  programOf,
  prompt,
  S,
  shapeOf,
  T,
  type Token,
  world,
} from './cpu-attention-harness.ts';
import { skip } from './cpu-emit-harness.ts';
import { withDrawnSchedule } from './drawn-schedule.ts';
import { machineOf } from './machine.ts';
import { avx2Machine } from './native-kernel.ts';

const cases: readonly Case[] = [
  { ...base, heads: 4, kvHeads: 1, keyDim: 64, valueDim: 64, pool: 'bf16' },
  { ...base, heads: 8, kvHeads: 4, keyDim: 32, valueDim: 32, pool: 'f32' },
  { ...base, heads: 3, kvHeads: 3, keyDim: 8, valueDim: 24, pool: 'f16', sinks: true },
  { ...base, heads: 10, kvHeads: 2, keyDim: 40, valueDim: 8, pool: 'f32', window: 21 },
  { ...base, heads: 7, kvHeads: 1, keyDim: 80, valueDim: 40, pool: 'bf16', softCap: 3, sinks: true },
  { ...base, heads: 16, kvHeads: 1, keyDim: 24, valueDim: 128, pool: 'f16', window: 1 },
  { ...base, heads: 4, kvHeads: 2, keyDim: 16, valueDim: 16, pool: 'bf16', partition: 256, window: 100, softCap: 8 },
  { ...base, heads: 6, kvHeads: 2, keyDim: 16, valueDim: 16, pool: 'f32', blockSize: 32, partition: 64, sinks: true },
  { ...base, heads: 68, kvHeads: 1, keyDim: 8, valueDim: 8, pool: 'f32' },
  { ...base, heads: 4, kvHeads: 2, keyDim: 256, valueDim: 256, pool: 'bf16', window: 40, softCap: 50 },
  { ...base, heads: 4, kvHeads: 4, keyDim: 32, valueDim: 32, pool: 'f32', bidirectional: true },
  { ...base, heads: 4, kvHeads: 1, keyDim: 64, valueDim: 64, pool: 'int8' },
  { ...base, heads: 3, kvHeads: 3, keyDim: 8, valueDim: 24, pool: 'int8', sinks: true },
  { ...base, heads: 7, kvHeads: 1, keyDim: 40, valueDim: 72, pool: 'int8', window: 21, softCap: 3 },
  { ...base, heads: 4, kvHeads: 2, keyDim: 192, valueDim: 128, pool: 'int8', partition: 256 },
  { ...base, heads: 8, kvHeads: 2, keyDim: 128, valueDim: 128, pool: 'int4' },
  { ...base, heads: 3, kvHeads: 3, keyDim: 8, valueDim: 24, pool: 'int4', sinks: true },
  { ...base, heads: 7, kvHeads: 1, keyDim: 80, valueDim: 40, pool: 'int4', window: 21, softCap: 3 },
  { ...base, heads: 4, kvHeads: 4, keyDim: 16, valueDim: 256, pool: 'int4', bidirectional: true },
  // What DeepSeek-V2 keeps of a token, and dimensions that nobody has.
  latent,
  { ...base, heads: 3, kvHeads: 1, keyDim: 1016, valueDim: 552, pool: 'int8', window: 40, sinks: true },
  { ...base, numerics: 'i16', heads: 8, kvHeads: 2, keyDim: 64, valueDim: 64, pool: 'int8', partition: 64 },
  { ...base, numerics: 'i16', heads: 3, kvHeads: 3, keyDim: 8, valueDim: 24, pool: 'int8', sinks: true },
  { ...base, numerics: 'i16', heads: 7, kvHeads: 1, keyDim: 40, valueDim: 72, pool: 'int8', window: 21, softCap: 3 },
  { ...base, numerics: 'i16', heads: 5, kvHeads: 1, keyDim: 576, valueDim: 512, pool: 'int8' },
  { ...base, numerics: 'i16', heads: 8, kvHeads: 2, keyDim: 128, valueDim: 128, pool: 'int4' },
  { ...base, numerics: 'i16', heads: 3, kvHeads: 3, keyDim: 8, valueDim: 48, pool: 'int4', bidirectional: true },
  { ...base, numerics: 'i16', heads: 10, kvHeads: 2, keyDim: 80, valueDim: 40, pool: 'int4', window: 21, softCap: 3 },
];

let device: Device | undefined;
const cpu = () => {
  device ??= openCpu(2);
  return device;
};
after(() => device?.[Symbol.asyncDispose]());

const arm64 = machineOf('neon');
const teams: readonly (readonly number[])[] = [[0], [1, 0], [2, 0, 4, 1, 3]];

/** Lengths of contexts, and the tokens of the step. */
function steps(c: Case): readonly (readonly [readonly number[], readonly Token[]])[] {
  const most = 12 * c.blockSize;
  return [
    [[1], [{ s: 0, p: 0 }]],
    [[most], [{ s: 0, p: most - 1 }]],
    [[77], prompt(0, 0, 77)],
    [[130], prompt(0, 51, 130)],
    [
      [40, 33, 1, 100],
      [{ s: 0, p: 39 }, { s: 1, p: 32 }, { s: 2, p: 0 }, ...prompt(3, 89, 100)],
    ],
    [
      [64, 19, 90],
      [...prompt(1, 0, 19), { s: 0, p: 63 }, ...prompt(2, 17, 90)],
    ],
    // In no order, some that see less than there is, one that sees nothing.
    [
      [60, 50],
      [
        { s: 1, p: 7 },
        { s: 0, p: 59 },
        { s: 0, p: 16 },
        { s: 1, p: 49 },
        { s: -1, p: 3 },
      ],
    ],
  ];
}

for (const [index, c] of cases.entries()) {
  const { heads, kvHeads, keyDim, valueDim, pool } = c;
  test(`attention: ${heads}/${kvHeads} heads of ${keyDim} and ${valueDim}, ${pool}: the bits of the decomposition`, {
    skip,
  }, async () => {
    const oracle = await decomposed(cpu(), c);
    const random = generator(index);
    for (const [i, [lengths, tokens]] of steps(c).entries()) {
      const inputs = world(c, lengths, tokens, 100 * index + i);
      const expected = await oracle(inputs);
      for (const [t, indices] of teams.entries()) {
        assertSame(native(c, inputs, indices, t !== 1), expected, `step ${i}, ${indices.length} threads`);
        if (t === i % teams.length) {
          const machine = withDrawnSchedule(avx2Machine(), () => integer(random, 1000));
          const what = `step ${i}, ${indices.length} threads, ${targetKey(machine.target)}`;
          assertSame(native(c, inputs, indices, t !== 1, machine), expected, what);
        }
        // The emulator is slow: a step of each case, another one each time.
        if (t !== 1 || i !== index % 5 || typeof arm64 === 'string') continue;
        assertSame(native(c, inputs, indices, false, arm64), expected, `step ${i}, arm64`);
      }
    }
  });
}

// An emulator is slow: every format, dimensions that are and are not whole vectors, windows, caps and sinks; few tokens.
const wide = machineOf('avx512');
for (const index of [0, 2, 3, 7, 13, 17, 21, 22, 23, 27, cases.indexOf(latent)]) {
  const c = cases[index] as Case;
  test(`attention: ${c.keyDim} and ${c.valueDim}, ${c.pool}: AVX-512 has the bits of the decomposition`, {
    skip: skip || (typeof wide === 'string' && wide),
  }, async () => {
    const machine = typeof wide === 'string' ? assert.fail(wide) : wide;
    const oracle = await decomposed(cpu(), c);
    const steps: readonly (readonly [readonly number[], readonly Token[]])[] = [
      [[60], [{ s: 0, p: 59 }]],
      [
        [20, 50],
        [...prompt(0, 13, 20), { s: 1, p: 49 }, { s: 1, p: 7 }, { s: -1, p: 3 }],
      ],
    ];
    for (const [i, [lengths, tokens]] of steps.entries()) {
      const inputs = world(c, lengths, tokens, 500 + 10 * index + i);
      assertSame(native(c, inputs, [1, 0], i === 0, machine), await oracle(inputs), `step ${i}`);
    }
  });
}

for (const numerics of [undefined, 'bf16', 'i16'] as const) {
  test(`attention of latent vectors in ${numerics ?? 'f32'}: a prompt at once, in pieces, token by token: the same bits`, {
    skip,
  }, () => {
    const c: Case = { ...latent, numerics, pool: numerics === 'i16' ? 'int8' : 'bf16' };
    const length = 70;
    const inputs = world(c, [length], prompt(0, 0, length), 60);
    const whole = native(c, inputs, [0], true);
    assertSame(inPieces(c, inputs, [5, 1, 26, 33, 5], [1, 0]), whole, 'in pieces');
    const alone = Array.from({ length }, () => 1);
    assertSame(inPieces(c, inputs, alone, [2, 0, 1]), whole, 'token by token');
  });
}

test('attention: the frame of the largest heads is less than the stack of a thread', () => {
  const { dim, partition, group } = largest;
  const c: Case = { ...base, heads: group, kvHeads: 1, keyDim: dim, valueDim: dim, pool: 'f32', partition };
  for (const numerics of [undefined, 'bf16', 'i16'] as const) {
    const shape = shapeOf({ ...c, numerics, pool: numerics === 'i16' ? 'int8' : 'f32' }, T, S);
    assert.ok(isSupported(shape));
    for (const more of [
      { keyDim: dim + 8 },
      { valueDim: dim + 8 },
      { heads: group + 1 },
      { partition: partition + 16 },
    ]) {
      assert.ok(!isSupported({ ...shape, ...more }));
    }
    for (const { make } of attentionKernels(shape, targets.avx2)) {
      const { stackBytes } = make();
      assert.ok(stackBytes < 7.5 * 2 ** 20, `${stackBytes} bytes`);
    }
  }
});

/** What a device computes when it may use its kernels. */
async function run(on: Device, c: Case, inputs: Inputs, dims: Readonly<Record<string, number>>): Promise<Float32Array> {
  const bound = await on.bind(await on.compile(programOf(c)), new Map(), new Map());
  const y = (await on.wait(on.submit(bound, inputs, dims), Number.POSITIVE_INFINITY)).get('y') ?? assert.fail();
  return new Float32Array(y.buffer, y.byteOffset, y.byteLength / 4);
}

test('attention: the device takes the kernels, near to the reference device', { skip }, async () => {
  await using reference = createReferenceDevice();
  for (const [i, c] of cases.entries()) {
    const random = generator(i);
    const lengths = [integer(random, 60) + 30, integer(random, 90) + 1];
    const tokens = [...prompt(0, 13, lengths[0] as number), { s: 1, p: (lengths[1] as number) - 1 }];
    const inputs = world(c, lengths, tokens, 900 + i);
    const dims = { T: tokens.length, S: 2 };
    const [actual, expected] = [await run(cpu(), c, inputs, dims), await run(reference, c, inputs, dims)];
    assertSame(actual, native(c, inputs, [0], true), `case ${i}`);
    // Exponentials differ in their last bit, which may make another integer of 16 bits of a weight.
    const bound = c.numerics === 'i16' ? 1e-4 : 3e-6;
    for (let at = 0; at < expected.length; at++) {
      const [a, e] = [actual[at] as number, expected[at] as number];
      assert.ok(Math.abs(a - e) <= bound * Math.max(1, Math.abs(e)), `case ${i}: [${at}] is ${a}, not ${e}`);
    }
  }
});

test('attention: shapes without a kernel are inlined', { skip }, async () => {
  const odd: Case = { ...base, heads: 2, kvHeads: 1, keyDim: 12, valueDim: 16, pool: 'f32' };
  const small: Case = { ...base, heads: 2, kvHeads: 1, keyDim: 16, valueDim: 16, pool: 'f32', blockSize: 8 };
  for (const c of [odd, small]) {
    assert.ok(!isSupported(shapeOf(c, T, S)));
    const lengths = [20, 9];
    const tokens = [...prompt(0, 0, 20), { s: 1, p: 8 }];
    const inputs = world(c, lengths, tokens, 70);
    assertSame(
      await run(cpu(), c, inputs, { T: tokens.length, S: 2 }),
      await (await decomposed(cpu(), c))(inputs),
      'inlined',
    );
  }
});

test('attention: infinite and missing numbers come out where the decomposition has them', { skip }, async () => {
  for (const c of [cases[1] as Case, { ...(cases[1] as Case), softCap: 2, sinks: true }]) {
    const oracle = await decomposed(cpu(), c);
    const [lengths, tokens] = [[90], [...prompt(0, 80, 90), { s: 0, p: 40 }]];
    for (const special of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, -3e38, 1e-40]) {
      for (const name of ['q', 'kPool', 'vPool', 'sinks']) {
        const inputs = new Map(world(c, lengths, tokens, 80));
        const given = inputs.get(name) ?? assert.fail();
        const values = new Float32Array(given.buffer.slice(given.byteOffset, given.byteOffset + given.byteLength));
        const numbers = [...values.keys()].filter((i) => !Number.isNaN(values[i]));
        for (let i = 0; i < 3; i++) values[numbers[(i * 97 + 5) % numbers.length] as number] = special;
        inputs.set(name, values);
        const expected = await oracle(inputs);
        assertSame(native(c, inputs, [1, 0], true), expected, `${special} in ${name}`);
      }
    }
  }
});

test('attention in i16: headers and queries that are no usual numbers come out where the decomposition has them', {
  skip,
}, async () => {
  const numbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -3, 3e38, 1e-39, 0];
  // What no token of a block sees behind its window is not read.
  for (const c of cases.filter(({ numerics, window }) => numerics === 'i16' && window === undefined)) {
    const oracle = await decomposed(cpu(), c);
    const [lengths, tokens] = [[90], [...prompt(0, 80, 90), { s: 0, p: 40 }]];
    for (const [n, number] of numbers.entries()) {
      for (const name of ['q', 'kPool', 'vPool']) {
        const inputs = new Map(world(c, lengths, tokens, 80));
        const given = inputs.get(name) ?? assert.fail();
        const bytes = new Uint8Array(given.buffer.slice(given.byteOffset, given.byteOffset + given.byteLength));
        if (name === 'q') new Float32Array(bytes.buffer).fill(number, 3 * c.keyDim, 3 * c.keyDim + 5);
        else {
          // Minimum or step of some head that is in use.
          const block = (inputs.get('blockTable') as Int32Array)[2] as number;
          const length = kvRow(c.pool, name === 'kPool' ? c.keyDim : c.valueDim).length;
          const end = ((block * c.blockSize + 3) * c.kvHeads + 1) * length;
          new DataView(bytes.buffer).setUint16(
            end - (n % 2 === 0 ? 2 : 4),
            toBits('bf16', roundTo('bf16', number)),
            true,
          );
        }
        inputs.set(name, name === 'q' ? new Float32Array(bytes.buffer) : bytes);
        assertSame(native(c, inputs, [1, 0], true), await oracle(inputs), `${number} in ${name}`);
      }
    }
  }
});
