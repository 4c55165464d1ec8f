/**
 * Loops over two axes in tiles, where elements lie side by side along one axis in memory that is read and along the other in
 * memory that is written: transposes, and whatever is computed with them. A tile is read along the one, transposed in
 * registers into the stack frame, and the body takes it from there. Lines of the cache are read and written whole, and once,
 * whatever lies between rows.
 */
import type { Axis, Expression, Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { linearOf, strideOf } from './index-form.ts';
import { type Address, at, type Machine, q, type Register, type Slot, sizedAt, view } from './machine.ts';
import { loadLanes } from './memory.ts';
import { isAlong, moveOf, moveRegisters } from './moves.ts';
import type { Statements } from './statements.ts';
import { type ElementAt, halves, squareColumns, transposed } from './transposed.ts';
import { TooWide } from './values.ts';

/** What sides are multiples of: all numbers of lanes. */
const UNIT = 16;

type Load = Extract<Expression, { kind: 'load' }>;

interface Side {
  readonly axis: Axis;
  readonly extent: number;
  /** Of the axis, in a tile. */
  readonly turns: number;
  readonly tiles: number;
  /** Counts tiles, which loops over the axis itself lie in. */
  readonly counter: Axis;
}

export interface Tiling {
  /** Axes around the tiles. */
  readonly outer: readonly Axis[];
  /** The side of the lanes, and the one that is read along: the next tile is beside the last where it is read. */
  readonly sides: readonly [lanes: Side, read: Side];
  readonly loads: readonly Load[];
  readonly body: readonly Statement[];
}

/** Of loops around a loop in lanes; `most`: elements of a side. Undefined where there is nothing to transpose, or too little. */
export function tilingOf(axes: readonly Axis[], inner: readonly Statement[], most: number): Tiling | undefined {
  const [loop] = inner;
  if (inner.length !== 1 || loop?.kind !== 'for' || loop.axis.kind !== 'vector') return undefined;
  const { axis: lanes, body } = loop;
  // The last tiles repeat what others have done, so that must not tell.
  if (!body.every((s) => s.kind === 'let' || (s.kind === 'store' && s.buffer.access === 'write'))) return undefined;
  const loads: Load[] = [];
  let read: Axis | undefined;
  for (const e of expressionsOf(body)) {
    if (e.kind !== 'load') continue;
    if (e.buffer.access !== 'read') return undefined;
    const index = linearOf(e.index, () => undefined);
    const step = strideOf(index, lanes);
    const side = axes.find((axis) => strideOf(index, axis) === 1);
    const plain = index.terms.every(({ expression: { kind } }) => kind === 'axis' || kind === 'dim');
    if (step === 0 || step === 1 || side === undefined || !plain || (read ?? side) !== side) continue;
    read = side;
    loads.push(e);
  }
  if (read === undefined) return undefined;
  const [first, second] = [sideOf(lanes, most), sideOf(read, most)];
  if (first === undefined || second === undefined) return undefined;
  return { outer: axes.filter((axis) => axis !== read), sides: [first, second], loads, body };
}

/** Undefined where the axis is short, or its length known to a run only. */
function sideOf(axis: Axis, most: number): Side | undefined {
  const { constant: extent, terms } = linearOf(axis.extent, () => undefined);
  if (terms.length > 0 || extent < UNIT) return undefined;
  const turns = Math.min(most, extent - (extent % UNIT));
  // Its turns are those of the axis, not more of them.
  const counter: Axis = {
    name: `${axis.name}t`,
    kind: 'parallel',
    extent: { kind: 'constant', type: 'index', value: 1 },
  };
  return { axis, extent, turns, tiles: Math.ceil(extent / turns), counter };
}

/** Where a tile begins and ends along one of its sides. */
interface Span {
  readonly axis: Axis;
  readonly turns: number;
  readonly start: Register;
  readonly end: Register;
}

/** The tile that the counters of its sides say; the last of a side ends with it. @throws TooWide */
export function writeTile(writer: Statements, tiling: Tiling): void {
  const { machine: m, scope, values } = writer;
  const spans = tiling.sides.map(({ axis, extent, turns, counter }): Span => {
    const [start, last, end] = [m.register('gp'), m.register('gp'), m.register('gp')];
    m.emit('imul', q(start), q(scope.counter(counter)), turns);
    m.emit('mov', q(last), extent - turns);
    m.emit('cmp', q(start), q(last));
    m.emit('cmovg', q(start), q(last));
    m.emit('lea', q(end), at(start, turns));
    return { axis, turns, start, end };
  });
  const [lanes, read] = spans as [Span, Span];
  const tiles = tiling.loads.map((load) => {
    const slot: Slot = { bytes: lanes.turns * read.turns * elementBytes(load.type), align: 64 };
    packTile(writer, load, slot, lanes, read);
    return { load, slot };
  });

  const row = writer.open(read.axis, read.start);
  writer.turns(row, read.axis, 1, read.end, () => {
    // Of the element where the lanes' axis is 0.
    const first = m.register('gp');
    m.emit('mov', q(first), q(scope.counter(read.axis)));
    m.emit('sub', q(first), q(read.start));
    m.emit('imul', q(first), q(first), lanes.turns);
    m.emit('sub', q(first), q(lanes.start));
    const sources = new Map(
      tiles.map(({ load, slot }) => {
        const bytes = elementBytes(load.type) as 1 | 2 | 4 | 8;
        const pointer = m.register('gp');
        m.emit('lea', q(pointer), inSlot(slot, first, bytes));
        return [load, () => at(pointer, 0, scope.counter(lanes.axis), bytes)];
      }),
    );
    const move = moveOf(tiling.body);
    const source = move && isAlong(lanes.axis, move.store.index) ? sources.get(move.load) : undefined;
    if (move !== undefined && source !== undefined) {
      const bits = (lanes.turns * elementBytes(move.load.type)) % 32 === 0 ? 256 : 128;
      moveRegisters(writer, lanes.axis, lanes.start, lanes.end, bits, move, source);
      writer.advance(row, read.axis, 1);
      return;
    }
    const packed = new Map([...sources].map(([load, from]) => [load, () => loadLanes(values.code, load.type, from())]));
    const level = writer.open(lanes.axis, lanes.start);
    writer.widest(level, (count) => {
      if (count === 1) throw new TooWide();
      writer.turns(level, lanes.axis, count, lanes.end, () => {
        values.packing(packed, () => values.along(lanes.axis, count, () => writer.list(tiling.body)));
        writer.advance(level, lanes.axis, count);
      });
    });
    writer.advance(row, read.axis, 1);
  });
}

const inSlot = (slot: Slot, index: Register, scale: Address['scale']): Address => ({
  ...{ kind: 'address', slot, index, scale, disp: 0, bits: 0 },
});

/** Squares of as many elements each way as a register of 256 bits holds, 16 of bytes: from rows along `read` to rows along `lanes`. */
function packTile(writer: Statements, load: Load, slot: Slot, lanes: Span, read: Span): void {
  const { machine: m, scope } = writer;
  const bytes = elementBytes(load.type) as 1 | 2 | 4 | 8;
  const rowBytes = lanes.turns * bytes;
  const side = Math.min(UNIT, 32 / bytes);
  const index = scope.linear(load.index);
  const step = strideOf(index, lanes.axis);
  const element = (row: number, column: number) =>
    scope.address(load.buffer, { ...index, constant: index.constant + row * step + column });
  const rows = writer.open(lanes.axis, lanes.start);
  writer.turns(rows, lanes.axis, side, lanes.end, () => {
    const to = m.register('gp');
    m.emit('mov', q(to), q(scope.counter(lanes.axis)));
    m.emit('sub', q(to), q(lanes.start));
    m.emit('lea', q(to), inSlot(slot, to, bytes));
    const columns = writer.open(read.axis, read.start);
    writer.turns(columns, read.axis, side, read.end, () => {
      // Of the tile after this one, whose rows no prefetch of the processor foresees.
      for (let i = 0; i < side; i++) m.emit('prefetcht0', sizedAt(element(i, read.turns), 8));
      const place = (column: number) => at(to, column * rowBytes);
      if (bytes === 1) transposeBytes(m, element, place);
      else squareColumns(m, bytes, element, (column, x) => m.emit('vmovups', place(column), view(x, 256)));
      m.emit('add', q(to), side * rowBytes);
      writer.advance(columns, read.axis, side);
    });
    writer.advance(rows, lanes.axis, side);
  });
}

/** Half of the columns in each half of a register. */
function transposeBytes(m: Machine, element: ElementAt, place: (column: number) => Address): void {
  const rows = Array.from({ length: 8 }, (_, i) => {
    const pair = halves(m, element(2 * i, 0), element(2 * i + 1, 0));
    m.emit('vpermq', view(pair, 256), view(pair, 256), 0b11_01_10_00);
    return pair;
  });
  transposed(m, rows, 8).forEach((column, i) => {
    m.emit('vmovups', place(i), view(column, 128));
    m.emit('vextractf128', place(i + 8), view(column, 256), 1);
  });
}
