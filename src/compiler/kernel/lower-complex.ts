/**
 * Arithmetic on complex numbers as expressions on their parts, the formulas of the reference device (C99 Annex G where
 * testable): computed in f64 and rounded once at the end; only products and sums of complex<f32> round in f32.
 */
import type { BinaryOp, UnaryOp } from '../../ir/attributes.ts';
import {
  add,
  and,
  binary,
  compare,
  constant,
  convert,
  divide,
  finite,
  multiply,
  negate,
  not,
  or,
  select,
  subtract,
  unary,
} from './expressions.ts';
import type { Expression, ScalarElement } from './language.ts';

export type Complex = readonly [re: Expression, im: Expression];
type Unary = (z: Complex) => Complex;
type Binary = (x: Complex, y: Complex) => Complex;

const number = (value: number) => constant('f64', value);
const [zero, one, two, infinity, nan] = [number(0), number(1), number(2), number(Infinity), number(NaN)];
const half = number(0.5);

const abs = (x: Expression) => unary('abs', x);
const equal = (x: Expression, y: Expression) => compare('EQ', x, y);
const less = (x: Expression, y: Expression) => compare('LT', x, y);
const isNan = (x: Expression) => compare('NE', x, x);
const isZero = (x: Expression) => equal(x, zero);
const square = (x: Expression) => multiply(x, x);
const hypot = (x: Expression, y: Expression) => binary('hypot', x, y);
/** -0 included. */
const isNegative = (x: Expression) => or(less(x, zero), and(isZero(x), less(divide(one, x), zero)));

/** The first pair whose condition holds. */
function choose(cases: readonly (readonly [Expression, Complex])[], otherwise: Complex): Complex {
  return cases.reduceRight<Complex>(
    (rest, [condition, [re, im]]) => [select(condition, re, rest[0]), select(condition, im, rest[1])],
    otherwise,
  );
}

const exp: Unary = ([re, im]) => {
  const scale = unary('exponential', re);
  const wild = not(finite(im));
  return choose(
    [
      [isZero(im), [scale, im]],
      [and(isZero(scale), wild), [zero, zero]],
      [and(equal(re, infinity), wild), [re, nan]],
    ],
    [multiply(scale, unary('cosine', im)), multiply(scale, unary('sine', im))],
  );
};

/** log |z| without overflow, and exact near |z| = 1. */
function logAbs(re: Expression, im: Expression): Expression {
  const x = binary('maximum', abs(re), abs(im));
  const y = binary('minimum', abs(re), abs(im));
  const near = multiply(half, unary('log_plus_one', add(multiply(subtract(x, one), add(x, one)), multiply(y, y))));
  const log = unary('log', x);
  const far = select(isZero(y), log, add(log, multiply(half, unary('log_plus_one', square(divide(y, x))))));
  const isNear = and(compare('GT', x, half), less(x, two));
  return select(equal(x, infinity), x, select(isNear, near, far));
}

const log: Unary = ([re, im]) => [logAbs(re, im), binary('atan2', im, re)];

const log1p: Unary = ([re, im]) => {
  const angle = binary('atan2', im, add(one, re));
  const small = multiply(half, unary('log_plus_one', add(multiply(re, add(two, re)), multiply(im, im))));
  return [select(less(hypot(re, im), half), small, logAbs(add(one, re), im)), angle];
};

/** exp(z) - 1 = expm1(a) cos b - 2 sin^2(b/2) + i exp(a) sin b. */
const expm1: Unary = ([re, im]) => {
  const halfSine = unary('sine', divide(im, two));
  const real = unary('exponential_minus_one', re);
  return choose(
    [[isZero(im), [real, im]]],
    [
      subtract(multiply(real, unary('cosine', im)), multiply(multiply(two, halfSine), halfSine)),
      multiply(unary('exponential', re), unary('sine', im)),
    ],
  );
};

const sqrt: Unary = ([re, im]) => {
  const size = binary('maximum', abs(re), abs(im));
  // Scaled by a power of 4, so that neither |z| nor its root leaves the range.
  const scale = select(
    compare('GT', size, number(1e150)),
    number(2 ** -512),
    select(less(hypot(re, im), number(1e-150)), number(2 ** 512), one),
  );
  const scaled = hypot(multiply(re, scale), multiply(im, scale));
  const root = divide(unary('sqrt', divide(add(scaled, abs(multiply(re, scale))), two)), unary('sqrt', scale));
  const other = divide(abs(im), multiply(two, root));
  const negative = isNegative(im);
  return choose(
    [
      [and(isZero(re), isZero(im)), [zero, im]],
      [equal(abs(im), infinity), [infinity, im]],
      [equal(re, infinity), [re, select(isNan(im), im, select(negative, number(-0), zero))]],
      [equal(re, number(-Infinity)), [select(isNan(im), im, zero), select(negative, re, infinity)]],
      [compare('GE', re, zero), [root, select(negative, negate(other), other)]],
    ],
    [other, select(negative, negate(root), root)],
  );
};

/** tanh(a + bi) = (sinh 2a + i sin 2b) / (cosh 2a + cos 2b), arranged so that no term overflows. */
const tanh: Unary = ([re, im]) => {
  const sign = select(finite(im), unary('sine', multiply(two, im)), one);
  const far = multiply(multiply(number(4), sign), unary('exponential', multiply(number(-2), abs(re))));
  const tangent = unary('tan', im);
  const sinh = unary('sinh', re);
  const beta = add(one, multiply(tangent, tangent));
  const rho = unary('sqrt', add(one, multiply(sinh, sinh)));
  const denominator = add(one, multiply(multiply(beta, sinh), sinh));
  return choose(
    [
      [compare('GT', abs(re), number(20)), [unary('sign', re), select(isNan(im), zero, far)]],
      [not(finite(tangent)), [divide(rho, sinh), divide(one, tangent)]],
    ],
    [divide(multiply(multiply(beta, rho), sinh), denominator), divide(tangent, denominator)],
  );
};

const sine: Unary = ([re, im]) => [
  multiply(unary('sine', re), unary('cosh', im)),
  multiply(unary('cosine', re), unary('sinh', im)),
];
const cosine: Unary = ([re, im]) => [
  multiply(unary('cosine', re), unary('cosh', im)),
  multiply(negate(unary('sine', re)), unary('sinh', im)),
];

/** Smith's method, with both parts scaled by the larger of the divisor's. */
const quotient: Binary = ([a, b], [c, d]) => {
  const bounded = (x: Expression) => {
    const sign = unary('sign', x);
    return select(finite(x), multiply(zero, sign), sign);
  };
  const [x, y] = [bounded(c), bounded(d)];
  const wild = and(not(and(finite(c), finite(d))), and(and(finite(a), finite(b)), not(or(isNan(c), isNan(d)))));
  const [low, high] = [divide(d, c), divide(c, d)];
  const [lowScale, highScale] = [add(c, multiply(d, low)), add(multiply(c, high), d)];
  return choose(
    [
      [and(isZero(d), not(isZero(c))), [divide(a, c), divide(b, c)]],
      [and(isZero(c), isZero(d)), [divide(a, abs(c)), divide(b, abs(c))]],
      [
        wild,
        [multiply(zero, add(multiply(a, x), multiply(b, y))), multiply(zero, subtract(multiply(b, x), multiply(a, y)))],
      ],
      [
        compare('GE', abs(c), abs(d)),
        [divide(add(a, multiply(b, low)), lowScale), divide(subtract(b, multiply(a, low)), lowScale)],
      ],
    ],
    [divide(add(multiply(a, high), b), highScale), divide(subtract(multiply(b, high), a), highScale)],
  );
};

const power: Binary = ([a, b], [c, d]) => {
  const size = logAbs(a, b);
  const angle = binary('atan2', b, a);
  const edge = select(compare('GT', c, zero), zero, nan);
  return choose(
    [
      [and(isZero(c), isZero(d)), [one, zero]],
      [and(isZero(a), isZero(b)), [edge, edge]],
    ],
    exp([subtract(multiply(c, size), multiply(d, angle)), add(multiply(c, angle), multiply(d, size))]),
  );
};

/** atan2(y, x) = -i log((x + iy) / sqrt(x^2 + y^2)). */
const atan2: Binary = ([a, b], [c, d]) => {
  const root = sqrt([
    add(subtract(multiply(c, c), multiply(d, d)), subtract(multiply(a, a), multiply(b, b))),
    add(multiply(multiply(two, c), d), multiply(multiply(two, a), b)),
  ]);
  const [re, im] = log(quotient([subtract(c, b), add(d, a)], root));
  return [im, negate(re)];
};

const reciprocal = (z: Complex) => quotient([one, zero], z);

/** abs gives a real number. */
const unaries: Partial<Record<UnaryOp, Unary>> = {
  cbrt: (z) => choose([[and(isZero(z[0]), isZero(z[1])), z]], power(z, [number(1 / 3), zero])),
  cosine,
  exponential: exp,
  exponential_minus_one: expm1,
  log,
  log_plus_one: log1p,
  logistic: ([re, im]) => {
    const [x, y] = exp([negate(re), negate(im)]);
    return reciprocal([add(one, x), y]);
  },
  negate: ([re, im]) => [negate(re), negate(im)],
  rsqrt: (z) => reciprocal(sqrt(z)),
  sign: ([re, im]) => {
    const size = hypot(re, im);
    return choose(
      [
        [or(isNan(re), isNan(im)), [nan, nan]],
        [isZero(size), [zero, zero]],
      ],
      [divide(re, size), divide(im, size)],
    );
  },
  sine,
  sqrt,
  tan: ([re, im]) => {
    // tan z = -i tanh(iz)
    const [x, y] = tanh([negate(im), re]);
    return [y, negate(x)];
  },
  tanh,
};

const larger = ([a, b]: Complex, [c, d]: Complex) => select(equal(a, c), compare('GT', b, d), compare('GT', a, c));

const binaries: Partial<Record<BinaryOp, Binary>> = {
  atan2,
  divide: quotient,
  maximum: (x, y) => choose([[larger(x, y), x]], y),
  minimum: (x, y) => choose([[larger(y, x), x]], y),
  power,
};

/** Rounding once from f64 is what the operation in the type itself does. */
const exact: Partial<Record<BinaryOp, Binary>> = {
  add: ([a, b], [c, d]) => [add(a, c), add(b, d)],
  subtract: ([a, b], [c, d]) => [subtract(a, c), subtract(b, d)],
  multiply: ([a, b], [c, d]) => [subtract(multiply(a, c), multiply(b, d)), add(multiply(a, d), multiply(b, c))],
};

function widen([re, im]: Complex): Complex {
  return [convert(re, 'f64'), convert(im, 'f64')];
}
function narrow([re, im]: Complex, part: ScalarElement): Complex {
  return [convert(re, part), convert(im, part)];
}

/** undefined for an op that complex numbers do not have. */
export function complexUnary(name: UnaryOp, z: Complex, part: ScalarElement): readonly Expression[] | undefined {
  if (name === 'abs') {
    const [re, im] = widen(z);
    return [convert(hypot(re, im), part)];
  }
  const f = unaries[name];
  return f && narrow(f(widen(z)), part);
}

export function complexBinary(name: BinaryOp, x: Complex, y: Complex, part: ScalarElement): Complex | undefined {
  const direct = exact[name];
  if (direct !== undefined) return direct(x, y);
  const f = binaries[name];
  return f && narrow(f(widen(x), widen(y)), part);
}

/** Of the parts in order, the first more. */
export function complexLess([a, b]: Complex, [c, d]: Complex): Expression {
  return select(equal(a, c), less(b, d), less(a, c));
}
