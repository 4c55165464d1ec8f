/**
 * The softmax of one row in one partition, the merge of two partitions, and the result: the operations of
 * composites/paged_attention.ts in their order. A sum has 16 lanes, position i in lane i mod 16, and ends in a tree.
 */
import { FloatCode } from '../emit/float-code.ts';
import { exponential, tangentHyperbolic } from '../emit/functions.ts';
import { constantAt, type LaneCode } from '../emit/lane-code.ts';
import { type Address, at, d, type Register } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { type AttentionShape, type Frame, TILE, tileEntry } from './attention-shape.ts';
import { across, broadcast, storeFirst } from './lanes.ts';
import { inSlot, type KernelWriter } from './writer.ts';

const NOTHING = Number.NEGATIVE_INFINITY;
const nothingBits = 0xff800000 | 0;

/** 0 in place of -inf, the maximum of nothing. */
const finite = (f: FloatCode, max: Register) => f.keep(f.compare('NE', max, f.number(NOTHING)), max);

/** Where a row's scores lie, what it sees of the partition ([first, last) as two f32), and where maximum, sum and weights go. */
export interface Row {
  readonly scores: Register;
  readonly seen: Address;
  readonly statistics: Register;
  /** Absent: weights take the place of scores. */
  readonly keep: KeepWeight | undefined;
}

/** Stores weights of the tile at a column, the lanes of its `vector`-th vector. */
export type KeepWeight = (code: LaneCode, weight: Register, column: Register, vector: number) => void;

/** Dot products become weights; `tiles` of the frame's list are looked at. */
export function emitSoftmax<B extends string>(
  w: KernelWriter<B>,
  code: LaneCode,
  { scale, softCap }: Pick<AttentionShape, 'scale' | 'softCap'>,
  frame: Frame,
  tiles: Register,
  { scores, seen, statistics, keep }: Row,
): void {
  const { m } = w;
  const f = new FloatCode(code, 32);
  const { lanes } = code;
  const vectors = Array.from({ length: TILE / lanes }, (_, i) => i);
  const forEachTile = (body: (place: (vector: number) => Address, entry: Register, column: Register) => void) => {
    const list = w.addressOf(frame.tiles);
    const end = w.sum(list, w.product(tiles, tileEntry.bytes));
    w.whileBelow(list, end, tileEntry.bytes, () => {
      const column = w.signed(at(list, tileEntry.column));
      body((vector) => at(scores, 4 * lanes * vector, column, 4), list, column);
    });
  };

  const first = broadcast(code, seen);
  const last = broadcast(code, { ...seen, disp: seen.disp + 4 });
  const none = f.load(NOTHING);
  const most = vectors.map(() => f.load(NOTHING));
  const unordered = code.zero();
  const ones = code.constant(32, -1);
  forEachTile((place, entry) => {
    for (const vector of vectors) {
      let score = f.mul(code.load(32, place(vector)), f.number(scale));
      if (softCap !== undefined)
        score = f.mul(tangentHyperbolic(f, f.div(score, f.number(softCap))), f.number(softCap));
      const index = Array.from({ length: lanes }, (_, i) => lanes * vector + i);
      const position = f.add(
        broadcast(code, at(entry, tileEntry.columnFloat)),
        constantAt(m, Float32Array.from(index)),
      );
      const isSeen = f.both(f.compare('GE', position, first), f.compare('LT', position, last));
      score = f.blend(isSeen, score, none);
      m.emit('vmovups', place(vector), code.view(score, 32));
      // vmaxps forgets what is no number.
      code.change('vmaxps', 32, most[vector], most[vector], score);
      code.assignWhere(32, f.compare('unordered', score, score), unordered, ones);
    }
  });
  const max = across(code, [f.or(most[0], unordered), ...most.slice(1)], (f, a, b) => f.maximum(a, b));
  storeFirst(code, at(statistics), max);

  const origin = code.broadcast(32, finite(new FloatCode(laneCode(m, 4), 32), max));
  const sums = vectors.map(() => code.zero());
  forEachTile((place, _, column) => {
    for (const vector of vectors) {
      const weight = exponential(f, f.sub(code.load(32, place(vector)), origin));
      if (keep === undefined) m.emit('vmovups', place(vector), code.view(weight, 32));
      else keep(code, weight, column, vector);
      code.change('vaddps', 32, sums[vector], sums[vector], weight);
    }
  });
  storeFirst(
    code,
    at(statistics, 4),
    across(code, sums, (f, a, b) => f.add(a, b)),
  );
}

/** A softmax under way, in memory: maximum and sum at `statistics`, f32 [valueDim] at `values`. */
export interface State {
  readonly statistics: Register;
  readonly values: Register;
}

/** Stores what `part` makes for the values at offset `i`, in vectors as wide as there are as many left. */
function forEachPart(
  code: LaneCode,
  valueDim: number,
  part: (f: FloatCode, i: number) => readonly [to: Address, value: Register],
): void {
  for (let done = 0; done < valueDim; ) {
    const some = valueDim - done < code.lanes ? laneCode(code.machine, 8) : code;
    const [to, value] = part(new FloatCode(some, 32), 4 * done);
    code.machine.emit('vmovups', to, some.view(value, 32));
    done += some.lanes;
  }
}

/** Adds `next` to `running`; where it has seen nothing, `running` keeps its bits. */
export function emitMerge<B extends string>(
  w: KernelWriter<B>,
  code: LaneCode,
  valueDim: number,
  running: State,
  next: State,
): void {
  const { m } = w;
  const f = new FloatCode(code, 32);
  const nothing = m.newLabel();
  m.emit('cmp', { ...at(next.statistics), bits: 32 }, nothingBits);
  m.emit('je', nothing);
  const { old, fresh } = factors(f, running, broadcast(code, at(next.statistics)));
  addSums(f, running, broadcast(code, at(next.statistics, 4)), old, fresh);
  forEachPart(code, valueDim, (f, i) => {
    const value = f.mul(f.code.load(32, at(next.values, i)), fresh);
    return [at(running.values, i), f.add(f.mul(f.code.load(32, at(running.values, i)), old), value)];
  });
  m.bind(nothing);
}

/** What the values of both sides are multiplied with; the maximum becomes that of both. */
function factors(f: FloatCode, { statistics }: State, nextMax: Register) {
  const { code } = f;
  const runningMax = broadcast(code, at(statistics));
  const max = f.maximum(runningMax, nextMax);
  const origin = finite(f, max);
  storeFirst(code, at(statistics), max);
  return { old: exponential(f, f.sub(runningMax, origin)), fresh: exponential(f, f.sub(nextMax, origin)) };
}

function addSums(f: FloatCode, { statistics }: State, nextSum: Register, old: Register, fresh: Register): void {
  const sum = f.mul(broadcast(f.code, at(statistics, 4)), old);
  storeFirst(f.code, at(statistics, 4), f.add(sum, f.mul(nextSum, fresh)));
}

/** The weighted mean of the values to `to`; a sink is one more score that has no value. */
export function emitResult<B extends string>(
  w: KernelWriter<B>,
  code: LaneCode,
  valueDim: number,
  running: State,
  sink: Address | undefined,
  to: Register,
): void {
  const { m } = w;
  const f = new FloatCode(code, 32);
  if (sink !== undefined) {
    const none = m.newLabel();
    const logit = w.signed(sink);
    m.emit('cmp', d(logit), nothingBits);
    m.emit('je', none);
    const { old, fresh } = factors(f, running, broadcast(code, sink));
    addSums(f, running, f.load(1), old, fresh);
    const zero = f.mul(code.zero(), fresh);
    forEachPart(code, valueDim, (f, i) => [
      at(running.values, i),
      f.add(f.mul(f.code.load(32, at(running.values, i)), old), zero),
    ]);
    m.bind(none);
  }
  const sum = broadcast(code, at(running.statistics, 4));
  const divisor = f.blend(f.compare('EQ', sum, f.number(0)), f.number(1), sum);
  const inverse = f.div(f.load(1), divisor);
  forEachPart(code, valueDim, (f, i) => [at(to, i), f.mul(f.code.load(32, at(running.values, i)), inverse)]);
}

/** A row that has seen nothing yet. */
export function emitEmpty<B extends string>(
  w: KernelWriter<B>,
  code: LaneCode,
  valueDim: number,
  { statistics, values }: State,
): void {
  const { m } = w;
  m.emit('mov', { ...at(statistics), bits: 32 }, nothingBits);
  m.emit('mov', { ...at(statistics, 4), bits: 32 }, 0);
  const zero = code.zero();
  forEachPart(code, valueDim, (_, i) => [at(values, i), zero]);
}

/** The place of a row in slots of the frame. */
export function stateAt<B extends string>(
  w: KernelWriter<B>,
  statistics: Frame['running'],
  values: Frame['running'],
  valueDim: number,
  row: Register,
): State {
  const base = w.addressOf(values);
  w.change('add', base, w.product(row, 4 * valueDim));
  const first: Register = w.gp();
  w.m.emit('lea', { kind: 'view', register: first, bits: 64 }, inSlot(statistics, 0, row, 8));
  return { statistics: first, values: base };
}
