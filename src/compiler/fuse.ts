/**
 * Groups of ops that one kernel computes, so that what lies between them never reaches memory: chains of elementwise ops
 * with their broadcasts and slices, and what puts their results side by side; reductions of such a chain and what is computed with
 * them for the same rows (softmax, norms: a row stays in the cache from the first of its loops to the last); matrix products with
 * what comes before and after them; rows that go to places of a table with what computes them, several tables at once where the places
 * are the same (keys and values).
 * The result describes; kernels are lowered from it. An op is in one group; nothing is computed twice.
 *
 * Groups grow along the program order (as in XLA's instruction fusion): an op joins the groups that make its operands if
 * it runs over the same elements or rows and no other group stands between. Nothing moves across an effect, or an update of some of
 * a state other than by such rows. Elementwise ops and reductions may overwrite a state whole (an optimizer's step) within a group: readers
 * of what it was run before, or in the same turn of the same loops.
 */
import { compositePrefix } from '../composites/composite.ts';
import { quantizedDotComposite } from '../composites/quantized_dot.ts';
import { elementwise } from '../ir/ops/elementwise.ts';
import type { Op, OpOf, Program, Region, Value } from '../ir/program.ts';
import { asTensor, type Dim, maxDim, sameShape } from '../ir/types.ts';
import { reachable, reads } from '../ir/walk.ts';
import { opOperations, valueBytes } from './cost.ts';
import { type InPlace, planState } from './state.ts';

/**
 * `data`: a constant, or a new name of state; nothing to compute. `concatenate`: elementwise, and what it computes are parts of one value.
 * `scatter`: what is computed goes to places that data names. `single`: one op of any other kind.
 */
export type GroupKind = 'data' | 'elementwise' | 'concatenate' | 'reduce' | 'dot' | 'scatter' | 'single';

export interface Group {
  readonly kind: GroupKind;
  /** In program order. */
  readonly ops: readonly Op[];
  /** Values from outside, captured ones included, and those inside that others need. */
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** Memory that it moves, each input and output once, and arithmetic, at the bounds of symbolic dimensions. */
  readonly bytes: number;
  readonly operations: number;
}

/**
 * For every function that main reaches, and every branch and loop in it: its groups, in an order of execution. `isKernel`: composites
 * that a device runs whole.
 */
export function fuse(
  program: Program,
  isKernel: (composite: string) => boolean = () => false,
): ReadonlyMap<Region, readonly Group[]> {
  const inPlace = planState(program);
  const found = new Map<Region, readonly Group[]>();
  const visit = (region: Region) => {
    found.set(region, new Fusion(region, inPlace, isKernel).groups());
    for (const op of region.body) {
      if (op.name === 'if' || op.name === 'case' || op.name === 'while') op.regions.forEach(visit);
    }
  };
  for (const func of reachable(program)) visit(func);
  return found;
}

/** What reductions over trailing dimensions go along: the shape of operands, and of results. */
interface Rows {
  readonly shape: readonly Dim[];
  readonly kept: readonly Dim[];
}

/** Elements of a row that is worth keeping in a cache, and rows that are enough for threads to share. */
const ROW_ELEMENTS = 65536;
const ENOUGH_ROWS = 16;

type Joined = Pick<Draft, 'kind' | 'shape' | 'rows'>;

/** A group that grows. */
interface Draft {
  kind: GroupKind;
  ops: Op[];
  /** Elements that its loops run over; grows with a broadcast of what it has computed. */
  shape: readonly Dim[];
  /** Of the reductions in it. */
  rows?: Rows | undefined;
  /** All groups that must run before it. */
  before: Set<Draft>;
}

class Fusion {
  readonly #region: Region;
  readonly #inPlace: InPlace;
  readonly #isKernel: (composite: string) => boolean;
  readonly #users = new Map<Value, ReadonlySet<Op | undefined>>();
  readonly #order: ReadonlyMap<Op, number>;
  readonly #groupOf = new Map<Op, Draft>();
  /** By the first value in a memory: ops that have read it. */
  readonly #readers = new Map<Value, Op[]>();
  /** Groups since the last barrier; those before it are done. */
  #open = new Set<Draft>();
  readonly #done: Draft[] = [];

  constructor(region: Region, inPlace: InPlace, isKernel: (composite: string) => boolean) {
    this.#region = region;
    this.#inPlace = inPlace;
    this.#isKernel = isKernel;
    this.#order = new Map(region.body.map((op, i) => [op, i]));
    // A nested use is one of the op of this region that holds it.
    for (const op of region.body) for (const value of reads(op)) this.#use(value, op);
    for (const value of region.results) this.#use(value, undefined);
  }

  #use(value: Value, user: Op | undefined): void {
    this.#users.set(value, new Set(this.#users.get(value)).add(user));
  }

  groups(): readonly Group[] {
    for (const op of this.#region.body) {
      const isBarrier = this.#isBarrier(op);
      if (isBarrier) this.#close();
      this.#place(op);
      if (isBarrier) this.#close();
    }
    this.#close();
    return this.#done.map((draft) => this.#describe(draft));
  }

  #kind(op: Op): GroupKind {
    if (this.#isRename(op)) return 'data';
    if (op.name === 'composite' && this.#isKernel(op.attributes.name)) return 'single';
    // What places elements elsewhere has read all of a state before it overwrites it.
    const moves = op.name === 'slice' || op.name === 'concatenate';
    return moves && this.#inPlace.has(op.results[0]) ? 'single' : kindOf(op);
  }

  #isRename(op: Op): boolean {
    const target = op.name === 'reshape' ? this.#inPlace.get(op.results[0]) : undefined;
    return target !== undefined && this.#home(target) === this.#home(op.operands[0]);
  }

  /** Whether all before it must have run, and nothing after it. */
  #isBarrier(op: Op): boolean {
    if (op.name === 'custom_call') return op.attributes.has_side_effect;
    const kind = this.#kind(op);
    const overwrites = kind === 'elementwise' || kind === 'reduce' || kind === 'scatter';
    return op.results.some((value) => this.#inPlace.has(value)) && !overwrites && !this.#isRename(op);
  }

  /** The first value in the memory of this one. */
  #home(value: Value): Value {
    let home = value;
    for (let next: Value | undefined = home; next !== undefined; next = this.#inPlace.get(next)) home = next;
    return home;
  }

  /** The state that an op overwrites whole, by its first value. */
  #overwritten(op: Op): Value | undefined {
    const [result] = op.results;
    return result !== undefined && this.#inPlace.has(result) && !this.#isRename(op) ? this.#home(result) : undefined;
  }

  /** What is open is put in order: each group after those that it needs, otherwise as the program has them. */
  #close(): void {
    const placed = new Set<Draft>();
    const place = (draft: Draft) => {
      if (placed.has(draft) || !this.#open.has(draft)) return;
      placed.add(draft);
      draft.before.forEach(place);
      this.#done.push(draft);
    };
    this.#open.forEach(place);
    this.#open = new Set();
  }

  #place(op: Op): void {
    const kind = this.#kind(op);
    const rows = kind === 'reduce' ? rowsOf(op) : undefined;
    const shape = shapeOf(kind === 'concatenate' ? op.operands[0] : op.results.at(0));
    const draft: Draft = { kind, ops: [op], shape, rows, before: new Set() };
    const after = (other: Op | undefined) => {
      const earlier = other && this.#openGroup(other);
      if (earlier === undefined) return;
      draft.before.add(earlier);
      for (const each of earlier.before) draft.before.add(each);
    };
    const overwritten = this.#overwritten(op);
    if (overwritten !== undefined) this.#readers.get(overwritten)?.forEach(after);
    for (const value of reads(op)) {
      if (value.owner.kind === 'op') after(value.owner);
      this.#noteReader(this.#home(value), op);
    }
    this.#groupOf.set(op, draft);
    this.#open.add(draft);
    for (const operand of op.operands) {
      const maker = this.#maker(operand);
      const own = this.#groupOf.get(op);
      if (maker === undefined || own === undefined || maker === own || !this.#isApart(maker, own)) continue;
      const joined = this.#join(op, operand, maker, own);
      if (joined !== undefined && this.#keepsState([...maker.ops, ...own.ops], joined)) this.#merge(maker, own, joined);
    }
    if (op.name === 'scatter' && kind === 'scatter') this.#besideOther(op);
  }

  /** Rows that go to the same places of another table as earlier ones. */
  #besideOther(op: OpOf<'scatter'>): void {
    const own = this.#groupOf.get(op);
    if (own === undefined) return;
    const isBeside = (other: Op) =>
      other.name === 'scatter' && goesWith(other, op) && other.operands[0] !== op.operands[0];
    const found = [...this.#open].find(
      (other) => other !== own && other.kind === 'scatter' && other.ops.some(isBeside) && !own.before.has(other),
    );
    if (found === undefined || !this.#isApart(found, own)) return;
    if (this.#keepsState([...found.ops, ...own.ops], own)) this.#merge(found, own, own);
  }

  #noteReader(home: Value, op: Op): void {
    const ops = this.#readers.get(home);
    if (ops === undefined) this.#readers.set(home, [op]);
    else ops.push(op);
  }

  /** The open group that makes a value. */
  #maker(value: Value): Draft | undefined {
    return value.owner.kind === 'op' ? this.#openGroup(value.owner) : undefined;
  }

  #openGroup(op: Op): Draft | undefined {
    const draft = this.#groupOf.get(op);
    return draft !== undefined && this.#open.has(draft) ? draft : undefined;
  }

  /** No third group must run between the two. */
  #isApart(a: Draft, b: Draft): boolean {
    const between = (first: Draft, last: Draft) =>
      [...last.before].some((other) => other !== first && other.before.has(first));
    return !between(a, b) && !between(b, a);
  }

  /** Kind and loops of the group that `op` and what it has joined make with the group of an operand; undefined if none. */
  #join(op: Op, operand: Value, maker: Draft, own: Draft): Joined | undefined {
    const made = shapeOf(operand);
    switch (own.kind) {
      case 'elementwise':
        if (maker.kind === 'dot') {
          // After a product: what runs over its result. A second product keeps a group of its own.
          const plain = op.name !== 'broadcast_in_dim' && op.name !== 'reshape';
          return plain && sameShape(own.shape, maker.shape) ? { kind: 'dot', shape: maker.shape } : undefined;
        }
        if (maker.kind === 'reduce') {
          const same = sameShape(made, own.shape) ? op.name !== 'reshape' : continues(op, made);
          return same && maker.rows !== undefined && isOf(maker.rows, own.shape)
            ? { kind: 'reduce', shape: own.shape, rows: maker.rows }
            : undefined;
        }
        if (maker.kind !== 'elementwise' || !sameShape(made, maker.shape)) return undefined;
        return sameShape(own.shape, maker.shape) || continues(op, made) ? own : undefined;
      case 'concatenate':
        return maker.kind === 'elementwise' && sameShape(made, maker.shape) && sameShape(own.shape, maker.shape)
          ? own
          : undefined;
      case 'dot':
        // Before a product: what computes its activations for nobody else.
        if (maker.kind === 'elementwise' && own.ops.length === 1 && operand === op.operands[0]) {
          return this.#servesOnly(maker, op) ? own : undefined;
        }
        // After it: other operands of what has joined the product.
        return maker.kind === 'elementwise' && op !== own.ops[0] && sameShape(maker.shape, own.shape) ? own : undefined;
      case 'scatter':
        // What computes its rows for nobody else; each of its elements is asked for once.
        if (maker.kind !== 'elementwise' || operand !== op.operands[2] || !sameShape(made, maker.shape))
          return undefined;
        return this.#servesOnly(maker, op) ? own : undefined;
      case 'reduce': {
        // A reduction's initial value is no part of its loops.
        if (op.name === 'reduce' && operand !== op.operands[0]) return undefined;
        if (maker.kind === 'elementwise') {
          const over = op.name === 'reduce' ? made : own.shape;
          return sameShape(made, maker.shape) && sameShape(over, maker.shape) ? own : undefined;
        }
        const { rows } = own;
        if (maker.kind !== 'reduce' || rows === undefined || maker.rows === undefined) return undefined;
        const same = sameShape(rows.shape, maker.rows.shape) && sameShape(rows.kept, maker.rows.kept);
        return same && isOf(rows, made) ? own : undefined;
      }
      case 'data':
      case 'single':
        return undefined;
      default:
        return own.kind satisfies never;
    }
  }

  /**
   * Of a state that one of the ops overwrites, the others must read each element where it is overwritten: in the loops that run
   * once over its shape, and not before a product, which is computed in loops of its own.
   */
  #keepsState(ops: readonly Op[], { kind, shape }: Joined): boolean {
    const overwritten = new Set(ops.flatMap((op) => this.#overwritten(op) ?? []));
    if (overwritten.size === 0) return true;
    const made = new Set(ops.flatMap(({ results }) => results));
    return ops.every((op) =>
      [...reads(op)].every((value) => {
        if (made.has(value)) return kindOf(op) !== 'dot';
        if (!overwritten.has(this.#home(value)) || (kindOf(op) === 'scatter' && value === op.operands[0])) return true;
        const pointwise = Object.hasOwn(elementwise, op.name) && sameShape(shapeOf(value), shapeOf(op.results[0]));
        return kind !== 'reduce' && kind !== 'scatter' && pointwise && sameShape(shapeOf(value), shape);
      }),
    );
  }

  #servesOnly(draft: Draft, user: Op): boolean {
    return draft.ops.every((op) =>
      op.results.every((value) =>
        [...(this.#users.get(value) ?? [])].every(
          (other) => other === user || (other !== undefined && draft.ops.includes(other)),
        ),
      ),
    );
  }

  #merge(maker: Draft, own: Draft, { kind, shape, rows }: Joined): void {
    maker.kind = kind;
    maker.shape = shape;
    maker.rows = rows;
    maker.ops.push(...own.ops);
    for (const op of own.ops) this.#groupOf.set(op, maker);
    for (const earlier of own.before) maker.before.add(earlier);
    maker.before.delete(maker);
    this.#open.delete(own);
    for (const other of this.#open) {
      if (other !== maker && (other.before.has(maker) || other.before.delete(own))) {
        other.before.delete(own);
        other.before.add(maker);
        for (const earlier of maker.before) other.before.add(earlier);
      }
    }
  }

  #describe({ kind, ops }: Draft): Group {
    const sorted = ops.toSorted((a, b) => (this.#order.get(a) ?? 0) - (this.#order.get(b) ?? 0));
    const inside = new Set(sorted.flatMap((op) => op.results));
    const inputs = [...new Set(sorted.flatMap((op) => [...reads(op)]))].filter((value) => !inside.has(value));
    const outputs = [...inside].filter((value) =>
      [...(this.#users.get(value) ?? [])].some((user) => user === undefined || !sorted.includes(user)),
    );
    const bytes = kind === 'data' ? 0 : [...inputs, ...outputs].reduce((sum, value) => sum + valueBytes(value), 0);
    return {
      kind,
      ops: sorted,
      inputs,
      outputs,
      bytes,
      operations: sorted.reduce((sum, op) => sum + opOperations(op), 0),
    };
  }
}

function kindOf(op: Op): GroupKind {
  switch (op.name) {
    case 'constant':
      return 'data';
    case 'dot_general':
      return 'dot';
    case 'composite':
      return op.attributes.name === compositePrefix + quantizedDotComposite.name ? 'dot' : 'single';
    case 'reduce':
      return op.results.length === 1 ? 'reduce' : 'single';
    case 'broadcast_in_dim':
    case 'iota':
    case 'reshape':
    case 'slice':
      return 'elementwise';
    case 'scatter':
      return op.results.length === 1 && assigns(op.regions[0], 1) ? 'scatter' : 'single';
    case 'concatenate':
      return op.operands.every(({ type }) => sameShape(shapeOf(op.operands[0]), asTensor(type).shape))
        ? 'concatenate'
        : 'single';
    // Its result has another number of elements, or is a pair of numbers.
    case 'bitcast_convert':
      return sameShape(shapeOf(op.operands[0]), shapeOf(op.results[0])) ? 'elementwise' : 'single';
    default:
      return Object.hasOwn(elementwise, op.name) ? 'elementwise' : 'single';
  }
}

/** A body that returns its updates as they are. */
export function assigns(region: Region, arity: number): boolean {
  return region.results.every((value, i) => value === region.parameters[arity + i]);
}

/** Whether the rows of two go to the same places, in the same loops. */
function goesWith(a: OpOf<'scatter'>, b: OpOf<'scatter'>): boolean {
  const [, aPlaces, aRows] = a.operands;
  const [, bPlaces, bRows] = b.operands;
  return (
    aPlaces === bPlaces &&
    sameShape(shapeOf(aRows), shapeOf(bRows)) &&
    JSON.stringify(a.attributes) === JSON.stringify(b.attributes)
  );
}

/** Undefined where it is over other dimensions, or what follows is better off with loops of its own. */
function rowsOf(op: Op): Rows | undefined {
  if (op.name !== 'reduce') return undefined;
  const { shape } = asTensor(op.operands[0].type);
  const { shape: kept } = asTensor(op.results[0].type);
  const count = (dims: readonly Dim[]) => dims.reduce<number>((product, dim) => product * maxDim(dim), 1);
  const trailing = op.attributes.dimensions.every((d) => d >= kept.length);
  const enough = kept.some((dim) => typeof dim !== 'number') || count(kept) >= ENOUGH_ROWS;
  return trailing && enough && count(shape.slice(kept.length)) <= ROW_ELEMENTS ? { shape, kept } : undefined;
}

/** Whether a shape is that of rows, or has an element a row. */
const isOf = (rows: Rows, shape: readonly Dim[]) => sameShape(rows.shape, shape) || sameShape(rows.kept, shape);

function shapeOf(value: Value | undefined): readonly Dim[] {
  return value?.type.kind === 'tensor' ? value.type.shape : [];
}

/** The op repeats what has been computed inside of more loops, or counts the same elements in others. */
function continues(op: Op, from: readonly Dim[]): boolean {
  if (op.name === 'reshape') return true;
  if (op.name !== 'broadcast_in_dim') return false;
  const { shape } = asTensor(op.results[0].type);
  return op.attributes.broadcast_dimensions.every((d, i) => d === i) && sameShape(shape.slice(0, from.length), from);
}
