/**
 * Damaged and hostile vocabularies: whatever a `tokenizer.json` or GGUF's keys say, there is a tokenizer or an IngotError, soon.
 * Seeded. Files damaged byte by byte are in `tokenizer-files.test.ts`; here well-formed values stand where others belong.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import type { MetadataValue } from '../../src/formats/checkpoint.ts';
import { Charsmap } from '../../src/tokenizer/charsmap.ts';
import { exportTokenizer } from '../../src/tokenizer/gguf-export.ts';
import { loadTokenizer, type TokenizerSource } from '../../src/tokenizer/load.ts';
import { fixtures } from '../fixtures.ts';
import { seededRandom } from './formats-support.ts';
import { type Json, mutated } from './mutated-json.ts';
import { processorTime } from './processor-time.ts';
import { byteLevelKeys, sentencePieceKeys } from './small-vocabularies.ts';

const goldens: { tokenizer: Json }[] = JSON.parse(readFileSync(join(fixtures('unit'), 'tokenizers.json'), 'utf8'));
const text = 'Hello, wörld 123 <s> \u{1f600}\n\n'.repeat(20);
async function endsWell(source: TokenizerSource, what: string): Promise<boolean> {
  const begin = processorTime();
  let fine = false;
  try {
    const tokenizer = await loadTokenizer(source);
    fine = true;
    tokenizer.decode(tokenizer.encode(text, { parseSpecial: true }));
    await exportTokenizer(source, tokenizer.vocabularySize);
  } catch (error) {
    assert.ok(isIngotError(error), `${what}: ${error instanceof Error ? error.stack : String(error)}`);
  }
  assert.ok(processorTime() - begin < 5000, what);
  return fine;
}

test('tokenizer.json with strange values', async () => {
  const random = seededRandom(31);
  let fine = 0;
  for (let round = 0; round < 800; round++) {
    const golden = goldens[random(goldens.length)]?.tokenizer ?? null;
    let json = golden;
    for (let changes = 1 + random(2); changes > 0; changes--) json = mutated(json, random);
    const file = memoryBytes(new TextEncoder().encode(JSON.stringify(json)));
    const source = { kind: 'huggingface', companions: new Map([['tokenizer.json', file]]) } as const;
    if (await endsWell(source, `round ${round}`)) fine++;
  }
  assert.ok(fine > 100 && fine < 750, `${fine} of 800 could be loaded`);
});

test("GGUF's keys with strange values", async () => {
  const random = seededRandom(32);
  const models = ['gpt2', 'llama', 'bert', 't5', 'gemma4', 'whitespace', 'none'];
  const values: MetadataValue[] = [
    true,
    0,
    -1,
    1e9,
    'x',
    'default',
    'llama-bpe',
    [],
    ['a', 'b'],
    ['', ''],
    Float32Array.of(1, 2),
    new Uint8Array(8),
    Uint8Array.of(4, 0, 0, 0, 255, 255, 255, 255, 0),
  ];
  const names = [
    ...['model', 'pre', 'tokens', 'token_type', 'merges', 'scores', 'bos_token_id', 'eos_token_id', 'unknown_token_id'],
    ...['add_bos_token', 'add_space_prefix', 'remove_extra_whitespaces', 'precompiled_charsmap', 'seperator_token_id'],
  ];
  let fine = 0;
  for (let round = 0; round < 800; round++) {
    const base = random(2) === 0 ? byteLevelKeys() : sentencePieceKeys();
    const metadata = new Map(base);
    if (random(2) === 0) metadata.set('tokenizer.ggml.model', models[random(models.length)] ?? '');
    if (random(2) === 0) metadata.set('tokenizer.ggml.unknown_token_id', 0);
    for (let changes = random(3); changes > 0; changes--) {
      metadata.set(`tokenizer.ggml.${names[random(names.length)]}`, values[random(values.length)] ?? 0);
    }
    if (await endsWell({ kind: 'gguf', metadata }, `round ${round}`)) fine++;
  }
  assert.ok(fine > 100 && fine < 750, `${fine} of 800 could be loaded`);
});

test('a long text of one character takes no vocabulary long', async () => {
  const length = 1 << 16;
  for (const { tokenizer: json } of goldens) {
    const file = memoryBytes(new TextEncoder().encode(JSON.stringify(json)));
    const tokenizer = await loadTokenizer({ kind: 'huggingface', companions: new Map([['tokenizer.json', file]]) });
    for (const letter of ['a', ' ', '\u{1f600}', '\u0301', '1']) {
      const begin = processorTime();
      tokenizer.encode(letter.repeat(length));
      const name = JSON.stringify(json).slice(0, 200);
      assert.ok(processorTime() - begin < 8000, `${JSON.stringify(letter)}: ${name}`);
    }
  }
});

test('graphemes of a long text are found in time linear in it', () => {
  const empty = new Charsmap(Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0));
  for (const letter of ['\u{1f600}', '\u4e2d', 'e\u0301', '\u0301', '\u{1f1e9}']) {
    const long = letter.repeat(1 << 17);
    const begin = processorTime();
    assert.equal(empty.normalizeGraphemes(long), long);
    assert.equal(empty.normalize(long), long);
    assert.ok(processorTime() - begin < 8000, letter);
  }
});
