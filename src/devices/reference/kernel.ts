/**
 * What one op of a program becomes: a closure over static shapes that fills result arrays from operand arrays. Symbolic
 * dimensions have their values by then (`interpret.ts` specialises a program for the dimensions of a run).
 */
import { IngotError } from '../../base/errors.ts';
import type { OpName } from '../../ir/attributes.ts';
import type { OpOf } from '../../ir/program.ts';
import type { ElementType } from '../../numerics/element-types.ts';
import type { HostArray } from '../../numerics/host-array.ts';

export type BigArray = BigInt64Array | BigUint64Array;
export type NumberArray = Exclude<HostArray, BigArray>;

/** A tensor at run time: a row-major host array; tuples are arrays of these, tokens are null. */
export type RuntimeValue = HostArray | readonly RuntimeValue[] | null;
/** The values of one call of a function, by slot; nested regions share the frame of their function. */
export type Frame = (RuntimeValue | undefined)[];

/** A tensor type with its dimensions known. */
export interface Shaped {
  readonly element: ElementType;
  readonly shape: readonly number[];
  /** Elements. */
  readonly count: number;
}

/** A region over scalars, evaluated once an element without allocating: write `parameters`, `run`, read `results`. */
export interface ScalarRegion {
  readonly parameters: readonly HostArray[];
  /** Valid after `enter`. */
  readonly results: readonly HostArray[];
  /** Binds the region to the frame of the function that runs. */
  enter(frame: Frame): void;
  run(): void;
}

export interface KernelSite<N extends OpName> {
  readonly op: OpOf<N>;
  readonly inputs: readonly Shaped[];
  readonly outputs: readonly Shaped[];
  /** Region `index` of the op. */
  scalarRegion(index: number): ScalarRegion;
}

export interface Kernel {
  /** Fills all of `outputs`; an output may be the memory of an operand that `reuse` allows, and none is zeroed. */
  run(inputs: readonly HostArray[], outputs: readonly HostArray[], frame: Frame): void;
  /** Per result, the operands whose memory it may be. */
  readonly reuse?: readonly (readonly number[])[];
  /** Bytes that it takes while it runs. */
  readonly scratchBytes?: number;
}

export type KernelMaker<N extends OpName> = (site: KernelSite<N>) => Kernel;

export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const extent of shape) count *= extent;
  return count;
}

/** Row-major, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

export function unsupported(op: { readonly name: string; readonly location?: string }, what: string): IngotError {
  const place = op.location === undefined ? '' : ` (${op.location})`;
  return new IngotError('UnsupportedOp', `${op.name}${place}: ${what} is not supported by the reference device`, {
    op: op.name,
    device: 'reference',
  });
}
