/**
 * Element types, named as StableHLO names them, and what there is to know of each: width and class. Rounding lives in
 * `rounding.ts`, how a host array holds decoded elements in `host-array.ts`.
 */

/** One row a type. Integers of 4 bits lie in the lower half of a byte, whose upper half says nothing. */
export const elementTypes = {
  f64: { class: 'float', bits: 64 },
  f32: { class: 'float', bits: 32 },
  f16: { class: 'float', bits: 16 },
  bf16: { class: 'float', bits: 16 },
  f8E4M3FN: { class: 'float', bits: 8 },
  f8E5M2: { class: 'float', bits: 8 },
  i1: { class: 'boolean', bits: 1 },
  i4: { class: 'signed', bits: 4 },
  i8: { class: 'signed', bits: 8 },
  i16: { class: 'signed', bits: 16 },
  i32: { class: 'signed', bits: 32 },
  i64: { class: 'signed', bits: 64 },
  ui4: { class: 'unsigned', bits: 4 },
  ui8: { class: 'unsigned', bits: 8 },
  ui16: { class: 'unsigned', bits: 16 },
  ui32: { class: 'unsigned', bits: 32 },
  ui64: { class: 'unsigned', bits: 64 },
  'complex<f32>': { class: 'complex', bits: 64 },
  'complex<f64>': { class: 'complex', bits: 128 },
} as const satisfies Record<string, { class: ElementClass; bits: number }>;

export type ElementClass = 'float' | 'boolean' | 'signed' | 'unsigned' | 'complex';
export type ElementType = keyof typeof elementTypes;

export function isElementType(text: string): text is ElementType {
  return Object.hasOwn(elementTypes, text);
}

export function elementClass(type: ElementType): ElementClass {
  return elementTypes[type].class;
}

/** Bytes of one element in memory: sub-byte types and i1 take a whole byte each outside packed block formats. */
export function elementBytes(type: ElementType): number {
  return Math.max(1, elementTypes[type].bits >> 3);
}
