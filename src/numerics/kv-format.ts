/**
 * How keys and values lie in the pools of a KV cache: one row a format, and the scalar reference of those that are coded.
 *
 * A coded head of D values is its codes, unsigned integers of 8 or 4 bits, and behind them a minimum and a step in bf16: value i is
 * `code[i] * step + minimum`, product and sum rounded to f32. Both are of one token and head, so what is kept of a token depends
 * on no other. Two numbers, not one scale: keys of one head often lie far to one side of zero, and with so few codes that is
 * what costs most (KIVI, https://arxiv.org/abs/2402.02750, section 3.2, has the same rule).
 */
import { IngotError } from '../base/errors.ts';
import type { ElementType } from './element-types.ts';
import { nearestInteger } from './quant/format.ts';
import { fromBits, roundTo, toBits } from './rounding.ts';

/** Bits of a code; floats are kept as they are. */
export const kvCodeBits = { f32: undefined, f16: undefined, bf16: undefined, int8: 8, int4: 4 } as const;
export type KvFormat = keyof typeof kvCodeBits;
export const kvFormats = Object.keys(kvCodeBits) as readonly KvFormat[];
export type CodedKv = { [F in KvFormat]: (typeof kvCodeBits)[F] extends number ? F : never }[KvFormat];

/** Bytes of minimum and step, in this order, behind the codes. */
export const kvHeaderBytes = 4;

export function isCoded(format: KvFormat): format is CodedKv {
  return kvCodeBits[format] !== undefined;
}

/**
 * A head of `dim` values in a pool: `length` elements of a type.
 * @throws IngotError 'UnsupportedOp' where codes of 4 bits do not fill words.
 */
export function kvRow(format: KvFormat, dim: number): { readonly element: ElementType; readonly length: number } {
  if (!isCoded(format)) return { element: format, length: dim };
  if (format === 'int4' && dim % 8 !== 0) {
    throw new IngotError('UnsupportedOp', `heads of ${dim} dimensions cannot be kept in int4, only multiples of 8`, {
      hint: 'keep keys and values in int8',
    });
  }
  return { element: 'ui8', length: (dim * kvCodeBits[format]) / 8 + kvHeaderBytes };
}

/** Values of a head that takes `length` elements. */
export function kvDim(format: KvFormat, length: number): number {
  return isCoded(format) ? ((length - kvHeaderBytes) * 8) / kvCodeBits[format] : length;
}

/**
 * The largest level of integers of 16 bits that are multiplied with `count` codes each, where the sum of the products is one of 32 bits:
 * what numerics `i16` of attention make of queries and of weights.
 */
export function codeFactorLevels(format: CodedKv, count: number): number {
  return Math.min(2 ** 15 - 1, Math.floor((2 ** 31 - 1) / ((2 ** kvCodeBits[format] - 1) * count)));
}

/** The row that values become. One that is no finite number makes all of its head that. */
export function encodeKv(format: CodedKv, values: Float32Array): Uint8Array {
  const row = new Uint8Array(kvRow(format, values.length).length);
  const levels = 2 ** kvCodeBits[format] - 1;
  const minimum = roundTo('bf16', Math.min(...values));
  const step = roundTo('bf16', f(f(Math.max(...values) - minimum) / levels));
  const divisor = step === 0 ? 1 : step;
  values.forEach((value, i) => {
    const code = Math.min(levels, Math.max(0, nearestInteger(f(f(value - minimum) / divisor))));
    if (format === 'int8') row[i] = code;
    else row[4 * (i >> 3) + (i & 3)] |= code << (i & 4);
  });
  const header = new DataView(row.buffer, row.length - kvHeaderBytes);
  header.setUint16(0, toBits('bf16', minimum), true);
  header.setUint16(2, toBits('bf16', step), true);
  return row;
}

/** `row` of `dim` values as attention reads them. */
export function decodeKv(format: CodedKv, row: Uint8Array, dim: number): Float32Array {
  const header = new DataView(row.buffer, row.byteOffset + row.length - kvHeaderBytes);
  const minimum = fromBits('bf16', header.getUint16(0, true));
  const step = fromBits('bf16', header.getUint16(2, true));
  return Float32Array.from({ length: dim }, (_, i) => {
    const code = format === 'int8' ? row[i] : (row[4 * (i >> 3) + (i & 3)] >> (i & 4)) & 15;
    return f(code * step) + minimum;
  });
}

const f = Math.fround;
