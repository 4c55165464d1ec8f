/**
 * Composites that have hand-scheduled kernels: which of them, and which launches each becomes. All others are inlined.
 */

import type { OpGroup } from '../../compiler/kernel/lower.ts';
import { type QuantizedDotAttributes, quantizedDotComposite } from '../../composites/quantized_dot.ts';
import { type QuantizedTakeAttributes, quantizedTakeComposite } from '../../composites/quantized_take.ts';
import type { Op, OpOf, Value } from '../../ir/program.ts';
import { asTensor, type Dim, type DimSymbol, maxDim } from '../../ir/types.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import type { Kernel } from './kernels/kernel.ts';
import { isPackedFormat, packedFormat } from './kernels/packing.ts';
import { type ActivationBlock, activationBytes, quantizeActivationsKernel } from './kernels/quantize-activations.ts';
import { quantizedDotKernel } from './kernels/quantized-dot.ts';
import { quantizedTakeKernel } from './kernels/quantized-take.ts';

/** A word of an argument block: memory of a value, scratch of the composite, or a number of rows. */
export type CompositeArgument =
  | { readonly value: Value }
  | { readonly scratch: number }
  | { readonly rows: { readonly factor: number; readonly sym?: DimSymbol } };

export interface CompositeLaunch {
  /** Equal for equal kernels. */
  readonly key: string;
  kernel(): Kernel;
  readonly args: readonly CompositeArgument[];
  /** Memory that the launches of one composite share. */
  readonly scratchBytes: number;
}

const dotName = `ingot.${quantizedDotComposite.name}`;
const takeName = `ingot.${quantizedTakeComposite.name}`;

/** Whether this use of a composite has a kernel. */
export function hasKernel({ attributes, operands }: OpOf<'composite'>): boolean {
  if (attributes.name !== dotName && attributes.name !== takeName) return false;
  const { format, operands: names } = attributes.composite_attributes as
    | QuantizedDotAttributes
    | QuantizedTakeAttributes;
  const weight = operands[(names as readonly string[]).indexOf('weight')];
  return weight !== undefined && isPackedFormat(format) && asTensor(weight.type).element === 'f32';
}

/** Names of composites some of whose uses are left when those without a kernel are inlined. */
export function isKernelName(name: string): boolean {
  return name === dotName || name === takeName;
}

/** The launches of a group that is one composite with a kernel. */
export function compositeKernels({ ops }: OpGroup): readonly CompositeLaunch[] {
  const [op] = ops as readonly Op[];
  if (op?.name !== 'composite' || ops.length !== 1) throw new Error('a composite stands alone');
  return op.attributes.name === dotName ? dotLaunches(op) : takeLaunches(op);
}

function dotLaunches(op: OpOf<'composite'>): readonly CompositeLaunch[] {
  const { format, numerics, operands: names } = op.attributes.composite_attributes as QuantizedDotAttributes;
  const operand = (name: (typeof names)[number]) => op.operands[names.indexOf(name)];
  const [x, weight, bias] = [operand('x'), operand('weight'), operand('bias') as Value | undefined];
  const [N, K] = asTensor(weight.type).shape.map(maxDim);
  const rows = { rows: rowsOf(asTensor(x.type).shape.slice(0, -1)) };
  const shape = { format, numerics, N, K, bias: bias !== undefined };
  const dot = (activations: CompositeArgument): CompositeLaunch => ({
    key: `quantized_dot ${JSON.stringify(shape)}`,
    kernel: () => quantizedDotKernel(shape),
    args: [activations, { value: weight }, ...(bias ? [{ value: bias }] : []), { value: op.results[0] }, rows],
    scratchBytes: 0,
  });
  if (numerics !== 'i8') return [dot({ value: x })];
  const block = blockFormat(packedFormat(format)).blockSize as ActivationBlock;
  const most = rowCount(asTensor(x.type).shape.slice(0, -1));
  const quantize: CompositeLaunch = {
    key: `quantize_activations ${block} ${K}`,
    kernel: () => quantizeActivationsKernel(block, K),
    args: [{ value: x }, { scratch: 0 }, rows],
    scratchBytes: activationBytes(block, most, K),
  };
  return [quantize, dot({ scratch: 0 })];
}

function takeLaunches(op: OpOf<'composite'>): readonly CompositeLaunch[] {
  const { format, operands: names } = op.attributes.composite_attributes as QuantizedTakeAttributes;
  const [ids, weight] = [op.operands[names.indexOf('ids')], op.operands[names.indexOf('weight')]];
  const [N, K] = asTensor(weight.type).shape.map(maxDim);
  const shape = { format, N, K };
  return [
    {
      key: `quantized_take ${JSON.stringify(shape)}`,
      kernel: () => quantizedTakeKernel(shape),
      args: [{ value: ids }, { value: weight }, { value: op.results[0] }, { rows: rowsOf(asTensor(ids.type).shape) }],
      scratchBytes: 0,
    },
  ];
}

function rowsOf(shape: readonly Dim[]): { readonly factor: number; readonly sym?: DimSymbol } {
  const factor = shape.reduce<number>((product, dim) => product * (typeof dim === 'number' ? dim : 1), 1);
  const symbolic = shape.find((dim) => typeof dim !== 'number');
  return { factor, ...(typeof symbolic === 'object' && { sym: symbolic.sym }) };
}

function rowCount(shape: readonly Dim[]): number {
  return shape.reduce<number>((product, dim) => product * maxDim(dim), 1);
}
