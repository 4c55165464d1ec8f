/**
 * Loops over two axes in tiles, where elements lie side by side along one axis in memory that is read and along the other in
 * memory that is written: transposes, and whatever is computed with them. A tile is read along the one, transposed in
 * registers into the stack frame, and the body takes it from there. Lines of the cache are read and written whole, and once,
 * whatever lies between rows.
 */
import type { Axis, Expression, ScalarElement, Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { type Linear, linearOf } from './index-form.ts';
import type { LaneBits } from './lane-code.ts';
import { type Address, at, q, type Register, type Slot, sizedAt, view } from './machine.ts';
import { laneBitsOf, loadingOf, valuesOfBytes } from './memory.ts';
import type { Statements } from './statements.ts';
import { transposed } from './transposed.ts';
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
    const step = strideAlong(index, lanes);
    const side = axes.find((axis) => strideAlong(index, axis) === 1);
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

const strideAlong = ({ terms }: Linear, axis: Axis): number =>
  terms.find(({ expression: e }) => e.kind === 'axis' && e.axis === axis)?.coefficient ?? 0;

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
    const slot: Slot = { bytes: (lanes.turns * read.turns * laneBitsOf(load.type)) / 8, align: 64 };
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
    const packed = new Map(
      tiles.map(({ load, slot }) => {
        const lane = laneBitsOf(load.type);
        const pointer = m.register('gp');
        m.emit('lea', q(pointer), inSlot(slot, first, lane));
        const element = () => {
          const from = at(pointer, 0, scope.counter(lanes.axis), (lane / 8) as 4 | 8);
          return valuesOfBytes(values.code, load.type, values.code.load(lane, from));
        };
        return [load, element];
      }),
    );
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

const inSlot = (slot: Slot, index: Register, lane: LaneBits): Address => ({
  ...{ kind: 'address', slot, index, scale: (lane / 8) as 4 | 8, disp: 0, bits: 0 },
});

/** Squares of as many elements each way as a register of 256 bits has lanes: from rows along `read` to rows along `lanes`. */
function packTile(writer: Statements, load: Load, slot: Slot, lanes: Span, read: Span): void {
  const { machine: m, scope } = writer;
  const lane = laneBitsOf(load.type);
  const rowBytes = (lanes.turns * lane) / 8;
  const side = 256 / lane;
  const half = side / 2;
  const index = scope.linear(load.index);
  const step = strideAlong(index, lanes.axis);
  const element = (row: number, column: number) =>
    scope.address(load.buffer, { ...index, constant: index.constant + row * step + column });
  const rows = writer.open(lanes.axis, lanes.start);
  writer.turns(rows, lanes.axis, side, lanes.end, () => {
    const to = m.register('gp');
    m.emit('mov', q(to), q(scope.counter(lanes.axis)));
    m.emit('sub', q(to), q(lanes.start));
    m.emit('lea', q(to), inSlot(slot, to, lane));
    const columns = writer.open(read.axis, read.start);
    writer.turns(columns, read.axis, side, read.end, () => {
      // Of the tile after this one, whose rows no prefetch of the processor foresees.
      for (let i = 0; i < side; i++) m.emit('prefetcht0', sizedAt(element(i, read.turns), 8));
      for (const first of [0, half]) {
        const quads = Array.from({ length: half }, (_, i) =>
          halves(writer, load.type, element(i, first), element(i + half, first)),
        );
        transposed(m, quads).forEach((column, i) => {
          m.emit('vmovups', at(to, (first + i) * rowBytes), view(column, 256));
        });
      }
      m.emit('add', q(to), side * rowBytes);
      writer.advance(columns, read.axis, side);
    });
    writer.advance(rows, lanes.axis, side);
  });
}

/** 128 bits of lanes from each of two places. */
function halves({ machine: m }: Statements, type: ScalarElement, low: Address, high: Address): Register {
  const load = loadingOf(type);
  const part = (from: Address) => {
    const x = m.register('vec');
    m.emit(load, view(x, 128), from);
    return view(x, 128);
  };
  const x = part(low);
  m.emit('vinsertf128', view(x.register, 256), view(x.register, 256), load === 'vmovups' ? high : part(high), 1);
  return x.register;
}
