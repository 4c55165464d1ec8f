/**
 * Small programs that reach every family of kernels: what a processor has to get right before code runs on it in the user's
 * process. One row a kernel or an operation of a type; a new kernel is a new row.
 */

import { draw } from '../../../composites/draw.ts';
import { gatedActivation } from '../../../composites/gated_activation.ts';
import { type AttentionNumerics, pagedAttention } from '../../../composites/paged_attention.ts';
import { quantizedDot } from '../../../composites/quantized_dot.ts';
import { quantizedTake } from '../../../composites/quantized_take.ts';
import { rmsNorm } from '../../../composites/rms_norm.ts';
import { rope } from '../../../composites/rope.ts';
import { routedDot } from '../../../composites/routed_dot.ts';
import { sample } from '../../../composites/sample.ts';
import { samplingInputs } from '../../../composites/step.ts';
import type { BinaryOp, UnaryOp } from '../../../ir/attributes.ts';
import { type Builder, ProgramBuilder } from '../../../ir/build.ts';
import type { Parameter, Program, Value } from '../../../ir/program.ts';
import { type Dim, tensor } from '../../../ir/types.ts';
import { type DotNumerics, dotNumerics } from '../../../numerics/dot.ts';
import type { ElementType } from '../../../numerics/element-types.ts';
import { encodeElements, hostArray } from '../../../numerics/host-array.ts';
import { encodeKv, isCoded, kvRow } from '../../../numerics/kv-format.ts';
import { blockFormat } from '../../../numerics/quant/formats.ts';
import { writeD } from '../kernels/blocks.ts';
import { isIntegerFormat } from '../kernels/levels.ts';
import { type PackedFormat, packedFormats } from '../kernels/packing.ts';
import { allAreas, areaOf, bf16Area, commonArea, otherArea } from './areas.ts';
import { type ProgramTest, programTest, type SelfTest } from './program-test.ts';

/** Of some areas. */
export function* selfTests(areas: readonly string[] = allAreas): Generator<SelfTest & ProgramTest> {
  const isWanted = (area: string) => areas.includes(area);
  for (const format of packedFormats) yield* products(format, isWanted);
  for (const format of packedFormats.filter((each) => isWanted(areaOf(each, 'experts')))) yield routed(format);
  for (const format of packedFormats.filter((each) => isWanted(areaOf(each, 'plain')))) yield take(format);
  if (isWanted(commonArea)) {
    yield* [followed(), attention(), attention('i16'), sampling('sample'), sampling('sampled_dot')];
  }
  if (isWanted(bf16Area)) yield attention('bf16');
  yield* elementwise(isWanted);
  if (isWanted(commonArea)) yield* [...conversions(), ...loops()];
}

// ── what programs are made of ──

/** Numerical Recipes' linear congruential generator: the same numbers every time. */
function randomWords(count: number, seed: number): Uint32Array {
  let state = seed;
  return Uint32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  });
}

/** Floats of some size around zero. */
const randomFloats = (count: number, seed: number): Float32Array =>
  Float32Array.from(randomWords(count, seed), (word) => (word - 2 ** 31) / 2 ** 29);

/** In memory as the type lies there; the first are those at its edges. */
function elements(type: ElementType, count: number, seed: number): Uint8Array {
  const values = hostArray(type, count);
  const floats = randomFloats(count, seed);
  const words = randomWords(count, seed);
  const edges = [0, -0, 1, -1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];
  for (let i = 0; i < count; i++) {
    if (values instanceof BigInt64Array || values instanceof BigUint64Array) values[i] = BigInt(words[i] >> (i % 31));
    else if (type.includes('f')) values[i] = edges[i] ?? floats[i];
    else values[i] = words[i] >> (i % 31);
  }
  return encodeElements(type, values);
}

const input = (name: string, element: ElementType, shape: readonly Dim[]): Parameter => ({
  name,
  type: tensor(element, shape),
  role: 'input',
});

const build = (
  parameters: readonly Parameter[],
  body: (b: Builder, values: Readonly<Record<string, Value>>) => Readonly<Record<string, Value>>,
): Program => new ProgramBuilder().program(parameters, body);

// ── weights ──

/** Blocks as `encode` makes them, or any whose scale is 1/16 and whose values are finite. */
function weightBytes(format: PackedFormat, count: number, seed: number): Uint8Array {
  const { blockSize, blockBytes, encode } = blockFormat(format);
  const bytes = new Uint8Array((count / blockSize) * blockBytes);
  if (encode !== undefined) {
    encode(randomFloats(count, seed), bytes);
    return bytes;
  }
  bytes.set(Uint8Array.from(randomWords(bytes.length, seed), (word) => word >>> 24));
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += blockBytes) {
    if (isIntegerFormat(format)) {
      writeD(format, bytes.subarray(at, at + blockBytes), -4);
      continue;
    }
    view.setFloat32(at, 2 ** -4, true);
    // No exponent of eight bits is all ones.
    for (let k = 4; k < blockBytes; k++) bytes[at + k] &= 0xbb;
  }
  return bytes;
}

/** Panels that are full and one that is not; tokens that fill no tile. */
function* products(format: PackedFormat, isWanted: (area: string) => boolean): Generator<SelfTest & ProgramTest> {
  const [N, maxTokens] = [24, 19];
  const T = { sym: 'T', max: maxTokens } as const;
  const blocks = blockFormat(format);
  const usual = blocks.integers === undefined ? 'f32' : 'i8';
  const K = Math.max(96, 2 * blocks.blockSize);
  for (const numerics of Object.keys(dotNumerics) as DotNumerics[]) {
    if (numerics === 'i8' && blocks.integers === undefined) continue;
    const area = areaOf(format, numerics === usual || numerics === 'i8' ? 'plain' : numerics);
    if (!isWanted(area)) continue;
    const weight = weightBytes(format, N * K, 3);
    const rowBytes = weight.length / N;
    const x = randomFloats(maxTokens * K, 5);
    const parameters: readonly Parameter[] = [
      input('x', 'f32', [T, K]),
      { name: 'weight', type: tensor('f32', [N, K]), role: 'weight', format },
    ];
    const program = build(parameters, (b, values) => ({
      y: quantizedDot(b, values.x, values.weight, { format, numerics }),
    }));
    const runs = [1, 19].map((tokens) => {
      const y = new Float32Array(tokens * N);
      for (let t = 0; t < tokens; t++) {
        const dot = dotNumerics[numerics](x.subarray(t * K, (t + 1) * K), blocks);
        for (let n = 0; n < N; n++) y[t * N + n] = dot(weight.subarray(n * rowBytes, (n + 1) * rowBytes));
      }
      return { inputs: { x: x.subarray(0, tokens * K) }, dims: { T: tokens }, expected: { y } };
    });
    yield programTest({ name: `quantized_dot ${format} ${numerics}`, area, program, weights: { weight }, runs });
  }
}

/** A product with a kernel that follows it in its launch. */
function followed(): SelfTest & ProgramTest {
  const [N, K, maxTokens] = [512, 64, 19];
  const format = 'q8_0';
  const T = { sym: 'T', max: maxTokens } as const;
  const weight = weightBytes(format, N * K, 3);
  const rowBytes = weight.length / N;
  const x = randomFloats(maxTokens * K, 5);
  const parameters: readonly Parameter[] = [
    input('x', 'f32', [T, K]),
    { name: 'weight', type: tensor('f32', [N, K]), role: 'weight', format },
  ];
  const half = N / 2;
  const program = build(parameters, (b, values) => {
    const dot = quantizedDot(b, values.x, values.weight, { format, numerics: 'i8' });
    return { y: b.maximum(b.slice(dot, 1, 0, half), b.slice(dot, 1, half, N)) };
  });
  const runs = [1, 19].map((tokens) => {
    const y = Float32Array.from({ length: tokens * half }, (_, i) => {
      const [t, n] = [Math.floor(i / half), i % half];
      const dot = dotNumerics.i8(x.subarray(t * K, (t + 1) * K), blockFormat(format));
      const at = (row: number) => dot(weight.subarray(row * rowBytes, (row + 1) * rowBytes));
      return Math.max(at(n), at(n + half));
    });
    return { inputs: { x: x.subarray(0, tokens * K) }, dims: { T: tokens }, expected: { y } };
  });
  return programTest({ name: 'what follows a product', area: commonArea, program, weights: { weight }, runs });
}

/** Experts of many tokens, of few, and of none. */
function routed(format: PackedFormat): SelfTest & ProgramTest {
  const [E, N, maxTokens, chosen] = [4, 24, 19, 2];
  const T = { sym: 'T', max: maxTokens } as const;
  const ids = Int32Array.from({ length: maxTokens * chosen }, (_, i) => (i % 7 === 3 ? 2 : i % 2 === 0 ? 3 : 0));
  const blocks = blockFormat(format);
  const K = Math.max(96, 2 * blocks.blockSize);
  const weight = weightBytes(format, E * N * K, 31);
  const rowBytes = weight.length / (E * N);
  const x = randomFloats(maxTokens * K, 37);
  const numerics = blocks.integers === undefined ? 'f32' : 'i8';
  const parameters: readonly Parameter[] = [
    input('x', 'f32', [T, K]),
    input('ids', 'i32', [T, chosen]),
    { name: 'weight', type: tensor('f32', [E, N, K]), role: 'weight', format },
  ];
  const program = build(parameters, (b, values) => ({
    y: routedDot(b, values.x, values.weight, values.ids, { format, numerics }),
  }));
  const runs = [1, 19].map((tokens) => {
    const y = new Float32Array(tokens * chosen * N);
    for (let pair = 0; pair < tokens * chosen; pair++) {
      const token = Math.floor(pair / chosen);
      const dot = dotNumerics[numerics](x.subarray(token * K, (token + 1) * K), blocks);
      const first = ids[pair] * N;
      for (let n = 0; n < N; n++) {
        y[pair * N + n] = dot(weight.subarray((first + n) * rowBytes, (first + n + 1) * rowBytes));
      }
    }
    const inputs = { x: x.subarray(0, tokens * K), ids: ids.subarray(0, tokens * chosen) };
    return { inputs, dims: { T: tokens }, expected: { y } };
  });
  const area = areaOf(format, 'experts');
  return programTest({ name: `routed_dot ${format} ${numerics}`, area, program, weights: { weight }, runs });
}

function take(format: PackedFormat): SelfTest & ProgramTest {
  const [N, K] = [40, 256];
  const ids = Int32Array.of(0, 39, 17, -1, 40);
  const weight = weightBytes(format, N * K, 7);
  const values = new Float32Array(N * K);
  blockFormat(format).decode(weight, values);
  const y = new Float32Array(ids.length * K);
  ids.forEach((id, i) => {
    const row = Math.min(N - 1, Math.max(0, id));
    y.set(values.subarray(row * K, (row + 1) * K), i * K);
  });
  const parameters: readonly Parameter[] = [
    input('ids', 'i32', [ids.length]),
    { name: 'weight', type: tensor('f32', [N, K]), role: 'weight', format },
  ];
  const program = build(parameters, (b, { ids, weight }) => ({ y: quantizedTake(b, weight, ids, { format }) }));
  const runs = [{ inputs: { ids }, expected: { y } }];
  const area = areaOf(format, 'plain');
  return programTest({ name: `quantized_take ${format}`, area, program, weights: { weight }, runs });
}

// ── attention and sampling ──

/** A sequence that goes on and one that begins; keys and values are int8 in `i16`. */
function attention(numerics?: AttentionNumerics): SelfTest & ProgramTest {
  const [blockSize, blocks, heads, kvHeads, dim] = [16, 8, 4, 2, 64];
  const T = { sym: 'T', max: 32 } as const;
  const S = { sym: 'S', max: 2 } as const;
  const kv = numerics === 'i16' ? 'int8' : 'f32';
  const { element, length } = kvRow(kv, dim);
  const pool = [blockSize * blocks, kvHeads, length];
  const parameters = [
    input('q', 'f32', [T, heads, dim]),
    input('kPool', element, pool),
    input('vPool', element, pool),
    input('positions', 'i32', [T]),
    input('sequence', 'i32', [T]),
    input('ctxLen', 'i32', [S]),
    input('blockTable', 'i32', [S, 4]),
  ];
  const program = build(parameters, (b, { q, kPool, vPool, positions, sequence, ctxLen, blockTable }) => ({
    y: pagedAttention(
      b,
      { q, kPool, vPool, positions, sequence, ctxLen, blockTable },
      { scale: 0.125, blockSize, numerics, ...(isCoded(kv) && { kv }) },
    ),
  }));
  const rows = (seed: number) => {
    const floats = randomFloats(blocks * blockSize * kvHeads * dim, seed);
    if (!isCoded(kv)) return floats;
    const bytes = new Uint8Array(blocks * blockSize * kvHeads * length);
    for (let i = 0; i < floats.length / dim; i++) {
      bytes.set(encodeKv(kv, floats.subarray(i * dim, (i + 1) * dim)), i * length);
    }
    return bytes;
  };
  const inputs = {
    q: randomFloats(4 * heads * dim, 11),
    kPool: rows(12),
    vPool: rows(13),
    positions: Int32Array.of(37, 0, 1, 2),
    sequence: Int32Array.of(0, 1, 1, 1),
    ctxLen: Int32Array.of(38, 3),
    blockTable: Int32Array.of(5, 0, 3, -1, 7, -1, -1, -1),
  };
  const some = { inputs, dims: { T: 4, S: 2 } };
  if (numerics === undefined) return programTest({ name: 'paged_attention', program, runs: [some], absolute: 1e-5 });
  if (numerics === 'i16') return programTest({ name: 'paged_attention i16', program, runs: [some], absolute: 1e-3 });
  // Against the decomposition in f32; a prompt, too, that fills four tiles of queries. Errors of scores grow with the queries.
  const positions = Int32Array.from({ length: 32 }, (_, i) => i);
  const q = randomFloats(32 * heads * dim, 11).map((x) => x / 8);
  const prompt = { ...inputs, q, positions, sequence: new Int32Array(32), ctxLen: Int32Array.of(32, 0) };
  const runs = [
    { ...some, inputs: { ...inputs, q: q.subarray(0, inputs.q.length) } },
    { inputs: prompt, dims: { T: 32, S: 2 } },
  ];
  return programTest({ name: `paged_attention ${numerics}`, area: bf16Area, program, runs, absolute: 0.02 });
}

/** The greatest logit, a draw from changed ones, and one from the two greatest; of logits that are given, or made by a head. */
function sampling(name: 'sample' | 'sampled_dot'): SelfTest & ProgramTest {
  const limits = {
    maxTokens: 1,
    maxSequences: 2,
    maxRows: 3,
    blockSize: 1,
    blockCount: 1,
    blocksPerSequence: 1,
    maxBias: 2,
  };
  const [V, K, R] = [384, 24, { sym: 'R', max: 3 } as const];
  const isHead = name === 'sampled_dot';
  const parameters: readonly Parameter[] = [
    ...(isHead
      ? [
          input('x', 'f32', [R, K]),
          { name: 'weight', type: tensor('f32', [V, K]), role: 'weight', format: 'f32' } as const,
        ]
      : [input('logits', 'f32', [R, V])]),
    ...samplingInputs(limits),
    input('counts', 'i32', [2, 2, V]),
  ];
  const program = build(parameters, (b, values) => {
    const logits = isHead
      ? quantizedDot(b, values.x, values.weight, { format: 'f32', numerics: 'f32' })
      : values.logits;
    const { ids, logprobs } = sample(b, logits, values);
    return { ids, logprobs, ...(!isHead && { drawn: draw(b, logits, values) }) };
  });
  const inputs: Record<string, ArrayBufferView> = {
    ...(isHead ? { x: randomFloats(3 * K, 23).map((x) => x / 8) } : { logits: randomFloats(3 * V, 17) }),
    temperature: Float32Array.of(0, 0.8, 0.5),
    topK: Int32Array.of(0, 40, 2),
    topP: Float32Array.of(1, 0.95, 1),
    minP: Float32Array.of(0, 0.05, 0),
    seed: Uint32Array.of(1, 2, 3, 4, 5, 6),
    drawPosition: Int32Array.of(5, 6, 7),
    countRow: Int32Array.of(0, 1, 0),
    penalties: Float32Array.of(1, 0, 0, 1.1, 0.1, 0.2, 1, 0, 0),
    biasRow: Int32Array.of(1, -1),
    biasToken: Int32Array.of(9, 0),
    biasValue: Float32Array.of(2, 0),
    counts: Int32Array.from(randomWords(4 * V, 19), (word) => Number(word >>> 30 === 0)),
  };
  // What the reference device says: to plan the decomposition takes longer than all other tests.
  const expected: Record<string, ArrayBufferView> = {
    sample: {
      ids: Int32Array.of(196, 232, 228),
      logprobs: Float32Array.of(-3.9180381, -4.8600006, -3.9436862),
      drawn: Int32Array.of(0, 160, 228),
    },
    sampled_dot: { ids: Int32Array.of(163, 312, 288), logprobs: Float32Array.of(-0.4455782, -0.0310672, -2.0268595) },
  }[name];
  const weights: Record<string, Uint8Array> = isHead ? { weight: new Uint8Array(randomFloats(V * K, 29).buffer) } : {};
  const runs = [{ inputs, dims: { R: 3 }, expected }];
  return programTest({ name, program, weights, runs, absolute: 1e-5 });
}

// ── the loop language: operations of types ──

const exactFloat: readonly (UnaryOp | BinaryOp)[] = [
  'abs',
  'ceil',
  'floor',
  'negate',
  'sign',
  'sqrt',
  'add',
  'subtract',
  'multiply',
  'divide',
  'maximum',
  'minimum',
  'round_nearest_even',
  'round_nearest_afz',
];
/** Those of models, and others. */
const functions: readonly (UnaryOp | BinaryOp)[] = [
  ...(['exponential', 'log', 'logistic', 'tanh', 'sine', 'cosine', 'rsqrt', 'power'] as const),
];
const otherFunctions: readonly (UnaryOp | BinaryOp)[] = [
  ...(['exponential_minus_one', 'log_plus_one', 'tan', 'cbrt', 'atan2', 'remainder'] as const),
];
const integers: readonly (UnaryOp | BinaryOp)[] = [
  'abs',
  'negate',
  'not',
  'popcnt',
  'count_leading_zeros',
  'add',
  'subtract',
  'multiply',
  'divide',
  'remainder',
  'maximum',
  'minimum',
  'and',
  'or',
  'xor',
  'shift_left',
  'shift_right_logical',
  'shift_right_arithmetic',
];

interface ElementRow {
  readonly what: string;
  readonly type: ElementType;
  readonly names: readonly (UnaryOp | BinaryOp)[];
  readonly ulp?: number;
  readonly area?: string;
}

const rows: readonly ElementRow[] = [
  { what: 'arithmetic', type: 'f32', names: exactFloat },
  { what: 'functions', type: 'f32', names: functions, ulp: 4 },
  { what: 'more functions', type: 'f32', names: otherFunctions, ulp: 4, area: otherArea },
  { what: 'arithmetic', type: 'f64', names: exactFloat, area: otherArea },
  { what: 'functions', type: 'f64', names: [...functions, ...otherFunctions], ulp: 8, area: otherArea },
  { what: 'arithmetic', type: 'bf16', names: ['add', 'multiply'], area: otherArea },
  { what: 'arithmetic', type: 'f16', names: ['add', 'multiply'], area: otherArea },
  { what: 'arithmetic', type: 'i32', names: integers },
  { what: 'arithmetic', type: 'i64', names: integers, area: otherArea },
  { what: 'arithmetic', type: 'ui32', names: ['divide', 'multiply', 'maximum', 'shift_right_logical'] },
  { what: 'arithmetic', type: 'i8', names: ['add', 'multiply', 'maximum'], area: otherArea },
];

const binaries: ReadonlySet<string> = new Set<BinaryOp>([
  'add',
  'and',
  'atan2',
  'divide',
  'maximum',
  'minimum',
  'multiply',
  'or',
  'power',
  'remainder',
  'shift_left',
  'shift_right_arithmetic',
  'shift_right_logical',
  'subtract',
  'xor',
]);

const isBinary = (name: UnaryOp | BinaryOp): name is BinaryOp => binaries.has(name);

/** Vectors and a tail. */
const length = 77;

/** All of a row in one program; results are named as what they are of. */
function* elementwise(isWanted: (area: string) => boolean): Generator<SelfTest & ProgramTest> {
  for (const { what, type, names, ulp = 0, area = commonArea } of rows) {
    if (!isWanted(area)) continue;
    const program = build([input('x', type, [length]), input('y', type, [length])], (b, { x, y }) =>
      Object.fromEntries(
        names.map((name) => [name, isBinary(name) ? b.binary(name, x, y) : b.unary(name, x)] as const),
      ),
    );
    const inputs = { x: elements(type, length, 23), y: elements(type, length, 29) };
    yield programTest({ name: `${what} of ${type}`, area, program, runs: [{ inputs }], ulp });
  }
}

function* conversions(): Generator<SelfTest & ProgramTest> {
  const types = ['f64', 'f16', 'bf16', 'f8E4M3FN', 'f8E5M2', 'i64', 'i32', 'ui32', 'i16', 'i8', 'ui8', 'i1'] as const;
  const floats = types.filter((type) => type.includes('f'));
  const from = build(
    types.map((type) => input(type, type, [length])),
    (b, values) => Object.fromEntries(types.map((type) => [`${type} to f32`, b.convert(values[type], 'f32')])),
  );
  const inputs = Object.fromEntries(types.map((type) => [type, elements(type, length, 31)]));
  yield programTest({ name: 'conversions to f32', program: from, runs: [{ inputs }] });
  const to = build([input('x', 'f32', [length])], (b, { x }) =>
    Object.fromEntries(floats.map((type) => [`f32 to ${type}`, b.convert(x, type)])),
  );
  yield programTest({
    name: 'conversions from f32',
    program: to,
    runs: [{ inputs: { x: elements('f32', length, 31) } }],
  });
}

// ── the loop language: shapes of loops ──

type Body = (b: Builder, x: Value) => Value;

/** Over [rows, 77]. */
const anyRows: Readonly<Record<string, Body>> = {
  'reduce add of rows': (b, x) => b.reduce('add', x, 0, [1]),
  'reduce maximum of rows': (b, x) => b.reduce('maximum', x, Number.NEGATIVE_INFINITY, [1]),
  rms_norm: (b, x) => rmsNorm(b, x, b.full('f32', [77], 0.5), 1e-5),
  gated_activation: (b, x) => gatedActivation(b, x, x, 'silu'),
};

/** Over [5, 77]. */
const fiveRows: Readonly<Record<string, Body>> = {
  dot_general: (b, x) => b.dot(x, x, { contract: [[1, 1]] }),
  'reduce add of columns': (b, x) => b.reduce('add', x, 0, [0]),
  'transpose and slice': (b, x) => b.slice(b.transpose(x, [1, 0]), 0, 3, 70, 2),
  concatenate: (b, x) => b.concatenate([x, b.negate(x)], 1),
  select: (b, x) => b.select(b.compare('LT', x, b.full('f32', [5, 77], 0)), b.negate(x), x),
  gather: (b, x) => b.take(x, b.iota('i32', [9], 0)),
  scatter: (b, x) => b.put(x, b.constant(tensor('i32', [2]), [4, 1]), b.slice(x, 0, 0, 2)),
  if: (b, x) =>
    b.if(
      b.scalar('i1', true),
      (yes) => [yes.negate(x)],
      () => [x],
    )[0],
  while: (b, x) =>
    b.while(
      [b.scalar('i32', 0), x],
      (inner, i) => inner.compare('LT', i, inner.scalar('i32', 3)),
      (inner, i, value) => [inner.add(i, inner.scalar('i32', 1)), inner.add(value, value)],
    )[1],
  rope: (b, x) => {
    const heads = b.reshape(b.slice(x, 1, 0, 64), [5, 1, 64]);
    const scaling = { kind: 'none' } as const;
    return rope(b, heads, b.iota('i32', [5], 0), { base: 1e4, dimensions: 64, layout: 'half', scaling });
  },
};

function* loops(): Generator<SelfTest & ProgramTest> {
  const inputs = { x: randomFloats(5 * 77, 37) };
  const test = (name: string, rows: Dim, body: Body) => {
    const program = build([input('x', 'f32', [rows, 77])], (b, { x }) => ({ y: body(b, x) }));
    return programTest({ name, program, runs: [{ inputs, dims: { T: 5 } }], absolute: 1e-5 });
  };
  for (const [name, body] of Object.entries(anyRows)) yield test(name, { sym: 'T', max: 16 }, body);
  for (const [name, body] of Object.entries(fiveRows)) yield test(name, 5, body);
}
