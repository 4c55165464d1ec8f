/**
 * ggml's Q6_K: 256 values in 16 sub-blocks of 16, `d * sc * (q - 32)` with a signed byte sc for each sub-block.
 * Layout: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 sc, f16 d. Of each 128 values, value 32 * g + k has
 * its nibble in byte 32 * (g % 2) + k (low half for g < 2) and its two high bits at 2 * g of byte k.
 */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';
import { lanes, loadGroups, storeGroup, storeGroups } from './lanes.ts';
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
const makeSearch = searchScale(32);
const scales = new Float32Array(subBlocks);

function encodeBlock(
  values: Float32Array,
  start: number,
  bytes: Uint8Array,
  offset: number,
  importance: Float32Array | undefined,
): void {
  const search = makeSearch();
  let extreme = 0;
  for (let first = 0; first < subBlocks; first += lanes) {
    const at = start + first * subSize;
    loadGroups(values, at, subSize, search.values);
    if (importance === undefined) {
      for (let i = 0; i < lanes * subSize; i++) {
        const value = search.values[i] as number;
        search.weights[i] = value * value;
      }
    } else {
      loadGroups(importance, at % importance.length, subSize, search.weights);
    }
    search.run(subSize);
    storeGroups(search.levels, subSize, levels, first * subSize);
    for (let lane = 0; lane < lanes; lane++) {
      const scale = search.results[lane] as number;
      scales[first + lane] = scale;
      if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
    }
  }
  if (Math.abs(extreme) < emptyGroup) {
    bytes.fill(0, offset, offset + blockBytes);
    return;
  }

  const inverse = f(-128 / extreme);
  const d = writeF16(bytes, offset + dAt, f(1 / inverse));
  for (let sub = 0; sub < subBlocks; sub++) {
    bytes[offset + scalesAt + sub] = nearestLevel(f(inverse * (scales[sub] as number)), -256, 127);
  }
  // The levels once more, against the scales as they were stored.
  for (let first = 0; first < subBlocks; first += lanes) {
    for (let lane = 0; lane < lanes; lane++) {
      search.results[lane] = d * scaleOf(bytes, offset, (first + lane) * subSize);
    }
    loadGroups(values, start + first * subSize, subSize, search.values);
    search.refine(subSize);
    for (let lane = 0; lane < lanes; lane++) {
      if (search.results[lane] !== 0) storeGroup(search.levels, lane, subSize, levels, (first + lane) * subSize);
    }
  }
  for (let half = 0; half < 2; half++) {
    for (let k = 0; k < 32; k++) {
      const from = 128 * half + k;
      const one = levels[from] as number;
      const two = levels[from + 32] as number;
      const three = levels[from + 64] as number;
      const four = levels[from + 96] as number;
      bytes[offset + 64 * half + k] = (one & 15) | ((three & 15) << 4);
      bytes[offset + 64 * half + 32 + k] = (two & 15) | ((four & 15) << 4);
      bytes[offset + highAt + 32 * half + k] =
        (one >> 4) | ((two >> 4) << 2) | ((three >> 4) << 4) | ((four >> 4) << 6);
    }
  }
}
