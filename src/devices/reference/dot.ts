/**
 * dot_general. The order is a promise: every output has one accumulator, starts at zero and takes its products in
 * ascending order of the contracted index (row-major over several), product and sum each rounded to the accumulation
 * type; its bits depend on its own row and column alone. f32 and narrower floats accumulate in f32 and are rounded once
 * to the result type; f64 in f64; integers modulo 2^bits of the result.
 */
import { type ElementType, elementClass, elementTypes } from '../../numerics/element-types.ts';
import { type HostArray, numbersPerElement } from '../../numerics/host-array.ts';
import { rounder, wrapTo } from '../../numerics/rounding.ts';
import { type BigArray, elementCount, type KernelMaker, type NumberArray, type Shaped } from './kernel.ts';
import { reorder } from './strided.ts';

/** An operand as [batch, rows, contracted]. */
function matrices({ element, shape }: Shaped, batch: readonly number[], contract: readonly number[]) {
  const free = shape.map((_, d) => d).filter((d) => !batch.includes(d) && !contract.includes(d));
  const extent = (dims: readonly number[]) => elementCount(dims.map((d) => shape[d]));
  return {
    batch: extent(batch),
    rows: extent(free),
    contracted: extent(contract),
    ordered: reorder(element, shape, [...batch, ...free, ...contract]),
  };
}

export const dotGeneral: KernelMaker<'dot_general'> = ({ op, inputs: [left, right], outputs: [out] }) => {
  const a = op.attributes;
  const x = matrices(left, a.lhs_batching_dimensions, a.lhs_contracting_dimensions);
  const y = matrices(right, a.rhs_batching_dimensions, a.rhs_contracting_dimensions);
  const [m, n, k] = [x.rows, y.rows, x.contracted];
  const product = productFor(left.element, right.element, out.element);
  const [leftStep, rightStep, outStep] = [left, right, out].map(({ element }) => numbersPerElement(element));
  return {
    run([l, r], [o]) {
      const lhs = x.ordered.apply(l);
      const rhs = y.ordered.apply(r);
      for (let b = 0; b < x.batch; b++) {
        product(lhs, b * m * k * leftStep, rhs, b * n * k * rightStep, o, b * m * n * outStep, m, n, k);
      }
    },
    scratchBytes: x.ordered.bytes + y.ordered.bytes,
  };
};

/** out[m, n] = lhs[m, k] . rhs[n, k], each from an offset in numbers. */
type Product = (
  lhs: HostArray,
  lhsAt: number,
  rhs: HostArray,
  rhsAt: number,
  out: HostArray,
  outAt: number,
  m: number,
  n: number,
  k: number,
) => void;

function productFor(left: ElementType, right: ElementType, out: ElementType): Product {
  const isSingle = (type: ElementType) => elementClass(type) === 'float' && type !== 'f64';
  if (isSingle(left) && isSingle(right) && isSingle(out)) return singleProduct(out);
  if (elementClass(out) === 'complex') return complexProduct(left, right, out);
  return realProduct(left, right, out);
}

function singleProduct(element: ElementType): Product {
  const round = element === 'f32' ? undefined : rounder(element as 'f16');
  return (l, lhsAt, r, rhsAt, o, outAt, m, n, k) => {
    const out = o as Float32Array;
    multiplyF32(l as Float32Array, lhsAt, r as Float32Array, rhsAt, out, outAt, m, n, k);
    if (round !== undefined) for (let i = outAt; i < outAt + m * n; i++) out[i] = round(out[i]);
  };
}

const { fround } = Math;

/** Eight columns at a time, so that eight chains of additions run at once and a row of lhs is read once for all. */
function multiplyF32(
  x: Float32Array,
  xAt: number,
  w: Float32Array,
  wAt: number,
  out: Float32Array,
  outAt: number,
  m: number,
  n: number,
  k: number,
): void {
  const blocked = n - (n % 8);
  for (let j = 0; j < blocked; j += 8) {
    const w0 = wAt + j * k;
    const w1 = w0 + k;
    const w2 = w1 + k;
    const w3 = w2 + k;
    const w4 = w3 + k;
    const w5 = w4 + k;
    const w6 = w5 + k;
    const w7 = w6 + k;
    for (let i = 0; i < m; i++) {
      const row = xAt + i * k;
      let s0 = fround(0);
      let s1 = fround(0);
      let s2 = fround(0);
      let s3 = fround(0);
      let s4 = fround(0);
      let s5 = fround(0);
      let s6 = fround(0);
      let s7 = fround(0);
      for (let c = 0; c < k; c++) {
        const v = x[row + c];
        s0 = fround(s0 + fround(v * w[w0 + c]));
        s1 = fround(s1 + fround(v * w[w1 + c]));
        s2 = fround(s2 + fround(v * w[w2 + c]));
        s3 = fround(s3 + fround(v * w[w3 + c]));
        s4 = fround(s4 + fround(v * w[w4 + c]));
        s5 = fround(s5 + fround(v * w[w5 + c]));
        s6 = fround(s6 + fround(v * w[w6 + c]));
        s7 = fround(s7 + fround(v * w[w7 + c]));
      }
      const to = outAt + i * n + j;
      out[to] = s0;
      out[to + 1] = s1;
      out[to + 2] = s2;
      out[to + 3] = s3;
      out[to + 4] = s4;
      out[to + 5] = s5;
      out[to + 6] = s6;
      out[to + 7] = s7;
    }
  }
  for (let j = blocked; j < n; j++) {
    const column = wAt + j * k;
    for (let i = 0; i < m; i++) {
      const row = xAt + i * k;
      let sum = fround(0);
      for (let c = 0; c < k; c++) sum = fround(sum + fround(x[row + c] * w[column + c]));
      out[outAt + i * n + j] = sum;
    }
  }
}

/** Everything else that is real: f64, integers, and mixtures, which are first converted to the result type. */
function realProduct(left: ElementType, right: ElementType, out: ElementType): Product {
  if (elementClass(out) === 'float') {
    const round = rounder(out as 'f64');
    const step = out === 'f64' ? round : fround;
    return (l, lhsAt, r, rhsAt, o, outAt, m, n, k) => {
      for (let i = 0; i < m * n; i++) {
        const row = lhsAt + Math.floor(i / n) * k;
        const column = rhsAt + (i % n) * k;
        let sum = 0;
        for (let c = 0; c < k; c++) sum = step(sum + step(Number(l[row + c]) * Number(r[column + c])));
        o[outAt + i] = round(sum);
      }
    };
  }
  const bits = elementTypes[out].bits;
  if (bits === 64 || elementClass(left) === 'float' || elementClass(right) === 'float') {
    const whole = (x: number | bigint) => (typeof x === 'bigint' ? x : BigInt(Math.trunc(x)));
    return (l, lhsAt, r, rhsAt, o, outAt, m, n, k) => {
      const result = o as BigArray;
      for (let i = 0; i < m * n; i++) {
        const row = lhsAt + Math.floor(i / n) * k;
        const column = rhsAt + (i % n) * k;
        let sum = 0n;
        for (let c = 0; c < k; c++) sum += whole(l[row + c]) * whole(r[column + c]);
        const wrapped = bits === 64 ? sum : wrapTo(out as 'i32', sum);
        result[outAt + i] = wrapped as bigint;
      }
    };
  }
  const boolean = out === 'i1';
  return (l, lhsAt, r, rhsAt, o, outAt, m, n, k) => {
    const [x, y, result] = [l, r, o] as readonly NumberArray[];
    for (let i = 0; i < m * n; i++) {
      const row = lhsAt + Math.floor(i / n) * k;
      const column = rhsAt + (i % n) * k;
      let sum = 0;
      if (boolean) for (let c = 0; c < k; c++) sum |= x[row + c] & y[column + c];
      else for (let c = 0; c < k; c++) sum = (sum + Math.imul(x[row + c], y[column + c])) | 0;
      result[outAt + i] = wrapTo(out as 'i32', sum);
    }
  };
}

/** Each product is four real ones; real operands have no imaginary part. */
function complexProduct(left: ElementType, right: ElementType, out: ElementType): Product {
  const round = out === 'complex<f32>' ? fround : (x: number) => x;
  const [xs, ys] = [numbersPerElement(left), numbersPerElement(right)];
  return (l, lhsAt, r, rhsAt, o, outAt, m, n, k) => {
    const [x, y, result] = [l, r, o] as readonly NumberArray[];
    for (let i = 0; i < m * n; i++) {
      const row = lhsAt + Math.floor(i / n) * k * xs;
      const column = rhsAt + (i % n) * k * ys;
      let re = 0;
      let im = 0;
      for (let c = 0; c < k; c++) {
        const p = x[row + c * xs];
        const q = xs === 2 ? x[row + c * xs + 1] : 0;
        const s = y[column + c * ys];
        const t = ys === 2 ? y[column + c * ys + 1] : 0;
        re = round(re + round(round(p * s) - round(q * t)));
        im = round(im + round(round(p * t) + round(q * s)));
      }
      result[outAt + 2 * i] = re;
      result[outAt + 2 * i + 1] = im;
    }
  };
}
