/**
 * ggml's TQ1_0 and TQ2_0: 256 values `d * (q - 1)`, q of 0, 1 or 2, for models trained to such weights (BitNet b1.58).
 *
 * TQ2_0: 64 bytes of pairs of bits, f16 d. Of each 128 values, value 32 * g + k is bits 2g and 2g + 1 of byte k.
 * TQ1_0: 48 bytes of five q each, 4 bytes of four, f16 d. Digit g of a byte is value g * n + k of its run, where runs are
 * 5 times n = 32 values, 5 times 16, 4 times 4. A byte holds the fraction 0.q0q1q2q3q4 in base 3, times 256 and rounded
 * up: multiplied by 3 it gives one digit after another above its 8 bits.
 */
import { decodeProducts, type EncodableFormat, type IntegerBlock, readF16, writeF16 } from './format.ts';

const blockSize = 256;

const tq2Shape = { blockSize, blockBytes: 66 };

function tq2Integers(bytes: Uint8Array, offset: number, block: IntegerBlock): void {
  block.scale = readF16(bytes, offset + 64);
  for (let k = 0; k < blockSize; k++) {
    const quad = bytes[offset + 32 * (k >> 7) + (k & 31)] as number;
    block.weights[k] = ((quad >> (2 * ((k >> 5) & 3))) & 3) - 1;
  }
}

export const tq2_0: EncodableFormat = {
  name: 'tq2_0',
  ggmlType: 35,
  ...tq2Shape,
  decode: decodeProducts(tq2Shape, tq2Integers),
  integers: tq2Integers,

  encode(values, bytes) {
    for (let start = 0, offset = 0; start < values.length; start += blockSize, offset += tq2Shape.blockBytes) {
      const inverse = writeLargest(values, start, bytes, offset + 64);
      for (let k = 0; k < 64; k++) {
        let quad = 0;
        for (let group = 0; group < 4; group++) {
          const value = values[start + 128 * (k >> 5) + 32 * group + (k & 31)] as number;
          quad |= (digitOf(value, inverse) & 3) << (2 * group);
        }
        bytes[offset + k] = quad;
      }
    }
  },
};

const tq1Shape = { blockSize, blockBytes: 54 };

/** Runs of bytes: where they and their values begin, how many, digits in each. */
const tq1Runs = [
  { from: 0, to: 0, bytes: 32, digits: 5 },
  { from: 32, to: 160, bytes: 16, digits: 5 },
  { from: 48, to: 240, bytes: 4, digits: 4 },
] as const;

function tq1Integers(bytes: Uint8Array, offset: number, block: IntegerBlock): void {
  block.scale = readF16(bytes, offset + 52);
  for (const run of tq1Runs) {
    for (let k = 0; k < run.bytes; k++) {
      let fraction = bytes[offset + run.from + k] as number;
      for (let digit = 0; digit < run.digits; digit++) {
        const tripled = 3 * fraction;
        block.weights[run.to + digit * run.bytes + k] = (tripled >> 8) - 1;
        fraction = tripled & 255;
      }
    }
  }
}

export const tq1_0: EncodableFormat = {
  name: 'tq1_0',
  ggmlType: 34,
  ...tq1Shape,
  decode: decodeProducts(tq1Shape, tq1Integers),
  integers: tq1Integers,

  encode(values, bytes) {
    for (let start = 0, offset = 0; start < values.length; start += blockSize, offset += tq1Shape.blockBytes) {
      const inverse = writeLargest(values, start, bytes, offset + 52);
      for (const run of tq1Runs) {
        for (let k = 0; k < run.bytes; k++) {
          let digits = 0;
          for (let digit = 0; digit < run.digits; digit++) {
            digits = 3 * digits + digitOf(values[start + run.to + digit * run.bytes + k] as number, inverse);
          }
          if (run.digits === 4) digits *= 3;
          bytes[offset + run.from + k] = Math.ceil((256 * (digits & 255)) / 243);
        }
      }
    }
  },
};

/** Writes the largest magnitude, which is d, and gives its inverse. */
function writeLargest(values: Float32Array, start: number, bytes: Uint8Array, at: number): number {
  let largest = 0;
  for (let k = start; k < start + blockSize; k++) {
    const magnitude = Math.abs(values[k] as number);
    if (!(largest > magnitude)) largest = magnitude;
  }
  writeF16(bytes, at, largest);
  return largest === 0 ? 0 : Math.fround(1 / largest);
}

/** C's lroundf, ties away from zero, plus 1. */
function digitOf(value: number, inverse: number): number {
  const scaled = Math.fround(value * inverse);
  return ((scaled < 0 ? scaled - 0.5 : scaled + 0.5) | 0) + 1;
}
