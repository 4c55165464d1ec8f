/** From a path to everything that an engine needs of a model: its checkpoint, architecture and tokenizer. */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint } from '../formats/checkpoint.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { openModel } from '../models/architectures.ts';
import type { Model } from '../models/model.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

export interface OpenedModel extends AsyncDisposable {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
}

/** @throws IngotError: whatever the file, its architecture or its vocabulary do wrong. */
export async function openForRunning(path: string): Promise<OpenedModel> {
  const checkpoint = await openCheckpoint(path);
  try {
    const model = openModel(checkpoint);
    const tokenizer = await openTokenizer(checkpoint, model.vocabularySize);
    return { model, tokenizer, [Symbol.asyncDispose]: () => checkpoint[Symbol.asyncDispose]() };
  } catch (error) {
    await checkpoint[Symbol.asyncDispose]();
    throw error;
  }
}

export async function openTokenizer(checkpoint: Checkpoint, vocabularySize: number): Promise<Tokenizer> {
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
