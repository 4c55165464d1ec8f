/**
 * A kernel while it is written: nested lists of statements, and what is known in each. Values of the program are asked for
 * element by element; each is computed once, in the outermost loop in which all that it depends on is there.
 */
import type { Op, Program, Region, Value } from '../../ir/program.ts';
import { asTensor, type Dim, type DimSymbol, maxDim } from '../../ir/types.ts';
import { type ElementType, elementBytes, elementTypes } from '../../numerics/element-types.ts';
import { numbersPerElement } from '../../numerics/host-array.ts';
import { keyOf } from './expression-key.ts';
import { constant, localValue, mapOperands, operandsOf } from './expressions.ts';
import { addIndex, axisIndex, dimIndex, indexConstant, linearIndex, scaleIndex } from './index-arithmetic.ts';
import { costly, KEPT_BYTES, rowBetween } from './kept-rows.ts';
import type { Axis, Buffer, Expression, Local, ScalarElement, ScalarType, Statement } from './language.ts';

/** One element: its number, or real and imaginary part. */
export type Parts = readonly Expression[];
/** Position of an element, one index a dimension. */
export type Index = readonly Expression[];

/** The type of the numbers that make an element. */
export function partElement(element: ElementType): ScalarElement {
  if (element === 'complex<f32>') return 'f32';
  return element === 'complex<f64>' ? 'f64' : element;
}

/** How the rest of the lowering computes one element of what an op makes. */
export type ElementOf = (op: Op, result: number, index: Index, scope: Scope) => Parts;

export interface Use {
  readonly index: Index;
  readonly scope: Scope;
}

/** What all scopes of one kernel share. */
export class Writer {
  readonly program: Program;
  readonly elementOf: ElementOf;
  readonly #buffers = new Map<Value, Buffer>();
  readonly #uses = new Map<Value, Use>();
  readonly homes = new Map<Axis | Local, Scope>();
  /** Of the dimensions that loops run over. */
  readonly symbols = new Set<DimSymbol>();
  readonly #rows = new Map<Value, Buffer>();
  #names = 0;

  constructor(program: Program, elementOf: ElementOf) {
    this.program = program;
    this.elementOf = elementOf;
  }

  /** From here on the value lies in the buffer; several values may share one. */
  place(value: Value, buffer: Buffer): void {
    this.#buffers.set(value, buffer);
  }
  placeOf(value: Value): Buffer | undefined {
    return this.#buffers.get(value);
  }

  /** Where the element of a value was first asked for. */
  firstUse(value: Value): Use | undefined {
    return this.#uses.get(value);
  }
  noteUse(value: Value, use: Use): void {
    if (!this.#uses.has(value)) this.#uses.set(value, use);
  }

  get privates(): readonly Buffer[] {
    return [...this.#rows.values()];
  }
  /** Private memory in which rows of a value are kept. */
  rowOf(value: Value): Buffer | undefined {
    return this.#rows.get(value);
  }
  /** Such memory for so many elements; undefined where that is too much. */
  addRow(value: Value, elements: number): Buffer | undefined {
    const element = partElement(asTensor(value.type).element);
    const row: Buffer = { name: this.name('row'), element, elements, access: 'private' };
    const bytes = [row, ...this.privates].reduce((sum, one) => sum + one.elements * elementBytes(one.element), 0);
    if (bytes > KEPT_BYTES) return undefined;
    this.#rows.set(value, row);
    return row;
  }

  name(prefix: string): string {
    return `${prefix}${this.#names++}`;
  }
}

/** A dimension, or an expression of type index. */
type Extent = Dim | Expression;

function isDim(extent: Extent): extent is Dim {
  return typeof extent === 'number' || !('kind' in extent);
}

export class Scope {
  readonly writer: Writer;
  readonly statements: Statement[];
  readonly #parent: Scope | undefined;
  readonly #depth: number;
  readonly #known = new Map<Value, Map<string, Parts>>();
  /** Values of a region that is computed here: not to be known further out, where it may be computed again. */
  readonly #own: ReadonlySet<Value>;
  /** All of its turns come before whatever is written from now on. */
  #ended = false;

  constructor(writer: Writer, parent?: Scope, statements: Statement[] = [], own: ReadonlySet<Value> = new Set()) {
    this.writer = writer;
    this.#parent = parent;
    this.#depth = parent === undefined ? 0 : parent.#depth + 1;
    this.statements = statements;
    this.#own = own;
  }

  inner(): Scope {
    return new Scope(this.writer, this);
  }

  // ── values ──

  /** The element of a value at an index. */
  value(value: Value, index: Index): Parts {
    const key = index.map(keyOf).join();
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.#parent) {
      const known = scope.#known.get(value)?.get(key);
      if (known !== undefined) return known;
    }
    const parts = this.bind(this.#kept(value, index) ?? this.#compute(value, index));
    this.know(value, index, parts);
    return parts;
  }

  /** The element of an operand at an index. */
  operand(op: Pick<Op, 'operands'>, i: number, index: Index): Parts {
    return this.value(op.operands[i], index);
  }

  know(value: Value, index: Index, parts: Parts): void {
    this.writer.noteUse(value, { index, scope: this });
    let home = this.#homeOf(parts);
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.#parent) {
      if (scope.#own.has(value) && scope.#depth > home.#depth) home = scope;
    }
    const known = home.#known.get(value) ?? new Map<string, Parts>();
    home.#known.set(value, known.set(index.map(keyOf).join(), parts));
  }

  /** What an earlier loop over the same row has computed, where computing it again would take long. */
  #kept(value: Value, index: Index): Parts | undefined {
    const first = this.writer.firstUse(value);
    const { owner } = value;
    if (first === undefined || owner.kind !== 'op' || !costly.has(owner.name)) return undefined;
    if (!first.scope.hasEndedBefore(this)) return undefined;
    const { element, shape } = asTensor(value.type);
    const ended = (axis: Axis) => this.writer.homes.get(axis)?.hasEndedBefore(this) ?? false;
    const dims = rowBetween(first.index, index, shape, ended);
    if (dims === undefined) return undefined;
    const extents = dims.map((d) => shape[d]);
    const at = (where: Index) =>
      linearIndex(
        dims.map((d) => where[d]),
        extents,
      );
    const numbers = numbersPerElement(element);
    let row = this.writer.rowOf(value);
    if (row === undefined) {
      row = this.writer.addRow(
        value,
        extents.reduce<number>((n, dim) => n * maxDim(dim), numbers),
      );
      if (row === undefined) return undefined;
      first.scope.store(row, at(first.index), first.scope.value(value, first.index));
    }
    return this.load(row, at(index), numbers);
  }

  /** Whether the loop that this is in is not one around a place, and all of its turns come before. */
  hasEndedBefore(place: Scope): boolean {
    const around = new Set<Scope>();
    for (let scope: Scope | undefined = place; scope !== undefined; scope = scope.#parent) around.add(scope);
    if (around.has(this)) return false;
    for (let scope: Scope | undefined = this; scope !== undefined && !around.has(scope); scope = scope.#parent) {
      if (!scope.#ended) return false;
    }
    return true;
  }

  #compute(value: Value, index: Index): Parts {
    const buffer = this.writer.placeOf(value);
    if (buffer !== undefined) {
      const { element, shape } = asTensor(value.type);
      return this.load(buffer, linearIndex(index, shape), storedNumbers(buffer, element));
    }
    const { owner } = value;
    if (owner.kind !== 'op') throw new Error('a parameter that lies nowhere is read');
    return this.writer.elementOf(owner, value.index, index, this);
  }

  /** Element `at` of a buffer whose elements are `numbers` numbers. */
  load(buffer: Buffer, at: Expression, numbers: number): Parts {
    return Array.from({ length: numbers }, (_, part) => ({
      kind: 'load',
      type: buffer.element,
      buffer,
      index: addIndex(scaleIndex(at, numbers), indexConstant(part)),
    }));
  }

  /** The results of a region over scalars for these arguments. */
  region(region: Region, args: readonly Parts[]): readonly Parts[] {
    const own = new Set([...region.parameters, ...region.body.flatMap((op) => op.results)]);
    const scope = new Scope(this.writer, this, this.statements, own);
    region.parameters.forEach((value, i) => {
      scope.know(value, [], args[i]);
    });
    return region.results.map((value) => scope.value(value, []));
  }

  // ── names ──

  /**
   * Names for the values, and for what they are made of more than once, each given as far out as what it depends on
   * allows. Indices stay as they are.
   */
  bind(parts: Parts): Parts {
    const uses = new Map<Expression, number>();
    const count = (e: Expression) => {
      const before = uses.get(e) ?? 0;
      uses.set(e, before + 1);
      if (before === 0) operandsOf(e).forEach(count);
    };
    for (const part of parts) {
      count(part);
      count(part);
    }
    const named = new Map<Expression, Expression>();
    const name = (e: Expression): Expression => {
      if (e.kind === 'constant' || e.kind === 'local' || e.type === 'index') return e;
      let result = named.get(e);
      if (result === undefined) {
        result = mapOperands(e, name);
        if ((uses.get(e) ?? 0) > 1) result = this.#homeOf([result]).here(result);
        named.set(e, result);
      }
      return result;
    };
    return parts.map(name);
  }

  /** A name for the value as it is now, at this place: for what is read from memory that the kernel writes. */
  here(e: Expression, prefix = 'v'): Expression {
    const local = this.#local(e.type, prefix);
    this.statements.push({ kind: 'let', local, value: e });
    return localValue(local);
  }

  bindHere(parts: Parts): Parts {
    return parts.map((part) => this.here(part));
  }

  /** The outermost scope that knows these indices: statements for an element at them belong there. */
  homeFor(index: Index): Scope {
    const home = this.#homeOf(index);
    for (let scope: Scope = this; scope !== home && scope.#parent !== undefined; scope = scope.#parent) {
      // What a region computes is computed where the region is.
      if (scope.#own.size > 0) return scope;
    }
    return home;
  }

  variable(init: Expression, prefix = 'x'): Local {
    const local = this.#local(init.type, prefix);
    this.statements.push({ kind: 'let', local, value: init });
    return local;
  }

  variables(init: Parts, prefix?: string): readonly Local[] {
    return init.map((part) => this.variable(part, prefix));
  }

  #local(type: ScalarType, prefix: string): Local {
    const local: Local = { name: this.writer.name(prefix), type };
    this.writer.homes.set(local, this);
    return local;
  }

  set(local: Local, value: Expression): void {
    this.statements.push({ kind: 'set', local, value });
  }

  /** All at once: a value may be what another variable was. */
  setAll(locals: readonly Local[], values: Parts): void {
    const fixed = values.map((value) => (locals.length > 1 && value.kind === 'local' ? this.here(value) : value));
    locals.forEach((local, i) => {
      this.set(local, fixed[i]);
    });
  }

  store(buffer: Buffer, at: Expression, parts: Parts, where?: Expression): void {
    parts.forEach((value, part) => {
      const index = addIndex(scaleIndex(at, parts.length), indexConstant(part));
      const always = where === undefined || (where.kind === 'constant' && where.value === 1);
      this.statements.push({ kind: 'store', buffer, index, value, ...(!always && { where }) });
    });
  }

  #homeOf(parts: Parts): Scope {
    let home = this.#root();
    const visit = (e: Expression) => {
      if (e.kind === 'axis' || e.kind === 'local') {
        const found = this.writer.homes.get(e.kind === 'axis' ? e.axis : e.local);
        if (found !== undefined && found.#depth > home.#depth) home = found;
      }
      operandsOf(e).forEach(visit);
    };
    parts.forEach(visit);
    return home;
  }

  #root(): Scope {
    return this.#parent === undefined ? this : this.#parent.#root();
  }

  // ── control ──

  #axis(kind: Axis['kind'], extent: Extent, prefix: string): Axis {
    if (typeof extent !== 'number' && isDim(extent)) this.writer.symbols.add(extent.sym);
    return { name: this.writer.name(prefix), kind, extent: isDim(extent) ? dimIndex(extent) : extent };
  }

  /** A loop that may change `variables`; extents of 1 are no loop. */
  loop(
    kind: Axis['kind'],
    extent: Extent,
    variables: readonly Local[],
    body: (scope: Scope, i: Expression) => void,
  ): void {
    if (extent === 1) {
      body(this, indexConstant(0));
      return;
    }
    const axis = this.#axis(kind, extent, 'i');
    const inner = this.inner();
    this.writer.homes.set(axis, inner);
    inner.#changing(variables, () => body(inner, axisIndex(axis)));
    this.statements.push({ kind: 'for', axis, body: inner.statements });
    inner.#ended = true;
  }

  /** Nested loops over a shape, the last dimension the innermost. */
  loops(
    kind: Axis['kind'],
    shape: readonly Dim[],
    variables: readonly Local[],
    body: (scope: Scope, index: Index) => void,
  ): void {
    const [first, ...rest] = shape;
    if (first === undefined) {
      body(this, []);
      return;
    }
    this.loop(kind, first, variables, (inner, i) => {
      inner.loops(kind, rest, variables, (scope, index) => body(scope, [i, ...index]));
    });
  }

  if(
    condition: Expression,
    variables: readonly Local[],
    then: (s: Scope) => void,
    otherwise?: (s: Scope) => void,
  ): void {
    const [yes, no] = [this.inner(), this.inner()];
    yes.#changing(variables, () => then(yes));
    if (otherwise !== undefined) no.#changing(variables, () => otherwise(no));
    this.statements.push({ kind: 'if', condition, body: yes.statements, otherwise: no.statements });
  }

  /** `condition` is computed before each turn. */
  while(variables: readonly Local[], condition: (s: Scope) => Expression, body: (s: Scope) => void): void {
    const [before, inner] = [this.inner(), this.inner()];
    let holds: Expression = constant('i1', 0);
    before.#changing(variables, () => {
      holds = condition(before);
    });
    inner.#changing(variables, () => body(inner));
    this.statements.push({ kind: 'while', before: before.statements, condition: holds, body: inner.statements });
  }

  /** A float sum in lanes, or another fold whose order cannot be seen (`language.ts`). */
  reduce(
    op: 'add' | 'and' | 'maximum' | 'minimum' | 'multiply' | 'or' | 'xor',
    shape: readonly Dim[],
    init: Expression,
    value: (scope: Scope, index: Index) => Expression,
  ): Expression {
    const inner = this.inner();
    const axes: Axis[] = [];
    const index = shape.map((dim) => {
      if (dim === 1) return indexConstant(0);
      const axis = this.#axis('serial', dim, 'r');
      this.writer.homes.set(axis, inner);
      axes.push(axis);
      return axisIndex(axis);
    });
    const folded = value(inner, index);
    const into = this.#local(init.type, 'sum');
    this.statements.push({ kind: 'reduce', op, axes, body: inner.statements, value: folded, init, into });
    inner.#ended = true;
    return localValue(into);
  }

  /** While `body` is written, what reads the variables stays in this scope: each turn has other values. */
  #changing(variables: readonly Local[], body: () => void): void {
    const { homes } = this.writer;
    const before = variables.map((local) => homes.get(local));
    for (const local of variables) homes.set(local, this);
    body();
    before.forEach((home, i) => {
      if (home !== undefined) homes.set(variables[i], home);
    });
  }
}

/** Numbers of a buffer that make one element: a kernel that only moves elements may take them as wider words. */
function storedNumbers(buffer: Buffer, element: ElementType): number {
  if (numbersPerElement(element) === 1) return 1;
  return elementTypes[element].bits / elementTypes[buffer.element].bits;
}

/** Symbols of the dimensions of these values. */
export function symbolsOf(values: readonly Value[]): readonly DimSymbol[] {
  const found = new Set<DimSymbol>();
  for (const { type } of values) {
    if (type.kind !== 'tensor') continue;
    for (const dim of type.shape) if (typeof dim !== 'number') found.add(dim.sym);
  }
  return [...found].sort();
}
