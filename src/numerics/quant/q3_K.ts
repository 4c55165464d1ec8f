/**
 * ggml's Q3_K: 256 values in 16 sub-blocks of 16, `d * (sc - 32) * (q - 4)` with a 6-bit sc for each sub-block.
 * Layout: 32 bytes of third bits: bit g of byte k belongs to value 32 * g + k; 64 bytes of pairs of low bits as in Q2_K;
 * 12 bytes of sc: the low 4 bits of sc 0-7 and 8-15 in the low and high nibbles of bytes 0-7, the high 2 bits of sc 4g + j
 * at 2g of byte 8 + j; f16 d.
 */
import { type BlockFormat, readF16 } from './format.ts';
import { levelByte, levelShift } from './q2_K.ts';

const size = 256;
const subSize = 16;
const subBlocks = 16;
const blockBytes = 110;
const lowAt = 32;
const scalesAt = 96;
const dAt = 108;
const f = Math.fround;

export const q3_K: BlockFormat = {
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
