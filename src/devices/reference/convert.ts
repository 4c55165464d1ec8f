/**
 * Ops that change the representation of elements: convert, bitcast_convert, reduce_precision, and the parts of complex
 * numbers.
 */
import { elementConverter } from '../../ir/scalar-functions.ts';
import { type ElementType, elementClass, elementTypes } from '../../numerics/element-types.ts';
import { decodeElements, encodeElements, type HostArray } from '../../numerics/host-array.ts';
import { type FloatType, floatLayout, fromBits, toBits } from '../../numerics/rounding.ts';
import type { KernelMaker, NumberArray } from './kernel.ts';
import { wordsOf } from './strided.ts';

export const convert: KernelMaker<'convert'> = ({ inputs: [{ element: from }], outputs: [{ element: to, count }] }) => {
  const f = elementConverter(from, to);
  const fromStep = elementClass(from) === 'complex' ? 2 : 1;
  const toStep = elementClass(to) === 'complex' ? 2 : 1;
  if (from === to) return { run: ([a], [out]) => wordsOf(out).set(wordsOf(a)), reuse: [[0]] };
  return {
    run([a], [out]) {
      for (let i = 0; i < count; i++) {
        out[i * toStep] = f(a[i * fromStep]);
        if (toStep === 2) out[2 * i + 1] = fromStep === 2 ? (a[2 * i + 1] as number) : 0;
      }
    },
  };
};

// ── bits ──

/** As other types see them, elements of 1 and 4 bits lie 8 and 2 to a byte, the first in the lowest bits. */
function toBytes(element: ElementType, array: HostArray): Uint8Array {
  const { bits } = elementTypes[element];
  const bytes = encodeElements(element, array);
  if (bits >= 8) return bytes;
  const perByte = 8 / bits;
  const packed = new Uint8Array(Math.ceil(bytes.length / perByte));
  const mask = (1 << bits) - 1;
  for (let i = 0; i < bytes.length; i++) packed[Math.floor(i / perByte)] |= (bytes[i] & mask) << ((i % perByte) * bits);
  return packed;
}

function fromBytes(element: ElementType, bytes: Uint8Array, count: number): HostArray {
  const { bits } = elementTypes[element];
  if (bits >= 8) return decodeElements(element, bytes);
  const perByte = 8 / bits;
  const spread = new Uint8Array(count);
  const mask = (1 << bits) - 1;
  for (let i = 0; i < count; i++) spread[i] = (bytes[Math.floor(i / perByte)] >> ((i % perByte) * bits)) & mask;
  return decodeElements(element, spread);
}

export const bitcastConvert: KernelMaker<'bitcast_convert'> = ({ inputs: [from], outputs: [to] }) => ({
  run([a], [out]) {
    wordsOf(out).set(wordsOf(fromBytes(to.element, toBytes(from.element, a), to.count)));
  },
});

const doubleCell = new Float64Array(1);
const doubleBits = new BigUint64Array(doubleCell.buffer);
const singleCell = new Float32Array(1);
const singleBits = new Uint32Array(singleCell.buffer);

function floatBits(element: FloatType, x: number): bigint {
  if (element === 'f64') {
    doubleCell[0] = x;
    return doubleBits[0];
  }
  if (element === 'f32') {
    singleCell[0] = x;
    return BigInt(singleBits[0]);
  }
  return BigInt(toBits(element, x));
}

function bitsFloat(element: FloatType, bits: bigint): number {
  if (element === 'f64') {
    doubleBits[0] = bits;
    return doubleCell[0];
  }
  if (element === 'f32') {
    singleBits[0] = Number(bits);
    return singleCell[0];
  }
  return fromBits(element, Number(bits));
}

/**
 * Rounds the mantissa to nearest even, then flushes to zero and to infinity what the smaller exponent cannot hold. A
 * type with no mantissa bits has no NaN: it becomes an infinity.
 */
export const reducePrecision: KernelMaker<'reduce_precision'> = ({ op, inputs: [{ element }] }) => {
  const type = element as FloatType;
  const { exponent_bits: exponentBits, mantissa_bits: mantissaBits } = op.attributes;
  const [exponent, mantissa] = floatLayout[type].map(BigInt);
  const cut = mantissa - BigInt(Math.min(mantissaBits, Number(mantissa)));
  const sign = 1n << (exponent + mantissa);
  const infinity = ((1n << exponent) - 1n) << mantissa;
  const bias = (1n << (exponent - 1n)) - 1n;
  const smallBias = exponentBits < exponent ? (1n << BigInt(exponentBits - 1)) - 1n : undefined;
  const f = (x: number): number => {
    if (Number.isNaN(x)) return mantissaBits > 0 ? x : Number.POSITIVE_INFINITY;
    let bits = floatBits(type, x);
    if (cut > 0n) {
      const odd = (bits >> cut) & 1n;
      bits = ((bits + (1n << (cut - 1n)) - 1n + odd) >> cut) << cut;
    }
    if (smallBias !== undefined) {
      const magnitude = bits & infinity;
      if (magnitude > (bias + smallBias) << mantissa) bits = (bits & sign) | infinity;
      else if (magnitude <= (bias - smallBias) << mantissa) bits &= sign;
    }
    return bitsFloat(type, bits);
  };
  return {
    run([a], [o]) {
      const x = a as NumberArray;
      const out = o as NumberArray;
      for (let i = 0; i < out.length; i++) out[i] = f(x[i]);
    },
    reuse: [[0]],
  };
};

// ── complex parts ──

export const complex: KernelMaker<'complex'> = () => ({
  run([re, im], [out]) {
    for (let i = 0; i < re.length; i++) {
      out[2 * i] = re[i];
      out[2 * i + 1] = im[i];
    }
  },
});

export const part: KernelMaker<'real' | 'imag'> = ({ op, inputs: [{ element }] }) => {
  const offset = op.name === 'real' ? 0 : 1;
  if (elementClass(element) === 'complex') {
    return {
      run([x], [out]) {
        for (let i = 0; i < out.length; i++) out[i] = x[2 * i + offset];
      },
    };
  }
  return { run: ([x], [out]) => (offset === 0 ? wordsOf(out).set(wordsOf(x)) : void out.fill(0 as never)) };
};
