/**
 * ggml's Q4_K and Q5_K: 256 values in 8 sub-blocks of 32, `d * sc * q - dmin * mn` with 6-bit sc and mn for each sub-block.
 * Layout: f16 d, f16 dmin, 12 bytes of sc and mn (`k-scales.ts`), [32 bytes of fifth bits: bit s of byte k belongs to
 * value k of sub-block s], 128 bytes of nibbles: of each 64 values the first 32 are the low nibbles of 32 bytes, the others
 * the high ones.
 */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';
import { sumOfSquares, weigh } from './importance.ts';
import { minimumOf, scaleOf, writeScale } from './k-scales.ts';
import { nearestLevel } from './nearest-level.ts';
import { type MinimumFit, type MinimumSearch, searchMinimum, weightedSearch } from './search-minimum.ts';
import { searchPositive } from './search-positive.ts';

const size = 256;
const subSize = 32;
const subBlocks = 8;
const scalesAt = 4;
const highAt = 16;
const f = Math.fround;

/** What the two differ in: bits, and the search for scales. */
interface Variant {
  readonly top: 15 | 31;
  readonly nibblesAt: number;
  readonly search: MinimumSearch;
  readonly weighted: MinimumSearch;
}

export const q4_K = makeFormat('q4_K', 12, {
  top: 15,
  nibblesAt: 16,
  search: { top: 15, first: -1, step: f(0.1), trials: 21, error: 'squared' },
  weighted: weightedSearch(15),
});
export const q5_K = makeFormat('q5_K', 13, {
  top: 31,
  nibblesAt: 48,
  search: { top: 31, first: -0.5, step: f(0.1), trials: 16, error: 'squared' },
  weighted: weightedSearch(31),
});

function makeFormat(name: string, ggmlType: number, variant: Variant): EncodableFormat {
  const { top, nibblesAt } = variant;
  const blockBytes = nibblesAt + size / 2;
  const levelOf = (bytes: Uint8Array, offset: number, sub: number, k: number): number => {
    const nibble = ((bytes[offset + nibblesAt + (sub >> 1) * subSize + k] as number) >> ((sub & 1) * 4)) & 15;
    return top === 15 ? nibble : nibble | ((((bytes[offset + highAt + k] as number) >> sub) & 1) << 4);
  };
  return {
    name,
    ggmlType,
    blockSize: size,
    blockBytes,

    decode(bytes, values) {
      for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
        const d = readF16(bytes, offset);
        const dmin = readF16(bytes, offset + 2);
        for (let sub = 0; sub < subBlocks; sub++) {
          const scale = f(d * scaleOf(bytes, offset + scalesAt, sub));
          const minimum = f(dmin * minimumOf(bytes, offset + scalesAt, sub));
          const to = start + sub * subSize;
          for (let k = 0; k < subSize; k++) values[to + k] = f(levelOf(bytes, offset, sub, k) * scale) - minimum;
        }
      }
    },

    encode(values, bytes, importance) {
      for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
        encodeBlock(values, start, bytes, offset, variant, importance);
      }
    },

    integers(bytes, offset, block) {
      block.scale = readF16(bytes, offset);
      block.minScale = readF16(bytes, offset + 2);
      for (let sub = 0; sub < subBlocks; sub++) {
        const scale = scaleOf(bytes, offset + scalesAt, sub);
        const to = sub * subSize;
        for (let k = 0; k < subSize; k++) block.weights[to + k] = levelOf(bytes, offset, sub, k) * scale;
        block.minima.fill(minimumOf(bytes, offset + scalesAt, sub), to, to + subSize);
      }
    },
  };
}

const levels = new Uint8Array(size);
const weights = new Float32Array(subSize);
const scales = new Float32Array(subBlocks);
const minima = new Float32Array(subBlocks);
const sums = new Float32Array(subBlocks);
const scaleLevels = new Uint8Array(subBlocks);
const minimumLevels = new Uint8Array(subBlocks);

function encodeBlock(
  values: Float32Array,
  start: number,
  bytes: Uint8Array,
  offset: number,
  variant: Variant,
  importance: Float32Array | undefined,
): void {
  const { top, nibblesAt } = variant;
  const fitted =
    importance === undefined ? fit(values, start, variant) : fitWeighted(values, start, variant, importance);
  for (let sub = 0; sub < subBlocks; sub++) {
    writeScale(bytes, offset + scalesAt, sub, scaleLevels[sub] as number, minimumLevels[sub] as number);
  }
  const d = writeF16(bytes, offset, fitted.scale);
  const dmin = writeF16(bytes, offset + 2, fitted.minimum);

  // The levels once more, against the scales as they were stored.
  for (let sub = 0; sub < subBlocks; sub++) {
    const scale = f(d * scaleOf(bytes, offset + scalesAt, sub));
    if (scale === 0) continue;
    const minimum = f(dmin * minimumOf(bytes, offset + scalesAt, sub));
    for (let k = sub * subSize; k < (sub + 1) * subSize; k++) {
      levels[k] = nearestLevel(f(f((values[start + k] as number) + minimum) / scale), 0, top);
    }
  }
  for (let pair = 0; pair < subBlocks / 2; pair++) {
    for (let k = 0; k < subSize; k++) {
      const low = levels[pair * 2 * subSize + k] as number;
      const high = levels[(pair * 2 + 1) * subSize + k] as number;
      bytes[offset + nibblesAt + pair * subSize + k] = (low & 15) | ((high & 15) << 4);
    }
  }
  if (top === 15) return;
  for (let k = 0; k < subSize; k++) {
    let high = 0;
    for (let sub = 0; sub < subBlocks; sub++) high |= ((levels[sub * subSize + k] as number) >> 4) << sub;
    bytes[offset + highAt + k] = high;
  }
}

const found: MinimumFit = { scale: 0, minimum: 0 };

/** Fills the levels of scales and minima, and gives what they are multiples of. */
function fit(values: Float32Array, start: number, { search }: Variant): MinimumFit {
  let largestScale = 0;
  let largestMinimum = 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    const at = start + sub * subSize;
    const rms = f(Math.sqrt(f(sumOfSquares(values, at, subSize) / subSize)));
    for (let k = 0; k < subSize; k++) weights[k] = rms + Math.abs(values[at + k] as number);
    searchMinimum(values, at, weights, search, levels, sub * subSize, found);
    scales[sub] = found.scale;
    minima[sub] = found.minimum;
    if (found.scale > largestScale) largestScale = found.scale;
    if (found.minimum > largestMinimum) largestMinimum = found.minimum;
  }
  const inverseScale = largestScale > 0 ? f(63 / largestScale) : 0;
  const inverseMinimum = largestMinimum > 0 ? f(63 / largestMinimum) : 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    scaleLevels[sub] = Math.min(63, nearestLevel(f(inverseScale * (scales[sub] as number)), -256, 255) & 255);
    minimumLevels[sub] = Math.min(63, nearestLevel(f(inverseMinimum * (minima[sub] as number)), -256, 255) & 255);
  }
  return { scale: f(largestScale / 63), minimum: f(largestMinimum / 63) };
}

function fitWeighted(values: Float32Array, start: number, { weighted }: Variant, importance: Float32Array): MinimumFit {
  const variance = f((2 * sumOfSquares(values, start, size)) / size);
  for (let sub = 0; sub < subBlocks; sub++) {
    const at = start + sub * subSize;
    sums[sub] = weigh(values, at, importance, at % importance.length, variance, weights);
    searchMinimum(values, at, weights, weighted, levels, sub * subSize, found);
    scales[sub] = found.scale;
    minima[sub] = found.minimum;
  }
  const scale = searchPositive(scales, sums, 63, scaleLevels);
  const minimum = searchPositive(minima, sums, 63, minimumLevels);
  return { scale, minimum };
}
