/**
 * The one copy that all ops which only move elements are made of: an N-dimensional box from one array to another, each
 * with its own strides. Elements are moved as words, so NaN payloads survive and one loop serves every type.
 */
import type { ElementType } from '../../numerics/element-types.ts';
import { type HostArray, hostArray, numbersPerElement } from '../../numerics/host-array.ts';
import { elementCount, stridesOf } from './kernel.ts';

type Words = Uint8Array | Uint16Array | Int32Array;

/** The memory of an array in units of 1, 2 or 4 bytes: the widest that divides its elements. */
export function wordsOf(array: HostArray): Words {
  switch (array.BYTES_PER_ELEMENT) {
    case 1:
      return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    case 2:
      return new Uint16Array(array.buffer, array.byteOffset, array.byteLength / 2);
    default:
      return new Int32Array(array.buffer, array.byteOffset, array.byteLength / 4);
  }
}

/** Words of `wordsOf` that make one element. */
export function wordsPerElement(element: ElementType): number {
  const bytes = hostArray(element, 0).BYTES_PER_ELEMENT;
  return Math.max(1, bytes / 4) * numbersPerElement(element);
}

/** Offsets in elements. */
export type StridedCopy = (out: HostArray, outOffset: number, from: HostArray, fromOffset: number) => void;

interface Axis {
  extent: number;
  out: number;
  from: number;
}

/** Copies a box of `shape`; strides are in elements and may be 0 or negative on the side that is read. */
export function stridedCopy(
  element: ElementType,
  shape: readonly number[],
  outStrides: readonly number[],
  fromStrides: readonly number[],
): StridedCopy {
  if (shape.includes(0)) return () => {};
  const width = wordsPerElement(element);
  const axes = mergeAxes([
    ...shape.map((extent, i) => ({ extent, out: outStrides[i] * width, from: fromStrides[i] * width })),
    { extent: width, out: 1, from: 1 },
  ]);
  const inner = axes.pop() ?? { extent: 1, out: 1, from: 1 };
  const counter = new Int32Array(axes.length);
  return (out, outOffset, from, fromOffset) => {
    const to = wordsOf(out);
    const source = wordsOf(from);
    let o = outOffset * width;
    let f = fromOffset * width;
    counter.fill(0);
    for (;;) {
      copyLine(to, o, inner.out, source, f, inner.from, inner.extent);
      let d = axes.length - 1;
      for (; d >= 0; d--) {
        const axis = axes[d];
        o += axis.out;
        f += axis.from;
        if (++counter[d] < axis.extent) break;
        counter[d] = 0;
        o -= axis.extent * axis.out;
        f -= axis.extent * axis.from;
      }
      if (d < 0) return;
    }
  };
}

/** Without axes of extent 1; axes that step as one are one. */
function mergeAxes(axes: readonly Axis[]): Axis[] {
  const merged: Axis[] = [];
  for (const axis of axes) {
    if (axis.extent === 1) continue;
    const last = merged.at(-1);
    if (last !== undefined && last.out === axis.out * axis.extent && last.from === axis.from * axis.extent) {
      merged[merged.length - 1] = { extent: last.extent * axis.extent, out: axis.out, from: axis.from };
    } else {
      merged.push(axis);
    }
  }
  return merged;
}

/** Words from which on the engine's own copy is faster than a loop: it costs a view each time. */
const setLength = 192;

function copyLine(
  out: Words,
  outAt: number,
  outStride: number,
  from: Words,
  fromAt: number,
  fromStride: number,
  count: number,
): void {
  if (outStride === 1 && fromStride === 1 && count >= setLength) {
    out.set(from.subarray(fromAt, fromAt + count), outAt);
  } else if (outStride === 1 && fromStride === 0) {
    out.fill(from[fromAt], outAt, outAt + count);
  } else {
    for (let i = 0; i < count; i++) {
      out[outAt] = from[fromAt];
      outAt += outStride;
      fromAt += fromStride;
    }
  }
}

/** A tensor with its dimensions in another order. */
export interface Reordering {
  /** The array itself if the order in memory is the same. */
  apply(array: HostArray): HostArray;
  /** Bytes of the copy. */
  readonly bytes: number;
}

export function reorder(element: ElementType, shape: readonly number[], order: readonly number[]): Reordering {
  const moving = order.filter((d) => shape[d] !== 1);
  if (moving.every((d, i) => i === 0 || d > moving[i - 1])) return { apply: (array) => array, bytes: 0 };
  const target = order.map((d) => shape[d]);
  const strides = stridesOf(shape);
  const fromStrides = order.map((d) => strides[d]);
  const copy = stridedCopy(element, target, stridesOf(target), fromStrides);
  const count = elementCount(shape);
  return {
    apply(array) {
      const copied = hostArray(element, count);
      copy(copied, 0, array, 0);
      return copied;
    },
    bytes: hostArray(element, 1).byteLength * count,
  };
}

/** Element `at` of `from` to element `outAt` of `out`, for single elements of any type. */
export function copyElement(width: 1 | 2, out: HostArray, outAt: number, from: HostArray, at: number): void {
  if (width === 1) {
    out[outAt] = from[at];
  } else {
    out[2 * outAt] = from[2 * at];
    out[2 * outAt + 1] = from[2 * at + 1];
  }
}
