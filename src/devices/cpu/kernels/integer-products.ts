/**
 * The `i8` dot numerics (numerics/dot.ts) with AVX2, lanes = rows of the weight: exact integer sums over a block, then
 *
 *   acc = acc + f32(sum) * (scale * dx)        and for minima        acc = acc - f32(minSum) * (minScale * dx)
 *
 * each operation rounded. Which integers are exact, and why, is said at `WordSums` of levels.ts.
 */
import type { Assembler } from '../asm/assembler.ts';
import { lanes, type Vec, ymm } from '../asm/operands.ts';
import { blockOf, codingOf, dBytes, type IntegerFormat, layoutOf, levelsOf, wordSumsOf } from './levels.ts';
import { constantOf, halves, type Product, panelVectors, type Tile } from './product.ts';
import { chainsOf, emitQuads, quadConstants } from './quads.ts';
import { records, smallRecords } from './quantize-activations.ts';
import { emitD } from './scales.ts';

const vectors = panelVectors[256];
const large = records[256];

/** Registers of a tile; constants are the last ones. */
const sumOf = (token: number, half: number) => ymm(2 * token + half);
const wordsOf = (token: number) => ymm(4 + token);
const [LEVEL, SIGNED, S, T] = [ymm(6), ymm(7), ymm(8), ymm(11)];
const planes = [ymm(9), ymm(10)];

export const WORDS_OF_ONE = [1, 0];
/** For VPSHUFB: the low i16 of each dword, twice. */
export const LOW_WORDS = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];

/** acc = acc + f32(sum) * (scale * dx), or minus. Ends the sum; uses T. */
function addScaled(tile: Tile, token: number, half: number, scale: Vec, dx: number, op: 'vaddps' | 'vsubps'): void {
  const { a } = tile;
  const [sum, acc] = [sumOf(token, half), tile.sum(token, half)];
  a.emit('vbroadcastss', T, tile.x(token, dx));
  a.emit('vmulps', T, T, scale);
  a.emit('vcvtdq2ps', sum, sum);
  a.emit('vmulps', sum, sum, T);
  if (op === 'vaddps') {
    a.emit('vaddps', sum, sum, acc);
  } else {
    a.emit('vmovaps', T, acc);
    a.emit('vsubps', sum, T, sum);
  }
  a.emit('vmovaps', acc, sum);
}

/** words = sums of activations as they come with them, to what words of codes start at. */
export function emitStart(a: Assembler, size: 32 | 256, offset: number, words: Vec): void {
  if (size === 32 && offset === 16) a.emit('vpaddw', words, words, words);
  if (size === 256 && offset === 16) a.emit('vpsraw', words, words, 1);
}

/** @param dots whether VPDPBSSD multiplies: sums are i32 at once, and codes signed bytes, which all are. */
export function integerProduct(name: IntegerFormat, dots = false): Product {
  const format = levelsOf(name);
  const { size, sub, scales, minima } = format;
  const layout = layoutOf(format);
  const { shift, offset } = codingOf(format);
  const isSigned = wordSumsOf(format).kind === 'signed';
  const as = isSigned ? 'value' : 'code';
  const patterns = quadConstants(format, as);
  const words = constantOf(vectors, patterns.length);
  const ones = constantOf(vectors, patterns.length + (scales === undefined ? 0 : 1));
  const chains = chainsOf(format);
  const registers = {
    planes,
    temporary: T,
    constants: patterns.map((_, i) => constantOf(vectors, i)),
    level: () => (isSigned ? SIGNED : LEVEL),
  };
  const block = blockOf(format);
  const small = smallRecords(block);
  /** Where the activations of a block of a tile are. */
  const recordAt = (part: number) => (block === 16 ? small.bytes * part : 0);
  const tokensOf = ({ tokens }: Tile) => Array.from({ length: tokens }, (_, token) => token);

  return {
    vectors,
    tokens: [2, 1],
    unroll: 1,
    inRegisters: false,
    constants: [
      ...patterns,
      scales === undefined ? WORDS_OF_ONE : LOW_WORDS,
      ...(dots && scales !== undefined ? [WORDS_OF_ONE] : []),
    ],
    emit(tile) {
      const { a } = tile;
      if (size === 32) {
        for (const part of layout.d.keys()) {
          for (const half of halves) addQuads(tile, half, chains.slice(part, block === 16 ? part + 1 : undefined));
          for (const half of halves) finish(tile, half, part);
        }
      } else {
        for (const half of halves) {
          for (const token of tokensOf(tile))
            a.emit('vpxor', sumOf(token, half), sumOf(token, half), sumOf(token, half));
        }
        const lagging = scales === undefined ? 1 : (16 * 32) / sub;
        tile.repeat(8, { weight: layout.step, x: large.step, lagging }, () => {
          for (const half of halves) addQuads(tile, half, chains);
        });
        for (const half of halves) finish(tile, half, 0);
      }
    },
  };

  /** Adds chains of quads to the sums; where they are the whole block, begins them. */
  function addQuads(tile: Tile, half: number, some: typeof chains): void {
    if (dots) {
      addDots(tile, half, some);
      return;
    }
    const { a, weight, x } = tile;
    const tokens = tokensOf(tile);
    for (const [index, chain] of some.entries()) {
      const part = (chain[0] as number) >> 2;
      const startsAt = !isSigned && offset > 0;
      if (startsAt) {
        for (const token of tokens) {
          a.emit(
            'vpbroadcastd',
            wordsOf(token),
            x(token, size === 32 ? recordAt(part) + small.sums : large.sums + 4 * part),
          );
          emitStart(a, size, offset, wordsOf(token));
        }
      }
      emitQuads(
        a,
        format,
        as,
        chain,
        (at) => weight(at + 32 * half),
        registers,
        (quad) => {
          if (isSigned) a.emit('vpabsb', LEVEL, SIGNED);
          const begins = quad === chain[0] && !startsAt;
          for (const token of tokens) {
            a.emit('vpbroadcastd', T, x(token, block === 16 ? recordAt(quad >> 2) + 4 * (quad & 3) : 4 * quad));
            if (isSigned) a.emit('vpsignb', T, T, SIGNED);
            a.emit('vpmaddubsw', begins ? wordsOf(token) : T, LEVEL, T);
            if (!begins) a.emit('vpaddw', wordsOf(token), wordsOf(token), T);
          }
        },
      );
      if (scales !== undefined && (index === 0 || (sub === 16 && chain[0] === 4))) {
        a.emit(
          scales === 's8' ? 'vpmovsxbd' : 'vpmovzxbd',
          S,
          tile.lagging(layout.scales + 16 * (sub === 16 ? part : 0) + 8 * half),
        );
        a.emit('vpshufb', S, S, words);
      }
      const factor = scales === undefined ? words : S;
      for (const token of tokens) {
        const sum = sumOf(token, half);
        const begins = size === 32 && index === 0;
        a.emit('vpmaddwd', begins ? sum : wordsOf(token), wordsOf(token), factor);
        if (!begins) a.emit('vpaddd', sum, sum, wordsOf(token));
      }
    }
  }

  /** The same by sums of four products: of a chain in words, which the scale multiplies, or where there is none in the sums. */
  function addDots(tile: Tile, half: number, some: typeof chains): void {
    const { a, weight, x } = tile;
    const tokens = tokensOf(tile);
    for (const [index, chain] of some.entries()) {
      const part = (chain[0] as number) >> 2;
      const own = (token: number) => (scales === undefined ? sumOf(token, half) : wordsOf(token));
      const begins = scales !== undefined || (size === 32 && index === 0);
      for (const token of tokens) {
        if (isSigned || offset === 0) {
          if (begins) a.emit('vpxor', own(token), own(token), own(token));
          continue;
        }
        const start = begins ? own(token) : T;
        a.emit('vpbroadcastd', start, x(token, size === 32 ? recordAt(part) + small.sums : large.sums + 4 * part));
        emitStart(a, size, offset, start);
        a.emit('vpmaddwd', start, start, ones);
        if (!begins) a.emit('vpaddd', own(token), own(token), T);
      }
      emitQuads(
        a,
        format,
        as,
        chain,
        (at) => weight(at + 32 * half),
        registers,
        (quad) => {
          for (const token of tokens) {
            a.emit('vpbroadcastd', T, x(token, block === 16 ? recordAt(quad >> 2) + 4 * (quad & 3) : 4 * quad));
            a.emit('vpdpbssd', own(token), isSigned ? SIGNED : LEVEL, T);
          }
        },
      );
      if (scales === undefined) continue;
      if (index === 0 || (sub === 16 && chain[0] === 4)) {
        const at = tile.lagging(layout.scales + 16 * (sub === 16 ? part : 0) + 8 * half);
        a.emit(scales === 's8' ? 'vpmovsxbd' : 'vpmovzxbd', S, at);
      }
      for (const token of tokens) {
        a.emit('vpmulld', wordsOf(token), wordsOf(token), S);
        if (size === 32 && index === 0) a.emit('vmovdqa', sumOf(token, half), wordsOf(token));
        else a.emit('vpaddd', sumOf(token, half), sumOf(token, half), wordsOf(token));
      }
    }
  }

  function finish(tile: Tile, half: number, part: number): void {
    const { a, weight } = tile;
    const tokens = tokensOf(tile);
    const dx = size === 32 ? recordAt(part) + small.d : large.d;
    emitD(a, format.d, S, weight((layout.d[part] as number) + 8 * half * dBytes[format.d]), T);
    for (const token of tokens) {
      if (!isSigned && shift > 0) a.emit('vpsrad', sumOf(token, half), sumOf(token, half), shift);
      addScaled(tile, token, half, S, dx, 'vaddps');
    }
    switch (minima) {
      case undefined:
        return;
      case 'tile':
        sumActivations(tile, half);
        break;
      case 'sub':
        sumMinima(tile, half);
        break;
      default:
        minima satisfies never;
    }
    a.emit('vcvtph2ps', S, weight(layout.minimum + 16 * half));
    const isNegated = minima === 'tile' || sub === 16;
    for (const token of tokens) addScaled(tile, token, half, S, dx, isNegated ? 'vaddps' : 'vsubps');
  }

  /** sum = -1 * the sum of activations, which comes as two of -8 times that. */
  function sumActivations(tile: Tile, half: number): void {
    const { a, x } = tile;
    for (const token of tokensOf(tile)) {
      const sum = sumOf(token, half);
      a.emit('vpbroadcastd', sum, x(token, small.sums));
      a.emit('vpmaddwd', sum, sum, words);
      a.emit('vpsrad', sum, sum, 3);
    }
  }

  /** sum = sum of mn * sums of activations: mn has 8 bits, so 2^8 * 256 * 127 < 2^23; -32 times and back for sub-blocks of 16. */
  function sumMinima(tile: Tile, half: number): void {
    const { a, weight, x } = tile;
    const [one, two] = [lanes(LEVEL, 128), lanes(SIGNED, 128)];
    for (let at = 0; at < 256; at += sub === 16 ? 16 : 64) {
      const from = (number: number) => weight(layout.minima + 16 * number + 8 * half);
      if (sub === 16) {
        a.emit('vpmovzxbd', LEVEL, from(at / 16));
        a.emit('vpshufb', LEVEL, LEVEL, words);
      } else {
        // i16 pairs of the minima of two sub-blocks.
        a.emit('vmovq', one, from(at / 32));
        a.emit('vmovq', two, from(at / 32 + 1));
        a.emit('vpunpcklbw', one, one, two);
        a.emit('vpmovzxbw', LEVEL, one);
      }
      for (const token of tokensOf(tile)) {
        const sum = sumOf(token, half);
        const sums = sub === 16 ? large.step * (at >> 5) + large.sums + (at & 16) / 4 : large.sums32 + at / 16;
        a.emit('vpbroadcastd', T, x(token, sums));
        a.emit('vpmaddwd', at === 0 ? sum : T, LEVEL, T);
        if (at > 0) a.emit('vpaddd', sum, sum, T);
      }
    }
    if (sub === 16) for (const token of tokensOf(tile)) a.emit('vpsrad', sumOf(token, half), sumOf(token, half), 5);
  }
}
