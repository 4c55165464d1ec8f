/**
 * ggml's IQ4_NL and IQ4_XS: indices of 4 bits into 16 integers that lie as the weights of models do, denser around zero.
 *
 * IQ4_NL: 32 values, `d * codebook[q]`. Layout: f16 d, 16 bytes: value k in the low nibble of byte k, k + 16 in the high.
 * IQ4_XS: 256 values in 8 sub-blocks of 32, `d * (sc - 32) * codebook[q]` with a 6-bit sc for each. Layout: f16 d, u16 with
 * the high 2 bits of sc s at 2s, 4 bytes with the low 4 bits of two sc each, 8 times 16 bytes of nibbles as above.
 */
import { type BlockFormat, decodeProducts, type IntegerBlock, readF16 } from './format.ts';

const codebook = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
const subSize = 32;
const half = 16;
const f = Math.fround;

const nlShape = { blockSize: subSize, blockBytes: 18 };

function nlIntegers(bytes: Uint8Array, offset: number, block: IntegerBlock): void {
  block.scale = readF16(bytes, offset);
  for (let k = 0; k < half; k++) {
    const pair = bytes[offset + 2 + k] as number;
    block.weights[k] = codebook[pair & 15] as number;
    block.weights[k + half] = codebook[pair >> 4] as number;
  }
}

export const iq4_nl: BlockFormat = {
  name: 'iq4_nl',
  ggmlType: 20,
  ...nlShape,
  decode: decodeProducts(nlShape, nlIntegers),
  integers: nlIntegers,
};

const xsSize = 256;
const xsBytes = 136;
const subBlocks = 8;
const highAt = 2;
const lowAt = 4;
const nibblesAt = 8;

export const iq4_xs: BlockFormat = {
  name: 'iq4_xs',
  ggmlType: 23,
  blockSize: xsSize,
  blockBytes: xsBytes,

  decode(bytes, values) {
    for (let start = 0, offset = 0; start < values.length; start += xsSize, offset += xsBytes) {
      const d = readF16(bytes, offset);
      for (let sub = 0; sub < subBlocks; sub++) {
        const scale = f(d * scaleOf(bytes, offset, sub));
        const from = offset + nibblesAt + half * sub;
        const to = start + subSize * sub;
        for (let k = 0; k < half; k++) {
          const pair = bytes[from + k] as number;
          values[to + k] = scale * (codebook[pair & 15] as number);
          values[to + k + half] = scale * (codebook[pair >> 4] as number);
        }
      }
    }
  },

  integers(bytes, offset, block) {
    block.scale = readF16(bytes, offset);
    for (let sub = 0; sub < subBlocks; sub++) {
      const scale = scaleOf(bytes, offset, sub);
      const from = offset + nibblesAt + half * sub;
      for (let k = 0; k < half; k++) {
        const pair = bytes[from + k] as number;
        block.weights[subSize * sub + k] = scale * (codebook[pair & 15] as number);
        block.weights[subSize * sub + k + half] = scale * (codebook[pair >> 4] as number);
      }
    }
  },
};

function scaleOf(bytes: Uint8Array, offset: number, sub: number): number {
  const low = ((bytes[offset + lowAt + (sub >> 1)] as number) >> (4 * (sub & 1))) & 15;
  const high = ((bytes[offset + highAt + (sub >> 2)] as number) >> (2 * (sub & 3))) & 3;
  return (low | (high << 4)) - 32;
}
