/**
 * A row of the tables of products (integer-products.ts, float-products.ts): how one tile of a packed weight, 16 rows and
 * some k, is multiplied with the activations of a few tokens. A product for another instruction set is another row.
 */
import type { Assembler } from '../asm/assembler.ts';
import type { Mem } from '../asm/operands.ts';

/** One tile while it is multiplied. A half of it is 8 of its 16 rows: the lanes of a ymm. */
export interface Tile {
  readonly a: Assembler;
  readonly tokens: number;
  /** How many of its k there are; fewer than in others at the end of a row alone. */
  readonly size: number;
  /** Its bytes from `at` on. */
  weight(at: number): Mem;
  /** A token's activations for it, the bytes from `at` on. */
  x(token: number, at: number): Mem;
  /** A loop: `count` times what `emit` writes. What `weight`, `x` and `lagging` give moves on by these steps, until its end. */
  repeat(count: number, steps: Steps, emit: () => void): void;
  /** In a loop: the tile's bytes from `at` on, moving by steps of their own, or not at all. */
  lagging(at: number): Mem;
  fixed(at: number): Mem;
  /** Accumulators in memory. */
  sum(token: number, half: number): Mem;
}

/** In bytes. */
export interface Steps {
  readonly weight: number;
  readonly x: number;
  readonly lagging: number;
  /** Which of how many loops over the tile this is. */
  readonly pass: readonly [pass: number, passes: number];
}

export interface Product {
  /** Numbers of tokens that are multiplied at once, descending to 1. */
  readonly tokens: readonly number[];
  /** Tiles in one round of the loop over k. */
  readonly unroll: number;
  /** Accumulators are ymm(2 * token + half), not in memory. */
  readonly inRegisters: boolean;
  /** Patterns of bytes that ymm15, ymm14, ... repeat while the kernel runs. */
  readonly constants: readonly (readonly number[])[];
  /** Adds the tile's product to the accumulators. May use every vector register but those of constants and accumulators. */
  emit(tile: Tile): void;
}

export const halves: readonly number[] = [0, 1];
