/** What is measured of llama.cpp: a prompt, and tokens of several sequences after prompts of a length. Nothing is sampled. */
import { type ContextSize, type LlamaCpp, openLlamaCpp } from './llama-cpp.ts';

/** A prompt of so many tokens until its logits are there; or so many tokens of each sequence, behind a prompt. */
export type Work =
  | { readonly kind: 'prefill'; readonly tokens: number }
  | { readonly kind: 'decode'; readonly tokens: number; readonly depth: number; readonly sequences: number };

/** Tokens of context of all sequences together, and of one of them. */
export function contextOf(work: Work): { readonly all: number; readonly each: number } {
  if (work.kind === 'prefill') return { all: work.tokens + 1, each: work.tokens + 1 };
  const each = Math.max(work.depth, 1) + work.tokens + 1;
  return { all: each * work.sequences, each };
}

export class LlamaWork {
  readonly #llama: LlamaCpp;
  readonly #batch: number;
  /** Tokens of the prompt that stands in each sequence. */
  #depth = 0;

  constructor(folder: string, path: string, size: Omit<ContextSize, 'batch'>) {
    this.#batch = Math.max(512, size.sequences);
    this.#llama = openLlamaCpp(folder, path, { ...size, batch: this.#batch });
  }

  /** Seconds that the work takes. Prompts that are there already are not computed again before tokens are decoded. */
  seconds(work: Work): number {
    const timed = (run: () => void) => {
      const start = performance.now();
      run();
      return (performance.now() - start) / 1000;
    };
    if (work.kind === 'prefill') {
      this.#llama.clear();
      this.#depth = 0;
      return timed(() => this.#prompt(work.tokens, 0));
    }
    const depth = Math.max(work.depth, 1);
    if (this.#depth !== depth) {
      this.#llama.clear();
      for (let sequence = 0; sequence < work.sequences; sequence++) this.#prompt(depth, sequence);
      this.#depth = depth;
    }
    const seconds = timed(() => {
      for (let i = 0; i < work.tokens; i++) this.#decode(depth + i, work.sequences);
    });
    for (let sequence = 0; sequence < work.sequences; sequence++) this.#llama.forget(sequence, depth);
    return seconds;
  }

  #id(i: number): number {
    return 100 + ((i * 7919) % (this.#llama.vocabularySize - 200));
  }

  #prompt(tokens: number, sequence: number): void {
    for (let start = 0; start < tokens; start += this.#batch) {
      const count = Math.min(this.#batch, tokens - start);
      this.#llama.decode(
        Array.from({ length: count }, (_, i) => ({
          id: this.#id(start + i + 31 * sequence),
          position: start + i,
          sequence,
          wantsLogits: start + i === tokens - 1,
        })),
      );
    }
    this.#llama.logits((tokens - 1) % this.#batch);
  }

  /** One token of each sequence. */
  #decode(position: number, sequences: number): void {
    this.#llama.decode(
      Array.from({ length: sequences }, (_, sequence) => ({
        id: this.#id(position + 31 * sequence),
        position,
        sequence,
        wantsLogits: true,
      })),
    );
    this.#llama.logits(sequences - 1);
  }
}
