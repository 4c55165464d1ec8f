/** sort: a merge sort of positions, so that any comparator over any number of operands can order them. */
import type { ComparisonDirection } from '../../ir/attributes.ts';
import type { Region } from '../../ir/program.ts';
import { numbersPerElement } from '../../numerics/host-array.ts';
import { type KernelMaker, stridesOf } from './kernel.ts';
import { copyElement } from './strided.ts';

/** A comparator that is one comparison of the elements of one operand: which, and how. */
function plainComparator(region: Region): { operand: number; direction: ComparisonDirection } | undefined {
  const [op] = region.body;
  if (region.body.length !== 1 || op.name !== 'compare' || region.results[0] !== op.results[0]) return undefined;
  if (op.attributes.compare_type === 'TOTALORDER') return undefined;
  const operand = region.parameters.indexOf(op.operands[0]);
  if (operand < 0 || operand % 2 !== 0 || op.operands[1] !== region.parameters[operand + 1]) return undefined;
  return { operand: operand / 2, direction: op.attributes.comparison_direction };
}

/** Merge sort of `order` by `less(a, b)`; stable, and makes the same comparisons for the same data whatever `less` is. */
function mergeSort(order: Int32Array, less: (a: number, b: number) => boolean): void {
  const n = order.length;
  let from: Int32Array = order;
  let to: Int32Array = new Int32Array(n);
  for (let width = 1; width < n; width *= 2) {
    for (let low = 0; low < n; low += 2 * width) {
      const middle = Math.min(low + width, n);
      const high = Math.min(low + 2 * width, n);
      for (let i = low, j = middle, k = low; k < high; k++) {
        const takeRight = i >= middle || (j < high && less(from[j], from[i]));
        to[k] = takeRight ? from[j++] : from[i++];
      }
    }
    [from, to] = [to, from];
  }
  if (from !== order) order.set(from);
}

/** Always stable. */
export const sort: KernelMaker<'sort'> = ({ op, inputs, scalarRegion }) => {
  const { shape, count } = inputs[0];
  const rank = shape.length;
  const dimension = op.attributes.dimension < 0 ? op.attributes.dimension + rank : op.attributes.dimension;
  const strides = stridesOf(shape);
  const extent = rank === 0 ? 1 : shape[dimension];
  const stride = rank === 0 ? 1 : strides[dimension];
  const widths = inputs.map(({ element }) => numbersPerElement(element));
  const plain = plainComparator(op.regions[0]);
  const region = scalarRegion(0);
  const lines = extent === 0 ? 0 : count / extent;
  return {
    run(arrays, outs, frame) {
      const order = new Int32Array(extent);
      region.enter(frame);
      const at = { base: 0 };
      const byRegion = (a: number, b: number) => {
        for (let i = 0; i < arrays.length; i++) {
          copyElement(widths[i], region.parameters[2 * i], 0, arrays[i], at.base + a * stride);
          copyElement(widths[i], region.parameters[2 * i + 1], 0, arrays[i], at.base + b * stride);
        }
        region.run();
        return region.results[0][0] !== 0;
      };
      let less = byRegion;
      const keys = plain === undefined ? undefined : arrays[plain.operand];
      if (keys instanceof Float32Array && widths[plain?.operand ?? 0] === 1) {
        if (plain?.direction === 'LT') less = (a, b) => keys[at.base + a * stride] < keys[at.base + b * stride];
        if (plain?.direction === 'GT') less = (a, b) => keys[at.base + a * stride] > keys[at.base + b * stride];
      }
      for (let line = 0; line < lines; line++) {
        at.base = Math.floor(line / stride) * stride * extent + (line % stride);
        for (let i = 0; i < extent; i++) order[i] = i;
        mergeSort(order, less);
        for (let j = 0; j < arrays.length; j++) {
          for (let i = 0; i < extent; i++) {
            copyElement(widths[j], outs[j], at.base + i * stride, arrays[j], at.base + order[i] * stride);
          }
        }
      }
    },
  };
};
