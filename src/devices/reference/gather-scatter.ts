/**
 * gather and scatter: windows of a big tensor, at the places that index vectors name, from or to a small one. Both are
 * one map of windows; what lies outside is clamped by gather and dropped by scatter.
 */
import type { OpAttributes } from '../../ir/attributes.ts';
import { plainFold } from '../../ir/plain-fold.ts';
import type { Region } from '../../ir/program.ts';
import { numberBinary, storeRounding } from '../../ir/scalar-functions.ts';
import { type HostArray, numbersPerElement } from '../../numerics/host-array.ts';
import { elementCount, type KernelMaker, type NumberArray, stridesOf } from './kernel.ts';
import { copyElement, stridedCopy, wordsOf, wordsPerElement } from './strided.ts';

/** The dimensions of a gather or scatter sorted out: windows, index vectors, and where both lie in the big operand. */
interface WindowMap {
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
function scatterMap(
  inputShape: readonly number[],
  indicesShape: readonly number[],
  updateShape: readonly number[],
  a: OpAttributes['scatter'],
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

/** A body that returns its updates as they are. */
function assigns(region: Region, arity: number): boolean {
  return region.results.every((value, i) => value === region.parameters[arity + i]);
}

/** Updates are applied in row-major order of the indices, each window whole or not at all. */
export const scatter: KernelMaker<'scatter'> = ({ op, inputs, outputs, scalarRegion }) => {
  const arity = outputs.length;
  const indices = inputs[arity];
  const updates = inputs[arity + 1];
  const { shape } = inputs[0];
  const map = scatterMap(shape, indices.shape, updates.shape, op.attributes);
  const elements = outputs.map(({ element }) => element);
  const widths = elements.map(numbersPerElement);
  const reuse = outputs.map((_, i) => [i]);
  const begin = (arrays: readonly HostArray[], outs: readonly HostArray[]) => {
    for (let i = 0; i < arity; i++) if (outs[i] !== arrays[i]) wordsOf(outs[i]).set(wordsOf(arrays[i]));
  };
  if (assigns(op.regions[0], arity)) {
    const copies = elements.map((element) => stridedCopy(element, map.windowShape, map.bigStrides, map.smallStrides));
    return {
      run(arrays, outs) {
        begin(arrays, outs);
        if (updates.count === 0) return;
        map.visit(arrays[arity], 'drop', (big, small) => {
          if (big < 0) return;
          for (let i = 0; i < arity; i++) copies[i](outs[i], big, arrays[arity + 1 + i], small);
        });
      },
      reuse,
    };
  }
  const windowCount = elementCount(map.windowShape);
  const windowStrides = stridesOf(map.windowShape);
  const offsetIn = (strides: readonly number[], n: number) =>
    map.windowShape.reduce((sum, extent, d) => sum + (Math.floor(n / windowStrides[d]) % extent) * strides[d], 0);
  const name = arity === 1 && updates.element === elements[0] ? plainFold(op.regions[0]) : undefined;
  const f = name === undefined ? undefined : numberBinary(name, elements[0]);
  const round = storeRounding(elements[0]) ?? ((v: number) => v);
  const region = scalarRegion(0);
  return {
    run(arrays, outs, frame) {
      begin(arrays, outs);
      if (updates.count === 0) return;
      region.enter(frame);
      map.visit(arrays[arity], 'drop', (big, small) => {
        if (big < 0) return;
        for (let n = 0; n < windowCount; n++) {
          const to = big + offsetIn(map.bigStrides, n);
          const at = small + offsetIn(map.smallStrides, n);
          if (f !== undefined) {
            const out = outs[0] as NumberArray;
            out[to] = round(f(out[to], (arrays[2] as NumberArray)[at]));
            continue;
          }
          for (let i = 0; i < arity; i++) {
            copyElement(widths[i], region.parameters[i], 0, outs[i], to);
            copyElement(widths[i], region.parameters[arity + i], 0, arrays[arity + 1 + i], at);
          }
          region.run();
          for (let i = 0; i < arity; i++) copyElement(widths[i], outs[i], to, region.results[i], 0);
        }
      });
    },
    reuse,
  };
};
