/**
 * Four-bit floats (E2M1) with small scales, as ggml stores them. Twice their values are integers, so scales are halved.
 *
 * MXFP4 (OCP Microscaling Formats 1.0): 32 values, `2^(e - 127) * value`. Layout: byte e, 16 bytes: value k in the low
 * nibble of byte k, k + 16 in the high. ggml gives e = 255, which the specification has for NaN, no meaning of its own.
 * NVFP4: 64 values in 4 parts of 16, each with a scale of 4 exponent and 3 mantissa bits (E4M3, bias 7; the top bit means
 * nothing, 0x7f is zero). Layout: 4 scales, 4 times 8 bytes: of each 16 values, k in the low nibble of byte k, k + 8 in the
 * high.
 */
import { decodeProducts, type EncodableFormat, type IntegerBlock } from './format.ts';

/** Twice the values. */
const codebook = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

const f = Math.fround;

const mxShape = { blockSize: 32, blockBytes: 17 };

function mxIntegers(bytes: Uint8Array, offset: number, block: IntegerBlock): void {
  block.scale = 2 ** ((bytes[offset] as number) - 128);
  for (let k = 0; k < 16; k++) {
    const pair = bytes[offset + 1 + k] as number;
    block.weights[k] = codebook[pair & 15] as number;
    block.weights[k + 16] = codebook[pair >> 4] as number;
  }
}

export const mxfp4: EncodableFormat = {
  name: 'mxfp4',
  ggmlType: 39,
  ...mxShape,
  decode: decodeProducts(mxShape, mxIntegers),
  integers: mxIntegers,

  encode(values, bytes) {
    for (let start = 0, offset = 0; start < values.length; start += 32, offset += 17) {
      const largest = largestMagnitude(values, start, 32);
      const exponent = largest > 0 ? Math.floor(f(Math.log2(largest))) - 2 + 127 : 0;
      bytes[offset] = exponent;
      const half = 2 ** ((bytes[offset] as number) - 128);
      writeNibbles(values, start, 16, half, bytes, offset + 1);
    }
  },
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

export const nvfp4: EncodableFormat = {
  name: 'nvfp4',
  ggmlType: 40,
  ...nvShape,
  decode: decodeProducts(nvShape, nvIntegers),
  integers: nvIntegers,

  encode(values, bytes) {
    for (let start = 0, offset = 0; start < values.length; start += 64, offset += 36) {
      for (let part = 0; part < 4; part++) {
        const at = start + 16 * part;
        const scale = scaleByte(f(largestMagnitude(values, at, 16) / 6));
        bytes[offset + part] = scale;
        writeNibbles(values, at, 8, halfOfScale(scale), bytes, offset + 4 + 8 * part);
      }
    }
  },
};

/** As ggml rounds: to nearest by the first bit that is dropped; what comes to 256 and more is the largest, 448. */
function scaleByte(value: number): number {
  if (!(value > 0)) return 0;
  if (value < 2 ** -6) return Math.min(7, f(f(value * 512) + 0.5) | 0);
  const exponent = Math.floor(Math.log2(value));
  const eighths = Math.floor(value * 2 ** (3 - exponent) + 0.5);
  // A mantissa of 16 eighths carries into the exponent by itself.
  const bits = 8 * (exponent + 6) + eighths;
  return bits < 0x78 ? bits : 0x7e;
}

function largestMagnitude(values: Float32Array, start: number, count: number): number {
  let largest = 0;
  for (let k = start; k < start + count; k++) {
    const magnitude = Math.abs(values[k] as number);
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

/** `half` values in the low nibbles of as many bytes, as many more in the high ones. */
function writeNibbles(
  values: Float32Array,
  start: number,
  half: number,
  scale: number,
  bytes: Uint8Array,
  at: number,
): void {
  for (let k = 0; k < half; k++) {
    const low = nearestCode(values[start + k] as number, scale);
    const high = nearestCode(values[start + k + half] as number, scale);
    bytes[at + k] = low | (high << 4);
  }
}

/** Of two that are as near the one nearer to zero; zero is never negative. */
function nearestCode(value: number, scale: number): number {
  const magnitude = Math.abs(value);
  let code = 0;
  let best = magnitude;
  for (let k = 1; k < 8; k++) {
    const error = Math.abs(f(f((codebook[k] as number) * scale) - magnitude));
    if (error < best) {
      best = error;
      code = k;
    }
  }
  return code !== 0 && value < 0 ? code + 8 : code;
}
