/** f32, f16 and bf16 as weight formats: blocks of one value. */
import { decodeSmallFloats, encodeSmallFloats } from '../host-array.ts';
import type { EncodableFormat } from './format.ts';

export const f32: EncodableFormat = {
  name: 'f32',
  ggmlType: 0,
  blockSize: 1,
  blockBytes: 4,
  decode: (bytes, values) => byteView(values).set(bytes),
  encode: (values, bytes) => bytes.set(byteView(values)),
};

export const f16 = smallFloat('f16', 1);
export const bf16 = smallFloat('bf16', 30);

function smallFloat(type: 'f16' | 'bf16', ggmlType: number): EncodableFormat {
  return {
    name: type,
    ggmlType,
    blockSize: 1,
    blockBytes: 2,
    decode: (bytes, values) => decodeSmallFloats(type, bytes, values),
    encode: (values, bytes) => encodeSmallFloats(type, values, bytes),
  };
}

function byteView(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
