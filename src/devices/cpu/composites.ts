/**
 * Composites that have hand-scheduled kernels: which of them, and which launches each becomes. All others are inlined.
 */

import { IngotError } from '../../base/errors.ts';
import type { Cost } from '../../compiler/cost.ts';
import type { OpGroup } from '../../compiler/kernel/lower.ts';
import { type PagedAttentionAttributes, pagedAttentionComposite } from '../../composites/paged_attention.ts';
import { type QuantizedDotAttributes, quantizedDotComposite } from '../../composites/quantized_dot.ts';
import { type QuantizedTakeAttributes, quantizedTakeComposite } from '../../composites/quantized_take.ts';
import type { Op, OpOf, Value } from '../../ir/program.ts';
import { asTensor, type Dim, type DimSymbol, maxDim, resolveDim } from '../../ir/types.ts';
import type { EmittedKernel } from './emit/abi.ts';
import { activationBytes, activationsKernel, activationsOf } from './kernels/activations.ts';
import {
  type AttentionShape,
  elementSize,
  isSupported,
  type PoolElement,
  partialsBytes,
  poolElements,
} from './kernels/attention-shape.ts';
import { packedBytes, packedFormat } from './kernels/packing.ts';
import { attentionBuffers, attentionKernels } from './kernels/paged-attention.ts';
import { quantizedDotKernel } from './kernels/quantized-dot.ts';
import { quantizedTakeKernel } from './kernels/quantized-take.ts';
import { dimSymbols } from './kernels/writer.ts';
import type { RunFacts } from './profile.ts';
import type { Target } from './target.ts';
import type { PackedValues } from './weights.ts';

/** A buffer of a launch: memory of a value, or scratch of the composite from an offset. */
export type CompositeBuffer = { readonly value: Value } | { readonly scratch: number };

export interface CompositeLaunch {
  /** Equal for equal kernels. */
  readonly key: string;
  kernel(): EmittedKernel;
  readonly buffers: readonly CompositeBuffer[];
  readonly dims: readonly DimSymbol[];
  /** Memory that the launches of one composite share. */
  readonly scratchBytes: number;
  cost(run: RunFacts): Cost;
}

const dotName = `ingot.${quantizedDotComposite.name}`;
const takeName = `ingot.${quantizedTakeComposite.name}`;
const attentionName = `ingot.${pagedAttentionComposite.name}`;

/** Whether this use of a composite has a kernel: its weight lies in panels, or its shapes are among those that have one. */
export function hasKernel(op: OpOf<'composite'>, packed: PackedValues): boolean {
  const { attributes, operands } = op;
  if (!isKernelName(attributes.name)) return false;
  if (attributes.name === attentionName) return attentionShape(op) !== undefined;
  const { format, operands: names } = attributes.composite_attributes as
    | QuantizedDotAttributes
    | QuantizedTakeAttributes;
  const weight = operands[(names as readonly string[]).indexOf('weight')];
  return weight !== undefined && packed.get(weight) === format;
}

/** Names of composites some of whose uses are left when those without a kernel are inlined. */
export function isKernelName(name: string): boolean {
  return name === dotName || name === takeName || name === attentionName;
}

/** The launches of a group that is one composite with a kernel. */
export function compositeKernels({ ops }: OpGroup, target: Target): readonly CompositeLaunch[] {
  const [op] = ops as readonly Op[];
  if (op?.name !== 'composite' || ops.length !== 1) throw new Error('a composite stands alone');
  switch (op.attributes.name) {
    case dotName:
      return dotLaunches(op, target);
    case takeName:
      return takeLaunches(op);
    default:
      return attentionLaunches(op);
  }
}

function dotLaunches(op: OpOf<'composite'>, target: Target): readonly CompositeLaunch[] {
  const { format, numerics, operands: names } = op.attributes.composite_attributes as QuantizedDotAttributes;
  const operand = (name: (typeof names)[number]) => op.operands[names.indexOf(name)];
  const [x, weight, bias] = [operand('x'), operand('weight'), operand('bias') as Value | undefined];
  const [N, K] = asTensor(weight.type).shape.map(maxDim);
  const tokens = rowsOf(x, 1);
  const shape = { format, numerics, tokens, N, K, bias: bias !== undefined };
  const dims = dimsOf(tokens);
  const weightBytes = packedBytes(packedFormat(format), [N, K]);
  const activations = activationsOf(packedFormat(format), numerics, target);
  const inputBytes = (T: number) => (activations.kind === 'plain' ? 4 * T * K : activationBytes(activations, T, K));
  const dot = (input: CompositeBuffer): CompositeLaunch => ({
    key: `quantized_dot ${JSON.stringify(shape)}`,
    kernel: () => quantizedDotKernel(shape, target),
    buffers: [input, { value: weight }, ...(bias ? [{ value: bias }] : []), { value: op.results[0] }],
    dims,
    scratchBytes: 0,
    cost({ dims: values }) {
      const T = resolveDim(tokens, values);
      const bytes = weightBytes + inputBytes(T) + (bias ? 4 * N : 0) + 4 * T * N;
      return { bytes, operations: 2 * T * N * K, element: numerics };
    },
  });
  if (activations.kind === 'plain') return [dot({ value: x })];
  const prepare: CompositeLaunch = {
    key: `activations ${JSON.stringify([activations, tokens, K])}`,
    kernel: () => activationsKernel(activations, tokens, K),
    buffers: [{ value: x }, { scratch: 0 }],
    dims,
    scratchBytes: activationBytes(activations, maxDim(tokens), K),
    // The largest magnitude, a product, a rounding.
    cost({ dims: values }) {
      const T = resolveDim(tokens, values);
      return { bytes: 4 * T * K + inputBytes(T), operations: 3 * T * K, element: 'f32' };
    },
  };
  return [prepare, dot({ scratch: 0 })];
}

function takeLaunches(op: OpOf<'composite'>): readonly CompositeLaunch[] {
  const { format, operands: names } = op.attributes.composite_attributes as QuantizedTakeAttributes;
  const [ids, weight] = [op.operands[names.indexOf('ids')], op.operands[names.indexOf('weight')]];
  const [N, K] = asTensor(weight.type).shape.map(maxDim);
  const tokens = rowsOf(ids, 0);
  const shape = { format, tokens, N, K };
  return [
    {
      key: `quantized_take ${JSON.stringify(shape)}`,
      kernel: () => quantizedTakeKernel(shape),
      buffers: [{ value: ids }, { value: weight }, { value: op.results[0] }],
      dims: dimsOf(tokens),
      scratchBytes: 0,
      cost({ dims: values }) {
        const T = resolveDim(tokens, values);
        const rowBytes = packedBytes(packedFormat(format), [N, K]) / N;
        return { bytes: T * (4 + rowBytes + 4 * K), operations: T * K, element: 'f32' };
      },
    },
  ];
}

/** Undefined where there is no kernel for it. */
function attentionShape({ attributes, operands, results }: OpOf<'composite'>): AttentionShape | undefined {
  const options = attributes.composite_attributes as PagedAttentionAttributes;
  const [q, kPool, vPool, , , ctxLen, blockTable, sinks] = operands.map((value) => asTensor(value.type));
  const [tokens, heads, keyDim] = q.shape;
  const [slots, kvHeads, valueDim] = vPool.shape as readonly number[];
  const [keys, values] = [kPool, vPool].map(({ element }) => poolElements.find((name) => name === element));
  const floats = [q, asTensor(results[0].type), ...(sinks === undefined ? [] : [sinks])];
  const columns = blockTable.shape[1];
  if (floats.some(({ element }) => element !== 'f32') || typeof columns !== 'number') return undefined;
  if (keys === undefined || values === undefined) return undefined;
  const { blockSize, partition, scale, window, softCap } = options;
  const shape: AttentionShape = {
    ...{ tokens, sequences: ctxLen.shape[0], heads: maxDim(heads), kvHeads, keyDim: maxDim(keyDim), valueDim },
    ...{ keys: keys satisfies PoolElement, values, blocks: slots / blockSize, blockSize, columns, partition, scale },
    ...(window !== undefined && { window }),
    ...(softCap !== undefined && { softCap }),
    sinks: sinks !== undefined,
  };
  return isSupported(shape) ? shape : undefined;
}

function attentionLaunches(op: OpOf<'composite'>): readonly CompositeLaunch[] {
  const shape = attentionShape(op);
  if (shape === undefined) throw new Error('this attention has no kernel');
  const names = ['q', 'kPool', 'vPool', 'positions', 'sequence', 'ctxLen', 'blockTable', 'sinks'];
  return attentionKernels(shape).map(({ name, make }) => ({
    key: `${name} ${JSON.stringify(shape)}`,
    kernel: make,
    buffers: attentionBuffers(shape).map((buffer): CompositeBuffer => {
      if (buffer === 'partials') return { scratch: 0 };
      return { value: buffer === 'y' ? op.results[0] : op.operands[names.indexOf(buffer)] };
    }),
    dims: dimSymbols([shape.tokens, shape.sequences]),
    scratchBytes: partialsBytes(shape),
    cost: (run) => attentionCost(shape, name, run),
  }));
}

/** Of the first kernel: every context once, and as if each token saw all before it in its sequence; of the merge next to nothing. */
function attentionCost(shape: AttentionShape, name: string, { dims, contextTokens }: RunFacts): Cost {
  const { heads, kvHeads, keyDim, valueDim, keys, values } = shape;
  const T = resolveDim(shape.tokens, dims);
  const S = Math.max(1, resolveDim(shape.sequences, dims));
  if (name !== 'paged_attention') return { bytes: 8 * T * heads * valueDim, operations: 0, element: 'f32' };
  const pools = contextTokens * kvHeads * (keyDim * elementSize[keys] + valueDim * elementSize[values]);
  const seen = (T / S) * Math.max(0, contextTokens - (T - S) / 2);
  return {
    bytes: pools + 4 * T * heads * (keyDim + valueDim),
    operations: 2 * seen * heads * (keyDim + valueDim),
    element: 'f32',
  };
}

/** Rows of a value whose last `inner` dimensions make one. */
function rowsOf(value: Value, inner: number): Dim {
  const { shape } = asTensor(value.type);
  const rows = shape.slice(0, shape.length - inner);
  if (rows.length === 1) return rows[0];
  return rows.reduce<number>((product, dim) => {
    if (typeof dim !== 'number') throw new IngotError('UnsupportedOp', 'rows of a symbolic and other dimensions');
    return product * dim;
  }, 1);
}

function dimsOf(tokens: Dim): readonly DimSymbol[] {
  return typeof tokens === 'number' ? [] : [tokens.sym];
}
