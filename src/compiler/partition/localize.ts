/**
 * Makes one rank's program: op by op, forwards, from how operands lie. What an op cannot use as it lies is moved
 * (`reshard.ts`); sums of parts are put off as long as ops pass them on. A value that is moved once is not moved again.
 */
import { IngotError } from '../../base/errors.ts';
import { type Composite, emit } from '../../composites/composite.ts';
import type { Attribute } from '../../ir/attributes.ts';
import { Builder, createFunc, createRegion, ProgramBuilder } from '../../ir/build.ts';
import type { Func, Op, OpOf, Program, Region, Value } from '../../ir/program.ts';
import { copyBody } from '../../ir/rewrite.ts';
import { isConstraint } from '../../ir/sharding.ts';
import type { ShardingRule } from '../../ir/sharding-rule.ts';
import { asTensor, maxBytes } from '../../ir/types.ts';
import { callee, type Use, uses } from '../../ir/walk.ts';
import { chooseFactors } from './choose-factors.ts';
import { allReduce, reshard, scatteredDim } from './reshard.ts';
import type { Chosen } from './rules/row.ts';
import { ownRows } from './rules/shape.ts';
import { emitLocal, knownComposite, ruleOf } from './rules/table.ts';
import { type Layout, layoutKey, type Partial, type Place, wholeLayout } from './split.ts';
import { opsOf } from './ties.ts';

type Splits = Layout['splits'];

/** What a rank has of a value. */
interface Local {
  readonly value: Value;
  readonly layout: Layout;
  /** The value in the whole program. */
  readonly origin: Value;
}

/** A function of one rank, and how its results lie. */
interface LocalFunc {
  readonly func: Func;
  readonly results: readonly Layout[];
}

/** What is known at a place in a region: values of the whole program, and what has been moved already. */
class Scope {
  readonly b: Builder;
  readonly #parent: Scope | undefined;
  readonly #locals = new Map<Value, Local>();
  readonly #moved = new Map<Value, Map<string, Value>>();

  constructor(b: Builder, parent?: Scope) {
    this.b = b;
    this.#parent = parent;
  }

  get(value: Value): Local {
    const local = this.#locals.get(value) ?? this.#parent?.get(value);
    if (local === undefined) throw new IngotError('InvalidProgram', 'a value is used that is not defined before');
    return local;
  }

  set(value: Value, local: Local): void {
    this.#locals.set(value, local);
  }

  /** Parts of this region that nobody has folded yet, but `local`. */
  waiting(local: Local): readonly Local[] {
    return [...this.#locals.values()].filter(
      (other) => other.layout.partial !== undefined && other.value !== local.value && !this.#moved.has(other.value),
    );
  }

  /** `local` in another layout, made here if nobody has. */
  moved({ value }: Local, key: string, make: () => Value): Value {
    const known = this.#find(value, key);
    if (known !== undefined) return known;
    const made = make();
    const all = this.#moved.get(value) ?? new Map<string, Value>();
    all.set(key, made);
    this.#moved.set(value, all);
    return made;
  }

  #find(value: Value, key: string): Value | undefined {
    const known = this.#moved.get(value)?.get(key);
    if (known !== undefined || this.#parent === undefined) return known;
    return this.#parent.#find(value, key);
  }
}

/** What one rank has made of functions, to be used again where the same is wanted of all their values. */
export class LocalFunctions {
  readonly program: Program;
  readonly place: Place;
  readonly builder: ProgramBuilder;
  readonly made = new Map<string, LocalFunc>();
  readonly uses = new Map<Region, ReadonlyMap<Value, readonly Use[]>>();
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
  readonly #uses: LocalFunctions['uses'];

  constructor(shared: LocalFunctions, wanted: (value: Value) => Splits) {
    this.#shared = shared;
    this.#program = shared.program;
    this.#place = shared.place;
    this.#builder = shared.builder;
    this.#uses = shared.uses;
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
    this.#uses.set(func, uses(func));
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
        return this.#move(scope, local, splits);
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
          return [{ value: this.#move(scope, scope.get(op.operands[0]), splits), layout: { splits } }];
        }
        return this.#plain(op, { factors: [] }, scope);
      case 'composite':
        return this.#composite(op, scope);
      default:
        return this.#plain(op, ruleOf(op), scope);
    }
  }

  // ── moving ──

  #move(scope: Scope, local: Local, splits: Splits): Value {
    const { value, layout, origin } = local;
    if (origin.type.kind !== 'tensor') return value;
    const key = layoutKey({ splits });
    if (key === layoutKey(layout)) return value;
    const { type } = origin;
    return scope.moved(local, key, () => {
      if (layout.partial !== undefined && scatteredDim(layout, splits) === undefined) {
        const summed = this.#folded(scope, local, layout.partial);
        return reshard(scope.b, this.#place, summed, type, { splits: layout.splits }, splits);
      }
      const made = layout.partial === undefined && layout.splits.every((split) => split === undefined);
      return (
        (made ? this.#remake(scope, origin, splits) : undefined) ??
        reshard(scope.b, this.#place, value, type, layout, splits)
      );
    });
  }

  /** Parts made whole, and with them others that wait for the same: ranks meet once for all. */
  #folded(scope: Scope, local: Local, partial: Partial): Value {
    const key = (each: Local) => layoutKey({ splits: each.layout.splits });
    return scope.moved(local, key(local), () => {
      const { element } = asTensor(local.origin.type);
      const others = scope
        .waiting(local)
        .filter(
          ({ origin, layout }) =>
            asTensor(origin.type).element === element &&
            layout.partial?.by === partial.by &&
            layout.partial.axes.join() === partial.axes.join() &&
            this.#isFoldedNext(origin),
        );
      const all = [local, ...others];
      const values = allReduce(
        scope.b,
        this.#place,
        all.map(({ value }) => value),
        partial,
      );
      others.forEach((each, i) => {
        scope.moved(each, key(each), () => values[i + 1]);
      });
      return values[0];
    });
  }

  /** Nothing will make less of the parts before they are folded. */
  #isFoldedNext(value: Value): boolean {
    const used = this.#usesOf(value);
    if (used.some(({ op }) => op === undefined)) return false;
    return !used.some(({ op }) => op !== undefined && ruleOf(op).linear?.kind === 'all') && !this.#shrinks(value);
  }

  /** Part of what every rank can make alone; undefined for all else. */
  #remake(scope: Scope, { owner, type }: Value, splits: Splits): Value | undefined {
    if (owner.kind !== 'op') return undefined;
    if (owner.name !== 'constant' && owner.name !== 'iota' && owner.name !== 'broadcast_in_dim') return undefined;
    const chosen = chooseFactors(
      owner,
      ruleOf(owner),
      owner.operands.map(() => []),
      [splits],
    );
    const done = splits.every(
      (split, d) => split === undefined || chosen.some(({ factor }) => factor.results[0] === d),
    );
    if (!done) return undefined;
    const operands = this.#operands(owner, chosen, scope);
    const types = [this.#place.localType(asTensor(type), { splits })];
    return emitLocal({ ...{ op: owner, operands, chosen, types, regions: [], place: this.#place }, b: scope.b })[0];
  }

  /** The operands as the chosen factors need them. */
  #operands(op: Op, chosen: readonly Chosen[], scope: Scope, passed: readonly number[] = []): readonly Value[] {
    return op.operands.map((value, i) => {
      const local = scope.get(value);
      // What is passed on as parts lies as it is needed.
      if (passed.includes(i)) return local.value;
      return this.#move(
        scope,
        local,
        splitsOf(value, (d) => chosen.find(({ factor }) => factor.operands[i] === d)?.operands[i]),
      );
    });
  }

  // ── ops that compute ──

  #plain(op: Op, rule: ShardingRule, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const chosen = this.#choose(op, rule, scope);
    const { passed, partial } = this.#parts(op, rule, chosen, scope);
    const layouts = this.#layouts(op, chosen, partial);
    // Before anything depends on the rank: all move the same.
    const operands = this.#operands(op, chosen, scope, passed);
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

  /** Operands whose parts are passed on, not summed first. */
  #parts(
    op: Op,
    { linear }: ShardingRule,
    chosen: readonly Chosen[],
    scope: Scope,
  ): { passed: readonly number[]; partial?: Partial } {
    const nothing = { passed: [] };
    const locals = op.operands.map((value) => scope.get(value));
    const parts = [...locals.keys()].filter((i) => locals[i].layout.partial !== undefined);
    const [first] = parts;
    if (linear === undefined || first === undefined || op.results.length !== 1) return nothing;
    const { partial } = locals[first].layout;
    if (partial?.by !== 'add' || !parts.every((i) => linear.operands.includes(i))) return nothing;
    const same = parts.every((i) => locals[i].layout.partial?.axes.join() === partial.axes.join());
    const clash = chosen.some(
      ({ factor, operands, results }) =>
        (factor.fold !== undefined && factor.fold !== 'add') ||
        [...operands, ...results].some((split) => split?.axes.some((axis) => partial.axes.includes(axis))),
    );
    const lie = parts.every((i) =>
      locals[i].layout.splits.every(
        (split, d) => split?.key === chosen.find(({ factor }) => factor.operands[i] === d)?.operands[i]?.key,
      ),
    );
    if (!same || clash || !lie || !parts.every((i) => this.#usedOnce(op.operands[i]))) return nothing;
    const grows = maxBytes(asTensor(op.results[0].type)) > maxBytes(asTensor(op.operands[first].type));
    if (grows) return nothing;
    const all = parts.length === op.operands.length;
    if (linear.kind === 'each' ? parts.length === 1 : all || (op.name === 'add' && this.#shrinks(op.results[0]))) {
      return { passed: parts, partial };
    }
    return nothing;
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

  #usesOf(value: Value): readonly Use[] {
    for (const all of this.#uses.values()) {
      const found = all.get(value);
      if (found !== undefined) return found;
    }
    return [];
  }

  #usedOnce(value: Value): boolean {
    return this.#usesOf(value).length === 1;
  }

  /** It is used once, by an op that passes its parts on in fewer bytes. */
  #shrinks(value: Value): boolean {
    const [use, ...others] = this.#usesOf(value);
    if (use?.op === undefined || others.length > 0) return false;
    const { linear } = ruleOf(use.op);
    const [result] = use.op.results;
    return (
      linear?.kind === 'each' &&
      linear.operands.includes(use.index) &&
      maxBytes(asTensor(result.type)) < maxBytes(asTensor(value.type))
    );
  }

  // ── composites and calls ──

  #composite(op: OpOf<'composite'>, scope: Scope): readonly Pick<Local, 'value' | 'layout'>[] {
    const known = knownComposite(op as Op);
    const rule = ruleOf(op as Op);
    if (known === undefined) return this.#inline(op, scope);
    const chosen = this.#choose(op as Op, rule, scope);
    if (chosen.some(({ factor }) => factor.inline)) return this.#inline(op, scope);
    const { passed, partial } = this.#parts(op as Op, rule, chosen, scope);
    const layouts = this.#layouts(op as Op, chosen, partial);
    const operands = this.#operands(op as Op, chosen, scope, passed);
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
    if (!this.#uses.has(body)) this.#uses.set(body, uses(body));
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
      this.#move(scope, scope.get(value), this.#wanted(called.parameters[i])),
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
    const predicate = this.#whole(scope, op.operands[0]);
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
        const results = locals.map((local, i) => this.#move(own, local, layouts[i].splits));
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
    const operands = op.operands.map((value, i) => this.#move(scope, scope.get(value), carried[i]));
    const types = operands.map(({ type }) => type);
    const region = (from: Region, wanted: readonly Splits[]) =>
      createRegion(types, (parameters) => {
        const own = new Scope(new Builder(this.#builder), scope);
        const locals = this.#enter(from, carried, own, parameters);
        const results = locals.map((local, i) => this.#move(own, local, wanted[i]));
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

  #whole(scope: Scope, value: Value): Value {
    return this.#move(scope, scope.get(value), wholeSplits(value));
  }
}

function wholeSplits({ type }: Value): Splits {
  return type.kind === 'tensor' ? wholeLayout(type.shape.length).splits : [];
}

/** For each dimension of a value. */
function splitsOf({ type }: Value, split: (d: number) => Splits[number]): Splits {
  return type.kind === 'tensor' ? type.shape.map((_, d) => split(d)) : [];
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
