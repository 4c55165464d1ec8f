/** `paged_attention` (composites/paged_attention.ts): attention, then the merge of partitions where a step is divided by them. */
import type { Cost } from '../../../compiler/cost.ts';
import { type PagedAttentionAttributes, pagedAttentionComposite } from '../../../composites/paged_attention.ts';
import type { OpOf } from '../../../ir/program.ts';
import { asTensor, maxDim, resolveDim } from '../../../ir/types.ts';
import { kvDim, kvFormats } from '../../../numerics/kv-format.ts';
import { attentionBuffers } from '../kernels/attention-blocks.ts';
import { type AttentionShape, headBytes, isSupported, partialsBytes } from '../kernels/attention-shape.ts';
import { attentionKernels } from '../kernels/paged-attention.ts';
import { dimSymbols } from '../kernels/writer.ts';
import type { RunFacts } from '../profile.ts';
import type { Target } from '../target.ts';
import type { CompositeBuffer, CompositeKernel, CompositeLaunch } from './composite-kernel.ts';

export const pagedAttentionKernels: CompositeKernel = {
  name: pagedAttentionComposite.name,
  covers: (op) => attentionShape(op) !== undefined,
  launches: attentionLaunches,
};

/** Undefined where there is no kernel for it. */
function attentionShape({ attributes, operands, results }: OpOf<'composite'>): AttentionShape | undefined {
  const options = attributes.composite_attributes as PagedAttentionAttributes;
  const [q, kPool, vPool, , , ctxLen, blockTable, sinks] = operands.map((value) => asTensor(value.type));
  const [tokens, heads, keyDim] = q.shape;
  const [slots, kvHeads, valueLength] = vPool.shape as readonly number[];
  const [keys, values] = [kPool, vPool].map(
    ({ element }) => options.kv ?? kvFormats.find((format) => format === element),
  );
  const floats = [q, asTensor(results[0].type), ...(sinks === undefined ? [] : [sinks])];
  const columns = blockTable.shape[1];
  if (floats.some(({ element }) => element !== 'f32') || typeof columns !== 'number') return undefined;
  if (keys === undefined || values === undefined) return undefined;
  const { blockSize, partition, scale, window, softCap, bidirectional, numerics } = options;
  const shape: AttentionShape = {
    ...{ tokens, sequences: ctxLen.shape[0], heads: maxDim(heads), kvHeads, keyDim: maxDim(keyDim) },
    ...{
      valueDim: kvDim(values, valueLength),
      keys,
      values,
      blocks: slots / blockSize,
      blockSize,
      columns,
      partition,
      scale,
    },
    ...(window !== undefined && { window }),
    ...(softCap !== undefined && { softCap }),
    ...(bidirectional && { bidirectional }),
    ...(numerics && { numerics }),
    sinks: sinks !== undefined,
  };
  return isSupported(shape) ? shape : undefined;
}

function attentionLaunches(op: OpOf<'composite'>, target: Target): readonly CompositeLaunch[] {
  const shape = attentionShape(op);
  if (shape === undefined) throw new Error('this attention has no kernel');
  const names = ['q', 'kPool', 'vPool', 'positions', 'sequence', 'ctxLen', 'blockTable', 'sinks'];
  return attentionKernels(shape, target).map(({ name, make }) => ({
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
  const { heads, kvHeads, keyDim, valueDim, keys, values, numerics = 'f32' } = shape;
  const T = resolveDim(shape.tokens, dims);
  const S = Math.max(1, resolveDim(shape.sequences, dims));
  if (name !== 'paged_attention') return { bytes: 8 * T * heads * valueDim, operations: 0, element: 'f32' };
  const pools = contextTokens * kvHeads * (headBytes(keys, keyDim) + headBytes(values, valueDim));
  const seen = (T / S) * Math.max(0, contextTokens - (T - S) / 2);
  return {
    bytes: pools + 4 * T * heads * (keyDim + valueDim),
    operations: 2 * seen * heads * (keyDim + valueDim),
    element: numerics === 'i16' ? 'i8' : numerics,
  };
}
