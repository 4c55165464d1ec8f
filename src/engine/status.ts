/** What several engines do, and have done, as if they were one. */
import type { EngineStatus, EngineTotals } from './engine.ts';

export const noTotals: EngineTotals = {
  ...{ steps: 0, stepSeconds: 0, stepRequests: 0, stepTokens: 0, operations: 0, bytes: 0 },
  ...{ promptTokens: 0, reusedTokens: 0, prefixHits: 0, generatedTokens: 0, preemptions: 0 },
  ...{ evictedTokens: 0, storedTokens: 0, fetchedTokens: 0 },
};

/** Steps of several are measured against no machine: each has a part of it. */
export function addedStatus(statuses: readonly EngineStatus[]): EngineStatus {
  const sum = (of: (status: EngineStatus) => number) => statuses.reduce((all, one) => all + of(one), 0);
  return {
    running: sum(({ running }) => running),
    waiting: sum(({ waiting }) => waiting),
    cache: {
      capacity: sum(({ cache }) => cache.capacity),
      used: sum(({ cache }) => cache.used),
      known: sum(({ cache }) => cache.known),
      stored: sum(({ cache }) => cache.stored),
    },
    totals: addedTotals(statuses.map(({ totals }) => totals)),
    memory: {
      weights: sum(({ memory }) => memory.weights),
      state: sum(({ memory }) => memory.state),
      scratch: sum(({ memory }) => memory.scratch),
      javascript: sum(({ memory }) => memory.javascript),
    },
    machine: statuses.length === 1 ? statuses[0].machine : undefined,
  };
}

export function addedTotals(all: readonly EngineTotals[]): EngineTotals {
  const names = Object.keys(noTotals) as (keyof EngineTotals)[];
  const sums = names.map((name) => [name, all.reduce((sum, totals) => sum + totals[name], 0)]);
  return Object.fromEntries(sums) as unknown as EngineTotals;
}
