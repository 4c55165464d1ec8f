/**
 * ggml's IQ4_NL and IQ4_XS: indices of 4 bits into 16 integers that lie as the weights of models do, denser around zero.
 *
 * IQ4_NL: 32 values, `d * codebook[q]`. Layout: f16 d, 16 bytes: value k in the low nibble of byte k, k + 16 in the high.
 * IQ4_XS: 256 values in 8 sub-blocks of 32, `d * (sc - 32) * codebook[q]` with a 6-bit sc for each. Layout: f16 d, u16 with
 * the high 2 bits of sc s at 2s, 4 bytes with the low 4 bits of two sc each, 8 times 16 bytes of nibbles as above.
 */
import { decodeProducts, type EncodableFormat, type IntegerBlock, readF16, writeF16 } from './format.ts';
import { sumOfSquares, weigh } from './importance.ts';
import { nearestLevel } from './nearest-level.ts';
import { emptyGroup } from './search-scale.ts';

const codebook = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
const subSize = 32;
const half = 16;
const f = Math.fround;

const nlShape = { blockSize: subSize, blockBytes: 18 };

function nlIntegers(bytes: Uint8Array, offset: number, block: IntegerBlock): void {
  block.scale = readF16(bytes, offset);
  for (let k = 0; k < half; k++) {
    const pair = bytes[offset + 2 + k] as number;
    block.weights[k] = codebook[pair & 15] as number;
    block.weights[k + half] = codebook[pair >> 4] as number;
  }
}

export const iq4_nl: EncodableFormat = {
  name: 'iq4_nl',
  ggmlType: 20,
  ...nlShape,
  decode: decodeProducts(nlShape, nlIntegers),
  integers: nlIntegers,

  encode(values, bytes, importance) {
    for (let start = 0, offset = 0; start < values.length; start += subSize, offset += nlShape.blockBytes) {
      const variance = f(sumOfSquares(values, start, subSize) * (2 / subSize));
      const scale = searchCodebook(values, start, variance, importance);
      writeF16(bytes, offset, scale);
      writeNibbles(values, start, scale === 0 ? 0 : f(1 / scale), bytes, offset + 2);
    }
  },
};

const xsSize = 256;
const xsBytes = 136;
const subBlocks = 8;
const highAt = 2;
const lowAt = 4;
const nibblesAt = 8;

export const iq4_xs: EncodableFormat = {
  name: 'iq4_xs',
  ggmlType: 23,
  blockSize: xsSize,
  blockBytes: xsBytes,

  decode(bytes, values) {
    for (let start = 0, offset = 0; start < values.length; start += xsSize, offset += xsBytes) {
      const d = readF16(bytes, offset);
      for (let sub = 0; sub < subBlocks; sub++) {
        const scale = f(d * scaleOf(bytes, offset, sub));
        const from = offset + nibblesAt + half * sub;
        const to = start + subSize * sub;
        for (let k = 0; k < half; k++) {
          const pair = bytes[from + k] as number;
          values[to + k] = scale * (codebook[pair & 15] as number);
          values[to + k + half] = scale * (codebook[pair >> 4] as number);
        }
      }
    }
  },

  encode(values, bytes, importance) {
    for (let start = 0, offset = 0; start < values.length; start += xsSize, offset += xsBytes) {
      const variance = f(sumOfSquares(values, start, xsSize) * (2 / xsSize));
      let extreme = 0;
      for (let sub = 0; sub < subBlocks; sub++) {
        const scale = searchCodebook(values, start + subSize * sub, variance, importance);
        scales[sub] = scale;
        if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
      }
      const d = f(-extreme / 32);
      writeF16(bytes, offset, d);
      const inverse = d === 0 ? 0 : f(1 / d);
      bytes.fill(0, offset + highAt, offset + nibblesAt);
      for (let sub = 0; sub < subBlocks; sub++) {
        const level = nearestLevel(f(inverse * (scales[sub] as number)), -32, 31);
        const low = offset + lowAt + (sub >> 1);
        const high = offset + highAt + (sub >> 2);
        bytes[low] = (bytes[low] as number) | (((level + 32) & 15) << (4 * (sub & 1)));
        bytes[high] = (bytes[high] as number) | (((level + 32) >> 4) << (2 * (sub & 3)));
        // Against d before it was rounded.
        const scale = f(d * level);
        const at = offset + nibblesAt + half * sub;
        writeNibbles(values, start + subSize * sub, scale === 0 ? 0 : f(1 / scale), bytes, at);
      }
    }
  },

  integers(bytes, offset, block) {
    block.scale = readF16(bytes, offset);
    for (let sub = 0; sub < subBlocks; sub++) {
      const scale = scaleOf(bytes, offset, sub);
      const from = offset + nibblesAt + half * sub;
      for (let k = 0; k < half; k++) {
        const pair = bytes[from + k] as number;
        block.weights[subSize * sub + k] = scale * (codebook[pair & 15] as number);
        block.weights[subSize * sub + k + half] = scale * (codebook[pair >> 4] as number);
      }
    }
  },
};

function scaleOf(bytes: Uint8Array, offset: number, sub: number): number {
  const low = ((bytes[offset + lowAt + (sub >> 1)] as number) >> (4 * (sub & 1))) & 15;
  const high = ((bytes[offset + highAt + (sub >> 2)] as number) >> (2 * (sub & 3))) & 3;
  return (low | (high << 4)) - 32;
}

const scales = new Float32Array(subBlocks);
const weights = new Float32Array(subSize);
const trials = 7;

/**
 * Nearest entries of the codebook by twice the value, rounded down: the middles between entries are halves. A middle goes
 * to the upper one.
 */
const nearestEntries = Uint8Array.from({ length: 512 }, (_, i) => {
  const value = (i - 256) / 2;
  let entry = 0;
  while (entry < 15 && value >= ((codebook[entry] as number) + (codebook[entry + 1] as number)) / 2) entry++;
  return entry;
});

function nearestEntry(value: number): number {
  // What is no number becomes the last.
  if (!(value < 113)) return 15;
  return value > -127 ? (nearestEntries[(2 * value + 256) | 0] as number) : 0;
}

function writeNibbles(values: Float32Array, start: number, inverse: number, bytes: Uint8Array, at: number): void {
  for (let k = 0; k < half; k++) {
    const low = nearestEntry(f(inverse * (values[start + k] as number)));
    const high = nearestEntry(f(inverse * (values[start + k + half] as number)));
    bytes[at + k] = low | (high << 4);
  }
}

/**
 * ggml's search (quantize_row_iq4_nl_impl): 16 trial scales, each with the best scale for its entries by weighted least
 * squares, and the largest explained part wins.
 */
function searchCodebook(x: Float32Array, at: number, variance: number, importance: Float32Array | undefined): number {
  if (importance === undefined) {
    for (let k = 0; k < subSize; k++) weights[k] = (x[at + k] as number) * (x[at + k] as number);
  } else {
    weigh(x, at, importance, at % importance.length, variance, weights);
  }
  let extreme = 0;
  for (let k = at; k < at + subSize; k++) {
    if (Math.abs(x[k] as number) > Math.abs(extreme)) extreme = x[k] as number;
  }
  if (Math.abs(extreme) < emptyGroup) return 0;
  let scale = 0;
  let best = 0;
  for (let t = -trials - 1; t <= trials; t++) {
    const isFirst = t < -trials;
    const inverse = isFirst ? f(1 / f(-extreme / -127)) : f((t - 127) / extreme);
    let sumQX = 0;
    let sumQ2 = 0;
    for (let k = 0; k < subSize; k++) {
      const value = x[at + k] as number;
      const entry = codebook[nearestEntry(f(inverse * value))] as number;
      const wq = f((weights[k] as number) * entry);
      sumQX = f(sumQX + f(wq * value));
      sumQ2 = f(sumQ2 + f(wq * entry));
    }
    if (isFirst) scale = sumQ2 > 0 ? f(sumQX / sumQ2) : 0;
    else if (sumQ2 > 0 && f(sumQX * sumQX) > f(best * sumQ2)) scale = f(sumQX / sumQ2);
    else continue;
    best = f(scale * sumQX);
  }
  return scale;
}
