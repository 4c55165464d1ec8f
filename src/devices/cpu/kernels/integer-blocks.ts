/**
 * What the integer products with AVX2 that take a few tokens at a time have in common (packed-blocks.ts, unpacked-integers.ts):
 * both halves of a panel in registers, so that an activation is broadcast once for 16 rows. Which integers are exact, and why,
 * is said at `WordSums` of levels.ts.
 */
import type { Assembler } from '../asm/assembler.ts';
import { type Mem, type Vec, ymm } from '../asm/operands.ts';
import { emitStart } from './integer-products.ts';
import { halves } from './product.ts';

/** Words, or sums, of up to 4 tokens in registers 0 to 7. */
export const wordsOf = (token: number, half: number) => ymm(2 * token + half);
export const levelOf = (half: number) => ymm(8 + half);
export const X = ymm(10);
export const productOf = (half: number) => ymm(11 + half);

/** Tokens and the levels of 32 k that they are multiplied with. */
export interface Quads {
  readonly a: Assembler;
  readonly tokens: number;
  /** A token's activations, the bytes from `at` on. */
  x(token: number, at: number): Mem;
  /** To `levelOf(half)`; `X` and `productOf` are free. */
  loadLevel(quad: number, half: number): void;
}

/** Where a record has what a token's words start at, and what that is made for. */
export interface Start {
  readonly at: number;
  readonly size: 32 | 256;
  readonly offset: number;
}

/** words = codes * activations, of some quads and each token; `gap`: bytes before these activations that are none. */
export function multiplyQuads(
  { a, tokens, x, loadLevel }: Quads,
  quads: readonly number[],
  start: Start | undefined,
  gap: number,
): void {
  for (const quad of quads) {
    for (const half of halves) loadLevel(quad, half);
    for (let token = 0; token < tokens; token++) {
      const isFirst = quad === quads[0];
      a.emit('vpbroadcastd', X, x(token, gap + 4 * quad));
      for (const half of halves) {
        a.emit('vpmaddubsw', isFirst ? wordsOf(token, half) : productOf(half), levelOf(half), X);
      }
      if (isFirst && start === undefined) continue;
      if (isFirst && start !== undefined) {
        a.emit('vpbroadcastd', X, x(token, start.at));
        emitStart(a, start.size, start.offset, X);
      }
      for (const half of halves) {
        a.emit('vpaddw', wordsOf(token, half), wordsOf(token, half), isFirst ? X : productOf(half));
      }
    }
  }
}

/** value = f32(sum) * (scale * dx) */
export function scaled(a: Assembler, sum: Vec, scale: Mem | Vec, dx: Vec, value: Vec): void {
  a.emit('vmulps', value, dx, scale);
  a.emit('vcvtdq2ps', sum, sum);
  a.emit('vmulps', value, sum, value);
}
