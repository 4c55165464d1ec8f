/**
 * ggml's Q6_K: 256 values in 16 sub-blocks of 16, `d * sc * (q - 32)` with a signed byte sc for each sub-block.
 * Layout: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 sc, f16 d. Of each 128 values, value 32 * g + k has
 * its nibble in byte 32 * (g % 2) + k (low half for g < 2) and its two high bits at 2 * g of byte k.
 */
import { clamp, type EncodableFormat, nearestInteger, readF16, writeF16 } from './format.ts';

const size = 256;
const subSize = 16;
const subBlocks = 16;
const blockBytes = 210;
const highAt = 128;
const scalesAt = 192;
const dAt = 208;
const f = Math.fround;

export const q6_K: EncodableFormat = {
  name: 'q6_K',
  ggmlType: 14,
  blockSize: size,
  blockBytes,

  decode(bytes, values) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      const d = readF16(bytes, offset + dAt);
      for (let k = 0; k < size; k++) values[start + k] = f(d * scaleOf(bytes, offset, k)) * levelOf(bytes, offset, k);
    }
  },

  encode(values, bytes) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      encodeBlock(values.subarray(start, start + size), bytes.subarray(offset, offset + blockBytes));
    }
  },

  integers(bytes, offset, block) {
    block.scale = readF16(bytes, offset + dAt);
    for (let k = 0; k < size; k++) block.weights[k] = scaleOf(bytes, offset, k) * levelOf(bytes, offset, k);
  },
};

function scaleOf(bytes: Uint8Array, offset: number, k: number): number {
  return ((bytes[offset + scalesAt + (k >> 4)] as number) << 24) >> 24;
}

function levelOf(bytes: Uint8Array, offset: number, k: number): number {
  const half = k >> 7;
  const group = (k >> 5) & 3;
  const low = (bytes[offset + 64 * half + (k & 63)] as number) >> (group < 2 ? 0 : 4);
  const high = (bytes[offset + highAt + 32 * half + (k & 31)] as number) >> (2 * group);
  return ((low & 15) | ((high & 3) << 4)) - 32;
}

function encodeBlock(values: Float32Array, bytes: Uint8Array): void {
  bytes.fill(0);
  const levels = new Int8Array(size);
  const scales = new Float32Array(subBlocks);
  let extreme = 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    const span = values.subarray(sub * subSize, (sub + 1) * subSize);
    const scale = fitSubBlock(span, levels.subarray(sub * subSize, (sub + 1) * subSize));
    scales[sub] = scale;
    if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
  }
  if (Math.abs(extreme) < f(1e-15)) return;

  const inverse = f(-128 / extreme);
  const d = writeF16(bytes, dAt, f(1 / inverse));
  for (let sub = 0; sub < subBlocks; sub++) {
    const scale = Math.min(127, nearestInteger(f(inverse * (scales[sub] as number))));
    bytes[scalesAt + sub] = scale;
    // The levels once more, against the scale as it was stored.
    const stored = f(d * scale);
    if (stored === 0) continue;
    for (let k = sub * subSize; k < (sub + 1) * subSize; k++) {
      levels[k] = clamp(nearestInteger(f((values[k] as number) / stored)), -32, 31);
    }
  }
  for (let k = 0; k < size; k++) {
    const level = (levels[k] as number) + 32;
    const half = k >> 7;
    const group = (k >> 5) & 3;
    const low = 64 * half + (k & 63);
    const high = highAt + 32 * half + (k & 31);
    bytes[low] = (bytes[low] as number) | ((level & 15) << (group < 2 ? 0 : 4));
    bytes[high] = (bytes[high] as number) | ((level >> 4) << (2 * group));
  }
}

/**
 * ggml's search (make_qx_quants): 19 trial scales around `extreme / -32` give levels, each set of levels its best scale
 * by least squares weighted with x^2, and the largest explained part wins. Every operation is rounded to f32.
 */
function fitSubBlock(x: Float32Array, levels: Int8Array): number {
  let extreme = 0;
  for (let k = 0; k < subSize; k++) {
    if (Math.abs(x[k] as number) > Math.abs(extreme)) extreme = x[k] as number;
  }
  if (Math.abs(extreme) < f(1e-15)) {
    levels.fill(-32);
    return 0;
  }
  const first = f(-32 / extreme);
  assignLevels(x, first, levels);
  let { sumXL, sumL2 } = momentsOf(x, first);
  let scale = sumL2 === 0 ? 0 : f(sumXL / sumL2);
  let best = f(scale * sumXL);
  for (let step = -9; step <= 9; step++) {
    if (step === 0) continue;
    const inverse = f(-f(32 + f(f(0.1) * step)) / extreme);
    ({ sumXL, sumL2 } = momentsOf(x, inverse));
    if (sumL2 > 0 && f(sumXL * sumXL) > f(best * sumL2)) {
      assignLevels(x, inverse, levels);
      scale = f(sumXL / sumL2);
      best = f(scale * sumXL);
    }
  }
  return scale;
}

function assignLevels(x: Float32Array, inverse: number, levels: Int8Array): void {
  for (let k = 0; k < subSize; k++) levels[k] = clamp(nearestInteger(f(inverse * (x[k] as number))), -32, 31);
}

function momentsOf(x: Float32Array, inverse: number): { sumXL: number; sumL2: number } {
  let sumXL = 0;
  let sumL2 = 0;
  for (let k = 0; k < subSize; k++) {
    const value = x[k] as number;
    const level = clamp(nearestInteger(f(inverse * value)), -32, 31);
    const w = f(value * value);
    sumXL = f(sumXL + f(f(w * value) * level));
    sumL2 = f(sumL2 + f(f(w * level) * level));
  }
  return { sumXL, sumL2 };
}
