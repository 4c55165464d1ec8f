/**
 * The kernels of `paged_attention` in numerics `bf16`, bit for bit what numerics/dot.ts says of their products, on every instruction
 * set; and how far that is from the decomposition.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { targetKey } from '../../src/devices/cpu/target.ts';
import type { Device } from '../../src/devices/device.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { openCpu } from '../conformance/devices.ts';
import { bf16Attention } from './attention-bf16-reference.ts';
import { generator, integer } from './composites-harness.ts';
import {
  assertSame,
  base,
  type Case,
  decomposed,
  latent,
  native,
  programOf,
  prompt,
  scale,
  type Token,
  world,
} from './cpu-attention-harness.ts';
import { skip } from './cpu-emit-harness.ts';
import { withDrawnSchedule } from './drawn-schedule.ts';
import { machineOf } from './machine.ts';
import { avx2Machine } from './native-kernel.ts';

const numerics = 'bf16';
const cases: readonly Case[] = [
  { ...base, numerics, heads: 4, kvHeads: 1, keyDim: 64, valueDim: 64, pool: 'bf16' },
  { ...base, numerics, heads: 3, kvHeads: 3, keyDim: 8, valueDim: 24, pool: 'f16', sinks: true },
  { ...base, numerics, heads: 10, kvHeads: 2, keyDim: 40, valueDim: 8, pool: 'f32', window: 21 },
  { ...base, numerics, heads: 7, kvHeads: 1, keyDim: 80, valueDim: 40, pool: 'bf16', softCap: 3, sinks: true },
  { ...base, numerics, heads: 16, kvHeads: 1, keyDim: 24, valueDim: 96, pool: 'f16', window: 1, partition: 16 },
  { ...base, numerics, heads: 4, kvHeads: 2, keyDim: 16, valueDim: 16, pool: 'bf16', partition: 256, window: 100 },
  { ...base, numerics, heads: 6, kvHeads: 2, keyDim: 16, valueDim: 16, pool: 'f32', blockSize: 32, partition: 64 },
  { ...base, numerics, heads: 2, kvHeads: 1, keyDim: 256, valueDim: 256, pool: 'bf16', window: 40, partition: 48 },
  { ...base, numerics, heads: 4, kvHeads: 4, keyDim: 32, valueDim: 32, pool: 'f32', bidirectional: true },
  { ...base, numerics, heads: 7, kvHeads: 1, keyDim: 40, valueDim: 72, pool: 'int8', window: 21, softCap: 3 },
  { ...base, numerics, heads: 4, kvHeads: 2, keyDim: 128, valueDim: 128, pool: 'int4', sinks: true },
  { ...base, numerics, heads: 20, kvHeads: 1, keyDim: 8, valueDim: 8, pool: 'int4' },
  { ...latent, numerics, heads: 2, columns: 6 },
];

let opened: Device | undefined;
const cpu = () => {
  opened ??= openCpu(2);
  return opened;
};
after(() => opened?.[Symbol.asyncDispose]());
let reference: ReturnType<typeof bf16Attention> | undefined;

/** Lengths of contexts, and the tokens of the step. */
const steps: readonly (readonly [readonly number[], readonly Token[]])[] = [
  [[60], [{ s: 0, p: 59 }]],
  [[77], prompt(0, 50, 77)],
  [
    [20, 50],
    [...prompt(0, 13, 20), { s: 1, p: 49 }, { s: 1, p: 7 }, { s: -1, p: 3 }],
  ],
];

for (const [index, c] of cases.entries()) {
  const { heads, kvHeads, keyDim, valueDim, pool } = c;
  test(`attention in bf16: ${heads}/${kvHeads} heads of ${keyDim} and ${valueDim}, ${pool}: the products of the numerics`, {
    skip,
  }, async () => {
    reference ??= bf16Attention(cpu());
    const random = generator(index);
    for (const [i, [lengths, tokens]] of steps.entries()) {
      const inputs = world(c, lengths, tokens, 100 * index + i);
      const expected = await (await reference)(c, inputs);
      if (i < 2) assertSame(native(c, inputs, [2, 0, 1], true), expected, `step ${i}`);
      if (i === 0) continue;
      const machine = withDrawnSchedule(avx2Machine(), () => integer(random, 1000));
      assertSame(native(c, inputs, [0], false, machine), expected, `step ${i}, ${targetKey(machine.target)}`);
    }
  });
}

// An emulator is slow, and slower with tiles: few tokens, more of them for tiles that are multiplied four at a time.
const mixed: readonly [readonly number[], readonly Token[]] = [
  [20, 50],
  [...prompt(0, 13, 20), { s: 1, p: 49 }, { s: 1, p: 7 }, { s: -1, p: 3 }],
];
const emulated: readonly (readonly [set: 'avx512' | 'amx', indices: readonly number[], step: typeof mixed])[] = [
  ['avx512', [0, 2, 3, 7, 9, 10, 12], mixed],
  ['amx', [1, 2, 3, 5, 7, 9, 11], mixed],
  ['amx', [12], [[20], [{ s: 0, p: 19 }]]],
  ['amx', [0], [[40], prompt(0, 20, 40)]],
];
for (const [set, indices, [lengths, tokens]] of emulated) {
  const machine = machineOf(set);
  for (const index of indices) {
    const c = cases[index] as Case;
    test(`attention in bf16: ${c.keyDim} and ${c.valueDim}, ${c.pool}: ${set} has the bits of the numerics`, {
      skip: skip || (typeof machine === 'string' && machine),
    }, async () => {
      reference ??= bf16Attention(cpu());
      const inputs = world(c, lengths, tokens, 500 + 10 * index);
      const on = typeof machine === 'string' ? assert.fail(machine) : machine;
      assertSame(native(c, inputs, [1, 0], false, on), await (await reference)(c, inputs), set);
    });
  }
}

/** The largest length of rows of `dim` that are numbers. */
const longest = (values: Float32Array, dim: number) =>
  Math.max(
    ...Array.from({ length: values.length / dim }, (_, i) =>
      Math.hypot(...values.subarray(i * dim, (i + 1) * dim)),
    ).filter((length) => !Number.isNaN(length)),
  );

test('attention in bf16: as near to the decomposition as roundings to 8 bits allow', { skip }, async () => {
  for (const c of [2, 6, 8].map((index) => cases[index] as Case)) {
    const inputs = new Map(world(c, [77], prompt(0, 40, 77), 7));
    const q = (inputs.get('q') as Float32Array).map((x) => x / 4);
    inputs.set('q', q);
    const floats = (name: string) => decodeElements('f32', inputs.get(name) as Uint8Array) as Float32Array;
    const [exact, made] = [await (await decomposed(cpu(), c))(inputs), native(c, inputs, [0], true)];
    // Both factors of a score are off by 2^-8, those of a weighted sum too; an error of scores is one of exponents.
    const u = 2 ** -8;
    const score = scale * longest(q, c.keyDim) * longest(floats('kPool'), c.keyDim) * (2 * u + u * u);
    const largest = floats('vPool').reduce((most, x) => (Math.abs(x) > most ? Math.abs(x) : most), 0);
    const bound = largest * (Math.exp(2 * score) * (1 + u) ** 2 - 1 + 2 ** -16);
    const errors = made.map((x, i) => Math.abs(x - (exact[i] as number)));
    assert.ok(Math.max(...errors) <= bound, `${Math.max(...errors)} is more than ${bound}`);
    // Errors have either sign, so that most are far below it.
    assert.ok(
      Math.hypot(...errors) <= 0.01 * Math.hypot(...exact),
      `${Math.hypot(...errors)} of ${Math.hypot(...exact)}`,
    );
  }
});

test('attention in bf16: what is no number stays in its sequence', { skip }, async () => {
  for (const index of [0, 2, 5]) {
    const c = cases[index] as Case;
    const tokens = [...prompt(0, 30, 60), ...prompt(1, 20, 50), ...prompt(2, 0, 20)];
    const inputs = world(c, [60, 50, 20], tokens, 40 + index);
    const clean = native(c, inputs, [0], true);
    const rowLength = c.heads * c.keyDim;
    const poisoned = (inputs.get('q') as Float32Array).map((x, i) => (Math.floor(i / rowLength) < 30 ? Number.NaN : x));
    const made = native(c, new Map([...inputs, ['q', poisoned]]), [0], true);
    const first = 30 * c.heads * c.valueDim;
    assert.ok(made.subarray(0, first).every(Number.isNaN));
    assertSame(made.subarray(first), clean.subarray(first), `case ${index}`);
  }
});

test('attention in bf16: the device takes the kernels', { skip }, async () => {
  const c = cases[0] as Case;
  const tokens = [...prompt(0, 13, 40), { s: 1, p: 20 }];
  const inputs = world(c, [40, 21], tokens, 3);
  const bound = await cpu().bind(await cpu().compile(programOf(c)), new Map(), new Map());
  const ticket = cpu().submit(bound, inputs, { T: tokens.length, S: 2 });
  const y = (await cpu().wait(ticket, Number.POSITIVE_INFINITY)).get('y') ?? assert.fail();
  assertSame(new Float32Array(y.buffer, y.byteOffset, y.byteLength / 4), native(c, inputs, [0], true), 'device');
});
