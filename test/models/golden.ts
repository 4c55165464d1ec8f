/** The folders of fixtures that are models, and what transformers computed of them (goldens.py). */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Metadata, MetadataValue } from '../../src/formats/checkpoint.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { fixtures } from '../fixtures.ts';

const folder = fixtures('models');

const names = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
const embeds = (name: string) => existsSync(join(folder, name, '1_Pooling'));

/** Those that generate, and those that embed texts. */
export const modelNames: readonly string[] = names.filter((name) => !embeds(name));
export const embedderNames: readonly string[] = names.filter(embeds);

/** What llama.cpp computes otherwise of the GGUF file of a fixture, and why. */
export const llamaCppExceptions: Readonly<Record<string, string>> = {
  mistral: 'it knows no sliding windows in files of the architecture llama',
  phi3: 'it does not let Phi-3 slide',
  'gemma2-scale': "GGUF's keys cannot say its scale of queries",
  'gpt-oss': "it rounds the range of YaRN's ramp to whole dimensions",
  'deepseek-v2-lite': 'it knows DeepSeek-V2-Lite by its number of layers',
  'deepseek-v2': 'it ranks groups of experts by the sum of their two best',
};

export const modelFolder = (name: string): string => join(folder, name);

/** `ids` of a text, `logits` [ids, vocabulary] after each, or its `embedding`. */
export async function golden(name: string) {
  await using file = await openCheckpoint(join(folder, name, 'golden.safetensors'));
  const read = async (tensor: string) => {
    const stored = file.tensors.get(tensor);
    return stored === undefined ? new Uint8Array() : stored.bytes.read(0, stored.bytes.length);
  };
  const floats = async (tensor: string) => decodeElements('f32', await read(tensor)) as Float32Array;
  const ids = Array.from(decodeElements('i32', await read('ids')) as Int32Array);
  return { ids, logits: await floats('logits'), embedding: await floats('embedding') };
}

/** A vocabulary as GGUF says it, for fixtures, which have none: ids are what they are given. */
export function anyVocabulary(size: number): Metadata {
  const tokens = Array.from({ length: size - 4 }, (_, i) => String.fromCharCode(33 + i));
  return new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'gpt-2'],
    ['tokenizer.ggml.tokens', [...tokens, '!!', '\u010a', '\u0120', '<|end|>']],
    ['tokenizer.ggml.token_type', Int32Array.from({ length: size }, (_, i) => (i === size - 1 ? 3 : 1))],
    ['tokenizer.ggml.merges', ['! !']],
    ['tokenizer.ggml.bos_token_id', size - 1],
    ['tokenizer.ggml.eos_token_id', size - 1],
    ['tokenizer.ggml.add_bos_token', false],
    ['tokenizer.ggml.add_eos_token', false],
  ]);
}
