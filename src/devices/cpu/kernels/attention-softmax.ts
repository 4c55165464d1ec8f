/**
 * The softmax of one row in one partition, the merge of two partitions, and the result: the operations of
 * composites/paged_attention.ts in their order. A sum has 16 lanes, position i in lane i mod 16, and ends in a tree.
 */
import { FloatCode } from '../emit/float-code.ts';
import { exponential, tangentHyperbolic } from '../emit/functions.ts';
import { constantAt, type LaneCode, type LaneCount } from '../emit/lane-code.ts';
import { type Address, at, d, type Register, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { type AttentionShape, type Frame, TILE, tileEntry } from './attention-shape.ts';
import { inSlot, type KernelWriter } from './writer.ts';

const NOTHING = Number.NEGATIVE_INFINITY;
const nothingBits = 0xff800000 | 0;

const broadcast = (code: LaneCode, from: Address) => code.op('vbroadcastss', 32, from);
const storeFirst = (code: LaneCode, to: Address, x: Register) => code.machine.emit('vmovss', to, view(x, 128));

/** 0 in place of -inf, the maximum of nothing. */
const finite = (f: FloatCode, max: Register) => f.keep(f.compare('NE', max, f.number(NOTHING)), max);

/** Lane l with lane l + half until one is left, from vectors that hold 16. */
function across(
  code: LaneCode,
  parts: readonly Register[],
  fold: (f: FloatCode, a: Register, b: Register) => Register,
) {
  const m = code.machine;
  let lanes: LaneCount = code.lanes;
  let all = parts.reduce((a, b) => fold(new FloatCode(code, 32), a, b));
  const narrow = new FloatCode(laneCode(m, 4), 32);
  if (lanes === 8) {
    const high = m.register('vec');
    m.emit('vextractf128', view(high, 128), view(all, 256), 1);
    all = fold(narrow, all, high);
    lanes = 4;
  }
  for (const order of [0xee, 0x55]) {
    const high = m.register('vec');
    m.emit('vpshufd', view(high, 128), view(all, 128), order);
    all = fold(narrow, all, high);
  }
  return all;
}

/** Where a row's scores lie, what it sees of the partition ([first, last) as two f32), and where maximum and sum go. */
export interface Row {
  readonly scores: Register;
  readonly seen: Address;
  readonly statistics: Register;
}

/** Dot products become weights; `tiles` of the frame's list are looked at. */
export function emitSoftmax<B extends string>(
  w: KernelWriter<B>,
  code: LaneCode,
  { scale, softCap }: Pick<AttentionShape, 'scale' | 'softCap'>,
  frame: Frame,
  tiles: Register,
  { scores, seen, statistics }: Row,
): void {
  const { m } = w;
  const f = new FloatCode(code, 32);
  const { lanes } = code;
  const vectors = Array.from({ length: TILE / lanes }, (_, i) => i);
  const forEachTile = (body: (place: (vector: number) => Address, entry: Register) => void) => {
    const list = w.addressOf(frame.tiles);
    const end = w.sum(list, w.product(tiles, tileEntry.bytes));
    w.whileBelow(list, end, tileEntry.bytes, () => {
      const column = w.signed(at(list, tileEntry.column));
      body((vector) => at(scores, 4 * lanes * vector, column, 4), list);
    });
  };

  const first = broadcast(code, seen);
  const last = broadcast(code, { ...seen, disp: seen.disp + 4 });
  const none = f.load(NOTHING);
  const most = vectors.map(() => f.load(NOTHING));
  const unordered = code.zero();
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
      code.change('vorps', 32, unordered, unordered, f.compare('unordered', score, score));
    }
  });
  const max = across(code, [f.or(most[0], unordered), ...most.slice(1)], (f, a, b) => f.maximum(a, b));
  storeFirst(code, at(statistics), max);

  const origin = code.broadcast(32, finite(new FloatCode(laneCode(m, 4), 32), max));
  const sums = vectors.map(() => code.zero());
  forEachTile((place) => {
    for (const vector of vectors) {
      const weight = exponential(f, f.sub(code.load(32, place(vector)), origin));
      m.emit('vmovups', place(vector), code.view(weight, 32));
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
  for (let i = 0; i < 4 * valueDim; i += 4 * code.lanes) {
    const value = f.mul(code.load(32, at(next.values, i)), fresh);
    m.emit(
      'vmovups',
      at(running.values, i),
      code.view(f.add(f.mul(code.load(32, at(running.values, i)), old), value), 32),
    );
  }
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
    for (let i = 0; i < 4 * valueDim; i += 4 * code.lanes) {
      const value = f.add(f.mul(code.load(32, at(running.values, i)), old), zero);
      m.emit('vmovups', at(running.values, i), code.view(value, 32));
    }
    m.bind(none);
  }
  const sum = broadcast(code, at(running.statistics, 4));
  const divisor = f.blend(f.compare('EQ', sum, f.number(0)), f.number(1), sum);
  const inverse = f.div(f.load(1), divisor);
  for (let i = 0; i < 4 * valueDim; i += 4 * code.lanes) {
    m.emit('vmovups', at(to, i), code.view(f.mul(code.load(32, at(running.values, i)), inverse), 32));
  }
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
  for (let i = 0; i < 4 * valueDim; i += 4 * code.lanes) m.emit('vmovups', at(values, i), code.view(zero, 32));
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
