/**
 * Texts of about so many tokens, for servers whose vocabulary nobody here knows: how many tokens a word takes is asked of the server
 * once (`calibrate.ts`). Words are drawn, or stretches of a text; the same seed is the same text, so beginnings can be shared.
 */
import { seededRandom } from './random.ts';
import type { Part } from './workload.ts';

/** A prompt of w words has `fixed` + `perWord` * w tokens. */
export interface TokenRate {
  readonly fixed: number;
  readonly perWord: number;
}

/** So many words of a seed. */
export type Words = (seed: number, count: number) => string;

const consonants = 'bcdfghjklmnprstvw';
const vowels = 'aeiou';

/** Words of four letters that no language has: much alike in how many tokens each takes. */
export const drawnWords: Words = (seed, count) => {
  const random = seededRandom(seed);
  const pick = (letters: string) => letters[Math.floor(random() * letters.length)];
  const word = () => pick(consonants) + pick(vowels) + pick(consonants) + pick(vowels);
  return Array.from({ length: count }, word).join(' ');
};

/** Stretches of a text, which begin anywhere and go on at its beginning where it ends. */
export function wordsOf(text: string): Words {
  const words = text.split(/\s+/).filter((one) => one !== '');
  if (words.length === 0) return drawnWords;
  return (seed, count) => {
    const start = Math.floor(seededRandom(seed)() * words.length);
    return Array.from({ length: count }, (_, i) => words[(start + i) % words.length]).join(' ');
  };
}

/** The text of a prompt. What it shares with others is at its beginning, whatever follows. */
export function promptText(parts: readonly Part[], words: Words, { fixed, perWord }: TokenRate): string {
  let before = -fixed;
  let written = 0;
  return parts
    .map(({ seed, tokens }) => {
      before += tokens;
      const count = Math.max(1, Math.round(before / perWord) - written);
      written += count;
      return words(seed, count);
    })
    .join(' ');
}
