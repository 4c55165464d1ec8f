/**
 * ggml's Q4_K and Q5_K: 256 values in 8 sub-blocks of 32, `d * sc * q - dmin * mn` with 6-bit sc and mn for each sub-block.
 * Layout: f16 d, f16 dmin, 12 bytes of sc and mn (`k-scales.ts`), [32 bytes of fifth bits: bit s of byte k belongs to
 * value k of sub-block s], 128 bytes of nibbles: of each 64 values the first 32 are the low nibbles of 32 bytes, the others
 * the high ones.
 */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';
import { sumOfSquares, weigh } from './importance.ts';
import { minimumOf, scaleOf, writeScale } from './k-scales.ts';
import { type LaneSearch, lanes, loadGroups, storeGroup, storeGroups } from './lanes.ts';
import { nearestLevel } from './nearest-level.ts';
import { searchMinimum, weightedSearch } from './search-minimum.ts';
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
  readonly search: () => LaneSearch;
  readonly weighted: () => LaneSearch;
}

/** Of a super-block: what its scales and minima are multiples of. */
interface Units {
  readonly scale: number;
  readonly minimum: number;
}

export const q4_K = makeFormat('q4_K', 12, {
  top: 15,
  nibblesAt: 16,
  search: searchMinimum({ top: 15, first: -1, step: f(0.1), trials: 21, error: 'squared', weights: 32 }),
  weighted: searchMinimum(weightedSearch(15)),
});
export const q5_K = makeFormat('q5_K', 13, {
  top: 31,
  nibblesAt: 48,
  search: searchMinimum({ top: 31, first: -0.5, step: f(0.1), trials: 16, error: 'squared', weights: 32 }),
  weighted: searchMinimum(weightedSearch(31)),
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
  const { values: loaded, results, levels: refined, refine } = variant.search();
  for (let first = 0; first < subBlocks; first += lanes) {
    for (let lane = 0; lane < lanes; lane++) {
      results[lane] = d * scaleOf(bytes, offset + scalesAt, first + lane);
      results[lanes + lane] = dmin * minimumOf(bytes, offset + scalesAt, first + lane);
    }
    loadGroups(values, start + first * subSize, subSize, loaded);
    refine(subSize);
    for (let lane = 0; lane < lanes; lane++) {
      if (results[lane] !== 0) storeGroup(refined, lane, subSize, levels, (first + lane) * subSize);
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

/** Fills the levels of scales and minima, and gives what they are multiples of. */
function fit(values: Float32Array, start: number, variant: Variant): Units {
  const search = variant.search();
  let largestScale = 0;
  let largestMinimum = 0;
  for (let first = 0; first < subBlocks; first += lanes) {
    runSearch(values, start, search, first);
    for (let sub = first; sub < first + lanes; sub++) {
      if ((scales[sub] as number) > largestScale) largestScale = scales[sub] as number;
      if ((minima[sub] as number) > largestMinimum) largestMinimum = minima[sub] as number;
    }
  }
  const inverseScale = largestScale > 0 ? f(63 / largestScale) : 0;
  const inverseMinimum = largestMinimum > 0 ? f(63 / largestMinimum) : 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    scaleLevels[sub] = Math.min(63, nearestLevel(f(inverseScale * (scales[sub] as number)), -256, 255) & 255);
    minimumLevels[sub] = Math.min(63, nearestLevel(f(inverseMinimum * (minima[sub] as number)), -256, 255) & 255);
  }
  return { scale: f(largestScale / 63), minimum: f(largestMinimum / 63) };
}

function fitWeighted(values: Float32Array, start: number, variant: Variant, importance: Float32Array): Units {
  const weighted = variant.weighted();
  const variance = f((2 * sumOfSquares(values, start, size)) / size);
  for (let first = 0; first < subBlocks; first += lanes) {
    for (let lane = 0; lane < lanes; lane++) {
      const at = start + (first + lane) * subSize;
      sums[first + lane] = weigh(values, at, subSize, importance, variance, weighted.weights, lane);
    }
    runSearch(values, start, weighted, first);
  }
  const scale = searchPositive(scales, sums, 63, scaleLevels);
  const minimum = searchPositive(minima, sums, 63, minimumLevels);
  return { scale, minimum };
}

/** Searches four sub-blocks, whose weights are there. */
function runSearch(values: Float32Array, start: number, search: LaneSearch, first: number): void {
  loadGroups(values, start + first * subSize, subSize, search.values);
  search.run(subSize);
  storeGroups(search.levels, subSize, levels, first * subSize);
  for (let lane = 0; lane < lanes; lane++) {
    scales[first + lane] = search.results[lane] as number;
    minima[first + lane] = search.results[lanes + lane] as number;
  }
}
