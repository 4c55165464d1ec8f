/**
 * Where code goes: the loops around the place being written, what is known of axes and locals there, and computations
 * that do not change inside a loop, which are written once before it. Addresses are a pointer computed as far out as
 * possible, plus the counter of the innermost loop.
 */
import { identity } from '../../../compiler/kernel/expression-key.ts';
import type { Axis, Buffer, Expression, Kernel, Local } from '../../../compiler/kernel/language.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { type Ahead, type Linear, linearKey, linearOf, type Term, termsOf } from './index-form.ts';
import type { LaneCount } from './lane-code.ts';
import { type Address, at, type Item, type Machine, q, type Register, type Slot } from './machine.ts';
import type { ScalarIntegers } from './scalar-integers.ts';

/** A loop that is being written; level 0 is the function itself. */
export interface Level {
  readonly depth: number;
  readonly parent?: Level;
  readonly counters: ReadonlyMap<Axis, Register>;
  /** The axis whose counter goes up by one a turn from `start`. */
  readonly axis?: Axis;
  readonly start?: Register;
  /** Code before the loop. */
  readonly before: Item[];
  /** What stands in `before`, by key. */
  readonly cache: Map<string, Register>;
  /** Registers that go up with the counter, by their bytes a turn. */
  readonly inductions: Map<number, Register>;
  /** Ends of the bodies that have been written, with the turns that each counts for. */
  readonly ends: { readonly items: Item[]; readonly turns: number }[];
}

export type Binding =
  | { readonly kind: 'linear'; readonly linear: Linear }
  | {
      readonly kind: 'value';
      readonly register: Register;
      readonly lanes: LaneCount;
      readonly depth: number;
      readonly mutable: boolean;
    };

export class Scope {
  readonly machine: Machine;
  readonly #integers: ScalarIntegers;
  readonly #buffers: ReadonlyMap<Buffer, number>;
  readonly #privates: ReadonlyMap<Buffer, Slot>;
  readonly #dims: ReadonlyMap<string, number>;
  readonly #locals = new Map<Local, Binding>();
  #own: Map<Local, Binding> | undefined;
  readonly args: Register;
  #level: Level;
  #ahead: Ahead | undefined;
  /** The value of an expression of type index that is no sum, in a general register. */
  evaluate: (e: Expression) => Register = () => this.args;

  constructor(machine: Machine, integers: ScalarIntegers, kernel: Kernel) {
    this.machine = machine;
    this.#integers = integers;
    this.#buffers = new Map(kernel.buffers.map((buffer, index) => [buffer, index]));
    this.#privates = new Map(
      kernel.privates.map((buffer) => [buffer, { bytes: buffer.elements * elementBytes(buffer.element), align: 64 }]),
    );
    this.#dims = new Map(kernel.dims.map((sym, index) => [sym, kernel.buffers.length + index]));
    this.args = machine.register('gp');
    this.#level = {
      depth: 0,
      counters: new Map(),
      before: [],
      cache: new Map(),
      inductions: new Map(),
      ends: [],
    };
  }

  get level(): Level {
    return this.#level;
  }

  bind(local: Local, binding: Binding): void {
    (this.#own ?? this.#locals).set(local, binding);
  }

  binding(local: Local): Binding {
    const binding = this.#own?.get(local) ?? this.#locals.get(local);
    if (binding === undefined) throw new Error(`the local ${local.name} is used before its definition`);
    return binding;
  }

  /** Writes code whose locals are defined for it alone: in `own`. */
  withLocals(own: Map<Local, Binding>, write: () => void): void {
    const before = this.#own;
    this.#own = own;
    try {
      write();
    } finally {
      this.#own = before;
    }
  }

  /** Writes code inside of a new loop, whose `before` block stands where the machine is now. */
  newLevel(counters: ReadonlyMap<Axis, Register>, single?: { axis: Axis; start?: Register }): Level {
    return {
      depth: this.#level.depth + 1,
      parent: this.#level,
      counters,
      ...(single && { axis: single.axis }),
      ...(single?.start && { start: single.start }),
      before: this.machine.block(),
      cache: new Map(),
      inductions: new Map(),
      ends: [],
    };
  }

  inside<T>(level: Level, write: () => T): T {
    const before = this.#level;
    this.#level = level;
    try {
      return write();
    } finally {
      this.#level = before;
    }
  }

  linear(e: Expression): Linear {
    const known = (local: Local) => {
      const binding = this.binding(local);
      return binding.kind === 'linear' ? binding.linear : undefined;
    };
    return linearOf(e, known, this.#ahead);
  }

  /** Writes code for a later turn. */
  ahead<T>(ahead: Ahead, write: () => T): T {
    const before = this.#ahead;
    this.#ahead = ahead;
    try {
      return write();
    } finally {
      this.#ahead = before;
    }
  }

  /** The level at which an expression can be computed the farthest out. Loads stay where they are. */
  depthOf(e: Expression): number {
    switch (e.kind) {
      case 'constant':
      case 'dim':
        return 0;
      case 'axis':
        return this.#levelOf(e.axis).depth;
      case 'local': {
        const binding = this.binding(e.local);
        if (binding.kind === 'linear') return this.#linearDepth(binding.linear);
        return binding.mutable ? this.#level.depth : binding.depth;
      }
      case 'load':
        return this.#level.depth;
      case 'unary':
      case 'is_finite':
      case 'convert':
      case 'bitcast':
        return this.depthOf(e.x);
      case 'binary':
      case 'compare':
        return Math.max(this.depthOf(e.a), this.depthOf(e.b));
      case 'select':
        return Math.max(this.depthOf(e.condition), this.depthOf(e.a), this.depthOf(e.b));
      default:
        return e satisfies never;
    }
  }

  #linearDepth(linear: Linear): number {
    return linear.terms.reduce((depth, { expression }) => Math.max(depth, this.depthOf(expression)), 0);
  }

  #levelOf(axis: Axis): Level {
    for (let level: Level | undefined = this.#level; level !== undefined; level = level.parent) {
      if (level.counters.has(axis)) return level;
    }
    throw new Error(`the axis ${axis.name} is used outside of its loop`);
  }

  counter(axis: Axis): Register {
    return this.#levelOf(axis).counters.get(axis) as Register;
  }

  /** What `write` computes, at a level that may lie further out than this one; once for each key. */
  at(depth: number, key: string, write: () => Register): Register {
    if (depth >= this.#level.depth) return write();
    let child = this.#level;
    while (child.depth > depth + 1) child = child.parent as Level;
    const known = child.cache.get(key);
    if (known !== undefined) return known;
    const register = this.machine.into(child.before, () => this.inside(child.parent as Level, write));
    child.cache.set(key, register);
    return register;
  }

  /** The sum in a general register, which must not be changed. */
  sum(linear: Linear): Register {
    const [term] = linear.terms;
    if (term === undefined) return this.#integers.constant(linear.constant);
    if (linear.terms.length === 1 && linear.constant === 0 && term.coefficient === 1) return this.#term(term);
    const depth = this.#linearDepth(linear);
    return this.at(depth, linearKey(linear), () => {
      const below = (one: Term) => this.depthOf(one.expression) < depth;
      const lower = termsOf(linear, below);
      const own = linear.terms.filter((one) => !below(one));
      let result: Register | undefined = lower.terms.length > 0 ? this.sum(lower) : undefined;
      for (const one of own) result = this.#addScaled(result, this.#term(one), one.coefficient);
      return this.#addConstant(result as Register, linear.constant);
    });
  }

  #term({ expression: e }: Term): Register {
    if (e.kind === 'axis') return this.counter(e.axis);
    if (e.kind === 'dim') {
      return this.at(0, e.sym, () => this.argument(this.#dims.get(e.sym) as number));
    }
    return this.evaluate(e);
  }

  argument(index: number): Register {
    const result = this.machine.register('gp');
    this.machine.emit('mov', q(result), at(this.args, 8 * index));
    return result;
  }

  #addScaled(sum: Register | undefined, x: Register, factor: number): Register {
    const m = this.machine;
    if (sum === undefined && factor === 1) return x;
    const result = m.register('gp');
    if (sum !== undefined && (factor === 1 || factor === 2 || factor === 4 || factor === 8)) {
      m.emit('lea', q(result), at(sum, 0, x, factor));
      return result;
    }
    if (Math.abs(factor) < 2 ** 31) m.emit('imul', q(result), q(x), factor);
    else {
      m.emit('mov', q(result), q(this.#integers.constant(factor)));
      m.emit('imul', q(result), q(x));
    }
    if (sum !== undefined) m.emit('add', q(result), q(sum));
    return result;
  }

  #addConstant(x: Register, constant: number): Register {
    if (constant === 0) return x;
    const m = this.machine;
    const result = m.register('gp');
    if (Math.abs(constant) < 2 ** 31) {
      m.emit('lea', q(result), at(x, constant));
      return result;
    }
    m.emit('mov', q(result), q(this.#integers.constant(constant)));
    m.emit('add', q(result), q(x));
    return result;
  }

  /** The address of an element. */
  address(buffer: Buffer, index: Linear): Address {
    const size = elementBytes(buffer.element);
    const { axis } = this.#level;
    const moving = index.terms.find(({ expression }) => expression.kind === 'axis' && expression.axis === axis);
    let base = this.#pointer(
      buffer,
      size,
      termsOf(index, (term) => term !== moving),
    );
    let disp = index.constant * size;
    if (Math.abs(disp) >= 2 ** 30) {
      base = this.#addConstant(base, disp);
      disp = 0;
    }
    if (moving === undefined || axis === undefined) return at(base, disp);
    const step = moving.coefficient * size;
    if (step === 1 || step === 2 || step === 4 || step === 8) return at(base, disp, this.counter(axis), step);
    return at(base, disp, this.#induction(step));
  }

  #pointer(buffer: Buffer, size: number, offset: Linear): Register {
    const depth = this.#linearDepth(offset);
    return this.at(depth, `p${identity(buffer)}:${linearKey(offset)}`, () => {
      if (offset.terms.length === 0) return this.#start(buffer);
      const below = (one: Term) => this.depthOf(one.expression) < depth;
      let pointer: Register = this.#pointer(buffer, size, termsOf(offset, below));
      for (const one of offset.terms) {
        if (!below(one)) pointer = this.#addScaled(pointer, this.#term(one), one.coefficient * size);
      }
      return pointer;
    });
  }

  #start(buffer: Buffer): Register {
    const slot = this.#privates.get(buffer);
    if (slot === undefined) return this.argument(this.#buffers.get(buffer) as number);
    const result = this.machine.register('gp');
    this.machine.emit('lea', q(result), { kind: 'address', slot, scale: 1, disp: 0, bits: 0 });
    return result;
  }

  /** A register that is `step` times the counter of the innermost loop. */
  #induction(step: number): Register {
    const level = this.#level;
    const known = level.inductions.get(step);
    if (known !== undefined) return known;
    const m = this.machine;
    const register = m.register('gp');
    m.into(level.before, () => {
      if (level.start === undefined) m.emit('mov', q(register), 0);
      else m.emit('mov', q(register), q(this.#addScaled(undefined, level.start, step)));
    });
    level.inductions.set(step, register);
    for (const end of level.ends) this.#bump(end.items, register, step * end.turns);
    return register;
  }

  #bump(items: Item[], register: Register, bytes: number): void {
    this.machine.into(items, () => {
      if (Math.abs(bytes) < 2 ** 31) this.machine.emit('add', q(register), bytes);
      else this.machine.emit('add', q(register), q(this.#integers.constant(bytes)));
    });
  }

  /** The end of a body that stands for `turns` of the loop. Written once the body is. */
  endOfBody(level: Level, turns: number): void {
    const items = this.machine.block();
    for (const [step, register] of level.inductions) this.#bump(items, register, step * turns);
    level.ends.push({ items, turns });
  }
}
