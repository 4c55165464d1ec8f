/** From a path to everything that an engine needs of a model: its checkpoint, architecture and tokenizer. */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint } from '../formats/checkpoint.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { openModel } from '../models/architectures.ts';
import type { Model } from '../models/model.ts';
import { ggufChatTemplate, huggingFaceChatTemplate } from '../tokenizer/chat.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { ChatTemplates } from './prompt.ts';

/** A model whose vocabulary has not been looked at. */
export interface OpenedWeights extends AsyncDisposable {
  readonly checkpoint: Checkpoint;
  readonly model: Model;
}

/** What makes tokens of texts and conversations. */
interface TextParts {
  readonly tokenizer: Tokenizer;
  readonly templates: ChatTemplates;
}

export interface OpenedModel extends AsyncDisposable, TextParts {
  readonly model: Model;
}

/** @throws IngotError: whatever the file, its architecture or its vocabulary do wrong. */
export async function openForRunning(path: string): Promise<OpenedModel> {
  const opened = await openWeights(path);
  try {
    const parts = await openTexts(opened);
    return { model: opened.model, ...parts, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
}

/** @throws IngotError: whatever the file or its architecture do wrong. */
export async function openWeights(path: string): Promise<OpenedWeights> {
  const checkpoint = await openCheckpoint(path);
  try {
    const model = openModel(checkpoint);
    return { checkpoint, model, [Symbol.asyncDispose]: () => checkpoint[Symbol.asyncDispose]() };
  } catch (error) {
    await checkpoint[Symbol.asyncDispose]();
    throw error;
  }
}

/** @throws IngotError: whatever the vocabulary does wrong. */
export async function openTexts({ checkpoint, model }: OpenedWeights): Promise<TextParts> {
  const tokenizer = await openTokenizer(checkpoint, model.vocabularySize);
  return { tokenizer, templates: await findChatTemplates(checkpoint) };
}

async function findChatTemplates({ kind, metadata, companions }: Checkpoint): Promise<ChatTemplates> {
  const find = (name: 'default' | 'tool_use') =>
    kind === 'huggingface' ? huggingFaceChatTemplate(companions, name) : ggufChatTemplate(metadata, name);
  const [chatTemplate, toolTemplate] = [await find('default'), await find('tool_use')];
  return { ...(chatTemplate !== undefined && { chatTemplate }), ...(toolTemplate !== undefined && { toolTemplate }) };
}

/** @param vocabularySize rows of the model's embedding, where the model is known. */
export async function openTokenizer(checkpoint: Checkpoint, vocabularySize?: number): Promise<Tokenizer> {
  const expected = vocabularySize === undefined ? {} : { vocabularySize };
  switch (checkpoint.kind) {
    case 'gguf':
      return loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, expected);
    case 'huggingface':
      return loadTokenizer({ kind: 'huggingface', companions: checkpoint.companions }, expected);
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
