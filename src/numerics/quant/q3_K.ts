/**
 * ggml's Q3_K: 256 values in 16 sub-blocks of 16, `d * (sc - 32) * (q - 4)` with a 6-bit sc for each sub-block.
 * Layout: 32 bytes of third bits: bit g of byte k belongs to value 32 * g + k; 64 bytes of pairs of low bits as in Q2_K;
 * 12 bytes of sc: the low 4 bits of sc 0-7 and 8-15 in the low and high nibbles of bytes 0-7, the high 2 bits of sc 4g + j
 * at 2g of byte 8 + j; f16 d.
 */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';
import { sumOfSquares, weigh } from './importance.ts';
import { nearestLevel } from './nearest-level.ts';
import { levelByte, levelShift, writeLevels } from './q2_K.ts';
import { emptyGroup, searchScale } from './search-scale.ts';

const size = 256;
const subSize = 16;
const subBlocks = 16;
const blockBytes = 110;
const lowAt = 32;
const scalesAt = 96;
const dAt = 108;
const f = Math.fround;

export const q3_K: EncodableFormat = {
  name: 'q3_K',
  ggmlType: 11,
  blockSize: size,
  blockBytes,

  decode(bytes, values) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      const d = readF16(bytes, offset + dAt);
      for (let sub = 0; sub < subBlocks; sub++) {
        const scale = f(d * scaleOf(bytes, offset + scalesAt, sub));
        for (let k = 0; k < subSize; k++) values[start + sub * subSize + k] = scale * levelOf(bytes, offset, sub, k);
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
    for (let sub = 0; sub < subBlocks; sub++) {
      const scale = scaleOf(bytes, offset + scalesAt, sub);
      for (let k = 0; k < subSize; k++) block.weights[sub * subSize + k] = scale * levelOf(bytes, offset, sub, k);
    }
  },
};

function scaleOf(bytes: Uint8Array, at: number, sub: number): number {
  const low = ((bytes[at + (sub & 7)] as number) >> (sub < 8 ? 0 : 4)) & 15;
  const high = ((bytes[at + 8 + (sub & 3)] as number) >> (2 * (sub >> 2))) & 3;
  return (low | (high << 4)) - 32;
}

function levelOf(bytes: Uint8Array, offset: number, sub: number, k: number): number {
  const low = ((bytes[offset + lowAt + levelByte(sub) + k] as number) >> levelShift(sub)) & 3;
  const high = ((bytes[offset + 16 * (sub & 1) + k] as number) >> (sub >> 1)) & 1;
  return (low | (high << 2)) - 4;
}

/** Of levels and scales from zero, as they are stored. */
const levels = new Uint8Array(size);
const scaleLevels = new Uint8Array(subBlocks);
const scales = new Float32Array(subBlocks);
const weights = new Float32Array(subSize);
const sums = new Float32Array(subBlocks);

function encodeBlock(
  values: Float32Array,
  start: number,
  bytes: Uint8Array,
  offset: number,
  importance: Float32Array | undefined,
): void {
  const unit = importance === undefined ? fit(values, start) : fitWeighted(values, start, importance);
  const d = writeF16(bytes, offset + dAt, unit);
  bytes.fill(0, offset, offset + lowAt);
  bytes.fill(0, offset + scalesAt, offset + dAt);
  for (let sub = 0; sub < subBlocks; sub++) {
    const level = scaleLevels[sub] as number;
    const low = offset + scalesAt + (sub & 7);
    const high = offset + scalesAt + 8 + (sub & 3);
    bytes[low] = (bytes[low] as number) | ((level & 15) << (sub < 8 ? 0 : 4));
    bytes[high] = (bytes[high] as number) | ((level >> 4) << (2 * (sub >> 2)));
    // The levels once more, against the scale as it was stored.
    const scale = f(d * (level - 32));
    if (scale === 0) continue;
    for (let k = sub * subSize; k < (sub + 1) * subSize; k++) {
      levels[k] = nearestLevel(f((values[start + k] as number) / scale), -4, 3) + 4;
    }
  }
  writeLevels(levels, bytes, offset + lowAt);
  for (let k = 0; k < size; k++) {
    const at = offset + (k & 31);
    bytes[at] = (bytes[at] as number) | (((levels[k] as number) >> 2) << (k >> 5));
  }
}

/** Fills the levels of the scales, and gives what they are multiples of. */
function fit(values: Float32Array, start: number): number {
  let extreme = 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    const scale = searchLevels(values, start + sub * subSize, sub * subSize);
    scales[sub] = scale;
    if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
  }
  if (extreme === 0) {
    scaleLevels.fill(0);
    return 0;
  }
  const inverse = f(-32 / extreme);
  for (let sub = 0; sub < subBlocks; sub++) {
    scaleLevels[sub] = nearestLevel(f(inverse * (scales[sub] as number)), -32, 31) + 32;
  }
  return f(1 / inverse);
}

function fitWeighted(values: Float32Array, start: number, importance: Float32Array): number {
  const variance = f((2 * sumOfSquares(values, start, size)) / size);
  for (let sub = 0; sub < subBlocks; sub++) {
    const at = start + sub * subSize;
    sums[sub] = weigh(values, at, importance, at % importance.length, variance, weights);
    scales[sub] = searchScale(values, at, weights, 4, levels, sub * subSize);
  }
  return searchScale(scales, 0, sums, 32, scaleLevels, 0);
}

/**
 * ggml's search without weights (make_q3_quants): levels around `extreme / -4`, then single ones changed while that
 * explains more, weighted with x^2. Gives the best scale of x[at ..] for levels[to ..].
 */
function searchLevels(x: Float32Array, at: number, to: number): number {
  let extreme = 0;
  for (let k = at; k < at + subSize; k++) {
    if (Math.abs(x[k] as number) > Math.abs(extreme)) extreme = x[k] as number;
  }
  if (Math.abs(extreme) < emptyGroup) {
    levels.fill(0, to, to + subSize);
    return 0;
  }
  const inverse = f(-4 / extreme);
  let sumXL = 0;
  let sumL2 = 0;
  for (let k = 0; k < subSize; k++) {
    const value = x[at + k] as number;
    const level = nearestLevel(f(inverse * value), -4, 3);
    levels[to + k] = level + 4;
    const w = f(value * value);
    sumXL = f(sumXL + f(f(w * value) * level));
    sumL2 = f(sumL2 + f(f(w * level) * level));
  }
  for (let pass = 0; pass < 5; pass++) {
    let changed = false;
    for (let k = 0; k < subSize; k++) {
      const value = x[at + k] as number;
      const level = (levels[to + k] as number) - 4;
      const w = f(value * value);
      let restXL = f(sumXL - f(f(w * value) * level));
      if (!(restXL > 0)) continue;
      let restL2 = f(sumL2 - f(f(w * level) * level));
      const better = nearestLevel(f(f(value * restL2) / restXL), -4, 3);
      if (better === level) continue;
      restXL = f(restXL + f(f(w * value) * better));
      restL2 = f(restL2 + f(f(w * better) * better));
      if (!(restL2 > 0 && f(f(restXL * restXL) * sumL2) > f(f(sumXL * sumXL) * restL2))) continue;
      levels[to + k] = better + 4;
      sumXL = restXL;
      sumL2 = restL2;
      changed = true;
    }
    if (!changed) break;
  }
  return sumL2 > 0 ? f(sumXL / sumL2) : 0;
}
