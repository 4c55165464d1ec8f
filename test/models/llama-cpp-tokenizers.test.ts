/** Where text is cut, by every pre-tokenizer that llama.cpp names: there and here, with the same GGUF file. Needs the package node-llama-cpp. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { bytesOf, folderWith } from '../unit/formats-support.ts';
import { namesOfLlamaCpp, tellingTexts, tellingVocabulary, unmergedToken } from '../unit/pre-tokenizer-texts.ts';
import { askLlamaCpp, skipWithoutLlamaCpp } from './llama-cpp.ts';
import type { Question } from './llama-cpp-child.ts';

const texts = [...tellingTexts, unmergedToken];

/** Texts that llama.cpp cuts otherwise, where Ingot cuts as Hugging Face's tokenizers does with the models' own patterns. */
const exceptions: readonly { readonly text: string; readonly names: readonly string[] }[] = [
  // Marks end a word there.
  {
    text: 'शक्ति',
    names: ['tekken', 'gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2', 'kimi-k2'],
  },
  // Letters have no case there.
  { text: 'HiABcDE x', names: ['youtu', 'tiny_aya', 'cohere2moe', 'kimi-k2'] },
  // What was cut off before is seen by looking ahead.
  { text: 'x  12 3', names: ['tiny_aya', 'cohere2moe', 'afmoe'] },
  // Digits are those of ASCII.
  { text: '١٢٣٤٥ ½Ⅷ', names: ['superbpe'] },
];

test('llama.cpp cuts text where Ingot does', { skip: skipWithoutLlamaCpp }, async (t) => {
  await using folder = await folderWith();
  const questions: Question[] = [];
  for (const [i, name] of namesOfLlamaCpp.entries()) {
    const file = join(folder.path, `${i}.gguf`);
    const metadata = new Map([['general.architecture', 'llama'] as const, ...tellingVocabulary(name)]);
    await writeFile(file, await bytesOf(layoutGguf({ metadata, tensors: [] })));
    questions.push({ file, texts, wanted: 'tokens' });
  }
  const answers = askLlamaCpp(questions);
  for (const [i, name] of namesOfLlamaCpp.entries()) {
    await t.test(name, async () => {
      const answer = answers[i];
      assert.ok('tokens' in answer, JSON.stringify(answer));
      const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: tellingVocabulary(name) });
      const spell = (ids: readonly number[]) => ids.map((id) => tokenizer.tokenText(id));
      const differing = texts.filter((text, at) => {
        const [here, there] = [spell(tokenizer.encode(text, { addSpecial: false })), spell(answer.tokens[at])];
        return JSON.stringify(here) !== JSON.stringify(there);
      });
      const expected = exceptions.filter(({ names }) => names.includes(name)).map(({ text }) => text);
      assert.deepEqual(new Set(differing), new Set(expected));
    });
  }
});
