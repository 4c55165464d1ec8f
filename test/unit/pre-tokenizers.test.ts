/** The pre-tokenizers of GGUF: every one that llama.cpp names, and the power of the texts that they are compared on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutByPatterns, preTokenizer } from '../../src/tokenizer/pre-tokenizers.ts';
import { namesOfLlamaCpp, tellingTexts } from './pre-tokenizer-texts.ts';

test('every name of llama.cpp is known', () => {
  for (const name of namesOfLlamaCpp) assert.ok(preTokenizer(name));
  assert.equal(new Set(namesOfLlamaCpp).size, 90);
});

/** Qwen2's pattern in other words. */
const asQwen2 = ['bailingmoe', 'bailingmoe2', 'llada-moe'];

test('the texts tell any two apart that have not the same patterns', () => {
  const rows = new Map<string, { name: string; patterns: readonly string[] }>();
  for (const name of namesOfLlamaCpp.filter((each) => !asQwen2.includes(each))) {
    const { patterns } = preTokenizer(name);
    const pieces: string[] = [];
    for (const text of tellingTexts) cutByPatterns(patterns)(text, true, (piece) => pieces.push(piece));
    const key = JSON.stringify(pieces);
    const same = rows.get(key);
    if (same === undefined) rows.set(key, { name, patterns });
    else assert.deepEqual(patterns, same.patterns, `${name} cuts as ${same.name} does`);
  }
});
