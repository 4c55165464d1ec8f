/**
 * How decoded elements live on the host, and how they get there from memory and back. Memory is little endian (so is
 * every platform that runs this), one byte for i1 and sub-byte types, complex numbers as (real, imaginary) pairs.
 */
import { IngotError } from '../base/errors.ts';
import { type ElementType, elementBytes } from './element-types.ts';
import { fromBits, type SmallFloatType, toBits } from './rounding.ts';

/**
 * f64: Float64Array. Every other float: Float32Array of values that the type can represent. i1: Uint8Array of 0 and 1.
 * Integers: the array of their width (4-bit ones in 8). complex: its float array, real and imaginary interleaved.
 */
export type HostArray =
  | Float64Array
  | Float32Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Fresh, zeroed, for `count` elements (so twice `count` numbers for complex types). */
export function hostArray(type: ElementType, count: number): HostArray {
  switch (type) {
    case 'f64':
      return new Float64Array(count);
    case 'f32':
    case 'f16':
    case 'bf16':
    case 'f8E4M3FN':
    case 'f8E5M2':
      return new Float32Array(count);
    case 'i4':
    case 'i8':
      return new Int8Array(count);
    case 'i1':
    case 'ui4':
    case 'ui8':
      return new Uint8Array(count);
    case 'i16':
      return new Int16Array(count);
    case 'ui16':
      return new Uint16Array(count);
    case 'i32':
      return new Int32Array(count);
    case 'ui32':
      return new Uint32Array(count);
    case 'i64':
      return new BigInt64Array(count);
    case 'ui64':
      return new BigUint64Array(count);
    case 'complex<f32>':
      return new Float32Array(2 * count);
    case 'complex<f64>':
      return new Float64Array(2 * count);
    default:
      return type satisfies never;
  }
}

/** Numbers of a host array that make one element. */
export function numbersPerElement(type: ElementType): 1 | 2 {
  return type === 'complex<f32>' || type === 'complex<f64>' ? 2 : 1;
}

/**
 * Memory to values, as a fresh array; `bytes` may start anywhere. Bits that the type does not have are ignored.
 * @throws IngotError 'InvalidArgument' when `bytes` is not a whole number of elements.
 */
export function decodeElements(type: ElementType, bytes: Uint8Array): HostArray {
  const size = elementBytes(type);
  if (bytes.length % size !== 0) {
    throw new IngotError('InvalidArgument', `${bytes.length} bytes are not a whole number of ${type} elements`);
  }
  const array = hostArray(type, bytes.length / size);
  switch (type) {
    case 'f16':
    case 'bf16':
    case 'f8E4M3FN':
    case 'f8E5M2':
      decodeSmallFloats(type, bytes, array as Float32Array);
      break;
    case 'i1':
      for (let i = 0; i < array.length; i++) array[i] = bytes[i] === 0 ? 0 : 1;
      break;
    case 'i4':
      for (let i = 0; i < array.length; i++) array[i] = ((bytes[i] as number) << 28) >> 28;
      break;
    case 'ui4':
      for (let i = 0; i < array.length; i++) array[i] = (bytes[i] as number) & 15;
      break;
    default:
      byteView(array).set(bytes);
  }
  return array;
}

/**
 * Values to memory, as fresh bytes: floats are rounded to the type, integers of 4 bits wrap, i1 is 1 for anything but 0.
 * @throws IngotError 'InvalidArgument' when `array` is not the kind of array that `hostArray(type, n)` makes.
 */
export function encodeElements(type: ElementType, array: HostArray): Uint8Array {
  const count = array.length / numbersPerElement(type);
  if (!Number.isInteger(count) || array.constructor !== hostArray(type, 0).constructor) {
    throw new IngotError(
      'InvalidArgument',
      `a ${array.constructor.name}(${array.length}) does not hold ${type} elements`,
    );
  }
  const bytes = new Uint8Array(count * elementBytes(type));
  switch (type) {
    case 'f16':
    case 'bf16':
    case 'f8E4M3FN':
    case 'f8E5M2':
      encodeSmallFloats(type, array as Float32Array, bytes);
      break;
    case 'i1':
      for (let i = 0; i < count; i++) bytes[i] = array[i] === 0 ? 0 : 1;
      break;
    case 'i4':
      for (let i = 0; i < count; i++) bytes[i] = (Number(array[i]) << 28) >> 28;
      break;
    case 'ui4':
      for (let i = 0; i < count; i++) bytes[i] = Number(array[i]) & 15;
      break;
    default:
      bytes.set(byteView(array));
  }
  return bytes;
}

/** All values of f16, made when first needed: a model's f16 weights are decoded by the hundred million. */
let f16Values: Float32Array | undefined;

/** f16, bf16, f8 in memory to values; `bytes` holds exactly `values.length` elements. NaNs of bf16 keep their payload. */
export function decodeSmallFloats(type: SmallFloatType, bytes: Uint8Array, values: Float32Array): void {
  if (type === 'bf16') {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < words.length; i++) {
      words[i] = ((bytes[2 * i] as number) << 16) | ((bytes[2 * i + 1] as number) << 24);
    }
  } else if (type === 'f16') {
    f16Values ??= Float32Array.from({ length: 0x10000 }, (_, bits) => fromBits('f16', bits));
    for (let i = 0; i < values.length; i++) {
      values[i] = f16Values[(bytes[2 * i] as number) | ((bytes[2 * i + 1] as number) << 8)] as number;
    }
  } else {
    for (let i = 0; i < values.length; i++) values[i] = fromBits(type, bytes[i] as number);
  }
}

/** Values to f16, bf16, f8 in memory, to nearest even. NaNs of bf16 are made quiet and keep the rest of their payload. */
export function encodeSmallFloats(type: SmallFloatType, values: Float32Array, bytes: Uint8Array): void {
  if (type === 'bf16') {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as number;
      const nan = (word & 0x7fffffff) > 0x7f800000;
      const bits = nan ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
      bytes[2 * i] = bits;
      bytes[2 * i + 1] = bits >>> 8;
    }
  } else if (type === 'f16') {
    for (let i = 0; i < values.length; i++) {
      const bits = toBits(type, values[i] as number);
      bytes[2 * i] = bits;
      bytes[2 * i + 1] = bits >>> 8;
    }
  } else {
    for (let i = 0; i < values.length; i++) bytes[i] = toBits(type, values[i] as number);
  }
}

function byteView(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
