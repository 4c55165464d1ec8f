/** Ops whose element i is a function of the operands' elements i. */
import type { BinaryOp, CompareType, ComparisonDirection, UnaryOp } from '../../ir/attributes.ts';
import { asTensor, type Type } from '../../ir/types.ts';
import { type ElementType, elementClass, elementTypes } from '../../numerics/element-types.ts';
import { type FloatType, floatLayout } from '../../numerics/rounding.ts';
import { type ElementRow, elementType, unsupported } from './element-row.ts';
import {
  add,
  and,
  binary,
  bitcast,
  bitsOf,
  compare,
  constant,
  convert,
  elementOf,
  finite,
  isFloat,
  not,
  or,
  select,
  unary,
  unsignedOf,
} from './expressions.ts';
import { addIndex, constantIndex, divideIndex, indexConstant, remainderIndex, scaleIndex } from './index-arithmetic.ts';
import type { Expression, ScalarElement } from './language.ts';
import { type Complex, complexBinary, complexLess, complexUnary } from './lower-complex.ts';
import { type Parts, partElement } from './scope.ts';

function complexOf(parts: Parts): Complex {
  return [parts[0], parts[1]];
}

const booleanUnaries: ReadonlySet<UnaryOp> = new Set(['not']);
const integerUnaries: ReadonlySet<UnaryOp> = new Set(['abs', 'count_leading_zeros', 'negate', 'not', 'popcnt', 'sign']);
const integerOnly: ReadonlySet<UnaryOp> = new Set(['count_leading_zeros', 'not', 'popcnt']);
const bitwise: ReadonlySet<BinaryOp> = new Set([
  'and',
  'or',
  'xor',
  'shift_left',
  'shift_right_arithmetic',
  'shift_right_logical',
]);
const booleanBinaries: ReadonlySet<BinaryOp> = new Set(['add', 'and', 'maximum', 'minimum', 'multiply', 'or', 'xor']);

function hasUnary(name: UnaryOp, element: ElementType): boolean {
  switch (elementClass(element)) {
    case 'boolean':
      return booleanUnaries.has(name);
    case 'float':
      return !integerOnly.has(name);
    default:
      return integerUnaries.has(name);
  }
}

export const unaryElement: ElementRow<UnaryOp> = (op, index, scope) => {
  const x = scope.operand(op, 0, index);
  const element = elementType(op.operands[0]);
  if (elementClass(element) === 'complex') {
    const result = complexUnary(op.name, complexOf(x), partElement(element));
    if (result === undefined) throw unsupported(op, element);
    return result;
  }
  if (!hasUnary(op.name, element)) throw unsupported(op, element);
  return [unary(op.name, x[0])];
};

/** undefined where the type does not have the op. */
function binaryParts(name: BinaryOp, element: ElementType, x: Parts, y: Parts): Parts | undefined {
  switch (elementClass(element)) {
    case 'complex':
      return complexBinary(name, complexOf(x), complexOf(y), partElement(element));
    case 'boolean':
      return booleanBinaries.has(name) ? [binary(booleanNames[name] ?? name, x[0], y[0])] : undefined;
    case 'float':
      return bitwise.has(name) ? undefined : [binary(name, x[0], y[0])];
    default:
      return name === 'atan2' ? undefined : [binary(name, x[0], y[0])];
  }
}

const booleanNames: Readonly<Partial<Record<BinaryOp, BinaryOp>>> = {
  add: 'or',
  maximum: 'or',
  minimum: 'and',
  multiply: 'and',
};

export const binaryElement: ElementRow<BinaryOp> = (op, index, scope) => {
  const element = elementType(op.operands[0]);
  const result = binaryParts(op.name, element, scope.operand(op, 0, index), scope.operand(op, 1, index));
  if (result === undefined) throw unsupported(op, element);
  return result;
};

// ── representation ──

/** Numbers of `from` as those of `to`, also between real and complex ones. */
export function convertParts(x: Parts, to: ElementType): Parts {
  const part = partElement(to);
  if (elementClass(to) !== 'complex') return [convert(x[0], part)];
  return [convert(x[0], part), x.length === 2 ? convert(x[1], part) : constant(part, 0)];
}

export const convertElement: ElementRow<'convert'> = (op, index, scope) =>
  convertParts(scope.operand(op, 0, index), elementType(op.results[0]));

function bitsOfType(type: Type): number {
  return elementTypes[asTensor(type).element].bits;
}

/** Little endian; narrower elements of the operand, or of the result, lie along one more dimension of it. */
export const bitcastElement: ElementRow<'bitcast_convert'> = (op, index, scope) => {
  const part = partElement(elementType(op.results[0]));
  const [from, to] = [bitsOfType(op.operands[0].type), bitsOfType(op.results[0].type)];
  const partBits = elementTypes[part].bits;
  const word = unsignedOf(part);
  const parts = to / partBits;
  const within = from > to ? index.at(-1) : undefined;
  const outer = within === undefined ? index : index.slice(0, -1);
  const units: Expression[] = [];
  if (from < to) {
    for (let i = 0; i < to / from; i++) units.push(...scope.operand(op, 0, [...outer, indexConstant(i)]));
  } else {
    units.push(...scope.operand(op, 0, outer));
  }
  const words = units.map(bitsOf);
  const unitBits = elementTypes[elementOf(words[0])].bits;
  return Array.from({ length: parts }, (_, p) => {
    // The number of this part among all that the operand's elements are cut into.
    const number = within === undefined ? indexConstant(p) : addIndex(scaleIndex(within, parts), indexConstant(p));
    if (unitBits <= partBits) {
      const count = partBits / unitBits;
      const unit = (n: number) => chosen(words, addIndex(scaleIndex(number, count), indexConstant(n)));
      return bitcast(
        joined(
          Array.from({ length: count }, (_, n) => unit(n)),
          word,
          unitBits,
        ),
        part,
      );
    }
    const perUnit = unitBits / partBits;
    const unit = chosen(words, divideIndex(number, perUnit));
    const amount = convert(scaleIndex(remainderIndex(number, perUnit), partBits), unit.type);
    return bitcast(shifted(unit, amount, word), part);
  });
};

function chosen(words: readonly Expression[], at: Expression): Expression {
  if (words.length === 1) return words[0];
  const known = constantIndex(at);
  if (known !== undefined) return words[known];
  return words.reduceRight((rest, word, i) => select(compare('EQ', at, indexConstant(i)), word, rest));
}

function joined(units: readonly Expression[], word: ScalarElement, unitBits: number): Expression {
  return units
    .map((unit, i) => {
      const wide = convert(unit, word);
      return i === 0 ? wide : binary('shift_left', wide, constant(word, i * unitBits));
    })
    .reduce((a, b) => or(a, b));
}

function shifted(unit: Expression, by: Expression, word: ScalarElement): Expression {
  const low = binary('shift_right_logical', unit, by);
  return word === 'i1' ? convert(and(low, constant(low.type, 1)), word) : convert(low, word);
}

/**
 * On the bits: rounds the mantissa to nearest even, then flushes to zero and to infinity what the smaller exponent cannot
 * hold. A type with no mantissa bits has no NaN: it becomes an infinity.
 */
export const reducePrecisionElement: ElementRow<'reduce_precision'> = (op, index, scope) => {
  const { exponent_bits: exponentBits, mantissa_bits: mantissaBits } = op.attributes;
  const [x] = scope.operand(op, 0, index);
  const type = elementOf(x) as FloatType;
  const [exponent, mantissa] = floatLayout[type].map(BigInt);
  const word = unsignedOf(type);
  const bit = (value: bigint) => constant(word, value);
  const infinity = ((1n << exponent) - 1n) << mantissa;
  const sign = 1n << (exponent + mantissa);
  const cut = mantissa - BigInt(Math.min(mantissaBits, Number(mantissa)));
  let bits = bitcast(x, word);
  if (cut > 0n) {
    const odd = and(binary('shift_right_logical', bits, bit(cut)), bit(1n));
    const rounded = add(bits, add(bit((1n << (cut - 1n)) - 1n), odd));
    bits = binary('shift_left', binary('shift_right_logical', rounded, bit(cut)), bit(cut));
  }
  if (exponentBits < exponent) {
    const bias = (1n << (exponent - 1n)) - 1n;
    const smallBias = (1n << BigInt(exponentBits - 1)) - 1n;
    const magnitude = and(bits, bit(infinity));
    const tooLarge = compare('GT', magnitude, bit((bias + smallBias) << mantissa));
    const tooSmall = compare('LE', magnitude, bit((bias - smallBias) << mantissa));
    const kept = and(bits, bit(sign));
    bits = select(tooLarge, or(kept, bit(infinity)), select(tooSmall, kept, bits));
  }
  const whenNaN = mantissaBits > 0 ? x : constant(type, Number.POSITIVE_INFINITY);
  return [select(compare('NE', x, x), whenNaN, bitcast(bits, type))];
};

// ── compare and choose ──

/** Floats as integers in the same order, -NaN < -Infinity < ... < -0 < 0 < ... < NaN. */
function totalOrderKey(x: Expression): Expression {
  const wide = x.type === 'f64' ? 'i64' : 'i32';
  const bits = bitcast(x.type === 'f64' ? x : convert(x, 'f32'), wide);
  const most = constant(wide, wide === 'i64' ? 0x7fffffffffffffffn : 0x7fffffff);
  return select(compare('LT', bits, constant(wide, 0)), binary('xor', bits, most), bits);
}

export const compareElement: ElementRow<'compare'> = (op, index, scope) => {
  const { comparison_direction: direction, compare_type: order } = op.attributes;
  const [x, y] = [scope.operand(op, 0, index), scope.operand(op, 1, index)];
  if (x.length === 2) {
    if (direction !== 'EQ' && direction !== 'NE') {
      throw unsupported(op, `${direction} of ${elementType(op.operands[0])}`);
    }
    const same = and(compare('EQ', x[0], y[0]), compare('EQ', x[1], y[1]));
    return [direction === 'EQ' ? same : not(same)];
  }
  return [comparison(direction, order, x[0], y[0])];
};

function comparison(
  direction: ComparisonDirection,
  order: CompareType | undefined,
  x: Expression,
  y: Expression,
): Expression {
  const total = order === 'TOTALORDER' && isFloat(x.type);
  return total ? compare(direction, totalOrderKey(x), totalOrderKey(y)) : compare(direction, x, y);
}

/** Operands of one element serve all. */
function spread<T>(type: Type, index: readonly T[]): readonly T[] {
  return asTensor(type).shape.length === 0 ? [] : index;
}

export const selectElement: ElementRow<'select'> = (op, index, scope) => {
  const [predicate] = scope.operand(op, 0, spread(op.operands[0].type, index));
  const [x, y] = [scope.operand(op, 1, index), scope.operand(op, 2, index)];
  return x.map((part, i) => select(predicate, part, y[i]));
};

export const clampElement: ElementRow<'clamp'> = (op, index, scope) => {
  const element = elementType(op.operands[1]);
  const [low, x, high] = [0, 1, 2].map((i) => scope.operand(op, i, spread(op.operands[i].type, index)));
  switch (elementClass(element)) {
    case 'boolean':
      throw unsupported(op, element);
    case 'complex': {
      const tooLow = complexLess(complexOf(x), complexOf(low));
      const raised = x.map((part, i) => select(tooLow, low[i], part));
      const tooHigh = complexLess(complexOf(high), complexOf(raised));
      return raised.map((part, i) => select(tooHigh, high[i], part));
    }
    default:
      return [binary('minimum', binary('maximum', x[0], low[0]), high[0])];
  }
};

export const isFiniteElement: ElementRow<'is_finite'> = (op, index, scope) => [finite(scope.operand(op, 0, index)[0])];

// ── complex parts ──

export const complexElement: ElementRow<'complex'> = (op, index, scope) => [
  scope.operand(op, 0, index)[0],
  scope.operand(op, 1, index)[0],
];

export const partOfComplex: ElementRow<'real' | 'imag'> = (op, index, scope) => {
  const x = scope.operand(op, 0, index);
  if (op.name === 'real') return [x[0]];
  return [x.length === 2 ? x[1] : constant(x[0].type, 0)];
};
