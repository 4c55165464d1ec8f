/**
 * GGUF files of the models' fixtures, as `ingot convert` makes them, in llama.cpp: it loads them and computes what
 * transformers computes of the folders they were made of. Needs the package node-llama-cpp.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { bytesOf, folderWith } from '../unit/formats-support.ts';
import { absorbed } from './absorbed.ts';
import { anyVocabulary, embedderNames, golden, llamaCppExceptions, modelFolder, modelNames } from './golden.ts';
import { askLlamaCpp, skipWithoutLlamaCpp } from './llama-cpp.ts';
import type { Question } from './llama-cpp-child.ts';

const names = modelNames.filter((name) => llamaCppExceptions[name] === undefined);

interface Case {
  readonly name: string;
  /** As llama.cpp's converter makes it, not as `ingot convert` does. */
  readonly absorbed?: true;
}
const all: readonly Case[] = [
  ...[...names, ...embedderNames].map((name) => ({ name })),
  { name: 'deepseek-v2-yarn', absorbed: true },
];

async function writeGguf({ name, absorbed: isAbsorbed }: Case, path: string): Promise<void> {
  await using checkpoint = await openCheckpoint(modelFolder(name));
  const model = openModel(checkpoint);
  const formats = new Map(model.toGguf().weights.map((weight) => [weight.name, 'f32']));
  const tokenizer = anyVocabulary(model.vocabularySize);
  const file = exportGguf(checkpoint, model, { name: 'a fixture', tokenizer, weights: { formats } });
  await writeFile(path, await bytesOf(layoutGguf(isAbsorbed ? absorbed(file) : file)));
}

function logSoftmax(row: Float32Array): Float64Array {
  const max = row.reduce((a, b) => Math.max(a, b));
  const total = max + Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0));
  return Float64Array.from(row, (value) => value - total);
}

test('llama.cpp loads what convert writes, and computes the same', { skip: skipWithoutLlamaCpp }, async (t) => {
  await using folder = await folderWith();
  const goldens = await Promise.all(all.map(({ name }) => golden(name)));
  const questions: Question[] = [];
  for (const [i, each] of all.entries()) {
    const file = join(folder.path, `${i}.gguf`);
    await writeGguf(each, file);
    const wanted = embedderNames.includes(each.name) ? 'embedding' : 'probabilities';
    questions.push({ file, ids: goldens[i].ids, wanted });
  }
  const answers = askLlamaCpp(questions);
  for (const [i, { name, absorbed: isAbsorbed }] of all.entries()) {
    await t.test(isAbsorbed ? `${name}, absorbed` : name, () => {
      const answer = answers[i];
      if ('error' in answer) assert.fail(answer.error);
      if ('embedding' in answer) assertSameDirection(answer.embedding, goldens[i].embedding);
      else if ('logProbabilities' in answer) assertSameProbabilities(answer.logProbabilities, goldens[i]);
      else assert.fail('another answer than what was asked for');
    });
  }
});

function assertSameProbabilities(answer: readonly number[], { ids, logits }: Awaited<ReturnType<typeof golden>>): void {
  assert.equal(answer.length, logits.length);
  const size = logits.length / ids.length;
  for (let row = 0; row < ids.length; row++) {
    const expected = logSoftmax(logits.subarray(row * size, (row + 1) * size));
    const found = answer.slice(row * size, (row + 1) * size);
    const worst = expected.reduce((max, value, id) => Math.max(max, Math.abs(value - found[id])), 0);
    assert.ok(worst < 1e-2, `largest difference ${worst} after token ${row}`);
    assert.equal(found.indexOf(Math.max(...found)), expected.indexOf(Math.max(...expected)));
  }
}

/** llama.cpp leaves the length to others; its keys and values are f16 here. */
function assertSameDirection(answer: readonly number[], expected: Float32Array): void {
  assert.equal(answer.length, expected.length);
  const length = Math.hypot(...answer);
  const worst = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - answer[i] / length)), 0);
  assert.ok(worst < 5e-3, `largest difference ${worst}`);
}
