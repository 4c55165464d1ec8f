/** Attributes and constants as MLIR text: the inverse of `attribute-text.ts` and `dense.ts`. */
import { IngotError } from '../../base/errors.ts';
import { type ElementType, elementTypes } from '../../numerics/element-types.ts';
import { decodeElements } from '../../numerics/host-array.ts';
import { type Attribute, isListAttribute, isLiteralAttribute, isTypeAttribute } from '../attributes.ts';
import type { Literal } from '../program.ts';
import { type DimValues, formatType, resolveShape, staticShape, type Type } from '../types.ts';

export interface PrintOptions {
  /** Values for symbolic dimensions: other readers of MLIR take no bounds on constants. */
  readonly dims?: DimValues;
  /** For reading by people: large constants are left out, and the text does not parse back. */
  readonly elide?: boolean;
}

/** Constants of more elements are printed as bytes. */
const maxSpelled = 64;
const elided = 'dense_resource<__elided__>';

export function resolveType(type: Type, dims: DimValues | undefined): Type {
  if (dims === undefined || type.kind === 'token') return type;
  if (type.kind === 'tuple') return { kind: 'tuple', parts: type.parts.map((part) => resolveType(part, dims)) };
  return { ...type, shape: resolveShape(type.shape, dims) };
}

export function printAttribute(value: Attribute, options: PrintOptions = {}): string {
  switch (typeof value) {
    case 'string':
      return printString(value);
    case 'boolean':
      return String(value);
    case 'bigint':
      return `${value} : ${BigInt.asIntN(64, value) === value ? 'i64' : 'ui64'}`;
    case 'number':
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? `${value} : i64` : printNumber(value);
  }
  if (isListAttribute(value)) return `[${value.map((item) => printAttribute(item, options)).join(', ')}]`;
  if (isTypeAttribute(value)) return formatType(resolveType(value, options.dims));
  if (isLiteralAttribute(value)) return printLiteral(value, options);
  return printFields(Object.entries(value).map(([key, item]) => [key, printAttribute(item, options)]));
}

function printNumber(value: number): string {
  if (Number.isFinite(value)) return `${float64(value)} : f64`;
  const bytes = new Uint8Array(Float64Array.of(value).buffer).reverse();
  return `0x${printHex(bytes)} : f64`;
}

/** `{a = 1 : i64, "b c" = "text"}`, in the order of the keys: to MLIR a dictionary is a set. */
export function printFields(fields: readonly (readonly [string, string])[]): string {
  const sorted = [...fields].sort(([a], [b]) => (a < b ? -1 : 1));
  const spelled = sorted.map(([key, value]) => `${bareWord.test(key) ? key : printString(key)} = ${value}`);
  return `{${spelled.join(', ')}}`;
}

const bareWord = /^[A-Za-z_][\w$.]*$/;

/** In quotes; all but printable ASCII as bytes of UTF-8. */
export function printString(text: string): string {
  let body = '';
  for (const byte of new TextEncoder().encode(text)) {
    const plain = byte >= 32 && byte < 127 && byte !== 34 && byte !== 92;
    body += plain ? String.fromCharCode(byte) : `\\${byte.toString(16).padStart(2, '0').toUpperCase()}`;
  }
  return `"${body}"`;
}

export function printSymbol(name: string): string {
  return bareWord.test(name) ? `@${name}` : `@${printString(name)}`;
}

/** `dense<...> : type`. @throws IngotError 'InvalidArgument' if the data has not been read and is not elided. */
export function printLiteral({ type, data, splat }: Literal, { dims, elide = false }: PrintOptions): string {
  const resolved = { ...type, shape: dims === undefined ? type.shape : resolveShape(type.shape, dims) };
  const suffix = ` : ${formatType(resolved)}`;
  const large = data.length > maxSpelled * Math.max(1, elementTypes[type.element].bits >> 3);
  if (elide && (large || !(data instanceof Uint8Array))) return elided + suffix;
  if (!(data instanceof Uint8Array)) {
    throw new IngotError('InvalidArgument', `constant data of ${data.name} has not been read`, {
      hint: 'print with elide, or read the data first',
    });
  }
  if (data.length === 0) return `dense<>${suffix}`;
  // Versions of MLIR differ in how they pack booleans and integers of less than a byte.
  if (large && elementTypes[type.element].bits >= 8) return `dense<"0x${printHex(data)}">${suffix}`;
  const element = elementPrinter(type.element, data);
  return `dense<${splat ? element(0) : printNested(staticShape(type), element)}>${suffix}`;
}

function printNested(shape: readonly number[], element: (i: number) => string): string {
  let next = 0;
  const print = (depth: number): string => {
    if (depth === shape.length) return element(next++);
    return `[${Array.from({ length: shape[depth] }, () => print(depth + 1)).join(', ')}]`;
  };
  return print(0);
}

function elementPrinter(type: ElementType, data: Uint8Array): (i: number) => string {
  const values = decodeElements(type, data);
  const row = elementTypes[type];
  /** Infinities and NaNs, these with all their bits. */
  const float = (i: number): string => {
    const value = Number(values[i]);
    if (Number.isFinite(value)) return type === 'f64' || type === 'complex<f64>' ? float64(value) : float32(value);
    const bytes = data.length / values.length;
    return `0x${printHex(data.slice(i * bytes, (i + 1) * bytes).reverse())}`;
  };
  switch (row.class) {
    case 'boolean':
      return (i) => (values[i] === 0 ? 'false' : 'true');
    case 'signed':
    case 'unsigned':
      return (i) => String(values[i]);
    case 'float':
      return float;
    case 'complex':
      return (i) => `(${float(2 * i)}, ${float(2 * i + 1)})`;
    default:
      return row satisfies never;
  }
}

/** The shortest decimal that reads back as the same value, with the point that MLIR wants. */
function float64(value: number): string {
  return Object.is(value, -0) ? '-0.0' : pointed(String(value));
}

function float32(value: number): string {
  return Object.is(value, -0) ? '-0.0' : pointed(shortest32(value));
}

function pointed(decimal: string): string {
  const [mantissa, exponent] = decimal.split('e');
  const withPoint = mantissa.includes('.') ? mantissa : `${mantissa}.0`;
  return exponent === undefined ? withPoint : `${withPoint}e${exponent}`;
}

function shortest32(value: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return String(Number(value.toPrecision(9)));
}

function printHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += hexPairs[byte];
  return text;
}

const hexPairs = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0').toUpperCase());
