/**
 * Loops in lanes around serial ones, as products have: each lane adds along its own row or column, in the order that the language
 * says. Where neighbours are read along the lanes, several vectors go through the serial loop side by side, since one addition
 * waits for the one before ("unroll and jam": Callahan, Carr and Kennedy, "Improving register allocation for subscripted
 * variables", 1990). Where they are read along the serial loop, squares of them are transposed in registers.
 */
import type { Axis, Expression, Local, Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { linearOf, strideOf } from './index-form.ts';
import type { LaneCount } from './lane-code.ts';
import type { Register } from './machine.ts';
import { askFor, nextShortRows } from './next-loads.ts';
import type { Binding } from './scope.ts';
import type { Statements } from './statements.ts';
import { squareColumns } from './transposed.ts';
import { TooWide } from './values.ts';

/** Vectors side by side: an addition takes three or four cycles, two begin in each, and all sums stay in registers. */
export const JAMMED = 8;

type Load = Extract<Expression, { kind: 'load' }>;
type Loop = Extract<Statement, { kind: 'for' }>;

const isSimple = (s: Statement): boolean =>
  s.kind === 'let' ||
  s.kind === 'set' ||
  s.kind === 'store' ||
  (s.kind === 'for' && s.axis.kind === 'serial' && s.body.every(isSimple));

function loadsOf(body: readonly Statement[]): readonly Load[] {
  return [...expressionsOf(body)].flatMap((e) => (e.kind === 'load' ? [e] : []));
}

/** Whether the body of a loop in lanes has serial loops that read neighbours, and nothing that cannot go side by side. */
export function isJammed(axis: Axis, body: readonly Statement[]): boolean {
  if (!body.every(isSimple) || !loadsOf(body).every(({ buffer }) => buffer.access === 'read')) return false;
  const strides = loadsOf(body.filter(({ kind }) => kind === 'for')).map(({ index }) =>
    strideOf(
      linearOf(index, () => undefined),
      axis,
    ),
  );
  return strides.includes(1) && strides.every((stride) => stride === 0 || stride === 1);
}

/** The bodies of so many vectors: what stands between two serial loops of one after the other, then the loop of all. */
export function writeJammed(
  writer: Statements,
  axis: Axis,
  lanes: LaneCount,
  count: number,
  body: readonly Statement[],
): void {
  const { machine, scope, values } = writer;
  const locals = Array.from({ length: count }, () => new Map<Local, Binding>());
  /** What each vector has for itself. */
  const owned = new Set<Local>();
  const along = (write: () => void) => values.along(axis, lanes, write);
  const isShared = (s: Statement): boolean => {
    if (s.kind !== 'let') return false;
    const needs = [...expressionsOf([s])].some((e) => e.kind === 'local' && owned.has(e.local));
    const shared = !needs && !writer.isVariable(s.local) && !values.varies(s.value);
    if (!shared) owned.add(s.local);
    return shared;
  };
  const write = (list: readonly Statement[]): void => {
    const loop = list.findIndex(({ kind }) => kind === 'for');
    const before = loop < 0 ? list : list.slice(0, loop);
    const own: Statement[] = [];
    along(() => {
      for (const s of before) {
        if (isShared(s)) writer.list([s]);
        else own.push(s);
      }
    });
    locals.forEach((map, vector) => {
      scope.withLocals(map, () => scope.ahead({ axis, turns: vector * lanes }, () => along(() => writer.list(own))));
    });
    const s = list[loop];
    if (s?.kind !== 'for') return;
    const next = nextShortRows(axis, [s.axis], s.body, count * lanes);
    writer.serialLoop(s.axis, 0, writer.bound(s.axis.extent), () => {
      askFor(machine, scope, next, count * lanes);
      write(s.body);
    });
    write(list.slice(loop + 1));
  };
  write(body);
}

/** Elements each way of a square of 32-bit lanes. */
const SIDE = 8;

/** An innermost serial loop by squares; false, and nothing written, where it reads no neighbours that lie across the lanes. @throws TooWide */
export function writeBySquares(writer: Statements, { axis, body }: Loop): boolean {
  const { machine: m, scope, values } = writer;
  const lanesAxis = values.axis;
  const innermost = body.every((s) => isSimple(s) && s.kind !== 'for');
  if (lanesAxis === undefined || values.code.active !== undefined || !innermost) return false;
  const crossed = loadsOf(body).filter(({ buffer, index, type }) => {
    const linear = linearOf(index, () => undefined);
    const across = strideOf(linear, lanesAxis);
    const plain = linear.terms.every(({ expression: { kind } }) => kind === 'axis' || kind === 'dim');
    return (
      plain &&
      across !== 0 &&
      across !== 1 &&
      strideOf(linear, axis) === 1 &&
      buffer.access === 'read' &&
      elementBytes(type) === 4
    );
  });
  if (crossed.length === 0) return false;
  if (values.lanes > SIDE) throw new TooWide();
  if (values.lanes < SIDE) return false;
  const end = writer.bound(axis.extent);
  const level = writer.open(axis, 0);
  writer.turns(level, axis, SIDE, end, () => {
    const columns = crossed.map((load) => {
      const index = scope.linear(load.index);
      const step = strideOf(index, lanesAxis);
      const registers: Register[] = [];
      squareColumns(
        m,
        4,
        (row, column) => scope.address(load.buffer, { ...index, constant: index.constant + row * step + column }),
        (column, register) => {
          registers[column] = register;
        },
      );
      return { load, registers };
    });
    for (let turn = 0; turn < SIDE; turn++) {
      const packed = new Map(columns.map(({ load, registers }) => [load, () => registers[turn] as Register]));
      scope.ahead({ axis, turns: turn }, () => values.packing(packed, () => writer.list(body)));
    }
    writer.advance(level, axis, SIDE);
  });
  writer.turns(level, axis, 1, end, () => {
    writer.list(body);
    writer.advance(level, axis, 1);
  });
  return true;
}
