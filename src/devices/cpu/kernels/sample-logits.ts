/** Passes over one row of logits, in the order of sums that composites/sample.ts has: 16 lanes, then a tree. */
import { FloatCode } from '../emit/float-code.ts';
import { exponential } from '../emit/functions.ts';
import { at, d, q, type Register, type Slot, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { across, broadcast } from './lanes.ts';
import { inSlot, type KernelWriter } from './writer.ts';

export const LANES = 16;
const halves = [0, 1];

/** Sixteen f32: what is left of a row at its end. */
export const tailSlot = (): Slot => ({ bytes: 4 * LANES, align: 32 });

/** `body` with each 16 elements of a row, as two vectors, and their place; behind the end are -infinities. */
export function forEachSixteen<B extends string>(
  w: KernelWriter<B>,
  tail: Slot,
  row: Register,
  length: number,
  body: (x: readonly Register[], index: Register) => void,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const load = (from: (half: number) => ReturnType<typeof at>) => halves.map((half) => code.load(32, from(half)));
  const whole = length - (length % LANES);
  w.forEach(0, whole, LANES, (index) =>
    body(
      load((half) => at(row, 32 * half, index, 4)),
      index,
    ),
  );
  if (whole === length) return;
  const nothing = new FloatCode(code, 32).load(Number.NEGATIVE_INFINITY);
  for (const half of halves) m.emit('vmovups', inSlot(tail, 32 * half), view(nothing, 256));
  for (let i = whole; i < length; i++) {
    const word = w.gp();
    m.emit('mov', d(word), at(row, 4 * i));
    m.emit('mov', inSlot(tail, 4 * (i - whole)), d(word));
  }
  body(
    load((half) => inSlot(tail, 32 * half)),
    w.value(whole),
  );
}

/** The greatest in all lanes; NaN if there is one. */
export function emitMaximum<B extends string>(w: KernelWriter<B>, tail: Slot, row: Register, length: number): Register {
  const code = laneCode(w.m, 8);
  const f = new FloatCode(code, 32);
  const most = halves.map(() => f.load(Number.NEGATIVE_INFINITY));
  const unordered = code.zero();
  forEachSixteen(w, tail, row, length, (x) => {
    for (const half of halves) {
      code.change('vmaxps', 32, most[half], most[half], x[half]);
      code.change('vorps', 32, unordered, unordered, f.compare('unordered', x[half], x[half]));
    }
  });
  return code.broadcast(
    32,
    across(code, [f.or(most[0], unordered), most[1]], (f, a, b) => f.maximum(a, b)),
  );
}

/** The sum of exp(x - max), or of exp(x / temperature - max), in the first lane. */
export function emitExponentials<B extends string>(
  w: KernelWriter<B>,
  tail: Slot,
  row: Register,
  length: number,
  max: Register,
  temperature?: Register,
): Register {
  const code = laneCode(w.m, 8);
  const f = new FloatCode(code, 32);
  const sums = halves.map(() => code.zero());
  forEachSixteen(w, tail, row, length, (x) => {
    for (const half of halves) {
      const scaled = temperature === undefined ? x[half] : f.div(x[half], temperature);
      code.change('vaddps', 32, sums[half], sums[half], exponential(f, f.sub(scaled, max)));
    }
  });
  return across(code, sums, (f, a, b) => f.add(a, b));
}

/** Bits of lanes that are not 0. */
export function maskBits<B extends string>(w: KernelWriter<B>, mask: Register): Register {
  const bits = w.gp();
  w.m.emit('vmovmskps', d(bits), view(mask, 256));
  return bits;
}

/** The first place of `max`; the last of the row where it is nowhere. */
export function emitFirstEqual<B extends string>(
  w: KernelWriter<B>,
  tail: Slot,
  row: Register,
  length: number,
  max: Register,
): Register {
  const { m } = w;
  const f = new FloatCode(laneCode(m, 8), 32);
  const result = w.value(length - 1);
  const found = m.newLabel();
  forEachSixteen(w, tail, row, length, (x, index) => {
    const [low, high] = x.map((half) => maskBits(w, f.compare('EQ', half, max)));
    m.emit('or', d(low), d(w.shift(high, 'shl', 8)));
    w.when(low, 'ne', 0, () => {
      const lane = w.gp();
      m.emit('bsf', d(lane), d(low));
      w.change('add', lane, index);
      // In the row: what stands behind its end is equal only where all of it is, whose first comes first.
      w.set(result, lane);
      m.emit('jmp', found);
    });
  });
  m.bind(found);
  return result;
}

export function emitCopy<B extends string>(w: KernelWriter<B>, from: Register, to: Register, length: number): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const whole = length - (length % 8);
  w.forEach(0, whole, 8, (i) => m.emit('vmovups', at(to, 0, i, 4), view(code.load(32, at(from, 0, i, 4)), 256)));
  w.forEach(whole, length, 1, (i) => {
    const word = w.gp();
    m.emit('mov', d(word), at(from, 0, i, 4));
    m.emit('mov', at(to, 0, i, 4), d(word));
  });
}

/** Whether there are any: not 0 where there are. */
export function emitIsPenalized<B extends string>(w: KernelWriter<B>, penalties: Register): Register {
  const { m } = w;
  const isOn = w.value(at(penalties, 4));
  m.emit('shl', q(isOn), 1);
  const repetition = w.signed(at(penalties));
  w.change('sub', repetition, 0x3f800000);
  m.emit('or', q(isOn), q(repetition));
  return isOn;
}

/** Adds what penalties take away; `counts` are of the row's sequence: i32 [2, V], prompt and answer. */
export function emitPenalties<B extends string>(
  w: KernelWriter<B>,
  row: Register,
  length: number,
  penalties: Register,
  counts: Register,
): void {
  const { m } = w;
  const penalize = (lanes: 1 | 8, index: Register) => {
    const code = laneCode(m, lanes);
    const f = new FloatCode(code, 32);
    const load = (from: ReturnType<typeof at>) => {
      if (lanes === 8) return code.load(32, from);
      const x = m.register('vec');
      m.emit('vmovss', view(x, 128), from);
      return x;
    };
    const [repetition, frequency, presence] = [0, 4, 8].map((i) =>
      lanes === 8 ? broadcast(code, at(penalties, i)) : load(at(penalties, i)),
    );
    const logit = load(at(row, 0, index, 4));
    const [prompt, answer] = [load(at(counts, 0, index, 4)), load(at(counts, 4 * length, index, 4))];
    const positive = (x: Register) => code.op('vpcmpgtd', 32, x, code.zero());
    const seen = positive(code.op('vpaddd', 32, prompt, answer));
    const repeated = f.blend(f.compare('GT', logit, f.number(0)), f.div(logit, repetition), f.mul(logit, repetition));
    const times = code.op('vcvtdq2ps', 32, answer);
    const present = f.and(positive(answer), f.number(1));
    const less = f.sub(f.blend(seen, repeated, logit), f.mul(times, frequency));
    const result = f.sub(less, f.mul(present, presence));
    if (lanes === 8) m.emit('vmovups', at(row, 0, index, 4), view(result, 256));
    else m.emit('vmovss', at(row, 0, index, 4), view(result, 128));
  };
  const whole = length - (length % 8);
  w.forEach(0, whole, 8, (index) => penalize(8, index));
  w.forEach(whole, length, 1, (index) => penalize(1, index));
}
