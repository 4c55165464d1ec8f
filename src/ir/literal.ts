/** Constant data of a program: making it from values and reading it back. */
import { IngotError } from '../base/errors.ts';
import { elementBytes } from '../numerics/element-types.ts';
import {
  decodeElements,
  encodeElements,
  type HostArray,
  hostArray,
  numbersPerElement,
} from '../numerics/host-array.ts';
import type { Literal } from './program.ts';
import { isStatic, maxElements, type TensorType } from './types.ts';

/** Numbers are rounded to the element type; complex elements are (real, imaginary) pairs. */
export function literal(type: TensorType, values: ArrayLike<number | bigint | boolean>): Literal {
  const width = numbersPerElement(type.element);
  const array = hostArray(type.element, values.length / width);
  if (array instanceof BigInt64Array || array instanceof BigUint64Array) {
    for (let i = 0; i < array.length; i++) array[i] = BigInt(values[i]);
  } else {
    for (let i = 0; i < array.length; i++) array[i] = Number(values[i]);
  }
  const splat = values.length === width && !(isStatic(type) && maxElements(type) === 1);
  return { type, data: encodeElements(type.element, array), splat };
}

/** The elements, a splat spread out to `count` of them. @throws IngotError 'InvalidArgument' if the data is elsewhere. */
export function literalArray(value: Literal, count: number): HostArray {
  const { data, type, splat } = value;
  if (!(data instanceof Uint8Array)) {
    throw new IngotError('InvalidArgument', `constant data of ${data.name} has not been read`);
  }
  if (!splat) return decodeElements(type.element, data);
  const bytes = new Uint8Array(count * elementBytes(type.element));
  for (let at = 0; at < bytes.length; at += data.length) bytes.set(data, at);
  return decodeElements(type.element, bytes);
}
