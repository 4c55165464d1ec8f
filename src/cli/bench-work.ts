/** The work that benchmarks time: prompts until their first token, and tokens of requests that run together. */
import { IngotError } from '../base/errors.ts';
import type { Engine, EngineStatus, GenerateRequest } from '../engine/engine.ts';
import type { Statistics } from '../engine/statistics.ts';

/** How long work took, and what it asked of the machine at least (engine/step-work.ts). */
export interface TimedWork {
  readonly seconds: number;
  readonly operations: number;
  readonly bytes: number;
}

/** A prompt until its first token. */
export async function timePrompt(engine: Engine, request: GenerateRequest): Promise<TimedWork> {
  const before = await engine.status();
  const { ttftSeconds = 0 } = await statisticsOf(engine, request);
  const { operations, bytes } = workBetween(before, await engine.status());
  return { seconds: ttftSeconds, operations, bytes };
}

/** 'tg128', 'tg128@d4096', 'tg128@b16': of `n` tokens after `d`, of `b` sequences at once. */
export function decodeName({ n, d, b }: { readonly n: number; readonly d: number; readonly b: number }): string {
  const at = [...(d > 0 ? [`d${d}`] : []), ...(b > 1 ? [`b${b}`] : [])].map((part) => `@${part}`);
  return `tg${n}${at.join('')}`;
}

/** `n` tokens of every request while all of them run. */
export async function timeAnswers(engine: Engine, requests: readonly GenerateRequest[], n: number): Promise<TimedWork> {
  let begun = 0;
  const first = await engine.status();
  let before: Promise<EngineStatus> | undefined;
  const times = await Promise.all(
    requests.map(async (request) => {
      const own: number[] = [];
      await statisticsOf(engine, request, () => {
        own.push(performance.now());
        if (own.length === 1 && ++begun === requests.length) before = engine.status();
      });
      return own;
    }),
  );
  const from = Math.max(...times.map(([time]) => time));
  const to = Math.min(...times.map((own) => own[own.length - 1]));
  const tokens = times.flat().filter((time) => time > from && time <= to).length;
  const seconds = (((to - from) / 1000) * requests.length * n) / tokens;
  const after = await engine.status();
  // Steps that were told of late are as large as the others; where all were over by then, those of prompts have to do.
  const told = (await before) ?? first;
  const { steps, operations, bytes } = workBetween(told.totals.steps < after.totals.steps ? told : first, after);
  return { seconds, operations: (operations * n) / steps, bytes: (bytes * n) / steps };
}

function workBetween({ totals: before }: EngineStatus, { totals: after }: EngineStatus) {
  return {
    steps: after.steps - before.steps,
    operations: after.operations - before.operations,
    bytes: after.bytes - before.bytes,
  };
}

async function statisticsOf(
  engine: Engine,
  request: GenerateRequest,
  onToken: () => void = () => {},
): Promise<Statistics> {
  for await (const event of engine.generate(request)) {
    if (event.kind === 'token') onToken();
    if (event.kind !== 'end') continue;
    if (event.reason === 'aborted') throw new IngotError('Aborted', 'the measurement was interrupted');
    return event.statistics;
  }
  throw new IngotError('DeviceFault', 'the generation ended without saying why');
}
