/**
 * c = a times b for attention in the numerics `bf16` (numerics/dot.ts): factors are pairs of bf16, and every sum has the order of
 * TDPBF16PS, 32 at a time. AMX has the instruction; elsewhere fused multiply-adds of f32 follow it.
 */
import { constantAt, type LaneCode } from '../emit/lane-code.ts';
import { at, q, type Register } from '../emit/machine.ts';
import type { InstructionSet } from '../target.ts';
import type { Rows } from './attention-product.ts';
import { PAIR_ROWS, STEP, TILE } from './attention-shape.ts';
import { defaultMode, flushMode } from './bf16.ts';
import { leftTile, rightTile, sumTile, tileConfig } from './tile-registers.ts';
import type { Count, KernelWriter } from './writer.ts';

/** Bytes of a step in a row of a, and rows of b that it takes: a row has the same pair of all columns. */
const stepBytes = 2 * STEP;
const stepRows = STEP / 2;

export interface PairProduct {
  readonly a: Rows;
  readonly b: Rows;
  /** f32. */
  readonly c: Rows;
  /** Whole groups of `PAIR_ROWS`. */
  readonly rows: Register;
  /** In groups of `TILE`. */
  readonly columns: number;
  /** Of 32 pairs' halves each. */
  readonly steps: Count;
}

type Writer = KernelWriter<string>;

export interface PairProducts {
  /** Once in a kernel, before all products and after them. */
  emitStart(w: Writer): void;
  emitEnd(w: Writer): void;
  emit(w: Writer, product: PairProduct): void;
}

export const pairProductsOf = (set: InstructionSet): PairProducts => (set === 'amx' ? tiles : lanes);

const tiles: PairProducts = {
  emitStart: ({ m }) => m.emit('ldtilecfg', constantAt(m, tileConfig(stepBytes))),
  emitEnd: ({ m }) => m.emit('tilerelease'),
  emit(w, { a, b, c, rows, columns, steps }) {
    const { m } = w;
    const [aStride, bStride, cStride, none] = [a.stride, b.stride, c.stride, 0].map((bytes) => w.value(bytes));
    // TILEZERO takes longer than loading one line for all rows.
    const zeros = w.gp();
    m.emit('lea', q(zeros), constantAt(m, new Uint8Array(64)));
    const [left, to] = [w.value(a.base), w.value(c.base)];
    const end = w.sum(left, w.product(rows, a.stride));
    const block = (lefts: number, first: number, rights: number) => {
      const sums = Array.from({ length: lefts * rights }, (_, i) => i);
      for (const i of sums) m.emit('tileloadd', sumTile(i), at(zeros, 0, none));
      const [x, y] = [w.value(left), w.sum(b.base, 4 * TILE * first)];
      const last = w.sum(x, typeof steps === 'number' ? steps * stepBytes : w.product(steps, stepBytes));
      w.whileBelow(x, last, stepBytes, () => {
        for (const i of sums) {
          const [l, r] = [lefts > 1 ? i : 0, rights > 1 ? i : 0];
          if (i === 0 || l > 0) m.emit('tileloadd', leftTile(l % 2), at(x, PAIR_ROWS * a.stride * l, aStride));
          if (i === 0 || r > 0) m.emit('tileloadd', rightTile(r % 2), at(y, 4 * TILE * r, bStride));
          m.emit('tdpbf16ps', sumTile(i), leftTile(l % 2), rightTile(r % 2));
        }
        w.change('add', y, stepRows * b.stride);
      });
      for (const i of sums) {
        const disp = 4 * TILE * first + (rights > 1 ? 4 * TILE * i : PAIR_ROWS * c.stride * i);
        m.emit('tilestored', at(to, disp, cStride), sumTile(i));
      }
    };
    const each = (lefts: number, end: Register, body: () => void) =>
      w.whileBelow(left, end, lefts * PAIR_ROWS * a.stride, () => {
        body();
        w.change('add', to, lefts * PAIR_ROWS * c.stride);
      });
    if (columns === 1) {
      const many = w.value(rows);
      w.change('and', many, -4 * PAIR_ROWS);
      each(4, w.sum(a.base, w.product(many, a.stride)), () => block(4, 0, 1));
    }
    each(1, end, () => {
      for (let first = 0; first < columns; first += 4) block(1, first, Math.min(4, columns - first));
    });
  },
};

const lanes: PairProducts = {
  emitStart: () => {},
  emitEnd: () => {},
  emit(w, { a, b, c, rows, columns, steps }) {
    const { m, code } = w;
    const bytes = 4 * code.lanes;
    const vectors = Array.from({ length: TILE / code.lanes }, (_, i) => i);
    const some = Array.from({ length: m.vectorBits === 512 ? 8 : 2 }, (_, i) => i);
    const mode = (bits: number) => m.emit('vldmxcsr', constantAt(m, Uint32Array.of(bits)));
    mode(flushMode);
    const [left, to] = [w.value(a.base), w.value(c.base)];
    const end = w.sum(left, w.product(rows, a.stride));
    w.whileBelow(left, end, some.length * a.stride, () => {
      const [sums, right] = [w.value(to), w.value(b.base)];
      w.whileBelow(sums, w.sum(to, 4 * TILE * columns), 4 * TILE, () => {
        const place = (row: number, vector: number) => at(sums, row * c.stride + vector * bytes);
        const zero = code.zero();
        for (const row of some)
          for (const vector of vectors) m.emit('vmovups', place(row, vector), code.view(zero, 32));
        const [x, y] = [w.value(left), w.value(right)];
        const last = w.sum(x, typeof steps === 'number' ? steps * stepBytes : w.product(steps, stepBytes));
        w.whileBelow(x, last, 0, () => emitStep(w, code, { x, y, a, b, rows: some, vectors, place }));
        w.change('add', right, 4 * TILE);
      });
      w.change('add', to, some.length * c.stride);
    });
    mode(defaultMode);
  },
};

/** Adds the products of a step to sums in memory; `x` and `y` move on. */
function emitStep(
  w: Writer,
  code: LaneCode,
  step: Pick<PairProduct, 'a' | 'b'> & {
    readonly x: Register;
    readonly y: Register;
    readonly rows: readonly number[];
    readonly vectors: readonly number[];
    place(row: number, vector: number): ReturnType<typeof at>;
  },
): void {
  const { x, y, a, b, rows, vectors, place } = step;
  const { m } = w;
  const chains = rows.map(() => vectors.map(() => [code.zero(), code.zero()] as const));
  const upper = code.constant(32, 0xffff0000);
  const halvesOf = (pair: Register) => [code.op('vpslld', 32, pair, 16), code.op('vpand', 32, pair, upper)] as const;
  const unroll = 4;
  w.whileBelow(x, w.sum(x, stepBytes), 4 * unroll, () => {
    for (let pair = 0; pair < unroll; pair++) {
      const right = vectors.map((vector) => halvesOf(code.load(32, at(y, pair * b.stride + 4 * code.lanes * vector))));
      for (const row of rows) {
        const left = halvesOf(code.op('vbroadcastss', 32, at(x, row * a.stride + 4 * pair)));
        for (const vector of vectors) {
          for (const half of [0, 1] as const) {
            code.change('vfmadd231ps', 32, chains[row][vector][half], left[half], right[vector][half]);
          }
        }
      }
    }
    w.change('add', y, unroll * b.stride);
  });
  for (const row of rows) {
    for (const vector of vectors) {
      const [even, odd] = chains[row][vector];
      const sum = code.op('vaddps', 32, code.op('vaddps', 32, even, odd), place(row, vector));
      m.emit('vmovups', place(row, vector), code.view(sum, 32));
    }
  }
}
