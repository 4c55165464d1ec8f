/**
 * ggml's Q2_K: 256 values in 16 sub-blocks of 16, `d * sc * q - dmin * mn` with 4-bit sc and mn for each sub-block.
 * Layout: 16 bytes with sc in the low and mn in the high nibble, 64 bytes of pairs of bits, f16 d, f16 dmin. Of each 128
 * values, value 32 * g + k is bits 2g and 2g + 1 of byte k.
 */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';
import { sumOfSquares, weigh } from './importance.ts';
import { type LaneSearch, lanes, loadGroups, storeGroup, storeGroups } from './lanes.ts';
import { nearestLevel } from './nearest-level.ts';
import { searchMinimum, weightedSearch } from './search-minimum.ts';
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
const scales = new Float32Array(subBlocks);
const minima = new Float32Array(subBlocks);
const sums = new Float32Array(subBlocks);
const scaleLevels = new Uint8Array(subBlocks);
const minimumLevels = new Uint8Array(subBlocks);
const makeSearch = searchMinimum({
  top: 3,
  first: -0.5,
  step: f(0.1),
  trials: 16,
  error: 'absolute',
  weights: 'given',
});
const makeWeighted = searchMinimum(weightedSearch(3));

/** Of a super-block: what its scales and minima are multiples of. */
interface Units {
  readonly scale: number;
  readonly minimum: number;
}

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
  }
  // The levels once more, against the scales as they were stored.
  const { values: loaded, results, levels: refined, refine } = makeSearch();
  for (let first = 0; first < subBlocks; first += lanes) {
    for (let lane = 0; lane < lanes; lane++) {
      const pair = bytes[offset + first + lane] as number;
      results[lane] = d * (pair & 15);
      results[lanes + lane] = dmin * (pair >> 4);
    }
    loadGroups(values, start + first * subSize, subSize, loaded);
    refine(subSize);
    for (let lane = 0; lane < lanes; lane++) {
      if (results[lane] !== 0) storeGroup(refined, lane, subSize, levels, (first + lane) * subSize);
    }
  }
  writeLevels(levels, bytes, offset + levelsAt);
}

/** Fills the levels of scales and minima, and gives what they are multiples of. */
function fit(values: Float32Array, start: number): Units {
  const search = makeSearch();
  let largestScale = 0;
  let largestMinimum = 0;
  for (let first = 0; first < subBlocks; first += lanes) {
    loadGroups(values, start + first * subSize, subSize, search.values);
    for (let i = 0; i < lanes * subSize; i++) search.weights[i] = Math.abs(search.values[i] as number);
    runSearch(search, first);
    for (let sub = first; sub < first + lanes; sub++) {
      if ((scales[sub] as number) > largestScale) largestScale = scales[sub] as number;
      if ((minima[sub] as number) > largestMinimum) largestMinimum = minima[sub] as number;
    }
  }
  const inverseScale = largestScale > 0 ? f(15 / largestScale) : 0;
  const inverseMinimum = largestMinimum > 0 ? f(15 / largestMinimum) : 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    scaleLevels[sub] = nearestLevel(f(inverseScale * (scales[sub] as number)), -256, 255);
    minimumLevels[sub] = nearestLevel(f(inverseMinimum * (minima[sub] as number)), -256, 255);
  }
  return { scale: f(largestScale / 15), minimum: f(largestMinimum / 15) };
}

function fitWeighted(values: Float32Array, start: number, importance: Float32Array): Units {
  const weighted = makeWeighted();
  const variance = f(sumOfSquares(values, start, size) / size);
  for (let first = 0; first < subBlocks; first += lanes) {
    for (let lane = 0; lane < lanes; lane++) {
      const at = start + (first + lane) * subSize;
      sums[first + lane] = weigh(values, at, subSize, importance, variance, weighted.weights, lane);
    }
    loadGroups(values, start + first * subSize, subSize, weighted.values);
    runSearch(weighted, first);
  }
  const scale = searchPositive(scales, sums, 15, scaleLevels);
  const minimum = searchPositive(minima, sums, 15, minimumLevels);
  return { scale, minimum };
}

/** Searches four sub-blocks, whose values and weights are there. */
function runSearch(groups: LaneSearch, first: number): void {
  groups.run(subSize);
  storeGroups(groups.levels, subSize, levels, first * subSize);
  for (let lane = 0; lane < lanes; lane++) {
    scales[first + lane] = groups.results[lane] as number;
    minima[first + lane] = groups.results[lanes + lane] as number;
  }
}
