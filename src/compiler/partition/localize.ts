/**
 * Makes one rank's program: op by op, forwards, from how operands lie. What an op cannot use as it lies is moved (`mover.ts`);
 * sums of parts are put off as long as ops pass them on (`parts.ts`).
 */
import { IngotError } from '../../base/errors.ts';
import { type Composite, emit } from '../../composites/composite.ts';
import type { Attribute } from '../../ir/attributes.ts';
import { Builder, createFunc, createRegion, ProgramBuilder } from '../../ir/build.ts';
import type { Func, Op, OpOf, Program, Region, Value } from '../../ir/program.ts';
import { copyBody } from '../../ir/rewrite.ts';
import { isConstraint } from '../../ir/sharding.ts';
import type { ShardingRule } from '../../ir/sharding-rule.ts';
import { asTensor } from '../../ir/types.ts';
import { callee } from '../../ir/walk.ts';
import { chooseFactors } from './choose-factors.ts';
import { Mover } from './mover.ts';
import { Parts, type Passed } from './parts.ts';
import type { Chosen } from './rules/row.ts';
import { ownRows } from './rules/shape.ts';
import { emitLocal, knownComposite, ruleOf } from './rules/table.ts';
import { type Local, Scope } from './scope.ts';
import { type Layout, layoutKey, type Partial, type Place, splitsOf, wholeSplits } from './split.ts';
import { opsOf } from './ties.ts';

type Splits = Layout['splits'];

/** A function of one rank, and how its results lie. */
interface LocalFunc {
  readonly func: Func;
  readonly results: readonly Layout[];
}

/** What one rank has made of functions, to be used again where the same is wanted of all their values. */
export class LocalFunctions {
  readonly program: Program;
  readonly place: Place;
  readonly builder: ProgramBuilder;
  readonly made = new Map<string, LocalFunc>();
  readonly parts = new Parts();
  readonly #values = new Map<Func, readonly Value[]>();

  constructor(program: Program, place: Place) {
    this.program = program;
    this.place = place;
    // With the functions of the whole program their names are taken.
    this.builder = new ProgramBuilder(program.functions);
  }

  /** Equal only for functions in which the same is wanted. */
  key(func: Func, wanted: (value: Value) => Splits): string {
    let values = this.#values.get(func);
    if (values === undefined) {
      values = [...func.parameters, ...[...opsOf(func)].flatMap(valuesOf)];
      this.#values.set(func, values);
    }
    return `${func.name} ${values.map((value) => layoutKey({ splits: wanted(value) })).join(' ')}`;
  }
}

function valuesOf(op: Op): readonly Value[] {
  return [...op.results, ...op.regions.flatMap(({ parameters }) => parameters)];
}

export class Localizer {
  readonly #shared: LocalFunctions;
  readonly #program: Program;
  readonly #place: Place;
  readonly #builder: ProgramBuilder;
  /** How values are wanted to lie; nothing is wanted of those inside of decompositions. */
  readonly #wanted: (value: Value) => Splits;
  readonly #functions = new Map<Func, LocalFunc>();
  readonly #keys = new Map<Func, string>();
  readonly #parts: Parts;
  readonly #mover: Mover;

  constructor(shared: LocalFunctions, wanted: (value: Value) => Splits) {
    this.#shared = shared;
    this.#program = shared.program;
    this.#place = shared.place;
    this.#builder = shared.builder;
    this.#parts = shared.parts;
    this.#mover = new Mover(shared.place, shared.parts);
    this.#wanted = wanted;
  }

  /** `results`: how they have to lie; as they come if absent. */
  func(func: Func, results?: readonly (Splits | undefined)[]): LocalFunc {
    const known = this.#functions.get(func);
    if (known !== undefined) return known;
    const key = this.#key(func);
    const before = this.#shared.made.get(key);
    if (before !== undefined) {
      for (const each of this.#called(func)) this.func(each);
      this.#functions.set(func, before);
      return before;
    }
    this.#parts.see(func);
    const layouts: Layout[] = [];
    const types = func.parameters.map((value) =>
      value.type.kind === 'tensor' ? this.#place.localType(value.type, { splits: this.#wanted(value) }) : value.type,
    );
    const made = createFunc(func.name, types, (parameters) => {
      const scope = new Scope(new Builder(this.#builder));
      func.parameters.forEach((value, i) => {
        scope.set(value, { value: parameters[i], layout: { splits: this.#wanted(value) }, origin: value });
      });
      const locals = this.#body(func, scope);
      const values = locals.map((local, i) => {
        const splits = results?.[i] ?? local.layout.splits;
        layouts.push({ splits });
        return this.#mover.move(scope, local, splits);
      });
      return { body: scope.b.body, results: values };
    });
    const local = { func: made, results: layouts };
    this.#functions.set(func, local);
    this.#shared.made.set(key, local);
    return local;
  }

  #called(func: Func): ReadonlySet<Func> {
    return new Set([...opsOf(func)].flatMap((op) => (op.name === 'call' ? [this.#callee(op)] : [])));
  }

  /** Equal only for functions that become the same, with those that they call. */
  #key(func: Func): string {
    const known = this.#keys.get(func);
    if (known !== undefined) return known;
    const called = [...this.#called(func)].map((each) => this.#key(each));
    const key = [this.#shared.key(func, this.#wanted), ...called].join('\n');
    this.#keys.set(func, key);
    return key;
  }

  #callee(op: OpOf<'call' | 'composite'>): Func {
    const func = callee(this.#program, op as Op);
    if (func !== undefined) return func;
    const name = 'callee' in op.attributes ? op.attributes.callee : op.attributes.decomposition;
    throw new IngotError('InvalidProgram', `there is no function ${name}`, { op: op.name });
  }

  /** All that were made, decompositions included. */
  get functions(): ReadonlyMap<string, Func> {
    const own = [...this.#functions.values()].map(({ func }) => [func.name, func] as const);
    const before = this.#program.functions;
    const decompositions = [...this.#builder.functions].filter(([name, func]) => before.get(name) !== func);
    return new Map([...own, ...decompositions]);
  }

  /** The region's results, after its ops have been made in the scope. */
  #body(region: Region, scope: Scope): readonly Local[] {
    for (const op of region.body) {
      const locals = this.#op(op, scope);
      op.results.forEach((value, i) => {
        scope.set(value, { ...locals[i], origin: value });
      });
    }
    return region.results.map((value) => scope.get(value));
  }

  #op(op: Op, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    switch (op.name) {
      case 'call':
        return this.#call(op, scope);
      case 'if':
      case 'case':
        return this.#branches(op, scope);
      case 'while':
        return this.#while(op, scope);
      case 'custom_call':
        if (isConstraint(op)) {
          const splits = this.#wanted(op.results[0]);
          return [{ value: this.#mover.move(scope, scope.get(op.operands[0]), splits), layout: { splits } }];
        }
        return this.#plain(op, { factors: [] }, scope);
      case 'composite':
        return this.#composite(op, scope);
      default:
        return this.#plain(op, ruleOf(op), scope);
    }
  }

  // ── ops that compute ──

  #plain(op: Op, rule: ShardingRule, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const chosen = this.#choose(op, rule, scope);
    const { operands: passed, partial } = this.#passed(op, rule, chosen, scope);
    const layouts = this.#layouts(op, chosen, partial);
    // Before anything depends on the rank: all move the same.
    const operands = this.#mover.operands(op, chosen, scope, passed);
    const sum = this.#addOnce(op, passed, partial, operands);
    if (sum !== undefined) return [{ value: sum, layout: layouts[0] }];
    const values = emitLocal({
      ...{ op, operands, chosen, place: this.#place, b: scope.b },
      types: op.results.map(({ type }, i) => (type.kind === 'tensor' ? this.#place.localType(type, layouts[i]) : type)),
      regions: op.regions.map((region) => copyRegion(region, this.#builder)),
    });
    return values.map((value, i) => ({ value, layout: layouts[i] }));
  }

  #choose(op: Op, rule: ShardingRule, scope: Scope): readonly Chosen[] {
    const own = op.operands.map((value) => scope.get(value).layout.splits);
    return chooseFactors(op, rule, own, op.results.map(this.#wanted));
  }

  #passed(op: Op, rule: ShardingRule, chosen: readonly Chosen[], scope: Scope): Passed {
    const layouts = op.operands.map((value) => scope.get(value).layout);
    return this.#parts.passed(op, rule, chosen, layouts);
  }

  #layouts(op: Op, chosen: readonly Chosen[], passed: Partial | undefined): readonly Layout[] {
    const folded = chosen.filter(({ factor }) => factor.fold !== undefined);
    const axes = [
      ...folded.flatMap(({ operands }) => operands.find((split) => split !== undefined)?.axes ?? []),
      ...(passed?.axes ?? []),
    ];
    const by = folded.at(0)?.factor.fold ?? passed?.by;
    return op.results.map((value, i) => ({
      splits: splitsOf(value, (d) => chosen.find(({ factor }) => factor.results[i] === d)?.results[i]),
      ...(by !== undefined && { partial: { axes, by } }),
    }));
  }

  /** A sum of parts and what every rank has: one rank adds that. */
  #addOnce(
    op: Op,
    passed: readonly number[],
    partial: Partial | undefined,
    operands: readonly Value[],
  ): Value | undefined {
    if (op.name !== 'add' || partial === undefined || passed.length !== 1) return undefined;
    return this.#place.index(partial.axes) === 0 ? undefined : operands[passed[0]];
  }

  // ── composites and calls ──

  #composite(op: OpOf<'composite'>, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const known = knownComposite(op as Op);
    const rule = ruleOf(op as Op);
    if (known === undefined) return this.#inline(op, scope);
    const chosen = this.#choose(op as Op, rule, scope);
    if (chosen.some(({ factor }) => factor.inline)) return this.#inline(op, scope);
    const { operands: passed, partial } = this.#passed(op as Op, rule, chosen, scope);
    const layouts = this.#layouts(op as Op, chosen, partial);
    const operands = this.#mover.operands(op as Op, chosen, scope, passed);
    const values = this.#emitComposite(known, op, rule, chosen, operands, scope.b);
    return values.map((value, i) => ({ value, layout: layouts[i] }));
  }

  #emitComposite(
    known: NonNullable<ReturnType<typeof knownComposite>>,
    op: OpOf<'composite'>,
    { addend }: ShardingRule,
    chosen: readonly Chosen[],
    operands: readonly Value[],
    b: Builder,
  ): readonly Value[] {
    // One table for all names: the row and its attributes agree by the name.
    const composite = known as unknown as Composite<{ readonly [key: string]: Attribute }>;
    const attributes = op.attributes.composite_attributes;
    const folded = chosen.find(({ factor }) => factor.fold !== undefined);
    const split = folded?.operands.find((each) => each !== undefined);
    if (folded === undefined || split === undefined) return emit(b, composite, operands, attributes);
    const { index } = folded.factor;
    if (index !== undefined) {
      const from = folded.operands.indexOf(split);
      const dim = folded.factor.operands[from] ?? 0;
      const all = Number(asTensor(op.operands[from].type).shape[dim]);
      const [range] = this.#place.ranges(split);
      const { shifted, inside } = ownRows(b, operands[index], range, all);
      const rows = operands.map((value, i) => (i === index ? shifted : value));
      return emit(b, composite, rows, attributes).map((value) => {
        const { element, shape } = asTensor(value.type);
        const leading = asTensor(inside.type).shape.map((_, d) => d);
        return b.select(b.broadcast(inside, shape, leading), value, b.full(element, shape, 0));
      });
    }
    if (addend === undefined || this.#place.index(split.axes) === 0) return emit(b, composite, operands, attributes);
    const others = operands.filter((_, i) => i !== addend.operand);
    return emit(b, composite, others, addend.without);
  }

  /** The decomposition in the place of the composite, its ops split one by one. */
  #inline(op: OpOf<'composite'>, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const body = this.#callee(op);
    this.#parts.see(body);
    const inner = new Scope(scope.b, scope);
    body.parameters.forEach((value, i) => {
      inner.set(value, { ...scope.get(op.operands[i]), origin: value });
    });
    return this.#body(body, inner);
  }

  #call(op: OpOf<'call'>, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const called = this.#callee(op);
    const { func, results } = this.func(called);
    const operands = op.operands.map((value, i) =>
      this.#mover.move(scope, scope.get(value), this.#wanted(called.parameters[i])),
    );
    const types = func.results.map(({ type }) => type);
    const values = scope.b.op('call', operands, op.attributes, {
      types,
      ...(op.location && { location: op.location }),
    });
    return values.map((value, i) => ({ value, layout: results[i] }));
  }

  // ── control ──

  #branches(op: OpOf<'if' | 'case'>, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const predicate = this.#mover.whole(scope, op.operands[0]);
    const inner = op.regions.map((region) => {
      const own = new Scope(new Builder(this.#builder), scope);
      return { own, locals: this.#body(region, own) };
    });
    // As the first branch has them that has them split.
    const layouts = op.results.map((value, i): Layout => {
      const all = inner.map(({ locals }) => locals[i].layout.splits);
      return {
        splits: all.find((splits) => splits.some((split) => split !== undefined)) ?? all[0] ?? wholeSplits(value),
      };
    });
    const regions = inner.map(({ own, locals }) =>
      createRegion([], () => {
        const results = locals.map((local, i) => this.#mover.move(own, local, layouts[i].splits));
        return { body: own.b.body, results };
      }),
    );
    const values = scope.b.op(op.name, [predicate], {}, { regions });
    return values.map((value, i) => ({ value, layout: layouts[i] }));
  }

  #while(op: OpOf<'while'>, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const [condition, body] = op.regions;
    let carried = op.operands.map((value, i): Splits => {
      const wanted = this.#wanted(body.parameters[i]);
      return wanted.some((split) => split !== undefined) ? wanted : scope.get(value).layout.splits;
    });
    // What a turn splits is split from the start, if a turn then leaves it so.
    for (let turn = 0; turn < op.operands.length; turn++) {
      const trial = this.#enter(body, carried, new Scope(new Builder(this.#builder), scope));
      const next = trial.map(({ layout: { splits } }, i) =>
        carried[i].every((split) => split === undefined) ? splits : carried[i],
      );
      const same = next.every((splits, i) => layoutKey({ splits }) === layoutKey({ splits: carried[i] }));
      carried = next;
      if (same) break;
    }
    const operands = op.operands.map((value, i) => this.#mover.move(scope, scope.get(value), carried[i]));
    const types = operands.map(({ type }) => type);
    const region = (from: Region, wanted: readonly Splits[]) =>
      createRegion(types, (parameters) => {
        const own = new Scope(new Builder(this.#builder), scope);
        const locals = this.#enter(from, carried, own, parameters);
        const results = locals.map((local, i) => this.#mover.move(own, local, wanted[i]));
        return { body: own.b.body, results };
      });
    const regions = [region(condition, [[]]), region(body, carried)];
    const values = scope.b.op('while', operands, {}, { regions });
    return values.map((value, i) => ({ value, layout: { splits: carried[i] } }));
  }

  /** A region with parameters that lie so; `parameters` of its own for a trial. */
  #enter(region: Region, carried: readonly Splits[], scope: Scope, parameters?: readonly Value[]): readonly Local[] {
    region.parameters.forEach((origin, i) => {
      const layout = { splits: carried[i] };
      const type = origin.type.kind === 'tensor' ? this.#place.localType(origin.type, layout) : origin.type;
      const value = parameters?.[i] ?? { type, owner: region, index: i };
      scope.set(origin, { value, layout, origin });
    });
    return this.#body(region, scope);
  }
}

function copyRegion(region: Region, program: ProgramBuilder): Region {
  return createRegion(
    region.parameters.map(({ type }) => type),
    (parameters) => {
      const b = new Builder(program);
      const results = copyBody(region, b, new Map(region.parameters.map((value, i) => [value, parameters[i]])));
      return { body: b.body, results };
    },
  );
}
