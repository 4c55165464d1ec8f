/**
 * The kernels of `paged_attention` in numerics `bf16`, bit for bit what numerics/dot.ts says of their products, on every instruction
 * set; and how far that is from the decomposition.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { targetKey } from '../../src/devices/cpu/target.ts';
import type { Device } from '../../src/devices/device.ts';
import { openCpu } from '../conformance/devices.ts';
import { bf16Attention } from './attention-bf16-reference.ts';
import { generator, integer } from './composites-harness.ts';
import { assertSame, base, type Case, native, prompt, type Token, world } from './cpu-attention-harness.ts';
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
  { ...base, numerics, heads: 4, kvHeads: 2, keyDim: 256, valueDim: 256, pool: 'bf16', window: 40, partition: 48 },
  { ...base, numerics, heads: 4, kvHeads: 4, keyDim: 32, valueDim: 32, pool: 'f32', bidirectional: true },
  { ...base, numerics, heads: 7, kvHeads: 1, keyDim: 40, valueDim: 72, pool: 'int8', window: 21, softCap: 3 },
  { ...base, numerics, heads: 8, kvHeads: 2, keyDim: 128, valueDim: 128, pool: 'int4', sinks: true },
  { ...base, numerics, heads: 20, kvHeads: 1, keyDim: 8, valueDim: 8, pool: 'int4' },
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
  [[77], prompt(0, 30, 77)],
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
    const random = generator(index);
    reference ??= bf16Attention(cpu());
    for (const [i, [lengths, tokens]] of steps.entries()) {
      const inputs = world(c, lengths, tokens, 100 * index + i);
      const expected = await (await reference)(c, inputs);
      for (const indices of [[0], [2, 0, 1]]) {
        assertSame(native(c, inputs, indices, indices.length > 1), expected, `step ${i}`);
        const machine = withDrawnSchedule(avx2Machine(), () => integer(random, 1000));
        assertSame(native(c, inputs, indices, false, machine), expected, `step ${i}, ${targetKey(machine.target)}`);
      }
    }
  });
}

// An emulator is slow, and slower with tiles: few tokens of few dimensions.
const few: readonly (readonly [set: 'avx512' | 'amx', indices: readonly number[]])[] = [
  ['avx512', [0, 2, 3, 7, 9, 10]],
  ['amx', [1, 2, 5, 9, 11]],
];
for (const [set, indices] of few) {
  const machine = machineOf(set);
  for (const index of indices) {
    const c = cases[index] as Case;
    test(`attention in bf16: ${c.keyDim} and ${c.valueDim}, ${c.pool}: ${set} has the bits of the numerics`, {
      skip: skip || (typeof machine === 'string' && machine),
    }, async () => {
      reference ??= bf16Attention(cpu());
      const [lengths, tokens] = [
        [20, 50],
        [...prompt(0, 13, 20), { s: 1, p: 49 }, { s: 1, p: 7 }, { s: -1, p: 3 }],
      ];
      const inputs = world(c, lengths, tokens, 500 + 10 * index);
      const on = typeof machine === 'string' ? assert.fail(machine) : machine;
      assertSame(native(c, inputs, [1, 0], false, on), await (await reference)(c, inputs), set);
    });
  }
}
