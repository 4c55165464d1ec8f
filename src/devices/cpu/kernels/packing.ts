/**
 * The packed layout of a weight [N, K]: a pure function of format and shape, one copy for every kernel and instruction
 * set. Panels of 16 rows follow one another; a panel is tiles of ascending k; in a tile, lane l of every vector is row l
 * of the panel. Rows beyond N are zero bytes.
 *
 * Integers lie in dwords of 4 consecutive k (what VPDPBUSD, VPMADDUBSW and a tile of int8 multiply), 16 lanes one after
 * another: "vectors" of 64 bytes. A vector of nibbles has k .. k+3 in its low and k+16 .. k+19 in its high halves.
 *
 *   q8_0   32 k   vectors 0-7: q + 128 of k = 4g ..; d f16[16]
 *   q4_0   32 k   vectors 0-3: nibbles of k = 4g ..; d f16[16]
 *   q4_K  256 k   d f16[16]; dmin f16[16]; sc u8[8][16]; mn u8[8][16]; for each 32 k four vectors of nibbles
 *   q6_K  256 k   d f16[16]; for each 32 k: sc i8[2][16], four vectors of low nibbles, for each 16 k one vector of high
 *                 pairs: bits 2f and 2f+1 belong to k = 4f ..
 *   bf16    2 k   a vector of pairs (k, k + 1), what VDPBF16PS and a tile of bf16 multiply; the last is filled with zero
 *   f16     1 k   16 halves
 *   f32     1 k   16 floats
 */
import { IngotError } from '../../../base/errors.ts';
import { blockFormat } from '../../../numerics/quant/formats.ts';

export const panelRows = 16;

/** Where the parts of a tile are; `step`: from what belongs to 32 k to the same of the next 32. */
export const tiles = {
  q8_0: { size: 32, bytes: 544, levels: 0, d: 512 },
  q4_0: { size: 32, bytes: 288, levels: 0, d: 256 },
  q4_K: { size: 256, bytes: 2368, d: 0, dmin: 32, scales: 64, minima: 192, levels: 320, step: 256 },
  q6_K: { size: 256, bytes: 3360, d: 0, scales: 32, levels: 64, high: 320, step: 416 },
  bf16: { size: 2, bytes: 64 },
  f16: { size: 1, bytes: 32 },
  f32: { size: 1, bytes: 64 },
} as const;

export type PackedFormat = keyof typeof tiles;

export function isPackedFormat(format: string): format is PackedFormat {
  return format in tiles;
}

/** @throws IngotError 'UnsupportedOp' for a format without a packed layout. */
export function packedFormat(format: string): PackedFormat {
  if (isPackedFormat(format)) return format;
  throw new IngotError('UnsupportedOp', `weights of format ${format} have no packed layout`, { device: 'cpu' });
}

/** Bytes of one panel: 16 rows of K values. */
export function panelBytes(format: PackedFormat, K: number): number {
  return Math.ceil(K / tiles[format].size) * tiles[format].bytes;
}

/** Bytes of a weight [N, K], or of [E, N, K]: matrices one after another, each of whole panels. */
export function packedBytes(format: PackedFormat, shape: readonly number[]): number {
  const [N = 0, K = 0] = shape.slice(-2);
  return (shape.length === 3 ? shape[0] : 1) * Math.ceil(N / panelRows) * panelBytes(format, K);
}

/**
 * Packs `rows` rows of `source` (whole blocks of the format, rows outermost) into `out`, `packedBytes` of them. A weight
 * can be packed in slices: of multiples of 16 rows, the last one as it comes.
 * @throws IngotError 'InvalidArgument' for lengths that do not fit.
 */
export function packRows(format: PackedFormat, source: Uint8Array, rows: number, K: number, out: Uint8Array): void {
  const { blockSize, blockBytes } = blockFormat(format);
  const rowBytes = (K / blockSize) * blockBytes;
  const expected = packedBytes(format, [rows, K]);
  if (K % blockSize !== 0 || source.length !== rows * rowBytes || out.length !== expected) {
    throw new IngotError(
      'InvalidArgument',
      `${source.length} bytes of ${format} [${rows}, ${K}] do not pack into ${out.length} bytes`,
      { device: 'cpu' },
    );
  }
  if (rows % panelRows !== 0) out.fill(0, expected - panelBytes(format, K));
  const from = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const to = new DataView(out.buffer, out.byteOffset, out.byteLength);
  for (let row = 0; row < rows; row++) {
    const panel = Math.floor(row / panelRows) * panelBytes(format, K);
    rowPackers[format](from, row * rowBytes, K, to, panel, row % panelRows);
  }
}

/** Writes the row at `at` of `from`, K values, into lane `lane` of the panel at `panel` of `to`. */
type RowPacker = (from: DataView, at: number, K: number, to: DataView, panel: number, lane: number) => void;

const rowPackers: Readonly<Record<PackedFormat, RowPacker>> = {
  q8_0(from, at, K, to, panel, lane) {
    const { size, bytes, levels, d } = tiles.q8_0;
    for (let k = 0; k < K; k += size, at += 34, panel += bytes) {
      for (let g = 0; g < 8; g++) {
        const quad = from.getInt32(at + 2 + 4 * g, true);
        to.setInt32(panel + levels + 64 * g + 4 * lane, quad ^ 0x80808080, true);
      }
      to.setUint16(panel + d + 2 * lane, from.getUint16(at, true), true);
    }
  },

  q4_0(from, at, K, to, panel, lane) {
    const { size, bytes, levels, d } = tiles.q4_0;
    for (let k = 0; k < K; k += size, at += 18, panel += bytes) {
      // The file's nibbles are paired as ours.
      for (let g = 0; g < 4; g++) {
        to.setInt32(panel + levels + 64 * g + 4 * lane, from.getInt32(at + 2 + 4 * g, true), true);
      }
      to.setUint16(panel + d + 2 * lane, from.getUint16(at, true), true);
    }
  },

  q4_K(from, at, K, to, panel, lane) {
    const { size, bytes, levels, d, dmin, scales, minima } = tiles.q4_K;
    for (let k = 0; k < K; k += size, at += 144, panel += bytes) {
      to.setUint16(panel + d + 2 * lane, from.getUint16(at, true), true);
      to.setUint16(panel + dmin + 2 * lane, from.getUint16(at + 2, true), true);
      // 6 bits each: sc and mn of sub-blocks 0-3 whole in bytes 0-3 and 4-7, of 4-7 in bytes 8-11 and on top of those.
      for (let sub = 0; sub < 4; sub++) {
        const [sc, mn, both] = [from.getUint8(at + 4 + sub), from.getUint8(at + 8 + sub), from.getUint8(at + 12 + sub)];
        to.setUint8(panel + scales + 16 * sub + lane, sc & 63);
        to.setUint8(panel + minima + 16 * sub + lane, mn & 63);
        to.setUint8(panel + scales + 16 * (sub + 4) + lane, (both & 15) | ((sc >> 6) << 4));
        to.setUint8(panel + minima + 16 * (sub + 4) + lane, (both >> 4) | ((mn >> 6) << 4));
      }
      // The file pairs k with k + 32.
      for (let pair = 0; pair < 4; pair++) {
        for (let g = 0; g < 4; g++) {
          const one = from.getInt32(at + 16 + 32 * pair + 4 * g, true);
          const two = from.getInt32(at + 32 + 32 * pair + 4 * g, true);
          const vector = panel + levels + 512 * pair + 64 * g + 4 * lane;
          to.setInt32(vector, (one & LOW) | ((two & LOW) << 4), true);
          to.setInt32(vector + 256, ((one >>> 4) & LOW) | (two & ~LOW), true);
        }
      }
    }
  },

  q6_K(from, at, K, to, panel, lane) {
    const { size, bytes, levels, high, d, scales, step } = tiles.q6_K;
    for (let k = 0; k < K; k += size, at += 210, panel += bytes) {
      to.setUint16(panel + d + 2 * lane, from.getUint16(at + 208, true), true);
      // Of each 128 values the file has those of group g, 32 each, in nibbles of bytes 32 * (g % 2) .. and in pairs of bits at 2g.
      for (let group = 0; group < 8; group++) {
        const half = group >> 2;
        const low = at + 64 * half + 32 * (group & 1);
        const nibble = (group & 2) * 2;
        const pair = (group & 3) * 2;
        const part = panel + step * group;
        for (let g = 0; g < 4; g++) {
          const one = (from.getInt32(low + 4 * g, true) >>> nibble) & LOW;
          const two = (from.getInt32(low + 16 + 4 * g, true) >>> nibble) & LOW;
          to.setInt32(part + levels + 64 * g + 4 * lane, one | (two << 4), true);
        }
        for (let sub = 0; sub < 2; sub++) {
          let vector = 0;
          for (let f = 0; f < 4; f++) {
            const quad = from.getInt32(at + 128 + 32 * half + 16 * sub + 4 * f, true);
            vector |= ((quad >>> pair) & PAIR) << (2 * f);
          }
          to.setInt32(part + high + 64 * sub + 4 * lane, vector, true);
          to.setUint8(part + scales + 16 * sub + lane, from.getUint8(at + 192 + 2 * group + sub));
        }
      }
    }
  },

  bf16(from, at, K, to, panel, lane) {
    for (let k = 0; k < K; k++) {
      to.setUint16(panel + 64 * (k >> 1) + 4 * lane + 2 * (k & 1), from.getUint16(at + 2 * k, true), true);
    }
    if (K % 2 === 1) to.setUint16(panel + 64 * (K >> 1) + 4 * lane + 2, 0, true);
  },

  f16(from, at, K, to, panel, lane) {
    for (let k = 0; k < K; k++) to.setUint16(panel + 32 * k + 2 * lane, from.getUint16(at + 2 * k, true), true);
  },

  f32(from, at, K, to, panel, lane) {
    for (let k = 0; k < K; k++) to.setUint32(panel + 64 * k + 4 * lane, from.getUint32(at + 4 * k, true), true);
  },
};

/** The low nibble, and the low pair of bits, of each byte. */
const LOW = 0x0f0f0f0f;
const PAIR = 0x03030303;
