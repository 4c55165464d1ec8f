/**
 * reduce, reduce_window, select_and_scatter and map. Orders are fixed: a plain float sum is the initial value plus
 * `sumLanes` over the reduced elements in row-major order; everything else folds in that order from the initial value,
 * as the region says. Every step rounds to the element type.
 */
import type { BinaryOp } from '../../ir/attributes.ts';
import { plainFold } from '../../ir/plain-fold.ts';
import { numberBinary, storeRounding } from '../../ir/scalar-functions.ts';
import { type ElementType, elementClass } from '../../numerics/element-types.ts';
import { type HostArray, hostArray, numbersPerElement } from '../../numerics/host-array.ts';
import { sumLanes } from '../../numerics/math.ts';
import { type FloatType, rounder } from '../../numerics/rounding.ts';
import {
  elementCount,
  type Kernel,
  type KernelMaker,
  type NumberArray,
  type ScalarRegion,
  stridesOf,
} from './kernel.ts';
import { copyElement, reorder } from './strided.ts';

/** A fold of `count` numbers from `at`, `stride` apart; undefined if the type or op needs the region itself. */
type NumberFold = (x: NumberArray, at: number, count: number, stride: number, init: number) => number;

function numberFold(name: BinaryOp, element: ElementType): NumberFold | undefined {
  const f = numberBinary(name, element);
  if (f === undefined) return undefined;
  if (elementClass(element) === 'float') {
    const round = rounder(element as FloatType);
    if (name === 'add') return (x, at, count, stride, init) => round(init + sumLanes(x, at, count, stride, round));
    return (x, at, count, stride, init) => {
      let result = init;
      for (let i = 0; i < count; i++) result = round(f(result, x[at + i * stride]));
      return result;
    };
  }
  // The cell wraps integers as the array of the type does.
  const cell = hostArray(element, 1) as NumberArray;
  const round = storeRounding(element) ?? ((value: number) => value);
  return (x, at, count, stride, init) => {
    cell[0] = init;
    for (let i = 0; i < count; i++) cell[0] = round(f(cell[0], x[at + i * stride]));
    return cell[0];
  };
}

export const reduce: KernelMaker<'reduce'> = ({ op, inputs, outputs, scalarRegion }) => {
  const { dimensions } = op.attributes;
  const arity = outputs.length;
  const { shape } = inputs[0];
  const all = shape.map((_, d) => d);
  const reduced = all.filter((d) => dimensions.includes(d));
  // Neighbouring dimensions are folded where they lie, as [outer, count, inner]; others are brought together first.
  const together = reduced.every((d, i) => i === 0 || d === reduced[i - 1] + 1);
  const order = together ? all : [...all.filter((d) => !dimensions.includes(d)), ...reduced];
  const last = order.indexOf(reduced.at(-1) ?? -1);
  const inner = elementCount(order.slice(last + 1).map((d) => shape[d]));
  const count = elementCount(reduced.map((d) => shape[d]));
  const first = (i: number) => Math.floor(i / inner) * inner * count + (i % inner);
  const elements = inputs.slice(0, arity).map(({ element }) => element);
  const ordered = elements.map((element) => reorder(element, shape, order));
  const scratchBytes = ordered.reduce((sum, { bytes }) => sum + bytes, 0);
  const name = arity === 1 && outputs[0].element === elements[0] ? plainFold(op.regions[0]) : undefined;
  const fold = name === undefined ? undefined : numberFold(name, elements[0]);
  if (fold !== undefined) {
    return {
      run([a, init], [o]) {
        const x = ordered[0].apply(a) as NumberArray;
        const out = o as NumberArray;
        const start = (init as NumberArray)[0];
        for (let i = 0; i < out.length; i++) out[i] = fold(x, first(i), count, inner, start);
      },
      scratchBytes,
    };
  }
  const folder = regionFold(scalarRegion(0), elements);
  return {
    run(arrays, outs, frame) {
      const values = ordered.map(({ apply }, i) => apply(arrays[i]));
      folder.enter(frame);
      for (let i = 0; i < outputs[0].count; i++) {
        folder.start(arrays, arity);
        for (let r = 0; r < count; r++) folder.add(values, first(i) + r * inner);
        folder.finish(outs, i);
      }
    },
    scratchBytes,
  };
};

/** Folds with any region over any number of operands: accumulators first, then elements. */
function regionFold(region: ScalarRegion, elements: readonly ElementType[]) {
  const arity = elements.length;
  const widths = elements.map(numbersPerElement);
  const accumulators = region.parameters.slice(0, arity);
  const values = region.parameters.slice(arity);
  const returned = elements.map((element) => hostArray(element, 1));
  return {
    enter: region.enter,
    /** From the initial values `arrays[at ...]`. */
    start(arrays: readonly HostArray[], at: number) {
      for (let i = 0; i < arity; i++) copyElement(widths[i], accumulators[i], 0, arrays[at + i], 0);
    },
    add(arrays: readonly HostArray[], at: number) {
      for (let i = 0; i < arity; i++) copyElement(widths[i], values[i], 0, arrays[i], at);
      region.run();
      // A region may return one parameter as the other's result: all are read before any is written.
      if (arity === 1) {
        copyElement(widths[0], accumulators[0], 0, region.results[0], 0);
      } else {
        for (let i = 0; i < arity; i++) copyElement(widths[i], returned[i], 0, region.results[i], 0);
        for (let i = 0; i < arity; i++) copyElement(widths[i], accumulators[i], 0, returned[i], 0);
      }
    },
    finish(outs: readonly HostArray[], at: number) {
      for (let i = 0; i < arity; i++) copyElement(widths[i], outs[i], at, accumulators[i], 0);
    },
  };
}

interface WindowShape {
  readonly size: readonly number[];
  readonly strides: readonly number[];
  readonly low: readonly number[];
  readonly baseDilations: readonly number[];
  readonly windowDilations: readonly number[];
}

/** Offsets in the operand of the elements under the window at `position`, in ascending order; -1 for padding. */
function windowVisitor(shape: readonly number[], window: WindowShape) {
  const strides = stridesOf(shape);
  const count = elementCount(window.size);
  const at = new Int32Array(shape.length);
  return (position: Int32Array, visit: (offset: number) => void) => {
    at.fill(0);
    for (let n = 0; n < count; n++) {
      let offset = 0;
      for (let d = 0; d < shape.length && offset >= 0; d++) {
        const place = position[d] * window.strides[d] - window.low[d] + at[d] * window.windowDilations[d];
        const index = place / window.baseDilations[d];
        offset = Number.isInteger(index) && index >= 0 && index < shape[d] ? offset + index * strides[d] : -1;
      }
      visit(offset);
      advance(at, window.size);
    }
  };
}

/** The next index of `shape` in row-major order. */
function advance(index: Int32Array, shape: readonly number[]): void {
  for (let d = shape.length - 1; d >= 0 && ++index[d] === shape[d]; d--) index[d] = 0;
}

/** Padding contributes the initial value, as the specification says. */
export const reduceWindow: KernelMaker<'reduce_window'> = ({ op, inputs, outputs, scalarRegion }) => {
  const a = op.attributes;
  const arity = outputs.length;
  const visitWindow = windowVisitor(inputs[0].shape, {
    size: a.window_dimensions,
    strides: a.window_strides,
    low: a.padding.map(([low]) => low),
    baseDilations: a.base_dilations,
    windowDilations: a.window_dilations,
  });
  const elements = inputs.slice(0, arity).map(({ element }) => element);
  const folder = regionFold(scalarRegion(0), elements);
  return {
    run(arrays, outs, frame) {
      const inits = arrays.slice(arity);
      const position = new Int32Array(outputs[0].shape.length);
      folder.enter(frame);
      for (let i = 0; i < outputs[0].count; i++) {
        folder.start(arrays, arity);
        visitWindow(position, (offset) => (offset < 0 ? folder.add(inits, 0) : folder.add(arrays, offset)));
        folder.finish(outs, i);
        advance(position, outputs[0].shape);
      }
    },
  };
};

/** Each source element goes to the element of its window that `select` keeps, where `scatter` folds it in. */
export const selectAndScatter: KernelMaker<'select_and_scatter'> = ({
  op,
  inputs: [operand, source],
  scalarRegion,
}) => {
  const a = op.attributes;
  const ones = operand.shape.map(() => 1);
  const visitWindow = windowVisitor(operand.shape, {
    size: a.window_dimensions,
    strides: a.window_strides,
    low: a.padding.map(([low]) => low),
    baseDilations: ones,
    windowDilations: ones,
  });
  const [selects, scatters] = [scalarRegion(0), scalarRegion(1)];
  const width = numbersPerElement(operand.element);
  return {
    run([x, values, init], [out], frame) {
      const position = new Int32Array(source.shape.length);
      selects.enter(frame);
      for (let i = 0; i < operand.count; i++) copyElement(width, out, i, init, 0);
      for (let i = 0; i < source.count; i++) {
        let chosen = -1;
        visitWindow(position, (offset) => {
          if (offset < 0) return;
          if (chosen >= 0) {
            copyElement(width, selects.parameters[0], 0, x, chosen);
            copyElement(width, selects.parameters[1], 0, x, offset);
            selects.run();
            if (selects.results[0][0]) return;
          }
          chosen = offset;
        });
        if (chosen >= 0) {
          scatters.enter(frame);
          copyElement(width, scatters.parameters[0], 0, out, chosen);
          copyElement(width, scatters.parameters[1], 0, values, i);
          scatters.run();
          copyElement(width, out, chosen, scatters.results[0], 0);
          selects.enter(frame);
        }
        advance(position, source.shape);
      }
    },
  };
};

export const map: KernelMaker<'map'> = ({ inputs, outputs: [{ element, count }], scalarRegion }): Kernel => {
  const region = scalarRegion(0);
  const widths = inputs.map((input) => numbersPerElement(input.element));
  const width = numbersPerElement(element);
  return {
    run(arrays, [out], frame) {
      region.enter(frame);
      for (let i = 0; i < count; i++) {
        for (let j = 0; j < arrays.length; j++) copyElement(widths[j], region.parameters[j], 0, arrays[j], i);
        region.run();
        copyElement(width, out, i, region.results[0], 0);
      }
    },
  };
};
