/**
 * A random model as `ingot quantize` writes it, in each of its formats: llama.cpp loads the file, and computes what it computes of the
 * same weights decoded by Ingot, but for its rounding of activations. Needs the package node-llama-cpp.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Command } from 'commander';
import { randomModel } from '../../bench/random-model.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import { addQuantize } from '../../src/cli/quantize.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { fileTypeNames } from '../../src/models/file-types.ts';
import { bytesOf, folderWith } from '../unit/formats-support.ts';
import { askLlamaCpp, skipWithoutLlamaCpp } from './llama-cpp.ts';
import type { Answer, Question } from './llama-cpp-child.ts';

/** One for each format of weights; the others mix the same. */
const types = fileTypeNames.filter((name) => !/^(b?f\d|mxfp4|.*_[SL]$)/.test(name));
const ids = [1, 17, 400, 3, 3, 250, 511, 90];

async function decoded(path: string): Promise<Uint8Array> {
  await using checkpoint = await openCheckpoint(path);
  const model = openModel(checkpoint);
  const formats = new Map(model.toGguf().weights.map(({ name }) => [name, 'f32']));
  const options = { name: 'decoded', tokenizer: new Map(), weights: { formats, fileType: 0 } };
  return await bytesOf(layoutGguf(exportGguf(checkpoint, model, options)));
}

function logProbabilities(answer: Answer | undefined): readonly number[] {
  assert.ok(answer !== undefined && 'logProbabilities' in answer, JSON.stringify(answer));
  return answer.logProbabilities;
}

const squares = (values: readonly number[]) => values.reduce((sum, value) => sum + value * value, 0);

test('llama.cpp reads what quantize writes', { skip: skipWithoutLlamaCpp }, async (t) => {
  await using folder = await folderWith();
  const source = join(folder.path, 'source.gguf');
  await writeFile(source, await bytesOf(layoutGguf(randomModel('tiny', 'f16', 1))));
  t.mock.method(console, 'error', () => {});
  const questions: Question[] = [];
  for (const type of types) {
    const [quantized, plain] = [join(folder.path, `${type}.gguf`), join(folder.path, `${type}-f32.gguf`)];
    const program = new Command();
    addQuantize(program);
    await program.parseAsync(['quantize', source, quantized, '--type', type], { from: 'user' });
    await writeFile(plain, await decoded(quantized));
    for (const file of [quantized, plain]) questions.push({ file, ids, wanted: 'probabilities' });
  }
  const answers = askLlamaCpp(questions);
  for (const [i, type] of types.entries()) {
    await t.test(type, () => {
      const [found, expected] = [logProbabilities(answers[2 * i]), logProbabilities(answers[2 * i + 1])];
      const mean = expected.reduce((sum, value) => sum + value, 0) / expected.length;
      const off = squares(expected.map((value, at) => value - (found[at] ?? 0)));
      const share = Math.sqrt(off / squares(expected.map((value) => value - mean)));
      assert.ok(share < 0.05, `${share} of what tells tokens apart`);
    });
  }
});
