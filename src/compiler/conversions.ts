/** Which conversions between element types keep every value. */
import { type ElementType, elementClass, elementTypes } from '../numerics/element-types.ts';

export function isInteger(element: ElementType): boolean {
  const kind = elementClass(element);
  return kind !== 'float' && kind !== 'complex';
}

/** Every value of the first type is a value of the second. */
export function isLossless(from: ElementType, to: ElementType): boolean {
  if (from === to) return true;
  const [a, b] = [elementTypes[from], elementTypes[to]];
  if (a.class === 'complex' || b.class === 'complex' || b.class === 'boolean') return false;
  if (a.class === 'boolean') return true;
  // Wider floats have both more mantissa and at least as much exponent.
  if (a.class === 'float') return b.class === 'float' && a.bits < b.bits;
  if (b.class === 'float') return a.bits <= (mantissa[to] ?? 0);
  return a.bits < b.bits && (a.class === b.class || a.class === 'unsigned');
}

/** Whether converting by way of the second type gives what converting at once does. */
export function isDetour(from: ElementType, by: ElementType, to: ElementType): boolean {
  if (!isLossless(from, by)) return false;
  // Integers wrap on their way to narrower ones, floats do not.
  return !isInteger(from) || isInteger(by) || !isInteger(to) || isLossless(from, to);
}

/** Bits of an integer that a float type holds exactly. */
const mantissa: Readonly<Partial<Record<ElementType, number>>> = {
  f64: 53,
  f32: 24,
  f16: 11,
  bf16: 8,
  f8E4M3FN: 4,
  f8E5M2: 3,
};
