/** Models that sentencepiece trained, with the ids and texts that it makes of them (`goldens/make-sentencepiece.py`). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { fixtures } from '../fixtures.ts';

interface Golden {
  readonly name: string;
  /** A `.model` file, in base64. */
  readonly model: string;
  readonly cases: readonly { readonly text: string; readonly ids: readonly number[]; readonly decoded: string }[];
}

const goldens: readonly Golden[] = JSON.parse(readFileSync(join(fixtures('unit'), 'sentencepiece.json'), 'utf8'));

for (const { name, model, cases } of goldens) {
  test(name, async () => {
    const tokenizer = await loadTokenizer({ kind: 'sentencepiece', bytes: Buffer.from(model, 'base64') });
    for (const { text, ids, decoded } of cases) {
      assert.deepEqual(tokenizer.encode(text, { addSpecial: false }), ids, JSON.stringify(text));
      // It writes this for unknown characters, of which nothing is known here.
      assert.equal(tokenizer.decode(ids), decoded.replaceAll(' \u2047 ', ''), JSON.stringify(text));
    }
  });
}
