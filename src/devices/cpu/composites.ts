/**
 * Composites that have hand-scheduled kernels: which of them, and which launches each becomes. All others are inlined.
 */

import { IngotError } from '../../base/errors.ts';
import type { OpGroup } from '../../compiler/kernel/lower.ts';
import { type QuantizedDotAttributes, quantizedDotComposite } from '../../composites/quantized_dot.ts';
import { type QuantizedTakeAttributes, quantizedTakeComposite } from '../../composites/quantized_take.ts';
import type { Op, OpOf, Value } from '../../ir/program.ts';
import { asTensor, type Dim, type DimSymbol, maxDim } from '../../ir/types.ts';
import type { EmittedKernel } from './emit/abi.ts';
import { activationBytes, activationsKernel, activationsOf } from './kernels/activations.ts';
import { packedFormat } from './kernels/packing.ts';
import { quantizedDotKernel } from './kernels/quantized-dot.ts';
import { quantizedTakeKernel } from './kernels/quantized-take.ts';
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
}

const dotName = `ingot.${quantizedDotComposite.name}`;
const takeName = `ingot.${quantizedTakeComposite.name}`;

/** Whether this use of a composite has a kernel: its weight lies in panels. */
export function hasKernel({ attributes, operands }: OpOf<'composite'>, packed: PackedValues): boolean {
  if (!isKernelName(attributes.name)) return false;
  const { format, operands: names } = attributes.composite_attributes as
    | QuantizedDotAttributes
    | QuantizedTakeAttributes;
  const weight = operands[(names as readonly string[]).indexOf('weight')];
  return weight !== undefined && packed.get(weight) === format;
}

/** Names of composites some of whose uses are left when those without a kernel are inlined. */
export function isKernelName(name: string): boolean {
  return name === dotName || name === takeName;
}

/** The launches of a group that is one composite with a kernel. */
export function compositeKernels({ ops }: OpGroup, target: Target): readonly CompositeLaunch[] {
  const [op] = ops as readonly Op[];
  if (op?.name !== 'composite' || ops.length !== 1) throw new Error('a composite stands alone');
  return op.attributes.name === dotName ? dotLaunches(op, target) : takeLaunches(op);
}

function dotLaunches(op: OpOf<'composite'>, target: Target): readonly CompositeLaunch[] {
  const { format, numerics, operands: names } = op.attributes.composite_attributes as QuantizedDotAttributes;
  const operand = (name: (typeof names)[number]) => op.operands[names.indexOf(name)];
  const [x, weight, bias] = [operand('x'), operand('weight'), operand('bias') as Value | undefined];
  const [N, K] = asTensor(weight.type).shape.map(maxDim);
  const tokens = rowsOf(x, 1);
  const shape = { format, numerics, tokens, N, K, bias: bias !== undefined };
  const dims = dimsOf(tokens);
  const dot = (activations: CompositeBuffer): CompositeLaunch => ({
    key: `quantized_dot ${JSON.stringify(shape)}`,
    kernel: () => quantizedDotKernel(shape, target),
    buffers: [activations, { value: weight }, ...(bias ? [{ value: bias }] : []), { value: op.results[0] }],
    dims,
    scratchBytes: 0,
  });
  const activations = activationsOf(packedFormat(format), numerics, target);
  if (activations.kind === 'plain') return [dot({ value: x })];
  const prepare: CompositeLaunch = {
    key: `activations ${JSON.stringify([activations, tokens, K])}`,
    kernel: () => activationsKernel(activations, tokens, K),
    buffers: [{ value: x }, { scratch: 0 }],
    dims,
    scratchBytes: activationBytes(activations, maxDim(tokens), K),
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
    },
  ];
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
