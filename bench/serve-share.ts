/**
 * What a server takes of its machine besides computing, under streams that never end: `node dist/bench/serve-share.js MODEL [--streams N]
 * [--seconds N] [--every N]`. It starts `ingot serve`; every so many seconds it says what each kind of thread has had of the processors since,
 * in milliseconds a step (proc(5), `schedstat`; Linux): those that compute, the main thread, which does HTTP, and the others: the engine's
 * own, which plans and samples, and V8's, which compile and collect.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { randomTokens } from '../src/cli/random-tokens.ts';
import { formatTable } from '../src/cli/report.ts';
import { post, readMetrics, startServer } from '../test/system/serve-harness.ts';

interface ShareOptions {
  readonly streams: number;
  readonly seconds: number;
  readonly every: number;
  readonly prompt: number;
  readonly answer: number;
}

/** Every vocabulary has so many. */
const vocabulary = 1000;

/** Milliseconds of a processor that each thread of a process has had. */
function threadTimes(pid: number): ReadonlyMap<string, number> {
  const folder = `/proc/${pid}/task`;
  return new Map(
    readdirSync(folder).map((id) => {
      const [ran] = readFileSync(`${folder}/${id}/schedstat`, 'utf8').split(' ');
      return [id, Number(ran) / 1e6];
    }),
  );
}

async function measure(model: string, { streams, seconds, every, prompt, answer }: ShareOptions): Promise<void> {
  const cores = availableParallelism();
  const limits = `--sequences ${streams} --context ${prompt + answer}`.split(' ');
  const env = { XDG_CACHE_HOME: process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache') };
  await using server = await startServer({ folder: tmpdir(), env }, resolve(model), ...limits);
  const { pid = 0 } = server.child;
  const end = performance.now() + 1000 * seconds;
  const stopped = new AbortController();
  const body = () => ({ prompt: randomTokens(prompt, vocabulary), max_tokens: answer, ignore_eos: true, stream: true });
  const stream = async () => {
    while (!stopped.signal.aborted) {
      const response = await post(server.url, '/v1/completions', body(), { signal: stopped.signal });
      for await (const _ of response.body ?? []);
    }
  };
  const look = async () => {
    const read = await readMetrics(server.url);
    return {
      at: performance.now(),
      steps: read('ingot_steps_total'),
      requests: read('ingot_step_requests_total'),
      threads: threadTimes(pid),
    };
  };
  const running = Array.from({ length: streams }, () => stream().catch(() => {}));
  const rows = [['seconds', 'steps', 'requests', 'ms a step', 'computing', 'main', 'others', 'not computing']];
  const begin = performance.now();
  for (let last = await look(); performance.now() < end; ) {
    await sleep(1000 * every);
    const now = await look();
    const steps = now.steps - last.steps;
    const took = (id: string) => ((now.threads.get(id) ?? 0) - (last.threads.get(id) ?? 0)) / steps;
    const [main, ...others] = [...now.threads.keys()].sort(
      (a, b) => Number(b === String(pid)) - Number(a === String(pid)),
    );
    const busiest = others.map(took).sort((a, b) => b - a);
    const sum = (times: readonly number[]) => times.reduce((total, time) => total + time, 0);
    const step = (now.at - last.at) / steps;
    const [computing, rest] = [sum(busiest.slice(0, cores)), sum(busiest.slice(cores))];
    rows.push([
      ...[((now.at - begin) / 1000).toFixed(0), String(steps), ((now.requests - last.requests) / steps).toFixed(1)],
      ...[step, computing, took(main), rest].map((time) => time.toFixed(2)),
      `${((100 * (took(main) + rest)) / (cores * step)).toFixed(2)} %`,
    ]);
    last = now;
  }
  stopped.abort();
  await Promise.all(running);
  console.log(
    `${streams} streams of ${prompt} tokens in and ${answer} out, ${cores} cores; milliseconds of a processor a step`,
  );
  console.log(formatTable(rows));
}

const program = new Command('serve-share')
  .argument('<model>')
  .option('--streams <n>', 'at the same time', wholeNumber(1), 16)
  .option('--seconds <n>', 'how long', wholeNumber(1), 60)
  .option('--every <n>', 'seconds of a row', wholeNumber(1), 20)
  .option('--prompt <tokens>', 'of each prompt', wholeNumber(1), 128)
  .option('--answer <tokens>', 'of each answer', wholeNumber(1), 128)
  .action(measure);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
