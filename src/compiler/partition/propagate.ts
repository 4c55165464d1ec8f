/**
 * Spreads splits from a few dimensions over a program, forwards and backwards until nothing changes, as GSPMD (Xu et al.,
 * https://arxiv.org/abs/2105.04663, section 3.5) and Shardy do: what hands values on first, then what computes. Who comes first has it:
 * where two splits would meet, both stay, and the op between them moves data.
 */
import type { Value } from '../../ir/program.ts';
import type { Segment, Share } from './share.ts';
import type { Split } from './split.ts';
import type { Member, Tie, Ties } from './ties.ts';

interface State {
  readonly share: Share;
  readonly segments: readonly Segment[];
}

export interface Seed {
  readonly value: Value;
  readonly dim: number;
  readonly share: Share;
}

export class Propagation {
  readonly #ties: Ties;
  /** Dimensions that nothing may split but their statement. */
  readonly #closed: ReadonlyMap<Value, ReadonlySet<number>>;
  readonly #states = new Map<Value, (State | undefined)[]>();
  readonly #pending: readonly [Set<Tie>, Set<Tie>, Set<Tie>] = [new Set(), new Set(), new Set()];

  constructor(ties: Ties, closed: ReadonlyMap<Value, ReadonlySet<number>> = new Map()) {
    this.#ties = ties;
    this.#closed = closed;
  }

  /** False where the dimension cannot be split so. Follow with `spread`. */
  seed({ value, dim, share }: Seed): boolean {
    const size = sizeOf(value, dim);
    if (size === undefined) return false;
    return this.#set(value, dim, { share, segments: [{ size, shared: false }] }, true);
  }

  spread(): void {
    for (;;) {
      const queue = this.#pending.find(({ size }) => size > 0);
      if (queue === undefined) return;
      const [tie] = queue;
      queue.delete(tie);
      if (tie.kind === 'same') this.#same(tie.members);
      else this.#pieces(tie);
    }
  }

  splitsOf(value: Value): readonly (Split | undefined)[] {
    if (value.type.kind !== 'tensor') return [];
    return value.type.shape.map((_, dim) => {
      const state = this.#state(value, dim);
      return state?.share.root.split(state.segments);
    });
  }

  has(value: Value, dim: number): boolean {
    return this.#state(value, dim) !== undefined;
  }

  #state(value: Value, dim: number): State | undefined {
    return this.#states.get(value)?.[dim];
  }

  #set(value: Value, dim: number, state: State, stated = false): boolean {
    if (!stated && this.#closed.get(value)?.has(dim)) return false;
    const states = this.#states.get(value) ?? [];
    const share = state.share.root;
    const taken = states.some((other) => other?.share.axes.some((axis) => share.axes.includes(axis)));
    if (taken) return false;
    const needs = this.#ties.needs(value, dim);
    if (!share.demand(state.segments.map((segment) => ({ ...segment, ...needs })))) return false;
    states[dim] = state;
    this.#states.set(value, states);
    for (const tie of this.#ties.of(value)) this.#pending[tie.order].add(tie);
    return true;
  }

  #same(members: readonly Member[]): void {
    const from = members.find(({ value, dim }) => this.#state(value, dim) !== undefined);
    const state = from && this.#state(from.value, from.dim);
    if (from === undefined || state === undefined) return;
    for (const member of members) {
      const segments = carry(state.segments, from, member);
      if (member === from || segments === undefined) continue;
      const own = this.#state(member.value, member.dim);
      if (own === undefined) this.#set(member.value, member.dim, { share: state.share, segments });
      else if (
        own.segments.length === segments.length &&
        own.segments.every(({ size }, i) => size === segments[i].size)
      ) {
        state.share.root.unite(own.share.root);
      }
    }
  }

  #pieces({ whole, pieces }: Extract<Tie, { kind: 'pieces' }>): void {
    const state = this.#state(whole.value, whole.dim);
    const sizes = pieces.map(({ value, dim }) => sizeOf(value, dim) ?? 0);
    if (state !== undefined) {
      // Where the segments are those of the pieces, each has its own.
      let next = 0;
      pieces.forEach(({ value, dim }, i) => {
        const segments: Segment[] = [];
        let sum = 0;
        while (sum < sizes[i] && next < state.segments.length) {
          segments.push(state.segments[next]);
          sum += state.segments[next++].size;
        }
        if (sum === sizes[i] && this.#state(value, dim) === undefined) {
          this.#set(value, dim, { share: state.share, segments });
        }
      });
      return;
    }
    const known = pieces.map(({ value, dim }) => this.#state(value, dim));
    const first = known.find((each) => each !== undefined);
    if (first === undefined) return;
    if (!known.every((each) => each === undefined || first.share.root.unite(each.share.root))) return;
    const segments = known.flatMap((each, i) => each?.segments ?? [{ size: sizes[i], shared: false }]);
    this.#set(whole.value, whole.dim, { share: first.share, segments });
  }
}

/** Undefined for symbolic dimensions: how many they are is only known when a program runs. */
function sizeOf({ type }: Value, dim: number): number | undefined {
  const size = type.kind === 'tensor' ? type.shape[dim] : undefined;
  return typeof size === 'number' ? size : undefined;
}

/** The segments of one member's dimension in another's; undefined where they would not be whole. */
function carry(segments: readonly Segment[], from: Member, to: Member): readonly Segment[] | undefined {
  const [a, b] = [sizeOf(from.value, from.dim), sizeOf(to.value, to.dim)];
  if (a === undefined || b === undefined || a === 0) return undefined;
  const carried = segments.map(({ size, shared }) => ({
    size: (size * b) / a,
    shared: from.shared === to.shared ? shared : to.shared,
  }));
  return carried.every(({ size }) => Number.isInteger(size)) ? carried : undefined;
}
