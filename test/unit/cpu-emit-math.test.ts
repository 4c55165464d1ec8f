/** Errors of the emitted functions against JavaScript's in double precision (power: an exact one), over random and edge arguments. */
import assert from 'node:assert/strict';
import type { Binary, Unary } from '../../src/compiler/kernel/language.ts';
import { numberBinary, numberUnary } from '../../src/ir/scalar-functions.ts';
import {
  axis,
  binary,
  buffer,
  bytesOf,
  kernel,
  load,
  loop,
  of,
  poison,
  runEmitted,
  store,
  testEmitted,
  unary,
} from './cpu-emit-harness.ts';
import { exactPower } from './exact-power.ts';
import { type Machine, machineOf } from './machine.ts';

type Float = 'f32' | 'f64';
const arrays = { f32: Float32Array, f64: Float64Array };

/** Numbers whose bits are next to each other differ by one. */
function ordinal(type: Float, value: number): bigint {
  if (type === 'f32') {
    const bits = new Int32Array(new Float32Array([value]).buffer)[0] as number;
    return BigInt(bits < 0 ? -(bits & 0x7fffffff) : bits);
  }
  const bits = new BigInt64Array(new Float64Array([value]).buffer)[0] as bigint;
  return bits < 0n ? -(bits & ((1n << 63n) - 1n)) : bits;
}

function distance(type: Float, a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) && Number.isNaN(b) ? 0 : Number.POSITIVE_INFINITY;
  if (a === 0 && b === 0) return Object.is(a, b) ? 0 : Number.POSITIVE_INFINITY;
  const gap = ordinal(type, a) - ordinal(type, b);
  return Number(gap < 0n ? -gap : gap);
}

let seed = 1;
function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}

const edges = (type: Float) => [
  ...[0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, 1.5, -1.5, 2.5, 22, 60, 88.7, 89, -87.3, -104, 709.7, 710, -745, 1e-7, -1e-7],
  ...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1e-30, -1e-30, 1e15, 4e9],
  ...(type === 'f32' ? [1e-45, 3.4e38, 1.1754944e-38] : [5e-324, 1.7e308, 2.2250738585072014e-308, 1e-310]),
];

/** Random numbers of magnitudes from 2^-low to 2^high. */
function samples(type: Float, count: number, high: number): number[] {
  const list = edges(type);
  while (list.length < count) {
    const magnitude = 2 ** (random() * (high + 20) - 20) * (1 + random());
    list.push((random() < 0.5 ? -1 : 1) * magnitude);
  }
  return list;
}

/** Worst error in units of the last place, and where. Bits are those of AVX2. */
function worst(
  machine: Machine,
  type: Float,
  op: Unary | Binary,
  inputs: readonly number[][],
  f: (...x: number[]) => number,
) {
  const count = inputs[0]?.length ?? 0;
  const data = inputs.map((input) => arrays[type].from(input));
  const ins = inputs.map((_, i) => buffer(`in${i}`, type, count));
  const out = buffer('out', type, count, 'write');
  const i = axis('i', 'vector', count);
  const [a, b] = ins.map((one) => load(one, of(i)));
  assert.ok(a);
  const value = b === undefined ? unary(op as Unary, a) : binary(op as Binary, a, b);
  const k = kernel([...ins, out], [loop(i, store(out, of(i), value))]);
  const memory = [...data.map((one) => bytesOf(one)), poison(count * (type === 'f32' ? 4 : 8))];
  const bytes = runEmitted(k, machine, memory);
  const avx2 = machineOf('avx2');
  // Now and then the emulator gives 0 for the small rest that FMA has of a product; powers of f64 are made with such rests.
  const isReliable = !(machine.emulated && op === 'power');
  if (machine.target.name !== 'avx2' && typeof avx2 !== 'string' && isReliable) {
    // What is no number has its sign from the processor.
    const [own, others] = [bytes, runEmitted(k, avx2, memory)].map((all) => [
      ...new arrays[type](all.at(-1)?.slice().buffer as ArrayBuffer),
    ]);
    assert.deepEqual(own, others);
  }
  const results = new arrays[type]((bytes.at(-1) as Uint8Array).slice().buffer);
  let most = 0;
  let where = '';
  results.forEach((result, at) => {
    const x = data.map((one) => one[at] as number);
    const exact = f(...x);
    const wanted = type === 'f32' ? Math.fround(exact) : exact;
    const error = distance(type, result, wanted);
    if (error > most) {
      most = error;
      where = `${op}(${x.join(', ')}) is ${result}, not ${wanted}`;
    }
  });
  return { most, where };
}

/** Largest magnitude as a power of two, and the error allowed of f64 in units of the last place. */
const unaries: readonly (readonly [Unary, high: number, f64: number])[] = [
  ['exponential', 9, 2],
  ['exponential_minus_one', 9, 3],
  ['log', 60, 2],
  ['log_plus_one', 60, 3],
  ['logistic', 9, 3],
  ['tanh', 5, 3],
  ['sine', 120, 2],
  ['cosine', 120, 2],
  ['tan', 120, 4],
  ['cbrt', 60, 2],
  ['sqrt', 60, 0],
  ['rsqrt', 60, 0],
  ['sinh', 9, 4],
  ['cosh', 9, 4],
  ['truncate', 30, 0],
  ['floor', 30, 0],
  ['ceil', 30, 0],
  ['round_nearest_afz', 30, 0],
  ['round_nearest_even', 30, 0],
  ['sign', 10, 0],
  ['abs', 10, 0],
  ['negate', 10, 0],
];
const plain: Partial<Record<Unary, (x: number) => number>> = {
  // Where e^-x overflows, its inverse does not vanish yet.
  logistic: (x) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x))),
  sinh: Math.sinh,
  cosh: Math.cosh,
  truncate: Math.trunc,
};

for (const [op, high, f64] of unaries) {
  // Of f32 what works in f32; the others round once.
  const f32 = f64 === 0 ? 0 : op === 'tanh' || op === 'logistic' ? 2 : 1;
  testEmitted(`${op}: error of f32 at most ${f32} ulp, of f64 ${f64}`, (machine, t) => {
    for (const type of ['f32', 'f64'] as const) {
      const f = plain[op] ?? numberUnary(op as Parameters<typeof numberUnary>[0], type);
      assert.ok(f, op);
      const { most, where } = worst(machine, type, op, [samples(type, 4001, high)], f);
      t.diagnostic(`${op} ${type}: ${most} ulp`);
      assert.ok(most <= (type === 'f32' ? f32 : f64), `${most} ulp: ${where}`);
    }
  });
}

/** JavaScript's power where an argument is special: it has the rules, but not the precision. */
function orExactPower(scalar: (x: number, y: number) => number): (x: number, y: number) => number {
  return (x, y) => (x > 0 && Number.isFinite(x) && Number.isFinite(y) ? exactPower(x, y) : scalar(x, y));
}

/** Whose result is anything from nothing to infinity, of bases next to 1 too. */
function powersOfAllSizes(count: number): (readonly [number, number])[] {
  return Array.from({ length: count }, () => {
    const x = random() < 0.5 ? 1 + (random() - 0.5) * 2 ** (-30 * random()) : 2 ** (2000 * random() - 1000);
    return [x, (2200 * random() - 1100) / Math.log2(x)];
  });
}

const binaries: readonly (readonly [Binary, high: number, f64: number])[] = [
  ['power', 5, 1],
  ['atan2', 20, 3],
  ['hypot', 20, 3],
  ['remainder', 12, 0],
  ['maximum', 5, 0],
  ['minimum', 5, 0],
  ['divide', 5, 0],
];

for (const [op, high, f64] of binaries) {
  testEmitted(`${op}: error of f32 at most 1 ulp, of f64 ${f64}`, (machine, t) => {
    for (const type of ['f32', 'f64'] as const) {
      const scalar = op === 'hypot' ? Math.hypot : numberBinary(op as Parameters<typeof numberBinary>[0], type);
      const f = op === 'power' && scalar !== undefined ? orExactPower(scalar) : scalar;
      assert.ok(f, op);
      const list = edges(type).filter((x) => op !== 'remainder' || Math.abs(x) > 1e-300 || x === 0);
      const pairs = list.flatMap((x) => list.map((y) => [x, y] as const));
      const [xs, ys] = [samples(type, 3000, high), samples(type, 3000, high).reverse()];
      if (op === 'power') pairs.push(...powersOfAllSizes(2000));
      const a = [...pairs.map(([x]) => x), ...xs.filter((_, at) => Math.abs(ys[at] as number) > 1e-300)];
      const b = [...pairs.map(([, y]) => y), ...ys.filter((y) => Math.abs(y) > 1e-300)];
      const { most, where } = worst(machine, type, op, [a, b], f);
      t.diagnostic(`${op} ${type}: ${most} ulp`);
      assert.ok(most <= (type === 'f32' ? (f64 === 0 ? 0 : 1) : f64), `${most} ulp: ${where}`);
    }
  });
}
