/**
 * How a value is said to lie on a mesh, in the terms of Shardy (https://openxla.org/shardy/sharding_representation): for each
 * dimension the axes that split it. Statements are what programs carry; `compiler/partition/` decides the rest.
 */
import { IngotError } from '../base/errors.ts';
import { type Mesh, sizeAlong } from './mesh.ts';
import type { OpOf } from './program.ts';
import { formatType, type TensorType } from './types.ts';

export interface DimSharding {
  /** The first splits coarsest. */
  readonly axes: readonly string[];
  /** More axes may split it. */
  readonly open: boolean;
  /** Statements of lower numbers are spread first; 0 if absent. */
  readonly priority?: number;
  /** Elements on each rank along the axes; as even as may be if absent. */
  readonly extents?: readonly number[];
}

export interface Sharding {
  /** One for each dimension. */
  readonly dims: readonly DimSharding[];
  /** Axes along which every rank has the same. */
  readonly replicated: readonly string[];
}

/** Shardy's op for it, and GSPMD's custom call. */
export const constraintTarget = 'sdy.sharding_constraint';
const constraints: readonly string[] = [constraintTarget, 'Sharding'];

/** A custom call that states the sharding of its operand, in `extra`, and hands it on. */
export function isConstraint({ attributes }: OpOf<'custom_call'>): boolean {
  return constraints.includes(attributes.call_target_name);
}

/** @throws IngotError 'InvalidProgram' for what does not fit the type or the mesh. */
export function verifySharding(mesh: Mesh, { shape, ...type }: TensorType, { dims, replicated }: Sharding): void {
  const fail = (message: string): never => {
    throw new IngotError('InvalidProgram', `the sharding of ${formatType({ ...type, shape })} ${message}`);
  };
  if (dims.length !== shape.length) fail(`has ${dims.length} dimensions`);
  const used = new Set<string>();
  for (const name of [...dims.flatMap(({ axes }) => axes), ...replicated]) {
    if (used.has(name)) fail(`names axis '${name}' twice`);
    used.add(name);
  }
  dims.forEach(({ axes, extents }, d) => {
    const size = sizeAlong(mesh, axes);
    const dim = shape[d];
    if (extents === undefined) return;
    const sum = extents.reduce((a, b) => a + b, 0);
    if (extents.length !== size) fail(`has ${extents.length} extents for ${size} ranks along dimension ${d}`);
    if (sum !== dim || extents.some((n) => !Number.isSafeInteger(n) || n < 0)) {
      fail(`has extents [${extents}] for dimension ${d}`);
    }
  });
}
