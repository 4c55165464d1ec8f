/**
 * The meaning of the loop language, as JavaScript: a kernel becomes the text of a function over typed arrays, statement by
 * statement and in their order, and every access is checked. The oracle of lowerings and of emitters.
 */

import type { BinaryOp, UnaryOp } from '../../ir/attributes.ts';
import { bigBinary, bigUnary, elementConverter, numberBinary, numberUnary } from '../../ir/scalar-functions.ts';
import type { DimValues } from '../../ir/types.ts';
import { elementBytes, elementClass } from '../../numerics/element-types.ts';
import type { HostArray } from '../../numerics/host-array.ts';
import {
  type FloatType,
  fromBits,
  type IntegerType,
  rounder,
  type SmallFloatType,
  toBits,
  wrapTo,
} from '../../numerics/rounding.ts';
import type {
  Axis,
  Binary,
  Buffer,
  Expression,
  Kernel,
  Local,
  Reduce,
  ScalarElement,
  ScalarType,
  Statement,
  Unary,
} from './language.ts';

/** Memory that holds a buffer from `offset` on, which is a multiple of 8. */
export interface Address {
  readonly bytes: Uint8Array;
  readonly offset: number;
}

/** Runs the kernel; one address a buffer. Throws a RangeError where an access lies outside of a buffer. */
export type Evaluator = (memory: readonly Address[], dims: DimValues) => void;

type Scalar = number | bigint;
type ViewMaker = new (buffer: ArrayBufferLike, offset: number, length: number) => HostArray;

const evaluators = new WeakMap<Kernel, Evaluator>();

export function evaluatorOf(kernel: Kernel): Evaluator {
  let evaluator = evaluators.get(kernel);
  if (evaluator === undefined) {
    evaluator = new KernelText(kernel).evaluator();
    evaluators.set(kernel, evaluator);
  }
  return evaluator;
}

const views: Readonly<Record<ScalarElement, ViewMaker>> = {
  f64: Float64Array,
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  f8E4M3FN: Uint8Array,
  f8E5M2: Uint8Array,
  i1: Uint8Array,
  i4: Uint8Array,
  i8: Int8Array,
  i16: Int16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  ui4: Uint8Array,
  ui8: Uint8Array,
  ui16: Uint16Array,
  ui32: Uint32Array,
  ui64: BigUint64Array,
};

function isSmallFloat(type: ScalarType): type is SmallFloatType {
  return type === 'f16' || type === 'bf16' || type === 'f8E4M3FN' || type === 'f8E5M2';
}
function isFloatType(type: ScalarType): type is FloatType {
  return type !== 'index' && elementClass(type) === 'float';
}
function isWide(type: ScalarType): type is 'i64' | 'ui64' {
  return type === 'i64' || type === 'ui64';
}

// ── operations ──

function rounded(type: ScalarElement, f: (...x: number[]) => number): (...x: number[]) => Scalar {
  if (isFloatType(type)) {
    const round = rounder(type);
    return (...x) => round(f(...x));
  }
  return (...x) => wrapTo(type as IntegerType, f(...x));
}

function missing(op: string, type: ScalarType): Error {
  return new Error(`there is no ${op} of ${type}`);
}

function binaryFunction(op: Binary, type: ScalarElement): (a: never, b: never) => Scalar {
  if (op === 'hypot') return rounded(type, Math.hypot);
  if (isWide(type)) {
    const f = bigBinary[op as BinaryOp];
    if (f === undefined) throw missing(op, type);
    return (a: bigint, b: bigint) => wrapTo(type, f(a, b));
  }
  const f = numberBinary(op, type);
  if (f === undefined) throw missing(op, type);
  return rounded(type, f);
}

function unaryFunction(op: Unary, type: ScalarElement): (x: never) => Scalar {
  if (op === 'sinh') return rounded(type, Math.sinh);
  if (op === 'cosh') return rounded(type, Math.cosh);
  if (op === 'truncate') return rounded(type, Math.trunc);
  if (isWide(type)) {
    const f = bigUnary[op as UnaryOp];
    if (f === undefined) throw missing(op, type);
    return (x: bigint) => wrapTo(type, f(x));
  }
  const f = numberUnary(op, type);
  if (f === undefined) throw missing(op, type);
  return rounded(type, f);
}

function converter(from: ScalarType, to: ScalarType): (x: never) => Scalar {
  if (to === 'index') {
    return from === 'ui64' ? (x: bigint) => Number(BigInt.asIntN(64, x)) : (x: Scalar) => Number(x);
  }
  if (from === 'index') {
    const convert = elementConverter('i64', to);
    return (x: number) => convert(BigInt(x));
  }
  return elementConverter(from, to);
}

const cell = new DataView(new ArrayBuffer(8));

/** The bits of a value, and the value of bits, through 8 bytes of memory. */
function putBits(type: ScalarElement, x: Scalar): void {
  if (isSmallFloat(type)) cell.setUint16(0, toBits(type, Number(x)), true);
  else if (type === 'f64') cell.setFloat64(0, Number(x), true);
  else if (type === 'f32') cell.setFloat32(0, Number(x), true);
  else cell.setBigInt64(0, BigInt.asIntN(64, BigInt(x)), true);
}
function takeBits(type: ScalarElement): Scalar {
  const bytes = elementBytes(type);
  if (isSmallFloat(type)) return fromBits(type, bytes === 1 ? cell.getUint8(0) : cell.getUint16(0, true));
  if (type === 'f64') return cell.getFloat64(0, true);
  if (type === 'f32') return cell.getFloat32(0, true);
  return wrapTo(type as IntegerType, cell.getBigInt64(0, true));
}

function checked(index: number, elements: number, name: string): number {
  if (index >= 0 && index < elements) return index;
  throw new RangeError(`element ${index} of ${name}, which has ${elements}`);
}

// ── text ──

class KernelText {
  readonly #kernel: Kernel;
  readonly #names = new Map<object, string>();
  readonly #helpers: unknown[] = [];
  readonly #helperNames = new Map<string, string>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  evaluator(): Evaluator {
    const { buffers, privates, body } = this.#kernel;
    const at = [...buffers, ...privates].map((buffer) => this.#name(buffer));
    const text = this.#statements(body);
    const helpers = this.#helpers.map((_, i) => `h${i}`);
    const make = new Function(
      ...helpers,
      'checked',
      `'use strict'; return (dims, ${at.join(', ')}) => {\n${text}\n};`,
    ) as (...helpers: unknown[]) => (dims: DimValues, ...views: HostArray[]) => void;
    const run = make(...this.#helpers, checked);
    return (memory, dims) => {
      const arrays = buffers.map(({ element, elements }, i) => {
        const { bytes, offset } = memory[i];
        return new views[element](bytes.buffer, bytes.byteOffset + offset, elements);
      });
      const own = privates.map(({ element, elements }) => {
        return new views[element](new ArrayBuffer(elements * elementBytes(element)), 0, elements);
      });
      run(dims, ...arrays, ...own);
    };
  }

  #name(thing: Buffer | Local | Axis): string {
    let name = this.#names.get(thing);
    if (name === undefined) {
      name = `n${this.#names.size}`;
      this.#names.set(thing, name);
    }
    return name;
  }

  #helper(key: string, make: () => unknown): string {
    let name = this.#helperNames.get(key);
    if (name === undefined) {
      name = `h${this.#helpers.length}`;
      this.#helpers.push(make());
      this.#helperNames.set(key, name);
    }
    return name;
  }

  #statements(list: readonly Statement[]): string {
    return list.map((statement) => this.#statement(statement)).join('\n');
  }

  #statement(s: Statement): string {
    switch (s.kind) {
      case 'let':
        return `let ${this.#name(s.local)} = ${this.#expression(s.value)};`;
      case 'set':
        return `${this.#name(s.local)} = ${this.#expression(s.value)};`;
      case 'store': {
        const store = `${this.#element(s.buffer, s.index)} = ${this.#stored(s.buffer.element, this.#expression(s.value))};`;
        return s.where === undefined ? store : `if (${this.#expression(s.where)}) ${store}`;
      }
      case 'for':
        return `${this.#loop(s.axis)} {\n${this.#statements(s.body)}\n}`;
      case 'reduce':
        return this.#reduce(s);
      case 'if':
        return `if (${this.#expression(s.condition)}) {\n${this.#statements(s.body)}\n} else {\n${this.#statements(s.otherwise)}\n}`;
      case 'while':
        return `for (;;) {\n${this.#statements(s.before)}\nif (!${this.#expression(s.condition)}) break;\n${this.#statements(s.body)}\n}`;
      default:
        return s satisfies never;
    }
  }

  #loop(axis: Axis): string {
    const i = this.#name(axis);
    return `for (let ${i} = 0, ${i}n = ${this.#expression(axis.extent)}; ${i} < ${i}n; ${i}++)`;
  }

  #reduce({ op, axes, body, value, init, into }: Reduce): string {
    const result = this.#name(into);
    const loops = axes.map((axis) => this.#loop(axis)).join(' ');
    const next = this.#expression(value);
    const combine = (a: string, b: string) => this.#binary(op, into.type, a, b);
    if (op === 'add' && isFloatType(into.type)) {
      const lane = `lanes[i & 15]`;
      return `let ${result};
{
const lanes = new Float64Array(16);
let i = 0;
${loops} {
${this.#statements(body)}
${lane} = ${combine(lane, next)};
i++;
}
for (let w = 8; w >= 1; w >>= 1) for (let l = 0; l < w; l++) lanes[l] = ${combine('lanes[l]', 'lanes[l + w]')};
${result} = ${combine(this.#expression(init), 'lanes[0]')};
}`;
    }
    return `let ${result} = ${this.#expression(init)};
${loops} {
${this.#statements(body)}
${result} = ${combine(result, next)};
}`;
  }

  #element(buffer: Buffer, index: Expression): string {
    return `${this.#name(buffer)}[checked(${this.#expression(index)}, ${buffer.elements}, ${JSON.stringify(buffer.name)})]`;
  }

  #stored(type: ScalarElement, value: string): string {
    if (isSmallFloat(type)) return `${this.#helper(`to ${type}`, () => (x: number) => toBits(type, x))}(${value})`;
    return type === 'i4' || type === 'ui4' ? `(${value} & 15)` : value;
  }

  #loaded(type: ScalarElement, value: string): string {
    if (isSmallFloat(type)) return `${this.#helper(`from ${type}`, () => (x: number) => fromBits(type, x))}(${value})`;
    if (type === 'i1') return `(${value} === 0 ? 0 : 1)`;
    if (type === 'i4') return `(${value} << 28 >> 28)`;
    return type === 'ui4' ? `(${value} & 15)` : value;
  }

  #binary(op: Binary, type: ScalarType, a: string, b: string): string {
    const sign = { add: '+', subtract: '-', multiply: '*', divide: '/', remainder: '%' }[op as string];
    if (type === 'index') {
      if (op === 'minimum' || op === 'maximum') return `Math.${op === 'minimum' ? 'min' : 'max'}(${a}, ${b})`;
      if (sign === undefined) throw missing(op, type);
      return op === 'divide' ? `Math.floor(${a} / ${b})` : `(${a} ${sign} ${b})`;
    }
    if (type === 'f32' && sign !== undefined) return `Math.fround(${a} ${sign} ${b})`;
    if (type === 'f64' && sign !== undefined) return `(${a} ${sign} ${b})`;
    return `${this.#helper(`${op} ${type}`, () => binaryFunction(op, type))}(${a}, ${b})`;
  }

  #expression(e: Expression): string {
    const text = (x: Expression) => this.#expression(x);
    switch (e.kind) {
      case 'constant':
        if (typeof e.value === 'bigint') return `${e.value < 0n ? `(${e.value}n)` : `${e.value}n`}`;
        return Object.is(e.value, -0) ? '(-0)' : `(${e.value})`;
      case 'axis':
        return this.#name(e.axis);
      case 'dim':
        return `dims.${e.sym}`;
      case 'local':
        return this.#name(e.local);
      case 'load':
        return this.#loaded(e.type, this.#element(e.buffer, e.index));
      case 'unary':
        return `${this.#helper(`${e.op} ${e.type}`, () => unaryFunction(e.op, e.type))}(${text(e.x)})`;
      case 'binary':
        return this.#binary(e.op, e.type, text(e.a), text(e.b));
      case 'compare': {
        const sign = { EQ: '===', NE: '!==', LT: '<', LE: '<=', GT: '>', GE: '>=' }[e.op];
        return `(${text(e.a)} ${sign} ${text(e.b)} ? 1 : 0)`;
      }
      case 'is_finite':
        return `(Number.isFinite(${text(e.x)}) ? 1 : 0)`;
      case 'select':
        return `(${text(e.condition)} ? ${text(e.a)} : ${text(e.b)})`;
      case 'convert': {
        const { type: from } = e.x;
        return `${this.#helper(`${from} as ${e.type}`, () => converter(from, e.type))}(${text(e.x)})`;
      }
      case 'bitcast': {
        const { type: from } = e.x;
        if (from === 'index') throw missing('bitcast', from);
        const helper = this.#helper(`bits ${from} ${e.type}`, () => (x: Scalar) => {
          putBits(from, x);
          return takeBits(e.type);
        });
        return `${helper}(${text(e.x)})`;
      }
      default:
        return e satisfies never;
    }
  }
}
