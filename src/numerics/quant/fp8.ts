/**
 * Eight-bit floats with a scale, as Hugging Face models store them (FP8 of NVIDIA, Arm and Intel, "FP8 Formats for Deep Learning",
 * 2022): a scale for a tensor, a row or a tile of it. Here 32 values have one: `value * scale`, rounded to f32. Layout: f32 scale,
 * 32 bytes. No format of ggml.
 */
import { fromBits, type SmallFloatType } from '../rounding.ts';
import type { BlockFormat } from './format.ts';

export const e4m3 = makeFormat('e4m3_32', 'f8E4M3FN');
export const e5m2 = makeFormat('e5m2_32', 'f8E5M2');

function makeFormat(name: string, type: SmallFloatType): BlockFormat {
  const blockSize = 32;
  const blockBytes = 36;
  const meaning = Float32Array.from({ length: 256 }, (_, bits) => fromBits(type, bits));
  return {
    name,
    blockSize,
    blockBytes,
    decode(bytes, values) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let start = 0, offset = 0; start < values.length; start += blockSize, offset += blockBytes) {
        const scale = view.getFloat32(offset, true);
        for (let k = 0; k < blockSize; k++)
          values[start + k] = (meaning[bytes[offset + 4 + k] as number] as number) * scale;
      }
    },
  };
}
