/** What tokens stand for, asked of the engine once each. */
import type { Engine, TokenText } from '../engine/engine.ts';

export class TokenTexts {
  readonly #engine: Engine;
  readonly #known = new Map<number, TokenText>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  readonly of = async (ids: readonly number[]): Promise<readonly TokenText[]> => {
    const missing = ids.filter((id) => !this.#known.has(id));
    if (missing.length > 0) {
      const texts = await this.#engine.tokenTexts(missing);
      for (const [i, id] of missing.entries()) this.#known.set(id, texts[i]);
    }
    return ids.map((id) => this.#known.get(id) ?? { text: '', bytes: new Uint8Array() });
  };
}
