/** ggml's Q8_0: 32 values, `d * q`. Layout: f16 d, 32 signed bytes q. */
import { type EncodableFormat, readF16, writeF16 } from './format.ts';

const size = 32;
const blockBytes = 34;

export const q8_0: EncodableFormat = {
  name: 'q8_0',
  ggmlType: 8,
  blockSize: size,
  blockBytes,

  decode(bytes, values) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      const d = readF16(bytes, offset);
      for (let k = 0; k < size; k++) values[start + k] = signed(bytes[offset + 2 + k]) * d;
    }
  },

  encode(values, bytes) {
    for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
      let largest = 0;
      for (let k = start; k < start + size; k++) {
        const magnitude = Math.abs(values[k] as number);
        if (!(largest > magnitude)) largest = magnitude;
      }
      const d = Math.fround(largest / 127);
      const inverse = d === 0 ? 0 : Math.fround(1 / d);
      writeF16(bytes, offset, d);
      for (let k = 0; k < size; k++) {
        const scaled = Math.fround((values[start + k] as number) * inverse);
        // C's roundf: ties away from zero.
        bytes[offset + 2 + k] = (scaled < 0 ? scaled - 0.5 : scaled + 0.5) | 0;
      }
    }
  },

  integers(bytes, offset, block) {
    block.scale = readF16(bytes, offset);
    for (let k = 0; k < size; k++) block.weights[k] = signed(bytes[offset + 2 + k]);
  },
};

function signed(byte: number | undefined): number {
  return ((byte as number) << 24) >> 24;
}
