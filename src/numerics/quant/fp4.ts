/**
 * Four-bit floats (E2M1) with small scales, as ggml stores them. Twice their values are integers, so scales are halved.
 *
 * MXFP4 (OCP Microscaling Formats 1.0): 32 values, `2^(e - 127) * value`. Layout: byte e, 16 bytes: value k in the low
 * nibble of byte k, k + 16 in the high. ggml gives e = 255, which the specification has for NaN, no meaning of its own.
 * NVFP4: 64 values in 4 parts of 16, each with a scale of 4 exponent and 3 mantissa bits (E4M3, bias 7; the top bit means
 * nothing, 0x7f is zero). Layout: 4 scales, 4 times 8 bytes: of each 16 values, k in the low nibble of byte k, k + 8 in the
 * high.
 */
import { type BlockFormat, decodeProducts, type IntegerBlock } from './format.ts';

/** Twice the values. */
const codebook = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

const mxShape = { blockSize: 32, blockBytes: 17 };

function mxIntegers(bytes: Uint8Array, offset: number, block: IntegerBlock): void {
  block.scale = 2 ** ((bytes[offset] as number) - 128);
  for (let k = 0; k < 16; k++) {
    const pair = bytes[offset + 1 + k] as number;
    block.weights[k] = codebook[pair & 15] as number;
    block.weights[k + 16] = codebook[pair >> 4] as number;
  }
}

export const mxfp4: BlockFormat = {
  name: 'mxfp4',
  ggmlType: 39,
  ...mxShape,
  decode: decodeProducts(mxShape, mxIntegers),
  integers: mxIntegers,
};

const nvShape = { blockSize: 64, blockBytes: 36, integerSize: 16 };

function nvIntegers(bytes: Uint8Array, offset: number, block: IntegerBlock, part: number): void {
  block.scale = halfOfScale(bytes[offset + part] as number);
  for (let k = 0; k < 8; k++) {
    const pair = bytes[offset + 4 + 8 * part + k] as number;
    block.weights[k] = codebook[pair & 15] as number;
    block.weights[k + 8] = codebook[pair >> 4] as number;
  }
}

function halfOfScale(byte: number): number {
  const exponent = (byte >> 3) & 15;
  const mantissa = byte & 7;
  if (byte === 0x7f) return 0;
  return exponent === 0 ? mantissa * 2 ** -10 : (8 + mantissa) * 2 ** (exponent - 11);
}

export const nvfp4: BlockFormat = {
  name: 'nvfp4',
  ggmlType: 40,
  ...nvShape,
  decode: decodeProducts(nvShape, nvIntegers),
  integers: nvIntegers,
};
