/**
 * Folds. A float sum keeps 16 lanes and ends in a tree, whatever the vectors of the machine are: turn i adds to lane
 * i mod 16. Where the turns follow one axis, lanes of vectors are those lanes; elsewhere 16 slots of the stack frame are.
 */
import type { Axis, Reduce, ScalarType } from '../../../compiler/kernel/language.ts';
import { type FloatName, fromCompute } from './convert.ts';
import { FloatCode } from './float-code.ts';
import type { LaneCode, LaneCount } from './lane-code.ts';
import { type Address, d, type Register, type Slot, view } from './machine.ts';
import { isFloat, laneBitsOf } from './memory.ts';
import { integerType } from './scalar-integers.ts';
import type { Level } from './scope.ts';
import type { Bound, Statements } from './statements.ts';
import { TooWide, type Values } from './values.ts';
import { laneCode, lanesBelow } from './vector-sets.ts';

export const LANES = 16;

export function emitReduce(writer: Statements, s: Reduce): void {
  const { values } = writer;
  const sum = s.op === 'add' && isFloat(s.into.type);
  const [axis] = s.axes;
  if (
    values.lanes === 1 &&
    s.axes.length === 1 &&
    axis !== undefined &&
    !(isFloat(s.into.type) && s.op === 'multiply')
  ) {
    if (sum) sumAlong(writer, s, axis);
    else foldAlong(writer, s, axis);
  } else if (sum) sumInSlots(writer, s);
  else foldSerially(writer, s);
}

/** Loops over all axes, the last the fastest. */
export function nest(writer: Statements, axes: readonly Axis[], write: () => void): void {
  const [axis, ...rest] = axes;
  if (axis === undefined) write();
  else writer.serialLoop(axis, 0, writer.bound(axis.extent), () => nest(writer, rest, write));
}

function foldSerially(writer: Statements, { op, axes, body, value, init, into }: Reduce): void {
  const { values } = writer;
  const result = values.copy(into.type, values.value(init));
  nest(writer, axes, () => {
    writer.list(body);
    values.assign(into.type, result, values.fold(op, into.type, result, values.value(value)));
  });
  writer.bindRegister(into, result, values.lanes);
}

/** Sixteen slots as wide as the values, and a counter that runs through them. */
function sumInSlots(writer: Statements, { axes, body, value, init, into }: Reduce): void {
  const { machine: m, values } = writer;
  const { code } = values;
  const lane = laneBitsOf(into.type);
  const bytes = code.bits(lane) / 8;
  const slot: Slot = { bytes: LANES * bytes, align: Math.min(64, bytes) };
  const slotAt = (i: number): Address => ({ kind: 'address', slot, scale: 1, disp: i * bytes, bits: 0 });
  const load = (from: Address) => code.load(lane, from);
  const store = (x: Register, to: Address) => m.emit('vmovups', to, code.view(x, lane));
  const zero = code.zero();
  for (let i = 0; i < LANES; i++) store(zero, slotAt(i));
  const offset = m.register('gp');
  m.emit('mov', d(offset), 0);
  nest(writer, axes, () => {
    writer.list(body);
    const turn: Address = { kind: 'address', slot, index: offset, scale: 1, disp: 0, bits: 0 };
    store(values.fold('add', into.type, load(turn), values.value(value)), turn);
    m.emit('add', d(offset), bytes);
    m.emit('and', d(offset), LANES * bytes - 1);
  });
  const total = treeOf(values, into.type, (i) => load(slotAt(i)));
  writer.bindRegister(into, values.fold('add', into.type, values.value(init), total), values.lanes);
}

/** Of the sixteen lanes: l with l + 8, + 4, + 2, + 1, in an order that holds few of them at a time. */
export function treeOf(
  values: Values,
  type: ScalarType,
  load: (lane: number) => Register,
  lane = 0,
  step = 1,
): Register {
  const part = (at: number) => (2 * step === LANES ? load(at) : treeOf(values, type, load, at, 2 * step));
  return values.fold('add', type, part(lane), part(lane + step));
}

/** Bodies and values of the lanes of one step: of all of them, or those of a mask. */
function step(
  writer: Statements,
  axis: Axis,
  lanes: LaneCount,
  s: Reduce,
  use: (value: Register) => void,
  active?: Register,
): void {
  const { values } = writer;
  values.along(
    axis,
    lanes,
    () => {
      writer.list(s.body);
      use(values.value(s.value));
    },
    active,
  );
}

/** Folds the last turns, fewer than the lanes of all `parts` together, each into its lane. False where that cannot be. */
function foldRest(
  writer: Statements,
  s: Reduce,
  axis: Axis,
  level: Level,
  end: Bound,
  lanes: LaneCount,
  parts: readonly Register[],
): boolean {
  const { machine: m, values } = writer;
  const { type } = s.into;
  return writer.rest(level, axis, end, (count) => {
    parts.forEach((part, i) => {
      const active = lanesBelow(m, lanes, count, i * lanes);
      const use = (value: Register) => {
        const folded = values.fold(s.op, type, part, value);
        if (part.file === 'mask') values.assign(type, part, choose(values.code, active, folded, part));
        else values.code.assignWhere(laneBitsOf(type), active, part, folded);
      };
      step(writer, axis, lanes, s, use, active);
      if (i + 1 < parts.length) writer.advance(level, axis, lanes);
    });
  });
}

/** Of masks. */
const choose = (code: LaneCode, mask: Register, a: Register, b: Register) =>
  code.either(code.both(mask, a), code.without(b, mask));

/** The sixteen lanes side by side in vectors; what is left of the last sixteen turns is added lane by lane. */
function sumAlong(writer: Statements, s: Reduce, axis: Axis): void {
  const { machine: m, values } = writer;
  const { type } = s.into;
  const lane = laneBitsOf(type);
  const end = writer.bound(axis.extent);
  const slot: Slot = { bytes: (LANES * lane) / 8, align: 32 };
  const slotAt = (element: number): Address => ({
    kind: 'address',
    slot,
    scale: 1,
    disp: (element * lane) / 8,
    bits: 0,
  });
  const pace = writer.paceOf(axis, [s]);
  const level = writer.open(axis, 0);
  let parts: readonly Register[] = [];
  const vectors = writer.widest(level, (lanes) => {
    if (lanes === 1) return;
    const code = laneCode(m, lanes);
    if (!code.fits(lane)) throw new TooWide();
    parts = Array.from({ length: LANES / lanes }, () => code.zero());
    writer.turns(level, axis, LANES, end, () => {
      writer.vectors(axis, lanes, parts.length, pace, (i) => {
        writer.list(s.body);
        const part = parts[i] as Register;
        values.assign(type, part, values.fold('add', type, part, values.value(s.value)));
      });
      writer.advance(level, axis, LANES);
    });
  });
  const exact = typeof end === 'number' && end % LANES === 0;
  let lanes = vectors;
  if (vectors === 1 || !(exact || foldRest(writer, s, axis, level, end, vectors, parts))) {
    // The tree by the widest vectors.
    lanes = (Math.min(LANES * lane, m.vectorBits) / lane) as LaneCount;
    const wide = laneCode(m, lanes);
    const zeros = () => Array.from({ length: LANES / lanes }, () => wide.zero());
    const stored = vectors === 1 ? zeros() : parts;
    const each = LANES / stored.length;
    stored.forEach((part, i) => {
      m.emit('vmovups', slotAt(i * each), view(part, (each * lane) as 256));
    });
    addOneByOne(writer, s, axis, level, end, slot);
    parts = Array.from({ length: LANES / lanes }, (_, i) => wide.load(lane, slotAt(i * lanes)));
  }
  const total = values.along(undefined, lanes, () => {
    let rest = parts;
    while (rest.length > 1) {
      const half = rest.length / 2;
      rest = rest.slice(0, half).map((part, i) => values.fold('add', type, part, rest[i + half] as Register));
    }
    return rest[0] as Register;
  });
  const result = foldHalves(writer, lanes, total, type, 'add');
  writer.bindRegister(s.into, values.fold('add', type, values.scalar(s.init), result), 1);
}

/** The turns from the counter on, each into its of sixteen elements in the stack frame. */
function addOneByOne(writer: Statements, s: Reduce, axis: Axis, level: Level, end: Bound, slot: Slot): void {
  const { machine: m, values } = writer;
  const { type } = s.into;
  const lane = laneBitsOf(type);
  const counter = level.counters.get(axis) as Register;
  writer.turns(level, axis, 1, end, () => {
    writer.list(s.body);
    const position = m.register('gp');
    m.emit('mov', d(position), d(counter));
    m.emit('and', d(position), LANES - 1);
    const turn: Address = { kind: 'address', slot, index: position, scale: (lane / 8) as 4 | 8, disp: 0, bits: 0 };
    const before = m.register('vec');
    m.emit(lane === 32 ? 'vmovss' : 'vmovsd', view(before, 128), turn);
    const after = values.fold('add', type, before, values.scalar(s.value));
    m.emit(lane === 32 ? 'vmovss' : 'vmovsd', turn, view(after, 128));
    writer.advance(level, axis, 1);
  });
}

/** Lane l with lane l + half, until one is left: in a float sum's own order. */
function foldHalves(
  writer: Statements,
  lanes: LaneCount,
  x: Register,
  type: Reduce['into']['type'],
  op: Reduce['op'],
): Register {
  const { machine: m, values } = writer;
  const code = laneCode(m, lanes);
  let result = x;
  for (let half = lanes / 2; half >= 1; half /= 2) {
    const [low, high] = [result, code.upper(laneBitsOf(type), result, half)];
    const count = Math.max(4, half) as LaneCount;
    result = values.along(undefined, count, () => values.fold(op, type, low, high));
  }
  return result;
}

/** A lane vector that changes nothing it is folded with. */
function identityOf(code: LaneCode, op: Reduce['op'], type: ScalarType): Register {
  const lane = laneBitsOf(type);
  const integer = integerType(type);
  if (integer === undefined) {
    const value = op === 'maximum' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    const compute = type === 'f64' ? 64 : 32;
    return fromCompute(code, type as FloatName, new FloatCode(code, compute).load(value));
  }
  const { bits, signed } = integer;
  if (bits === 1) return code.maskOf(op === 'and' || op === 'multiply' || op === 'minimum');
  const most = signed ? 2n ** BigInt(bits - 1) - 1n : 2n ** BigInt(bits) - 1n;
  const least = signed ? -(2n ** BigInt(bits - 1)) : 0n;
  const word = () => {
    switch (op) {
      case 'add':
      case 'or':
      case 'xor':
        return 0n;
      case 'and':
        return -1n;
      case 'multiply':
        return 1n;
      case 'maximum':
        return least;
      case 'minimum':
        return most;
      default:
        return op satisfies never;
    }
  };
  return code.constant(lane, word());
}

/** Operations whose order cannot be seen: lanes fold what they meet, then each other. */
function foldAlong(writer: Statements, s: Reduce, axis: Axis): void {
  const { machine: m, values } = writer;
  const { type } = s.into;
  const lane = laneBitsOf(type);
  const end = writer.bound(axis.extent);
  const result = values.copy(type, values.scalar(s.init));
  const level = writer.open(axis, 0);
  let done = false;
  writer.widest(level, (lanes) => {
    if (lanes === 1) return;
    const code = laneCode(m, lanes);
    if (!code.fits(lane)) throw new TooWide();
    const start = identityOf(code, s.op, type);
    writer.turns(level, axis, lanes, end, () => {
      step(writer, axis, lanes, s, (value) => {
        values.assign(type, start, values.fold(s.op, type, start, value));
      });
      writer.advance(level, axis, lanes);
    });
    done = (typeof end === 'number' && end % lanes === 0) || foldRest(writer, s, axis, level, end, lanes, [start]);
    const folded = foldHalves(writer, lanes, start, type, s.op);
    values.assign(type, result, values.fold(s.op, type, result, scalarOf(writer, type, folded)));
  });
  if (!done) {
    writer.turns(level, axis, 1, end, () => {
      writer.list(s.body);
      values.assign(type, result, values.fold(s.op, type, result, values.scalar(s.value)));
      writer.advance(level, axis, 1);
    });
  }
  writer.bindRegister(s.into, result, 1);
}

/** The first lane of a vector of folded ones as a scalar. */
function scalarOf({ machine, values }: Statements, type: ScalarType, folded: Register): Register {
  const integer = integerType(type);
  if (integer === undefined) return folded;
  const bits =
    folded.file === 'mask'
      ? laneCode(machine, 4).firstOf(32, folded)
      : laneCode(machine, 1).toGeneral(laneBitsOf(type), folded);
  return values.integers.wrap(bits, integer);
}
