/**
 * Texts that no answer follows: what the model says of each of their tokens. They are computed between the steps of requests, in
 * blocks of the same cache.
 */
import { IngotError, type StopSignal, throwIfAborted } from '../base/errors.ts';
import type { BlockManager } from './blocks.ts';
import { logSumExp } from './logits.ts';
import type { Runner } from './runner.ts';
import type { CachedSequence, StepEntry } from './sequence.ts';
import type { Spill } from './spill.ts';
import { yieldToEvents } from './yield.ts';

/** Who else uses the blocks. */
interface Neighbours {
  /** Settles when they may have given some back; undefined where there are none. */
  room(): Promise<void> | undefined;
  /** Blocks were given back. */
  released(): void;
}

/** How a text is computed. */
interface TextWork {
  /** Tokens that need not be computed where they are known. */
  readonly known: number;
  /** Tokens of the step that begins with token `start`, at most. */
  most(start: number): number;
  work(entry: StepEntry<CachedSequence>): Promise<void>;
}

export class Texts {
  readonly #runner: Runner;
  readonly #blocks: BlockManager;
  readonly #vocabularySize: number;
  readonly #spill: Spill;
  readonly #neighbours: Neighbours;
  /** Blocks of the texts that are computed. */
  readonly tables = new Set<readonly number[]>();
  readonly #working = new Set<Promise<unknown>>();

  constructor(runner: Runner, blocks: BlockManager, vocabularySize: number, spill: Spill, neighbours: Neighbours) {
    this.#runner = runner;
    this.#blocks = blocks;
    this.#vocabularySize = vocabularySize;
    this.#spill = spill;
    this.#neighbours = neighbours;
  }

  /** Natural log-probabilities of the tokens from `first` on, each given all before it. */
  async score(ids: readonly number[], first: number, stop: StopSignal): Promise<Float64Array> {
    const logprobs = new Float64Array(Math.max(0, ids.length - first));
    await this.#eachRow(ids, first, stop, (row, token) => {
      logprobs[token - first] = row[ids[token]] - logSumExp(row);
    });
    return logprobs;
  }

  /** The logits that `score` is computed from, a row a token. */
  async logits(ids: readonly number[], first: number, stop: StopSignal): Promise<Float32Array> {
    const rows = new Float32Array(Math.max(0, ids.length - first) * this.#vocabularySize);
    await this.#eachRow(ids, first, stop, (row, token) => rows.set(row, (token - first) * this.#vocabularySize));
    return rows;
  }

  /** Settles when nothing is computed. */
  async settled(): Promise<void> {
    await Promise.all(this.#working);
  }

  /** What the model says before each token from `first` on. Tokens before them are computed in larger steps. */
  #eachRow(
    ids: readonly number[],
    first: number,
    stop: StopSignal,
    visit: (row: Float32Array, token: number) => void,
  ): Promise<void> {
    if (!Number.isInteger(first) || first < 1) {
      throw new IngotError('InvalidArgument', `the first token to score is ${first}; it must be from 1`);
    }
    const { maxTokens, maxRows } = this.#runner.limits;
    const wanted = (start: number) => start >= first - 1;
    const size = this.#vocabularySize;
    return this.#compute(ids.slice(0, -1), stop, {
      known: first - 1,
      most: (start) => (wanted(start) ? maxRows : Math.min(maxTokens, first - 1 - start)),
      work: async (entry) => {
        const { start, count } = entry;
        const logits = await this.#runner.score(entry, stop, wanted(start));
        for (let i = 0; wanted(start) && i < count; i++)
          visit(logits.subarray(i * size, (i + 1) * size), start + i + 1);
      },
    });
  }

  #compute(ids: readonly number[], stop: StopSignal, options: TextWork): Promise<void> {
    const work = this.#run(ids, stop, options).finally(() => this.#working.delete(settled));
    const settled = work.catch(() => {});
    this.#working.add(settled);
    return work;
  }

  async #run(ids: readonly number[], stop: StopSignal, { known, most, work }: TextWork): Promise<void> {
    const sequence = { tokens: [...ids], computed: 0, blocks: [] as number[], row: undefined };
    const { blocks } = sequence;
    sequence.computed = this.#blocks.reuse(blocks, ids, known, '');
    this.tables.add(blocks);
    try {
      while (sequence.computed < ids.length) {
        await yieldToEvents();
        throwIfAborted(stop);
        const start = sequence.computed;
        const count = Math.min(most(start), ids.length - start);
        this.#blocks.advance(blocks, start);
        while (!this.#blocks.fits(blocks, start + count)) {
          const room = this.#neighbours.room();
          // Nobody will give any back: `grow` says so.
          if (room === undefined) break;
          await room;
          throwIfAborted(stop);
        }
        this.#blocks.grow(blocks, start + count);
        await this.#spill.flush();
        const windowTables = this.#blocks.windowTables(blocks);
        await work({ sequence, start, count, samples: false, windowTables });
        sequence.computed += count;
        if (known > 0) this.#blocks.publish(blocks, ids, sequence.computed, '');
      }
    } finally {
      this.tables.delete(blocks);
      this.#blocks.release(blocks);
      this.#neighbours.released();
    }
  }
}
