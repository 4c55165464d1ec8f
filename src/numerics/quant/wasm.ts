/**
 * Just enough of an assembler for WebAssembly (core specification, with its 128-bit vectors) to write small functions over
 * four lanes of f32. Code is a list of bytes that leaves its value, if it has one, on the stack; addresses and counts are
 * i32, everything else is a vector.
 */
export type Code = readonly number[];

const unsigned = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)]);
const signed = (value: number): number[] =>
  value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)];
const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];

const vector = (opcode: number, ...operands: readonly Code[]): Code => [...operands.flat(), 0xfd, ...unsigned(opcode)];
const unary = (opcode: number) => (a: Code) => vector(opcode, a);
const binary = (opcode: number) => (a: Code, b: Code) => vector(opcode, a, b);

export const add = binary(0xe4);
export const sub = binary(0xe5);
export const mul = binary(0xe6);
export const div = binary(0xe7);
export const abs = unary(0xe0);
export const negate = unary(0xe1);
export const sqrt = unary(0xe3);
/** `b < a ? b : a`, and `a < b ? b : a`. */
export const lesser = binary(0xea);
export const greater = binary(0xeb);
/** Masks of all ones where it is true. */
export const equal = binary(0x41);
export const less = binary(0x43);
export const more = binary(0x44);
export const atMost = binary(0x45);
export const both = binary(0x4e);
/** `a` where the mask `b` is zero. */
export const unless = binary(0x4f);
/** `a` where the mask is ones, `b` where it is zero. */
export const choose = (mask: Code, a: Code, b: Code): Code => vector(0x52, a, b, mask);
/** An i32: whether any bit is set. */
export const any = unary(0x53);

/** The same number in all lanes. */
export function splat(value: number): Code {
  return [0x43, ...new Uint8Array(Float32Array.of(value).buffer), 0xfd, 0x13];
}
const splatInteger = (value: number): Code => [0x41, ...signed(value), 0xfd, 0x11];

/** The nearest integers as f32, within limits: `nearestLevel` of `nearest-level.ts`, bit by bit. */
export function nearestLevels(value: Code, low: number, high: number): Code {
  const bits = vector(0x4e, add(value, splat(12582912)), splatInteger(0x7fffff));
  const integer = vector(0xb1, bits, splatInteger(0x400000));
  const limited = vector(0xb8, vector(0xb6, integer, splatInteger(high)), splatInteger(low));
  return vector(0xfa, limited);
}

/** A function of one i32, which is local 0. */
export class WasmFunction {
  readonly #types: number[] = [];

  #local(type: number): { readonly get: Code; set(value: Code): Code } {
    this.#types.push(type);
    const index = unsigned(this.#types.length);
    return { get: [0x20, ...index], set: (value) => [...value, 0x21, ...index] };
  }
  vector(): Local {
    return this.#local(0x7b);
  }
  integer(): Local {
    return this.#local(0x7f);
  }

  code(...body: readonly Code[]): Code {
    const locals = this.#types.map((type) => [1, type]);
    return sized([...unsigned(locals.length), ...locals.flat(), ...body.flat(), 0x0b]);
  }
}

/** A module of functions by name, with one page of memory. */
export function wasmModule(functions: Readonly<Record<string, Code>>): Uint8Array {
  const name = (text: string) => sized([...new TextEncoder().encode(text)]);
  const names = Object.keys(functions);
  const exported = names.flatMap((text, index) => [...name(text), 0, index]);
  return Uint8Array.of(
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, ...sized([1, 0x60, 1, 0x7f, 0])],
    ...[3, ...sized([names.length, ...names.map(() => 0)])],
    ...[5, ...sized([1, 0, 1])],
    ...[7, ...sized([names.length + 1, ...exported, ...name('memory'), 2, 0])],
    ...[10, ...sized([names.length, ...Object.values(functions).flat()])],
  );
}

/** A variable: vectors and addresses. */
export interface Local {
  readonly get: Code;
  set(value: Code): Code;
}

export const parameter: Code = [0x20, 0];
export const integer = (value: number): Code => [0x41, ...signed(value)];
export const shiftLeft = (a: Code, bits: number): Code => [...a, ...integer(bits), 0x74];

/** The vector at `base` plus the address. */
export const load = (address: Code, base: number): Code => [...address, 0xfd, 0, 4, ...unsigned(base)];
export const store = (address: Code, base: number, value: Code): Code => [
  ...address,
  ...value,
  ...[0xfd, 0x0b, 4],
  ...unsigned(base),
];

/** The body with `at` going up from 0 to below `end` in steps of a vector; once at least. */
export function loop(at: Local, end: Code, ...body: readonly Code[]): Code {
  const next: Code = [...at.get, ...integer(16), 0x6a];
  return [
    ...at.set(integer(0)),
    ...[0x03, 0x40],
    ...body.flat(),
    ...at.set(next),
    ...at.get,
    ...end,
    ...[0x49, 0x0d, 0, 0x0b],
  ];
}

export function when(condition: Code, ...body: readonly Code[]): Code {
  return [...condition, 0x04, 0x40, ...body.flat(), 0x0b];
}
