/**
 * The proof that state is never copied. State lives in one memory each. Every result aliased to it must be computed in
 * that memory: through a chain of ops that update it in place (`scatter`, `dynamic_update_slice`), rename it, or pass it
 * on (calls, branches, loops), or by one op that overwrites it whole. Whoever reads an older version must stand before
 * the op that writes the next one; nothing is reordered to make it so.
 *
 * Ownership analysis of this kind is known from Clean's uniqueness types and from buffer donation in XLA.
 */
import { IngotError } from '../base/errors.ts';
import { elementwise } from '../ir/ops/elementwise.ts';
import type { Func, Op, OpOf, Program, Region, Value } from '../ir/program.ts';
import { sameShape } from '../ir/types.ts';
import { callee, reachable, reads, uses } from '../ir/walk.ts';
import { elementBytes } from '../numerics/element-types.ts';

/**
 * Result of an op -> the value whose memory it takes. Complete: a device that computes exactly the results named here in
 * the named memory, and all others elsewhere, never copies state.
 * - `scatter` and `dynamic_update_slice` name the operand that they update, `reshape` and `optimization_barrier` the
 *   operand that they rename.
 * - `call`, `composite` and `while` name the operand that carries the state, `if` and `case` a value from before them that
 *   the branches capture. The ops inside have entries of their own; if what a body returns still lies elsewhere (a
 *   temporary, an input), it is copied into that memory at its end. The same holds for results of `main`.
 * - Any op may name the latest version of the state without updating it: the result overwrites it whole. Where the op
 *   reads it too, it is elementwise and element i depends on element i alone.
 */
export type InPlace = ReadonlyMap<Value, Value>;

/** @throws IngotError 'StateWouldCopy' naming the op and the state parameter (`place.tensor`). */
export function planState(program: Program): InPlace {
  return new StateProof(program).inPlace;
}

/** The memory of one state parameter, within one function. */
interface Cell {
  readonly name: string;
  version: number;
  /** A value in scope that holds the latest version. */
  current: Value;
  writer: Op | undefined;
}

/** What the callers of a function have asked of it. */
interface Contract {
  /** Parameters that hold state, with its name. */
  readonly tracked: Map<number, string>;
  /** Result -> the parameter whose memory it must be. */
  readonly updates: Map<number, number>;
  readonly sites: CallSite[];
}

interface CallSite {
  readonly op: Op;
  /** Cells in which the operands lie, and those in which the results must. */
  readonly operands: readonly (Cell | undefined)[];
  readonly results: readonly (Cell | undefined)[];
}

/** Where the memory of a result comes from. */
interface Origin {
  readonly source: Value;
  /** Its content is another by then; otherwise the result is only a new name. */
  readonly updated: boolean;
}

/** One a result of an op; `from` is absent where the result overwrites the cell whole. */
type Targets = readonly ({ readonly cell: Cell; readonly from?: Origin } | undefined)[];

class StateProof {
  readonly inPlace = new Map<Value, Value>();
  readonly #program: Program;
  readonly #regionOf = new Map<Op, Region>();
  readonly #useCount = new Map<Value, number>();
  readonly #contracts = new Map<Func, Contract>();
  readonly #origins = new Map<Func, readonly Origin[]>();
  /** Values that lie in the memory of a cell, and which version of it they are. */
  readonly #homes = new Map<Value, { readonly cell: Cell; readonly version: number }>();
  /** Cells that a result of the region at hand will be. */
  #writable: ReadonlySet<Cell> = new Set();

  constructor(program: Program) {
    this.#program = program;
    const functions = reachable(program);
    for (const func of functions) {
      this.#indexRegion(func);
      for (const [value, list] of uses(func)) this.#useCount.set(value, list.length);
    }
    const contract = this.#contract(program.main);
    program.parameters.forEach(({ name, role }, i) => {
      if (role === 'state') contract.tracked.set(i, name);
    });
    for (const { result, parameter } of program.aliases) contract.updates.set(result, parameter);
    // Callers first: when a function is reached, all that is asked of it is known.
    for (const func of functions) this.#proveFunc(func);
  }

  #indexRegion(region: Region): void {
    for (const op of region.body) {
      this.#regionOf.set(op, region);
      for (const inner of op.regions) this.#indexRegion(inner);
    }
  }

  #contract(func: Func): Contract {
    let contract = this.#contracts.get(func);
    if (contract === undefined) {
      contract = { tracked: new Map(), updates: new Map(), sites: [] };
      this.#contracts.set(func, contract);
    }
    return contract;
  }

  // ── where a value's memory comes from ──

  /** The value whose memory this result updates, renames or passes on; undefined if the op makes it anew. */
  #step(value: Value): Origin | undefined {
    const op = value.owner;
    if (op.kind !== 'op') return undefined;
    switch (op.name) {
      case 'reshape':
      case 'optimization_barrier':
        return { source: op.operands[value.index], updated: false };
      case 'dynamic_update_slice':
      case 'scatter':
        return { source: op.operands[value.index], updated: true };
      case 'while': {
        const [, body] = op.regions;
        return {
          source: op.operands[value.index],
          updated: body.results[value.index] !== body.parameters[value.index],
        };
      }
      case 'if':
      case 'case': {
        const origins = op.regions.map((region) => this.#origin(region.results[value.index], region));
        const outside = origins.filter(({ source }, i) => !this.#isInside(source, op.regions[i]));
        if (outside.length === 0) return undefined;
        const updated = origins.some((origin) => origin.updated || origin.source !== outside[0].source);
        return { source: outside[0].source, updated };
      }
      case 'call':
      case 'composite': {
        const parameter = this.#parameterOf(op, value.index);
        return parameter && { source: op.operands[parameter.index], updated: parameter.updated };
      }
      default:
        return undefined;
    }
  }

  #isInside(value: Value, region: Region): boolean {
    return value.owner.kind === 'op' ? this.#regionOf.get(value.owner) === region : value.owner === region;
  }

  /** Follows `#step` to where it ends or leaves the region. */
  #origin(value: Value, region: Region): Origin {
    let origin: Origin = { source: value, updated: false };
    while (this.#isInside(origin.source, region)) {
      const step = this.#step(origin.source);
      if (step === undefined) break;
      origin = { source: step.source, updated: origin.updated || step.updated };
    }
    return origin;
  }

  /** The parameter of the callee from which its result gets its memory. */
  #parameterOf(op: Op, result: number): { readonly index: number; readonly updated: boolean } | undefined {
    const func = callee(this.#program, op);
    if (func === undefined) return undefined;
    let origins = this.#origins.get(func);
    if (origins === undefined) {
      origins = func.results.map((value) => this.#origin(value, func));
      this.#origins.set(func, origins);
    }
    const { source, updated } = origins[result];
    return source.owner === func ? { index: source.index, updated } : undefined;
  }

  // ── the walk in program order ──

  #proveFunc(func: Func): void {
    const { tracked, updates, sites } = this.#contract(func);
    for (const site of sites) this.#proveSite(func, site, updates);
    const cells = new Map<number, Cell>();
    const track = (index: number, name: string) => {
      const cell: Cell = { name, version: 0, current: func.parameters[index], writer: undefined };
      cells.set(index, cell);
      this.#homes.set(func.parameters[index], { cell, version: 0 });
    };
    for (const [index, name] of tracked) track(index, name);
    const demands = new Map<number, Cell>();
    for (const [result, parameter] of updates) {
      const cell = cells.get(parameter);
      if (cell !== undefined) demands.set(result, cell);
    }
    this.#proveRegion(func, demands);
  }

  /** `demands`: results of the region that must lie in a cell. */
  #proveRegion(region: Region, demands: ReadonlyMap<number, Cell>): void {
    const outer = this.#writable;
    this.#writable = new Set(demands.values());
    // Results that do not come out of the memory of the cell overwrite it.
    const overwrites = new Map<Value, Cell>();
    for (const [index, cell] of demands) {
      const result = region.results[index];
      if (!this.#isInside(result, region) || result.owner.kind !== 'op') continue;
      if (this.#homes.get(this.#origin(result, region).source)?.cell !== cell) overwrites.set(result, cell);
    }
    for (const op of region.body) this.#proveOp(op, overwrites);
    region.results.forEach((value, index) => {
      this.#checkCurrent(value, undefined);
      const cell = demands.get(index);
      const home = this.#homes.get(value);
      if (cell === undefined || home?.cell === cell) return;
      if (home !== undefined) copies(undefined, cell, `its new value is state ${home.cell.name}`);
      cell.version++;
    });
    this.#writable = outer;
  }

  /** The cell whose memory the result takes, and whether it changes it. */
  #target(op: Op, result: Value, overwrites: ReadonlyMap<Value, Cell>): { cell: Cell; from?: Origin } | undefined {
    const step = this.#step(result);
    const home = step && this.#homes.get(step.source);
    const cell = overwrites.get(result);
    if (home === undefined || (cell !== undefined && !step?.updated)) return cell && { cell };
    if (cell !== undefined || (step?.updated && !this.#writable.has(home.cell))) {
      copies(op, home.cell, 'its result is not the state, so it would update a copy');
    }
    return { cell: home.cell, ...(step && { from: step }) };
  }

  /** No reader of an old version after the writer of the next. */
  #checkCurrent(value: Value, reader: Op | undefined): void {
    const home = this.#homes.get(value);
    if (home === undefined || home.version === home.cell.version) return;
    const { cell } = home;
    copies(reader, cell, `an older version is used after ${cell.writer?.name ?? 'an op'} has written the next`);
  }

  #write(op: Op, cell: Cell, result: Value, target: Value): void {
    cell.version++;
    cell.writer = op;
    cell.current = result;
    this.#homes.set(result, { cell, version: cell.version });
    this.inPlace.set(result, target);
  }

  /** `result` is the memory of `value`, unchanged. */
  #rename(result: Value, value: Value): void {
    const home = this.#homes.get(value);
    if (home === undefined) return;
    this.#homes.set(result, home);
    this.inPlace.set(result, value);
  }

  #proveOp(op: Op, overwrites: ReadonlyMap<Value, Cell>): void {
    for (const value of op.operands) this.#checkCurrent(value, op);
    const targets = op.results.map((result) => this.#target(op, result, overwrites));
    switch (op.name) {
      case 'if':
      case 'case':
        this.#proveBranches(op, targets);
        return;
      case 'call':
      case 'composite':
        this.#proveCall(op, targets);
        return;
      case 'while':
        this.#proveWhile(op, targets);
        break;
      case 'tuple':
        for (const value of op.operands) {
          const home = this.#homes.get(value);
          if (home !== undefined) copies(op, home.cell, 'a tuple takes a copy');
        }
        break;
      default:
        op.results.forEach((result, i) => {
          const from = targets[i]?.from;
          if (from?.updated) this.#proveUpdate(op, i);
          else if (from !== undefined) this.#rename(result, from.source);
        });
    }
    op.results.forEach((result, i) => {
      const target = targets[i];
      if (target !== undefined && target.from === undefined) this.#proveOverwrite(op, target.cell, result);
    });
  }

  #proveUpdate(op: Op, index: number): void {
    const updated = op.operands[index];
    const cell = this.#homes.get(updated)?.cell;
    if (cell === undefined) return;
    op.operands.forEach((operand, i) => {
      if (i === index || this.#homes.get(operand)?.cell !== cell) return;
      copies(op, cell, 'it reads the memory that it updates');
    });
    this.#write(op, cell, op.results[index], updated);
  }

  #proveOverwrite(op: Op, cell: Cell, result: Value): void {
    for (const value of reads(op)) {
      if (this.#homes.get(value)?.cell !== cell) continue;
      if (!isPointwise(op, value, result)) copies(op, cell, 'it overwrites what it still reads');
    }
    this.#write(op, cell, result, cell.current);
  }

  #proveCall(op: OpOf<'call'> | OpOf<'composite'>, targets: Targets): void {
    const func = callee(this.#program, op);
    if (func === undefined) return;
    const contract = this.#contract(func);
    const operands = op.operands.map((value) => this.#homes.get(value)?.cell);
    const results = targets.map((target) => (target?.from?.updated === false ? undefined : target?.cell));
    contract.sites.push({ op, operands, results });
    operands.forEach((cell, i) => {
      if (cell !== undefined) contract.tracked.set(i, contract.tracked.get(i) ?? cell.name);
    });
    op.results.forEach((result, i) => {
      const cell = results[i];
      if (cell === undefined) {
        const source = targets[i]?.from?.source;
        if (source !== undefined) this.#rename(result, source);
        return;
      }
      const holders = operands.flatMap((held, parameter) => (held === cell ? [parameter] : []));
      if (holders.length > 1) copies(op, cell, `${func.name} updates it and takes it twice`);
      const parameter = holders.at(0);
      if (parameter === undefined) {
        this.#write(op, cell, result, cell.current);
        return;
      }
      if ((contract.updates.get(i) ?? parameter) !== parameter) {
        copies(op, cell, `another call of ${func.name} updates another parameter`);
      }
      contract.updates.set(i, parameter);
      this.#write(op, cell, result, op.operands[parameter]);
    });
  }

  /** A function that updates a parameter in place does so for every caller. */
  #proveSite(func: Func, { op, operands, results }: CallSite, updates: ReadonlyMap<number, number>): void {
    for (const [result, parameter] of updates) {
      const cell = operands[parameter];
      if (cell !== undefined) {
        if (results[result] === cell) continue;
        copies(op, cell, `${func.name} updates it in place, but here the result is not the state`);
      }
      const operand = op.operands[parameter];
      if (!this.#isOwned(operand, op)) {
        const hint = `give ${func.name} a value that nothing else uses, or define the function twice`;
        const message = `${op.name}: ${func.name} updates parameter ${parameter} in place, but here it is used elsewhere too`;
        throw new IngotError('StateWouldCopy', message, { op: op.name, hint });
      }
      this.inPlace.set(op.results[result], operand);
    }
  }

  /** A temporary in its own memory that only this op uses. */
  #isOwned(value: Value, user: Op): boolean {
    const { owner } = value;
    if (owner.kind !== 'op' || owner.name === 'constant' || this.#useCount.get(value) !== 1) return false;
    const here = this.#regionOf.get(owner) === this.#regionOf.get(user);
    return here && (this.#step(value) === undefined || this.inPlace.has(value));
  }

  #proveBranches(op: OpOf<'if'> | OpOf<'case'>, targets: Targets): void {
    const demands = new Map<number, Cell>();
    targets.forEach((target, i) => {
      if (target !== undefined && target.from?.updated !== false) demands.set(i, target.cell);
    });
    if (new Set(demands.values()).size < demands.size) copies(op, [...demands.values()][0], 'two results update it');
    const before = new Map([...demands.values()].map((cell) => [cell, { ...cell }]));
    const latest = new Map([...before].map(([cell, { version }]) => [cell, version]));
    for (const region of op.regions) {
      this.#proveRegion(region, demands);
      for (const [cell, saved] of before) {
        latest.set(cell, Math.max(latest.get(cell) ?? 0, cell.version));
        Object.assign(cell, saved);
      }
    }
    op.results.forEach((result, i) => {
      const cell = demands.get(i);
      if (cell !== undefined) {
        this.inPlace.set(result, cell.current);
        cell.version = latest.get(cell) ?? cell.version;
        cell.writer = op;
        cell.current = result;
        this.#homes.set(result, { cell, version: cell.version });
        return;
      }
      const source = targets[i]?.from?.source;
      if (source !== undefined) this.#rename(result, source);
    });
  }

  #proveWhile(op: OpOf<'while'>, targets: Targets): void {
    const [condition] = op.regions;
    const carried = op.operands.map((value) => this.#homes.get(value));
    const demands = new Map<number, Cell>();
    targets.forEach((target, i) => {
      if (!target?.from?.updated) return;
      const { cell } = target;
      if (carried.some((other, j) => j !== i && other?.cell === cell)) copies(op, cell, 'the loop carries it twice');
      demands.set(i, cell);
    });
    const entry = new Map([...demands.values()].map((cell) => [cell, { ...cell }]));
    // Inside the loop the state goes by the names of the carried values: others would be old from the second turn on.
    for (const cell of demands.values()) {
      cell.version++;
      cell.writer = op;
    }
    for (const region of op.regions) {
      carried.forEach((home, i) => {
        if (home === undefined) return;
        this.#homes.set(region.parameters[i], { cell: home.cell, version: home.cell.version });
        if (demands.has(i)) home.cell.current = region.parameters[i];
      });
      this.#proveRegion(region, region === condition ? new Map() : demands);
    }
    op.results.forEach((result, i) => {
      const cell = demands.get(i);
      if (cell === undefined) {
        if (targets[i]?.from !== undefined) this.#rename(result, op.operands[i]);
        return;
      }
      const before = entry.get(cell);
      if (before !== undefined && cell.version === before.version + 1) Object.assign(cell, before);
      else cell.writer = op;
      cell.current = result;
      this.#homes.set(result, { cell, version: cell.version });
      this.inPlace.set(result, op.operands[i]);
    });
  }
}

/** Element i of the result depends on element i of the operand alone, and both have its bytes. */
function isPointwise(op: Op, operand: Value, result: Value): boolean {
  const [from, to] = [operand.type, result.type];
  if (from.kind !== 'tensor' || to.kind !== 'tensor') return false;
  return (
    Object.hasOwn(elementwise, op.name) &&
    sameShape(from.shape, to.shape) &&
    elementBytes(from.element) === elementBytes(to.element)
  );
}

function copies(op: Op | undefined, cell: Cell, why: string): never {
  const name = op?.name ?? 'return';
  const where = op?.location === undefined ? '' : ` at ${op.location}`;
  throw new IngotError('StateWouldCopy', `${name}${where} would copy state ${cell.name}: ${why}`, {
    op: name,
    tensor: cell.name,
    hint: 'update the state through one chain of ops and read it before the op that writes the next version',
  });
}
