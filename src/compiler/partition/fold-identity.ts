/** What changes nothing in a fold: what ranks begin with that are not the first. */
import type { BinaryOp } from '../../ir/attributes.ts';
import { type ElementType, elementClass, elementTypes } from '../../numerics/element-types.ts';

/** Undefined where there is none. */
export function foldIdentity(by: BinaryOp, element: ElementType): number | bigint | boolean | undefined {
  const kind = elementClass(element);
  if (kind === 'complex') return undefined;
  switch (by) {
    case 'add':
      return kind === 'boolean' ? false : 0;
    case 'multiply':
      return kind === 'boolean' ? true : 1;
    case 'or':
      return kind === 'boolean' ? false : 0;
    case 'and':
      if (kind === 'boolean') return true;
      return kind === 'unsigned' ? (1n << BigInt(elementTypes[element].bits)) - 1n : -1;
    case 'maximum':
      return extreme(element, -1);
    case 'minimum':
      return extreme(element, 1);
    default:
      return undefined;
  }
}

/** The least (-1) or the largest (1) value of a type. */
function extreme(element: ElementType, sign: -1 | 1): number | bigint | boolean | undefined {
  const bits = BigInt(elementTypes[element].bits);
  const kind = elementClass(element);
  switch (kind) {
    case 'float':
      return element === 'f8E4M3FN' ? undefined : sign * Number.POSITIVE_INFINITY;
    case 'signed':
      return sign < 0 ? -(1n << (bits - 1n)) : (1n << (bits - 1n)) - 1n;
    case 'unsigned':
      return sign < 0 ? 0 : (1n << bits) - 1n;
    case 'boolean':
      return sign > 0;
    case 'complex':
      return undefined;
    default:
      return kind satisfies never;
  }
}
