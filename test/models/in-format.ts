/** GGUF files of fixtures with their matrices in blocks. */
import assert from 'node:assert/strict';
import { memoryBytes } from '../../src/base/bytes.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import type { Checkpoint } from '../../src/formats/checkpoint.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { bytesOf } from '../unit/formats-support.ts';
import { openAbsorbed } from './absorbed.ts';
import { anyVocabulary, modelFolder } from './golden.ts';

/** Experts, and latent attention in both forms, that are tested in blocks too. */
export const inBlocks = [
  { name: 'qwen3-moe', form: '', formats: ['q8_0', 'q4_0'], open: () => openCheckpoint(modelFolder('qwen3-moe')) },
  {
    name: 'deepseek-v2-yarn',
    form: '',
    formats: ['q8_0'],
    open: () => openCheckpoint(modelFolder('deepseek-v2-yarn')),
  },
  {
    name: 'deepseek-v2-yarn',
    form: ', absorbed,',
    formats: ['q8_0', 'q4_0'],
    open: () => openAbsorbed('deepseek-v2-yarn'),
  },
].flatMap(({ formats, ...model }) => formats.map((format) => ({ ...model, format })));

/** The same model with those matrices in a format whose rows are whole blocks of it; in memory. */
export async function inFormat(checkpoint: Checkpoint, format: string): Promise<Checkpoint> {
  const model = openModel(checkpoint);
  const { blockSize } = blockFormat(format);
  const matrices = model
    .toGguf()
    .weights.filter(({ stored: { shape } }) => shape.length > 1 && Number(shape.at(-1)) % blockSize === 0);
  assert.ok(matrices.length > 3 * model.layers, String(matrices.length));
  const formats = new Map(matrices.map(({ name }) => [name, format]));
  const tokenizer = anyVocabulary(model.vocabularySize);
  const contents = exportGguf(checkpoint, model, { name: 'a fixture', tokenizer, weights: { formats } });
  return await readGguf(memoryBytes(await bytesOf(layoutGguf(contents))));
}
