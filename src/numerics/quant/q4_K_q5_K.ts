/**
 * ggml's Q4_K and Q5_K: 256 values in 8 sub-blocks of 32, `d * sc * q - dmin * mn` with 6-bit sc and mn for each sub-block.
 * Layout: f16 d, f16 dmin, 12 bytes of sc and mn (`k-scales.ts`), [32 bytes of fifth bits: bit s of byte k belongs to
 * value k of sub-block s], 128 bytes of nibbles: of each 64 values the first 32 are the low nibbles of 32 bytes, the others
 * the high ones.
 */
import { clamp, type EncodableFormat, nearestInteger, readF16, writeF16 } from './format.ts';
import { minimumOf, scaleOf, writeScale } from './k-scales.ts';

const size = 256;
const subSize = 32;
const subBlocks = 8;
const scalesAt = 4;
const highAt = 16;
const f = Math.fround;

/** What the two differ in: bits, and the trials of the search for scales. */
interface Variant {
  readonly top: 15 | 31;
  readonly nibblesAt: number;
  readonly firstTrial: number;
  readonly trials: number;
}

export const q4_K = makeFormat('q4_K', 12, { top: 15, nibblesAt: 16, firstTrial: -1, trials: 21 });
export const q5_K = makeFormat('q5_K', 13, { top: 31, nibblesAt: 48, firstTrial: -0.5, trials: 16 });

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

    encode(values, bytes) {
      for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
        encodeBlock(values.subarray(start, start + size), bytes.subarray(offset, offset + blockBytes), variant);
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

function encodeBlock(values: Float32Array, bytes: Uint8Array, variant: Variant): void {
  const { top, nibblesAt } = variant;
  const levels = new Uint8Array(size);
  const fits: Fit[] = [];
  let largestScale = 0;
  let largestMinimum = 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    const span = values.subarray(sub * subSize, (sub + 1) * subSize);
    const fit = fitSubBlock(span, levels.subarray(sub * subSize, (sub + 1) * subSize), variant);
    largestScale = Math.max(largestScale, fit.scale);
    largestMinimum = Math.max(largestMinimum, fit.minimum);
    fits.push(fit);
  }
  const inverseScale = largestScale > 0 ? f(63 / largestScale) : 0;
  const inverseMinimum = largestMinimum > 0 ? f(63 / largestMinimum) : 0;
  fits.forEach((fit, sub) => {
    const scale = Math.min(63, nearestInteger(f(inverseScale * fit.scale)) & 255);
    const minimum = Math.min(63, nearestInteger(f(inverseMinimum * fit.minimum)) & 255);
    writeScale(bytes, scalesAt, sub, scale, minimum);
  });
  const d = writeF16(bytes, 0, f(largestScale / 63));
  const dmin = writeF16(bytes, 2, f(largestMinimum / 63));

  // The levels once more, against the scales as they were stored.
  for (let sub = 0; sub < subBlocks; sub++) {
    const scale = f(d * scaleOf(bytes, scalesAt, sub));
    if (scale === 0) continue;
    const minimum = f(dmin * minimumOf(bytes, scalesAt, sub));
    for (let k = sub * subSize; k < (sub + 1) * subSize; k++) {
      levels[k] = clamp(nearestInteger(f(f((values[k] as number) + minimum) / scale)), 0, top);
    }
  }
  for (let pair = 0; pair < subBlocks / 2; pair++) {
    for (let k = 0; k < subSize; k++) {
      const low = levels[pair * 2 * subSize + k] as number;
      const high = levels[(pair * 2 + 1) * subSize + k] as number;
      bytes[nibblesAt + pair * subSize + k] = (low & 15) | ((high & 15) << 4);
    }
  }
  if (top === 15) return;
  for (let k = 0; k < subSize; k++) {
    let high = 0;
    for (let sub = 0; sub < subBlocks; sub++) high |= ((levels[sub * subSize + k] as number) >> 4) << sub;
    bytes[highAt + k] = high;
  }
}

/** x is near `scale * level - minimum`; `minimum` is not negative. */
interface Fit {
  readonly scale: number;
  readonly minimum: number;
}

const trial = new Uint8Array(subSize);
const weights = new Float32Array(subSize);

/**
 * ggml's search (make_qkx2_quants): trial scales give levels, each set of levels gives its best scale and minimum by
 * weighted least squares, and the smallest weighted error wins. Every operation is rounded to f32, as compiled C does.
 */
function fitSubBlock(x: Float32Array, levels: Uint8Array, { top, firstTrial, trials }: Variant): Fit {
  let squares = 0;
  for (let k = 0; k < subSize; k++) squares = f(squares + f((x[k] as number) * (x[k] as number)));
  const rms = f(Math.sqrt(f(squares / subSize)));
  for (let k = 0; k < subSize; k++) weights[k] = rms + Math.abs(x[k] as number);

  let low = x[0] as number;
  let high = low;
  let sumW = weights[0] as number;
  let sumX = f(sumW * low);
  for (let k = 1; k < subSize; k++) {
    const value = x[k] as number;
    const w = weights[k] as number;
    if (value < low) low = value;
    if (value > high) high = value;
    sumW = f(sumW + w);
    sumX = f(sumX + f(w * value));
  }
  if (low > 0) low = 0;
  if (high === low) {
    levels.fill(0);
    return { scale: 0, minimum: -low };
  }

  const firstInverse = f(top / f(high - low));
  let scale = f(1 / firstInverse);
  assignLevels(x, firstInverse, low, top, levels);
  let bestError = weightedError(x, levels, scale, low);
  for (let step = 0; step < trials; step++) {
    // `low` is the best minimum found so far, not the first one.
    const inverse = f(f(f(firstTrial + f(f(0.1) * step)) + top) / f(high - low));
    assignLevels(x, inverse, low, top, trial);
    let sumL = 0;
    let sumL2 = 0;
    let sumXL = 0;
    for (let k = 0; k < subSize; k++) {
      const level = trial[k] as number;
      const wl = f((weights[k] as number) * level);
      sumL = f(sumL + wl);
      sumL2 = f(sumL2 + f(wl * level));
      sumXL = f(sumXL + f(wl * (x[k] as number)));
    }
    const determinant = f(f(sumW * sumL2) - f(sumL * sumL));
    if (!(determinant > 0)) continue;
    let trialScale = f(f(f(sumW * sumXL) - f(sumX * sumL)) / determinant);
    let trialLow = f(f(f(sumL2 * sumX) - f(sumL * sumXL)) / determinant);
    if (trialLow > 0) {
      trialLow = 0;
      trialScale = f(sumXL / sumL2);
    }
    const error = weightedError(x, trial, trialScale, trialLow);
    if (error < bestError) {
      levels.set(trial);
      bestError = error;
      scale = trialScale;
      low = trialLow;
    }
  }
  return { scale, minimum: -low };
}

function assignLevels(x: Float32Array, inverse: number, low: number, top: number, levels: Uint8Array): void {
  for (let k = 0; k < subSize; k++) {
    levels[k] = clamp(nearestInteger(f(inverse * f((x[k] as number) - low))), 0, top);
  }
}

function weightedError(x: Float32Array, levels: Uint8Array, scale: number, low: number): number {
  let sum = 0;
  for (let k = 0; k < subSize; k++) {
    const difference = f(f(f(scale * (levels[k] as number)) + low) - (x[k] as number));
    sum = f(sum + f((weights[k] as number) * f(difference * difference)));
  }
  return sum;
}
