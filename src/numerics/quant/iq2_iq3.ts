/**
 * ggml's IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS and IQ3_S, decoding only: 256 values in groups of 8, each group one or two points
 * of a grid of magnitudes (`iq-grids.ts`) with signs, times a scale `2 * sc + 1` of 4 bits for 16 or 32 values, times d.
 * Layouts, all after f16 d, s counting sub-blocks of 32:
 *
 *   iq2_xxs  8 bytes for each s: 4 indices; u32 of 4 times 7 signs and sc in the top 4 bits
 *   iq2_xs   4 u16 for each s: 9 bits of index, 7 of signs; then a byte for each s: sc of its first and its last 16 values
 *   iq2_s    32 bytes of indices, 32 of signs; a byte for each s with the high 2 bits of its 4 indices; sc as in iq2_xs
 *   iq3_xxs  64 bytes of indices into points of 4; u32 for each s as in iq2_xxs
 *   iq3_s    64 bytes of indices into points of 4; a byte for each s with their ninth bits; 32 bytes of signs; 4 bytes of
 *            sc, two in each
 *
 * Of 8 signs the last is not stored where 7 are: the number of negative ones is even.
 */
import { type BlockFormat, decodeProducts, type IntegerBlock, readF16, readU32 } from './format.ts';
import { type GridName, iqGrid } from './iq-grids.ts';

const size = 256;
const subBlocks = 8;

/** What differs between formats: sizes, and how a block is read. `unit`: of the integers, relative to d. */
interface Row {
  readonly ggmlType: number;
  readonly blockBytes: number;
  readonly unit: number;
  read(bytes: Uint8Array, offset: number, weights: Int32Array, grid: Uint8Array): void;
}

function makeFormat(name: GridName, { ggmlType, blockBytes, unit, read }: Row): BlockFormat {
  const shape = { blockSize: size, blockBytes };
  const integers = (bytes: Uint8Array, offset: number, block: IntegerBlock) => {
    block.scale = readF16(bytes, offset) * unit;
    read(bytes, offset, block.weights, iqGrid(name));
  };
  return { name, ggmlType, ...shape, decode: decodeProducts(shape, integers), integers };
}

export const iq2_xxs = makeFormat('iq2_xxs', {
  ggmlType: 16,
  blockBytes: 66,
  unit: 1 / 8,
  read(bytes, offset, weights, grid) {
    for (let sub = 0; sub < subBlocks; sub++) {
      const at = offset + 2 + 8 * sub;
      const rest = readU32(bytes, at + 4);
      const scale = 2 * (rest >>> 28) + 1;
      for (let l = 0; l < 4; l++) {
        put(weights, 32 * sub + 8 * l, grid, 8 * (bytes[at + l] as number), 8, scale, eightSigns(rest >>> (7 * l)));
      }
    }
  },
});

export const iq2_xs = makeFormat('iq2_xs', {
  ggmlType: 17,
  blockBytes: 74,
  unit: 1 / 8,
  read(bytes, offset, weights, grid) {
    for (let sub = 0; sub < subBlocks; sub++) {
      const scales = bytes[offset + 66 + sub] as number;
      for (let l = 0; l < 4; l++) {
        const at = offset + 2 + 8 * sub + 2 * l;
        const high = bytes[at + 1] as number;
        const point = (bytes[at] as number) | ((high & 1) << 8);
        put(weights, 32 * sub + 8 * l, grid, 8 * point, 8, scaleOf(scales, l >> 1), eightSigns(high >> 1));
      }
    }
  },
});

export const iq2_s = makeFormat('iq2_s', {
  ggmlType: 22,
  blockBytes: 82,
  unit: 1 / 8,
  read(bytes, offset, weights, grid) {
    for (let sub = 0; sub < subBlocks; sub++) {
      const high = bytes[offset + 66 + sub] as number;
      const scales = bytes[offset + 74 + sub] as number;
      for (let l = 0; l < 4; l++) {
        const at = offset + 2 + 4 * sub + l;
        const point = (bytes[at] as number) | (((high >> (2 * l)) & 3) << 8);
        put(weights, 32 * sub + 8 * l, grid, 8 * point, 8, scaleOf(scales, l >> 1), bytes[at + 32] as number);
      }
    }
  },
});

export const iq3_xxs = makeFormat('iq3_xxs', {
  ggmlType: 18,
  blockBytes: 98,
  unit: 1 / 4,
  read(bytes, offset, weights, grid) {
    for (let sub = 0; sub < subBlocks; sub++) {
      const rest = readU32(bytes, offset + 66 + 4 * sub);
      const scale = 2 * (rest >>> 28) + 1;
      for (let half = 0; half < 8; half++) {
        const point = bytes[offset + 2 + 8 * sub + half] as number;
        const signs = eightSigns(rest >>> (7 * (half >> 1))) >> (4 * (half & 1));
        put(weights, 32 * sub + 4 * half, grid, 4 * point, 4, scale, signs);
      }
    }
  },
});

export const iq3_s = makeFormat('iq3_s', {
  ggmlType: 21,
  blockBytes: 110,
  unit: 1,
  read(bytes, offset, weights, grid) {
    for (let sub = 0; sub < subBlocks; sub++) {
      const high = bytes[offset + 66 + sub] as number;
      const scale = scaleOf(bytes[offset + 106 + (sub >> 1)] as number, sub & 1);
      for (let half = 0; half < 8; half++) {
        const point = (bytes[offset + 2 + 8 * sub + half] as number) | (((high >> half) & 1) << 8);
        const signs = (bytes[offset + 74 + 4 * sub + (half >> 1)] as number) >> (4 * (half & 1));
        put(weights, 32 * sub + 4 * half, grid, 4 * point, 4, scale, signs);
      }
    }
  },
});

/** The low or the high of two sc in a byte, as the factor that it means. */
function scaleOf(pair: number, which: number): number {
  return 2 * ((pair >> (4 * which)) & 15) + 1;
}

/** Seven signs and the one that makes the number of them even. */
function eightSigns(bits: number): number {
  const seven = bits & 127;
  const folded = seven ^ (seven >> 4);
  // Bit i of 0x6996: whether i has an odd number of ones.
  return seven | (((0x6996 >> (folded & 15)) & 1) << 7);
}

function put(
  weights: Int32Array,
  to: number,
  grid: Uint8Array,
  from: number,
  count: number,
  scale: number,
  signs: number,
): void {
  for (let k = 0; k < count; k++) {
    const magnitude = scale * (grid[from + k] as number);
    weights[to + k] = (signs >> k) & 1 ? -magnitude : magnitude;
  }
}
