/**
 * Engines whose model is divided among ranks of this process beside engines on one device: the same greedy text, or another one
 * from where two tokens are nearly alike on; the same embeddings; whatever keys and values are kept in, however prompts are cut.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Recorded } from '../../src/devices/cpu/profile.ts';
import type { Device } from '../../src/devices/device.ts';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import type { Checkpoint } from '../../src/formats/checkpoint.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { formatMesh, type Mesh, meshSize, parseMesh } from '../../src/ir/mesh.ts';
import { openModel } from '../../src/models/architectures.ts';
import { createMeshDevice, type MeshOptions } from '../../src/parallel/mesh-device.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { localGroup, noCpu, openCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { generateWith } from './engine-suite.ts';
import { anyVocabulary, embedderNames, golden, modelFolder, modelNames } from './golden.ts';
import { assertSameText } from './same-text.ts';

const skip = noCpu ?? false;

const openRank = (profile: Recorded = 'nothing') => openCpu(1, { profile });

function openMesh(mesh: Mesh, options?: MeshOptions, profile?: Recorded): Device {
  const joined = localGroup(meshSize(mesh)).map((communicator) => ({ device: openRank(profile), communicator }));
  return createMeshDevice(mesh, joined, options);
}

const evenly = (size: number): Mesh => ({ axes: [{ name: 'tensor', size }] });

async function withEngine<T>(
  device: Device,
  checkpoint: Checkpoint,
  options: EngineOptions,
  work: (engine: LocalEngine) => Promise<T>,
): Promise<T> {
  const model = openModel(checkpoint);
  const metadata = checkpoint.kind === 'gguf' ? checkpoint.metadata : anyVocabulary(model.vocabularySize);
  const tokenizer = await loadTokenizer({ kind: 'gguf', metadata }, model);
  await using engine = await LocalEngine.load(device, model, tokenizer, options);
  const result = await work(engine);
  await engine.checkIntegrity();
  return result;
}

const greedy = (prompt: readonly number[], maxTokens: number) => {
  return { prompt, maxTokens, ignoreEnd: true, sampling: { temperature: 0 } };
};

const answer = 16;

/** Dense, with windows, in parallel branches, of experts, with weights in blocks, latent: `partition.test.ts` has the programs of all. */
const divided = ['llama3', 'mistral', 'gemma2', 'gpt-neox', 'gpt-oss-mxfp4', 'qwen3-moe', 'deepseek-v2-lite'];

/** A dense model and one of experts on every number of ranks, and where ranks have more or less; others on one. */
const allMeshes = [...[2, 3, 4].map(evenly), parseMesh('tensor=3:1')];
const inAll = ['llama3', 'qwen3-moe'];

for (const [i, name] of modelNames.filter((each) => divided.includes(each)).entries()) {
  const meshes = inAll.includes(name) ? allMeshes : [evenly(2 + (i % 3))];
  test(`${name} on ${meshes.map(formatMesh).join(' and ')}: the greedy text of one`, { skip }, async (t) => {
    await using checkpoint = await openCheckpoint(modelFolder(name));
    const prompt = (await golden(name)).ids.slice(0, 24);
    const options: EngineOptions = { contextLength: 64 };
    const text = async (engine: LocalEngine) => (await generateWith(engine, greedy(prompt, answer))).ids;
    const texts: (readonly number[])[] = [];
    for (const mesh of meshes) {
      await using many = openMesh(mesh);
      texts.push(await withEngine(many, checkpoint, options, text));
    }
    await using one = openRank();
    await withEngine(one, checkpoint, options, async (engine) => {
      const own = await text(engine);
      for (const theirs of texts) await assertSameText(t, engine, prompt, own, theirs);
    });
  });
}

for (const [size, kv] of [
  [2, 'int8'],
  [3, 'int4'],
  [4, 'f32'],
] as const) {
  test(`a prompt in two steps, then one that begins with it, keys and values in ${kv}, on ${size} ranks`, {
    skip,
  }, async (t) => {
    await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
    const options: EngineOptions = { contextLength: 256, kv };
    await using single = openRank();
    await using mesh = openMesh(evenly(size));
    await withEngine(single, checkpoint, options, async (one) => {
      await withEngine(mesh, checkpoint, options, async (many) => {
        /** The text of one, and how many tokens both knew. */
        const both = async (prompt: readonly number[], maxTokens: number) => {
          const [own, theirs] = [
            await generateWith(one, greedy(prompt, maxTokens)),
            await generateWith(many, greedy(prompt, maxTokens)),
          ];
          await assertSameText(t, one, prompt, own.ids, theirs.ids, 'i8');
          const [known, alsoKnown] = [own, theirs].map(({ end }) => end.statistics.reusedTokens);
          assert.equal(alsoKnown, known);
          return { ids: own.ids, known };
        };
        const { ids } = await both(one.tokenizer.encode('Once upon a time'), 170);
        const prompt = [...ids, 5];
        const again = await both(prompt, 8);
        const longer = await both([...prompt, ...again.ids], 8);
        assert.ok(longer.known > 100, `${longer.known} tokens were known`);
      });
    });
  });
}

for (const [i, name] of embedderNames.entries()) {
  const size = 2 + (i % 3);
  test(`${name} on ${size} ranks: the embedding of one`, { skip }, async () => {
    await using checkpoint = await openCheckpoint(modelFolder(name));
    const { ids, embedding: expected } = await golden(name);
    await using many = openMesh(evenly(size));
    const vector = await withEngine(many, checkpoint, { contextLength: 64 }, (engine) => engine.embed(ids));
    const worst = vector.reduce((max, value, d) => Math.max(max, Math.abs(value - expected[d])), 0);
    assert.ok(vector.length === expected.length && worst < 1e-5, `largest difference ${worst}`);
  });
}

test('greedy rows gather no logits, rows that draw do, and what was chosen is asked for and kept', {
  skip,
}, async () => {
  const chosen: unknown[] = [];
  const divisions: MeshOptions['divisions'] = { find: () => undefined, keep: (_, { choices }) => chosen.push(choices) };
  await using device = openMesh(evenly(2), { divisions }, 'sums');
  await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  await withEngine(device, checkpoint, { contextLength: 64, sequences: 2 }, async (engine) => {
    const { vocabularySize } = engine.model;
    const logits = (4 * vocabularySize) / 2;
    /** Bytes that rank 0 sends for prompts of so many tokens, each with one row to sample, and what is sampled. */
    const step = async (tokens: number, ...temperatures: readonly number[]) => {
      device.profile();
      const { steps: before } = (await engine.status()).totals;
      const answers = await Promise.all(
        temperatures.map((temperature, i) => {
          const prompt = Array.from({ length: tokens }, (_, t) => 100 + t);
          const sampling = { temperature, topK: 8, seed: 1n };
          return generateWith(engine, { prompt, maxTokens: 1, sampling, cacheOwner: `${tokens} ${temperatures} ${i}` });
        }),
      );
      const { kernels, submissions } = device.profile();
      assert.equal(submissions, (await engine.status()).totals.steps - before);
      return {
        sent: kernels.reduce((sum, { sentBytes = 0 }) => sum + sentBytes, 0),
        ids: answers.map(({ ids }) => ids),
      };
    };
    const [four, nine] = [await step(4, 0), await step(9, 0)];
    const perToken = (nine.sent - four.sent) / 5;
    assert.ok(perToken > 0);
    const row = four.sent - 4 * perToken;
    assert.ok(row > 0 && row < 100, `${row} bytes for a greedy row`);
    const drawn = await step(4, 0.8);
    assert.ok(drawn.sent - 4 * perToken >= logits, 'who draws sees all logits');
    const both = await step(4, 0, 0.8);
    assert.deepEqual(both.ids, [...four.ids, ...drawn.ids], 'side by side they are sampled alike');
  });
  assert.ok(chosen.length > 1);
  for (const each of chosen) assert.deepEqual(each, chosen[0], 'for the first program, and it holds for all');
});
