/** Attention for tests: cases, their programs, contexts in pools, and the kernels alone on guarded memory. */
import assert from 'node:assert/strict';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { type AttentionNumerics, pagedAttention } from '../../src/composites/paged_attention.ts';
import type { EmittedKernel } from '../../src/devices/cpu/emit/abi.ts';
import { type AttentionShape, isSupported, partialsBytes } from '../../src/devices/cpu/kernels/attention-shape.ts';
import { attentionKernels } from '../../src/devices/cpu/kernels/paged-attention.ts';
import type { Target } from '../../src/devices/cpu/target.ts';
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
  readonly numerics?: AttentionNumerics;
}

export const base = { blockSize: 16, partition: 32, columns: 12 } as const;
/** What DeepSeek-V2 keeps of a token: a vector of 512, which is its value, and 64 numbers more of its key. */
export const latent = { ...base, heads: 5, kvHeads: 1, keyDim: 576, valueDim: 512, pool: 'bf16' } as const;
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
    const encode = (values: Float32Array) => (isCoded(pool) ? encodeKv(pool, values) : encodeElements(pool, values));
    const unused = encode(new Float32Array(dim).fill(Number.NaN));
    const all = Buffer.alloc(blocks * blockSize * kvHeads * unused.length, unused);
    for (const slot of used) {
      for (let row = slot * kvHeads; row < (slot + 1) * kvHeads; row++) {
        all.set(encode(Float32Array.from(normal(random, dim))), row * unused.length);
      }
    }
    return new Uint8Array(all);
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

const made = new Map<string, readonly EmittedKernel[]>();

/** Of a shape and a target, made once. */
function kernelsOf(shape: AttentionShape, target: Target): readonly EmittedKernel[] {
  const key = JSON.stringify([shape, target]);
  const kernels = made.get(key) ?? attentionKernels(shape, target).map(({ make }) => make());
  made.set(key, kernels);
  return kernels;
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
  for (const kernel of kernelsOf(shape, machine.target)) {
    runKernel(kernel, { ...memory, y, partials }, { T: tokens, S: sequences }, indices);
  }
  for (const guarded of Object.values(memory)) guarded[Symbol.dispose]();
  return y.floats();
}

/** The tokens of one sequence in steps of so many, each of which sees what has been written by then. */
export function inPieces(
  c: Case,
  inputs: Inputs,
  pieces: readonly number[],
  indices: readonly number[],
  machine = avx2Machine(),
): Float32Array {
  const q = inputs.get('q') as Float32Array;
  const [positions, sequence] = ['positions', 'sequence'].map((name) => inputs.get(name)) as [Int32Array, Int32Array];
  const rowLength = c.heads * c.keyDim;
  let start = 0;
  const parts = pieces.map((count) => {
    const [from, to] = [start, start + count];
    start = to;
    const step = new Map<string, ArrayBufferView>([
      ...inputs,
      ['q', q.subarray(from * rowLength, to * rowLength)],
      ['positions', positions.subarray(from, to)],
      ['sequence', sequence.subarray(from, to)],
      ['ctxLen', Int32Array.of(1 + (positions[to - 1] as number))],
    ]);
    return native(c, step, indices, true, machine);
  });
  return Float32Array.from(parts.flatMap((part) => [...part]));
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
