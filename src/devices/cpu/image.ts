/**
 * A compiled program before it has memory: its machine code, its constants, and what to launch in which order with
 * arguments that say where they lie but not at which address. It depends on the program and the instruction set alone, so
 * that it can be kept between starts.
 */
import type { Exchange } from '../../compiler/exchange.ts';
import type { Meeting } from '../../ir/process-groups.ts';
import type { DimSymbol } from '../../ir/types.ts';

/** A place: bytes into the arena of a binding, into the constants, or into main's parameter (a weight or state) or large result of an index. */
export type Spot =
  | { readonly base: 'arena' | 'constants'; readonly offset: number }
  | { readonly base: 'parameter'; readonly index: number; readonly offset: number }
  | { readonly base: 'result'; readonly index: number; readonly offset: number };

/** What a kernel gets: an address, or a dimension of the run. */
export type Argument = Spot | { readonly sym: DimSymbol };

/** Memory of a tensor: its bytes, or of each row of a symbolic dimension. */
export interface Region {
  readonly spot: Spot;
  readonly bytes: number;
  readonly rows?: DimSymbol;
}

export type Entry =
  /** With other processes; a place for each of its operands and results. If it `starts` only, a `finish` follows. */
  | {
      readonly kind: 'exchange';
      readonly exchange: Exchange;
      readonly starts: boolean;
      readonly operands: readonly Region[];
      readonly results: readonly Region[];
    }
  /** The second half of the exchange that is entry `of`. */
  | { readonly kind: 'finish'; readonly of: number }
  | { readonly kind: 'kernel'; readonly kernel: KernelCode; readonly args: readonly Argument[] }
  /** Goes on at entry `to`: always, if the byte at `test` is 0, or unless the i32 there is `equals`. */
  | { readonly kind: 'jump'; to: number; readonly test?: { readonly at: Spot; readonly equals?: number } };

/** A function in the code of a program. */
export interface KernelCode {
  readonly name: string;
  readonly offset: number;
}

/** What an image says besides its bytes. */
export interface Layout {
  /** Bytes of the arena that one run computes in. */
  readonly arenaBytes: number;
  /** Of each result that has memory of its own; else 0. */
  readonly resultBytes: readonly number[];
  readonly entries: readonly Entry[];
  /** Where main's parameters and results lie; of tokens nowhere. */
  readonly parameters: readonly (Spot | undefined)[];
  readonly results: readonly (Spot | undefined)[];
  readonly meetings: readonly Meeting[];
}

export interface Image {
  readonly layout: Layout;
  readonly code: Uint8Array;
  readonly constants: Uint8Array;
}

export function isSameSpot(a: Spot, b: Spot): boolean {
  const indexOf = (spot: Spot) => ('index' in spot ? spot.index : undefined);
  return a.base === b.base && indexOf(a) === indexOf(b) && a.offset === b.offset;
}
