/**
 * GGUF files of the models' fixtures, as `ingot convert` makes them, in llama.cpp: it loads them and computes what
 * transformers computes of the folders they were made of. Runs where INGOT_LLAMA_CPP names the folder of an installed
 * package node-llama-cpp.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import type { Metadata, MetadataValue } from '../../src/formats/checkpoint.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { bytesOf, folderWith } from '../unit/formats-support.ts';
import { golden, modelFolder, modelNames } from './golden.ts';
import type { Answer, Question } from './llama-cpp-child.ts';

const llamaCpp = process.env.INGOT_LLAMA_CPP;
const skip = llamaCpp === undefined && 'INGOT_LLAMA_CPP is not set';

/** What llama.cpp computes otherwise, and why. */
const exceptions: Readonly<Record<string, string>> = {
  mistral: 'llama.cpp knows no sliding windows in files of the architecture llama',
  phi3: 'llama.cpp does not let Phi-3 slide',
  'gemma2-scale': "GGUF's keys cannot say it",
  'gpt-oss': "llama.cpp rounds the range of YaRN's ramp to whole dimensions",
  'deepseek-v2-lite': 'llama.cpp knows DeepSeek-V2-Lite by its number of layers',
  'deepseek-v2': "GGUF's keys cannot say it",
};
const names = modelNames.filter((name) => exceptions[name] === undefined);

/** Any one will do: ids are what is given. */
function vocabulary(size: number): Metadata {
  const tokens = Array.from({ length: size - 3 }, (_, i) => String.fromCharCode(33 + i));
  return new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'gpt-2'],
    ['tokenizer.ggml.tokens', [...tokens, '\u010a', '\u0120', '<|end|>']],
    ['tokenizer.ggml.token_type', Int32Array.from({ length: size }, (_, i) => (i === size - 1 ? 3 : 1))],
    ['tokenizer.ggml.merges', ['! !']],
    ['tokenizer.ggml.bos_token_id', size - 1],
    ['tokenizer.ggml.eos_token_id', size - 1],
  ]);
}

async function writeGguf(name: string, path: string): Promise<void> {
  await using checkpoint = await openCheckpoint(modelFolder(name));
  const model = openModel(checkpoint);
  const options = { name: 'a fixture', tokenizer: vocabulary(model.vocabularySize), format: 'f32' };
  await writeFile(path, await bytesOf(layoutGguf(exportGguf(checkpoint, model, options))));
}

function logSoftmax(row: Float32Array): Float64Array {
  const max = row.reduce((a, b) => Math.max(a, b));
  const total = max + Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0));
  return Float64Array.from(row, (value) => value - total);
}

test('llama.cpp loads what convert writes, and computes the same', { skip }, async (t) => {
  await using folder = await folderWith();
  const goldens = await Promise.all(names.map(golden));
  const questions: Question[] = [];
  for (const [i, name] of names.entries()) {
    const file = join(folder.path, `${name}.gguf`);
    await writeGguf(name, file);
    questions.push({ file, ids: goldens[i].ids });
  }
  const child = fileURLToPath(new URL('llama-cpp-child.js', import.meta.url));
  const options = { input: JSON.stringify(questions), encoding: 'utf8', maxBuffer: 1 << 30 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [child, llamaCpp ?? ''], options);
  assert.equal(status, 0, stderr);
  const answers = JSON.parse(stdout) as readonly Answer[];
  for (const [i, name] of names.entries()) {
    await t.test(name, () => {
      const answer = answers[i];
      assert.ok('logProbabilities' in answer, 'error' in answer ? answer.error : '');
      const { ids, logits } = goldens[i];
      const size = logits.length / ids.length;
      assert.equal(answer.logProbabilities.length, logits.length);
      for (let row = 0; row < ids.length; row++) {
        const expected = logSoftmax(logits.subarray(row * size, (row + 1) * size));
        const found: readonly number[] = answer.logProbabilities.slice(row * size, (row + 1) * size);
        const worst = expected.reduce((max, value, id) => Math.max(max, Math.abs(value - found[id])), 0);
        assert.ok(worst < 1e-2, `largest difference ${worst} after token ${row}`);
        assert.equal(found.indexOf(Math.max(...found)), expected.indexOf(Math.max(...expected)));
      }
    });
  }
});
