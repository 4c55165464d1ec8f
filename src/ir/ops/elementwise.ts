/** Ops that work on each element alone: results have the shape of the operands. */
import { elementTypes } from '../../numerics/element-types.ts';
import type { BinaryOp, UnaryOp } from '../attributes.ts';
import { sameShape, sameType, tensor } from '../types.ts';
import {
  type Classes,
  check,
  checkClass,
  declaredTensor,
  formatTypes,
  type OpFamily,
  type OpRow,
  type OpSite,
  operandCount,
  tensorOperand,
  tensorOperands,
} from './row.ts';

const unaryClasses: Record<UnaryOp, Classes> = {
  abs: 'FSC',
  cbrt: 'FC',
  ceil: 'F',
  cosine: 'FC',
  count_leading_zeros: 'SU',
  exponential: 'FC',
  exponential_minus_one: 'FC',
  floor: 'F',
  log: 'FC',
  log_plus_one: 'FC',
  logistic: 'FC',
  negate: 'FSUC',
  not: 'SUB',
  popcnt: 'SU',
  round_nearest_afz: 'F',
  round_nearest_even: 'F',
  rsqrt: 'FC',
  sign: 'FSUC',
  sine: 'FC',
  sqrt: 'FC',
  tan: 'FC',
  tanh: 'FC',
};

const binaryClasses: Record<BinaryOp, Classes> = {
  add: 'FSUBC',
  and: 'SUB',
  atan2: 'FC',
  divide: 'FSUC',
  maximum: 'FSUBC',
  minimum: 'FSUBC',
  multiply: 'FSUBC',
  or: 'SUB',
  power: 'FSUC',
  remainder: 'FSUC',
  shift_left: 'SU',
  shift_right_arithmetic: 'SU',
  shift_right_logical: 'SU',
  subtract: 'FSUC',
  xor: 'SUB',
};

type UnarySite = OpSite<UnaryOp>;
type BinarySite = OpSite<BinaryOp>;

function unary(classes: Classes): { infer(site: UnarySite): readonly ReturnType<typeof tensorOperand>[] } {
  return {
    infer(site) {
      operandCount(site, 1);
      const type = tensorOperand(site, 0);
      checkClass(site, type.element, classes);
      // The magnitude of a complex number is real.
      if (site.name === 'abs' && type.element === 'complex<f32>') return [tensor('f32', type.shape)];
      if (site.name === 'abs' && type.element === 'complex<f64>') return [tensor('f64', type.shape)];
      return [type];
    },
  };
}

function binary(classes: Classes): { infer(site: BinarySite): readonly ReturnType<typeof tensorOperand>[] } {
  return {
    infer(site) {
      operandCount(site, 2);
      const [lhs, rhs] = tensorOperands(site);
      check(site, sameType(lhs, rhs), () => `operands differ: ${formatTypes([lhs, rhs])}`);
      checkClass(site, lhs.element, classes);
      return [lhs];
    },
  };
}

function mapRows<K extends string, R>(classes: Record<K, Classes>, row: (classes: Classes) => R): Record<K, R> {
  const rows: Partial<Record<K, R>> = {};
  for (const name in classes) rows[name] = row(classes[name]);
  return rows as Record<K, R>;
}

const convert: OpRow<'convert'> = {
  infer(site) {
    operandCount(site, 1);
    const from = tensorOperand(site, 0);
    const to = declaredTensor(site);
    check(site, sameShape(from.shape, to.shape), () => `changes the shape: ${formatTypes([from, to])}`);
    return [to];
  },
};

const reducePrecision: OpRow<'reduce_precision'> = {
  infer(site) {
    operandCount(site, 1);
    const type = tensorOperand(site, 0);
    checkClass(site, type.element, 'F');
    check(site, site.attributes.exponent_bits >= 1 && site.attributes.mantissa_bits >= 0, () => 'has too few bits');
    return [type];
  },
};

const compare: OpRow<'compare'> = {
  infer(site) {
    operandCount(site, 2);
    const [lhs, rhs] = tensorOperands(site);
    check(site, sameType(lhs, rhs), () => `operands differ: ${formatTypes([lhs, rhs])}`);
    return [tensor('i1', lhs.shape)];
  },
};

const finite: OpRow<'is_finite'> = {
  infer(site) {
    operandCount(site, 1);
    const type = tensorOperand(site, 0);
    checkClass(site, type.element, 'F');
    return [tensor('i1', type.shape)];
  },
};

const select: OpRow<'select'> = {
  infer(site) {
    operandCount(site, 3);
    const [predicate, onTrue, onFalse] = tensorOperands(site);
    check(site, predicate.element === 'i1', () => `predicate is ${predicate.element}, not i1`);
    check(site, sameType(onTrue, onFalse), () => `branches differ: ${formatTypes([onTrue, onFalse])}`);
    check(
      site,
      predicate.shape.length === 0 || sameShape(predicate.shape, onTrue.shape),
      () => `predicate and branches differ in shape: ${formatTypes([predicate, onTrue])}`,
    );
    return [onTrue];
  },
};

const clamp: OpRow<'clamp'> = {
  infer(site) {
    operandCount(site, 3);
    const [low, operand, high] = tensorOperands(site);
    for (const bound of [low, high]) {
      check(
        site,
        bound.element === operand.element && (bound.shape.length === 0 || sameShape(bound.shape, operand.shape)),
        () => `bound does not fit the operand: ${formatTypes([bound, operand])}`,
      );
    }
    return [operand];
  },
};

const complex: OpRow<'complex'> = {
  infer(site) {
    operandCount(site, 2);
    const [re, im] = tensorOperands(site);
    check(site, sameType(re, im), () => `operands differ: ${formatTypes([re, im])}`);
    check(site, re.element === 'f32' || re.element === 'f64', () => `is not defined for element type ${re.element}`);
    return [tensor(`complex<${re.element}>`, re.shape)];
  },
};

const part: { infer(site: OpSite<'real' | 'imag'>): readonly ReturnType<typeof tensorOperand>[] } = {
  infer(site) {
    operandCount(site, 1);
    const { element, shape } = tensorOperand(site, 0);
    checkClass(site, element, 'CF');
    if (element === 'complex<f32>') return [tensor('f32', shape)];
    if (element === 'complex<f64>') return [tensor('f64', shape)];
    return [tensor(element, shape)];
  },
};

/** Shape grows or loses a last dimension by the ratio of the element widths; complex halves count as one element. */
const bitcastConvert: OpRow<'bitcast_convert'> = {
  infer(site) {
    operandCount(site, 1);
    const from = tensorOperand(site, 0);
    const to = declaredTensor(site);
    const [fromBits, toBits] = [elementTypes[from.element].bits, elementTypes[to.element].bits];
    const expected =
      fromBits === toBits
        ? from.shape
        : fromBits > toBits
          ? [...from.shape, fromBits / toBits]
          : from.shape.at(-1) === toBits / fromBits
            ? from.shape.slice(0, -1)
            : undefined;
    check(
      site,
      expected !== undefined && sameShape(expected, to.shape),
      () => `widths and shapes do not fit: ${formatTypes([from, to])}`,
    );
    return [to];
  },
};

export const elementwise = {
  ...mapRows(unaryClasses, unary),
  ...mapRows(binaryClasses, binary),
  bitcast_convert: bitcastConvert,
  clamp,
  compare,
  complex,
  convert,
  imag: part,
  is_finite: finite,
  real: part,
  reduce_precision: reducePrecision,
  select,
} satisfies OpFamily<
  | UnaryOp
  | BinaryOp
  | 'bitcast_convert'
  | 'clamp'
  | 'compare'
  | 'complex'
  | 'convert'
  | 'imag'
  | 'is_finite'
  | 'real'
  | 'reduce_precision'
  | 'select'
>;
