/** The matrices that most bytes of a model's weights lie in: what its kernels are tuned for. */
import { blockFormat } from '../../numerics/quant/formats.ts';
import type { WeightSource } from '../device.ts';
import { isIntegerFormat } from './kernels/levels.ts';
import { isPackedFormat } from './kernels/packing.ts';

/** A matrix [N, K] of a format. */
export interface MatrixShape {
  readonly format: string;
  readonly N: number;
  readonly K: number;
}

const most = 3;

/** Each once, those with most bytes first. */
export function matrixShapes(
  weights: Iterable<Pick<WeightSource, 'format' | 'shape' | 'bytes'>>,
): readonly MatrixShape[] {
  const found = new Map<string, { readonly shape: MatrixShape; bytes: number }>();
  for (const { format, shape, bytes } of weights) {
    const [N = 0, K = 0] = shape.slice(-2);
    if (shape.length < 2 || !isPackedFormat(format)) continue;
    if (!isIntegerFormat(format) && blockFormat(format).encode === undefined) continue;
    const key = `${format} ${N} ${K}`;
    const entry = found.get(key) ?? { shape: { format, N, K }, bytes: 0 };
    entry.bytes += bytes.length;
    found.set(key, entry);
  }
  const entries = [...found.values()].sort((a, b) => b.bytes - a.bytes);
  return entries.slice(0, most).map(({ shape }) => shape);
}

/** Models are of a class where the first of these have one format and one K. */
export function modelClass(shapes: readonly MatrixShape[]): string {
  const [first] = shapes;
  return first === undefined ? anyModel : `${first.format} ${first.K}`;
}

/** What is found without a model is for those of no other class. */
export const anyModel = 'any';
