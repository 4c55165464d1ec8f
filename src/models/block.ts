/**
 * A block: a part of a model as a function from value to value, together with the tensors and the state that it has.
 * Blocks are put together like functions, and so an architecture's layer is a formula.
 */
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import type { Scope } from './scope.ts';
import type { TensorRow } from './tensors.ts';

/** State by its short name: heads and dimensions of what is kept of each token. */
export type Pools = Readonly<Record<string, readonly [heads: number, dimensions: number]>>;

export interface Block {
  /** Blocks of equal key build the same for the same tensors: layers that look alike share a function by it. */
  readonly key: string;
  readonly rows: readonly TensorRow[];
  readonly pools: Pools;
  /** Tokens that its pools are seen back, this one included; all if absent. */
  readonly window?: number | undefined;
  build(l: Scope, x: Value): Value;
}

/** A block without state. `options` are all that `build` depends on. */
export function block(name: string, options: unknown, rows: readonly TensorRow[], build: Block['build']): Block {
  return { key: keyOf(name, options), rows, pools: {}, build };
}

export function keyOf(name: string, options: unknown): string {
  return `${name} ${JSON.stringify(options)}`;
}

function together(name: string, blocks: readonly Block[], build: Block['build']): Block {
  return {
    key: `${name}(${blocks.map(({ key }) => key).join('; ')})`,
    rows: blocks.flatMap(({ rows }) => rows),
    pools: Object.assign({}, ...blocks.map(({ pools }) => pools)),
    window: blocks.find(({ window }) => window !== undefined)?.window,
    build,
  };
}

/** One after another. */
export function chain(...blocks: readonly Block[]): Block {
  return together('chain', blocks, (l, x) => blocks.reduce((value, { build }) => build(l, value), x));
}

/** `x + inner(x)`. */
export function residual(inner: Block): Block {
  return together('residual', [inner], (l, x) => l.b.add(x, inner.build(l, x)));
}

/** The sum of what several make of the same x. */
export function sum(...blocks: readonly Block[]): Block {
  return together('sum', blocks, (l, x) => blocks.map(({ build }) => build(l, x)).reduce((a, b) => l.b.add(a, b)));
}

/** `x * factor`. */
export function scale(factor: number): Block {
  return block('scale', factor, [], (l, x) => {
    const { element, shape } = asTensor(x.type);
    return l.b.multiply(x, l.b.full(element, shape, factor));
  });
}

/** `cap * tanh(x / cap)`. */
export function softCap(cap: number): Block {
  return block('soft_cap', cap, [], (l, x) => {
    const { element, shape } = asTensor(x.type);
    const full = l.b.full(element, shape, cap);
    return l.b.multiply(l.b.unary('tanh', l.b.divide(x, full)), full);
  });
}
