/** What tells the files of ranks apart: each weight counts, however many there are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { modelDigest } from '../../src/engine/model-digest-node.ts';
import type { Model } from '../../src/models/model.ts';

const names = Array.from({ length: 150 }, (_, i) => `w${i}`);

/** A model of which nothing else is asked. */
function digest(change: { readonly weight?: string; readonly architecture?: string } = {}): Promise<string> {
  const weights = new Map(
    names.map((name) => {
      const bytes = new Uint8Array(1000).fill(1);
      if (name === change.weight) bytes[500] = 2;
      return [name, { name, format: 'f32', shape: [250], bytes: memoryBytes(bytes) }];
    }),
  );
  const { architecture = 'llama' } = change;
  return modelDigest({ architecture, contextLength: 64, vocabularySize: 96, weights } as unknown as Model);
}

test('models differ in their digests where one weight does, or what they are', async () => {
  const own = await digest();
  assert.equal(await digest(), own);
  assert.notEqual(await digest({ architecture: 'mistral' }), own);
  for (const weight of names) assert.notEqual(await digest({ weight }), own, weight);
});
