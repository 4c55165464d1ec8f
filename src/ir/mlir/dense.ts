/**
 * Constant data in MLIR text: `dense<[[1.0, 2.0], [3.0, 4.0]]>`, splats, and hexadecimal strings of the bytes. The type
 * follows the data, so the data is skipped first and read when the type is known.
 */
import { type ElementType, elementBytes, elementTypes } from '../../numerics/element-types.ts';
import { type SmallFloatType, toBits } from '../../numerics/rounding.ts';
import type { Literal } from '../program.ts';
import { isStatic, maxElements, staticShape, type TensorType } from '../types.ts';
import type { Lexer } from './lexer.ts';

/** Behind the word `dense`: the data, and the type that `type` reads behind it. */
export function readDense(lexer: Lexer, type: () => TensorType): Literal {
  const start = lexer.at;
  lexer.group('<', '>');
  lexer.expect(':');
  const of = type();
  const end = lexer.at;
  lexer.at = start;
  const literal = readElements(lexer, of);
  lexer.at = end;
  return literal;
}

/** Exactly one element: with a symbolic dimension whose bound is 1 there may be none. */
function hasOne(type: TensorType): boolean {
  return isStatic(type) && maxElements(type) === 1;
}

function readElements(lexer: Lexer, type: TensorType): Literal {
  lexer.expect('<');
  const start = lexer.at;
  const first = lexer.peek();
  if (first === '"') return hexElements(lexer, type);
  if (first === '>') {
    if (maxElements(type) !== 0) lexer.fail('an empty literal for a tensor that has elements', start);
    return { type, data: new Uint8Array(0), splat: false };
  }
  const single = first !== '[';
  if (!single && type.shape.some((dim) => typeof dim !== 'number')) {
    lexer.fail('with a symbolic dimension a constant is one element for all', start);
  }
  const shape = single ? [] : staticShape(type);
  const count = shape.reduce((product, dim) => product * dim, 1);
  // Every element takes at least two characters, so a type that lies cannot claim memory.
  if (count > lexer.text.length) lexer.fail(`fewer elements than the ${count} of the type`, start);
  const bytes = new Uint8Array(count * elementBytes(type.element));
  const write = elementWriter(lexer, type.element, new DataView(bytes.buffer));
  const size = elementBytes(type.element);
  let at = 0;
  const read = (depth: number): void => {
    if (depth === shape.length) {
      write(at);
      at += size;
      return;
    }
    lexer.expect('[');
    for (let i = 0; i < shape[depth]; i++) {
      if (i > 0) lexer.expect(',');
      read(depth + 1);
    }
    lexer.expect(']');
  };
  read(0);
  lexer.expect('>');
  return { type, data: bytes, splat: single && !hasOne(type) };
}

/** Reads one element and writes it at a byte offset. */
function elementWriter(lexer: Lexer, element: ElementType, view: DataView): (at: number) => void {
  if (element === 'complex<f32>' || element === 'complex<f64>') {
    const part = element === 'complex<f32>' ? 'f32' : 'f64';
    const write = elementWriter(lexer, part, view);
    return (at) => {
      lexer.expect('(');
      write(at);
      lexer.expect(',');
      write(at + elementBytes(part));
      lexer.expect(')');
    };
  }
  const { class: kind, bits } = elementTypes[element];
  if (kind !== 'float') {
    // Without a sign in its name an integer type takes both readings of its bits, as in MLIR.
    const low = kind === 'unsigned' ? 0n : -(1n << BigInt(bits - 1));
    const high = 1n << BigInt(bits);
    const put = bitsWriter(view, element);
    return (at) => {
      const value = integer(lexer);
      if (value < low || value >= high) lexer.fail(`${value} does not fit ${element}`);
      put(at, value);
    };
  }
  const put = bitsWriter(view, element);
  return (at) => {
    const spelled = floatText(lexer);
    if (spelled.startsWith('0x')) {
      const pattern = BigInt(spelled);
      if (pattern >= 1n << BigInt(bits)) lexer.fail(`${spelled} has more than ${bits} bits`);
      put(at, pattern);
    } else if (element === 'f32') view.setFloat32(at, Number(spelled), true);
    else if (element === 'f64') view.setFloat64(at, Number(spelled), true);
    else put(at, toBits(element as SmallFloatType, Number(spelled)));
  };
}

/** Writes an integer, or the bit pattern of a float, modulo the width of the type. */
function bitsWriter(view: DataView, element: ElementType): (at: number, value: number | bigint) => void {
  const { class: kind, bits } = elementTypes[element];
  switch (bits) {
    case 1:
      return (at, value) => view.setUint8(at, Number(value) & 1);
    case 4: // in memory a byte each, the sign in every upper bit
      return (at, value) => view.setUint8(at, kind === 'signed' ? (Number(value) << 28) >> 28 : Number(value) & 15);
    case 8:
      return (at, value) => view.setUint8(at, Number(value));
    case 16:
      return (at, value) => view.setUint16(at, Number(value), true);
    case 32:
      return (at, value) => view.setUint32(at, Number(value), true);
    default:
      return (at, value) => view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
  }
}

function integer(lexer: Lexer): number | bigint {
  if (lexer.keyword('true')) return 1;
  if (lexer.keyword('false')) return 0;
  const spelled = lexer.acceptNumber() ?? lexer.fail('expected an integer');
  const value = Number(spelled);
  if (Number.isSafeInteger(value) && !spelled.includes('.')) return value;
  if (!/^[-+]?\d+$/.test(spelled) && !/^0x/.test(spelled)) lexer.fail(`expected an integer, found '${spelled}'`);
  return BigInt(spelled.startsWith('+') ? spelled.slice(1) : spelled);
}

/** Spelled as `Number` reads it, or `0x` and the bit pattern. */
function floatText(lexer: Lexer): string {
  const spelled = lexer.acceptNumber();
  if (spelled !== undefined) {
    if (spelled.startsWith('-0x') || spelled.startsWith('+0x')) lexer.fail('a bit pattern has no sign');
    return spelled;
  }
  const sign = lexer.accept('-') ? '-' : '';
  if (lexer.keyword('inf')) return `${sign}Infinity`;
  if (lexer.keyword('nan')) return 'NaN';
  return lexer.fail('expected a number');
}

/** `"0x..."`: the elements' bytes, little endian, or those of one element for all. */
function hexElements(lexer: Lexer, type: TensorType): Literal {
  const start = lexer.at;
  const text = lexer.string('bytes');
  if (!/^0x(?:[0-9A-Fa-f]{2})*$/.test(text)) lexer.fail('expected "0x" and pairs of hexadecimal digits', start);
  lexer.expect('>');
  const bytes = decodeHex(text);
  const count = maxElements(type);
  const size = elementBytes(type.element);
  if (type.element === 'i1') {
    // Older versions of MLIR pack booleans into bits, newer ones give each a byte.
    if (count > 8 && bytes.length === Math.ceil(count / 8)) {
      return { type, data: unpackBits(bytes, count), splat: false };
    }
    for (let i = 0; i < bytes.length; i++) bytes[i] = bytes[i] === 0 ? 0 : 1;
  }
  if (bytes.length !== count * size && bytes.length !== size) {
    lexer.fail(`${bytes.length} bytes for ${count} elements of ${size}`, start);
  }
  return { type, data: bytes, splat: bytes.length === size && !hasOne(type) };
}

function decodeHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2 - 1);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = (hexDigit(text.charCodeAt(2 * i + 2)) << 4) | hexDigit(text.charCodeAt(2 * i + 3));
  }
  return bytes;
}

function hexDigit(code: number): number {
  return code <= 57 ? code - 48 : (code & 0xdf) - 55;
}

/** The first in the lowest bit. */
function unpackBits(bytes: Uint8Array, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
}
