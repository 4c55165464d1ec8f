/** Logits of every decoder against those of Hugging Face transformers (goldens.py), and the same bits however the prompt is cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceBuffer, Ticket } from '../../src/devices/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import { greedy } from '../../src/engine/sampling.ts';
import type { CachedSequence, StepEntry } from '../../src/engine/sequence.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import { devices } from '../conformance/devices.ts';
import { absorbedNames, openAbsorbed } from './absorbed.ts';
import { golden, modelFolder, modelNames } from './golden.ts';
import { inFormat } from './in-format.ts';
import { limits, logitsOf } from './logits.ts';

/** Programs that do not round activations to integers, whatever the weights are. */
function inFloats(model: Model): Model {
  return { ...model, build: (options) => model.build({ ...options, numerics: 'f32' }) };
}

function argMax(row: Float32Array): number {
  return row.reduce((best, value, i) => (value > row[best] ? i : best), 0);
}

/** The folders, and GGUF files of another form than `ingot convert` makes of them. */
const cases = [
  ...modelNames.map((name) => ({ name, form: '', open: () => openCheckpoint(modelFolder(name)) })),
  ...absorbedNames.map((name) => ({ name, form: ', absorbed,', open: () => openAbsorbed(name) })),
];

for (const [on, create] of Object.entries(devices)) {
  for (const { name, form, open } of cases) {
    test(`${name}${form} on ${on}: logits as transformers computes them; prompt at once, in chunks, token by token: the same bits`, async () => {
      const { ids, logits: expected } = await golden(name);
      await using checkpoint = await open();
      const model = inFloats(openModel(checkpoint));
      await using device = create();
      await using runner = await Runner.load(device, model, { limits, kv: 'f32' });

      const logits = await logitsOf(runner, ids, [ids.length]);
      assert.equal(logits.length, expected.length);
      const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      const worst = logits.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0);
      assert.ok(worst <= 1e-4 * largest, `largest difference ${worst} of ${largest}`);
      for (let row = 0; row < ids.length; row++) {
        const range = [row * model.vocabularySize, (row + 1) * model.vocabularySize] as const;
        assert.equal(argMax(logits.subarray(...range)), argMax(expected.subarray(...range)), `arg-max of token ${row}`);
      }
      assert.deepEqual(await logitsOf(runner, ids, [5, 1, 17, 8, 9]), logits, 'in chunks');
      assert.deepEqual(
        await logitsOf(
          runner,
          ids,
          ids.map(() => 1),
        ),
        logits,
        'token by token',
      );
    });
  }

  for (const format of ['q8_0', 'q4_0']) {
    test(`deepseek-v2-yarn, absorbed, in ${format} on ${on}: the halves of keys and values are what their blocks decode to`, async () => {
      const { ids } = await golden('deepseek-v2-yarn');
      await using file = await openAbsorbed('deepseek-v2-yarn');
      await using blocks = await inFormat(file, format);
      for (const name of ['attn_k_b', 'attn_v_b']) {
        assert.equal(blocks.tensors.get(`blk.0.${name}.weight`)?.format, format);
      }
      await using decoded = await inFormat(blocks, 'f32');
      await using device = create();
      const logits = [blocks, decoded].map(async (checkpoint) => {
        await using runner = await Runner.load(device, inFloats(openModel(checkpoint)), { limits, kv: 'f32' });
        return await logitsOf(runner, ids, [ids.length]);
      });
      const [made, expected] = await Promise.all(logits);
      assert.deepEqual(made, expected);
    });
  }

  for (const name of ['mistral', 'gemma2']) {
    test(`${name} in q8_0 on ${on}: products of integers give the same bits however the prompt is cut`, async () => {
      const { ids, logits: expected } = await golden(name);
      await using folder = await openCheckpoint(modelFolder(name));
      const model = openModel(await inFormat(folder, 'q8_0'));
      await using device = create();
      await using runner = await Runner.load(device, model, { limits, kv: 'f32' });
      const logits = await logitsOf(runner, ids, [ids.length]);
      const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      const worst = logits.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0);
      assert.ok(worst > 1e-4 * largest && worst < 0.2 * largest, `largest difference ${worst} of ${largest}`);
      assert.deepEqual(await logitsOf(runner, ids, [5, 1, 17, 8, 9]), logits, 'in chunks');
      const alone = ids.map(() => 1);
      assert.deepEqual(await logitsOf(runner, ids, alone), logits, 'token by token');
    });
  }

  for (const name of ['mistral', 'phi3', 'gemma2', 'gemma3', 'gpt-oss']) {
    test(`${name} on ${on}: layers with a window use memory again that they do not see: the same bits`, async () => {
      const { ids } = await golden(name);
      await using checkpoint = await openCheckpoint(modelFolder(name));
      const model = openModel(checkpoint);
      const found = new Set(Array.from({ length: model.layers }, (_, layer) => model.windowOf(layer)));
      // A token after another sees no more than two blocks of 16.
      const windows = [...found].flatMap((window) =>
        window === undefined ? [] : [{ window, blockCount: 2, blocksPerSequence: 2 }],
      );
      assert.equal(windows.length, 1);
      await using device = create();
      await using runner = await Runner.load(device, model, { limits, kv: 'int8' });
      await using sliding = await Runner.load(device, model, { limits: { ...limits, windows }, kv: 'int8' });
      const alone = ids.map(() => 1);
      assert.ok(ids.length > 32);
      assert.deepEqual(await logitsOf(sliding, ids, alone), await logitsOf(runner, ids, alone));
    });
  }

  for (const name of ['qwen3', 'qwen3-moe', 'gpt-oss', 'deepseek-v2-lite']) {
    test(`${name} on ${on}: a sequence has the same bits alone and beside another that is at another place`, async () => {
      const { ids } = await golden(name);
      await using checkpoint = await openCheckpoint(modelFolder(name));
      const model = openModel(checkpoint);
      await using device = create();
      await using runner = await Runner.load(device, model, { limits: { ...limits, maxSequences: 2 }, kv: 'bf16' });
      const blocks = new BlockManager(limits);
      const start = (row: number, tokens: readonly number[]): CachedSequence => ({
        row,
        tokens: [...tokens],
        computed: 0,
        blocks: [],
      });
      const entry = (sequence: CachedSequence, count: number): StepEntry<CachedSequence> => {
        blocks.grow(sequence.blocks, sequence.computed + count);
        const from = sequence.computed;
        sequence.computed += count;
        return { sequence, start: from, count, samples: true };
      };
      const step = async (...entries: StepEntry<CachedSequence>[]) => {
        const sampling = entries.map(() => greedy);
        const step = await runner.submit(entries, sampling, true);
        const { ids: sampled, logits = new Float32Array() } = await step.result();
        return { sampled: sampled.slice(), logits: logits.slice() };
      };

      const alone = start(0, ids.slice(0, 20));
      await step(entry(alone, 19));
      const decode = await step(entry(alone, 1));
      const prompt = start(0, ids.slice(20));
      const prefill = await step(entry(prompt, 20));
      blocks.release(alone.blocks);
      blocks.release(prompt.blocks);

      // Together, in swapped blocks: one decodes while the other computes its prompt.
      const first = start(0, ids.slice(0, 20));
      const second = start(1, ids.slice(20));
      blocks.grow(second.blocks, 17);
      await step(entry(first, 19));
      const both = await step(entry(first, 1), entry(second, 20));
      assert.deepEqual([...both.sampled], [...decode.sampled, ...prefill.sampled]);
      assert.deepEqual(both.logits, Float32Array.of(...decode.logits, ...prefill.logits));
    });
  }

  test(`${on}: a negative token stands for what a row of the step before sampled`, async () => {
    await using checkpoint = await openCheckpoint(modelFolder('llama'));
    const model = openModel(checkpoint);
    await using device = create();
    const executable = await device.compile(model.build({ limits, results: ['sample'], kv: 'f32', numerics: 'f32' }));
    const weights = new Map<string, DeviceBuffer>();
    for (const [name, stored] of model.weights) weights.set(name, await device.pack(stored));
    const state = new Map<string, DeviceBuffer>();
    for (const { name, type, role } of executable.program.parameters) {
      if (role === 'state') state.set(name, await device.allocate(type, 'state'));
    }
    using bound = await device.bind(executable, weights, state);
    const ints = (...values: number[]) => Int32Array.of(...values);
    const submit = (tokens: Int32Array, from: number) => {
      const positions = tokens.map((_, i) => from + i);
      const inputs = new Map<string, ArrayBufferView>(
        Object.entries({
          tokens,
          positions,
          slots: positions,
          sequence: new Int32Array(tokens.length),
          qStart: ints(0),
          qLen: ints(tokens.length),
          ctxLen: ints(from + tokens.length),
          blockTable: ints(0, 1, 2),
          logitRows: ints(tokens.length - 1),
          temperature: new Float32Array(1),
          topK: ints(0),
          topP: Float32Array.of(1),
          minP: new Float32Array(1),
          seed: new Uint32Array(2),
          drawPosition: ints(from + tokens.length),
          countRow: ints(0),
          penalties: Float32Array.of(1, 0, 0),
          biasRow: new Int32Array(limits.maxBias).fill(-1),
          biasToken: new Int32Array(limits.maxBias),
          biasValue: new Float32Array(limits.maxBias),
        }),
      );
      return device.submit(bound, inputs, { T: tokens.length, S: 1, R: 1 });
    };
    const idOf = async (ticket: Ticket) => {
      const ids = (await device.wait(ticket, Number.POSITIVE_INFINITY)).get('ids');
      assert.ok(ids !== undefined);
      return new Int32Array(ids.buffer, ids.byteOffset, 1)[0];
    };
    const prompt = ints(5, 9, 33, 12);
    // The second step is submitted before the first is waited for: steps overlap.
    const [one, two] = [submit(prompt, 0), submit(ints(-1), 4)];
    const [sampled, next] = [await idOf(one), await idOf(two)];
    await idOf(submit(prompt, 0));
    assert.equal(await idOf(submit(ints(sampled), 4)), next);
    assert.notEqual(await idOf(submit(ints((sampled + 1) % model.vocabularySize), 4)), next, 'the token matters');
    for (const buffer of [...weights.values(), ...state.values()]) buffer[Symbol.dispose]();
  });
}
