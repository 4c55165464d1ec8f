/**
 * c [ROWS, 16] = a [ROWS, count] times b [count, 16], or added to it: one accumulator an element, count ascending. For scores b are keys,
 * transposed; for values they are the values themselves. Elements are f32, whose products and sums are rounded separately, or pairs
 * of integers of 16 bits, whose products are added to sums of 32.
 */
import type { Mnemonic } from '../asm/tables.ts';
import type { LaneCode } from '../emit/lane-code.ts';
import { at, type Register } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { ROWS } from './attention-shape.ts';
import type { KernelWriter } from './writer.ts';

const arithmetic = {
  floats: { multiply: 'vmulps', add: 'vaddps' },
  pairs: { multiply: 'vpmaddwd', add: 'vpaddd' },
} as const satisfies Record<string, { readonly multiply: Mnemonic; readonly add: Mnemonic }>;

/** Elements of 4 bytes in rows of so many bytes. */
export interface Rows {
  readonly base: Register;
  readonly stride: number;
}

/** Memory that will be needed: so many bytes are asked for in equal parts, `at` moves on. */
export interface Prefetch {
  readonly at: Register;
  readonly bytes: number;
}

export interface Product {
  readonly kind: keyof typeof arithmetic;
  readonly a: Rows;
  readonly b: Rows;
  readonly c: Rows;
  readonly count: number;
  /** 16 or 8. */
  readonly columns: number;
  /** Whether sums start at c. */
  readonly accumulate: boolean;
  /** What is stored of the `vector`-th vector of sums of a row: itself, where this is absent. */
  readonly result?: (code: LaneCode, sum: Register, row: number, vector: number) => Register;
  readonly ahead: Prefetch;
}

export function emitProduct<B extends string>(
  w: KernelWriter<B>,
  { kind, a, b, c, count, columns, accumulate, result, ahead }: Product,
): void {
  const { m } = w;
  const { multiply, add } = arithmetic[kind];
  const code = columns < w.code.lanes ? laneCode(m, 8) : w.code;
  const bytes = 4 * code.lanes;
  const vectors = Array.from({ length: columns / code.lanes }, (_, i) => i);
  const rows = Array.from({ length: ROWS }, (_, i) => i);
  const place = (row: number, vector: number) => at(c.base, row * c.stride + vector * bytes);
  const unroll = [8, 4, 2, 1].find((turns) => count % turns === 0) as number;
  const sums = rows.map((row) =>
    vectors.map((vector) => (accumulate ? code.load(32, place(row, vector)) : code.zero())),
  );
  const [left, right] = [w.value(a.base), w.value(b.base)];
  const end = w.sum(a.base, 4 * count);
  const lines = Math.ceil((ahead.bytes * unroll) / count / 64);
  w.whileBelow(left, end, 4 * unroll, () => {
    for (let line = 0; line < lines; line++) m.emit('prefetcht0', at(ahead.at, 64 * line));
    w.change('add', ahead.at, 64 * lines);
    for (let k = 0; k < unroll; k++) {
      const part = vectors.map((vector) => code.load(32, at(right, k * b.stride + vector * bytes)));
      for (const row of rows) {
        const x = code.op('vbroadcastss', 32, at(left, row * a.stride + 4 * k));
        for (const vector of vectors) {
          const sum = sums[row][vector];
          code.change(add, 32, sum, sum, code.op(multiply, 32, x, part[vector]));
        }
      }
    }
    w.change('add', right, unroll * b.stride);
  });
  for (const row of rows) {
    for (const vector of vectors) {
      const sum = sums[row][vector];
      m.emit('vmovups', place(row, vector), code.view(result?.(code, sum, row, vector) ?? sum, 32));
    }
  }
}
