/**
 * The `i8` dot numerics for many tokens where a processor multiplies signed bytes to sums i32 at once, which arm64 does: by SDOT
 * (VPDPBSSD), four products a sum, or by SMMLA, matrices of 2 rows by 8 and 8 by 2. Levels are decoded as for AVX2
 * (unpacked-integers.ts), to the values that they stand for: signed bytes, which all are. Sums of a block stay exact (levels.ts).
 *
 * SMMLA wants 8 k of a row side by side: bytes of two quads are interleaved, which makes of dwords [r0 .. r7] of quads q and q + 1 the
 * rows 0, 1 | 4, 5 and 2, 3 | 6, 7, each half a matrix of two rows. With 8 k of two tokens as the other matrix, a register of sums has
 * [r, t] for two rows and two tokens in each half, and even and odd dwords of two registers are 8 rows of a token again.
 */
import { ptr, ymm } from '../asm/operands.ts';
import type { Schedule } from '../schedule.ts';
import { levelOf, wordsOf, X } from './integer-blocks.ts';
import { WORDS_OF_ONE } from './integer-products.ts';
import { type IntegerFormat, levelsOf } from './levels.ts';
import { halves, type Tile, type TokenGroup, type UnpackedProduct } from './product.ts';
import { forEachWords, placeOf, unpackedProduct } from './unpacked-integers.ts';
import { decodedAs, decodeLevels, levelAt } from './unpacked-levels.ts';

export type Dots = 'sdot' | 'smmla';

/** wordsOf = sums of `count` quads from quad `first` on; `gap`: bytes before these activations that are none. */
type Multiply = (group: TokenGroup, first: number, count: number, gap: number) => void;

function clear({ a, tokens }: TokenGroup): void {
  forEachWords(tokens, (words) => a.emit('vpxor', words, words, words));
}

const byDots: Multiply = (group, first, count, gap) => {
  const { a, tokens, decoded, x, rowBytes } = group;
  clear(group);
  for (let quad = first; quad < first + count; quad++) {
    for (const half of halves) a.emit('vmovdqa', levelOf(half), ptr(decoded, levelAt(quad, half)));
    for (let token = 0; token < tokens; token++) {
      a.emit('vpbroadcastd', X, ptr(x, rowBytes * token + gap + 4 * quad));
      for (const half of halves) a.emit('vpdpbssd', wordsOf(token, half), levelOf(half), X);
    }
  }
};

const [even, odd] = [0x88, 0xdd];

const byMatrices: Multiply = (group, first, count, gap) => {
  const { a, tokens, decoded, x, rowBytes } = group;
  const pairs = Array.from({ length: tokens / 2 }, (_, pair) => pair);
  const level = ymm(8);
  const [one, two] = [ymm(9), ymm(14)];
  /** 8 k of two tokens, the `step`-th of 16. */
  const columns = (pair: number, step: number) => ymm(10 + 2 * pair + step);
  const sums = (pair: number, half: number, rows: number) => ymm(4 * pair + 2 * half + rows);
  clear(group);
  for (let quad = first; quad < first + count; quad += 4) {
    for (const pair of pairs) {
      const of = (token: number) => ptr(x, rowBytes * (2 * pair + token) + gap + 4 * quad);
      a.emit('vbroadcasti128', one, of(0));
      a.emit('vbroadcasti128', two, of(1));
      a.emit('vpunpcklqdq', columns(pair, 0), one, two);
      a.emit('vpunpckhqdq', columns(pair, 1), one, two);
    }
    for (const step of [0, 1]) {
      for (const half of halves) {
        for (const rows of [0, 1]) {
          a.emit('vmovdqa', level, ptr(decoded, levelAt(quad + 2 * step + rows, half)));
          for (const pair of pairs) a.emitForeign('smmla', sums(pair, half, rows), level, columns(pair, step));
        }
      }
    }
  }
  for (const pair of pairs) {
    const [low, high] = halves.map((half) => [sums(pair, half, 0), sums(pair, half, 1)] as const);
    const [token, next] = [2 * pair, 2 * pair + 1];
    // `wordsOf` are the same four registers: [token, half], where sums are [half, rows].
    a.emit('vshufps', one, ...low, odd);
    a.emit('vshufps', wordsOf(token, 0), ...low, even);
    a.emit('vshufps', wordsOf(token, 1), ...high, even);
    a.emit('vshufps', wordsOf(next, 1), ...high, odd);
    a.emit('vmovdqa', wordsOf(next, 0), one);
  }
};

/** Bytes of two quads next to each other, row by row. */
function interleave({ a, x }: Tile): void {
  const [one, two, low, high] = [ymm(0), ymm(1), ymm(2), ymm(3)];
  for (let quad = 0; quad < 8; quad += 2) {
    for (const half of halves) {
      const [to, next] = [x(0, levelAt(quad, half)), x(0, levelAt(quad + 1, half))];
      a.emit('vmovdqa', one, to);
      a.emit('vmovdqa', two, next);
      a.emit('vpunpckldq', low, one, two);
      a.emit('vpunpckhdq', high, one, two);
      a.emit('vmovdqa', to, low);
      a.emit('vmovdqa', next, high);
    }
  }
}

export function unpackedDots(name: IntegerFormat, schedule: Schedule, dots: Dots): UnpackedProduct {
  const format = levelsOf(name);
  const decoded = decodedAs(format, 'values');
  const multiply = dots === 'sdot' ? byDots : byMatrices;
  /** Quads that are scaled alike. */
  const count = format.sub === 16 ? 4 : 8;
  return unpackedProduct(decoded, schedule, {
    constants: format.minima === 'tile' ? [WORDS_OF_ONE] : [],
    decode(tile) {
      decodeLevels(tile, decoded);
      if (dots === 'smmla') interleave(tile);
    },
    block(group, part) {
      multiply(group, count * part, count, placeOf(format, part).gap);
    },
    sub(group) {
      const { a, tokens, decoded: at } = group;
      for (let first = 0; first < 8; first += count) {
        multiply(group, first, count, 0);
        if (format.scales !== undefined) {
          for (const half of halves) {
            // They lie there as two i16 each.
            a.emit('vmovdqa', levelOf(half), ptr(at, decoded.scales + 16 * first + 32 * half));
            a.emit('vpsrad', levelOf(half), levelOf(half), 16);
          }
        }
        forEachWords(tokens, (words, sum, half) => {
          if (format.scales !== undefined) a.emit('vpmulld', words, words, levelOf(half));
          a.emit('vpaddd', words, words, sum);
          a.emit('vmovdqa', sum, words);
        });
      }
    },
    isSigned: false,
    shift: 0,
  });
}
