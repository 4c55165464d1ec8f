/**
 * Expressions as code. Inside a vector loop a value has a register of lanes; what is the same for all lanes is computed
 * once, in the scalar form, and spread. What does not change in a loop is computed before it.
 */
import { IngotError } from '../../../base/errors.ts';
import { keyOf } from '../../../compiler/kernel/expression-key.ts';
import type { Axis, Binary, Expression, ScalarElement, ScalarType, Unary } from '../../../compiler/kernel/language.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { computeBits, convertLanes, convertScalar, fromCompute, isFloatName, toCompute } from './convert.ts';
import { FloatCode } from './float-code.ts';
import { type Linear, linearOf } from './index-form.ts';

import type { LaneCode, LaneCount } from './lane-code.ts';
import { LaneIntegers } from './lane-integers.ts';
import { d, k, type Machine, q, type Register, view } from './machine.ts';
import { floatBinary, floatUnary } from './math.ts';
import { gatherLanes, isFloat, laneBitsOf, loadLanes, loadScalar } from './memory.ts';
import { integerType, type ScalarIntegers } from './scalar-integers.ts';
import type { Scope } from './scope.ts';
import { laneCode } from './vector-sets.ts';

/**
 * Thrown where a loop cannot be written with so many lanes: it is written again with fewer. One lane takes everything.
 * So nothing else has to know what the rows of the lane tables can do.
 */
export class TooWide extends Error {}

function unsupported(op: string, type: string): IngotError {
  return new IngotError('UnsupportedOp', `the CPU device has no code for ${op} of ${type}`, { op, device: 'cpu' });
}

export class Values {
  readonly machine: Machine;
  readonly scope: Scope;
  readonly integers: ScalarIntegers;
  #code: LaneCode;
  /** Loads whose elements lie elsewhere, side by side: how they are read there. */
  #packed: ReadonlyMap<Expression, () => Register> = new Map();
  /** The axis along which lanes run; none where there is one lane. */
  #axis: Axis | undefined;

  constructor(machine: Machine, scope: Scope, integers: ScalarIntegers) {
    this.machine = machine;
    this.scope = scope;
    this.integers = integers;
    this.#code = laneCode(machine, 1);
    scope.evaluate = (e) => this.scalar(e);
  }

  get code(): LaneCode {
    return this.#code;
  }
  get lanes(): LaneCount {
    return this.#code.lanes;
  }
  get axis(): Axis | undefined {
    return this.#axis;
  }

  /** Writes code with lanes along an axis, all of them or those of a mask. */
  along<T>(axis: Axis | undefined, lanes: LaneCount, write: () => T, active?: Register): T {
    const [code, before] = [this.#code, this.#axis];
    this.#code = laneCode(this.machine, lanes, active);
    this.#axis = axis;
    try {
      return write();
    } finally {
      this.#code = code;
      this.#axis = before;
    }
  }

  /** Writes code in which these loads are read elsewhere. */
  packing(packed: ReadonlyMap<Expression, () => Register>, write: () => void): void {
    this.#packed = packed;
    try {
      write();
    } finally {
      this.#packed = new Map();
    }
  }

  /** Whether lanes may differ in it. */
  varies(e: Expression): boolean {
    switch (e.kind) {
      case 'constant':
      case 'dim':
        return false;
      case 'axis':
        return e.axis === this.#axis;
      case 'local': {
        const binding = this.scope.binding(e.local);
        if (binding.kind === 'value') return binding.lanes > 1;
        return this.#linearVaries(binding.linear);
      }
      case 'load':
        return this.varies(e.index);
      case 'unary':
      case 'is_finite':
      case 'convert':
      case 'bitcast':
        return this.varies(e.x);
      case 'binary':
      case 'compare':
        return this.varies(e.a) || this.varies(e.b);
      case 'select':
        return this.varies(e.condition) || this.varies(e.a) || this.varies(e.b);
      default:
        return e satisfies never;
    }
  }

  #linearVaries(linear: Linear): boolean {
    return linear.terms.some(({ expression }) => this.varies(expression));
  }

  /** Elements between lanes of an index. */
  stride(index: Linear): number {
    let stride = 0;
    for (const { expression, coefficient } of index.terms) {
      if (expression.kind === 'axis' && expression.axis === this.#axis) stride = coefficient;
      else if (this.varies(expression)) throw new TooWide();
    }
    return stride;
  }

  /** One element: floats in the first lane of a vector register, everything else in a general register. */
  scalar(e: Expression): Register {
    if (this.lanes > 1 && this.varies(e)) throw new TooWide();
    const depth = this.scope.depthOf(e);
    const leaf = e.kind === 'constant' || e.kind === 'axis' || e.kind === 'dim' || e.kind === 'local';
    const write = () => this.along(undefined, 1, () => this.#scalar(e));
    return leaf ? write() : this.scope.at(depth, `s${keyOf(e)}`, write);
  }

  #scalar(e: Expression): Register {
    const { scope, integers } = this;
    if (e.type === 'index' && isSum(e)) return scope.sum(scope.linear(e));
    switch (e.kind) {
      case 'constant': {
        if (!isFloatName(e.type)) return integers.constant(e.value);
        return this.#floatConstant(e.type, Number(e.value));
      }
      case 'axis':
      case 'dim':
        return scope.sum(scope.linear(e));
      case 'local': {
        const binding = scope.binding(e.local);
        return binding.kind === 'linear' ? scope.sum(binding.linear) : binding.register;
      }
      case 'load':
        return loadScalar(this.#code, e.buffer.element, scope.address(e.buffer, scope.linear(e.index)));
      case 'unary':
        return this.#unary(e.op, e.type, this.scalar(e.x));
      case 'binary': {
        if (e.type === 'index' && (e.op === 'divide' || e.op === 'remainder')) return this.#divideIndex(e.op, e.a, e.b);
        return this.#binary(e.op, e.type, this.scalar(e.a), this.scalar(e.b));
      }
      case 'compare': {
        const { type } = e.a;
        const [a, b] = [this.scalar(e.a), this.scalar(e.b)];
        const integer = integerType(type);
        if (integer !== undefined) return integers.compare(e.op, a, b, integer);
        return this.#bit(
          type,
          this.#floatMask(type, (f, x, y) => f.compare(e.op, x, y), a, b),
        );
      }
      case 'is_finite': {
        const x = this.scalar(e.x);
        if (!isFloatName(e.x.type)) return integers.constant(1);
        return this.#bit(
          e.x.type,
          this.#floatMask(e.x.type, (f, value) => f.isFinite(value), x, x),
        );
      }
      case 'select': {
        const condition = this.scalar(e.condition);
        const [a, b] = [this.scalar(e.a), this.scalar(e.b)];
        if (!isFloat(e.type)) return integers.select(condition, a, b);
        const lane = laneBitsOf(e.type);
        return this.#code.blend(lane, this.#code.maskOfBit(lane, condition), a, b);
      }
      case 'convert':
        return convertScalar(this.#code, e.x.type, e.type, this.scalar(e.x));
      case 'bitcast':
        return this.#bitcast(e.x.type, e.type, this.scalar(e.x));
      default:
        return e satisfies never;
    }
  }

  #floatConstant(type: ScalarType, value: number): Register {
    const one = laneCode(this.machine, 1);
    if (type === 'f64' || type === 'f32') return new FloatCode(one, laneBitsOf(type)).load(value);
    return convertScalar(one, 'f32', type, new FloatCode(one, 32).load(value));
  }

  #divideIndex(op: 'divide' | 'remainder', a: Expression, b: Expression): Register {
    const x = this.scalar(a);
    if (b.kind === 'constant' && Number.isInteger(Math.log2(Number(b.value))) && Number(b.value) < 2 ** 31) {
      const result = this.integers.copy(x);
      if (op === 'divide') this.machine.emit('shr', q(result), Math.log2(Number(b.value)));
      else this.machine.emit('and', q(result), Number(b.value) - 1);
      return result;
    }
    return this.integers.divideIndex(op, x, this.scalar(b));
  }

  /** 0 or 1 of the first lane of a mask. */
  #bit(type: ScalarType, mask: Register): Register {
    const bit = this.#code.firstOf(laneBitsOf(type), mask);
    this.machine.emit('and', d(bit), 1);
    return bit;
  }

  /** A mask in lanes as wide as the computation was. */
  #floatMask(
    type: ScalarType,
    test: (f: FloatCode, a: Register, b: Register) => Register,
    a: Register,
    b: Register,
  ): Register {
    if (!isFloatName(type)) throw unsupported('compare', type);
    const f = new FloatCode(this.#code, computeBits(type));
    return test(f, toCompute(this.#code, type, a), toCompute(this.#code, type, b));
  }

  #bitcast(from: ScalarType, to: ScalarType, x: Register): Register {
    const source = integerType(from);
    const target = integerType(to);
    if (target !== undefined) {
      const bits = source === undefined ? this.#code.toGeneral(laneBitsOf(from), x) : x;
      return this.integers.wrap(bits, target);
    }
    if (source === undefined) return x;
    return this.#code.fromGeneral(
      laneBitsOf(to),
      source.bits < 64 ? this.integers.wrap(x, { bits: source.bits, signed: false }) : x,
    );
  }

  /** In lanes along the axis; 64-bit ones for wide types, i1 a mask of 32-bit lanes. With one lane as `scalar`. */
  value(e: Expression): Register {
    if (this.lanes === 1) return this.scalar(e);
    if (!this.#code.fits(laneBitsOf(e.type))) throw new TooWide();
    if (!this.varies(e)) return this.#spread(e);
    return this.#lanes(e);
  }

  /** All lanes the same. */
  #spread(e: Expression): Register {
    const code = this.#code;
    const lane = laneBitsOf(e.type);
    if (e.kind === 'constant') {
      if (e.type === 'f64' || e.type === 'f32') return new FloatCode(code, lane).load(Number(e.value));
      if (e.type === 'i1') return code.maskOf(Boolean(e.value));
      if (!isFloat(e.type)) return code.constant(lane, BigInt(e.value));
    }
    const write = () => {
      const one = this.scalar(e);
      if (isFloat(e.type)) return code.broadcast(lane, one);
      return e.type === 'i1' ? code.maskOfBit(32, one) : code.broadcast(lane, code.fromGeneral(lane, one));
    };
    return this.scope.at(this.scope.depthOf(e), `v${code.lanes}${keyOf(e)}`, write);
  }

  #lanes(e: Expression): Register {
    const { scope } = this;
    const code = this.#code;
    switch (e.kind) {
      case 'local': {
        const binding = scope.binding(e.local);
        if (binding.kind === 'linear') throw new TooWide();
        return binding.register;
      }
      case 'load': {
        const packed = this.#packed.get(e);
        if (packed !== undefined) return packed();
        const index = scope.linear(e.index);
        const stride = this.stride(index);
        const from = scope.address(e.buffer, index);
        if (stride === 1) return loadLanes(code, e.buffer.element, from);
        if (Math.abs(stride) * 8 * elementBytes(e.buffer.element) >= 2 ** 31) throw new TooWide();
        const gathered = gatherLanes(code, e.buffer.element, from, stride);
        if (gathered === undefined) throw new TooWide();
        return gathered;
      }
      case 'unary':
        return this.#unary(e.op, e.type, this.value(e.x));
      case 'binary':
        return this.#binary(e.op, e.type, this.value(e.a), this.value(e.b));
      case 'compare': {
        const { type } = e.a;
        const integer = integerType(type);
        const [a, b] = [this.value(e.a), this.value(e.b)];
        if (integer === undefined)
          return this.#mask32(
            type,
            this.#floatMask(type, (f, x, y) => f.compare(e.op, x, y), a, b),
          );
        return new LaneIntegers(code).compare(e.op, a, b, integer);
      }
      case 'is_finite': {
        const x = this.value(e.x);
        return this.#mask32(
          e.x.type,
          this.#floatMask(e.x.type, (f, value) => f.isFinite(value), x, x),
        );
      }
      case 'select': {
        const lane = laneBitsOf(e.type);
        const mask = this.value(e.condition);
        const [a, b] = [this.value(e.a), this.value(e.b)];
        if (e.type === 'i1') return code.either(code.both(mask, a), code.without(b, mask));
        return code.blend(lane, lane === 64 ? code.widenMask(mask) : mask, a, b);
      }
      case 'convert': {
        const fromIndex = e.x.type === 'index';
        const x = fromIndex ? this.#numbers(scope.linear(e.x)) : this.value(e.x);
        const converted = convertLanes(code, fromIndex ? 'i32' : e.x.type, e.type, x);
        if (converted === undefined) throw new TooWide();
        return converted;
      }
      case 'bitcast': {
        const x = this.value(e.x);
        const [from, to] = [integerType(e.x.type), integerType(e.type)];
        if (from?.bits === 1 || to?.bits === 1) throw new TooWide();
        if (to !== undefined) return new LaneIntegers(code).wrap(x, to);
        return from === undefined ? x : new LaneIntegers(code).wrap(x, { bits: from.bits, signed: false });
      }
      case 'constant':
      case 'axis':
      case 'dim':
        throw new TooWide();
      default:
        return e satisfies never;
    }
  }

  /** An index as integers of 32 bits, where it is known to be one in every turn. */
  #numbers(index: Linear): Register {
    let most = Math.abs(index.constant);
    for (const { expression: e, coefficient } of index.terms) {
      const extent = e.kind === 'axis' ? linearOf(e.axis.extent, () => undefined) : undefined;
      if (extent === undefined || extent.terms.length > 0) throw new TooWide();
      most += Math.abs(coefficient) * extent.constant;
    }
    if (most >= 2 ** 31) throw new TooWide();
    const code = this.#code;
    const stride = this.stride(index);
    const first = code.broadcast(32, code.fromGeneral(32, this.scope.sum(index)));
    return code.op('vpaddd', 32, first, code.offsets(stride));
  }

  /** A mask of 32-bit lanes. */
  #mask32(type: ScalarType, mask: Register): Register {
    return type === 'f64' ? this.#code.narrowMask(mask) : mask;
  }

  #unary(op: Unary, type: ScalarElement, x: Register): Register {
    if (isFloatName(type)) {
      const f = new FloatCode(this.#code, computeBits(type));
      const result = floatUnary(op, f, toCompute(this.#code, type, x));
      if (result === undefined) throw unsupported(op, type);
      return fromCompute(this.#code, type, result);
    }
    const integer = integerType(type);
    if (integer === undefined) throw unsupported(op, type);
    if (this.lanes > 1) {
      const result = new LaneIntegers(this.#code).unary(op, x, integer);
      if (result === undefined) throw new TooWide();
      return result;
    }
    const result = this.integers.unary(op, x, integer);
    if (result === undefined) throw unsupported(op, type);
    return result;
  }

  /** Of values in the form that this number of lanes has. */
  fold(op: Binary, type: ScalarType, a: Register, b: Register): Register {
    return this.#binary(op, type, a, b);
  }

  #binary(op: Binary, type: ScalarType, a: Register, b: Register): Register {
    if (isFloatName(type)) {
      const f = new FloatCode(this.#code, computeBits(type));
      const result = floatBinary(op, f, toCompute(this.#code, type, a), toCompute(this.#code, type, b));
      if (result === undefined) throw unsupported(op, type);
      return fromCompute(this.#code, type, result);
    }
    const integer = integerType(type);
    if (integer === undefined) throw unsupported(op, type);
    if (this.lanes > 1) {
      const result = new LaneIntegers(this.#code).binary(op, a, b, integer);
      if (result === undefined) throw new TooWide();
      return result;
    }
    const result = this.integers.binary(op, a, b, integer);
    if (result === undefined) throw unsupported(op, type);
    return result;
  }

  /** A new register of the same kind with the same value. */
  copy(type: ScalarType, x: Register): Register {
    const result = this.machine.register(x.file);
    this.assign(type, result, x);
    return result;
  }

  /** Changes what a register holds. */
  assign(type: ScalarType, target: Register, x: Register): void {
    if (target.file === 'gp') this.machine.emit('mov', q(target), q(x));
    else if (target.file === 'mask') this.machine.emit('kmovw', k(target), k(x));
    else {
      const bits = this.#code.bits(laneBitsOf(type));
      this.machine.emit('vmovaps', view(target, bits), view(x, bits));
    }
  }
}

/** What `Scope.sum` takes apart. */
function isSum(e: Expression): boolean {
  return e.kind === 'binary' && (e.op === 'add' || e.op === 'subtract' || e.op === 'multiply') && !isProduct(e);
}

/** A product of two things that are no constants is a term of its own. */
function isProduct(e: Expression & { kind: 'binary' }): boolean {
  return e.op === 'multiply' && e.a.kind !== 'constant' && e.b.kind !== 'constant';
}
