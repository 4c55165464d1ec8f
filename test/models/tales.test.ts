/** The bundled model against what its makers computed from the same file with PyTorch: ids, chat format, logits, greedy text. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { StepLimits } from '../../src/composites/step.ts';
import type { Device } from '../../src/devices/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import type { DotNumerics } from '../../src/numerics/dot.ts';
import { renderChat } from '../../src/tokenizer/chat.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { devices } from '../conformance/devices.ts';
import { fixtures, repositoryPath } from '../fixtures.ts';

interface Golden {
  readonly sha256: string;
  readonly tokenizer: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly cases: readonly {
    readonly kind: 'raw' | 'chat';
    readonly prompt: string;
    readonly rendered: string;
    readonly ids: readonly number[];
    /** Positions count prompt and greedy ids; `top` holds [id, logit]. */
    readonly logits: readonly {
      readonly position: number;
      readonly max_abs: number;
      readonly top: readonly (readonly [number, number])[];
    }[];
    readonly greedy: readonly number[];
    /** How far the best logit leads at each step. */
    readonly margins: readonly number[];
    readonly text: string;
  }[];
}

const file = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
const golden: Golden = JSON.parse(readFileSync(join(fixtures('models'), 'tales.json'), 'utf8'));
const limits: StepLimits = {
  maxTokens: 128,
  maxSequences: 1,
  maxRows: 128,
  blockSize: 16,
  blockCount: 16,
  blocksPerSequence: 8,
  maxBias: 1,
};

async function openTokenizer() {
  await using checkpoint = await openCheckpoint(file);
  return loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata });
}

/** Rows of logits, one a token, for the ids of every case. */
async function logitsOfCases(create: () => Device, numerics: DotNumerics): Promise<Float32Array[][]> {
  await using checkpoint = await openCheckpoint(file);
  const opened = openModel(checkpoint);
  const model: Model = { ...opened, build: (options) => opened.build({ ...options, numerics }) };
  await using device = create();
  await using runner = await Runner.load(device, model, { limits, kv: 'f32' });
  const cases: Float32Array[][] = [];
  for (const { ids, greedy } of golden.cases) {
    const tokens = [...ids, ...greedy.slice(0, -1)];
    const blocks = new BlockManager(limits);
    const sequence: CachedSequence = { row: 0, tokens, computed: 0, blocks: [] };
    blocks.grow(sequence.blocks, tokens.length);
    const all = await runner.score({ sequence, start: 0, count: tokens.length, samples: false });
    const width = model.vocabularySize;
    cases.push(tokens.map((_, row) => all.slice(row * width, (row + 1) * width)));
  }
  return cases;
}

test('the goldens belong to this very file', () => {
  assert.equal(createHash('sha256').update(readFileSync(file)).digest('hex'), golden.sha256);
});

test('text becomes the ids of the original tokenizer, and comes back', async () => {
  const tokenizer = await openTokenizer();
  for (const { text, ids } of golden.tokenizer) {
    assert.deepEqual(tokenizer.encode(text, { addSpecial: false }), ids, JSON.stringify(text));
    assert.equal(tokenizer.decode(ids), text);
  }
});

test('the chat template writes what the model was trained on; system messages are left out', async () => {
  await using checkpoint = await openCheckpoint(file);
  const template = String(checkpoint.metadata.get('tokenizer.chat_template'));
  const tokenizer = await openTokenizer();
  const bosToken = tokenizer.tokenText(tokenizer.bos ?? -1);
  for (const { kind, prompt, rendered, ids } of golden.cases) {
    if (kind === 'raw') {
      assert.deepEqual(tokenizer.encode(prompt), ids);
      continue;
    }
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: ` ${prompt}\n` },
    ];
    const text = renderChat(template, messages, { addGenerationPrompt: true, bosToken });
    assert.equal(text, rendered);
    assert.deepEqual(tokenizer.encode(text, { addSpecial: false, parseSpecial: true }), ids);
  }
  const talk = [
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hello!' },
    { role: 'user', content: 'A story, please.' },
  ];
  assert.equal(
    renderChat(template, talk, { bosToken }),
    '<|begin|><|user|>Hello<|story|>Hello!<|end|><|user|>A story, please.',
  );
});

for (const [name, create] of Object.entries(devices)) {
  test(`f32 numerics: the logits and the greedy text that PyTorch computes, on ${name}`, async () => {
    const computed = await logitsOfCases(create, 'f32');
    for (const [i, { ids, logits, greedy, margins, prompt }] of golden.cases.entries()) {
      const rows = computed[i];
      for (const { position, max_abs, top } of logits) {
        for (const [id, value] of top) {
          const difference = Math.abs(rows[position][id] - value);
          assert.ok(difference <= 1e-4 * max_abs, `${prompt}: logit of ${id} at ${position} is off by ${difference}`);
        }
      }
      for (const [step, id] of greedy.entries()) {
        if (margins[step] < 1e-3) continue;
        const row = rows[ids.length - 1 + step];
        assert.equal(row.indexOf(Math.max(...row)), id, `${prompt}: greedy id ${step}`);
      }
    }
  });

  test(`i8 numerics stay near: each top logit within a twentieth of the largest, on ${name}`, async () => {
    const computed = await logitsOfCases(create, 'i8');
    for (const [i, { logits, prompt }] of golden.cases.entries()) {
      for (const { position, max_abs, top } of logits) {
        for (const [id, value] of top) {
          const difference = Math.abs(computed[i][position][id] - value);
          assert.ok(difference <= 0.05 * max_abs, `${prompt}: logit of ${id} at ${position} is off by ${difference}`);
        }
      }
    }
  });
}
