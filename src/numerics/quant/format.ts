/**
 * What a weight format is: values in blocks of `blockSize` along the last dimension, `blockBytes` each. Unquantized
 * element types are formats too (blocks of one). One file a family; the table is in `formats.ts`.
 */
import { fromBits, toBits } from '../rounding.ts';

export interface BlockFormat {
  /** ggml's name of the type in lower case as its tools print it: 'f32', 'q8_0', 'q4_K'. */
  readonly name: string;
  /** Its number in GGUF files, where they may have it. */
  readonly ggmlType?: number;
  /** Values in a block; the last dimension of a tensor is a multiple of it. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Decodes `values.length` values; `bytes` holds exactly their blocks. Bit-exact to the format's public definition. */
  decode(bytes: Uint8Array, values: Float32Array): void;
  /**
   * Encodes to nearest, byte for byte as ggml does; `values.length` is a multiple of `blockSize`. `importance` is a weight
   * for each column where values are rows of as many; formats that search for nothing ignore it. Absent where encoding
   * means a search that Ingot does not have.
   */
  readonly encode?: (values: Float32Array, bytes: Uint8Array, importance?: Float32Array) => void;
  /** Formats of integers only: reads the block at `offset` as integers, which the `i8` dot numerics multiply exactly. */
  readonly integers?: ReadIntegers;
  /** Values in an integer block where that is less than `blockSize`: parts of a block that have scales of their own. */
  readonly integerSize?: number;
}

export type EncodableFormat = BlockFormat & Required<Pick<BlockFormat, 'encode'>>;

/** `part`: which `integerSize` values of the block. */
export type ReadIntegers = (bytes: Uint8Array, offset: number, block: IntegerBlock, part: number) => void;

/** A block as integers: value k is `scale * weights[k] - minScale * minima[k]`, up to the rounding of that expression. */
export interface IntegerBlock {
  scale: number;
  minScale: number;
  /** `integerSize` or `blockSize` each; sub-block scales are multiplied in. */
  readonly weights: Int32Array;
  readonly minima: Int32Array;
}

export function readF16(bytes: Uint8Array, offset: number): number {
  return fromBits('f16', (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8));
}

/** `decode` of formats whose values are the products `scale * weight` of `integers`, with no more than 24 bits. */
export function decodeProducts(
  { blockSize, blockBytes, integerSize = blockSize }: Pick<BlockFormat, 'blockSize' | 'blockBytes' | 'integerSize'>,
  integers: ReadIntegers,
): BlockFormat['decode'] {
  const block = makeIntegerBlock(integerSize);
  const { weights } = block;
  return (bytes, values) => {
    for (let start = 0, offset = 0; start < values.length; offset += blockBytes) {
      for (let part = 0; part < blockSize / integerSize; part++, start += integerSize) {
        integers(bytes, offset, block, part);
        const { scale } = block;
        for (let k = 0; k < integerSize; k++) values[start + k] = scale * (weights[k] as number);
      }
    }
  };
}

export function makeIntegerBlock(size: number): IntegerBlock {
  return { scale: 0, minScale: 0, weights: new Int32Array(size), minima: new Int32Array(size) };
}

export function readU32(bytes: Uint8Array, offset: number): number {
  const high = ((bytes[offset + 2] as number) << 16) | ((bytes[offset + 3] as number) << 24);
  return ((bytes[offset] as number) | ((bytes[offset + 1] as number) << 8) | high) >>> 0;
}

export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[offset + i] = value >>> (8 * i);
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
