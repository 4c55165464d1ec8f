/** Finds stop strings in streamed text and holds back what may yet become one, so that no part of one is ever shown. */
import { overlap } from '../tokenizer/answers/incoming.ts';

export interface StopResult {
  /** Text that is safe to show. */
  readonly text: string;
  /** The stop string that was found; it and what followed it are dropped. */
  readonly stopped?: string;
}

export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';

  /** Empty strings are ignored. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop.length > 0);
  }

  push(text: string): StopResult {
    this.#held += text;
    let found: { at: number; stop: string } | undefined;
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop);
      if (at >= 0 && (found === undefined || at < found.at)) found = { at, stop };
    }
    if (found !== undefined) {
      const shown = this.#held.slice(0, found.at);
      this.#held = '';
      return { text: shown, stopped: found.stop };
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => overlap(this.#held, stop)));
    const shown = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(shown.length);
    return { text: shown };
  }

  /** What was held back, when the text ended without a stop string. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}
