/** How many tokens a server makes of words, by what it says of two prompts. The requests warm it up, too. */
import { IngotError } from '../../base/errors.ts';
import type { Reply } from './client.ts';
import type { TokenRate, Words } from './words.ts';

const [few, many] = [4, 84];
/** Of no request's text. */
const seeds = [0xffffffff, 0xfffffffe] as const;

/** @throws IngotError 'Network' where the server does not answer or does not count. */
export async function calibrate(words: Words, ask: (prompt: string) => Promise<Reply>): Promise<TokenRate> {
  const count = async (prompt: string): Promise<number> => {
    const { promptTokens, error } = await ask(prompt);
    if (error !== undefined) throw new IngotError('Network', `the server does not answer: ${error}`);
    if (promptTokens > 0) return promptTokens;
    throw new IngotError(
      'Network',
      'the server does not say how many tokens a prompt has (stream_options.include_usage)',
    );
  };
  const [short, long] = [await count(words(seeds[0], few)), await count(words(seeds[1], many))];
  const perWord = Math.max(0.1, (long - short) / (many - few));
  return { perWord, fixed: Math.max(0, short - few * perWord) };
}
