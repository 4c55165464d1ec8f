/**
 * The dot numerics of `quantized_dot`, as the scalar references that every kernel matches bit for bit. One row a kind.
 * What they share: one f32 accumulator for an output, starting at +0, K ascending, every operation rounded to nearest
 * even (`Math.fround`), nothing contracted.
 */
import { IngotError } from '../base/errors.ts';
import { addFlushed, flushSubnormal, fusedMultiplyAdd } from './fma.ts';
import { type BlockFormat, makeIntegerBlock, nearestInteger } from './quant/format.ts';
import { roundTo } from './rounding.ts';

export type DotNumerics = 'i8' | 'bf16' | 'f32';

/**
 * Prepares the activations `x` [K] of one token for weights of `format`, then gives the dot product with a row [K] of
 * encoded weights. `i8` is defined for formats of integers, `bf16` and `f32` for all.
 * @throws IngotError 'UnsupportedOp' where a pair is not defined, 'InvalidArgument' for lengths that do not fit.
 */
export type DotReference = (x: Float32Array, format: BlockFormat) => (row: Uint8Array) => number;

export const dotNumerics: Readonly<Record<DotNumerics, DotReference>> = {
  /**
   * Integers exactly, one integer block of the format after another: with activations quantized over the same block,
   *   acc = acc + f32(sum of weights * x) * (scale * dx)
   *   acc = acc - f32(sum of minima * x) * (minScale * dx)
   * The second line changes no bit for formats without minima.
   */
  i8(x, format) {
    const { integers, blockSize, blockBytes, integerSize = blockSize } = format;
    if (integers === undefined) throw undefinedPair('i8', format);
    checkLength(x, format);
    const activations = quantizeActivations(x, integerSize);
    const parts = blockSize / integerSize;
    const block = makeIntegerBlock(integerSize);
    return (row) => {
      checkRow(row, x, format);
      let acc = 0;
      for (let b = 0; b < activations.scales.length; b++) {
        integers(row, Math.floor(b / parts) * blockBytes, block, b % parts);
        let sum = 0;
        let minSum = 0;
        for (let k = 0; k < integerSize; k++) {
          const q = activations.values[b * integerSize + k] as number;
          sum += (block.weights[k] as number) * q;
          minSum += (block.minima[k] as number) * q;
        }
        const dx = activations.scales[b] as number;
        acc = f(acc + f(f(sum) * f(block.scale * dx)));
        acc = f(acc - f(f(minSum) * f(block.minScale * dx)));
      }
      return acc;
    };
  },

  /**
   * The order of the tile instruction TDPBF16PS: for 32 k, one chain of fused multiply-adds over the even k and one over
   * the odd k, each from +0; acc = acc + (even + odd). Subnormals are zero everywhere. A last step is filled with zeros.
   */
  bf16(x, format) {
    checkLength(x, format);
    const steps = Math.ceil(x.length / 32);
    const activations = new Float32Array(32 * steps);
    for (let k = 0; k < x.length; k++) activations[k] = toTile(x[k] as number);
    const values = new Float32Array(x.length);
    const weights = new Float32Array(32 * steps);
    return (row) => {
      checkRow(row, x, format);
      format.decode(row, values);
      for (let k = 0; k < values.length; k++) weights[k] = toTile(values[k] as number);
      let acc = 0;
      for (let step = 0; step < steps; step++) {
        let even = 0;
        let odd = 0;
        for (let k = 32 * step; k < 32 * (step + 1); k += 2) {
          even = fusedMultiplyAdd(activations[k] as number, weights[k] as number, even);
          odd = fusedMultiplyAdd(activations[k + 1] as number, weights[k + 1] as number, odd);
        }
        acc = addFlushed(acc, addFlushed(even, odd));
      }
      return acc;
    };
  },

  /** acc = acc + x * w, product and sum rounded separately; subnormals are kept. */
  f32(x, format) {
    checkLength(x, format);
    const weights = new Float32Array(x.length);
    return (row) => {
      checkRow(row, x, format);
      format.decode(row, weights);
      let acc = 0;
      for (let k = 0; k < x.length; k++) acc = f(acc + f((x[k] as number) * (weights[k] as number)));
      return acc;
    };
  },
};

export interface QuantizedActivations {
  /** [K], -127 to 127. */
  readonly values: Int8Array;
  /** [K / size], f32. */
  readonly scales: Float32Array;
}

/**
 * Over each `size` activations: d = amax / 127, q = x * (1 / d) to nearest even, in f32. A block whose d is below the
 * normal numbers is all zero. A block that holds an infinity or a NaN has d NaN and q zero, so that its dot is NaN.
 */
export function quantizeActivations(x: Float32Array, size: number): QuantizedActivations {
  const values = new Int8Array(x.length);
  const scales = new Float32Array(x.length / size);
  for (let block = 0; block < scales.length; block++) {
    let largest = 0;
    for (let k = block * size; k < (block + 1) * size; k++) largest = Math.max(largest, Math.abs(x[k] as number));
    const d = f(largest / 127);
    if (d < 2 ** -126) continue;
    if (!Number.isFinite(d)) {
      scales[block] = NaN;
      continue;
    }
    scales[block] = d;
    const inverse = f(1 / d);
    for (let k = block * size; k < (block + 1) * size; k++) values[k] = nearestInteger(f((x[k] as number) * inverse));
  }
  return { values, scales };
}

const f = Math.fround;

/** What a tile holds: bf16, subnormals of f32 read as zero as VCVTNEPS2BF16 does. */
function toTile(value: number): number {
  return roundTo('bf16', flushSubnormal(value));
}

function undefinedPair(numerics: DotNumerics, format: BlockFormat): IngotError {
  return new IngotError('UnsupportedOp', `dot numerics ${numerics} are not defined for weights of ${format.name}`, {
    hint: 'choose bf16 or f32 numerics for weights that are not integers',
  });
}

function checkLength(x: Float32Array, format: BlockFormat): void {
  if (x.length % format.blockSize !== 0) {
    throw new IngotError('InvalidArgument', `${x.length} activations are not whole blocks of ${format.name}`);
  }
}

function checkRow(row: Uint8Array, x: Float32Array, format: BlockFormat): void {
  const expected = (x.length / format.blockSize) * format.blockBytes;
  if (row.length !== expected) {
    throw new IngotError(
      'InvalidArgument',
      `a row of ${row.length} bytes, not the ${expected} of ${x.length} ${format.name}`,
    );
  }
}
