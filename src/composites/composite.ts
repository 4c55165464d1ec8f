/**
 * A named operation of language models: a `stablehlo.composite` whose decomposition into plain StableHLO is its
 * meaning. A device with a kernel of that name takes it, any other inlines the decomposition, so every kernel has an
 * oracle and a new device is right on its first day. One file a composite; a file exports the row and a typed
 * function that emits it.
 */
import type { Attribute } from '../ir/attributes.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import type { ShardingRule } from '../ir/sharding-rule.ts';
import { formatType } from '../ir/types.ts';

export interface Composite<A extends { readonly [key: string]: Attribute }> {
  /** In programs and MLIR text it is `ingot.<name>`. */
  readonly name: string;
  /** Builds the meaning from `operands`; result types follow from it. @throws IngotError 'InvalidProgram'. */
  decompose(b: Builder, operands: readonly Value[], attributes: A): readonly Value[];
  /** How it is split over ranks. */
  sharding(operands: readonly Value[], attributes: A): ShardingRule;
}

export const compositePrefix = 'ingot.';

/** Appends the composite; its decomposition becomes a function once for each distinct use. */
export function emit<A extends { readonly [key: string]: Attribute }>(
  b: Builder,
  composite: Composite<A>,
  operands: readonly Value[],
  attributes: A,
): readonly Value[] {
  const types = operands.map((value) => value.type);
  const key = [composite.name, ...types.map(formatType), JSON.stringify(attributes)].join(' ');
  const func = b.program.defineOnce(key, `${composite.name}.impl`, types, (inner, ...parameters) =>
    composite.decompose(inner, parameters, attributes),
  );
  return b.op(
    'composite',
    operands,
    {
      name: compositePrefix + composite.name,
      composite_attributes: attributes,
      decomposition: func.name,
      version: 1,
    },
    { types: func.results.map((value) => value.type) },
  );
}
