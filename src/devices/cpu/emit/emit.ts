/**
 * Kernels of the loop language as x86-64 code. The way through the folder: `statements.ts` and `reduce.ts` write loops,
 * `values.ts` expressions, `scope.ts` addresses and what is computed before a loop, all as instructions over virtual
 * registers (`machine.ts`); `allocate.ts` chooses registers and hands the instructions to the assembler.
 */
import type { Axis, Buffer, Kernel, Statement } from '../../../compiler/kernel/language.ts';
import { statementsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { Assembler } from '../asm/assembler.ts';
import type { Label } from '../asm/operands.ts';
import type { Target } from '../target.ts';
import type { EmittedKernel } from './abi.ts';
import { assembleFunction } from './function.ts';
import { at, d, Machine, q, RAX, RDI, RDX, type Register, RSI } from './machine.ts';
import { ScalarIntegers } from './scalar-integers.ts';
import { Scope } from './scope.ts';
import { type Bound, Statements } from './statements.ts';
import { STREAM_ALIGNMENT, Streams } from './streaming.ts';
import { type Tiling, tilingOf, writeTile } from './tiles.ts';
import { Values } from './values.ts';

/** Elements of a shared vector loop that stay with one thread: a cache line of the smallest type, and a multiple of all lanes. */
const SHARE = 64;

/** @throws IngotError 'UnsupportedOp' for an operation of a type that there is no code for. */
export function emitKernel(kernel: Kernel, { vectorBits, schedule }: Target): EmittedKernel {
  const { loopBits, streamedBytes } = schedule;
  const assembler = new Assembler();
  const machine = new Machine(assembler, vectorBits === 256 ? 256 : loopBits);
  const integers = new ScalarIntegers(machine);
  const scope = new Scope(machine, integers, kernel);
  const values = new Values(machine, scope, integers);
  const writer = new Statements(machine, scope, values, kernel.body, schedule);
  const team = { index: machine.register('gp'), count: machine.register('gp'), end: machine.newLabel('.end') };
  machine.emit('mov', q(scope.args), q(RDI));
  machine.emit('mov', q(team.index), q(RSI));
  machine.emit('mov', q(team.count), q(RDX));
  const write = (): boolean => {
    if (writeShared(kernel.body, writer, integers, team)) return true;
    machine.emit('test', q(team.index), q(team.index));
    machine.emit('jne', team.end);
    writer.list(kernel.body);
    return false;
  };
  const large = ({ access, element, elements }: Buffer) =>
    access === 'write' && elements * elementBytes(element) >= streamedBytes;
  if (kernel.buffers.some(large)) writeStreamed(kernel, writer, new Streams(streamedBytes), team, write);
  const parallel = write();
  machine.bind(team.end);

  const { code, stackBytes } = assembleFunction(assembler, machine);
  return {
    name: kernel.name,
    source: assembler,
    bytes: code.bytes,
    alignment: code.alignment,
    args: [
      ...kernel.buffers.map(({ name }) => ({ kind: 'buffer' as const, name })),
      ...kernel.dims.map((sym) => ({ kind: 'dim' as const, sym })),
    ],
    parallel,
    stackBytes,
    listing: () => code.listing(),
  };
}

interface Team {
  readonly index: Register;
  readonly count: Register;
  /** Of the function. */
  readonly end: Label;
}

/** The kernel with stores past the caches, for where their buffers are aligned; what follows is for where they are not. */
function writeStreamed(kernel: Kernel, writer: Statements, streams: Streams, team: Team, write: () => void): void {
  const { machine: m, scope } = writer;
  const plain = m.newLabel('.plain');
  const items = m.block();
  m.into(items, () => {
    const test = m.block();
    writer.streams = streams;
    write();
    writer.streams = undefined;
    m.emit('sfence');
    m.emit('jmp', team.end);
    m.bind(plain);
    m.into(test, () => {
      for (const buffer of streams.buffers) {
        m.emit('test', d(scope.argument(kernel.buffers.indexOf(buffer))), STREAM_ALIGNMENT - 1);
        m.emit('jne', plain);
      }
    });
  });
  if (streams.buffers.size === 0) items.length = 0;
}

/** Where statements store, those in them included. */
const storedIn = (list: readonly Statement[]): ReadonlySet<Buffer> =>
  new Set([...statementsOf(list)].flatMap((s) => (s.kind === 'store' ? [s.buffer] : [])));

/** Whether each thread may do what stands before the loop that they share: no loop that stores, nothing that the kernel reads or writes again. */
function isForAll(before: readonly Statement[], loop: Statement): boolean {
  const shared = storedIn([loop]);
  return before.every((s) =>
    s.kind === 'store' ? s.buffer.access === 'write' && !shared.has(s.buffer) : storedIn([s]).size === 0,
  );
}

/** What threads run; false if there is no loop that they may share. */
function writeShared(body: readonly Statement[], writer: Statements, integers: ScalarIntegers, team: Team): boolean {
  const last = body.at(-1);
  if (last?.kind !== 'for' || last.axis.kind === 'serial' || !isForAll(body.slice(0, -1), last)) return false;
  writer.list(body.slice(0, -1));
  const axes: Axis[] = [];
  let inner: readonly Statement[] = [last];
  for (;;) {
    const [first] = inner;
    if (inner.length !== 1 || first?.kind !== 'for' || first.axis.kind === 'serial') break;
    if (first.axis.kind === 'vector') {
      if (axes.length > 0) break;
      const [start, end] = shareOf(writer, integers, team, [writer.bound(first.axis.extent)], SHARE);
      writer.vectorLoop(first.axis, start, end, first.body);
      return true;
    }
    axes.push(first.axis);
    inner = first.body;
  }
  const tiling = tilingOf(axes, inner, writer.schedule.tileSide);
  if (tiling !== undefined && writeShareInTiles(writer, integers, team, tiling)) return true;
  const bounds = axes.map((axis) => writer.bound(axis.extent));
  const [start, end] = shareOf(writer, integers, team, bounds, 1);
  const [only] = axes;
  if (axes.length === 1 && only !== undefined) writer.serialLoop(only, start, end, () => writer.list(inner));
  else writeNest(writer, integers, axes, bounds, start, end, () => writer.list(inner));
  return true;
}

/** Threads share tiles. False, and nothing written, where the body cannot run in lanes. */
function writeShareInTiles(writer: Statements, integers: ScalarIntegers, team: Team, tiling: Tiling): boolean {
  return writer.attempt(() => {
    const bounds = [
      ...tiling.outer.map((axis) => writer.bound(axis.extent)),
      ...tiling.sides.map(({ tiles }) => tiles),
    ];
    const [start, end] = shareOf(writer, integers, team, bounds, 1);
    const counters = [...tiling.outer, ...tiling.sides.map(({ counter }) => counter)];
    writeNest(writer, integers, counters, bounds, start, end, () => writeTile(writer, tiling));
  });
}

/** First and last + 1 of this thread's part of a product of extents, in multiples of `unit`. */
function shareOf(
  writer: Statements,
  integers: ScalarIntegers,
  team: Team,
  bounds: readonly Bound[],
  unit: number,
): [Register, Register] {
  const { machine: m } = writer;
  const total = integers.constant(1);
  for (const bound of bounds) m.emit('imul', q(total), q(registerOf(integers, bound)));
  const units = integers.copy(total);
  if (unit > 1) {
    m.emit('add', q(units), unit - 1);
    m.emit('shr', q(units), Math.log2(unit));
  }
  const cut = (index: Register) => {
    const product = integers.copy(units);
    m.emit('imul', q(product), q(index));
    m.emit('mov', q(RAX), q(product));
    m.emit('mov', d(RDX), 0);
    m.emit('div', q(team.count));
    const result = m.register('gp');
    m.emit('mov', q(result), q(RAX));
    if (unit === 1) return result;
    m.emit('shl', q(result), Math.log2(unit));
    m.emit('cmp', q(result), q(total));
    m.emit('cmovg', q(result), q(total));
    return result;
  };
  const next = m.register('gp');
  m.emit('lea', q(next), at(team.index, 1));
  return [cut(team.index), cut(next)];
}

const registerOf = (integers: ScalarIntegers, bound: Bound) =>
  typeof bound === 'number' ? integers.constant(bound) : bound;

/** Several parallel loops as one over their product, whose counters are moved on like those of an odometer. */
function writeNest(
  writer: Statements,
  integers: ScalarIntegers,
  axes: readonly Axis[],
  bounds: readonly Bound[],
  start: Register,
  end: Register,
  write: () => void,
): void {
  const { machine: m, scope } = writer;
  const extents = bounds.map((bound) => registerOf(integers, bound));
  const flat = integers.copy(start);
  const done = m.newLabel();
  // Nothing to divide by if an extent is 0: then the range is empty.
  m.emit('cmp', q(flat), q(end));
  m.emit('jge', done);
  const counters = new Map<Axis, Register>();
  let rest = start;
  for (let i = axes.length - 1; i >= 0; i--) {
    const [axis, extent] = [axes[i] as Axis, extents[i] as Register];
    counters.set(axis, i === 0 ? integers.copy(rest) : integers.divideIndex('remainder', rest, extent));
    if (i > 0) rest = integers.divideIndex('divide', rest, extent);
  }
  const level = scope.newLevel(counters);
  m.into(m.block(true), () =>
    scope.inside(level, () => {
      const top = writer.label('nest');
      m.bind(top);
      write();
      const next = m.newLabel();
      for (let i = axes.length - 1; i >= 0; i--) {
        const counter = counters.get(axes[i] as Axis) as Register;
        m.emit('add', q(counter), 1);
        if (i === 0) break;
        m.emit('cmp', q(counter), q(extents[i] as Register));
        m.emit('jl', next);
        m.emit('mov', d(counter), 0);
      }
      m.bind(next);
      m.emit('add', q(flat), 1);
      m.emit('cmp', q(flat), q(end));
      m.emit('jl', top);
    }),
  );
  m.bind(done);
}
