/** Dimensions of values that are split together wherever one of them is: by the rules of ops, by calls, loops and aliases. */
import type { Func, Op, Program, Region, Value } from '../../ir/program.ts';
import { isConstraint } from '../../ir/sharding.ts';
import type { Factor } from '../../ir/sharding-rule.ts';
import { callee, reachable, uses } from '../../ir/walk.ts';
import { knownComposite, ruleOf } from './rules/table.ts';

export interface Member {
  readonly value: Value;
  readonly dim: number;
  /** It has fewer elements, each of which belongs to several of the others. */
  readonly shared: boolean;
}

/** Ties of lower order are followed first: what hands values on, then what computes, then what cuts and joins. */
export type Tie =
  | { readonly kind: 'same'; readonly order: 0 | 1; readonly members: readonly Member[] }
  | { readonly kind: 'pieces'; readonly order: 2; readonly whole: Member; readonly pieces: readonly Member[] };

/** What ops ask of a dimension. */
export interface DimNeeds {
  /** Elements that stay together; a multiple at which it pays to cut. */
  readonly unit: number;
  readonly aligned: number;
}

export interface Ties {
  /** By a value that is in them. */
  of(value: Value): readonly Tie[];
  needs(value: Value, dim: number): DimNeeds;
}

const none: DimNeeds = { unit: 1, aligned: 1 };

export function tiesOf(program: Program): Ties {
  const collected = new Collector(program);
  return {
    of: (value) => collected.ties.get(value) ?? [],
    needs: (value, dim) => collected.needs.get(value)?.get(dim) ?? none,
  };
}

/** Functions but the decompositions of composites that are split as such. */
export function splitFunctions(program: Program): readonly Func[] {
  const found = new Set<Func>([program.main]);
  for (const func of reachable(program)) {
    if (!found.has(func)) continue;
    for (const op of opsOf(func)) {
      const called = knownComposite(op) === undefined ? callee(program, op) : undefined;
      if (called !== undefined) found.add(called);
    }
  }
  return [...found];
}

/** Ops of a function and of the branches and bodies in it; not those of scalar regions. */
export function* opsOf(region: Region): Generator<Op> {
  for (const op of region.body) {
    yield op;
    if (op.name === 'if' || op.name === 'case' || op.name === 'while')
      for (const inner of op.regions) yield* opsOf(inner);
  }
}

class Collector {
  readonly ties = new Map<Value, Tie[]>();
  readonly needs = new Map<Value, Map<number, DimNeeds>>();

  constructor(program: Program) {
    for (const func of splitFunctions(program)) {
      const used = uses(func);
      for (const op of opsOf(func)) {
        this.#op(program, op);
        for (const result of op.results) this.#slices(result, used.get(result)?.map((use) => use.op) ?? []);
      }
      for (const value of func.parameters) this.#slices(value, used.get(value)?.map((use) => use.op) ?? []);
    }
    for (const { result, parameter } of program.aliases) {
      this.#alike([program.main.results[result], program.main.parameters[parameter]]);
    }
  }

  #op(program: Program, op: Op): void {
    switch (op.name) {
      case 'while': {
        const [condition, body] = op.regions;
        op.results.forEach((result, i) => {
          this.#alike([result, op.operands[i], condition.parameters[i], body.parameters[i], body.results[i]]);
        });
        return;
      }
      case 'if':
      case 'case':
        op.results.forEach((result, i) => {
          this.#alike([result, ...op.regions.map((region) => region.results[i])]);
        });
        return;
      case 'custom_call':
        if (isConstraint(op)) this.#alike([op.results[0], op.operands[0]], 1);
        return;
    }
    const called = knownComposite(op) === undefined ? callee(program, op) : undefined;
    if (called !== undefined) {
      op.operands.forEach((value, i) => {
        this.#alike([value, called.parameters[i]]);
      });
      op.results.forEach((value, i) => {
        this.#alike([value, called.results[i]]);
      });
      return;
    }
    for (const factor of ruleOf(op).factors) this.#factor(op, factor);
  }

  /** The same value by several names. */
  #alike(values: readonly Value[], order: 0 | 1 = 0): void {
    const [{ type }] = values;
    if (type.kind !== 'tensor') return;
    type.shape.forEach((_, dim) => {
      this.#tie({ kind: 'same', order, members: values.map((value) => ({ value, dim, shared: false })) });
    });
  }

  #factor(op: Op, factor: Factor): void {
    const operands = members(op.operands, factor.operands, factor.shared);
    const results = members(op.results, factor.results);
    op.operands.forEach((value, i) => {
      const dim = factor.operands[i];
      if (dim !== undefined) this.#need(value, dim, factor.units?.[i] ?? 1, factor.aligned?.[i] ?? 1);
    });
    if (factor.part !== undefined) return;
    if (factor.joined) this.#tie({ kind: 'pieces', order: 2, whole: results[0], pieces: operands });
    else {
      const handsOn = factor.fold === undefined && op.name !== 'composite' && op.name !== 'dot_general';
      this.#tie({ kind: 'same', order: handsOn ? 0 : 1, members: [...operands, ...results] });
    }
  }

  #need(value: Value, dim: number, unit: number, aligned: number): void {
    if (unit === 1 && aligned === 1) return;
    const known = this.needs.get(value) ?? new Map<number, DimNeeds>();
    const before = known.get(dim) ?? none;
    // Formats have blocks of powers of two.
    known.set(dim, { unit: Math.max(unit, before.unit), aligned: Math.max(aligned, before.aligned) });
    this.needs.set(value, known);
  }

  /** A value that is only cut into parts which make up the whole. */
  #slices(value: Value, users: readonly (Op | undefined)[]): void {
    const cuts = users.flatMap((op) => (op?.name === 'slice' ? [op] : []));
    if (cuts.length !== users.length || cuts.length === 0 || value.type.kind !== 'tensor') return;
    value.type.shape.forEach((size, dim) => {
      const parts = cuts.flatMap((op) => {
        const part = ruleOf(op).factors.find(({ operands: [d] }) => d === dim)?.part;
        return part === undefined ? [] : [{ ...part, value: op.results[0] }];
      });
      if (parts.length !== cuts.length) return;
      parts.sort((a, b) => a.start - b.start);
      const fits = parts.every(({ start }, i) => start === (i === 0 ? 0 : parts[i - 1].limit));
      if (!fits || parts.at(-1)?.limit !== size) return;
      const pieces = parts.map((part) => ({ value: part.value, dim, shared: false }));
      this.#tie({ kind: 'pieces', order: 2, whole: { value, dim, shared: false }, pieces });
    });
  }

  #tie(tie: Tie): void {
    const all = tie.kind === 'same' ? tie.members : [tie.whole, ...tie.pieces];
    if (all.length < 2) return;
    for (const value of new Set(all.map((member) => member.value))) {
      const list = this.ties.get(value);
      if (list === undefined) this.ties.set(value, [tie]);
      else list.push(tie);
    }
  }
}

function members(
  values: readonly Value[],
  dims: readonly (number | undefined)[],
  shared: readonly number[] = [],
): Member[] {
  return values.flatMap((value, i) => {
    const dim = dims[i];
    return dim === undefined ? [] : [{ value, dim, shared: shared.includes(i) }];
  });
}
