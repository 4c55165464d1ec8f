/**
 * Tensors of experts [E, ...] as Hugging Face's gpt-oss folders have them, seen as GGUF files have them. Of those whose rows take
 * turns a view is one: of `turns` the one at `turn`. An expert at a time is in memory.
 */
import { IngotError } from '../base/errors.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import { inUnits } from './tensor-views.ts';

/** Vectors [E, N * turns]. */
export function everyOther(stored: StoredTensor, turns: number, turn: number): StoredTensor {
  const [experts = 0, all = 0] = stored.shape;
  return expertByExpert(stored, [experts, all / turns], plainBytes(stored), (bytes, out, size) => {
    for (let n = 0; n < all / turns; n++) copyItem(bytes, n * turns + turn, out, n, size);
  });
}

/** Matrices [E, K, N * turns] as [E, N, K]. */
export function transposedExperts(stored: StoredTensor, turns: number, turn: number): StoredTensor {
  const [experts = 0, K = 0, all = 0] = stored.shape;
  const N = all / turns;
  return expertByExpert(stored, [experts, N, K], plainBytes(stored), (bytes, out, size) => {
    for (let k = 0; k < K; k++) {
      for (let n = 0; n < N; n++) copyItem(bytes, k * all + n * turns + turn, out, n * K + k, size);
    }
  });
}

/** Of values that each have bytes of their own. @throws IngotError 'UnsupportedFile' for blocks. */
function plainBytes({ format, name }: StoredTensor): number {
  const { blockSize, blockBytes } = blockFormat(format);
  if (blockSize === 1) return blockBytes;
  throw new IngotError('UnsupportedFile', `weights of format ${format} cannot be put in another order`, {
    tensor: name,
  });
}

function expertByExpert(
  stored: StoredTensor,
  shape: readonly number[],
  itemBytes: number,
  fill: (bytes: Uint8Array, out: Uint8Array, itemBytes: number) => void,
): StoredTensor {
  const { bytes: source } = stored;
  const length = shape.reduce((product, size) => product * size, itemBytes);
  const [experts = 1] = shape;
  const [from, to] = [source.length / experts, length / experts];
  const bytes = inUnits(source.name, length, to, async (start) => {
    const out = new Uint8Array(to);
    fill(await source.read((start / to) * from, from), out, itemBytes);
    return out;
  });
  return { ...stored, shape, bytes };
}

function copyItem(from: Uint8Array, source: number, to: Uint8Array, target: number, size: number): void {
  for (let i = 0; i < size; i++) to[target * size + i] = from[source * size + i] as number;
}

/** Of a block of 32 values: f4 pairs (k, k + 1) in folders, (k, k + 16) in GGUF files, behind the scale there. */
const [pairBytes, blockBytes] = [16, 17];

/** `blocks` u8 [E, N * turns, K / 32, 16] and `scales` u8 [E, N * turns, K / 32] as ggml's MXFP4 [E, N, K]. */
export function mxfp4Experts(blocks: StoredTensor, scales: StoredTensor, turns: number, turn: number): StoredTensor {
  const [experts = 0, all = 0, perRow = 0, pair] = blocks.shape;
  if (pair !== pairBytes || scales.shape.join() !== [experts, all, perRow].join() || all % turns !== 0) {
    const message = `MXFP4 blocks [${blocks.shape}] and scales [${scales.shape}] do not fit`;
    throw new IngotError('InvalidFile', message, { path: blocks.bytes.name, tensor: blocks.name });
  }
  const N = all / turns;
  const unit = N * perRow * blockBytes;
  const expertScales = all * perRow;
  const bytes = inUnits(blocks.bytes.name, experts * unit, unit, async (start) => {
    const expert = start / unit;
    const levels = await blocks.bytes.read(expert * expertScales * pairBytes, expertScales * pairBytes);
    const exponents = await scales.bytes.read(expert * expertScales, expertScales);
    const out = new Uint8Array(unit);
    for (let block = 0; block < N * perRow; block++) {
      const source = (Math.floor(block / perRow) * turns + turn) * perRow + (block % perRow);
      out[block * blockBytes] = exponents[source] as number;
      const value = (k: number) => ((levels[source * pairBytes + (k >> 1)] as number) >> (4 * (k & 1))) & 15;
      for (let k = 0; k < 16; k++) out[block * blockBytes + 1 + k] = value(k) | (value(k + 16) << 4);
    }
    return out;
  });
  return { name: blocks.name, format: 'mxfp4', shape: [experts, N, 32 * perRow], bytes };
}
