/** A tiny model with random weights, which embeds texts unless another is named, and a vocabulary of words for it. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixtures } from '../fixtures.ts';

export function writeEmbedder(path: string, name = 'bert-mean'): string {
  cpSync(join(fixtures('models'), name), path, { recursive: true });
  const words = ['[UNK]', 'the', 'cat', 'sat', 'a', 'very', 'long', 'line', 'of', 'other', 'words'];
  while (words.length < 96) words.push(`word${words.length}`);
  const model = {
    type: 'WordLevel',
    unk_token: '[UNK]',
    vocab: Object.fromEntries(words.map((word, id) => [word, id])),
  };
  writeFileSync(join(path, 'tokenizer.json'), JSON.stringify({ model, pre_tokenizer: { type: 'WhitespaceSplit' } }));
  return path;
}
