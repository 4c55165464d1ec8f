/** Small tokenizers of every kind, with ids and texts that Hugging Face's `tokenizers` made of them (`test/models/make-tokenizers.py`). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import type { MetadataValue } from '../../src/formats/checkpoint.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { fixtures } from '../fixtures.ts';

interface Golden {
  readonly name: string;
  readonly tokenizer: {
    readonly model: {
      readonly vocab: Readonly<Record<string, number>>;
      readonly merges: readonly (readonly string[])[];
    };
  };
  readonly cases: readonly { readonly text: string; readonly ids: readonly number[]; readonly decoded: string }[];
}

const goldens: readonly Golden[] = JSON.parse(readFileSync(join(fixtures('unit'), 'tokenizers.json'), 'utf8'));

for (const { name, tokenizer: json, cases } of goldens) {
  test(name, async () => {
    const file = memoryBytes(new TextEncoder().encode(JSON.stringify(json)));
    const tokenizer = await loadTokenizer({ kind: 'huggingface', companions: new Map([['tokenizer.json', file]]) });
    for (const { text, ids, decoded } of cases) {
      assert.deepEqual(tokenizer.encode(text, { parseSpecial: true }), ids, JSON.stringify(text));
      assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(text));
    }
  });
}

/** As llama.cpp's converter writes it: the kind of vocabulary and the way to cut have the same name. */
for (const model of ['whitespace', 'gpt2']) {
  test(`a vocabulary of lowercase words in GGUF, whose model is ${model}`, async () => {
    const { tokenizer: json, cases } = goldens.find(({ name }) => name === 'bpe-words') ?? assert.fail();
    const tokens = Object.entries(json.model.vocab).sort(([, a], [, b]) => a - b);
    const texts = tokens.map(([text]) => text);
    const metadata = new Map<string, MetadataValue>([
      ['tokenizer.ggml.model', model],
      ['tokenizer.ggml.pre', 'whitespace'],
      ['tokenizer.ggml.tokens', texts],
      ['tokenizer.ggml.token_type', Int32Array.from(texts, (text) => (text === '<unk>' ? 3 : 1))],
      ['tokenizer.ggml.merges', json.model.merges.map((merge) => merge.join(' '))],
      ['tokenizer.ggml.unknown_token_id', texts.indexOf('<unk>')],
      ['tokenizer.ggml.normalizer.lowercase', true],
    ]);
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata });
    for (const { text, ids } of cases) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
      const letters = ids.map((id) => (texts[id] === '<unk>' ? '' : texts[id])).join('');
      assert.equal(tokenizer.decode(ids), letters, 'white space is lost');
    }
    const cased = await loadTokenizer({
      kind: 'gguf',
      metadata: new Map([...metadata, ['tokenizer.ggml.normalizer.lowercase', false]]),
    });
    assert.deepEqual(cased.encode('The'), [texts.indexOf('<unk>'), ...tokenizer.encode('he')]);
  });
}
