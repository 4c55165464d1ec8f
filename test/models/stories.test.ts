/** A real model with published results: karpathy's stories260K (greedy sample of its documentation, likelihood of a sentence). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Device } from '../../src/devices/device.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { devices } from '../conformance/devices.ts';
import { dataPath, skipWithoutData } from '../fixtures.ts';

const file = (name: string) => dataPath('models', 'stories260K', name);

async function withStories(create: () => Device, work: (engine: LocalEngine) => Promise<void>): Promise<void> {
  await using checkpoint = await openCheckpoint(file('stories260K.bin'));
  const model = openModel(checkpoint);
  const { vocabularySize } = model;
  const tokenizer = await loadTokenizer({ kind: 'llama2c', bytes: readFileSync(file('tok512.bin')), vocabularySize });
  await using device = create();
  await using engine = await LocalEngine.load(device, model, tokenizer);
  await work(engine);
  await engine.checkIntegrity();
}

/** The text between the command and the end of the block that follows it. */
function publishedSample(): string {
  const document = readFileSync(file('stories260K.doc.md'), 'utf8');
  const sample = document.match(/\$ \.\/run stories260K\/stories260K\.bin .* -t 0\.0\n([\s\S]*?)\n```/)?.[1];
  assert.ok(sample !== undefined && sample.length > 500, 'the document holds the sample');
  return sample;
}

for (const [name, create] of Object.entries(devices)) {
  test(`stories260K writes its published greedy sample, whole, on ${name}`, { skip: skipWithoutData }, async () => {
    await withStories(create, async (engine) => {
      let text = '';
      // run.c takes 256 steps, each of which prints a token.
      for await (const event of engine.generate({ prompt: engine.tokenizer.encode(''), maxTokens: 256 }))
        text += event.text;
      assert.equal(text, publishedSample());
    });
  });

  test(`stories260K gives a sentence its published likelihood on ${name}`, { skip: skipWithoutData }, async () => {
    const golden = JSON.parse(readFileSync(file('bennyz-golden.json'), 'utf8'));
    await withStories(create, async (engine) => {
      const ids = engine.tokenizer.encode(golden.sentence);
      const nll = -(await engine.score(ids)).reduce((sum, logprob) => sum + logprob, 0);
      assert.ok(Math.abs(nll - golden.nll) < 1e-3, `negative log-likelihood ${nll}, published ${golden.nll}`);
    });
  });
}
