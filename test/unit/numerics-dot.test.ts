import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { type DotNumerics, dotNumerics, quantizeActivations } from '../../src/numerics/dot.ts';
import { addFlushed, flushSubnormal, fusedMultiplyAdd } from '../../src/numerics/fma.ts';
import { sumLanes } from '../../src/numerics/math.ts';
import type { BlockFormat, EncodableFormat } from '../../src/numerics/quant/format.ts';
import { blockFormat, encodableFormat, encodableFormats } from '../../src/numerics/quant/formats.ts';
import { roundTo } from '../../src/numerics/rounding.ts';

const cell = new Float32Array(1);
const word = new Uint32Array(cell.buffer);
function floatOfBits(bits: number): number {
  word[0] = bits;
  return cell[0] as number;
}

/** A finite f32 as an integer multiple of 2^-149. */
function exact(value: number): bigint {
  cell[0] = value;
  const bits = word[0] as number;
  const exponent = (bits >>> 23) & 255;
  const fraction = bits & 0x7fffff;
  const magnitude = exponent === 0 ? BigInt(fraction) : BigInt(fraction | 0x800000) << BigInt(exponent - 1);
  return bits >>> 31 === 1 ? -magnitude : magnitude;
}

/** Nearest-even f32 of n * 2^-298, by integers alone; results that stay below 2^-126 become zero. */
function nearest(n: bigint): number {
  const magnitude = n < 0n ? -n : n;
  const length = magnitude === 0n ? 0 : magnitude.toString(2).length;
  const shift = BigInt(Math.max(0, length - 24));
  let significand = magnitude >> shift;
  const rest = magnitude - (significand << shift);
  const half = shift === 0n ? 0n : 1n << (shift - 1n);
  if (shift > 0n && (rest > half || (rest === half && (significand & 1n) === 1n))) significand += 1n;
  const rounded = significand << shift;
  if (rounded < 1n << 172n) return 0; // 2^-126 = 2^172 * 2^-298
  if (rounded >= 1n << 426n) return n < 0n ? -Infinity : Infinity;
  const value = Number(significand) * 2 ** (Number(shift) - 200) * 2 ** -98;
  return n < 0n ? -value : value;
}
const exactFma = (a: number, b: number, c: number) => nearest(exact(a) * exact(b) + (exact(c) << 149n));

const assertFma = (a: number, b: number, c: number) => {
  const [x, y, z] = [flushSubnormal(a), flushSubnormal(b), flushSubnormal(c)];
  assert.ok(
    fusedMultiplyAdd(x, y, z) === exactFma(x, y, z),
    `${x} * ${y} + ${z}: ${fusedMultiplyAdd(x, y, z)} is not ${exactFma(x, y, z)}`,
  );
};

test('fused multiply-add rounds once: where a double in between would round twice', () => {
  const a = 1 + 2 ** -12; // a * a = 1 + 2^-11 + 2^-24 is a tie of f32
  assert.equal(fusedMultiplyAdd(a, a, 2 ** -80), 1 + 2 ** -11 + 2 ** -23);
  assert.equal(fusedMultiplyAdd(a, a, -(2 ** -80)), 1 + 2 ** -11);
  assert.equal(fusedMultiplyAdd(a, -a, -(2 ** -80)), -(1 + 2 ** -11 + 2 ** -23));
  assert.equal(fusedMultiplyAdd(a, -a, 2 ** -80), -(1 + 2 ** -11));
  assert.equal(Math.fround(a * a + 2 ** -80), 1 + 2 ** -11);
});

test('fused multiply-add equals rational arithmetic on any finite f32', () => {
  const finite = fc.integer({ min: 0, max: 0xffffffff }).map(floatOfBits).filter(Number.isFinite);
  fc.assert(fc.property(finite, finite, finite, assertFma), { seed: 4, numRuns: 3000 });
});

test('fused multiply-add equals rational arithmetic where sum and product nearly cancel or barely meet', () => {
  const near = fc.integer({ min: 0x3f000000, max: 0x41000000 }).map(floatOfBits);
  const exponent = fc.integer({ min: -100, max: 40 });
  fc.assert(
    fc.property(near, near, exponent, fc.integer({ min: -4, max: 4 }), fc.boolean(), (a, b, shift, ulps, cancel) => {
      const product = Math.fround(a * b);
      cell[0] = product;
      const neighbour = -floatOfBits((word[0] as number) + ulps);
      assertFma(a, b, cancel ? neighbour : Math.fround(b * 2 ** shift));
      assertFma(a, -b, Math.fround(b * 2 ** shift));
    }),
    { seed: 5, numRuns: 3000 },
  );
});

test('fused multiply-add flushes subnormal results, tininess after rounding, and overflows to infinity', () => {
  const small = fc.integer({ min: 0x1f000000, max: 0x20800000 }).map(floatOfBits); // products around 2^-126
  const tiny = fc.integer({ min: 0x00800000, max: 0x01800000 }).map(floatOfBits);
  fc.assert(
    fc.property(small, small, tiny, fc.constantFrom(1, -1), (a, b, c, sign) => assertFma(a, b, sign * c)),
    { seed: 6, numRuns: 3000 },
  );
  const least = 2 ** -126;
  const [below, above] = [(1 - 2 ** -13) * 2 ** -63, (1 + 2 ** -13) * 2 ** -63];
  assert.equal(fusedMultiplyAdd(below, above, 0), least, 'rounds up to a normal number');
  assert.equal(fusedMultiplyAdd(1 - 2 ** -24, least, 0), 0, 'a subnormal, although f32 without a lower limit has it');
  assert.ok(Object.is(fusedMultiplyAdd(-0.5, least, 0), -0));
  assert.equal(fusedMultiplyAdd(2 ** 100, 2 ** 100, -(2 ** 127)), Infinity);
  assert.ok(Number.isNaN(fusedMultiplyAdd(2 ** 100, NaN, 1)));
  assert.ok(Number.isNaN(fusedMultiplyAdd(Infinity, 1, -Infinity)));
  assert.equal(addFlushed(least * 1.5, -least), 0);
  assert.ok(Object.is(flushSubnormal(-1e-40), -0));
});

const random = (count: number, seed: number, scale = 1): Float32Array => {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    let sum = -6 * 2 ** 32;
    for (let i = 0; i < 12; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      sum += state;
    }
    return (sum / 2 ** 32) * scale;
  });
};
const encode = (format: EncodableFormat, values: Float32Array): Uint8Array => {
  const bytes = new Uint8Array((values.length / format.blockSize) * format.blockBytes);
  format.encode(values, bytes);
  return bytes;
};
const decode = (format: BlockFormat, bytes: Uint8Array): Float32Array => {
  const values = new Float32Array((bytes.length / format.blockBytes) * format.blockSize);
  format.decode(bytes, values);
  return values;
};
/** Few normal values are more than half of the largest: the rest would be zero in a ternary format. */
const weightsFor = (format: BlockFormat, values: Float32Array): Float32Array =>
  format.name.startsWith('tq') ? values.map((value) => 0.02 * Math.sign(Math.round(value / 0.02))) : values;
const pairs = (['i8', 'bf16', 'f32'] as const).flatMap((numerics) =>
  encodableFormats
    .filter((format) => numerics !== 'i8' || format.integers !== undefined)
    .map((format) => ({ numerics, format })),
);
/**
 * Five standard deviations of the error relative to |x| . |w| for normal values: roundings of activations to steps of
 * amax / 127 (i8), of both sides to 8 bits (bf16), of partial sums to 24 bits (f32).
 */
const bounds: Record<DotNumerics, (K: number) => number> = {
  i8: (K) => 0.06 / Math.sqrt(K),
  bf16: (K) => 0.0125 / Math.sqrt(K),
  f32: () => 2 ** -20,
};

for (const { numerics, format } of pairs) {
  test(`${numerics} with ${format.name} is near the exact dot product, scales by powers of two, and is odd in x`, () => {
    for (const K of [256, 2048]) {
      for (let seed = 1; seed <= 8; seed++) {
        const x = random(K, seed);
        const row = encode(format, weightsFor(format, random(K, seed + 100, 0.02)));
        const weights = decode(format, row);
        let expected = 0;
        let size = 0;
        for (let k = 0; k < K; k++) {
          expected += (x[k] as number) * (weights[k] as number);
          size += Math.abs((x[k] as number) * (weights[k] as number));
        }
        const dot = dotNumerics[numerics](x, format)(row);
        assert.ok(Math.abs(dot - expected) <= bounds[numerics](K) * size, `${dot} ${expected} of ${size}`);
        assert.equal(Math.fround(dot), dot);
        const scaled = x.map((value) => value * 8);
        assert.equal(dotNumerics[numerics](scaled, format)(row), dot * 8);
        const negative = x.map((value) => -value);
        assert.equal(dotNumerics[numerics](negative, format)(row), -dot);
      }
    }
  });

  test(`${numerics} with ${format.name}: zero blocks after the end change no bit; one preparation serves many rows`, () => {
    const x = random(512, 9);
    const rows = [10, 11, 12].map((seed) => encode(format, random(512, seed)));
    const longX = new Float32Array(1024);
    longX.set(x);
    const dot = dotNumerics[numerics](x, format);
    const longDot = dotNumerics[numerics](longX, format);
    for (const row of rows) {
      const long = new Uint8Array(2 * row.length);
      long.set(row);
      assert.equal(longDot(long), dotNumerics[numerics](x, format)(row));
      assert.equal(dot(row), dotNumerics[numerics](x, format)(row));
    }
  });
}

test('i8 of one block is two rounded products: the integer sum and the product of scales', () => {
  const format = encodableFormat('q8_0');
  const x = random(32, 20);
  const row = encode(format, random(32, 21));
  const { values, scales } = quantizeActivations(x, 32);
  let sum = 0;
  for (let k = 0; k < 32; k++) sum += (values[k] as number) * (((row[2 + k] as number) << 24) >> 24);
  const scale = decode(
    format,
    Uint8Array.of(row[0] as number, row[1] as number, 1, ...new Array(31).fill(0)),
  )[0] as number;
  assert.equal(dotNumerics.i8(x, format)(row), Math.fround(sum * Math.fround(scale * (scales[0] as number))));
});

test('i8 does not depend on the order inside a block', () => {
  const format = encodableFormat('q8_0');
  const x = random(64, 22);
  const row = encode(format, random(64, 23));
  const swapped = x.slice();
  const swappedRow = row.slice();
  for (let k = 0; k < 32; k++) {
    swapped[k] = x[31 - k] as number;
    swappedRow[2 + k] = row[2 + 31 - k] as number;
  }
  assert.equal(dotNumerics.i8(swapped, format)(swappedRow), dotNumerics.i8(x, format)(row));
});

test('bf16 equals the two chains of a tile step in rational arithmetic, a short last step included', () => {
  for (const K of [32, 40, 96]) {
    const x = random(K, K);
    const weights = random(K, K + 1);
    const b = (array: Float32Array, k: number) => (k < K ? roundTo('bf16', array[k] as number) : 0);
    let acc = 0;
    for (let start = 0; start < K; start += 32) {
      let even = 0;
      let odd = 0;
      for (let k = start; k < start + 32; k += 2) {
        even = exactFma(b(x, k), b(weights, k), even);
        odd = exactFma(b(x, k + 1), b(weights, k + 1), odd);
      }
      acc = exactFma(exactFma(even, 1, odd), 1, acc);
    }
    assert.equal(dotNumerics.bf16(x, blockFormat('f32'))(encode(encodableFormat('f32'), weights)), acc);
  }
});

test('bf16 reads subnormals as zero, f32 keeps them', () => {
  const format = encodableFormat('f32');
  const x = Float32Array.of(2 ** -130, 2 ** -126);
  const row = encode(format, Float32Array.of(1, 1));
  assert.equal(dotNumerics.bf16(x, format)(row), 2 ** -126);
  assert.equal(dotNumerics.f32(x, format)(row), 2 ** -126 + 2 ** -130);
  const half = encode(format, Float32Array.of(1, 0.5));
  assert.equal(dotNumerics.bf16(x, format)(half), 0);
});

test('activations quantize to the nearest of 127 levels; blocks of nothing, of almost nothing and of no numbers', () => {
  const x = new Float32Array(160);
  x.set(random(32, 30));
  x.fill(1e-38, 64, 96);
  x[100] = NaN;
  x[130] = -Infinity;
  const { values, scales } = quantizeActivations(x, 32);
  const d = scales[0] as number;
  let largest = 0;
  for (let k = 0; k < 32; k++) {
    largest = Math.max(largest, Math.abs(values[k] as number));
    assert.ok(Math.abs((values[k] as number) * d - (x[k] as number)) <= d * 0.50001);
  }
  assert.equal(largest, 127);
  assert.deepEqual(scales.slice(1), Float32Array.of(0, 0, NaN, NaN));
  assert.ok(values.slice(32).every((value) => value === 0));
  const dot = dotNumerics.i8(x, blockFormat('q8_0'))(encode(encodableFormat('q8_0'), random(160, 31)));
  assert.ok(Number.isNaN(dot));
});

test('activation ties go to even', () => {
  const x = new Float32Array(32);
  x.set([127, 0.5, 1.5, 2.5, -0.5, -1.5]);
  assert.deepEqual(quantizeActivations(x, 32).values.slice(0, 6), Int8Array.of(127, 0, 2, 2, 0, -2));
});

test('pairs and lengths that are not defined are refused', () => {
  const unsupported = (error: unknown) => isIngotError(error, 'UnsupportedOp');
  for (const name of ['f32', 'f16', 'bf16']) {
    assert.throws(() => dotNumerics.i8(new Float32Array(32), blockFormat(name)), unsupported);
  }
  const invalid = (error: unknown) => isIngotError(error, 'InvalidArgument');
  assert.throws(() => dotNumerics.i8(new Float32Array(33), blockFormat('q4_0')), invalid);
  assert.throws(() => dotNumerics.f32(new Float32Array(32), blockFormat('q4_0'))(new Uint8Array(17)), invalid);
});

test('lanes add in the documented order', () => {
  const values = random(77, 40);
  const lanes = new Array<number>(16).fill(0);
  for (let i = 0; i < 25; i++) lanes[i % 16] = Math.fround((lanes[i % 16] as number) + (values[2 + 3 * i] as number));
  const pair = (list: number[]): number[] =>
    list.length === 1
      ? list
      : pair(
          list.slice(0, list.length / 2).map((value, i) => Math.fround(value + (list[i + list.length / 2] as number))),
        );
  assert.equal(sumLanes(values, 2, 25, 3, Math.fround), pair(lanes)[0]);
  assert.equal(sumLanes(values, 0, 0, 1, Math.fround), 0);
  assert.equal(sumLanes([1, 2, 3], 0, 3, 1, Math.fround), 6);
});
