/**
 * Folds over other axes than the one that lanes run along, as sums of columns. Vector by vector these would go down memory,
 * a few bytes of each row; here a strip of many vectors is gone along before the fold takes its next turn, and what is
 * folded lies in the stack frame meanwhile: the sixteen lanes of a float sum are sixteen rows as long as the strip. The
 * order is that of `reduce.ts`.
 */
import type { Axis, Expression, Local, Reduce, ScalarType, Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { linearOf, strideOf } from './index-form.ts';
import { type Address, at, d, q, type Register, type Slot, sizedAt, view } from './machine.ts';
import { isFloat, laneBitsOf } from './memory.ts';
import { nextLoads } from './next-loads.ts';
import { LANES, nest, treeOf } from './reduce.ts';
import { integerType } from './scalar-integers.ts';
import type { Bound, Statements } from './statements.ts';

/** The body of a loop in lanes: what stands before its first fold, the fold, and what follows. */
interface Folding {
  readonly before: readonly Statement[];
  readonly fold: Reduce;
  readonly after: readonly Statement[];
}

/** Undefined where the fold cannot come first, or its elements are no neighbours along the axis. */
export function foldingOf(axis: Axis, body: readonly Statement[]): Folding | undefined {
  const position = body.findIndex(({ kind }) => kind === 'reduce');
  const fold = body[position];
  if (fold?.kind !== 'reduce' || fold.into.type === 'i1') return undefined;
  const before = body.slice(0, position);
  const defined = new Set<Local>();
  for (const s of before) {
    if (s.kind !== 'let') return undefined;
    defined.add(s.local);
  }
  for (const e of expressionsOf(before)) if (e.kind === 'load' && e.buffer.access !== 'read') return undefined;
  let neighbours = false;
  for (const e of expressionsOf([fold])) {
    if (e.kind === 'local' && defined.has(e.local)) return undefined;
    if (e.kind !== 'load') continue;
    neighbours ||= strideOf(linear(e.index), axis) === 1;
  }
  return neighbours ? { before, fold, after: body.slice(position + 1) } : undefined;
}

const linear = (e: Expression) => linearOf(e, () => undefined);

/** Values of a strip in the stack frame, lane by lane as registers hold them. */
class StripRows {
  readonly #writer: Statements;
  readonly #type: ScalarType;
  readonly #bytes: number;
  /** Of a row: shorter ones lose the rate of reading at their ends, and sixteen long ones do not fit a second-level cache. */
  readonly rowBytes: number;
  readonly #slot: Slot;
  readonly count: number;
  /** Of the axis, in a strip. */
  readonly turns: number;

  constructor(writer: Statements, type: ScalarType, rows: number) {
    this.#writer = writer;
    this.#type = type;
    this.count = rows;
    this.#bytes = laneBitsOf(type) / 8;
    this.rowBytes = writer.schedule.stripBytes;
    this.turns = this.rowBytes / this.#bytes;
    this.#slot = { bytes: rows * this.rowBytes, align: 64 };
  }

  /** A pointer to `offset` bytes in that a counter which starts with the strip can be added to. */
  pointer(start: Register, offset?: Register): Register {
    const { machine: m } = this.#writer;
    const before = m.register('gp');
    const result = m.register('gp');
    m.emit('imul', q(before), q(start), -this.#bytes);
    const place = { kind: 'address', slot: this.#slot, scale: 1, disp: 0, bits: 0 } as const;
    m.emit('lea', q(result), { ...place, index: before });
    if (offset !== undefined) m.emit('add', q(result), q(offset));
    return result;
  }

  at(pointer: Register, axis: Axis, row = 0): Address {
    return at(pointer, row * this.rowBytes, this.#writer.scope.counter(axis), this.#bytes as 4 | 8);
  }

  load(from: Address): Register {
    const { machine: m, values } = this.#writer;
    const lane = laneBitsOf(this.#type);
    if (values.lanes > 1) return values.code.load(lane, from);
    const float = isFloat(this.#type);
    const result = m.register(float ? 'vec' : 'gp');
    if (float) m.emit(lane === 32 ? 'vmovss' : 'vmovsd', view(result, 128), from);
    else if (lane === 64) m.emit('mov', q(result), from);
    else if (integerType(this.#type)?.signed) m.emit('movsxd', q(result), sizedAt(from, 32));
    else m.emit('mov', d(result), from);
    return result;
  }

  store(value: Register, to: Address): void {
    const { machine: m, values } = this.#writer;
    const lane = laneBitsOf(this.#type);
    if (values.lanes > 1) m.emit('vmovups', to, values.code.view(value, lane));
    else if (isFloat(this.#type)) m.emit(lane === 32 ? 'vmovss' : 'vmovsd', to, view(value, 128));
    else m.emit('mov', to, view(value, lane));
  }
}

/** Turns of the axis from `start` on, which is a multiple of every number of lanes, below `end`. */
export function foldInStrips(writer: Statements, axis: Axis, start: Bound, end: Bound, folding: Folding): void {
  const { machine: m, scope, values } = writer;
  const { before, fold, after } = folding;
  const next = nextLoads(axis, fold.axes.slice(-1), [fold]);
  const { type } = fold.into;
  const sum = fold.op === 'add' && isFloat(type);
  const rows = new StripRows(writer, type, sum ? LANES : 1);
  const strip: Axis = { name: `${axis.name}s`, kind: 'serial', extent: axis.extent };
  const level = writer.open(strip, start);
  writer.turns(level, strip, 1, end, () => {
    const first = level.counters.get(strip) as Register;
    const stop = m.register('gp');
    const last = typeof end === 'number' ? values.integers.constant(end) : end;
    m.emit('lea', q(stop), at(first, rows.turns));
    m.emit('cmp', q(stop), q(last));
    m.emit('cmovg', q(stop), q(last));
    const along = (write: () => void) => writer.inLanes(axis, first, stop, write);

    const base = rows.pointer(first);
    along(() => {
      const initial = values.value(sum ? { kind: 'constant', type, value: 0 } : fold.init);
      for (let row = 0; row < rows.count; row++) rows.store(initial, rows.at(base, axis, row));
    });
    const offset = m.register('gp');
    m.emit('mov', d(offset), 0);
    nest(writer, fold.axes, () => {
      const pointer = rows.count === 1 ? base : rows.pointer(first, offset);
      along(() => {
        for (const { buffer, index } of next) m.emit('prefetcht0', sizedAt(scope.address(buffer, index), 8));
        writer.list(fold.body);
        const to = rows.at(pointer, axis);
        rows.store(values.fold(fold.op, type, rows.load(to), values.value(fold.value)), to);
      });
      if (rows.count === 1) return;
      m.emit('add', d(offset), rows.rowBytes);
      m.emit('and', d(offset), rows.count * rows.rowBytes - 1);
    });
    along(() => {
      writer.list(before);
      const folded = sum
        ? values.fold(
            'add',
            type,
            values.value(fold.init),
            treeOf(values, type, (row) => rows.load(rows.at(base, axis, row))),
          )
        : rows.load(rows.at(base, axis));
      writer.bindRegister(fold.into, folded, values.lanes);
      writer.list(after);
    });
    writer.advance(level, strip, rows.turns);
  });
}
