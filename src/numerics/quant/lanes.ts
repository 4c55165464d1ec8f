/**
 * Searches for four groups of values at once, in WebAssembly's vectors: a search is one long chain of dependent sums that no
 * processor can shorten, and f32 is what JavaScript has no arithmetic for. A lane is a group; every operation is rounded to
 * f32 in ggml's order. Value k of lane l is at 4 * k + l.
 */
import {
  type Code,
  integer,
  type Local,
  load,
  loop,
  parameter,
  shiftLeft,
  store,
  WasmFunction,
  wasmModule,
} from './wasm.ts';

/** As much of it as is used: neither Node's types nor those of the language have it. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: Readonly<Record<string, unknown>> };
};

export const lanes = 4;
/** Values of a group at most. */
const longest = 32;

const column = 16 * longest;
/** Where things are in the memory, in bytes. */
export const places = {
  values: 0,
  weights: column,
  levels: 2 * column,
  /** Levels that are being tried. */
  trial: 3 * column,
  results: 4 * column,
  table: 4 * column + 64,
} as const;

export interface LaneSearch {
  readonly values: Float32Array;
  readonly weights: Float32Array;
  /** As f32, which they are computed in. */
  readonly levels: Float32Array;
  /** The first result of each lane, the second of each, ... */
  readonly results: Float32Array;
  /** Searches groups of `count` values: levels and results. */
  run(count: number): void;
  /** Levels of the values once more, for results that somebody has set. */
  refine(count: number): void;
}

/** Puts four groups of values that follow one another into lanes. */
export function loadGroups(from: Float32Array, start: number, count: number, into: Float32Array): void {
  for (let lane = 0; lane < lanes; lane++) {
    const at = start + lane * count;
    for (let k = 0; k < count; k++) into[lanes * k + lane] = from[at + k] as number;
  }
}

/** The way back, of levels. */
export function storeGroups(from: Float32Array, count: number, into: Uint8Array, start: number): void {
  for (let lane = 0; lane < lanes; lane++) storeGroup(from, lane, count, into, start + lane * count);
}

export function storeGroup(from: Float32Array, lane: number, count: number, into: Uint8Array, start: number): void {
  for (let k = 0; k < count; k++) into[start + k] = from[lanes * k + lane] as number;
}

/** What a search is written with. */
export interface LaneCode {
  /** New variables, as many as are taken. */
  vectors(): Iterable<Local>;
  /** Runs through the values. */
  each(...body: readonly Code[]): Code;
  /** Runs through the table. */
  eachEntry(...body: readonly Code[]): Code;
  /** The vector at a place of those that move with `each`; the entry that `eachEntry` is at. */
  at(place: number): Code;
  readonly entry: Code;
  store(place: number, value: Code): Code;
  result(index: number): Code;
  storeResult(index: number, value: Code): Code;
}

interface Search {
  /** Numbers that the code runs through, the same for all lanes. */
  readonly table: readonly number[];
  run(code: LaneCode): readonly Code[];
  refine(code: LaneCode): readonly Code[];
}

/** Gives a search, made when first asked for: most programs encode nothing. */
export function laneSearch(search: Search): () => LaneSearch {
  let made: LaneSearch | undefined;
  return () => {
    made ??= makeSearch(search);
    return made;
  };
}

function makeSearch({ table, run, refine }: Search): LaneSearch {
  const assemble = (write: Search['run']): Code => {
    const wasm = new WasmFunction();
    const [at, end, entryAt] = [wasm.integer(), wasm.integer(), wasm.integer()];
    const body = write({
      *vectors() {
        while (true) yield wasm.vector();
      },
      each: (...inner) => loop(at, end.get, ...inner),
      eachEntry: (...inner) => loop(entryAt, integer(16 * table.length), ...inner),
      at: (place) => load(at.get, place),
      entry: load(entryAt.get, places.table),
      store: (place, value) => store(at.get, place, value),
      result: (index) => load(integer(0), places.results + 16 * index),
      storeResult: (index, value) => store(integer(0), places.results + 16 * index, value),
    });
    return wasm.code(end.set(shiftLeft(parameter, 4)), ...body);
  };
  const module = new WebAssembly.Module(wasmModule({ run: assemble(run), refine: assemble(refine) }));
  const { exports } = new WebAssembly.Instance(module);
  const { buffer } = exports.memory as { readonly buffer: ArrayBuffer };
  const view = (place: number, count: number) => new Float32Array(buffer, place, count);
  view(places.table, lanes * table.length).set(table.flatMap((entry) => [entry, entry, entry, entry]));
  return {
    values: view(places.values, lanes * longest),
    weights: view(places.weights, lanes * longest),
    levels: view(places.levels, lanes * longest),
    results: view(places.results, 2 * lanes),
    run: exports.run as (count: number) => void,
    refine: exports.refine as (count: number) => void,
  };
}
