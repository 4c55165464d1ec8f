/** ggml's Q4_0: 32 values, `d * (q - 8)`. Layout: f16 d, 16 bytes: value k in the low nibble of byte k, k + 16 in the high. */
import { type BlockFormat, readF16, writeF16 } from './format.ts';

const size = 32;
const half = 16;
const blockBytes = 18;

export const q4_0: BlockFormat = {
  name: 'q4_0',
  ggmlType: 2,
  blockSize: size,
  blockBytes,

  decode(bytes, values) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      const d = readF16(bytes, offset);
      for (let k = 0; k < half; k++) {
        const pair = bytes[offset + 2 + k] as number;
        values[start + k] = ((pair & 15) - 8) * d;
        values[start + k + half] = ((pair >> 4) - 8) * d;
      }
    }
  },

  encode(values, bytes) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      // The value of largest magnitude, with its sign, becomes exactly -8 * d: the ninth level on its side is used.
      let extreme = 0;
      for (let k = 0; k < size; k++) {
        const value = values[start + k] as number;
        if (Math.abs(value) > Math.abs(extreme)) extreme = value;
      }
      const d = Math.fround(extreme / -8);
      const inverse = d === 0 ? 0 : Math.fround(1 / d);
      writeF16(bytes, offset, d);
      for (let k = 0; k < half; k++) {
        const low = level(values[start + k] as number, inverse);
        const high = level(values[start + k + half] as number, inverse);
        bytes[offset + 2 + k] = low | (high << 4);
      }
    }
  },

  integers(bytes, offset, block) {
    block.scale = readF16(bytes, offset);
    for (let k = 0; k < half; k++) {
      const pair = bytes[offset + 2 + k] as number;
      block.weights[k] = (pair & 15) - 8;
      block.weights[k + half] = (pair >> 4) - 8;
    }
  },
};

function level(value: number, inverse: number): number {
  return Math.min(15, Math.fround(Math.fround(value * inverse) + 8.5) | 0);
}
