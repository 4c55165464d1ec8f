/** Statements as code: loops with their counters, stores, folds. A body is written once for each number of lanes. */
import { IngotError } from '../../../base/errors.ts';
import type { Axis, Expression, Local, Statement } from '../../../compiler/kernel/language.ts';
import { statementHead } from '../../../compiler/kernel/print.ts';
import { statementsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import type { Label } from '../asm/operands.ts';
import type { Schedule } from '../schedule.ts';
import { isChain, writeChains } from './chains.ts';
import type { LaneCount } from './lane-code.ts';
import { at, d, type Item, type Machine, q, type Register } from './machine.ts';
import { laneBitsOf, scatterLanes, storeLanes, storeScalar, streamLanes } from './memory.ts';
import { isAlong, moveOf, moveRegisters } from './moves.ts';
import { askFor, type NextLoad, nextRows, nextShortRows } from './next-loads.ts';
import { emitReduce } from './reduce.ts';
import type { Level, Scope } from './scope.ts';
import { isJammed, JAMMED, writeBySquares, writeJammed } from './serial-loops.ts';
import type { Streams } from './streaming.ts';
import { foldInStrips, foldingOf } from './strips.ts';
import { TooWide, type Values } from './values.ts';
import { laneCounts, lanesBelow, masksMemory } from './vector-sets.ts';

/** A bound of a loop: a number known now, or a register. */
export type Bound = number | Register;

/** How a loop in lanes goes: see chains.ts, serial-loops.ts and next-loads.ts. */
interface Pace {
  /** In a turn, as long as there are so many. */
  readonly vectors: number;
  readonly chain?: boolean;
  readonly jammed?: readonly Statement[];
  readonly next: readonly NextLoad[];
}
const plain: Pace = { vectors: 1, next: [] };

export class Statements {
  readonly machine: Machine;
  readonly scope: Scope;
  readonly values: Values;
  readonly schedule: Schedule;
  /** Where the code being written may store past the caches. */
  streams: Streams | undefined;
  /** The locals that a `set` changes. */
  readonly #variables: ReadonlySet<Local>;
  /** Registers of variables. */
  readonly #changing = new Set<Register>();

  constructor(machine: Machine, scope: Scope, values: Values, body: readonly Statement[], schedule: Schedule) {
    this.machine = machine;
    this.scope = scope;
    this.values = values;
    this.schedule = schedule;
    this.#variables = new Set([...statementsOf(body)].flatMap((s) => (s.kind === 'set' ? [s.local] : [])));
  }

  list(statements: readonly Statement[]): void {
    for (const statement of statements) {
      this.machine.comment(statementHead(statement));
      this.#statement(statement);
    }
  }

  #statement(s: Statement): void {
    const { machine: m, values } = this;
    switch (s.kind) {
      case 'let':
        this.define(s.local, s.value);
        return;
      case 'set': {
        const binding = this.scope.binding(s.local);
        if (binding.kind !== 'value') throw new IngotError('InvalidProgram', `${s.local.name} cannot be set`);
        const value = binding.lanes === 1 ? values.scalar(s.value) : values.value(s.value);
        values.assign(s.local.type, binding.register, value);
        return;
      }
      case 'store':
        this.#store(s);
        return;
      case 'for':
        if (s.axis.kind === 'vector') this.vectorLoop(s.axis, 0, this.bound(s.axis.extent), s.body);
        else if (!writeBySquares(this, s))
          this.serialLoop(s.axis, 0, this.bound(s.axis.extent), () => this.list(s.body));
        return;
      case 'reduce':
        emitReduce(this, s);
        return;
      case 'if': {
        const condition = values.scalar(s.condition);
        const end = m.newLabel();
        m.emit('test', d(condition), d(condition));
        m.emit('je', end);
        this.list(s.body);
        if (s.otherwise.length === 0) {
          m.bind(end);
          return;
        }
        const done = m.newLabel();
        m.emit('jmp', done);
        m.bind(end);
        this.list(s.otherwise);
        m.bind(done);
        return;
      }
      case 'while':
        this.#while(s);
        return;
      default:
        s satisfies never;
    }
  }

  /** Binds a local to the value of an expression. */
  define(local: Local, value: Expression): void {
    const { scope, values } = this;
    const mutable = this.#variables.has(local);
    if (local.type === 'index' && !mutable) {
      const linear = scope.linear(value);
      const leaves = linear.terms.every(
        ({ expression: { kind } }) => kind === 'axis' || kind === 'dim' || kind === 'local',
      );
      if (leaves && !linear.terms.some(({ expression: e }) => e.kind === 'local' && this.isVariable(e.local))) {
        scope.bind(local, { kind: 'linear', linear });
        return;
      }
    }
    const one = values.lanes === 1 || (!mutable && !values.varies(value));
    const computed = one ? values.scalar(value) : values.value(value);
    // The register of a variable changes with it, and a variable's own is nobody else's.
    const register = mutable || this.#changing.has(computed) ? values.copy(local.type, computed) : computed;
    this.bindRegister(local, register, one ? 1 : values.lanes);
  }

  bindRegister(local: Local, register: Register, lanes: LaneCount): void {
    const mutable = this.#variables.has(local);
    if (mutable) this.#changing.add(register);
    this.scope.bind(local, { kind: 'value', register, lanes, depth: this.scope.level.depth, mutable });
  }

  isVariable(local: Local): boolean {
    return this.#variables.has(local);
  }

  #store({ buffer, index, value, where }: Statement & { kind: 'store' }): void {
    const { scope, values } = this;
    const { code } = values;
    if (values.lanes === 1) {
      this.#where(where, () => {
        const result = values.scalar(value);
        storeScalar(code, buffer.element, result, scope.address(buffer, scope.linear(index)));
      });
      return;
    }
    const linear = scope.linear(index);
    const stride = values.stride(linear);
    if (stride === 0) throw new TooWide();
    const result = values.value(value);
    const lanesDiffer = where !== undefined && values.varies(where);
    const mask = lanesDiffer ? values.value(where) : undefined;
    const lanesMask = mask && laneBitsOf(buffer.element) === 64 ? code.widenMask(mask) : mask;
    const to = scope.address(buffer, linear);
    if (stride === 1 && where === undefined && code.active === undefined) {
      const bytes = elementBytes(buffer.element) * code.lanes;
      if (this.streams?.take(buffer, linear, bytes, scope.level)) {
        streamLanes(code, buffer.element, result, to);
        return;
      }
    }
    // A jump costs less than a mask does, whose stores take AMD's processors many cycles.
    this.#where(lanesDiffer ? undefined : where, () => {
      const stored =
        stride === 1
          ? storeLanes(code, buffer.element, result, to, lanesMask)
          : scatterLanes(code, buffer.element, result, to, stride, lanesMask);
      if (!stored) throw new TooWide();
    });
  }

  /** Code for where a condition is true, if there is one. */
  #where(condition: Expression | undefined, write: () => void): void {
    if (condition === undefined) {
      write();
      return;
    }
    const { machine: m } = this;
    const end = m.newLabel();
    const isTrue = this.values.scalar(condition);
    m.emit('test', d(isTrue), d(isTrue));
    m.emit('je', end);
    write();
    m.bind(end);
  }

  #while(s: Statement & { kind: 'while' }): void {
    const { machine: m, values, scope } = this;
    const level = scope.newLevel(new Map());
    m.into(m.block(true), () =>
      scope.inside(level, () => {
        const again = m.newLabel();
        const end = m.newLabel();
        m.bind(again);
        this.list(s.before);
        const condition = values.scalar(s.condition);
        m.emit('test', d(condition), d(condition));
        m.emit('je', end);
        this.list(s.body);
        m.emit('jmp', again);
        m.bind(end);
      }),
    );
  }

  bound(extent: Expression): Bound {
    const linear = this.scope.linear(extent);
    return linear.terms.length === 0 ? linear.constant : this.values.scalar(extent);
  }

  /** Counts in the innermost level's counter: a body, then `turns` further, while that leaves it below `end`. */
  turns(level: Level, axis: Axis, turns: number, end: Bound, write: () => void): void {
    const { machine: m, scope } = this;
    const counter = level.counters.get(axis) as Register;
    m.into(m.block(true), () =>
      scope.inside(level, () => {
        const check = m.newLabel();
        const top = this.label(`${axis.name}${turns > 1 ? turns : ''}_${level.depth}`);
        m.emit('jmp', check);
        m.bind(top);
        write();
        m.bind(check);
        if (turns === 1) m.emit('cmp', q(counter), typeof end === 'number' ? end : q(end));
        else if (typeof end === 'number') m.emit('cmp', q(counter), end - turns + 1);
        else {
          const next = m.register('gp');
          m.emit('lea', q(next), at(counter, turns - 1));
          m.emit('cmp', q(next), q(end));
        }
        m.emit('jl', top);
      }),
    );
  }

  /** A label that listings show; no two have one name. */
  label(name: string): Label {
    return this.machine.newLabel(`.${name}_${this.#nextLabel++}`);
  }
  #nextLabel = 0;

  /** Moves the counters on by what a body has done. */
  advance(level: Level, axis: Axis, turns: number): void {
    this.scope.endOfBody(level, turns);
    this.machine.emit('add', q(level.counters.get(axis) as Register), turns);
  }

  /** The level of a loop that starts here. */
  open(axis: Axis, start: Bound): Level {
    const { machine: m, scope } = this;
    const counter = m.register('gp');
    const from = typeof start === 'number' ? undefined : start;
    const level = scope.newLevel(new Map([[axis, counter]]), { axis, ...(from && { start: from }) });
    m.emit('mov', q(counter), from === undefined ? (start as number) : q(from));
    return level;
  }

  serialLoop(axis: Axis, start: Bound, end: Bound, write: () => void): void {
    const level = this.open(axis, start);
    this.turns(level, axis, 1, end, () => {
      write();
      this.advance(level, axis, 1);
    });
  }

  /** Turns of an axis in lanes: `start` is a multiple of every number of lanes, and `end` too if it is not the axis' own. */
  vectorLoop(axis: Axis, start: Bound, end: Bound, body: readonly Statement[]): void {
    const folding = foldingOf(axis, body);
    if (folding !== undefined) foldInStrips(this, axis, start, end, folding);
    else {
      const pace = this.paceOf(axis, body);
      this.inLanes(axis, this.#moved(axis, start, end, body), end, () => this.list(body), pace);
    }
  }

  /** Moves what it can; the first turn that is left. */
  #moved(axis: Axis, start: Bound, end: Bound, body: readonly Statement[]): Bound {
    const { machine, scope } = this;
    const move = moveOf(body);
    if (move === undefined || ![move.load, move.store].every(({ index }) => isAlong(axis, index))) return start;
    const { buffer, index } = move.load;
    const source = () => scope.address(buffer, scope.linear(index));
    return moveRegisters(this, axis, start, end, machine.vectorBits, move, source);
  }

  /**
   * As many lanes as `write` allows, which is called for each number of them; what is left in lanes of which only some are
   * active, or one at a time.
   */
  inLanes(axis: Axis, start: Bound, end: Bound, write: () => void, pace: Pace = plain): void {
    const level = this.open(axis, start);
    const loop = (lanes: LaneCount, vectors = 1) =>
      this.turns(level, axis, lanes * vectors, end, () => {
        this.vectors(axis, lanes, vectors, pace, write);
        this.advance(level, axis, lanes * vectors);
      });
    const lanes = this.widest(level, (lanes) => {
      if (lanes > 1 && pace.vectors > 1) loop(lanes, pace.vectors);
      loop(lanes);
    });
    const extent = this.scope.linear(axis.extent);
    if (lanes === 1 || (extent.terms.length === 0 && extent.constant % lanes === 0)) return;
    const masked = this.rest(level, axis, end, (count) =>
      this.values.along(axis, lanes, write, lanesBelow(this.machine, lanes, count)),
    );
    if (!masked) loop(1);
  }

  /** Of a loop over `axis` that starts here. */
  paceOf(axis: Axis, body: readonly Statement[]): Pace {
    const around = [...this.scope.level.counters.keys()];
    if (isJammed(axis, body)) return { vectors: JAMMED, jammed: body, next: [] };
    const chain = isChain(body);
    const next = chain ? nextRows(axis, around, body) : nextShortRows(axis, around, body);
    const { chainVectors, loopVectors } = this.schedule;
    return { vectors: chain ? chainVectors : Math.max(loopVectors, next.length > 0 ? 2 : 1), chain, next };
  }

  /** The bodies of so many vectors, one behind the other, or side by side where they are chains. */
  vectors(axis: Axis, lanes: LaneCount, count: number, pace: Pace, write: (vector: number) => void): void {
    const { machine, scope, values } = this;
    if (pace.jammed !== undefined && count > 1) {
      writeJammed(this, axis, lanes, count, pace.jammed);
      return;
    }
    askFor(machine, scope, pace.next, lanes * count);
    const bodies = Array.from({ length: count }, (_, i) => () => {
      scope.ahead({ axis, turns: i * lanes }, () =>
        values.along(lanes === 1 ? undefined : axis, lanes, () => write(i)),
      );
    });
    if (pace.chain) writeChains(machine, scope, bodies);
    else for (const body of bodies) body();
  }

  /** What whole vectors have left of a loop, `count` turns, by one body. False, and nothing written, where that cannot be. */
  rest(level: Level, axis: Axis, end: Bound, write: (count: Register) => void): boolean {
    const { machine: m, scope } = this;
    if (!masksMemory(m)) return false;
    return this.attempt(() =>
      scope.inside(level, () => {
        const done = m.newLabel();
        const count = m.register('gp');
        m.emit('mov', q(count), typeof end === 'number' ? end : q(end));
        m.emit('sub', q(count), q(level.counters.get(axis) as Register));
        m.emit('jle', done);
        write(count);
        m.bind(done);
      }),
    );
  }

  /** False, and nothing written, where `write` needs fewer lanes. */
  attempt(write: () => void): boolean {
    const items: Item[] = this.machine.block();
    try {
      this.machine.into(items, write);
      return true;
    } catch (error) {
      if (!(error instanceof TooWide)) throw error;
      items.length = 0;
      return false;
    }
  }

  /** Writes with the most lanes that can be, and says how many. @throws TooWide if `write` does so for one. */
  widest(level: Level, write: (lanes: LaneCount) => void): LaneCount {
    for (const lanes of laneCounts[this.machine.vectorBits]) {
      if (lanes > 1 && this.attempt(() => write(lanes))) return lanes;
      level.inductions.clear();
      level.ends.length = 0;
    }
    write(1);
    return 1;
  }
}
