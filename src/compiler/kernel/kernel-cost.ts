/**
 * What a kernel of the loop language asks of hardware: bytes of the elements that its statements name, each once for reading
 * and once for writing, and arithmetic. Loops whose turns only data knows (`while`, serial loops with extents that are
 * computed) count as one turn, and both sides of a branch count, as does what a condition may leave out.
 */
import type { DimValues } from '../../ir/types.ts';
import { type ElementType, elementBytes } from '../../numerics/element-types.ts';
import type { Cost } from '../cost.ts';
import { operandsOf } from './expressions.ts';
import type { Axis, Buffer, Expression, Kernel, Local, Statement } from './language.ts';

/** With these values of its symbolic dimensions. `apart`: buffers in no memory that counts. */
export function kernelCost(kernel: Kernel, dims: DimValues, apart: ReadonlySet<Buffer> = new Set()): Cost {
  const counter = new Counter(dims, apart);
  counter.list(kernel.body, []);
  return counter.cost();
}

/** A loop around a statement. */
interface Loop {
  readonly axis: Axis;
  readonly turns: number;
}

type Axes = ReadonlySet<Axis>;
const none: Axes = new Set();

const turnsOf = (loops: readonly Loop[]) => loops.reduce((product, { turns }) => product * turns, 1);

class Counter {
  readonly #dims: DimValues;
  readonly #apart: ReadonlySet<Buffer>;
  readonly #operations = new Map<ElementType, number>();
  readonly #loads = new Map<Buffer, number>();
  readonly #stores = new Map<Buffer, number>();
  /** Axes that a local depends on. */
  readonly #locals = new Map<Local, Axes>();

  constructor(dims: DimValues, apart: ReadonlySet<Buffer>) {
    this.#dims = dims;
    this.#apart = apart;
  }

  cost(): Cost {
    let bytes = 0;
    for (const named of [this.#loads, this.#stores]) {
      for (const [buffer, count] of named) {
        const { element, elements, access } = buffer;
        if (access === 'scratch' || access === 'private' || this.#apart.has(buffer)) continue;
        bytes += Math.min(count, elements) * elementBytes(element);
      }
    }
    const byType = [...this.#operations].toSorted(([, a], [, b]) => b - a);
    const operations = byType.reduce((sum, [, count]) => sum + count, 0);
    return { bytes, operations, element: byType[0]?.[0] ?? 'f32' };
  }

  list(statements: readonly Statement[], loops: readonly Loop[]): void {
    for (const statement of statements) this.#statement(statement, loops);
  }

  #statement(statement: Statement, loops: readonly Loop[]): void {
    switch (statement.kind) {
      case 'let':
        this.#locals.set(statement.local, this.#expression(statement.value, loops));
        return;
      case 'set': {
        // What it was before may have come from any turn.
        this.#expression(statement.value, loops);
        this.#locals.set(statement.local, new Set(loops.map(({ axis }) => axis)));
        return;
      }
      case 'store': {
        const { buffer, index, value, where } = statement;
        this.#expression(value, loops);
        if (where !== undefined) this.#expression(where, loops);
        this.#access(this.#stores, buffer, this.#expression(index, loops), loops);
        return;
      }
      case 'for':
        this.list(statement.body, [...loops, this.#loop(statement.axis, loops)]);
        return;
      case 'reduce': {
        const inner = [...loops, ...statement.axes.map((axis) => this.#loop(axis, loops))];
        this.list(statement.body, inner);
        const value = this.#expression(statement.value, inner);
        const init = this.#expression(statement.init, loops);
        this.#count(statement.into.type, inner);
        const outside = [...value].filter((axis) => !statement.axes.includes(axis));
        this.#locals.set(statement.into, new Set([...outside, ...init]));
        return;
      }
      case 'if':
        this.#expression(statement.condition, loops);
        this.list(statement.body, loops);
        this.list(statement.otherwise, loops);
        return;
      case 'while':
        this.list(statement.before, loops);
        this.#expression(statement.condition, loops);
        this.list(statement.body, loops);
        return;
      default:
        statement satisfies never;
    }
  }

  #loop(axis: Axis, loops: readonly Loop[]): Loop {
    this.#expression(axis.extent, loops);
    return { axis, turns: indexValue(axis.extent, this.#dims) ?? 1 };
  }

  /** Counts what it computes and loads; the axes that it depends on. */
  #expression(e: Expression, loops: readonly Loop[]): Axes {
    if (e.kind === 'axis') return new Set([e.axis]);
    if (e.kind === 'local') return this.#locals.get(e.local) ?? none;
    const axes = new Set(operandsOf(e).flatMap((operand) => [...this.#expression(operand, loops)]));
    if (e.kind === 'load') this.#access(this.#loads, e.buffer, axes, loops);
    const computes = e.kind === 'unary' || e.kind === 'binary' || e.kind === 'compare' || e.kind === 'select';
    if (computes) this.#count(e.kind === 'compare' ? e.a.type : e.type, loops);
    return axes;
  }

  #count(type: Expression['type'], loops: readonly Loop[]): void {
    if (type !== 'index') this.#operations.set(type, (this.#operations.get(type) ?? 0) + turnsOf(loops));
  }

  #access(named: Map<Buffer, number>, buffer: Buffer, axes: Axes, loops: readonly Loop[]): void {
    const count = turnsOf(loops.filter(({ axis }) => axes.has(axis)));
    named.set(buffer, (named.get(buffer) ?? 0) + count);
  }
}

/** undefined where it depends on more than dimensions. */
function indexValue(e: Expression, dims: DimValues): number | undefined {
  if (e.kind === 'constant') return Number(e.value);
  if (e.kind === 'dim') return dims[e.sym];
  if (e.kind !== 'binary') return undefined;
  const [a, b] = [indexValue(e.a, dims), indexValue(e.b, dims)];
  if (a === undefined || b === undefined) return undefined;
  switch (e.op) {
    case 'add':
      return a + b;
    case 'subtract':
      return a - b;
    case 'multiply':
      return a * b;
    case 'divide':
      return Math.floor(a / b);
    case 'remainder':
      return a % b;
    case 'minimum':
      return Math.min(a, b);
    case 'maximum':
      return Math.max(a, b);
    default:
      return undefined;
  }
}
