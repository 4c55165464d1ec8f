/**
 * ggml's Q2_K: 256 values in 16 sub-blocks of 16, `d * sc * q - dmin * mn` with 4-bit sc and mn for each sub-block.
 * Layout: 16 bytes with sc in the low and mn in the high nibble, 64 bytes of pairs of bits, f16 d, f16 dmin. Of each 128
 * values, value 32 * g + k is bits 2g and 2g + 1 of byte k.
 */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';
import { sumOfSquares, weigh } from './importance.ts';
import { nearestLevel } from './nearest-level.ts';
import { type MinimumFit, type MinimumSearch, searchMinimum, weightedSearch } from './search-minimum.ts';
import { searchPositive } from './search-positive.ts';

const size = 256;
const subSize = 16;
const subBlocks = 16;
const blockBytes = 84;
const levelsAt = 16;
const dAt = 80;
const dminAt = 82;
const f = Math.fround;

export const q2_K: EncodableFormat = {
  name: 'q2_K',
  ggmlType: 10,
  blockSize: size,
  blockBytes,

  decode(bytes, values) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      const d = readF16(bytes, offset + dAt);
      const dmin = readF16(bytes, offset + dminAt);
      for (let sub = 0; sub < subBlocks; sub++) {
        const pair = bytes[offset + sub] as number;
        const scale = f(d * (pair & 15));
        const minimum = f(dmin * (pair >> 4));
        const at = offset + levelsAt + levelByte(sub);
        const shift = levelShift(sub);
        for (let k = 0; k < subSize; k++) {
          values[start + sub * subSize + k] = f(scale * (((bytes[at + k] as number) >> shift) & 3)) - minimum;
        }
      }
    }
  },

  encode(values, bytes, importance) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      encodeBlock(values, start, bytes, offset, importance);
    }
  },

  integers(bytes, offset, block) {
    block.scale = readF16(bytes, offset + dAt);
    block.minScale = readF16(bytes, offset + dminAt);
    for (let sub = 0; sub < subBlocks; sub++) {
      const pair = bytes[offset + sub] as number;
      const at = offset + levelsAt + levelByte(sub);
      const shift = levelShift(sub);
      for (let k = 0; k < subSize; k++) {
        block.weights[sub * subSize + k] = (pair & 15) * (((bytes[at + k] as number) >> shift) & 3);
        block.minima[sub * subSize + k] = pair >> 4;
      }
    }
  },
};

/** Where the pairs of bits of a sub-block are: in 16 bytes from this one, from this bit. Q3_K has the same order. */
export function levelByte(sub: number): number {
  return 32 * (sub >> 3) + 16 * (sub & 1);
}
export function levelShift(sub: number): number {
  return sub & 6;
}

/** Writes the low bits of 256 levels in the order of Q2_K. */
export function writeLevels(levels: Uint8Array, bytes: Uint8Array, at: number): void {
  for (let half = 0; half < 2; half++) {
    for (let k = 0; k < 32; k++) {
      let quad = 0;
      for (let group = 0; group < 4; group++)
        quad |= ((levels[128 * half + 32 * group + k] as number) & 3) << (2 * group);
      bytes[at + 32 * half + k] = quad;
    }
  }
}

const levels = new Uint8Array(size);
const weights = new Float32Array(subSize);
const scales = new Float32Array(subBlocks);
const minima = new Float32Array(subBlocks);
const sums = new Float32Array(subBlocks);
const scaleLevels = new Uint8Array(subBlocks);
const minimumLevels = new Uint8Array(subBlocks);
const found: MinimumFit = { scale: 0, minimum: 0 };
const search: MinimumSearch = { top: 3, first: -0.5, step: f(0.1), trials: 16, error: 'absolute' };
const weighted = weightedSearch(3);

function encodeBlock(
  values: Float32Array,
  start: number,
  bytes: Uint8Array,
  offset: number,
  importance: Float32Array | undefined,
): void {
  const fitted = importance === undefined ? fit(values, start) : fitWeighted(values, start, importance);
  const d = writeF16(bytes, offset + dAt, fitted.scale);
  const dmin = writeF16(bytes, offset + dminAt, fitted.minimum);
  for (let sub = 0; sub < subBlocks; sub++) {
    bytes[offset + sub] = (scaleLevels[sub] as number) | ((minimumLevels[sub] as number) << 4);
    // The levels once more, against the scales as they were stored.
    const pair = bytes[offset + sub] as number;
    const scale = f(d * (pair & 15));
    if (scale === 0) continue;
    const minimum = f(dmin * (pair >> 4));
    for (let k = sub * subSize; k < (sub + 1) * subSize; k++) {
      levels[k] = nearestLevel(f(f((values[start + k] as number) + minimum) / scale), 0, 3);
    }
  }
  writeLevels(levels, bytes, offset + levelsAt);
}

/** Fills the levels of scales and minima, and gives what they are multiples of. */
function fit(values: Float32Array, start: number): MinimumFit {
  let largestScale = 0;
  let largestMinimum = 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    const at = start + sub * subSize;
    for (let k = 0; k < subSize; k++) weights[k] = Math.abs(values[at + k] as number);
    searchMinimum(values, at, weights, search, levels, sub * subSize, found);
    scales[sub] = found.scale;
    minima[sub] = found.minimum;
    if (found.scale > largestScale) largestScale = found.scale;
    if (found.minimum > largestMinimum) largestMinimum = found.minimum;
  }
  const inverseScale = largestScale > 0 ? f(15 / largestScale) : 0;
  const inverseMinimum = largestMinimum > 0 ? f(15 / largestMinimum) : 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    scaleLevels[sub] = nearestLevel(f(inverseScale * (scales[sub] as number)), -256, 255);
    minimumLevels[sub] = nearestLevel(f(inverseMinimum * (minima[sub] as number)), -256, 255);
  }
  return { scale: f(largestScale / 15), minimum: f(largestMinimum / 15) };
}

function fitWeighted(values: Float32Array, start: number, importance: Float32Array): MinimumFit {
  const variance = f(sumOfSquares(values, start, size) / size);
  for (let sub = 0; sub < subBlocks; sub++) {
    const at = start + sub * subSize;
    sums[sub] = weigh(values, at, importance, at % importance.length, variance, weights);
    searchMinimum(values, at, weights, weighted, levels, sub * subSize, found);
    scales[sub] = found.scale;
    minima[sub] = found.minimum;
  }
  const scale = searchPositive(scales, sums, 15, scaleLevels);
  const minimum = searchPositive(minima, sums, 15, minimumLevels);
  return { scale, minimum };
}
