/**
 * The packed layout of a weight [N, K]: a pure function of format and shape, one copy for every kernel and instruction
 * set. Panels of 16 rows follow one another; a panel is tiles of ascending k; in a tile, lane l of every vector is row l
 * of the panel. Rows beyond N are zero bytes. pack-rows.ts makes it of the rows of a file.
 *
 * Integers (levels.ts) lie in dwords of 4 consecutive k, what VPDPBUSD, VPMADDUBSW and a tile of int8 multiply. Floats:
 *
 *   bf16    2 k   a vector of pairs (k, k + 1), what VDPBF16PS and a tile of bf16 multiply; the last is filled with zero
 *   f16     1 k   16 halves
 *   f32     1 k   16 floats
 *   e4m3_32, e5m2_32   32 k   16 floats, the scales; 16 bytes for each k
 */
import { IngotError } from '../../../base/errors.ts';
import { type IntegerFormat, isIntegerFormat, layoutOf, levels, levelsOf } from './levels.ts';

export const panelRows = 16;

interface TileSize {
  /** k of a tile. */
  readonly size: number;
  readonly bytes: number;
}

const floats = {
  bf16: { size: 2, bytes: 64 },
  f16: { size: 1, bytes: 32 },
  f32: { size: 1, bytes: 64 },
  e4m3_32: { size: 32, bytes: 64 + 16 * 32 },
  e5m2_32: { size: 32, bytes: 64 + 16 * 32 },
} as const satisfies Readonly<Record<string, TileSize>>;

export type PackedFormat = IntegerFormat | keyof typeof floats;

export const packedFormats = [...Object.keys(levels), ...Object.keys(floats)] as readonly PackedFormat[];

export function tileSize(format: PackedFormat): TileSize {
  if (!isIntegerFormat(format)) return floats[format];
  const row = levelsOf(format);
  return { size: row.size, bytes: layoutOf(row).bytes };
}

export function isPackedFormat(format: string): format is PackedFormat {
  return format in floats || isIntegerFormat(format);
}

/** @throws IngotError 'UnsupportedOp' for a format without a packed layout. */
export function packedFormat(format: string): PackedFormat {
  if (isPackedFormat(format)) return format;
  throw new IngotError('UnsupportedOp', `weights of format ${format} have no packed layout`, {
    device: 'cpu',
    hint: 'use --device reference, which decodes them and is slow; or take the model in another format',
  });
}

/** Bytes of one panel: 16 rows of K values. */
export function panelBytes(format: PackedFormat, K: number): number {
  const { size, bytes } = tileSize(format);
  return Math.ceil(K / size) * bytes;
}

/** Bytes of a weight [N, K], or of [E, N, K]: matrices one after another, each of whole panels. */
export function packedBytes(format: PackedFormat, shape: readonly number[]): number {
  const [N = 0, K = 0] = shape.slice(-2);
  return (shape.length === 3 ? shape[0] : 1) * Math.ceil(N / panelRows) * panelBytes(format, K);
}
