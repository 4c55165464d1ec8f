/** From a path to everything that a command needs of a model: checkpoint, architecture, tokenizer. */
import { fileURLToPath } from 'node:url';
import { IngotError } from '../base/errors.ts';
import type { Checkpoint } from '../formats/checkpoint.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { openModel } from '../models/architectures.ts';
import type { Model } from '../models/model.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/** The model that comes with Ingot. */
export const bundledModel = fileURLToPath(new URL('../../../models/tales/tales-q8_0.gguf', import.meta.url));

export interface OpenedModel extends AsyncDisposable {
  readonly name: string;
  readonly checkpoint: Checkpoint;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
}

/** @throws IngotError: whatever the file, its architecture or its vocabulary do wrong. */
export async function openForRunning(path: string): Promise<OpenedModel> {
  const checkpoint = await openCheckpoint(path);
  try {
    const model = openModel(checkpoint);
    const tokenizer = await openTokenizer(checkpoint, model.vocabularySize);
    const name = path === bundledModel ? 'tales (bundled)' : path;
    return { name, checkpoint, model, tokenizer, [Symbol.asyncDispose]: () => checkpoint[Symbol.asyncDispose]() };
  } catch (error) {
    await checkpoint[Symbol.asyncDispose]();
    throw error;
  }
}

async function openTokenizer(checkpoint: Checkpoint, vocabularySize: number): Promise<Tokenizer> {
  switch (checkpoint.kind) {
    case 'gguf':
      return loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, { vocabularySize });
    case 'huggingface':
      return loadTokenizer({ kind: 'huggingface', companions: checkpoint.companions }, { vocabularySize });
    case 'llama2c':
    case 'safetensors':
      throw new IngotError('UnsupportedFile', `${checkpoint.path} carries no tokenizer`, {
        path: checkpoint.path,
        hint: 'Make a GGUF file of it: ingot convert CHECKPOINT OUT.gguf --tokenizer TOKENIZER',
      });
    default:
      return checkpoint.kind satisfies never;
  }
}

/** A prompt to measure with: the same tokens every time (a linear congruential generator of Numerical Recipes). */
export function randomTokens(length: number, vocabularySize: number): readonly number[] {
  let state = 1;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabularySize);
  });
}
