/**
 * GGUF files of latent attention as llama.cpp's converter makes them since 2025 (`DeepseekV2Model` there): the matrix that makes
 * keys and values of the latent vector in two, [heads, kvRank, still] and [heads, valueDim, kvRank], and other keys.
 */
import { memoryBytes } from '../../src/base/bytes.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import type { Checkpoint } from '../../src/formats/checkpoint.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { type GgufContents, layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import type { TensorToWrite } from '../../src/formats/tensor-stream.ts';
import { openModel } from '../../src/models/architectures.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { bytesOf, concat } from '../unit/formats-support.ts';
import { anyVocabulary, modelFolder, modelNames } from './golden.ts';

export const absorbedNames = modelNames.filter((name) => name.startsWith('deepseek-v2'));

/** The file that `ingot convert` would make of a folder, as that converter makes it. */
export function absorbed({ metadata, types, tensors }: GgufContents): GgufContents {
  const size = (key: string): number => {
    const value = metadata.get(`deepseek2.${key}`);
    if (typeof value !== 'number') throw new Error(`the file has no number ${key}`);
    return value;
  };
  const [heads, kvRank, turning] = ['attention.head_count', 'attention.kv_lora_rank', 'rope.dimension_count'].map(size);
  const [keyDim, valueDim] = ['attention.key_length', 'attention.value_length'].map(size);
  const still = keyDim - turning;
  const rowOf = (head: number, i: number) => head * (still + valueDim) + i;
  const split = (whole: TensorToWrite): readonly TensorToWrite[] => {
    const name = (half: string) => whole.name.replace('attn_kv_b', half);
    const half = (shape: readonly number[], element: (head: number, i: number, j: number) => number) => {
      return { format: whole.format, shape, chunks: () => moved(whole, shape, element) };
    };
    return [
      { name: name('attn_k_b'), ...half([heads, kvRank, still], (h, i, j) => rowOf(h, j) * kvRank + i) },
      { name: name('attn_v_b'), ...half([heads, valueDim, kvRank], (h, i, j) => rowOf(h, still + i) * kvRank + j) },
    ];
  };
  const keys = {
    'attention.head_count_kv': 1,
    'attention.key_length': kvRank + turning,
    'attention.value_length': kvRank,
    'attention.key_length_mla': keyDim,
    'attention.value_length_mla': valueDim,
    expert_gating_func: 1,
  };
  return {
    metadata: new Map([
      ...metadata,
      ...Object.entries(keys).map(([key, value]): [string, number] => [`deepseek2.${key}`, value]),
    ]),
    ...(types !== undefined && { types }),
    tensors: tensors.flatMap((tensor) => (tensor.name.includes('attn_kv_b') ? split(tensor) : [tensor])),
  };
}

/** Elements of another tensor, which are floats, in another order. */
async function* moved(
  tensor: TensorToWrite,
  [heads, rows, columns]: readonly number[],
  element: (head: number, i: number, j: number) => number,
): AsyncIterable<Uint8Array> {
  const { blockBytes } = blockFormat(tensor.format);
  const parts: Uint8Array[] = [];
  for await (const part of tensor.chunks()) parts.push(part.slice());
  const all = concat(...parts);
  const result = new Uint8Array(all.length);
  let length = 0;
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const from = element(h, i, j) * blockBytes;
        result.set(all.subarray(from, from + blockBytes), length);
        length += blockBytes;
      }
    }
  }
  yield result.subarray(0, length);
}

/** The file of a fixture. */
export async function openAbsorbed(name: string): Promise<Checkpoint> {
  await using folder = await openCheckpoint(modelFolder(name));
  const model = openModel(folder);
  const tokenizer = anyVocabulary(model.vocabularySize);
  const file = absorbed(exportGguf(folder, model, { name, tokenizer }));
  return await readGguf(memoryBytes(await bytesOf(layoutGguf(file))));
}
