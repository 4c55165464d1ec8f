/** Every op of the IR, one row each. A name missing here does not compile. */
import type { OpName } from '../attributes.ts';
import { collective } from './collective.ts';
import { control } from './control.ts';
import { elementwise } from './elementwise.ts';
import { reduction } from './reduction.ts';
import type { OpFamily } from './row.ts';
import { shape } from './shape.ts';

export const ops: OpFamily<OpName> = { ...elementwise, ...shape, ...reduction, ...control, ...collective };

export function isOpName(name: string): name is OpName {
  return Object.hasOwn(ops, name);
}
