/**
 * Which memory an op may overwrite. A value's roots are the values whose arrays it may share (a reshape shares its
 * operand's, a call may hand a parameter through). An op may take an operand's memory if every root of it was made in
 * this region by this run, is used here for the last time, and reaches the op by no other way.
 */
import { findFunction, type Op, type Program, type Region, type Value } from '../../ir/program.ts';

/** Roots and freshness of the values of a program: the same for every specialisation. */
export class Aliases {
  readonly #program: Program;
  readonly #roots = new Map<Value, ReadonlySet<Value>>();
  readonly #homes = new Map<Value, Region>();

  constructor(program: Program) {
    this.#program = program;
    this.#enter(program.main);
    for (const func of program.functions.values()) this.#enter(func);
  }

  #enter(region: Region): void {
    for (const value of region.parameters) this.#homes.set(value, region);
    for (const op of region.body) {
      for (const value of op.results) this.#homes.set(value, region);
      for (const nested of op.regions) this.#enter(nested);
    }
  }

  /** The region whose parameter or op makes the value. */
  home(value: Value): Region | undefined {
    return this.#homes.get(value);
  }

  roots(value: Value): ReadonlySet<Value> {
    let roots = this.#roots.get(value);
    if (roots === undefined) {
      roots = value.owner.kind === 'region' ? new Set([value]) : this.#rootsOfResult(value, value.owner);
      this.#roots.set(value, roots);
    }
    return roots;
  }

  #rootsOfResult(value: Value, op: Op): ReadonlySet<Value> {
    switch (op.name) {
      case 'reshape':
      case 'optimization_barrier':
        return this.roots(op.operands[value.index]);
      case 'tuple':
      case 'get_tuple_element':
        return this.#union(op.operands.map((operand) => this.roots(operand)));
      case 'call':
      case 'composite': {
        const func = this.#callee(op);
        if (func === undefined) return new Set([value]);
        return this.#through(value, op, [func], (root) =>
          root.owner === func ? this.roots(op.operands[root.index]) : undefined,
        );
      }
      case 'if':
      case 'case':
        return this.#through(value, op, op.regions, (root) =>
          op.regions.includes(this.#homes.get(root) as Region) ? undefined : new Set([root]),
        );
      default:
        return new Set([value]);
    }
  }

  /** Roots of a result that regions return: those from outside by `outer`, those made inside as a result of the op. */
  #through(
    value: Value,
    op: Op,
    regions: readonly Region[],
    outer: (root: Value) => ReadonlySet<Value> | undefined,
  ): ReadonlySet<Value> {
    const parts: ReadonlySet<Value>[] = [];
    for (const region of regions) {
      for (const root of this.roots(region.results[value.index])) {
        // Two results with one root inside are one array: the first of them stands for it.
        const first = region.results.findIndex((other) => this.roots(other).has(root));
        parts.push(outer(root) ?? new Set([op.results[first]]));
      }
    }
    return this.#union(parts);
  }

  #union(sets: readonly ReadonlySet<Value>[]): ReadonlySet<Value> {
    return new Set(sets.flatMap((set) => [...set]));
  }

  #callee(op: Op): Region | undefined {
    if (op.name === 'call') return findFunction(this.#program, op.attributes.callee);
    if (op.name === 'composite') return findFunction(this.#program, op.attributes.decomposition);
    return undefined;
  }

  /** Whether the array of a root that an op makes belongs to the run alone; constants are shared between runs. */
  isFresh(root: Value): boolean {
    if (root.owner.kind === 'region') return false;
    const op = root.owner;
    if (op.name === 'constant') return false;
    const callee = this.#callee(op);
    const regions = callee !== undefined ? [callee] : op.name === 'if' || op.name === 'case' ? op.regions : [];
    return regions.every((region) =>
      [...this.roots(region.results[root.index])].every(
        (inner) => inner.owner.kind === 'region' || this.isFresh(inner),
      ),
    );
  }
}

/** Uses of values within one region; a nested region uses its captures at the op that holds it. */
export class RegionUses {
  readonly #region: Region;
  readonly #aliases: Aliases;
  readonly #owned: readonly boolean[];
  readonly #captured: (root: Value) => boolean;
  readonly #defined = new Map<Value, number>();
  readonly #lastUse = new Map<Value, number>();
  readonly #lastRootUse = new Map<Value, number>();
  readonly #values: Value[][];
  readonly #roots: Value[][];

  /** `owned`: the parameters whose memory the region may overwrite; `captured`: roots around it of which the same holds. */
  constructor(
    region: Region,
    aliases: Aliases,
    owned: readonly boolean[],
    captured: (root: Value) => boolean = () => false,
  ) {
    this.#region = region;
    this.#aliases = aliases;
    this.#owned = owned;
    this.#captured = captured;
    for (const value of region.parameters) this.#defined.set(value, -1);
    region.body.forEach((op, index) => {
      for (const value of op.results) {
        this.#defined.set(value, index);
        this.#use(value, index);
      }
      for (const value of usedBy(op)) this.#use(value, index);
    });
    for (const value of region.results) this.#use(value, region.body.length);
    this.#values = dying(this.#lastUse, region, aliases);
    this.#roots = dying(this.#lastRootUse, region, aliases);
  }

  #use(value: Value, index: number): void {
    this.#lastUse.set(value, index);
    for (const root of this.#aliases.roots(value)) this.#lastRootUse.set(root, index);
  }

  /** Values of this region that nothing reads after op `index`. */
  valuesDyingAt(index: number): readonly Value[] {
    return this.#values[index];
  }

  /** Roots in this region that nothing reads after op `index`. */
  rootsDyingAt(index: number): readonly Value[] {
    return this.#roots[index];
  }

  /** Whether op `index` may overwrite the memory of its operand. */
  takeable(index: number, operand: number): boolean {
    const op = this.#region.body[index];
    const roots = this.#aliases.roots(op.operands[operand]);
    for (const root of roots) {
      if (!this.#isOwned(root) || this.#lastRootUse.get(root) !== index) return false;
    }
    const others = usedBy(op);
    others.splice(operand, 1);
    return others.every((other) => [...this.#aliases.roots(other)].every((root) => !roots.has(root)));
  }

  /**
   * Roots that a branch of op `index` may overwrite: nothing from before the op reads them after it. What the op returns
   * may still be one of them, overwritten or not.
   */
  capturable(index: number): (root: Value) => boolean {
    return (root) => {
      if (!this.#isOwned(root)) return false;
      for (const [value, last] of this.#lastUse) {
        const before = (this.#defined.get(value) ?? -1) < index;
        if (before && last > index && this.#aliases.roots(value).has(root)) return false;
      }
      return true;
    };
  }

  /** Whether result `index` of the region is memory that the region owns and returns only once. */
  resultIsOwn(index: number): boolean {
    const roots = [...this.#aliases.roots(this.#region.results[index])];
    return (
      roots.every((root) => this.#isOwned(root)) &&
      this.#region.results.every(
        (other, i) => i === index || roots.every((root) => !this.#aliases.roots(other).has(root)),
      )
    );
  }

  #isOwned(root: Value): boolean {
    if (this.#aliases.home(root) !== this.#region) return this.#captured(root);
    return root.owner.kind === 'region' ? this.#owned[root.index] === true : this.#aliases.isFresh(root);
  }
}

/** Operands in order, then what the op's regions use of the outside. */
function usedBy(op: Op): Value[] {
  const used = [...op.operands];
  const visit = (region: Region) => {
    for (const inner of region.body) used.push(...usedBy(inner));
    used.push(...region.results);
  };
  op.regions.forEach(visit);
  return used;
}

function dying(lastUse: ReadonlyMap<Value, number>, region: Region, aliases: Aliases): Value[][] {
  const lists: Value[][] = Array.from({ length: region.body.length + 1 }, () => []);
  for (const [value, index] of lastUse) {
    if (aliases.home(value) === region) lists[index].push(value);
  }
  return lists;
}
