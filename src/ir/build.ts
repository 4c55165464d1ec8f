/**
 * Builds programs op by op, with result types inferred by the op's row. A `Builder` appends to one region; the
 * `ProgramBuilder` behind it owns the functions.
 */
import { IngotError } from '../base/errors.ts';
import type { ElementType } from '../numerics/element-types.ts';
import type { BinaryOp, ComparisonDirection, OpAttributes, OpName, UnaryOp } from './attributes.ts';
import { literal } from './literal.ts';
import { ops } from './ops/table.ts';
import type { Func, Literal, Op, OpOf, Parameter, Program, Region, Value } from './program.ts';
import { asTensor, type Dim, sameShape, type TensorType, type Type, tensor } from './types.ts';

export interface OpOptions {
  readonly regions?: readonly Region[];
  /** Result types that the writer states: needed where the op's row cannot infer them, checked where it can. */
  readonly types?: readonly Type[];
  readonly location?: string;
}

/** One op, its results typed and verified. @throws IngotError 'InvalidProgram'. */
export function createOp<N extends OpName>(
  name: N,
  operands: readonly Value[],
  attributes: OpAttributes[N],
  { regions = [], types, location }: OpOptions = {},
): OpOf<N> {
  const site = { name, operands, attributes, regions, ...(types !== undefined && { declared: types }) };
  const inferred = ops[name].infer(site);
  const results: Value[] = [];
  const op: OpOf<N> = { kind: 'op', name, operands, attributes, regions, results, ...(location && { location }) };
  inferred.forEach((type, index) => {
    results.push({ type, owner: op as Op, index });
  });
  return op;
}

/** A region that is being filled: parameters exist before the body does. */
export function createRegion(
  parameterTypes: readonly Type[],
  fill: (parameters: readonly Value[]) => { body: readonly Op[]; results: readonly Value[] },
): Region {
  const parameters: Value[] = [];
  const region: { -readonly [K in keyof Region]: Region[K] } = { kind: 'region', parameters, body: [], results: [] };
  parameterTypes.forEach((type, index) => {
    parameters.push({ type, owner: region, index });
  });
  const { body, results } = fill(parameters);
  region.body = body;
  region.results = results;
  return region;
}

export function createFunc(
  name: string,
  parameterTypes: readonly Type[],
  fill: (parameters: readonly Value[]) => { body: readonly Op[]; results: readonly Value[] },
): Func {
  const func = createRegion(parameterTypes, fill) as { name?: string } & Region;
  func.name = name;
  return func as Func;
}

export class ProgramBuilder {
  readonly #functions: Map<string, Func>;
  readonly #keys = new Map<string, Func>();

  /** Starts with the functions of a program that is being rewritten. */
  constructor(functions: ReadonlyMap<string, Func> = new Map()) {
    this.#functions = new Map(functions);
  }

  get functions(): ReadonlyMap<string, Func> {
    return this.#functions;
  }

  /** A function to call. @throws IngotError 'InvalidProgram' if the name is taken. */
  define(
    name: string,
    parameterTypes: readonly Type[],
    body: (b: Builder, ...parameters: Value[]) => readonly Value[],
  ): Func {
    if (this.#functions.has(name)) throw new IngotError('InvalidProgram', `function ${name} is defined twice`);
    const func = createFunc(name, parameterTypes, (parameters) => this.#fill(parameters, body));
    this.#functions.set(name, func);
    return func;
  }

  /** The function made before for the same key, or a new one under a name that begins with `base`. */
  defineOnce(
    key: string,
    base: string,
    parameterTypes: readonly Type[],
    body: (b: Builder, ...parameters: Value[]) => readonly Value[],
  ): Func {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    let name = base;
    for (let i = 1; this.#functions.has(name); i++) name = `${base}_${i}`;
    const func = this.define(name, parameterTypes, body);
    this.#keys.set(key, func);
    return func;
  }

  /**
   * The program. `body` gets the parameters by name and returns named results; a result named in `aliases` is the
   * memory of the state parameter given there.
   */
  program<const P extends readonly Parameter[]>(
    parameters: P,
    body: (b: Builder, values: { readonly [K in P[number]['name']]: Value }) => Readonly<Record<string, Value>>,
    aliases: Readonly<Record<string, P[number]['name']>> = {},
  ): Program {
    let named: Readonly<Record<string, Value>> = {};
    const main = createFunc(
      'main',
      parameters.map((parameter) => parameter.type),
      (values) =>
        this.#fill(values, (b) => {
          const byName: Record<string, Value> = {};
          parameters.forEach((parameter, i) => {
            byName[parameter.name] = values[i];
          });
          named = body(b, byName as { readonly [K in P[number]['name']]: Value });
          return Object.values(named);
        }),
    );
    const results = Object.entries(named).map(([name, value]) => ({ name, type: value.type }));
    return {
      main,
      functions: this.#functions,
      parameters,
      results,
      aliases: Object.entries(aliases).map(([result, parameter]) => ({
        result: results.findIndex(({ name }) => name === result),
        parameter: parameters.findIndex(({ name }) => name === parameter),
      })),
    };
  }

  #fill(parameters: readonly Value[], body: (b: Builder, ...parameters: Value[]) => readonly Value[]) {
    const b = new Builder(this);
    const results = body(b, ...parameters);
    return { body: b.body, results };
  }
}

/** Dimensions of `dot`: pairs of lhs and rhs dimension. */
export interface DotPairs {
  readonly batch?: readonly (readonly [number, number])[];
  readonly contract: readonly (readonly [number, number])[];
  /** Element type of the result; that of the operands if absent. */
  readonly element?: ElementType;
}

export class Builder {
  readonly program: ProgramBuilder;
  readonly #body: Op[] = [];

  constructor(program: ProgramBuilder = new ProgramBuilder()) {
    this.program = program;
  }

  get body(): readonly Op[] {
    return this.#body;
  }

  /** Appends any op; the methods below are the same with fewer words. */
  op<N extends OpName>(
    name: N,
    operands: readonly Value[],
    attributes: OpAttributes[N],
    options?: OpOptions,
  ): readonly Value[] {
    const op = createOp(name, operands, attributes, options);
    this.#body.push(op as Op);
    return op.results;
  }

  /** Appends a copy of an op with other operands of the same types. */
  copy<N extends OpName>(op: OpOf<N>, operands: readonly Value[]): readonly Value[] {
    const results: Value[] = [];
    const copied: OpOf<N> = { ...op, operands, results };
    for (const { type, index } of op.results) results.push({ type, owner: copied as Op, index });
    this.#body.push(copied as Op);
    return results;
  }

  #one<N extends OpName>(name: N, operands: readonly Value[], attributes: OpAttributes[N], options?: OpOptions): Value {
    return this.op(name, operands, attributes, options)[0];
  }

  // ── constants ──

  /** `values` in row-major order; a single one fills the tensor. */
  constant(type: TensorType, values: ArrayLike<number | bigint | boolean>): Value {
    return this.literal(literal(type, values));
  }

  literal(value: Literal): Value {
    return this.#one('constant', [], { value });
  }

  scalar(element: ElementType, value: number | bigint | boolean): Value {
    return this.constant(tensor(element), [value]);
  }

  full(element: ElementType, shape: readonly Dim[], value: number | bigint | boolean): Value {
    return this.constant(tensor(element, shape), [value]);
  }

  iota(element: ElementType, shape: readonly Dim[], dimension: number): Value {
    return this.#one('iota', [], { iota_dimension: dimension }, { types: [tensor(element, shape)] });
  }

  // ── elementwise ──

  unary(name: UnaryOp, x: Value): Value {
    return this.#one(name, [x], {} as OpAttributes[UnaryOp]);
  }
  binary(name: BinaryOp, x: Value, y: Value): Value {
    return this.#one(name, [x, y], {} as OpAttributes[BinaryOp]);
  }
  add(x: Value, y: Value): Value {
    return this.binary('add', x, y);
  }
  subtract(x: Value, y: Value): Value {
    return this.binary('subtract', x, y);
  }
  multiply(x: Value, y: Value): Value {
    return this.binary('multiply', x, y);
  }
  divide(x: Value, y: Value): Value {
    return this.binary('divide', x, y);
  }
  maximum(x: Value, y: Value): Value {
    return this.binary('maximum', x, y);
  }
  minimum(x: Value, y: Value): Value {
    return this.binary('minimum', x, y);
  }
  and(x: Value, y: Value): Value {
    return this.binary('and', x, y);
  }
  or(x: Value, y: Value): Value {
    return this.binary('or', x, y);
  }
  not(x: Value): Value {
    return this.unary('not', x);
  }
  negate(x: Value): Value {
    return this.unary('negate', x);
  }
  exponential(x: Value): Value {
    return this.unary('exponential', x);
  }
  compare(direction: ComparisonDirection, x: Value, y: Value): Value {
    return this.#one('compare', [x, y], { comparison_direction: direction });
  }
  select(predicate: Value, onTrue: Value, onFalse: Value): Value {
    return this.#one('select', [predicate, onTrue, onFalse], {});
  }
  clamp(low: Value, x: Value, high: Value): Value {
    return this.#one('clamp', [low, x, high], {});
  }
  /** No op where the element type is right already. */
  convert(x: Value, element: ElementType): Value {
    const type = asTensor(x.type);
    if (type.element === element) return x;
    return this.#one('convert', [x], {}, { types: [tensor(element, type.shape)] });
  }
  bitcastConvert(x: Value, type: TensorType): Value {
    return this.#one('bitcast_convert', [x], {}, { types: [type] });
  }

  // ── shape ──

  /** No op where the shape is right already. */
  reshape(x: Value, shape: readonly Dim[]): Value {
    const type = asTensor(x.type);
    if (sameShape(type.shape, shape)) return x;
    return this.#one('reshape', [x], {}, { types: [tensor(type.element, shape)] });
  }
  transpose(x: Value, permutation: readonly number[]): Value {
    return this.#one('transpose', [x], { permutation });
  }
  /** Operand dimension i becomes dimension `dims[i]` of `shape`; no op where nothing changes. */
  broadcast(x: Value, shape: readonly Dim[], dims: readonly number[] = []): Value {
    const type = asTensor(x.type);
    if (sameShape(type.shape, shape) && dims.every((dim, i) => dim === i)) return x;
    return this.#one('broadcast_in_dim', [x], { broadcast_dimensions: dims }, { types: [tensor(type.element, shape)] });
  }
  /** Along one dimension; every other is taken whole. */
  slice(x: Value, dimension: number, start: number, limit: number, stride = 1): Value {
    const { shape } = asTensor(x.type);
    return this.#one('slice', [x], {
      start_indices: shape.map((_, i) => (i === dimension ? start : 0)),
      limit_indices: shape.map((dim, i) => (i === dimension ? limit : dim)),
      strides: shape.map((_, i) => (i === dimension ? stride : 1)),
    });
  }
  concatenate(parts: readonly Value[], dimension: number): Value {
    return parts.length === 1 ? parts[0] : this.#one('concatenate', parts, { dimension });
  }
  /** Rows of `table[N, ...]` at `ids`: shape of `ids` followed by `table`'s without its first. Out of range clamps. */
  take(table: Value, ids: Value): Value {
    const { shape } = asTensor(table.type);
    const rank = asTensor(ids.type).shape.length;
    return this.#one('gather', [table, ids], {
      offset_dims: shape.slice(1).map((_, i) => rank + i),
      collapsed_slice_dims: [0],
      operand_batching_dims: [],
      start_indices_batching_dims: [],
      start_index_map: [0],
      index_vector_dim: rank,
      slice_sizes: [1, ...shape.slice(1)],
      indices_are_sorted: false,
    });
  }
  /** `table[N, ...]` with row `ids[i]` replaced by `rows[i, ...]`; ids out of range are dropped, later rows win, unless no two are for one place. */
  put(table: Value, ids: Value, rows: Value, { unique = false } = {}): Value {
    return this.#scatterRows(table, ids, rows, unique, (_, _old, update) => [update]);
  }
  /** `table[N, ...]` with `rows[i, ...]` added to row `ids[i]`, one after another; ids out of range are dropped. */
  accumulate(table: Value, ids: Value, rows: Value): Value {
    return this.#scatterRows(table, ids, rows, false, (b, old, update) => [b.add(old, update)]);
  }
  #scatterRows(
    table: Value,
    ids: Value,
    rows: Value,
    unique: boolean,
    combine: (b: Builder, old: Value, update: Value) => readonly Value[],
  ): Value {
    const { element, shape } = asTensor(table.type);
    const region = this.region([tensor(element), tensor(element)], combine);
    return this.#one(
      'scatter',
      [table, ids, rows],
      {
        update_window_dims: shape.slice(1).map((_, i) => i + 1),
        inserted_window_dims: [0],
        input_batching_dims: [],
        scatter_indices_batching_dims: [],
        scatter_dims_to_operand_dims: [0],
        index_vector_dim: 1,
        indices_are_sorted: false,
        unique_indices: unique,
      },
      { regions: [region] },
    );
  }

  // ── products and reductions ──

  dot(lhs: Value, rhs: Value, { batch = [], contract, element }: DotPairs): Value {
    const attributes = {
      lhs_batching_dimensions: batch.map(([l]) => l),
      rhs_batching_dimensions: batch.map(([, r]) => r),
      lhs_contracting_dimensions: contract.map(([l]) => l),
      rhs_contracting_dimensions: contract.map(([, r]) => r),
    };
    if (element === undefined) return this.#one('dot_general', [lhs, rhs], attributes);
    const { shape } = asTensor(createOp('dot_general', [lhs, rhs], attributes).results[0].type);
    return this.#one('dot_general', [lhs, rhs], attributes, { types: [tensor(element, shape)] });
  }
  /** Folds `dimensions` away with a binary op, from `init`. */
  reduce(name: BinaryOp, x: Value, init: number | boolean, dimensions: readonly number[]): Value {
    const { element } = asTensor(x.type);
    const region = this.region([tensor(element), tensor(element)], (b, l, r) => [b.binary(name, l, r)]);
    return this.#one('reduce', [x, this.scalar(element, init)], { dimensions }, { regions: [region] });
  }

  // ── control ──

  region(types: readonly Type[], body: (b: Builder, ...parameters: Value[]) => readonly Value[]): Region {
    return createRegion(types, (parameters) => {
      const b = new Builder(this.program);
      const results = body(b, ...parameters);
      return { body: b.body, results };
    });
  }
  while(
    carried: readonly Value[],
    condition: (b: Builder, ...values: Value[]) => Value,
    body: (b: Builder, ...values: Value[]) => readonly Value[],
  ): readonly Value[] {
    const types = carried.map((value) => value.type);
    const regions = [this.region(types, (b, ...values) => [condition(b, ...values)]), this.region(types, body)];
    return this.op('while', carried, {}, { regions });
  }
  if(
    predicate: Value,
    onTrue: (b: Builder) => readonly Value[],
    onFalse: (b: Builder) => readonly Value[],
  ): readonly Value[] {
    return this.op('if', [predicate], {}, { regions: [this.region([], onTrue), this.region([], onFalse)] });
  }
  call(func: Func, operands: readonly Value[]): readonly Value[] {
    return this.op('call', operands, { callee: func.name }, { types: func.results.map((value) => value.type) });
  }
}
