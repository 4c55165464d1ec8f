/**
 * The `i8` dot numerics (numerics/dot.ts) with AVX-512, lanes = the 16 rows of a panel: exact integer sums over a block,
 * then
 *
 *   acc = acc + f32(sum) * (scale * dx)        and for minima        acc = acc - f32(minSum) * (minScale * dx)
 *
 * each operation rounded. VPDPBUSD adds four products of u8 and s8 to an i32. Levels are stored unsigned (q + 8, q + 32,
 * q + 128), so sums start at what that adds too much. Without VNNI three instructions do the same as one, where two products
 * fit an i16: levels up to 63, and |q| of q8_0.
 */
import { broadcast, k, type Mem, masked, type Vec, zmm } from '../asm/operands.ts';
import type { IntegerFormat } from './levels.ts';
import { tiles } from './packing.ts';
import { constantOf, type Product, panelVectors, type Tile } from './product.ts';
import { records } from './quantize-activations.ts';

const vectors = panelVectors[512];
const small = records[32];
const large = records.tiles;

/** Of 8 tokens: accumulators 0 to 7, sums 8 to 15. */
const accOf = (token: number) => zmm(token);
const sumOf = (token: number) => zmm(8 + token);
/** Levels of 32 k, or what a block has for all tokens. */
const levelOf = (g: number) => zmm(16 + g);
const [V, S, T] = [zmm(24), zmm(25), zmm(26)];
/** In turn, so that tokens do not wait for one another. */
const wordsOf = (token: number) => zmm(27 + (token & 1));
const [C0, C1, C2] = [0, 1, 2].map((i) => constantOf(vectors, i)) as [Vec, Vec, Vec];

const NIBBLES = [15];
const WORDS_OF_ONE = [1, 0];
const WORDS_OF_16 = [16, 0];

const tokensOf = ({ tokens }: Tile) => Array.from({ length: tokens }, (_, token) => token);

/** sum += levels u8 * 4 activations of a token, in each lane. C1 holds words of one. */
type Dot = (tile: Tile, sum: Vec, levels: Vec, x: Mem) => void;

/** acc = acc + f32(sum) * (scale * dx), or minus. Ends the sum; uses T. */
function addScaled({ a }: Tile, token: number, scale: Vec, dx: Mem, op: 'vaddps' | 'vsubps'): void {
  const sum = sumOf(token);
  a.emit('vmulps', T, scale, broadcast(dx));
  a.emit('vcvtdq2ps', sum, sum);
  a.emit('vmulps', sum, sum, T);
  a.emit(op, accOf(token), accOf(token), sum);
}

const clear = ({ a }: Tile, register: Vec) => a.emit('vpxord', register, register, register);

/** Levels of 32 k in nibbles at `at`. */
function loadNibbles({ a, weight }: Tile, at: number): void {
  for (let g = 0; g < 4; g++) {
    a.emit('vmovdqu32', V, weight(at + 64 * g));
    a.emit('vpandd', levelOf(g), C0, V);
    a.emit('vpsrlw', V, V, 4);
    a.emit('vpandd', levelOf(4 + g), C0, V);
  }
}

/** register = pairs of i16, of one number a row and the next one's. */
export function joinPairs({ a }: Tile, register: Vec, extend: 'vpmovzxbd' | 'vpmovsxbd', one: Mem, two: Mem): void {
  a.emit(extend, register, one);
  a.emit(extend, V, two);
  a.emit('vpslld', V, V, 16);
  if (extend === 'vpmovsxbd') {
    a.emit('vpslld', register, register, 16);
    a.emit('vpsrld', register, register, 16);
  }
  a.emit('vpord', register, register, V);
}

/** sum += the pairs in `levelOf` 0 to `count` - 1 times pairs of i16 of a token at `at`. */
function addPairs(tile: Tile, hasVnni: boolean, sum: Vec, token: number, at: number, count: number): void {
  const { a, x } = tile;
  for (let i = 0; i < count; i++) {
    const pair = x(token, at + 4 * i);
    if (hasVnni) {
      a.emit('vpdpwssd', sum, levelOf(i), broadcast(pair));
    } else {
      a.emit('vpbroadcastd', T, pair);
      a.emit('vpmaddwd', T, T, levelOf(i));
      a.emit('vpaddd', sum, sum, T);
    }
  }
}

export function wideIntegerProducts(hasVnni: boolean): Readonly<Record<IntegerFormat, Product>> {
  const dot: Dot = ({ a }, sum, levels, x) => {
    if (hasVnni) {
      a.emit('vpdpbusd', sum, levels, broadcast(x));
      return;
    }
    a.emit('vpbroadcastd', T, x);
    a.emit('vpmaddubsw', T, levels, T);
    a.emit('vpmaddwd', T, T, C1);
    a.emit('vpaddd', sum, sum, T);
  };
  const common = { vectors, tokens: [8, 4, 2, 1], unroll: 1, inRegisters: true };

  return {
    q8_0: {
      ...common,
      constants: hasVnni ? [WORDS_OF_16] : [[0x80], WORDS_OF_ONE, [0]],
      emit(tile) {
        const { a } = tile;
        const { levels, d } = tiles.q8_0;
        for (const token of tokensOf(tile)) {
          if (hasVnni) {
            a.emit('vpbroadcastd', sumOf(token), tile.x(token, small.sums));
            a.emit('vpmaddwd', sumOf(token), sumOf(token), C0);
          } else {
            clear(tile, sumOf(token));
          }
        }
        for (let g = 0; g < 8; g++) {
          const negative = k(1);
          a.emit('vmovdqu32', V, tile.weight(levels + 64 * g));
          if (!hasVnni) {
            a.emit('vpxord', V, V, C0);
            a.emit('vpmovb2m', negative, V);
            a.emit('vpabsb', V, V);
          }
          for (const token of tokensOf(tile)) {
            const x = tile.x(token, 4 * g);
            if (hasVnni) {
              dot(tile, sumOf(token), V, x);
              continue;
            }
            a.emit('vpbroadcastd', T, x);
            a.emit('vpsubb', masked(T, negative), C2, T);
            a.emit('vpmaddubsw', T, V, T);
            a.emit('vpmaddwd', T, T, C1);
            a.emit('vpaddd', sumOf(token), sumOf(token), T);
          }
        }
        a.emit('vcvtph2ps', S, tile.weight(d));
        for (const token of tokensOf(tile)) addScaled(tile, token, S, tile.x(token, small.d), 'vaddps');
      },
    },

    q4_0: {
      ...common,
      constants: [NIBBLES, WORDS_OF_ONE],
      emit(tile) {
        const { a } = tile;
        loadNibbles(tile, tiles.q4_0.levels);
        a.emit('vcvtph2ps', S, tile.weight(tiles.q4_0.d));
        for (const token of tokensOf(tile)) {
          const sum = sumOf(token);
          a.emit('vpbroadcastd', sum, tile.x(token, small.sums));
          a.emit('vpmaddwd', sum, sum, C1);
          for (let g = 0; g < 8; g++) dot(tile, sum, levelOf(g), tile.x(token, 4 * g));
          addScaled(tile, token, S, tile.x(token, small.d), 'vaddps');
        }
      },
    },

    q4_K: {
      ...common,
      constants: [NIBBLES, WORDS_OF_ONE],
      emit(tile) {
        const { a } = tile;
        const { levels, scales, minima, d, dmin, step } = tiles.q4_K;
        for (const token of tokensOf(tile)) clear(tile, sumOf(token));
        tile.repeat(8, { weight: step, x: large.step, lagging: 16, pass: [0, 1] }, () => {
          loadNibbles(tile, levels);
          a.emit('vpmovzxbd', S, tile.lagging(scales));
          for (const token of tokensOf(tile)) {
            const words = wordsOf(token);
            clear(tile, words);
            for (let g = 0; g < 8; g++) dot(tile, words, levelOf(g), tile.x(token, 4 * g));
            a.emit('vpmulld', words, words, S);
            a.emit('vpaddd', sumOf(token), sumOf(token), words);
          }
        });
        a.emit('vcvtph2ps', S, tile.weight(d));
        for (const token of tokensOf(tile)) addScaled(tile, token, S, tile.x(token, large.d), 'vaddps');
        for (let i = 0; i < 4; i++) {
          const at = minima + 32 * i;
          joinPairs(tile, levelOf(i), 'vpmovzxbd', tile.weight(at), tile.weight(at + 16));
        }
        a.emit('vcvtph2ps', S, tile.weight(dmin));
        for (const token of tokensOf(tile)) {
          clear(tile, sumOf(token));
          addPairs(tile, hasVnni, sumOf(token), token, large.sums32, 4);
          addScaled(tile, token, S, tile.x(token, large.d), 'vsubps');
        }
      },
    },

    /** The sum of sc * level * x, less 32 times that of sc * x. */
    q6_K: {
      ...common,
      constants: [NIBBLES, WORDS_OF_ONE, [0x30]],
      emit(tile) {
        const { a } = tile;
        const { levels, high, scales, d, step } = tiles.q6_K;
        for (const token of tokensOf(tile)) clear(tile, sumOf(token));
        tile.repeat(8, { weight: step, x: large.step, lagging: 1, pass: [0, 1] }, () => {
          for (const sub of [0, 1]) {
            a.emit('vmovdqu32', S, tile.weight(high + 64 * sub));
            for (let g = 0; g < 4; g++) {
              joinLevel(tile, { level: levelOf(g), pairs: S, at: levels + 64 * g, isHigh: sub === 1, g });
            }
            a.emit('vpmovsxbd', S, tile.weight(scales + 16 * sub));
            for (const token of tokensOf(tile)) {
              const words = wordsOf(token);
              clear(tile, words);
              for (let g = 0; g < 4; g++) dot(tile, words, levelOf(g), tile.x(token, 16 * sub + 4 * g));
              a.emit('vpmulld', words, words, S);
              a.emit('vpaddd', sumOf(token), sumOf(token), words);
            }
          }
        });
        for (let i = 0; i < 8; i++) {
          const at = scales + step * i;
          joinPairs(tile, levelOf(i), 'vpmovsxbd', tile.weight(at), tile.weight(at + 16));
        }
        a.emit('vcvtph2ps', S, tile.weight(d));
        for (const token of tokensOf(tile)) {
          const words = wordsOf(token);
          clear(tile, words);
          addPairs(tile, hasVnni, words, token, large.sums16, 8);
          a.emit('vpslld', words, words, 5);
          a.emit('vpsubd', sumOf(token), sumOf(token), words);
          addScaled(tile, token, S, tile.x(token, large.d), 'vaddps');
        }
      },
    },
  };
}

interface Joined {
  readonly level: Vec;
  /** Pairs of bits, of which 2g and 2g + 1 of each byte are the upper two. */
  readonly pairs: Vec;
  readonly g: number;
  /** Where the nibbles are, and which of them. */
  readonly at: number;
  readonly isHigh: boolean;
}

/** level = 4 k of a q6_K tile. C0 holds nibbles of ones, C2 bytes of 0x30. */
export function joinLevel({ a, weight }: Tile, { level, pairs, g, at, isHigh }: Joined): void {
  a.emit('vmovdqu32', level, weight(at));
  if (isHigh) a.emit('vpsrlw', level, level, 4);
  a.emit('vpandd', level, level, C0);
  if (g < 2) a.emit('vpsllw', V, pairs, 4 - 2 * g);
  else if (g > 2) a.emit('vpsrlw', V, pairs, 2 * g - 4);
  a.emit('vpandd', V, C2, g === 2 ? pairs : V);
  a.emit('vpord', level, level, V);
}
