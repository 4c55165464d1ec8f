/**
 * Panels as the integer products for many tokens with AVX2 and arm64 multiply them (unpacked-integers.ts, unpacked-dots.ts): bytes of quads, and what they
 * are scaled with, of 32 k after another.
 */
import type { Assembler } from '../asm/assembler.ts';
import { lanes, type Mem, rip, type Vec, ymm } from '../asm/operands.ts';
import { LOW_WORDS } from './integer-products.ts';
import { dBytes, type Layout, type Levels, layoutOf, wordSumsOf } from './levels.ts';
import { halves, type Tile } from './product.ts';
import { emitQuads, pairedQuads, type QuadBytes, quadConstants, quadsOf32 } from './quads.ts';
import { emitD } from './scales.ts';

/** Registers of what lies there for a tile; the last one of all may be a constant of the product. */
const [X, T] = [ymm(10), ymm(11)];
/** For VPSHUFB, while a tile is decoded. */
const WORDS = ymm(12);
/** Sums of negative values' magnitudes, while a tile is decoded. */
const negatives = [ymm(13), ymm(14)] as const;

/** `signs`: magnitudes, and masks of those that are negative. */
export type Kind = 'codes' | 'values' | 'signs';

/** Decoded 32 k: bytes of quads for both halves, then masks and scales; a tile of 256 k has more behind all of them. */
export interface Decoded {
  readonly format: Levels;
  readonly layout: Layout;
  readonly kind: Kind;
  /** Of 32 k. */
  readonly bytes: number;
  readonly masks: number;
  readonly scales: number;
  readonly minimum: number;
  /** Magnitudes of negative values: their sum i32 of a tile of 32 k, or behind the levels of one of 256 with its scales in it. */
  readonly negatives: number;
  /** Of a tile of 256 k, behind its levels. */
  readonly tile: { readonly d: number; readonly dmin: number; readonly minima: number; readonly bytes: number };
}

const levelBytes = 512;

export const levelAt = (quad: number, half: number) => 64 * quad + 32 * half;

/** As VPMADDUBSW multiplies them best. */
export function decodedOf(format: Levels): Decoded {
  const isSigned = wordSumsOf(format).kind === 'signed';
  return decodedAs(format, isSigned ? 'signs' : 'codes');
}

export function decodedAs(format: Levels, kind: Kind): Decoded {
  const { size, sub, scales, minima } = format;
  const isSmall = size === 32;
  const scalesAt = levelBytes * (kind === 'signs' ? 2 : 1);
  // f32 of a tile of 32; i16 twice of each sub-block.
  const scaleBytes = isSmall ? 64 * layoutOf(format).d.length : scales === undefined ? 0 : sub === 16 ? 128 : 64;
  const minimum = scalesAt + scaleBytes;
  const behind = minimum + (minima === 'tile' ? 64 : 0);
  const minimaBytes = minima === 'sub' ? (sub === 16 ? 1024 : 256) : 0;
  const tileBytes = 128 + minimaBytes;
  const negativeBytes = kind === 'signs' ? 64 : 0;
  return {
    format,
    layout: layoutOf(format),
    kind,
    bytes: behind + (isSmall ? negativeBytes : 0),
    masks: levelBytes,
    scales: scalesAt,
    minimum,
    negatives: isSmall ? behind : tileBytes,
    tile: { d: 0, dmin: 64, minima: 128, bytes: tileBytes + (isSmall ? 0 : negativeBytes) },
  };
}

/** The bytes of 32 k. Registers from `negatives` on are kept. */
export function decodeLevels({ a, weight, x }: Tile, { format, kind }: Decoded): void {
  const as = kind === 'values' ? 'value' : 'code';
  const quads = format.planes[0] === 4 ? pairedQuads : quadsOf32;
  const level = loadConstants(a, format, as);
  for (const half of halves) {
    emitQuads(
      a,
      format,
      as,
      quads,
      (at) => weight(at + 32 * half),
      level,
      (quad) => a.emit('vmovdqa', x(0, levelAt(quad, half)), level.level()),
    );
  }
}

/** The same for `signs`, after the scales of their sub-blocks, which `scale` says; adds to `negatives`. */
export function decodeSigns(
  { a, weight, x }: Tile,
  { format, masks }: Decoded,
  scale: (part: number, half: number) => Mem | Vec,
): void {
  const [magnitude, mask, sum, zero] = [ymm(4), ymm(5), ymm(6), ymm(7)];
  const inOrder = format.sub === 16 || format.planes[0] !== 4;
  const quads = inOrder ? quadsOf32 : pairedQuads;
  const alike = format.sub === 16 ? 4 : 8;
  const level = loadConstants(a, format, 'value');
  a.emit('vpxor', zero, zero, zero);
  for (const half of halves) {
    emitQuads(
      a,
      format,
      'value',
      quads,
      (at) => weight(at + 32 * half),
      level,
      (quad) => {
        const place = quads.indexOf(quad);
        a.emit('vpabsb', magnitude, level.level());
        a.emit('vmovdqa', x(0, levelAt(quad, half)), magnitude);
        a.emit('vpcmpgtb', mask, zero, level.level());
        a.emit('vmovdqa', x(0, masks + levelAt(quad, half)), mask);
        // As a byte the mask is -1.
        a.emit('vpmaddubsw', magnitude, magnitude, mask);
        a.emit('vpsubw', sum, place % alike === 0 ? zero : sum, magnitude);
        if (place % alike < alike - 1) return;
        const all = negatives[half] as Vec;
        a.emit('vpmaddwd', sum, sum, scale(Math.floor(place / alike), half));
        a.emit('vpaddd', all, all, sum);
      },
    );
  }
}

export function clearNegatives({ a }: Tile): void {
  for (const sum of negatives) a.emit('vpxor', sum, sum, sum);
}

export function storeNegatives({ a, x }: Tile, at: number): void {
  for (const half of halves) a.emit('vmovdqa', x(0, at + 32 * half), negatives[half] as Vec);
}

function loadConstants(a: Assembler, format: Levels, as: QuadBytes) {
  const patterns = quadConstants(format, as);
  const constants = patterns.map((_, i) => ymm(8 + i));
  for (const [i, pattern] of patterns.entries()) a.emit('vmovdqa', constants[i] as Vec, repeated(a, pattern));
  const level = ymm(0);
  return { planes: [ymm(1), ymm(2)], temporary: ymm(3), constants, level: () => level };
}

const repeated = (a: Assembler, pattern: readonly number[]): Mem =>
  rip(a.constant(Uint8Array.from({ length: 32 }, (_, i) => pattern[i % pattern.length] as number)));

/** 16 scales to f32. */
export function decodeD({ a, weight }: Tile, d: Levels['d'], from: number, to: (at: number) => Mem): void {
  for (const half of halves) {
    emitD(a, d, X, weight(from + 8 * half * dBytes[d]), T);
    a.emit('vmovaps', to(32 * half), X);
  }
}

/** Bytes of sub-blocks to i16, twice in each dword. */
function decodeBytes({ a }: Tile, isSigned: boolean, from: (at: number) => Mem, to: (at: number) => Mem): void {
  for (const half of halves) {
    a.emit(isSigned ? 'vpmovsxbd' : 'vpmovzxbd', X, from(8 * half));
    a.emit('vpshufb', X, X, WORDS);
    a.emit('vmovdqa', to(32 * half), X);
  }
}

/** What a tile of 256 k has once, behind its levels, and the scales of all sub-blocks, with their levels. */
export function decodeTile(tile: Tile, { format, layout, bytes, scales: scalesAt, tile: at }: Decoded): void {
  const { a, weight, x } = tile;
  const { sub, d, scales, minima } = format;
  const behind = 8 * bytes;
  a.emit('vmovdqa', WORDS, repeated(a, LOW_WORDS));
  decodeD(tile, d, layout.d[0] ?? 0, (half) => x(0, behind + at.d + half));
  const subsOf32 = sub === 16 ? 2 : 1;
  for (let i = 0; scales !== undefined && i < 8 * subsOf32; i++) {
    const to = bytes * Math.floor(i / subsOf32) + scalesAt + 64 * (i % subsOf32);
    decodeBytes(
      tile,
      scales === 's8',
      (half) => weight(layout.scales + 16 * i + half),
      (half) => x(0, to + half),
    );
  }
  if (minima === undefined) return;
  decodeD(tile, 'f16', layout.minimum, (half) => x(0, behind + at.dmin + half));
  if (sub === 16) {
    for (let i = 0; i < 16; i++) {
      const to = behind + at.minima + 64 * i;
      decodeBytes(
        tile,
        false,
        (half) => weight(layout.minima + 16 * i + half),
        (half) => x(0, to + half),
      );
    }
    return;
  }
  for (const half of halves) {
    for (let i = 0; i < 8; i += 2) {
      // i16 pairs of the minima of two sub-blocks.
      const [one, two] = [lanes(X, 128), lanes(T, 128)];
      a.emit('vmovq', one, weight(layout.minima + 16 * i + 8 * half));
      a.emit('vmovq', two, weight(layout.minima + 16 * (i + 1) + 8 * half));
      a.emit('vpunpcklbw', one, one, two);
      a.emit('vpmovzxbw', X, one);
      a.emit('vmovdqa', x(0, behind + at.minima + 32 * i + 32 * half), X);
    }
  }
}
