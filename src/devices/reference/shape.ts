/** Ops that place elements: all but iota are one strided copy a result, or one an operand. */

import { storeRounding } from '../../ir/scalar-functions.ts';
import { elementClass } from '../../numerics/element-types.ts';
import type { HostArray } from '../../numerics/host-array.ts';
import { type KernelMaker, type NumberArray, stridesOf } from './kernel.ts';
import { stridedCopy, wordsOf } from './strided.ts';

export const iota: KernelMaker<'iota'> = ({ op, outputs: [{ element, shape, count }] }) => {
  const { iota_dimension: dimension } = op.attributes;
  const stride = stridesOf(shape)[dimension];
  const extent = shape[dimension];
  const round = storeRounding(element) ?? ((x) => x);
  const valueAt = (i: number) => Math.floor(i / stride) % extent;
  if (element === 'i64' || element === 'ui64') {
    return {
      run(_, [out]) {
        for (let i = 0; i < count; i++) out[i] = BigInt(valueAt(i));
      },
    };
  }
  const step = elementClass(element) === 'complex' ? 2 : 1;
  return {
    run(_, [out]) {
      out.fill(0 as never);
      for (let i = 0; i < count; i++) (out as NumberArray)[i * step] = round(valueAt(i));
    },
  };
};

export const transpose: KernelMaker<'transpose'> = ({ op, inputs: [from], outputs: [to] }) => {
  const strides = stridesOf(from.shape);
  const copy = stridedCopy(
    to.element,
    to.shape,
    stridesOf(to.shape),
    op.attributes.permutation.map((d) => strides[d]),
  );
  return { run: ([a], [out]) => copy(out, 0, a, 0) };
};

export const broadcastInDim: KernelMaker<'broadcast_in_dim'> = ({ op, inputs: [from], outputs: [to] }) => {
  const strides = stridesOf(from.shape);
  const fromStrides = to.shape.map(() => 0);
  op.attributes.broadcast_dimensions.forEach((d, i) => {
    fromStrides[d] = from.shape[i] === 1 ? 0 : strides[i];
  });
  const copy = stridedCopy(to.element, to.shape, stridesOf(to.shape), fromStrides);
  return { run: ([a], [out]) => copy(out, 0, a, 0) };
};

export const slice: KernelMaker<'slice'> = ({ op, inputs: [from], outputs: [to] }) => {
  const { start_indices: starts, strides: steps } = op.attributes;
  const strides = stridesOf(from.shape);
  const copy = stridedCopy(
    to.element,
    to.shape,
    stridesOf(to.shape),
    strides.map((stride, i) => stride * steps[i]),
  );
  const base = starts.reduce((sum, start, i) => sum + start * strides[i], 0);
  return { run: ([a], [out]) => copy(out, 0, a, base) };
};

export const reverse: KernelMaker<'reverse'> = ({ op, inputs: [{ element, shape }] }) => {
  const strides = stridesOf(shape);
  const flipped = strides.map((stride, i) => (op.attributes.dimensions.includes(i) ? -stride : stride));
  const base = op.attributes.dimensions.reduce((sum, d) => sum + (shape[d] - 1) * strides[d], 0);
  const copy = stridedCopy(element, shape, strides, flipped);
  return { run: ([a], [out]) => copy(out, 0, a, base) };
};

export const concatenate: KernelMaker<'concatenate'> = ({ op, inputs, outputs: [to] }) => {
  const { dimension } = op.attributes;
  const outStrides = stridesOf(to.shape);
  let at = 0;
  const parts = inputs.map(({ element, shape }) => {
    const copy = stridedCopy(element, shape, outStrides, stridesOf(shape));
    const base = at * outStrides[dimension];
    at += shape[dimension];
    return { copy, base };
  });
  return {
    run(arrays, [out]) {
      for (let i = 0; i < parts.length; i++) parts[i].copy(out, parts[i].base, arrays[i], 0);
    },
  };
};

/** Negative edges cut elements off; interior padding spreads them. */
export const pad: KernelMaker<'pad'> = ({ op, inputs: [from], outputs: [to] }) => {
  const { edge_padding_low: low, interior_padding: interior } = op.attributes;
  const fromStrides = stridesOf(from.shape);
  const outStrides = stridesOf(to.shape);
  // Along each dimension, the operand's elements first ..= last land at low + i * (interior + 1) inside the result.
  const ranges = from.shape.map((extent, i) => {
    const step = interior[i] + 1;
    const first = Math.max(0, Math.ceil(-low[i] / step));
    const last = Math.min(extent - 1, Math.floor((to.shape[i] - 1 - low[i]) / step));
    return { first, count: Math.max(0, last - first + 1), step };
  });
  const copy = stridedCopy(
    to.element,
    ranges.map(({ count }) => count),
    outStrides.map((stride, i) => stride * ranges[i].step),
    fromStrides,
  );
  const outBase = ranges.reduce((sum, { first, step }, i) => sum + (low[i] + first * step) * outStrides[i], 0);
  const fromBase = ranges.reduce((sum, { first }, i) => sum + first * fromStrides[i], 0);
  const fill = stridedCopy(
    to.element,
    to.shape,
    outStrides,
    to.shape.map(() => 0),
  );
  return {
    run([a, value], [out]) {
      fill(out, 0, value, 0);
      copy(out, outBase, a, fromBase);
    },
  };
};

/** Start indices are clamped so that the slice lies inside. */
function startOffset(
  starts: readonly HostArray[],
  shape: readonly number[],
  sizes: readonly number[],
  strides: readonly number[],
): number {
  let offset = 0;
  for (let i = 0; i < shape.length; i++) {
    offset += Math.min(Math.max(Number(starts[i][0]), 0), shape[i] - sizes[i]) * strides[i];
  }
  return offset;
}

export const dynamicSlice: KernelMaker<'dynamic_slice'> = ({ inputs: [from], outputs: [to] }) => {
  const strides = stridesOf(from.shape);
  const copy = stridedCopy(to.element, to.shape, stridesOf(to.shape), strides);
  return { run: ([a, ...starts], [out]) => copy(out, 0, a, startOffset(starts, from.shape, to.shape, strides)) };
};

export const dynamicUpdateSlice: KernelMaker<'dynamic_update_slice'> = ({ inputs: [{ element, shape }, update] }) => {
  const strides = stridesOf(shape);
  const copy = stridedCopy(element, update.shape, strides, stridesOf(update.shape));
  return {
    run([a, values, ...starts], [out]) {
      if (out !== a) wordsOf(out).set(wordsOf(a));
      copy(out, startOffset(starts, shape, update.shape, strides), values, 0);
    },
    reuse: [[0]],
  };
};
