/**
 * The `i8` dot numerics (numerics/dot.ts) with AVX2, lanes = rows of the weight: exact integer sums over a block, then
 *
 *   acc = acc + f32(sum) * (scale * dx)        and for minima        acc = acc - f32(minSum) * (minScale * dx)
 *
 * each operation rounded. Why the integers are exact: VPMADDUBSW multiplies u8 with s8 and adds two products with
 * saturation to i16, so two products must stay within 32767; all later sums are modular, so only final values must fit.
 * Activations are in -127 .. 127.
 */
import { lanes, type Vec, ymm } from '../asm/operands.ts';
import type { IntegerFormat } from './levels.ts';
import { tiles } from './packing.ts';
import { halves, type Product, panelVectors, type Tile } from './product.ts';
import { records } from './quantize-activations.ts';

const vectors = panelVectors[256];
const small = records[32];
const large = records[256];

/** Registers of a tile besides sums (0 to 7) and constants. W, V and so on are for one half, the first three also for two. */
const [W, V, T, S] = [ymm(8), ymm(9), ymm(10), ymm(11)];
const signedOf = (half: number) => ymm(8 + half);
const levelOf = (half: number) => ymm(11 + half);
const X = ymm(13);
const [C0, C1, C2] = [ymm(15), ymm(14), ymm(13)];

const NIBBLES = [15];
const WORDS_OF_ONE = [1, 0];
/** For VPSHUFB: the low i16 of each dword, twice. */
const LOW_WORDS = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];

/** The registers of a token and a half: i32 sums, and i16 chains of a sub-block where a format has those. */
interface Sums {
  readonly token: number;
  readonly sum: Vec;
  readonly words: Vec;
}

const tokensOf = ({ tokens }: Tile) => Array.from({ length: tokens }, (_, token) => token);

/** Sums of both halves at once, without chains. */
const sumOf = (token: number, half: number) => ymm(2 * token + half);

/** A loop over a tile for some of its halves. */
interface Pass {
  readonly index: readonly [pass: number, passes: number];
  readonly halves: readonly { readonly half: number; readonly sums: readonly Sums[] }[];
}

/** For formats with chains: both halves of few tokens at once, else one after the other, as there are registers. */
function passesOf(tile: Tile): Pass[] {
  const groups = tile.tokens <= 2 ? [halves] : halves.map((half) => [half]);
  return groups.map((group, pass) => ({
    index: [pass, groups.length],
    halves: group.map((half, place) => ({
      half,
      sums: tokensOf(tile).map((token) => {
        const register = group.length * token + place;
        return { token, sum: ymm(register), words: ymm(4 + register) };
      }),
    })),
  }));
}

/** acc = acc + f32(sum) * (scale * dx), or minus. Ends the sum; uses T. */
function addScaled(
  tile: Tile,
  half: number,
  { token, sum }: Pick<Sums, 'token' | 'sum'>,
  scale: Vec,
  dx: number,
  op: 'vaddps' | 'vsubps',
): void {
  const { a } = tile;
  const acc = tile.sum(token, half);
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

/** words += levels u8 * the activations at `at`; a first product may start them. */
function addWords(tile: Tile, sums: readonly Sums[], levels: Vec, at: number, isFirst: boolean): void {
  const { a } = tile;
  for (const { token, words } of sums) {
    a.emit('vpbroadcastd', T, tile.x(token, at));
    a.emit('vpmaddubsw', isFirst ? words : T, levels, T);
    if (!isFirst) a.emit('vpaddw', words, words, T);
  }
}

/** sum += words * the i32 in S, one a row; words are pairs of i16. */
function addScaledWords({ a }: Tile, sums: readonly Sums[]): void {
  a.emit('vpshufb', S, S, C1);
  for (const { sum, words } of sums) {
    a.emit('vpmaddwd', words, words, S);
    a.emit('vpaddd', sum, sum, words);
  }
}

function clearSums({ a }: Tile, pass: Pass): void {
  for (const { sums } of pass.halves) for (const { sum } of sums) a.emit('vpxor', sum, sum, sum);
}

/** acc -= f32(sum of mn * sums of activations) * (dmin * dx), the last step of q4_K. */
function subtractMinima(tile: Tile, half: number, sums: readonly Sums[]): void {
  const { a } = tile;
  const { minima, dmin } = tiles.q4_K;
  const [one, two] = [lanes(W, 128), lanes(V, 128)];
  for (let sub = 0; sub < 8; sub += 2) {
    // i16 pairs of the minima of two sub-blocks.
    a.emit('vmovq', one, tile.weight(minima + 16 * sub + 8 * half));
    a.emit('vmovq', two, tile.weight(minima + 16 * (sub + 1) + 8 * half));
    a.emit('vpunpcklbw', one, one, two);
    a.emit('vpmovzxbw', W, one);
    for (const { token, sum } of sums) {
      a.emit('vpbroadcastd', T, tile.x(token, large.sums32 + 2 * sub));
      a.emit('vpmaddwd', sub === 0 ? sum : T, W, T);
      if (sub > 0) a.emit('vpaddd', sum, sum, T);
    }
  }
  a.emit('vcvtph2ps', W, tile.weight(dmin + 16 * half));
  for (const of of sums) addScaled(tile, half, of, W, large.d, 'vsubps');
}

/** W = the levels of 4 k of a q6_K tile: nibbles at `at`, and bits 2g and 2g + 1 of each byte of S at bits 4 and 5. */
function joinLevels({ a, weight }: Tile, at: number, isHighNibble: boolean, g: number): void {
  if (g < 2) a.emit('vpsllw', V, S, 4 - 2 * g);
  else if (g > 2) a.emit('vpsrlw', V, S, 2 * g - 4);
  a.emit('vpand', V, C2, g === 2 ? S : V);
  if (isHighNibble) {
    a.emit('vmovdqu', W, weight(at));
    a.emit('vpsrlw', W, W, 4);
    a.emit('vpand', W, W, C0);
  } else {
    a.emit('vpand', W, C0, weight(at));
  }
  a.emit('vpor', W, W, V);
}

export const integerProducts: Readonly<Record<IntegerFormat, Product>> = {
  /**
   * q = -128 .. 127: |q| as u8 times the activation with the sign of q. Two products: at most 2 * 128 * 127 = 32512.
   */
  q8_0: {
    vectors,
    tokens: [4, 2, 1],
    unroll: 1,
    inRegisters: false,
    constants: [[0x80], WORDS_OF_ONE],
    emit(tile) {
      const { a } = tile;
      for (let g = 0; g < 8; g++) {
        for (const half of halves) {
          a.emit('vpxor', signedOf(half), C0, tile.weight(tiles.q8_0.levels + 64 * g + 32 * half));
          a.emit('vpabsb', levelOf(half), signedOf(half));
        }
        for (const token of tokensOf(tile)) {
          a.emit('vpbroadcastd', X, tile.x(token, 4 * g));
          for (const half of halves) {
            const sum = sumOf(token, half);
            a.emit('vpsignb', T, X, signedOf(half));
            a.emit('vpmaddubsw', T, levelOf(half), T);
            a.emit('vpmaddwd', g === 0 ? sum : T, T, C1);
            if (g > 0) a.emit('vpaddd', sum, sum, T);
          }
        }
      }
      for (const half of halves) {
        a.emit('vcvtph2ps', W, tile.weight(tiles.q8_0.d + 16 * half));
        for (const token of tokensOf(tile))
          addScaled(tile, half, { token, sum: sumOf(token, half) }, W, small.d, 'vaddps');
      }
    },
  },

  /**
   * Levels 0 .. 15. Two products: at most 2 * 15 * 127 = 3810. An i16 starts at -8 * sum of its 16 activations, so that it
   * ends as a sum of 16 (level - 8) * x: at most 16 * 8 * 127 = 16256.
   */
  q4_0: {
    vectors,
    tokens: [4, 2, 1],
    unroll: 1,
    inRegisters: false,
    constants: [NIBBLES, WORDS_OF_ONE],
    emit(tile) {
      const { a } = tile;
      for (const token of tokensOf(tile)) {
        a.emit('vpbroadcastd', sumOf(token, 0), tile.x(token, small.sums));
        a.emit('vmovdqa', sumOf(token, 1), sumOf(token, 0));
      }
      for (let g = 0; g < 4; g++) {
        for (const part of [0, 1]) {
          for (const half of halves) {
            const level = levelOf(half);
            if (part === 0) {
              a.emit('vmovdqu', signedOf(half), tile.weight(tiles.q4_0.levels + 64 * g + 32 * half));
              a.emit('vpand', level, C0, signedOf(half));
            } else {
              a.emit('vpsrlw', level, signedOf(half), 4);
              a.emit('vpand', level, level, C0);
            }
          }
          for (const token of tokensOf(tile)) {
            a.emit('vpbroadcastd', X, tile.x(token, 16 * part + 4 * g));
            for (const half of halves) {
              const sum = sumOf(token, half);
              a.emit('vpmaddubsw', T, levelOf(half), X);
              a.emit('vpaddw', sum, sum, T);
            }
          }
        }
      }
      for (const half of halves) {
        a.emit('vcvtph2ps', W, tile.weight(tiles.q4_0.d + 16 * half));
        for (const token of tokensOf(tile)) {
          const sum = sumOf(token, half);
          a.emit('vpmaddwd', sum, sum, C1);
          addScaled(tile, half, { token, sum }, W, small.d, 'vaddps');
        }
      }
    },
  },

  /**
   * Levels 0 .. 15, of 32 k an i16 has 16: at most 16 * 15 * 127 = 30480. Times sc, 6 bits, and over 8 sub-blocks:
   * 2 * 30480 * 63 * 8 < 2^25. Minima: mn, 6 bits, times a sum of 32 activations, over 8 sub-blocks: < 2^22.
   */
  q4_K: {
    vectors,
    tokens: [4, 2, 1],
    unroll: 1,
    inRegisters: false,
    constants: [NIBBLES, LOW_WORDS],
    emit(tile) {
      const { a } = tile;
      const { levels, scales, d, step } = tiles.q4_K;
      for (const pass of passesOf(tile)) {
        clearSums(tile, pass);
        tile.repeat(8, { weight: step, x: large.step, lagging: 16, pass: pass.index }, () => {
          for (const { half, sums } of pass.halves) {
            for (let g = 0; g < 4; g++) {
              a.emit('vmovdqu', V, tile.weight(levels + 64 * g + 32 * half));
              a.emit('vpand', W, C0, V);
              a.emit('vpsrlw', V, V, 4);
              a.emit('vpand', V, V, C0);
              addWords(tile, sums, W, 4 * g, g === 0);
              addWords(tile, sums, V, 16 + 4 * g, false);
            }
            a.emit('vpmovzxbd', S, tile.lagging(scales + 8 * half));
            addScaledWords(tile, sums);
          }
        });
        for (const { half, sums } of pass.halves) {
          a.emit('vcvtph2ps', W, tile.weight(d + 16 * half));
          for (const of of sums) addScaled(tile, half, of, W, large.d, 'vaddps');
          subtractMinima(tile, half, sums);
        }
      }
    },
  },

  /**
   * Levels 0 .. 63. Two products: at most 2 * 63 * 127 = 16002. Of 16 k an i16 has 8 and starts at -32 * their sum, so that
   * it ends as a sum of 8 (level - 32) * x: at most 8 * 32 * 127 = 32512. Times sc, s8, and over 16 sub-blocks:
   * 2 * 32512 * 128 * 16 < 2^28.
   */
  q6_K: {
    vectors,
    tokens: [4, 2, 1],
    unroll: 1,
    inRegisters: false,
    constants: [NIBBLES, LOW_WORDS, [0x30]],
    emit(tile) {
      const { a } = tile;
      const { levels, high, scales, d, step } = tiles.q6_K;
      for (const pass of passesOf(tile)) {
        clearSums(tile, pass);
        tile.repeat(8, { weight: step, x: large.step, lagging: 1, pass: pass.index }, () => {
          for (const { half, sums } of pass.halves) {
            for (const sub of [0, 1]) {
              for (const { token, words } of sums) a.emit('vpbroadcastd', words, tile.x(token, large.sums + 4 * sub));
              a.emit('vmovdqu', S, tile.weight(high + 64 * sub + 32 * half));
              for (let g = 0; g < 4; g++) {
                joinLevels(tile, levels + 64 * g + 32 * half, sub === 1, g);
                addWords(tile, sums, W, 16 * sub + 4 * g, false);
              }
              a.emit('vpmovsxbd', S, tile.weight(scales + 16 * sub + 8 * half));
              addScaledWords(tile, sums);
            }
          }
        });
        for (const { half, sums } of pass.halves) {
          a.emit('vcvtph2ps', W, tile.weight(d + 16 * half));
          for (const of of sums) addScaled(tile, half, of, W, large.d, 'vaddps');
        }
      }
    },
  },
};
