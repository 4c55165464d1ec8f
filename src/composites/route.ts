/**
 * The router of a mixture of experts (Shazeer et al., https://arxiv.org/abs/1701.06538): from a score for each expert to
 * those that a token uses, best first, and how much each counts. Equal ones are taken from the lower id on.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, type Dim, formatType } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';

export type RouteAttributes = {
  /** Experts of a token. */
  readonly chosen: number;
  /** Weights are a softmax over all experts, that divided by its sum over the chosen, or a softmax over the chosen alone. */
  readonly weights: 'softmax' | 'normalized' | 'chosen';
  /** Factor on the weights. */
  readonly scale: number;
  /**
   * Experts lie in groups of equal size; only those of the `kept` groups with the best experts can be chosen (DeepSeek-V2,
   * https://arxiv.org/abs/2405.04434, section 2.2.2).
   */
  readonly groups?: number;
  readonly kept?: number;
};

/** Ops over [T, E]. */
class Scores {
  readonly #b: Builder;
  readonly #tokens: Dim;

  constructor(b: Builder, tokens: Dim) {
    this.#b = b;
    this.#tokens = tokens;
  }

  softmax(x: Value): Value {
    const b = this.#b;
    const { shape } = asTensor(x.type);
    const exponentials = b.exponential(
      b.subtract(x, b.broadcast(b.reduce('maximum', x, Number.NEGATIVE_INFINITY, [1]), shape, [0])),
    );
    return this.normalize(exponentials);
  }

  normalize(x: Value): Value {
    const b = this.#b;
    return b.divide(x, b.broadcast(b.reduce('add', x, 0, [1]), asTensor(x.type).shape, [0]));
  }

  /** i32 [T, n]: how many of the n values of a token come before each. */
  ranks(x: Value, n: number): Value {
    const b = this.#b;
    const shape = [this.#tokens, n, n];
    const [own, other] = [b.broadcast(x, shape, [0, 1]), b.broadcast(x, shape, [0, 2])];
    const lower = b.compare('LT', b.iota('i32', shape, 2), b.iota('i32', shape, 1));
    const before = b.or(b.compare('GT', other, own), b.and(b.compare('EQ', other, own), lower));
    return b.reduce('add', b.convert(before, 'i32'), 0, [2]);
  }

  /** Of [T, n], for each of the first `count` ranks the value that has it, in [T, count]. */
  pick(values: Value, ranks: Value, n: number, count: number): Value {
    const b = this.#b;
    const shape = [this.#tokens, count, n];
    const { element } = asTensor(values.type);
    const has = b.compare('EQ', b.broadcast(ranks, shape, [0, 2]), b.iota('i32', shape, 1));
    return b.reduce('add', b.select(has, b.broadcast(values, shape, [0, 2]), b.full(element, shape, 0)), 0, [2]);
  }

  /** The scores of the chosen as their weights. */
  weigh(picked: Value, kind: RouteAttributes['weights']): Value {
    switch (kind) {
      case 'softmax':
        return picked;
      case 'normalized':
        return this.normalize(picked);
      case 'chosen':
        return this.softmax(picked);
      default:
        return kind satisfies never;
    }
  }

  /** Scores of groups that are not among the best become 0. */
  keep(scores: Value, experts: number, groups: number, kept: number): Value {
    const b = this.#b;
    const grouped = [this.#tokens, groups, experts / groups];
    const ranks = this.ranks(b.reduce('maximum', b.reshape(scores, grouped), 0, [2]), groups);
    const good = b.compare('LT', ranks, b.full('i32', [this.#tokens, groups], kept));
    const each = b.reshape(b.broadcast(good, grouped, [0, 1]), [this.#tokens, experts]);
    return b.select(each, scores, b.full('f32', [this.#tokens, experts], 0));
  }
}

export const routeComposite: Composite<RouteAttributes> = {
  name: 'route',
  decompose(b, [logits], { chosen, weights: kind, scale, groups, kept }) {
    const [tokens, experts] = asTensor(logits.type).shape;
    if (typeof experts !== 'number' || chosen > experts || experts % (groups ?? 1) !== 0) {
      throw new IngotError('InvalidProgram', `route cannot choose ${chosen} of ${formatType(logits.type)}`);
    }
    const s = new Scores(b, tokens);
    const wide = b.convert(logits, 'f32');
    const all = kind === 'chosen' ? wide : s.softmax(wide);
    const scores = groups === undefined || kept === undefined ? all : s.keep(all, experts, groups, kept);
    const ranks = s.ranks(scores, experts);
    const ids = s.pick(b.iota('i32', [tokens, experts], 1), ranks, experts, chosen);
    const picked = s.pick(scores, ranks, experts, chosen);
    const weights = s.weigh(picked, kind);
    return [ids, scale === 1 ? weights : b.multiply(weights, b.full('f32', [tokens, chosen], scale))];
  },
  sharding: () => ({ factors: [{ operands: [0], results: [0, 0] }] }),
};

/** `logits` [T, E]; `ids` i32 [T, k] and `weights` f32 [T, k], the best first. */
export function route(b: Builder, logits: Value, attributes: RouteAttributes): { ids: Value; weights: Value } {
  const [ids, weights] = emit(b, routeComposite, [logits], attributes);
  return { ids, weights };
}
