/** Ops that place elements: all but iota are one strided copy a result, or one an operand. */
import { elementClass } from '../../numerics/element-types.ts';
import type { HostArray } from '../../numerics/host-array.ts';
import { storeRounding } from './elementwise.ts';
import { elementCount, type KernelMaker, type NumberArray, stridesOf } from './kernel.ts';
import { stridedCopy, wordsOf, wordsPerElement } from './strided.ts';

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

/** The dimensions of a gather or scatter sorted out: windows, index vectors, and where both lie in the big operand. */
export interface WindowMap {
  /** Calls `visit` with the offset of each window in the big tensor (-1: partly outside) and in the small one. */
  visit(indices: HostArray, outside: 'clamp' | 'drop', visit: (big: number, small: number) => void): void;
  readonly windowShape: readonly number[];
  readonly bigStrides: readonly number[];
  readonly smallStrides: readonly number[];
}

function windowMap(
  bigShape: readonly number[],
  indicesShape: readonly number[],
  smallShape: readonly number[],
  windowSizes: readonly number[],
  windowDims: readonly number[],
  collapsed: readonly number[],
  bigBatching: readonly number[],
  indicesBatching: readonly number[],
  indexMap: readonly number[],
  indexVectorDim: number,
): WindowMap {
  const bigStrides = stridesOf(bigShape);
  const smallStrides = stridesOf(smallShape);
  const indexStrides = stridesOf(indicesShape);
  const vectorStride = indexVectorDim < indicesShape.length ? indexStrides[indexVectorDim] : 0;
  const kept = bigShape.map((_, d) => d).filter((d) => !collapsed.includes(d) && !bigBatching.includes(d));
  const batchDims = indicesShape.map((_, d) => d).filter((d) => d !== indexVectorDim);
  const smallBatchDims = smallShape.map((_, d) => d).filter((d) => !windowDims.includes(d));
  const batchShape = batchDims.map((d) => indicesShape[d]);
  const batches = elementCount(batchShape);
  const limits = indexMap.map((d) => bigShape[d] - windowSizes[d]);
  const mapStrides = indexMap.map((d) => bigStrides[d]);
  // A batching dimension of the big operand moves with its dimension of the indices.
  const batchBig = batchDims.map((d) => {
    const i = indicesBatching.indexOf(d);
    return i < 0 ? 0 : bigStrides[bigBatching[i]];
  });
  return {
    windowShape: kept.map((d) => windowSizes[d]),
    bigStrides: kept.map((d) => bigStrides[d]),
    smallStrides: windowDims.map((d) => smallStrides[d]),
    visit(indices, outside, visit) {
      const counter = new Int32Array(batchShape.length);
      for (let n = 0; n < batches; n++) {
        let at = 0;
        let small = 0;
        let big = 0;
        for (let i = 0; i < batchShape.length; i++) {
          at += counter[i] * indexStrides[batchDims[i]];
          small += counter[i] * smallStrides[smallBatchDims[i]];
          big += counter[i] * batchBig[i];
        }
        for (let i = 0; i < limits.length && big >= 0; i++) {
          const start = Number(indices[at + i * vectorStride]);
          if (start >= 0 && start <= limits[i]) big += start * mapStrides[i];
          else if (outside === 'clamp') big += (start < 0 ? 0 : limits[i]) * mapStrides[i];
          else big = -1;
        }
        visit(big, small);
        for (let i = batchShape.length - 1; i >= 0 && ++counter[i] === batchShape[i]; i--) counter[i] = 0;
      }
    },
  };
}

export const gather: KernelMaker<'gather'> = ({ op, inputs: [operand, indices], outputs: [out] }) => {
  const a = op.attributes;
  const sizes = a.slice_sizes.map((size, i) => (typeof size === 'number' ? size : operand.shape[i]));
  const map = windowMap(
    operand.shape,
    indices.shape,
    out.shape,
    sizes,
    a.offset_dims,
    a.collapsed_slice_dims,
    a.operand_batching_dims,
    a.start_indices_batching_dims,
    a.start_index_map,
    a.index_vector_dim,
  );
  const copy = stridedCopy(out.element, map.windowShape, map.smallStrides, map.bigStrides);
  const row = map.windowShape.length === 1 && map.smallStrides[0] === 1 && map.bigStrides[0] === 1;
  const width = wordsPerElement(out.element);
  const length = elementCount(map.windowShape) * width;
  return {
    run([from, at], [to]) {
      if (out.count === 0) return;
      if (!row) return map.visit(at, 'clamp', (big, small) => copy(to, small, from, big));
      const source = wordsOf(from);
      const target = wordsOf(to);
      map.visit(at, 'clamp', (big, small) => {
        target.set(source.subarray(big * width, big * width + length), small * width);
      });
    },
  };
};

/** The window map of a scatter, seen from its inputs. */
export function scatterMap(
  inputShape: readonly number[],
  indicesShape: readonly number[],
  updateShape: readonly number[],
  a: Parameters<KernelMaker<'scatter'>>[0]['op']['attributes'],
): WindowMap {
  const sizes = inputShape.map(() => 1);
  const kept = inputShape
    .map((_, d) => d)
    .filter((d) => !a.inserted_window_dims.includes(d) && !a.input_batching_dims.includes(d));
  kept.forEach((d, i) => {
    sizes[d] = updateShape[a.update_window_dims[i]];
  });
  return windowMap(
    inputShape,
    indicesShape,
    updateShape,
    sizes,
    a.update_window_dims,
    a.inserted_window_dims,
    a.input_batching_dims,
    a.scatter_indices_batching_dims,
    a.scatter_dims_to_operand_dims,
    a.index_vector_dim,
  );
}
