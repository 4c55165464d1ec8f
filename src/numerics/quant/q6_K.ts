/**
 * ggml's Q6_K: 256 values in 16 sub-blocks of 16, `d * sc * (q - 32)` with a signed byte sc for each sub-block.
 * Layout: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 sc, f16 d. Of each 128 values, value 32 * g + k has
 * its nibble in byte 32 * (g % 2) + k (low half for g < 2) and its two high bits at 2 * g of byte k.
 */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';
import { nearestLevel } from './nearest-level.ts';
import { emptyGroup, searchScale } from './search-scale.ts';

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

  encode(values, bytes, importance) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      encodeBlock(values, start, bytes, offset, importance);
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

const levels = new Uint8Array(size);
const squares = new Float32Array(subSize);
const scales = new Float32Array(subBlocks);

function encodeBlock(
  values: Float32Array,
  start: number,
  bytes: Uint8Array,
  offset: number,
  importance: Float32Array | undefined,
): void {
  bytes.fill(0, offset, offset + blockBytes);
  let extreme = 0;
  for (let sub = 0; sub < subBlocks; sub++) {
    const at = start + sub * subSize;
    let weights: Float32Array = squares;
    if (importance === undefined) {
      for (let k = 0; k < subSize; k++) squares[k] = (values[at + k] as number) * (values[at + k] as number);
    } else {
      weights = importance.subarray(at % importance.length, (at % importance.length) + subSize);
    }
    const scale = searchScale(values, at, weights, 32, levels, sub * subSize);
    scales[sub] = scale;
    if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
  }
  if (Math.abs(extreme) < emptyGroup) return;

  const inverse = f(-128 / extreme);
  const d = writeF16(bytes, offset + dAt, f(1 / inverse));
  for (let sub = 0; sub < subBlocks; sub++) {
    bytes[offset + scalesAt + sub] = nearestLevel(f(inverse * (scales[sub] as number)), -256, 127);
    // The levels once more, against the scale as it was stored.
    const stored = f(d * scaleOf(bytes, offset, sub * subSize));
    if (stored === 0) continue;
    for (let k = sub * subSize; k < (sub + 1) * subSize; k++) {
      levels[k] = nearestLevel(f((values[start + k] as number) / stored), -32, 31) + 32;
    }
  }
  for (let k = 0; k < size; k++) {
    const level = levels[k] as number;
    const half = k >> 7;
    const group = (k >> 5) & 3;
    const low = offset + 64 * half + (k & 63);
    const high = offset + highAt + 32 * half + (k & 31);
    bytes[low] = (bytes[low] as number) | ((level & 15) << (group < 2 ? 0 : 4));
    bytes[high] = (bytes[high] as number) | ((level >> 4) << (2 * group));
  }
}
