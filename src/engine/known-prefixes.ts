/**
 * What prompts an engine was given, as far as it may still know them, kept by whoever chooses among engines: approximate, and cheap. As SGLang's
 * router does (https://github.com/sgl-project/sglang, "cache-aware"), it looks at prompts as they are asked, before any tokenizer:
 * a prompt is a chain of pieces, each of which stands for all before it, too.
 */
import type { Prompt } from './engine.ts';

/** Tokens of a piece; a token of a text is about four characters. */
export const pieceTokens = 16;
const pieceCharacters = 4 * pieceTokens;

/** A number for each whole piece of a prompt. Those that are not shared between `owner`s differ. */
export function chainOf(prompt: Prompt, owner: string): readonly number[] {
  let [a, b] = [0x9e3779b9, 0x85ebca6b];
  const take = (unit: number) => {
    a = Math.imul(a ^ unit, 0x9e3779b1);
    a ^= a >>> 15;
    b = Math.imul(b ^ unit, 0x85ebca77);
    b ^= b >>> 13;
  };
  for (let i = 0; i < owner.length; i++) take(owner.charCodeAt(i));
  const chain: number[] = [];
  const each = (length: number, size: number, unitAt: (i: number) => number) => {
    for (let i = 0; i < length; i++) {
      take(unitAt(i));
      // 53 bits of the state: two prompts that are taken for one another cost the better choice and nothing else.
      if (i % size === size - 1) chain.push((a >>> 0) * 2 ** 21 + (b >>> 11));
    }
    return chain;
  };
  if (typeof prompt === 'object' && !('messages' in prompt)) return each(prompt.length, pieceTokens, (i) => prompt[i]);
  const text = typeof prompt === 'string' ? prompt : textOf(prompt);
  return each(text.length, pieceCharacters, (i) => text.charCodeAt(i));
}

/** What somebody asks who goes on after an answer. */
export function continued(prompt: Prompt, ids: readonly number[], text: string): Prompt {
  if (typeof prompt === 'string') return prompt + text;
  if (!('messages' in prompt)) return [...prompt, ...ids];
  return { ...prompt, messages: [...prompt.messages, { role: 'assistant', content: text }] };
}

/** Conversations begin alike where their messages do: what templates put before these comes first. */
function textOf({ messages, ...others }: Exclude<Prompt, string | readonly number[]>): string {
  return JSON.stringify(others) + messages.map((message) => JSON.stringify(message)).join('');
}

export class KnownPrefixes {
  readonly #most: number;
  /** Pieces, the least recently used first. */
  readonly #pieces = new Set<number>();

  /** @param tokens of the engine's cache. */
  constructor(tokens: number) {
    this.#most = Math.ceil(tokens / pieceTokens);
  }

  /** Tokens at the beginning of a prompt that were in one before. */
  known(chain: readonly number[]): number {
    const first = chain.findIndex((piece) => !this.#pieces.has(piece));
    return pieceTokens * (first < 0 ? chain.length : first);
  }

  /** The engine gets to know a prompt. As in its cache, the end of it is forgotten before the beginning. */
  add(chain: readonly number[]): void {
    for (const piece of chain.toReversed()) {
      this.#pieces.delete(piece);
      this.#pieces.add(piece);
    }
    for (const piece of this.#pieces) {
      if (this.#pieces.size <= this.#most) break;
      this.#pieces.delete(piece);
    }
  }
}
