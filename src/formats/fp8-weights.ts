/**
 * Weights in FP8 as Hugging Face models have them, joined with their scales into blocks (numerics/quant/fp8.ts). Beside X.weight
 * [N, K] there is X.weight_scale or X.weight_scale_inv, both of which are multiplied with: one number (AutoFP8), one for each row
 * (FBGEMM, compressed-tensors "channel"), or one for each tile (DeepSeek and Qwen, tiles of `weight_block_size`).
 */
import { IngotError } from '../base/errors.ts';
import { decodeElements } from '../numerics/host-array.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import type { StoredTensor } from './checkpoint.ts';
import { rowSource } from './row-source.ts';

const formats: ReadonlyMap<string, string> = new Map([
  ['f8_e4m3', 'e4m3_32'],
  ['f8_e5m2', 'e5m2_32'],
]);
/** Of activations and caches, which are not rounded here. */
const unused = /\.(input_scale|input_scale_ub|activation_scale|output_scale|k_scale|v_scale|q_scale)$/;

/** `tile`: rows and columns that share a scale, where a model has tiles. @throws IngotError 'UnsupportedFile', 'InvalidFile'. */
export function joinFp8(
  tensors: ReadonlyMap<string, StoredTensor>,
  tile: readonly [number, number],
): ReadonlyMap<string, StoredTensor> {
  const joined = new Map([...tensors].filter(([name]) => !unused.test(name)));
  for (const [name, weight] of tensors) {
    const format = formats.get(weight.format);
    if (format === undefined) continue;
    const scaleName = [`${name}_scale_inv`, `${name}_scale`].find((candidate) => tensors.has(candidate));
    const scale = scaleName === undefined ? undefined : tensors.get(scaleName);
    joined.set(name, joinOne(weight, scale, format, tile));
    if (scaleName !== undefined) joined.delete(scaleName);
  }
  return joined;
}

function joinOne(
  weight: StoredTensor,
  scale: StoredTensor | undefined,
  format: string,
  tile: readonly [number, number],
): StoredTensor {
  const { name, shape, bytes } = weight;
  const { blockSize, blockBytes } = blockFormat(format);
  const refuse = (message: string): never => {
    throw new IngotError('UnsupportedFile', message, { path: bytes.name, tensor: name });
  };
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || shape.length !== 2)
    return refuse(`it is [${shape}] in FP8, no matrix`);
  if (columns % blockSize !== 0) return refuse(`rows of ${columns} values in FP8 are no multiple of ${blockSize}`);
  const [tileRows, tileColumns] =
    tileOf(shape, scale, tile) ?? refuse(`its scales are [${scale?.shape}], its shape [${shape}]`);
  if (tileColumns % blockSize !== 0) return refuse(`tiles of ${tileColumns} columns are no multiple of ${blockSize}`);
  const across = Math.ceil(columns / tileColumns);
  let scales: Promise<Float32Array> | undefined;
  const rowBytes = (columns / blockSize) * blockBytes;
  const source = rowSource(bytes.name, rows, rowBytes, async (target, first, count) => {
    scales ??= readScales(scale);
    const [all, from] = await Promise.all([scales, bytes.read(first * columns, count * columns)]);
    const view = new DataView(target.buffer, target.byteOffset, target.length);
    let at = 0;
    for (let row = 0; row < count; row++) {
      const scalesOfRow = Math.floor((first + row) / tileRows) * across;
      for (let k = 0; k < columns; k += blockSize, at += blockBytes) {
        view.setFloat32(at, all[scalesOfRow + Math.floor(k / tileColumns)] as number, true);
        target.set(from.subarray(row * columns + k, row * columns + k + blockSize), at + 4);
      }
    }
  });
  return { name, format, shape, bytes: source };
}

/** Rows and columns that share a scale; undefined where the scales do not fit. */
function tileOf(
  [rows, columns]: readonly number[],
  scale: StoredTensor | undefined,
  [tileRows, tileColumns]: readonly [number, number],
): readonly [number, number] | undefined {
  const count = scale?.shape.reduce((product, size) => product * size, 1) ?? 1;
  if (count === 1) return [rows, columns];
  const [down, across] = scale?.shape ?? [];
  if (count === rows && down === rows) return [1, columns];
  return down === Math.ceil(rows / tileRows) && across === Math.ceil(columns / tileColumns)
    ? [tileRows, tileColumns]
    : undefined;
}

async function readScales(scale: StoredTensor | undefined): Promise<Float32Array> {
  if (scale === undefined) return Float32Array.of(1);
  const { name, format, bytes } = scale;
  if (format !== 'f32' && format !== 'bf16' && format !== 'f16') {
    throw new IngotError('UnsupportedFile', `scales in ${format}`, { path: bytes.name, tensor: name });
  }
  return Float32Array.from(decodeElements(format, await bytes.read(0, bytes.length)) as Float32Array);
}
