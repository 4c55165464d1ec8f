/**
 * `quantized_dot` (composites/quantized_dot.ts), and several with what is added to them (composites/joined_dot.ts): the activations made
 * ready, then the product.
 */
import { kernelCost } from '../../../compiler/kernel/kernel-cost.ts';
import type { Follower } from '../../../compiler/kernel/piece.ts';
import { printKernel } from '../../../compiler/kernel/print.ts';
import {
  type JoinedDotAttributes,
  type JoinedDotOperands,
  joinedDotComposite,
  joinedDotOperands,
} from '../../../composites/joined_dot.ts';
import {
  type DotNumerics,
  type QuantizedDotAttributes,
  quantizedDotComposite,
} from '../../../composites/quantized_dot.ts';
import { operandsByName } from '../../../composites/quantized_weight.ts';
import type { Value } from '../../../ir/program.ts';
import { asTensor, type DimValues, maxDim, resolveDim } from '../../../ir/types.ts';
import { activationBytes, activationRowBytes, activationsKernel, activationsOf } from '../kernels/activations.ts';
import { groupsOf, namedBuffers } from '../kernels/followers.ts';
import { packedBytes, packedFormat } from '../kernels/packing.ts';
import { type DotShape, quantizedDotKernel } from '../kernels/quantized-dot.ts';
import type { Target } from '../target.ts';
import {
  type CompositeBuffer,
  type CompositeKernel,
  type CompositeLaunch,
  dimsOf,
  rowsOf,
} from './composite-kernel.ts';

export const quantizedDotKernels: CompositeKernel = {
  name: quantizedDotComposite.name,
  covers({ attributes, operands }, packed) {
    const { format, operands: names } = attributes.composite_attributes as QuantizedDotAttributes;
    return packed.get(operands[names.indexOf('weight')]) === format;
  },
  canFollow: ({ results: [y] }, followers) => canFollow(y, followers),
  launches({ operands, attributes, results }, target, followers) {
    const { operands: names, ...options } = attributes.composite_attributes as QuantizedDotAttributes;
    const { weight, bias } = operandsByName(operands, names) as { readonly weight: Value; readonly bias?: Value };
    const biases = bias === undefined ? [] : [bias];
    return dotLaunches({ x: operands[0], weights: [weight], biases }, options, results[0], target, followers);
  },
};

export const joinedDotKernels: CompositeKernel = {
  name: joinedDotComposite.name,
  covers({ attributes, operands }, packed) {
    const options = attributes.composite_attributes as JoinedDotAttributes;
    return joinedDotOperands(operands, options).weights.every((weight) => packed.get(weight) === options.format);
  },
  canFollow({ attributes, results: [y] }, followers) {
    return !(attributes.composite_attributes as JoinedDotAttributes).residual && canFollow(y, followers);
  },
  launches({ operands, attributes, results }, target, followers) {
    const options = attributes.composite_attributes as JoinedDotAttributes;
    return dotLaunches(joinedDotOperands(operands, options), options, results[0], target, followers);
  },
};

/** Fewer pieces than that are not worth sharing. */
const leastGroups = 8;

function canFollow(y: Value, followers: readonly Follower[]): boolean {
  const [tokens, N] = asTensor(y.type).shape;
  if (tokens === undefined || typeof tokens === 'number' || typeof N !== 'number') return false;
  const groups = groupsOf(N, tokens.sym, followers) ?? [];
  return groups.reduce((sum, { count }) => sum + count, 0) >= leastGroups;
}

/** Bytes that a follower reads and writes of memory that a launch names. */
function namedBytes({ kernel, inner }: Follower, dims: DimValues): number {
  const own = new Set(kernel.buffers.filter((_, i) => inner[i] !== undefined));
  return kernelCost(kernel, dims, own).bytes;
}

function dotLaunches(
  { x, weights, biases, residual }: JoinedDotOperands,
  { format, numerics }: Pick<JoinedDotAttributes, 'format' | 'numerics'>,
  y: Value,
  target: Target,
  followers: readonly Follower[],
): readonly CompositeLaunch[] {
  const matrices = weights.map(({ type }) => maxDim(asTensor(type).shape[0]));
  const N = matrices.reduce((sum, rows) => sum + rows, 0);
  const K = maxDim(asTensor(weights[0].type).shape[1]);
  const tokens = rowsOf(x);
  const shape: DotShape = {
    ...{ format, numerics, tokens, N, K, bias: biases.length > 0 },
    ...(matrices.length > 1 && { matrices }),
    ...(residual !== undefined && { residual: true }),
    ...(followers.length > 0 && { followers }),
  };
  const follow = followers.map(({ kernel, inner }) => `\n${inner} ${printKernel(kernel)}`).join('');
  const made = followers.length > 0 ? namedBuffers(followers) : [{ value: y }];
  const dims = dimsOf(tokens);
  const weightBytes = packedBytes(packedFormat(format), [N, K]);
  const { prepare, input, bytes: inputBytes } = prepareActivations(x, format, numerics, K, target);
  const dot: CompositeLaunch = {
    key: `quantized_dot ${JSON.stringify({ ...shape, followers: undefined })}${follow}`,
    kernel: () => quantizedDotKernel(shape, target),
    buffers: [
      input,
      ...[...weights, ...biases, ...(residual === undefined ? [] : [residual])].map((value) => ({ value })),
      ...made,
    ],
    dims,
    scratchBytes: 0,
    cost({ dims: values }) {
      const T = resolveDim(tokens, values);
      const own = followers.length > 0 ? 0 : 4 * T * N * (residual === undefined ? 1 : 2);
      // Of what follows, operations are few beside the product's, and of another type.
      const results = followers.reduce((sum, follower) => sum + namedBytes(follower, values), own);
      const bytes = weightBytes + inputBytes(T) + (biases.length > 0 ? 4 * N : 0) + results;
      return { bytes, operations: 2 * T * N * K, element: numerics };
    },
  };
  return [...prepare, dot];
}

interface ReadyActivations {
  /** What makes them ready, in the first bytes of scratch, where that is to be done. */
  readonly prepare: readonly CompositeLaunch[];
  readonly scratchBytes: number;
  readonly input: CompositeBuffer;
  /** Of so many tokens. */
  bytes(tokens: number): number;
}

/** What a product with a weight of rows of K takes as `x`. */
export function prepareActivations(
  x: Value,
  format: string,
  numerics: DotNumerics,
  K: number,
  target: Target,
): ReadyActivations {
  const tokens = rowsOf(x);
  const activations = activationsOf(packedFormat(format), numerics, target);
  const bytes = (T: number) => activationBytes(activations, T, K);
  if (activations.kind === 'plain') return { prepare: [], scratchBytes: 0, input: { value: x }, bytes };
  const scratchBytes = bytes(maxDim(tokens));
  const prepare: CompositeLaunch = {
    key: `activations ${JSON.stringify([activations, tokens, K])}`,
    kernel: () => activationsKernel(activations, tokens, K),
    buffers: [{ value: x }, { scratch: 0 }],
    dims: dimsOf(tokens),
    scratchBytes,
    prepares: { of: [x], from: 0, to: scratchBytes },
    row: {
      tokens,
      bytes: [4 * K, activationRowBytes(activations, K)],
      kernel: () => activationsKernel(activations, 1, K),
    },
    // The largest magnitude, a product, a rounding.
    cost({ dims: values }) {
      const T = resolveDim(tokens, values);
      return { bytes: 4 * T * K + bytes(T), operations: 3 * T * K, element: 'f32' };
    },
  };
  return { prepare: [prepare], scratchBytes, input: { scratch: 0 }, bytes };
}
