/** What a lowering of one op is: the row of a table, and its failures. */
import { IngotError } from '../../base/errors.ts';
import type { OpName } from '../../ir/attributes.ts';
import type { Op, OpOf, Value } from '../../ir/program.ts';
import { asTensor } from '../../ir/types.ts';
import type { ElementType } from '../../numerics/element-types.ts';
import type { Index, Parts, Scope } from './scope.ts';

/** One element of a result, as expressions and, where these are not enough, statements of the scope. */
export type ElementRow<N extends OpName> = (op: OpOf<N>, index: Index, scope: Scope, result: number) => Parts;

export function elementType(value: Value): ElementType {
  return asTensor(value.type).element;
}

export function unsupported(op: Pick<Op, 'name' | 'location'>, what: string): IngotError {
  const place = op.location === undefined ? '' : ` (${op.location})`;
  return new IngotError('UnsupportedOp', `${op.name}${place}: ${what} is not supported`, { op: op.name });
}
