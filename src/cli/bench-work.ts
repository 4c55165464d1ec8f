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
export async function timeAnswers(
  engine: Pick<Engine, 'generate' | 'status'>,
  requests: readonly GenerateRequest[],
  n: number,
): Promise<TimedWork> {
  let begun = 0;
  const first = await engine.status();
  let before: Promise<EngineStatus> | undefined;
  const answers = await Promise.all(
    requests.map(async (request) => {
      const times: number[] = [];
      const { tbotSeconds } = await statisticsOf(engine, request, () => {
        times.push(performance.now());
        if (times.length === 1 && ++begun === requests.length) before = engine.status();
      });
      return { times, tbotSeconds };
    }),
  );
  const after = await engine.status();
  // Steps that were told of late are as large as the others; where all were over by then, those of prompts have to do.
  const told = (await before) ?? first;
  const { steps, stepSeconds, ...work } = workBetween(told.totals.steps < after.totals.steps ? told : first, after);
  const [{ tbotSeconds }, ...others] = answers;
  const seconds =
    others.length === 0 && tbotSeconds !== undefined
      ? n * tbotSeconds
      : // Tokens of several milliseconds come together: the steps that made them took as long as they did.
        Math.max((n * stepSeconds) / steps, n * secondsTogether(answers.map(({ times }) => times)));
  return { seconds, operations: (work.operations * n) / steps, bytes: (work.bytes * n) / steps };
}

/** Between two tokens of each of some requests while all of them run, by when tokens came; 0 where they came at once. */
function secondsTogether(times: readonly (readonly number[])[]): number {
  const from = Math.max(...times.map(([time]) => time));
  const to = Math.min(...times.map((own) => own[own.length - 1]));
  const tokens = times.flat().filter((time) => time > from && time <= to).length;
  return tokens === 0 ? 0 : ((to - from) / 1000) * (times.length / tokens);
}

function workBetween({ totals: before }: EngineStatus, { totals: after }: EngineStatus) {
  return {
    steps: after.steps - before.steps,
    stepSeconds: after.stepSeconds - before.stepSeconds,
    operations: after.operations - before.operations,
    bytes: after.bytes - before.bytes,
  };
}

async function statisticsOf(
  engine: Pick<Engine, 'generate'>,
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
