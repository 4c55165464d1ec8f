/**
 * A draw from one row, as composites/draw.ts does it: logits over the temperature in descending order, exponentials, their
 * prefix sums in log2 steps, the first that reaches a random share of those kept. Only candidates are sorted. With top-k that is
 * what is at least the k-th greatest of the maxima of chunks: it holds the k greatest and few more. Where the greatest of segments are
 * known, those are the chunks, and logits of segments that have no candidate are not read. With top-p alone, what is at
 * least the V-th part of what may be left out: all that is less adds up to less. Without both nothing is sorted, and the sums are
 * in the order of ids.
 */
import { segmentsOf } from '../../../composites/sample.ts';
import type { Dim } from '../../../ir/types.ts';
import { FloatCode } from '../emit/float-code.ts';
import { exponential } from '../emit/functions.ts';
import { constantAt, type LaneCode } from '../emit/lane-code.ts';
import { at, d, type Register, type Slot, view } from '../emit/machine.ts';
import { floatUnary } from '../emit/math.ts';
import { ScalarIntegers } from '../emit/scalar-integers.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { across, broadcast, storeFirst } from './lanes.ts';
import { emitSort } from './radix-sort.ts';
import { emitExponentials, emitMaximum, forEachSixteen, LANES, maskBits } from './sample-logits.ts';
import { emitUniform } from './sample-uniform.ts';
import { inSlot, type KernelWriter } from './writer.ts';

/** Addresses of what one row is drawn with: its inputs, and memory. */
export interface Draw {
  readonly temperature: Register;
  readonly topK: Register;
  readonly topP: Register;
  readonly minP: Register;
  /** ui32 [2]. */
  readonly seed: Register;
  readonly position: Register;
  /** For pairs of a key and an id, `pairBytes` each. */
  readonly pairs: readonly [Register, Register];
  /** The greatest logit of each of several segments, where the logits drawn from are at `of`. */
  readonly segments?: { readonly greatest: Register; readonly of: Register };
}

/** Elements of a chunk, some thousand of them. */
const chunkOf = (length: number) => LANES * Math.ceil(length / 1024 / LANES);
/** More than there are, so that vectors may end behind the last. */
const padded = (length: number) => length + chunkOf(length) + LANES;
export const pairBytes = (length: number) => 64 * Math.ceil((8 * padded(length)) / 64);

export interface DrawSlots {
  readonly tail: Slot;
  readonly bins: Slot;
}

/** The rows of a thread. */
export function forEachRow<B extends string>(w: KernelWriter<B>, rows: Dim, body: (row: Register) => void): void {
  const integers = new ScalarIntegers(w.m);
  const all = w.value(w.dim(rows));
  const edge = (next: number) =>
    integers.divideIndex('divide', w.product(all, w.sum(w.threadIndex, next)), w.threadCount);
  const [from, to] = [edge(0), edge(1)];
  w.forEach(from as Register, to as Register, 1, body);
}

/** The id that is drawn from `logits`, f32 [V]. */
export function emitDraw<B extends string>(
  w: KernelWriter<B>,
  slots: DrawSlots,
  logits: Register,
  length: number,
  draw: Draw,
): Register {
  const result = w.value(length - 1);
  const isOrdered = w.value(1);
  const topK = w.signed(at(draw.topK));
  w.when(topK, 'le', 0, () => w.set(topK, length));
  w.when(topK, 'ge', length, () => {
    // As integers positive floats are in their order.
    w.when(w.signed(at(draw.topP)), 'ge', 0x3f800000, () => w.set(isOrdered, 0));
  });
  w.when(
    isOrdered,
    'e',
    0,
    () => emitUnorderedDraw(w, slots, logits, length, draw, result),
    () => emitOrderedDraw(w, slots, logits, length, draw, result),
  );
  return result;
}

function emitUnorderedDraw<B extends string>(
  w: KernelWriter<B>,
  { tail }: DrawSlots,
  logits: Register,
  length: number,
  draw: Draw,
  result: Register,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  const [weights, scaled] = draw.pairs;
  const each = (from: Register, to: Register, make: (x: Register) => Register) =>
    forEachSixteen(w, tail, from, length, (x, index) => {
      for (const [half, part] of x.entries()) {
        m.emit('vmovups', at(to, 32 * half, index, 4), code.view(make(part), 32));
      }
    });
  const temperature = broadcast(code, at(draw.temperature));
  each(logits, scaled, (x) => f.div(x, temperature));
  const greatest = emitMaximum(w, tail, scaled, length);
  const least = broadcast(code, at(draw.minP));
  each(scaled, weights, (x) => {
    const weight = exponential(f, f.sub(x, greatest));
    return f.keep(f.compare('GE', weight, least), weight);
  });
  const count = w.value(length);
  m.emit('vmovups', at(weights, 0, count, 4), code.view(code.zero(), 32));
  const sums = w.sum(weights, 4 * padded(length));
  emitPrefixSums(w, weights, count, sums);
  const forEachKept: ForEachKept = (body) =>
    w.forEach(0, count, 8, (index) => {
      const kept = f.compare('GT', code.load(32, at(weights, 0, index, 4)), f.number(0));
      body(kept, code.load(32, at(sums, 0, index, 4)), index);
    });
  emitPick(w, draw, forEachKept, (place) => w.set(result, place));
}

type ForEachKept = (body: (kept: Register, sum: Register, index: Register) => void) => void;

/** The first place of what is kept whose sum is above a random share of the greatest; nothing where none is. */
function emitPick<B extends string>(
  w: KernelWriter<B>,
  draw: Draw,
  forEachKept: ForEachKept,
  take: (place: Register) => void,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  const most = code.zero();
  forEachKept((kept, sum) => code.change('vmaxps', 32, most, f.keep(kept, sum), most));
  const greatest = across(code, [most], (f, a, b) => f.maximum(a, b));
  const random = emitUniform(w, draw.seed, draw.position);
  m.emit('vmulss', view(random, 128), view(random, 128), view(greatest, 128));
  const target = code.broadcast(32, random);
  const found = m.newLabel();
  forEachKept((kept, sum, index) => {
    const bits = maskBits(w, f.both(kept, f.compare('GT', sum, target)));
    w.when(bits, 'ne', 0, () => {
      const lane = w.gp();
      m.emit('bsf', d(lane), d(bits));
      w.change('add', lane, index);
      take(lane);
      m.emit('jmp', found);
    });
  });
  m.bind(found);
}

function emitOrderedDraw<B extends string>(
  w: KernelWriter<B>,
  slots: DrawSlots,
  logits: Register,
  length: number,
  draw: Draw,
  result: Register,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  const [first, second] = draw.pairs;
  const temperature = broadcast(code, at(draw.temperature));
  const wanted = w.signed(at(draw.topK));
  w.when(wanted, 'le', 0, () => w.set(wanted, length));
  w.bound(wanted, 'min', length);
  const topP = w.signed(at(draw.topP));
  const share = broadcast(code, at(draw.topP));
  const limit = code.zero();
  const threshold = w.value(-1);
  w.when(wanted, 'e', length, () => {
    const greatest = f.div(emitMaximum(w, slots.tail, logits, length), temperature);
    const total = emitExponentials(w, slots.tail, logits, length, greatest, temperature);
    code.change('vmulps', 32, limit, share, code.broadcast(32, total));
    // A tenth less, so that the rounding of sums seldom matters.
    const least = f.mul(f.mul(f.sub(f.load(1), share), total), f.number(0.9 / length));
    const logarithm = floatUnary('log', new FloatCode(laneCode(m, 1), 32), least);
    if (logarithm === undefined) throw new Error('there is no logarithm');
    w.set(threshold, code.toGeneral(32, keyOf(code, f.add(greatest, logarithm))));
  });

  // The pairs end at `second`; weights and their sums take the other's place.
  const weights = first;
  const sums = w.sum(first, 4 * padded(length));
  const chunks = Math.ceil(length / chunkOf(length));
  const count = w.gp();
  /** The wanted-th least of `known` keys of chunks, pairs at `first`. */
  const limitKeys = (known: number) => {
    const behind = w.sum(first, 8 * known);
    emitSort(w, slots.bins, first, behind, w.value(known));
    m.emit('mov', d(threshold), at(behind, -8, wanted, 8));
  };
  const gatherAll = () => {
    emitKeys(w, slots, logits, length, temperature, second);
    w.when(wanted, 'le', Math.min(chunks, length - 1), () => {
      emitMinima(w, second, length, first);
      limitKeys(chunks);
    });
    w.set(count, emitGather(w, second, length, threshold, first));
  };
  w.loop((leave) => {
    if (draw.segments === undefined) gatherAll();
    else {
      const { greatest, of } = draw.segments;
      const { count: known } = segmentsOf(length);
      const isOther = w.difference(logits, of);
      w.when(wanted, 'g', known, () => w.set(isOther, 1));
      w.when(isOther, 'ne', 0, gatherAll, () => {
        emitKeys(w, slots, greatest, known, temperature, second);
        emitPairs(w, second, known, first);
        limitKeys(known);
        w.set(count, emitGatherSegments(w, logits, length, temperature, second, threshold, first));
      });
    }
    emitSort(w, slots.bins, first, second, count);
    w.bound(count, 'min', wanted);
    emitWeights(w, second, count, weights);
    emitPrefixSums(w, weights, count, sums);
    w.when(topP, 'ge', 0x3f800000, leave);
    w.when(wanted, 'l', length, () =>
      code.change('vmulps', 32, limit, share, broadcast(code, at(sums, -4, wanted, 4))),
    );
    w.forEach(0, count, 8, (index) => {
      const bits = maskBits(w, f.compare('GE', code.load(32, at(sums, 0, index, 4)), limit));
      w.when(bits, 'ne', 0, () => {
        const place = w.gp();
        m.emit('bsf', d(place), d(bits));
        w.change('add', place, index);
        w.when(place, 'l', count, () => {
          w.set(count, w.sum(place, 1));
          leave();
        });
      });
    });
    w.when(count, 'e', wanted, leave);
    // What the candidates lack is the rounding of their sum.
    w.set(threshold, -1);
  });
  m.emit('vmovups', at(weights, 0, count, 4), code.view(code.zero(), 32));

  const least = broadcast(code, at(draw.minP));
  const forEachKept: ForEachKept = (body) => {
    // The most likely token always stays.
    const always = code.load(32, constantAt(m, Int32Array.of(-1, 0, 0, 0, 0, 0, 0, 0)));
    w.forEach(0, count, 8, (index) => {
      const weight = code.load(32, at(weights, 0, index, 4));
      const possible = f.both(f.compare('GE', weight, least), f.compare('GT', weight, f.number(0)));
      body(f.either(possible, always), code.load(32, at(sums, 0, index, 4)), index);
      code.change('vxorps', 32, always, always, always);
    });
  };
  emitPick(w, draw, forEachKept, (place) => m.emit('mov', d(result), at(second, 4, place, 8)));
}

/** Keys that ascend where logits descend; zeros have one key. Behind the last the greatest. */
function emitKeys<B extends string>(
  w: KernelWriter<B>,
  { tail }: DrawSlots,
  logits: Register,
  length: number,
  temperature: Register,
  keys: Register,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  forEachSixteen(w, tail, logits, length, (x, index) => {
    x.forEach((part, half) => {
      const value = f.add(f.div(part, temperature), f.number(0));
      m.emit('vmovups', at(keys, 32 * half, index, 4), code.view(keyOf(code, value), 32));
    });
  });
  const ones = code.load(32, code.words(32, -1));
  const rest = w.sum(keys, 4 * length);
  w.forEach(rest, w.sum(keys, 4 * (padded(length) - LANES)), 32, (to) => {
    m.emit('vmovups', at(to), code.view(ones, 32));
  });
}

/** From a float to its key, and back. */
function keyOf(code: LaneCode, x: Register): Register {
  const sign = code.op('vpsrad', 32, x, 31);
  return code.op('vpxor', 32, x, code.op('vpandn', 32, sign, code.words(32, 0x7fffffff)));
}

/** The least key of each chunk, as pairs. */
function emitMinima<B extends string>(w: KernelWriter<B>, keys: Register, length: number, pairs: Register): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const chunk = chunkOf(length);
  const from = w.value(keys);
  const to = w.value(pairs);
  const end = w.sum(pairs, 8 * Math.ceil(length / chunk));
  w.whileBelow(to, end, 8, () => {
    const least = code.load(32, code.words(32, -1));
    w.forEach(0, chunk, 8, (i) => code.change('vpminud', 32, least, least, at(from, 0, i, 4)));
    const one = across(code, [least], ({ code: narrow }, a, b) => narrow.op('vpminud', 32, a, b));
    storeFirst(code, at(to), one);
    w.change('add', from, 4 * chunk);
  });
}

/** Keys with their places, as pairs. */
function emitPairs<B extends string>(w: KernelWriter<B>, keys: Register, length: number, pairs: Register): void {
  const { m } = w;
  w.forEach(0, length, 1, (place) => {
    const key = w.gp();
    m.emit('mov', d(key), at(keys, 0, place, 4));
    m.emit('mov', at(pairs, 0, place, 8), d(key));
    m.emit('mov', at(pairs, 4, place, 8), d(place));
  });
}

/** Pairs of the keys that are not above the threshold, in ascending order of ids; their number. */
function emitGather<B extends string>(
  w: KernelWriter<B>,
  keys: Register,
  length: number,
  threshold: Register,
  pairs: Register,
): Register {
  const { m } = w;
  const code = laneCode(m, 8);
  const limit = gatherLimit(code, threshold);
  const to = w.value(pairs);
  w.forEach(0, length, 8, (index) => {
    emitGatherEight(w, code.load(32, at(keys, 0, index, 4)), limit, index, to, (key, lane, leave) => {
      const id = w.sum(lane, index);
      w.when(id, 'ge', length, leave);
      m.emit('mov', d(key), at(keys, 0, id, 4));
    });
  });
  w.change('sub', to, pairs);
  return w.shift(to, 'shr', 3);
}

/** The same of the segments whose keys say that they have any. */
function emitGatherSegments<B extends string>(
  w: KernelWriter<B>,
  logits: Register,
  length: number,
  temperature: Register,
  segmentKeys: Register,
  threshold: Register,
  pairs: Register,
): Register {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  const { count, size } = segmentsOf(length);
  const limit = gatherLimit(code, threshold);
  const eight: Slot = { bytes: 32, align: 32 };
  const to = w.value(pairs);
  w.forEach(0, count, 1, (segment) => {
    const least = w.gp();
    m.emit('mov', d(least), at(segmentKeys, 0, segment, 4));
    w.when(least, 'le', threshold, () => {
      const from = w.product(segment, size);
      w.forEach(from, w.sum(from, size), 8, (index) => {
        const x = code.load(32, at(logits, 0, index, 4));
        const keys = keyOf(code, f.add(f.div(x, temperature), f.number(0)));
        m.emit('vmovups', inSlot(eight), code.view(keys, 32));
        emitGatherEight(w, keys, limit, index, to, (key, lane) => m.emit('mov', d(key), inSlot(eight, 0, lane, 4)));
      });
    });
  });
  w.change('sub', to, pairs);
  return w.shift(to, 'shr', 3);
}

const unsigned = (code: LaneCode) => code.words(32, 0x8000_0000);

function gatherLimit(code: LaneCode, threshold: Register): Register {
  return code.op('vpxor', 32, code.broadcast(32, code.fromGeneral(32, threshold)), unsigned(code));
}

/** Appends to the pairs that end at `to` those of eight keys, of ids from `first` on, that are not above the limit; `load` loads the key of a lane. */
function emitGatherEight<B extends string>(
  w: KernelWriter<B>,
  keys: Register,
  limit: Register,
  first: Register,
  to: Register,
  load: (key: Register, lane: Register, leave: () => void) => void,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const bits = maskBits(w, code.op('vpcmpgtd', 32, code.op('vpxor', 32, keys, unsigned(code)), limit));
  m.emit('xor', d(bits), 0xff);
  w.loop((leave) => {
    w.when(bits, 'e', 0, leave);
    const lane = w.gp();
    m.emit('bsf', d(lane), d(bits));
    m.emit('and', d(bits), d(w.difference(bits, 1)));
    const key = w.gp();
    load(key, lane, leave);
    m.emit('mov', at(to), d(key));
    m.emit('mov', at(to, 4), d(w.sum(lane, first)));
    w.change('add', to, 8);
  });
}

/** exp(x - first) of the sorted pairs; zeros behind the last. */
function emitWeights<B extends string>(w: KernelWriter<B>, pairs: Register, count: Register, weights: Register): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  const greatest = keyOf(code, broadcast(code, at(pairs)));
  w.forEach(0, count, 8, (index) => {
    const keys = code.op('vshufps', 32, code.load(32, at(pairs, 0, index, 8)), at(pairs, 32, index, 8), 0x88);
    const x = keyOf(code, code.op('vpermq', 32, keys, 0xd8));
    m.emit('vmovups', at(weights, 0, index, 4), code.view(exponential(f, f.sub(x, greatest)), 32));
  });
  m.emit('vmovups', at(weights, 0, count, 4), code.view(code.zero(), 32));
}

/** sums[i] = the sum of weights[0 .. i], by additions of the whole to itself shifted by 1, 2, 4 ... */
function emitPrefixSums<B extends string>(
  w: KernelWriter<B>,
  weights: Register,
  count: Register,
  sums: Register,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  // Zeros before the first.
  m.emit('vmovups', at(sums, -32), code.view(code.zero(), 32));
  w.forEach(0, count, 8, (i) =>
    m.emit('vmovups', at(sums, 0, i, 4), code.view(code.load(32, at(weights, 0, i, 4)), 32)),
  );
  const last = w.difference(count, 1);
  w.change('and', last, -8);
  const step = w.value(1);
  w.whileBelow(step, count, 0, () => {
    // From the end, so that what is added has not been changed yet. Blocks of eight below the step have nothing to add.
    const least = w.value(step);
    w.change('and', least, -8);
    const index = w.value(last);
    const source = w.product(step, -4);
    w.change('add', source, sums);
    w.loop((leave) => {
      w.when(index, 'l', least, leave);
      const sum = code.op('vaddps', 32, code.load(32, at(sums, 0, index, 4)), at(source, 0, index, 4));
      m.emit('vmovups', at(sums, 0, index, 4), code.view(sum, 32));
      w.change('sub', index, 8);
    });
    w.change('add', step, step);
  });
}
