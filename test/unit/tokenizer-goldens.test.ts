/** Small tokenizers of every kind, with ids and texts that Hugging Face's `tokenizers` made of them (`test/models/make-tokenizers.py`). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { fixtures } from '../fixtures.ts';

interface Golden {
  readonly name: string;
  readonly tokenizer: unknown;
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
