/** Embeds texts. Those that are asked for at the same time share steps, as many as fit. */
import { IngotError, type StopSignal } from '../base/errors.ts';
import type { BlockManager } from './blocks.ts';
import type { Runner } from './runner.ts';
import type { CachedSequence, StepEntry } from './sequence.ts';
import { yieldToEvents } from './yield.ts';

interface Text {
  readonly sequence: CachedSequence;
  readonly stop: StopSignal;
  readonly settle: (outcome: Float32Array | { readonly error: unknown }) => void;
}

/** Told of each step that is over. */
type OnStep = (entries: readonly StepEntry<CachedSequence>[], seconds: number) => void;

export class Embedder {
  readonly #runner: Runner;
  readonly #blocks: BlockManager;
  /** All tokens of a text have to be in one step. */
  readonly #wholeTexts: boolean;
  readonly #onStep: OnStep;
  /** Those that have not ended, the first that came first. */
  readonly #texts: Text[] = [];
  /** Blocks of the texts that are computed. */
  readonly tables = new Set<readonly number[]>();
  #working: Promise<void> | undefined;

  constructor(runner: Runner, blocks: BlockManager, wholeTexts: boolean, onStep: OnStep) {
    this.#runner = runner;
    this.#blocks = blocks;
    this.#wholeTexts = wholeTexts;
    this.#onStep = onStep;
  }

  /** @throws IngotError 'OutOfMemory', 'Aborted', and whatever the device says. */
  embed(ids: readonly number[], stop: StopSignal): Promise<Float32Array> {
    const embedding = new Promise<Float32Array>((resolve, reject) => {
      const sequence = { tokens: [...ids], computed: 0, blocks: [] as number[], row: undefined };
      const settle: Text['settle'] = (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome));
      this.#texts.push({ sequence, stop, settle });
    });
    this.#stir();
    return embedding;
  }

  #stir(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
      // Whoever came while the work ended.
      if (this.#texts.length > 0) this.#stir();
    });
  }

  /** Settles when nothing is computed. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#texts.length > 0) {
      // Whoever asks meanwhile is in the same step.
      await yieldToEvents();
      for (const text of this.#texts.filter(({ stop }) => stop.aborted)) {
        const cause = text.stop.reason;
        this.#end(text, { error: new IngotError('Aborted', 'the work was cancelled', { cause }) });
      }
      const [first] = this.#texts;
      if (first === undefined) return;
      const step: { readonly text: Text; readonly entry: StepEntry<CachedSequence> }[] = [];
      try {
        for (const { text, count } of this.#plan()) {
          this.tables.add(text.sequence.blocks);
          this.#blocks.grow(text.sequence.blocks, text.sequence.computed + count);
          const entry = { sequence: text.sequence, start: text.sequence.computed, count, samples: false };
          step.push({ text, entry });
        }
        await this.#compute(step);
      } catch (error) {
        // The step failed for all that were in it; one that never got in is the first, which nothing keeps out.
        for (const { text } of step.length > 0 ? step : [{ text: first }]) this.#end(text, { error });
      }
    }
  }

  /** The first always; others as far as there is room. */
  #plan(): readonly { readonly text: Text; readonly count: number }[] {
    const { maxTokens, maxSequences } = this.#runner.limits;
    const planned: { text: Text; count: number }[] = [];
    let [tokens, blocks] = [0, 0];
    for (const text of this.#texts.slice(0, maxSequences)) {
      const { sequence } = text;
      const left = sequence.tokens.length - sequence.computed;
      const count = Math.min(left, maxTokens - tokens);
      const missing = this.#blocks.missing(sequence.blocks, sequence.computed + count);
      const fits = count > 0 && (count === left || !this.#wholeTexts) && blocks + missing <= this.#blocks.freeBlocks;
      if (!fits && planned.length > 0) break;
      planned.push({ text, count });
      tokens += count;
      blocks += missing;
    }
    return planned;
  }

  async #compute(step: readonly { readonly text: Text; readonly entry: StepEntry<CachedSequence> }[]): Promise<void> {
    const signal: StopSignal = {
      get aborted() {
        return step.every(({ text }) => text.stop.aborted);
      },
    };
    const entries = step.map(({ entry }) => entry);
    const submitted = performance.now();
    const embeddings = await this.#runner.embed(entries, signal);
    this.#onStep(entries, (performance.now() - submitted) / 1000);
    const size = embeddings.length / step.length;
    for (const [i, { text, entry }] of step.entries()) {
      text.sequence.computed += entry.count;
      const isDone = text.sequence.computed === text.sequence.tokens.length;
      if (isDone) this.#end(text, embeddings.slice(i * size, (i + 1) * size));
    }
  }

  #end(text: Text, outcome: Float32Array | { readonly error: unknown }): void {
    this.#texts.splice(this.#texts.indexOf(text), 1);
    this.tables.delete(text.sequence.blocks);
    this.#blocks.release(text.sequence.blocks);
    text.settle(outcome);
  }
}
