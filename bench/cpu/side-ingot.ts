/** Ingot's side: an engine as `ingot bench` opens it. The settings are the first argument, in JSON. */
import { type TimedWork, timeAnswers, timePrompt } from '../../src/cli/bench-work.ts';
import { randomTokens } from '../../src/cli/random-tokens.ts';
import { type OpenOptions, openEngine } from '../../src/engine/open-node.ts';
import type { Work } from '../llama-work.ts';
import { peakBytes } from '../peak.ts';
import { answerWork } from './side.ts';

export type IngotSettings = OpenOptions & { readonly path: string };

answerWork(async () => {
  const { path, ...options } = JSON.parse(process.argv[2]) as IngotSettings;
  const engine = await openEngine(path, options);
  let prompts = 0;
  const time = (work: Work): Promise<TimedWork> => {
    const request = (length: number, maxTokens: number, cacheOwner: string) => ({
      prompt: randomTokens(length, engine.model.vocabularySize),
      maxTokens,
      ignoreEnd: true,
      cacheOwner,
    });
    // Prompts that are measured share nothing with those before; those that answers stand behind are known from the second time on.
    if (work.kind === 'prefill') return timePrompt(engine, request(work.tokens, 1, `prompt ${prompts++}`));
    const answers = Array.from({ length: work.sequences }, (_, i) =>
      request(Math.max(work.depth, 1), work.tokens + 1, `answer ${i}`),
    );
    return timeAnswers(engine, answers, work.tokens);
  };
  return async (work) => ({ ...(await time(work)), peakBytes: peakBytes() });
});
