/**
 * ggml's Q2_K: 256 values in 16 sub-blocks of 16, `d * sc * q - dmin * mn` with 4-bit sc and mn for each sub-block.
 * Layout: 16 bytes with sc in the low and mn in the high nibble, 64 bytes of pairs of bits, f16 d, f16 dmin. Of each 128
 * values, value 32 * g + k is bits 2g and 2g + 1 of byte k.
 */
import { type BlockFormat, readF16 } from './format.ts';

const size = 256;
const subSize = 16;
const subBlocks = 16;
const blockBytes = 84;
const levelsAt = 16;
const dAt = 80;
const dminAt = 82;
const f = Math.fround;

export const q2_K: BlockFormat = {
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
