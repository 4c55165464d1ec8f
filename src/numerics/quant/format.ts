/**
 * What a weight format is: values in blocks of `blockSize` along the last dimension, `blockBytes` each. Unquantized
 * element types are formats too (blocks of one). One file a family; the table is in `formats.ts`.
 */
import { fromBits, toBits } from '../rounding.ts';

export interface BlockFormat {
  /** ggml's name of the type in lower case as its tools print it: 'f32', 'q8_0', 'q4_K'. */
  readonly name: string;
  /** Its number in GGUF files. */
  readonly ggmlType: number;
  /** Values in a block; the last dimension of a tensor is a multiple of it. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Decodes `values.length` values; `bytes` holds exactly their blocks. Bit-exact to the format's public definition. */
  decode(bytes: Uint8Array, values: Float32Array): void;
  /** Encodes to nearest as the format's public reference encoder does; `values.length` is a multiple of `blockSize`. */
  encode(values: Float32Array, bytes: Uint8Array): void;
  /** Formats of integers only: reads the block at `offset` as integers, which the `i8` dot numerics multiply exactly. */
  readonly integers?: (bytes: Uint8Array, offset: number, block: IntegerBlock) => void;
}

/** A block as integers: value k is `scale * weights[k] - minScale * minima[k]`, up to the rounding of that expression. */
export interface IntegerBlock {
  scale: number;
  minScale: number;
  /** `blockSize` each; sub-block scales are multiplied in. */
  readonly weights: Int32Array;
  readonly minima: Int32Array;
}

export function readF16(bytes: Uint8Array, offset: number): number {
  return fromBits('f16', (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8));
}

/** Writes the nearest f16 and returns its value, which is what a decoder will see. */
export function writeF16(bytes: Uint8Array, offset: number, value: number): number {
  const bits = toBits('f16', value);
  bytes[offset] = bits;
  bytes[offset + 1] = bits >>> 8;
  return fromBits('f16', bits);
}

/** Nearest integer of a float, ties to even, by the float adder; for |value| < 2^22. */
export function nearestInteger(value: number): number {
  return Math.fround(value + 12582912) - 12582912;
}

export function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}
