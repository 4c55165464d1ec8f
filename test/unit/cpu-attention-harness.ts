/** Attention for tests: cases, their programs, contexts in pools, and the kernels alone on guarded memory. */
import assert from 'node:assert/strict';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { pagedAttention } from '../../src/composites/paged_attention.ts';
import { type AttentionShape, isSupported, partialsBytes } from '../../src/devices/cpu/kernels/attention-shape.ts';
import { attentionKernels } from '../../src/devices/cpu/kernels/paged-attention.ts';
import type { Device } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { encodeElements } from '../../src/numerics/host-array.ts';
import { encodeKv, isCoded, type KvFormat, kvRow } from '../../src/numerics/kv-format.ts';
import { generator, normal } from './composites-harness.ts';
import { avx2Machine, Guarded, runKernel } from './native-kernel.ts';

export interface Case {
  readonly heads: number;
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly blockSize: number;
  readonly partition: number;
  readonly pool: KvFormat;
  readonly window?: number;
  readonly softCap?: number;
  readonly bidirectional?: true;
  readonly sinks?: boolean;
  /** Longest context of the table, in blocks. */
  readonly columns?: number;
  readonly numerics?: 'bf16';
}

export const base = { blockSize: 16, partition: 32, columns: 12 } as const;
export const scale = 0.3;
export const T = { sym: 'T', max: 160 } as const;
export const S = { sym: 'S', max: 6 } as const;
const blocks = 40;

export function programOf(c: Case) {
  const { heads, kvHeads, keyDim, valueDim, blockSize, pool, sinks, columns = 12 } = c;
  const { partition, window, softCap, bidirectional, numerics } = c;
  const poolType = (dim: number) => {
    const { element, length } = kvRow(pool, dim);
    return tensor(element, [blocks * blockSize, kvHeads, length]);
  };
  const parameters = [
    { name: 'q', type: tensor('f32', [T, heads, keyDim]) },
    { name: 'kPool', type: poolType(keyDim) },
    { name: 'vPool', type: poolType(valueDim) },
    { name: 'positions', type: tensor('i32', [T]) },
    { name: 'sequence', type: tensor('i32', [T]) },
    { name: 'ctxLen', type: tensor('i32', [S]) },
    { name: 'blockTable', type: tensor('i32', [S, columns]) },
    { name: 'sinks', type: tensor('f32', [heads]) },
  ].map((parameter): Parameter => ({ ...parameter, role: 'input' }));
  return new ProgramBuilder().program(parameters, (b, values) => {
    const { q, kPool, vPool, positions, sequence, ctxLen, blockTable } = values;
    const operands = { q, kPool, vPool, positions, sequence, ctxLen, blockTable };
    return {
      y: pagedAttention(
        b,
        { ...operands, ...(sinks && { sinks: values.sinks }) },
        { scale, blockSize, partition, window, softCap, bidirectional, numerics, ...(isCoded(pool) && { kv: pool }) },
      ),
    };
  });
}

export function shapeOf(
  c: Case,
  tokens: AttentionShape['tokens'],
  sequences: AttentionShape['sequences'],
): AttentionShape {
  const { pool, sinks = false, columns = 12, ...rest } = c;
  return { ...rest, tokens, sequences, keys: pool, values: pool, blocks, columns, scale, sinks };
}

export interface Token {
  readonly s: number;
  readonly p: number;
}
export type Inputs = ReadonlyMap<string, ArrayBufferView>;

/** Contexts whose blocks lie in the pools in any order; what is not in use there is no number. */
export function world(c: Case, lengths: readonly number[], tokens: readonly Token[], seed: number): Inputs {
  const { heads, kvHeads, keyDim, valueDim, blockSize, pool, columns = 12 } = c;
  const random = generator(seed);
  const free = Array.from({ length: blocks }, (_, i) => i).sort(() => random() - 0.5);
  const table = lengths.map((length) =>
    Array.from({ length: columns }, (_, i) => (i * blockSize < length ? (free.pop() ?? assert.fail()) : -1)),
  );
  const used = new Set(
    lengths.flatMap((length, s) =>
      Array.from({ length }, (_, p) => (table[s]?.[Math.floor(p / blockSize)] ?? 0) * blockSize + (p % blockSize)),
    ),
  );
  const poolOf = (dim: number) => {
    const values = new Float32Array(blocks * blockSize * kvHeads * dim).fill(Number.NaN);
    for (const slot of used) values.set(normal(random, kvHeads * dim), slot * kvHeads * dim);
    if (!isCoded(pool)) return encodeElements(pool, values);
    const rows = Array.from({ length: values.length / dim }, (_, i) =>
      encodeKv(pool, values.subarray(i * dim, (i + 1) * dim)),
    );
    return new Uint8Array(Buffer.concat(rows));
  };
  return new Map<string, ArrayBufferView>([
    ['q', Float32Array.from(normal(random, tokens.length * heads * keyDim, 2))],
    ['kPool', poolOf(keyDim)],
    ['vPool', poolOf(valueDim)],
    ['positions', Int32Array.from(tokens, ({ p }) => p)],
    ['sequence', Int32Array.from(tokens, ({ s }) => s)],
    ['ctxLen', Int32Array.from(lengths)],
    ['blockTable', Int32Array.from(table.flat())],
    ['sinks', Float32Array.from(normal(random, heads))],
  ]);
}

/** The decomposition on a device, with sizes known only when it runs. */
export async function decomposed(on: Device, c: Case) {
  const executable = await on.compile(inlineComposites(programOf(c), () => false));
  const bound = await on.bind(executable, new Map(), new Map());
  return async (inputs: Inputs): Promise<Float32Array> => {
    const dims = { T: inputs.get('positions')?.byteLength ?? 0, S: inputs.get('ctxLen')?.byteLength ?? 0 };
    const ticket = on.submit(bound, inputs, { T: dims.T / 4, S: dims.S / 4 });
    const y = (await on.wait(ticket, Number.POSITIVE_INFINITY)).get('y') ?? assert.fail();
    return new Float32Array(y.buffer, y.byteOffset, y.byteLength / 4);
  };
}

/** The kernels alone, on guarded memory; `indices` are the threads in the order in which they run. */
export function native(
  c: Case,
  inputs: Inputs,
  indices: readonly number[],
  symbolic: boolean,
  machine = avx2Machine(),
): Float32Array {
  const count = (name: string) => (inputs.get(name)?.byteLength ?? assert.fail()) / 4;
  const [tokens, sequences] = [count('positions'), count('ctxLen')];
  const shape = shapeOf(c, symbolic ? T : tokens, symbolic ? S : sequences);
  assert.ok(isSupported(shape));
  const memory = Object.fromEntries([...inputs].map(([name, data]) => [name, Guarded.of(data, machine)]));
  using y = new Guarded(4 * tokens * c.heads * c.valueDim, machine);
  using partials = new Guarded(partialsBytes(shape), machine);
  for (const { make } of attentionKernels(shape, machine.target)) {
    runKernel(make(), { ...memory, y, partials }, { T: tokens, S: sequences }, indices);
  }
  for (const guarded of Object.values(memory)) guarded[Symbol.dispose]();
  return y.floats();
}

export function assertSame(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(actual.length, expected.length);
  const [a, e] = [actual, expected].map((x) => new Int32Array(x.buffer, x.byteOffset, x.length)) as [
    Int32Array,
    Int32Array,
  ];
  for (let i = 0; i < a.length; i++) {
    if (a[i] === e[i] || (Number.isNaN(actual[i]) && Number.isNaN(expected[i]))) continue;
    assert.fail(`${what}: [${i}] is ${actual[i]}, not ${expected[i]}`);
  }
}

export const prompt = (s: number, from: number, to: number): Token[] =>
  Array.from({ length: to - from }, (_, i) => ({ s, p: from + i }));
