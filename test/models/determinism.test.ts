/**
 * The promise of numerics `i8`: logits and sampled ids keep their bits however prompts are cut into steps, whatever shares the steps, for
 * every number of threads and every instruction set. Of the bundled model, of a mixture of experts and of latent attention in both forms.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StepLimits } from '../../src/composites/step.ts';
import type { InstructionSet } from '../../src/devices/cpu/target.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { SamplingParameters } from '../../src/engine/sampling.ts';
import { greedy } from '../../src/engine/sampling.ts';
import type { CachedSequence, StepEntry } from '../../src/engine/sequence.ts';
import type { Checkpoint } from '../../src/formats/checkpoint.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import type { KvFormat } from '../../src/numerics/kv-format.ts';
import { cpuSets, noCpu, openCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { generator, integer } from '../unit/composites-harness.ts';
import { inBlocks, inFormat } from './in-format.ts';

const limits: StepLimits = {
  ...{ maxTokens: 320, maxSequences: 4, maxRows: 4, blockSize: 16 },
  ...{ blockCount: 60, blocksPerSequence: 20, maxBias: 4 },
};
/** Of the prompts; the first reaches into the second partition of attention. */
const lengths = [290, 70, 16, 1];

const sampling: readonly SamplingParameters[] = [
  { ...greedy, temperature: 0.9, topK: 40, topP: 0.95, seed: 11n },
  { ...greedy, temperature: 1.3, minP: 0.02, seed: 12n },
  { ...greedy, temperature: 0.7, topP: 0.8, repetitionPenalty: 1.2, seed: 13n },
  greedy,
];

/** What the last token of a prompt gives. */
interface Outcome {
  readonly id: number;
  readonly logits: Uint8Array;
}

class Session {
  readonly #runner: Runner;
  readonly #prompts: readonly (readonly number[])[];

  constructor(runner: Runner, prompts: readonly (readonly number[])[]) {
    this.#runner = runner;
    this.#prompts = prompts;
  }

  /** `cut(left)` of what is left of each prompt goes into the next step, in the order that `order` makes. */
  async run(
    which: readonly number[],
    cut: (left: number) => number,
    order: (entries: StepEntry<CachedSequence>[]) => StepEntry<CachedSequence>[],
  ): Promise<ReadonlyMap<number, Outcome>> {
    const manager = new BlockManager(limits);
    const outcomes = new Map<number, Outcome>();
    const sequences = new Map<CachedSequence, number>();
    for (const i of which) {
      const tokens = [...(this.#prompts[i] as readonly number[])];
      const sequence: CachedSequence = { row: i, tokens, computed: 0, blocks: [] };
      this.#runner.begin(i, tokens);
      sequences.set(sequence, i);
    }
    for (;;) {
      let room = limits.maxTokens;
      const entries = [...sequences.keys()].flatMap((sequence): StepEntry<CachedSequence>[] => {
        const { tokens, computed } = sequence;
        const left = tokens.length - computed;
        const count = Math.min(cut(left), left, room);
        if (count === 0) return [];
        room -= count;
        manager.grow(sequence.blocks, computed + count);
        return [{ sequence, start: computed, count, samples: count === left }];
      });
      if (entries.length === 0 && [...sequences.keys()].every(({ tokens, computed }) => computed === tokens.length))
        break;
      if (entries.length === 0) continue;
      const step = order(entries);
      const indices = step.map(({ sequence }) => sequences.get(sequence) ?? assert.fail());
      const asked = indices.map((i) => sampling[i] ?? assert.fail());
      const result = await (await this.#runner.submit(step, asked, true)).result();
      let row = 0;
      for (const [at, { sequence, count, samples }] of step.entries()) {
        sequence.computed += count;
        if (!samples) continue;
        const width = (result.logits?.length ?? 0) / result.ids.length;
        const logits = result.logits?.slice(row * width, (row + 1) * width) ?? assert.fail();
        outcomes.set(indices[at] ?? assert.fail(), {
          id: result.ids[row] ?? assert.fail(),
          logits: new Uint8Array(logits.buffer),
        });
        row++;
      }
    }
    return outcomes;
  }
}

async function withSession<T>(
  model: Model,
  threads: number,
  set: InstructionSet,
  kv: KvFormat,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  await using device = openCpu(threads, { instructionSet: set });
  await using runner = await Runner.load(device, model, { limits, kv });
  const random = generator(3);
  const prompts = lengths.map((length) => Array.from({ length }, () => integer(random, model.vocabularySize)));
  return await work(new Session(runner, prompts));
}

function assertSame(actual: ReadonlyMap<number, Outcome>, expected: ReadonlyMap<number, Outcome>, what: string): void {
  for (const [i, { id, logits }] of actual) {
    const other = expected.get(i) ?? assert.fail();
    assert.ok(Buffer.from(logits).equals(other.logits), `${what}: logits of prompt ${i}`);
    assert.equal(id, other.id, `${what}: id of prompt ${i}`);
  }
}

interface Case {
  readonly name: string;
  readonly kv: KvFormat;
  /** On each number of threads. */
  readonly splits: number;
  open(): Promise<Checkpoint>;
}

const bundled = {
  name: 'the bundled model',
  open: () => openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf')),
};
const cases: readonly Case[] = [
  ...(['f32', 'bf16', 'int8', 'int4'] as const).map((kv) => ({ ...bundled, kv, splits: 50 })),
  ...inBlocks.map(
    ({ name, form, format, open }): Case => ({
      ...{ name: `${name}${form} in ${format}`, kv: 'f32', splits: 10 },
      async open() {
        await using checkpoint = await open();
        return await inFormat(checkpoint, format);
      },
    }),
  ),
];

for (const { name, kv, splits, open } of cases) {
  test(`${name}: prompts cut at random, in any company, on one and two threads, with keys and values in ${kv}: the same bits`, {
    skip: noCpu ?? false,
  }, async () => {
    await using checkpoint = await open();
    const model = openModel(checkpoint);
    const expected = new Map<number, Outcome>();
    for (const [index, set] of cpuSets.entries()) {
      for (const threads of [1, 2]) {
        await withSession(model, threads, set, kv, async (session) => {
          // On the first of them, each prompt at once and alone.
          for (const i of expected.size === 0 ? lengths.keys() : []) {
            for (const [key, outcome] of await session.run(
              [i],
              (left) => left,
              (entries) => entries,
            ))
              expected.set(key, outcome);
          }
          const random = generator(100 * index + threads);
          for (let split = 0; split < splits; split++) {
            const which = [...lengths.keys()].filter((i) => i === split % lengths.length || random() < 0.6);
            const largest = [3, 20, 60, 150][integer(random, 4)] ?? assert.fail();
            const cut = (left: number) => Math.min(left, integer(random, left < largest ? left + 1 : largest + 1));
            const order = (entries: StepEntry<CachedSequence>[]) => entries.sort(() => random() - 0.5);
            assertSame(await session.run(which, cut, order), expected, `${set}, ${threads} threads, split ${split}`);
          }
        });
      }
    }
    assert.ok(new Set([...expected.values()].map(({ id }) => id)).size > 1);
  });
}
