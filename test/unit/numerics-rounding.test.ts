import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type FloatType,
  fromBits,
  rounder,
  roundTo,
  type SmallFloatType,
  toBits,
  wrapTo,
} from '../../src/numerics/rounding.ts';

const small: Record<SmallFloatType, { bits: number; mantissa: number; bias: number; max: number }> = {
  f16: { bits: 16, mantissa: 10, bias: 15, max: 65504 },
  bf16: { bits: 16, mantissa: 7, bias: 127, max: 3.3895313892515355e38 },
  f8E4M3FN: { bits: 8, mantissa: 3, bias: 7, max: 448 },
  f8E5M2: { bits: 8, mantissa: 2, bias: 15, max: 57344 },
};
const types = Object.keys(small) as SmallFloatType[];

/** The definition, spelled out: sign, exponent, fraction. */
function definedValue(type: SmallFloatType, bits: number): number {
  const { bits: width, mantissa, bias } = small[type];
  const sign = bits >>> (width - 1) === 0 ? 1 : -1;
  const exponent = (bits >>> mantissa) & (2 ** (width - 1 - mantissa) - 1);
  const fraction = bits & (2 ** mantissa - 1);
  if (type === 'f8E4M3FN') {
    if (exponent === 15 && fraction === 7) return NaN;
  } else if (exponent === 2 ** (width - 1 - mantissa) - 1) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias - mantissa)
    : sign * (1 + fraction / 2 ** mantissa) * 2 ** (exponent - bias);
}

for (const type of types) {
  test(`every bit pattern of ${type} decodes by the definition, rounds to itself and encodes back`, () => {
    for (let bits = 0; bits < 2 ** small[type].bits; bits++) {
      const value = fromBits(type, bits);
      assert.ok(Object.is(value, definedValue(type, bits)), `${bits}: ${value}`);
      assert.ok(Object.is(roundTo(type, value), value), `${bits}`);
      if (!Number.isNaN(value)) assert.equal(toBits(type, value), bits);
      else assert.ok(Number.isNaN(fromBits(type, toBits(type, value))));
    }
  });

  test(`between neighbours of ${type} the nearer wins, a tie goes to the even one`, () => {
    const largest = toBits(type, small[type].max);
    for (let bits = 0; bits < largest; bits++) {
      const low = fromBits(type, bits);
      const high = fromBits(type, bits + 1);
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? low : high;
      const step = high - low;
      for (const sign of [1, -1]) {
        assert.ok(Object.is(roundTo(type, sign * middle), sign * even));
        assert.ok(Object.is(roundTo(type, sign * (middle - step * 2 ** -30)), sign * low));
        assert.ok(Object.is(roundTo(type, sign * (middle + step * 2 ** -30)), sign * high));
      }
    }
  });

  test(`${type} overflows from half a step beyond its largest value`, () => {
    const { max, mantissa } = small[type];
    const beyond = type === 'f8E4M3FN' ? NaN : Infinity;
    const halfStep = 2 ** (Math.floor(Math.log2(max)) - mantissa - 1);
    // The largest of f8E4M3FN is even (its odd neighbour is the NaN), so only there the tie rounds down.
    assert.equal(roundTo(type, max + halfStep), type === 'f8E4M3FN' ? max : beyond);
    assert.equal(roundTo(type, max + halfStep * (1 - 2 ** -20)), max);
    for (const value of [max + halfStep * (1 + 2 ** -20), max * 4, 1e300, Infinity]) {
      assert.equal(roundTo(type, value), beyond);
      assert.equal(roundTo(type, -value), -beyond);
    }
    assert.equal(roundTo(type, NaN), NaN);
    assert.ok(Object.is(roundTo(type, -0), -0));
    assert.ok(Object.is(roundTo(type, -5e-324), -0));
    assert.ok(Object.is(roundTo(type, 5e-324), 0));
  });
}

test('rounding of a double is one step: no float in between', () => {
  // Just above a tie of f16, but a tie once it is a float.
  const value = 1 + 2 ** -11 + 2 ** -40;
  assert.equal(roundTo('f16', value), 1 + 2 ** -10);
  assert.equal(roundTo('f16', Math.fround(value)), 1);
});

test('the rounding of a type is that of each element; f64 and f32 are identity and fround', () => {
  const all: FloatType[] = ['f64', 'f32', ...types];
  fc.assert(
    fc.property(fc.float64Array({ maxLength: 8 }), fc.constantFrom(...all), (values, type) => {
      const expected = Array.from(values, (value) => roundTo(type, value));
      assert.deepEqual(Array.from(values, rounder(type)), expected);
    }),
    { seed: 1 },
  );
  assert.equal(roundTo('f64', 0.1), 0.1);
  assert.equal(roundTo('f32', 0.1), Math.fround(0.1));
});

test('integers wrap modulo their width', () => {
  assert.equal(wrapTo('i8', 128), -128);
  assert.equal(wrapTo('ui8', -1), 255);
  assert.equal(wrapTo('i4', 8), -8);
  assert.equal(wrapTo('ui4', 17), 1);
  assert.equal(wrapTo('i32', 2 ** 31), -(2 ** 31));
  assert.equal(wrapTo('ui32', -1), 2 ** 32 - 1);
  assert.equal(wrapTo('i16', -32769.9), 32767);
  assert.equal(wrapTo('i64', 2n ** 63n), -(2n ** 63n));
  assert.equal(wrapTo('ui64', -1), 2n ** 64n - 1n);
  assert.equal(wrapTo('i64', -1.9), -1n);
  assert.equal(wrapTo('i64', NaN), 0n);
  assert.equal(wrapTo('i32', Infinity), 0);
  assert.equal(wrapTo('i1', 0.5), 1);
  assert.equal(wrapTo('i1', 0n), 0);
  const widths = { i4: 4, ui4: 4, i8: 8, ui8: 8, i16: 16, ui16: 16, i32: 32, ui32: 32 } as const;
  fc.assert(
    fc.property(
      fc.maxSafeInteger(),
      fc.constantFrom(...(Object.keys(widths) as (keyof typeof widths)[])),
      (v, type) => {
        const exact = type.startsWith('u')
          ? BigInt.asUintN(widths[type], BigInt(v))
          : BigInt.asIntN(widths[type], BigInt(v));
        assert.equal(wrapTo(type, v), Number(exact));
        assert.equal(wrapTo(type, BigInt(v)), Number(exact));
      },
    ),
    { seed: 2 },
  );
});
