/**
 * A row of the tables of products (integer-products.ts, vnni-products.ts, float-products.ts): how one tile of a packed
 * weight, 16 rows and some k, is multiplied with the activations of a few tokens. A product for another instruction set is
 * another row.
 */
import type { Assembler } from '../asm/assembler.ts';
import { type Gp, indexed, type Mem, ptr, r11, rax, rcx, rdi, rsp, type Vec, vec } from '../asm/operands.ts';

/** How the 16 rows of a panel lie in vector registers: a half in each of two, or all in one. */
export interface PanelVectors {
  readonly bits: 256 | 512;
  readonly parts: readonly number[];
  /** Vector registers that there are. */
  readonly registers: 16 | 32;
  register(id: number): Vec;
}

export const panelVectors: Readonly<Record<256 | 512, PanelVectors>> = {
  256: { bits: 256, parts: [0, 1], registers: 16, register: (id) => vec(id, 256) },
  512: { bits: 512, parts: [0], registers: 32, register: (id) => vec(id, 512) },
};

/** One tile while it is multiplied. */
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
  /** Which accumulators in registers are a token's. */
  place(token: number): number;
}

/** In bytes. */
export interface Steps {
  readonly weight: number;
  readonly x: number;
  readonly lagging: number;
}

export interface Product {
  readonly vectors: PanelVectors;
  /** Numbers of tokens that are multiplied at once, descending to 1. */
  readonly tokens: readonly number[];
  /** Tiles in one round of the loop over k. */
  readonly unroll: number;
  /** Accumulators are the first registers, those of a token next to each other, and not in memory. */
  readonly inRegisters: boolean;
  /** Patterns of bytes that the last register, the one before it, ... repeat while the kernel runs. */
  readonly constants: readonly (readonly number[])[];
  /** Adds the tile's product to the accumulators. May use every vector register but those of constants and accumulators. */
  emit(tile: Tile): void;
}

/**
 * A product that decodes some k of its panels into memory of its own, once for many tokens, and multiplies that. K is
 * filled up to whole steps with zeros.
 */
export interface UnpackedProduct {
  readonly vectors: PanelVectors;
  /** Panels that are multiplied at once. */
  readonly panels: 1 | 2;
  /** k of a step, whole tiles. */
  readonly step: number;
  /** What a step of all panels becomes, and from the first panel's to the second's. */
  readonly stepBytes: number;
  readonly secondPanel: number;
  /** Activations of a token for one step. */
  readonly xStepBytes: number;
  /** Numbers of tokens that are multiplied at once, descending. The last may reach beyond the tokens there are. */
  readonly tokens: readonly number[];
  /** So many tokens at least are worth decoding for; `Products` have another way for fewer. */
  readonly least: number;
  /** Whether subnormals are zero meanwhile. */
  readonly flushes: boolean;
  readonly constants: Product['constants'];
  /** Memory at rsp that is its own. */
  readonly ownBytes: number;
  /** Once before the first unit: may fill that memory and set modes. */
  emitStart?(a: Assembler): void;
  emitEnd?(a: Assembler): void;
  /** Decodes the first `size` k of a step, whose tiles `tileOf` gives; `x(0, at)` of a tile is where the step goes. */
  emitDecode(tileOf: (index: number) => Tile, size: number): void;
  /** Multiplies all decoded steps with a group of tokens. */
  emitMultiply(group: TokenGroup): void;
}

/** As a schedule wants it. */
export interface BlockedProduct extends UnpackedProduct {
  /** Steps that are decoded before they are multiplied. */
  readonly steps: number;
  /** Tokens of a unit of work. */
  readonly chunk: number;
}

/** May use every vector register but those of constants, and r8 besides its own. */
export interface TokenGroup {
  readonly a: Assembler;
  readonly tokens: number;
  /** How many steps there are, at least one; where the first is, and the activations of the first token for it. All may be changed. */
  readonly count: Gp;
  readonly decoded: Gp;
  readonly x: Gp;
  /** Where the weights lie that are decoded next, step by step; may be changed. */
  readonly ahead: Gp;
  /** Bytes from a token's activations to the next one's. */
  readonly rowBytes: number;
  /** Accumulators of the first token of the group: f32[16], a token after the other; `panelBytes` from one panel to the next. */
  readonly sums: Gp;
  readonly panelBytes: number;
}

/** Of a panel in two registers. */
export const halves: readonly number[] = panelVectors[256].parts;

/** The register of the i-th constant of a product. */
export const constantOf = ({ registers, register }: PanelVectors, i: number): Vec => register(registers - 1 - i);

/** Where a tile is: its bytes from [rax], activations from [rcx]. Loops use rdi and r11. */
export interface TilePlace {
  readonly tokens: number;
  readonly size: number;
  readonly weightAt: number;
  xAt(token: number): number;
  /** Accumulators of other panels that come first. */
  readonly first?: number;
  /** At the start of each round of a loop, and behind a loop that has moved on by so many bytes of weights. */
  emitNext?(steps: Steps): void;
  emitLast?(bytes: number): void;
}

export function tileAt(a: Assembler, { tokens, size, weightAt, xAt, first = 0, emitNext, emitLast }: TilePlace): Tile {
  return {
    a,
    tokens,
    size,
    weight: (at) => ptr(rax, weightAt + at),
    x: (token, at) => ptr(rcx, xAt(token) + at),
    sum: (token, half) => ptr(rsp, 64 * (first + token) + 32 * half),
    place: (token) => first + token,
    fixed: (at) => ptr(rdi, weightAt + at),
    lagging: (at) => indexed(rdi, r11, 1, weightAt + at),
    repeat(count, steps, emit) {
      a.emit('mov', rdi, rax);
      a.emit('xor', r11, r11);
      a.align(32);
      const next = a.here();
      emitNext?.(steps);
      emit();
      a.emit('add', rax, steps.weight);
      a.emit('add', rcx, steps.x);
      a.emit('add', r11, steps.lagging);
      a.emit('cmp', r11, count * steps.lagging);
      a.emit('jne', next);
      a.emit('mov', rax, rdi);
      a.emit('sub', rcx, count * steps.x);
      emitLast?.(count * steps.weight);
    },
  };
}
