/** `best_of` of OpenAI's completions: more answers are made than wanted, and those are kept whose tokens are likeliest. */
import type { ChoiceEvent } from './generation.ts';

interface Answer {
  readonly events: ChoiceEvent['event'][];
  logprobs: number;
  tokens: number;
}

/** Of each `made` choices in a row the `kept` best ones, best first. What the others took is counted to the best. */
export async function* bestOf(
  events: AsyncIterable<ChoiceEvent>,
  made: number,
  kept: number,
): AsyncGenerator<ChoiceEvent, void, undefined> {
  const answers: Answer[] = [];
  for await (const { choice, event } of events) {
    answers[choice] ??= { events: [], logprobs: 0, tokens: 0 };
    const own = answers[choice];
    own.events.push(event);
    if (event.kind === 'end') continue;
    own.logprobs += event.logprob;
    own.tokens++;
  }
  const likelihood = ({ logprobs, tokens }: Answer) => (tokens === 0 ? Number.NEGATIVE_INFINITY : logprobs / tokens);
  for (let first = 0; first < answers.length; first += made) {
    // The sort is stable: equals stay in the order of their seeds.
    const ranked = answers.slice(first, first + made).sort((a, b) => likelihood(b) - likelihood(a) || 0);
    const others = ranked.slice(kept).reduce((sum, { tokens }) => sum + tokens, 0);
    for (const [rank, answer] of ranked.slice(0, kept).entries()) {
      const choice = (first / made) * kept + rank;
      for (const event of answer.events) {
        if (event.kind === 'token' || rank > 0) yield { choice, event };
        else {
          const { generatedTokens, ...statistics } = event.statistics;
          yield {
            choice,
            event: { ...event, statistics: { ...statistics, generatedTokens: generatedTokens + others } },
          };
        }
      }
    }
  }
}
