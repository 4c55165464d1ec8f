/**
 * ggml's Q4_0, Q4_1, Q5_0 and Q5_1: 32 values, `d * (q - zero)` around zero, or `d * q + m` from a minimum m.
 * Layout: f16 d, [f16 m], [u32 of the fifth bits: bit k belongs to value k], 16 bytes: the low four bits of value k in the
 * low nibble of byte k, of value k + 16 in the high.
 */
import { type EncodableFormat, readF16, readU32, writeF16, writeU32 } from './format.ts';
import { sumOfSquares, weigh } from './importance.ts';
import { type MinimumFit, searchMinimum, weightedSearch } from './search-minimum.ts';
import { searchScale } from './search-scale.ts';

const size = 32;
const half = 16;
const f = Math.fround;
const largestF32 = (2 - 2 ** -23) * 2 ** 127;

export const q4_0 = makeFormat('q4_0', 2, 4, false);
export const q4_1 = makeFormat('q4_1', 3, 4, true);
export const q5_0 = makeFormat('q5_0', 6, 5, false);
export const q5_1 = makeFormat('q5_1', 7, 5, true);

function makeFormat(name: string, ggmlType: number, bits: 4 | 5, hasMinimum: boolean): EncodableFormat {
  const highAt = hasMinimum ? 4 : 2;
  const nibblesAt = bits === 5 ? highAt + 4 : highAt;
  const blockBytes = nibblesAt + half;
  const top = 2 ** bits - 1;
  const zero = hasMinimum ? 0 : 2 ** (bits - 1);

  return {
    name,
    ggmlType,
    blockSize: size,
    blockBytes,

    decode(bytes, values) {
      for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
        const d = readF16(bytes, offset);
        const m = hasMinimum ? readF16(bytes, offset + 2) : 0;
        const high = bits === 5 ? readU32(bytes, offset + highAt) : 0;
        for (let k = 0; k < half; k++) {
          const pair = bytes[offset + nibblesAt + k] as number;
          const one = d * ((pair & 15) + (((high >>> k) & 1) << 4) - zero);
          const two = d * ((pair >> 4) + (((high >>> (k + half)) & 1) << 4) - zero);
          // No sum where there is no minimum: it would lose the sign of -0.
          values[start + k] = hasMinimum ? f(one) + m : one;
          values[start + k + half] = hasMinimum ? f(two) + m : two;
        }
      }
    },

    encode(values, bytes, importance) {
      for (let start = 0, offset = 0; start < values.length; start += size, offset += blockBytes) {
        if (importance !== undefined) fitWeighted(values, start, importance, bits, hasMinimum);
        else if (hasMinimum) fitRange(values, start, top);
        else fitExtreme(values, start, zero, top);
        writeF16(bytes, offset, found.scale);
        if (hasMinimum) writeF16(bytes, offset + 2, -found.minimum);
        let high = 0;
        for (let k = 0; k < half; k++) {
          const one = levels[k] as number;
          const two = levels[k + half] as number;
          bytes[offset + nibblesAt + k] = (one & 15) | ((two & 15) << 4);
          high |= ((one >> 4) << k) | ((two >> 4) << (k + half));
        }
        if (bits === 5) writeU32(bytes, offset + highAt, high);
      }
    },

    integers(bytes, offset, block) {
      block.scale = readF16(bytes, offset);
      if (hasMinimum) {
        block.minScale = -readF16(bytes, offset + 2);
        block.minima.fill(1);
      }
      const high = bits === 5 ? readU32(bytes, offset + highAt) : 0;
      for (let k = 0; k < half; k++) {
        const pair = bytes[offset + nibblesAt + k] as number;
        block.weights[k] = (pair & 15) + (((high >>> k) & 1) << 4) - zero;
        block.weights[k + half] = (pair >> 4) + (((high >>> (k + half)) & 1) << 4) - zero;
      }
    },
  };
}

const levels = new Uint8Array(size);
const weights = new Float32Array(size);
const found: MinimumFit = { scale: 0, minimum: 0 };

function fitRange(values: Float32Array, start: number, top: number): void {
  let lowest = largestF32;
  let highest = -largestF32;
  for (let k = start; k < start + size; k++) {
    const value = values[k] as number;
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  found.scale = f(f(highest - lowest) / top);
  found.minimum = -lowest;
  const inverse = found.scale === 0 ? 0 : f(1 / found.scale);
  for (let k = 0; k < size; k++) {
    levels[k] = Math.min(top, f(f(f((values[start + k] as number) - lowest) * inverse) + 0.5) | 0);
  }
}

/** The value of largest magnitude, with its sign, becomes exactly -zero * d: the extra level on its side is used. */
function fitExtreme(values: Float32Array, start: number, zero: number, top: number): void {
  let extreme = 0;
  for (let k = start; k < start + size; k++) {
    const value = values[k] as number;
    if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  }
  found.scale = f(extreme / -zero);
  const inverse = found.scale === 0 ? 0 : f(1 / found.scale);
  for (let k = 0; k < size; k++) {
    levels[k] = Math.min(top, f(f((values[start + k] as number) * inverse) + (zero + 0.5)) | 0);
  }
}

function fitWeighted(
  values: Float32Array,
  start: number,
  importance: Float32Array,
  bits: 4 | 5,
  hasMinimum: boolean,
): void {
  const columns = importance.length;
  const column = start % columns;
  if (column === 0) rowVariance = f(sumOfSquares(values, start, columns) / columns);
  weigh(values, start, importance, column, rowVariance, weights);
  if (hasMinimum) searchMinimum(values, start, weights, weightedSearches[bits], levels, 0, found);
  else found.scale = searchScale(values, start, weights, 2 ** (bits - 1), levels, 0);
}

const weightedSearches = { 4: weightedSearch(15), 5: weightedSearch(31) } as const;
/** Of the row whose blocks are being encoded. */
let rowVariance = 0;
