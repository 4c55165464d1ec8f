/**
 * Complex arithmetic on interleaved pairs, computed in f64 and rounded when stored; a product of complex<f32> rounds its
 * four real products too. Branch cuts and limits at zeros and infinities are those of C99, Annex G.
 */
import type { BinaryOp, UnaryOp } from '../../ir/attributes.ts';
import type { OpOf } from '../../ir/program.ts';
import type { ElementType } from '../../numerics/element-types.ts';
import { type Kernel, type NumberArray, unsupported } from './kernel.ts';

/** A complex number; functions below write their result into the one they are given. */
export interface Complex {
  re: number;
  im: number;
}

type Unary = (re: number, im: number, out: Complex) => void;
type Binary = (a: number, b: number, c: number, d: number, out: Complex) => void;

function set(out: Complex, re: number, im: number): void {
  out.re = re;
  out.im = im;
}

const exp: Unary = (re, im, out) => {
  const scale = Math.exp(re);
  if (im === 0) set(out, scale, im);
  else if (scale === 0 && !Number.isFinite(im)) set(out, 0, 0);
  else if (re === Number.POSITIVE_INFINITY && !Number.isFinite(im)) set(out, re, Number.NaN);
  else set(out, scale * Math.cos(im), scale * Math.sin(im));
};

/** log |z| without overflow, and exact near |z| = 1. */
function logAbs(re: number, im: number): number {
  const x = Math.max(Math.abs(re), Math.abs(im));
  const y = Math.min(Math.abs(re), Math.abs(im));
  if (x === Number.POSITIVE_INFINITY) return x;
  if (x > 0.5 && x < 2) return 0.5 * Math.log1p((x - 1) * (x + 1) + y * y);
  return y === 0 ? Math.log(x) : Math.log(x) + 0.5 * Math.log1p((y / x) ** 2);
}

const log: Unary = (re, im, out) => set(out, logAbs(re, im), Math.atan2(im, re));

const log1p: Unary = (re, im, out) => {
  const angle = Math.atan2(im, 1 + re);
  const size = Math.hypot(re, im);
  set(out, size < 0.5 ? 0.5 * Math.log1p(re * (2 + re) + im * im) : logAbs(1 + re, im), angle);
};

/** exp(z) - 1 = expm1(a) cos b - 2 sin^2(b/2) + i exp(a) sin b. */
const expm1: Unary = (re, im, out) => {
  if (im === 0) return set(out, Math.expm1(re), im);
  const half = Math.sin(im / 2);
  set(out, Math.expm1(re) * Math.cos(im) - 2 * half * half, Math.exp(re) * Math.sin(im));
};

const sqrt: Unary = (re, im, out) => {
  if (re === 0 && im === 0) return set(out, 0, im);
  if (Math.abs(im) === Number.POSITIVE_INFINITY) return set(out, Number.POSITIVE_INFINITY, im);
  if (re === Number.POSITIVE_INFINITY)
    return set(out, re, Number.isNaN(im) ? im : im < 0 || Object.is(im, -0) ? -0 : 0);
  if (re === Number.NEGATIVE_INFINITY) {
    return set(out, Number.isNaN(im) ? im : 0, im < 0 || Object.is(im, -0) ? re : Number.POSITIVE_INFINITY);
  }
  // Scaled by a power of 4, so that neither |z| nor its root leaves the range.
  const scale = Math.max(Math.abs(re), Math.abs(im)) > 1e150 ? 2 ** -512 : Math.hypot(re, im) < 1e-150 ? 2 ** 512 : 1;
  const root = Math.sqrt((Math.hypot(re * scale, im * scale) + Math.abs(re * scale)) / 2) / Math.sqrt(scale);
  const other = Math.abs(im) / (2 * root);
  const negative = im < 0 || Object.is(im, -0);
  if (re >= 0) set(out, root, negative ? -other : other);
  else set(out, other, negative ? -root : root);
};

/** tanh(a + bi) = (sinh 2a + i sin 2b) / (cosh 2a + cos 2b), arranged so that no term overflows. */
const tanh: Unary = (re, im, out) => {
  if (Math.abs(re) > 20) {
    const sign = Number.isFinite(im) ? Math.sin(2 * im) : 1;
    return set(out, Math.sign(re), Number.isNaN(im) ? 0 : 4 * sign * Math.exp(-2 * Math.abs(re)));
  }
  const tangent = Math.tan(im);
  const sinh = Math.sinh(re);
  const beta = 1 + tangent * tangent;
  const rho = Math.sqrt(1 + sinh * sinh);
  if (!Number.isFinite(tangent)) return set(out, rho / sinh, 1 / tangent);
  const denominator = 1 + beta * sinh * sinh;
  set(out, (beta * rho * sinh) / denominator, tangent / denominator);
};

const sine: Unary = (re, im, out) => set(out, Math.sin(re) * Math.cosh(im), Math.cos(re) * Math.sinh(im));
const cosine: Unary = (re, im, out) => set(out, Math.cos(re) * Math.cosh(im), -Math.sin(re) * Math.sinh(im));

/** Smith's method, with both parts scaled by the larger of the divisor's. */
const divide: Binary = (a, b, c, d, out) => {
  if (d === 0 && c !== 0) return set(out, a / c, b / c);
  if (c === 0 && d === 0) return set(out, a / Math.abs(c), b / Math.abs(c));
  if (!Number.isFinite(c) || !Number.isFinite(d)) {
    if (Number.isFinite(a) && Number.isFinite(b) && !Number.isNaN(c) && !Number.isNaN(d)) {
      const x = Number.isFinite(c) ? 0 * Math.sign(c) : Math.sign(c);
      const y = Number.isFinite(d) ? 0 * Math.sign(d) : Math.sign(d);
      return set(out, 0 * (a * x + b * y), 0 * (b * x - a * y));
    }
  }
  if (Math.abs(c) >= Math.abs(d)) {
    const ratio = d / c;
    const scale = c + d * ratio;
    set(out, (a + b * ratio) / scale, (b - a * ratio) / scale);
  } else {
    const ratio = c / d;
    const scale = c * ratio + d;
    set(out, (a * ratio + b) / scale, (b * ratio - a) / scale);
  }
};

const power: Binary = (a, b, c, d, out) => {
  if (c === 0 && d === 0) return set(out, 1, 0);
  if (a === 0 && b === 0) return set(out, c > 0 ? 0 : Number.NaN, c > 0 ? 0 : Number.NaN);
  const size = logAbs(a, b);
  const angle = Math.atan2(b, a);
  exp(c * size - d * angle, c * angle + d * size, out);
};

/** atan2(y, x) = -i log((x + iy) / sqrt(x^2 + y^2)). */
const atan2: Binary = (a, b, c, d, out) => {
  sqrt(c * c - d * d + (a * a - b * b), 2 * c * d + 2 * a * b, out);
  divide(c - b, d + a, out.re, out.im, out);
  log(out.re, out.im, out);
  set(out, out.im, -out.re);
};

const reciprocal =
  (f: Unary): Unary =>
  (re, im, out) => {
    f(re, im, out);
    divide(1, 0, out.re, out.im, out);
  };

const unaries: Partial<Record<UnaryOp, Unary>> = {
  cbrt: (re, im, out) => {
    if (re === 0 && im === 0) return set(out, re, im);
    power(re, im, 1 / 3, 0, out);
  },
  cosine,
  exponential: exp,
  exponential_minus_one: expm1,
  log,
  log_plus_one: log1p,
  logistic: (re, im, out) => {
    exp(-re, -im, out);
    divide(1, 0, 1 + out.re, out.im, out);
  },
  negate: (re, im, out) => set(out, -re, -im),
  rsqrt: reciprocal(sqrt),
  sign: (re, im, out) => {
    const size = Math.hypot(re, im);
    if (Number.isNaN(re) || Number.isNaN(im)) set(out, Number.NaN, Number.NaN);
    else if (size === 0) set(out, 0, 0);
    else set(out, re / size, im / size);
  },
  sine,
  sqrt,
  tan: (re, im, out) => {
    // tan z = -i tanh(iz)
    tanh(-im, re, out);
    set(out, out.im, -out.re);
  },
  tanh,
};

const larger = (a: number, b: number, c: number, d: number) => (a === c ? b > d : a > c);

/** Products round each of their terms to the parts' type, as four real products would. */
function binaries(round: (x: number) => number): Partial<Record<BinaryOp, Binary>> {
  return {
    add: (a, b, c, d, out) => set(out, a + c, b + d),
    atan2,
    divide,
    maximum: (a, b, c, d, out) => (larger(a, b, c, d) ? set(out, a, b) : set(out, c, d)),
    minimum: (a, b, c, d, out) => (larger(c, d, a, b) ? set(out, a, b) : set(out, c, d)),
    multiply: (a, b, c, d, out) => set(out, round(a * c) - round(b * d), round(a * d) + round(b * c)),
    power,
    subtract: (a, b, c, d, out) => set(out, a - c, b - d),
  };
}

export function complexUnary(op: OpOf<UnaryOp>): Kernel['run'] {
  const cell: Complex = { re: 0, im: 0 };
  if (op.name === 'abs') {
    return ([a], [o]) => {
      const x = a as NumberArray;
      const out = o as NumberArray;
      for (let i = 0; i < out.length; i++) out[i] = Math.hypot(x[2 * i], x[2 * i + 1]);
    };
  }
  const f = unaries[op.name];
  if (f === undefined) throw unsupported(op, 'a complex type');
  return ([a], [o]) => {
    const x = a as NumberArray;
    const out = o as NumberArray;
    for (let i = 0; i < out.length; i += 2) {
      f(x[i], x[i + 1], cell);
      out[i] = cell.re;
      out[i + 1] = cell.im;
    }
  };
}

export function complexBinary(op: OpOf<BinaryOp>, element: ElementType): Kernel['run'] {
  const f = binaries(element === 'complex<f32>' ? Math.fround : (x) => x)[op.name];
  if (f === undefined) throw unsupported(op, element);
  const cell: Complex = { re: 0, im: 0 };
  return ([a, b], [o]) => {
    const x = a as NumberArray;
    const y = b as NumberArray;
    const out = o as NumberArray;
    for (let i = 0; i < out.length; i += 2) {
      f(x[i], x[i + 1], y[i], y[i + 1], cell);
      out[i] = cell.re;
      out[i + 1] = cell.im;
    }
  };
}
