/**
 * Keys and values into the pools of a KV cache and back, in the formats of `numerics/kv-format.ts`: a pool is [slots, heads, length]
 * of the element type that `kvRow` says. No composites of their own: what writes is fused like any other op, what reads is part of attention.
 */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, type Dim, tensor } from '../ir/types.ts';
import { type CodedKv, isCoded, type KvFormat, kvCodeBits, kvHeaderBytes } from '../numerics/kv-format.ts';

/** `pool` with `x` f32 [T, heads, D] at `slots`, no two of which are the same place. */
export function putKv(b: Builder, pool: Value, slots: Value, x: Value, format: KvFormat): Value {
  return b.put(pool, slots, isCoded(format) ? encode(b, x, format) : b.convert(x, format), { unique: true });
}

/** `encodeKv`. */
function encode(b: Builder, x: Value, format: CodedKv): Value {
  const { shape } = asTensor(x.type);
  const heads = shape.slice(0, 2);
  const wide = (value: Value) => b.broadcast(value, shape, [0, 1]);
  const rounded = (value: Value) => b.convert(b.convert(value, 'bf16'), 'f32');
  const levels = 2 ** kvCodeBits[format] - 1;
  const minimum = rounded(b.reduce('minimum', x, Number.POSITIVE_INFINITY, [2]));
  const most = b.reduce('maximum', x, Number.NEGATIVE_INFINITY, [2]);
  const step = rounded(b.divide(b.subtract(most, minimum), b.full('f32', heads, levels)));
  const zero = b.full('f32', heads, 0);
  const divisor = b.select(b.compare('EQ', step, zero), b.full('f32', heads, 1), step);
  const steps = b.divide(b.subtract(x, wide(minimum)), wide(divisor));
  const nearest = b.clamp(b.scalar('f32', 0), b.unary('round_nearest_even', steps), b.scalar('f32', levels));
  const codes = b.convert(nearest, 'ui8');
  const word = (value: Value) => b.bitcastConvert(value, tensor('ui32', heads));
  const header = b.or(word(step), b.binary('shift_right_logical', word(minimum), b.full('ui32', heads, 16)));
  return b.concatenate(
    [format === 'int8' ? codes : pack(b, codes), b.bitcastConvert(header, tensor('ui8', [...heads, kvHeaderBytes]))],
    2,
  );
}

/** Eight codes of 4 bits a word: the first four in the low halves of its bytes, the others in the high ones. */
function pack(b: Builder, codes: Value): Value {
  const [tokens, heads, dim] = asTensor(codes.type).shape as readonly [Dim, number, number];
  const groups = b.reshape(codes, [tokens, heads, dim / 8, 2, 4]);
  const half = (i: number) => b.reshape(b.slice(groups, 3, i, i + 1), [tokens, heads, dim / 2]);
  return b.or(half(0), b.binary('shift_left', half(1), b.full('ui8', [tokens, heads, dim / 2], 4)));
}

/** Coded heads: ui8 [n, heads, D], and of each the step and the minimum, f32 [n, heads]. */
export interface KvCodes {
  readonly codes: Value;
  readonly step: Value;
  readonly minimum: Value;
}

/** Rows [n, heads, length] of a pool as f32 [n, heads, D]: `decodeKv` where they are coded. */
export function fromKvRows(b: Builder, rows: Value, format: CodedKv | undefined): Value {
  if (format === undefined) return b.convert(rows, 'f32');
  const { codes, step, minimum } = kvCodes(b, rows, format);
  const wide = (x: Value) => b.broadcast(x, asTensor(codes.type).shape, [0, 1]);
  return b.add(b.multiply(b.convert(codes, 'f32'), wide(step)), wide(minimum));
}

/** Rows [n, heads, length] of a pool taken apart. */
export function kvCodes(b: Builder, rows: Value, format: CodedKv): KvCodes {
  const [count, heads, length] = asTensor(rows.type).shape as readonly [Dim, number, number];
  const end = length - kvHeaderBytes;
  const header = b.bitcastConvert(b.slice(rows, 2, end, length), tensor('ui32', [count, heads]));
  const bytes = b.slice(rows, 2, 0, end);
  const float = (word: Value) => b.bitcastConvert(word, tensor('f32', [count, heads]));
  return {
    codes: format === 'int8' ? bytes : unpack(b, bytes),
    step: float(b.and(header, b.full('ui32', [count, heads], 0xffff0000))),
    minimum: float(b.binary('shift_left', header, b.full('ui32', [count, heads], 16))),
  };
}

function unpack(b: Builder, bytes: Value): Value {
  const [count, heads, length] = asTensor(bytes.type).shape as readonly [Dim, number, number];
  const { shape } = asTensor(bytes.type);
  const group = (x: Value) => b.reshape(x, [count, heads, length / 4, 1, 4]);
  const low = b.and(bytes, b.full('ui8', shape, 15));
  const high = b.binary('shift_right_logical', bytes, b.full('ui8', shape, 4));
  return b.reshape(b.concatenate([group(low), group(high)], 3), [count, heads, 2 * length]);
}
