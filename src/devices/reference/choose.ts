/** Ops that compare elements and choose among them: compare, is_finite, select, clamp. */
import type { ComparisonDirection } from '../../ir/attributes.ts';
import { bigMaximum, bigMinimum } from '../../ir/scalar-functions.ts';
import { elementClass } from '../../numerics/element-types.ts';
import type { HostArray } from '../../numerics/host-array.ts';
import { type BigArray, type KernelMaker, type NumberArray, unsupported } from './kernel.ts';
import { wordsOf, wordsPerElement } from './strided.ts';

const comparisons: Record<ComparisonDirection, (x: number | bigint, y: number | bigint) => boolean> = {
  EQ: (x, y) => x === y,
  NE: (x, y) => x !== y,
  GE: (x, y) => x >= y,
  GT: (x, y) => x > y,
  LE: (x, y) => x <= y,
  LT: (x, y) => x < y,
};

/** Floats as integers in the same order, -NaN < -Infinity < ... < -0 < 0 < ... < NaN. */
function totalOrderKeys(array: HostArray): Int32Array | BigInt64Array {
  if (array instanceof Float64Array) {
    const bits = new BigInt64Array(array.buffer, array.byteOffset, array.length);
    return bits.map((b) => (b < 0n ? b ^ 0x7fffffffffffffffn : b));
  }
  const bits = new Int32Array(array.buffer, array.byteOffset, array.length);
  return bits.map((b) => (b < 0 ? b ^ 0x7fffffff : b));
}

export const compare: KernelMaker<'compare'> = ({ op, inputs: [{ element }] }) => {
  const { comparison_direction: direction, compare_type: order } = op.attributes;
  const holds = comparisons[direction];
  if (elementClass(element) === 'complex') {
    if (direction !== 'EQ' && direction !== 'NE') throw unsupported(op, `${direction} of ${element}`);
    const whenEqual = direction === 'EQ' ? 1 : 0;
    return {
      run([x, y], [out]) {
        for (let i = 0; i < out.length; i++) {
          out[i] = x[2 * i] === y[2 * i] && x[2 * i + 1] === y[2 * i + 1] ? whenEqual : 1 - whenEqual;
        }
      },
    };
  }
  const total = order === 'TOTALORDER' && elementClass(element) === 'float';
  return {
    run([a, b], [out]) {
      const x = total ? totalOrderKeys(a) : a;
      const y = total ? totalOrderKeys(b) : b;
      for (let i = 0; i < out.length; i++) out[i] = holds(x[i], y[i]) ? 1 : 0;
    },
  };
};

export const finite: KernelMaker<'is_finite'> = () => ({
  run([x], [out]) {
    for (let i = 0; i < out.length; i++) out[i] = Number.isFinite(x[i]) ? 1 : 0;
  },
});

export const select: KernelMaker<'select'> = ({ inputs: [predicate, onTrue] }) => {
  const width = wordsPerElement(onTrue.element);
  const scalar = predicate.count === 1;
  return {
    run([p, a, b], [out]) {
      const to = wordsOf(out);
      const x = wordsOf(a);
      const y = wordsOf(b);
      if (scalar) {
        const chosen = p[0] ? a : b;
        if (chosen !== out) to.set(p[0] ? x : y);
        return;
      }
      if (width === 1) {
        for (let i = 0; i < to.length; i++) to[i] = p[i] ? x[i] : y[i];
        return;
      }
      for (let i = 0; i < to.length; i++) to[i] = p[Math.floor(i / width)] ? x[i] : y[i];
    },
    reuse: [[1, 2]],
  };
};

export const clamp: KernelMaker<'clamp'> = ({ op, inputs: [low, { element, count }, high] }) => {
  const lowStep = low.count === count ? 1 : 0;
  const highStep = high.count === count ? 1 : 0;
  if (elementClass(element) === 'complex') return complexClamp(lowStep, highStep, count);
  if (elementClass(element) === 'boolean') throw unsupported(op, element);
  if (element === 'i64' || element === 'ui64') {
    return {
      run([l, a, h], [o]) {
        const [low, x, high, out] = [l, a, h, o] as readonly BigArray[];
        for (let i = 0; i < count; i++) out[i] = bigMinimum(bigMaximum(x[i], low[i * lowStep]), high[i * highStep]);
      },
      reuse: [[1]],
    };
  }
  return {
    run([l, a, h], [o]) {
      const [low, x, high, out] = [l, a, h, o] as readonly NumberArray[];
      for (let i = 0; i < count; i++) out[i] = Math.min(Math.max(x[i], low[i * lowStep]), high[i * highStep]);
    },
    reuse: [[1]],
  };
};

function complexClamp(lowStep: number, highStep: number, count: number): ReturnType<typeof clamp> {
  const less = (a: NumberArray, i: number, b: NumberArray, j: number) =>
    a[2 * i] === b[2 * j] ? a[2 * i + 1] < b[2 * j + 1] : a[2 * i] < b[2 * j];
  return {
    run([l, a, h], [o]) {
      const [lo, x, hi, out] = [l, a, h, o] as readonly NumberArray[];
      for (let i = 0; i < count; i++) {
        let [from, at] = less(x, i, lo, i * lowStep) ? [lo, i * lowStep] : [x, i];
        if (less(hi, i * highStep, from, at)) [from, at] = [hi, i * highStep];
        const [re, im] = [from[2 * at], from[2 * at + 1]];
        out[2 * i] = re;
        out[2 * i + 1] = im;
      }
    },
  };
}
