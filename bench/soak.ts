/**
 * A server under whatever may come, for as long as is asked: `node dist/bench/soak.js [--seconds N] [--clients N] [--seed N]`. It starts
 * `ingot serve` with two models of which one fits into memory, two keys that are kept apart, and few places; this process is the
 * load. In the end nothing may be left: no block in use, no request, no memory that grows, and every request had an answer or a
 * reason. The report is JSON; the exit code 1 where something was wrong.
 */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { bundledModel } from '../src/cli/bundled-model.ts';
import { type Random, seededRandom } from '../src/cli/load/random.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { readMetrics, type Server, startServer } from '../test/system/serve-harness.ts';
import { clients, type Target } from './soak/clients.ts';

interface SoakOptions {
  readonly seconds: number;
  readonly clients: number;
  readonly seed: number;
}

const metricsKey = 'soak-metrics';
const metricsHeaders = { authorization: `Bearer ${metricsKey}`, connection: 'close' };

function startSoaked(folder: string): Promise<Server> {
  const second = join(folder, 'second.gguf');
  copyFileSync(bundledModel, second);
  const limits = '--memory 25MB --sequences 6 --queue 24 --context 256 --drain 10';
  const keys = `--isolate --api-key soak-a --api-key soak-b --metrics-key ${metricsKey}`;
  return startServer({ folder }, `first=${bundledModel}`, second, ...`${limits} ${keys}`.split(' '));
}

/** Sums over the models. */
async function readSums(url: string): Promise<(name: string) => number> {
  const read = await readMetrics(url, metricsHeaders);
  return (name) => read(`${name}{model="first"}`) + read(`${name}{model="second"}`);
}

async function soak({ seconds, clients: count, seed }: SoakOptions): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-soak-'));
  const server = await startSoaked(folder);
  const target: Target = { url: server.url, models: ['first', 'second'], keys: ['soak-a', 'soak-b'] };
  const faults: string[] = [];
  const outcomes: Record<string, number> = {};
  const known = new Map<string, string>();
  const end = performance.now() + 1000 * seconds;
  const kinds = Object.entries(clients);
  const note = (outcome: string) => {
    if (outcome.includes('!')) faults.push(outcome);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  };
  const one = async (draw: Random) => {
    while (performance.now() < end && server.child.exitCode === null) {
      const [name, client] = kinds[Math.floor(draw() * kinds.length)];
      try {
        note(`${name}: ${await client({ target, draw, known })}`);
      } catch (error) {
        note(`${name}: !${error instanceof Error ? `${error.message} ${String(error.cause ?? '')}` : error}`);
      }
      // A while with one client, a while with all.
      if (draw() < 0.02) await sleep(2000 * draw());
    }
  };
  const resident: number[] = [];
  const watch = async () => {
    while (performance.now() < end) {
      await sleep(1000);
      const read = await readMetrics(server.url, metricsHeaders);
      resident.push(read('ingot_resident_bytes'));
    }
  };
  await Promise.all([watch(), ...Array.from({ length: count }, (_, i) => one(seededRandom(seed * 1000 + i)))]);

  // All is over when nobody asks: within a few steps.
  const left = async () => {
    const metrics = await readSums(server.url);
    return ['requests_running', 'requests_waiting', 'kv_cache_used_tokens'].map((name) => metrics(`ingot_${name}`));
  };
  let remaining = await left();
  for (let i = 0; i < 50 && remaining.some((value) => value !== 0); i++) {
    await sleep(100);
    remaining = await left();
  }
  if (remaining.some((value) => value !== 0)) faults.push(`!left: running, waiting, tokens of the cache ${remaining}`);
  // An engine checks its blocks whenever it is idle, and answers nothing any more if one is lost or shared.
  for (const model of target.models) {
    const response = await fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer soak-a', connection: 'close' },
      body: JSON.stringify({ model, prompt: 'A', max_tokens: 2 }),
    });
    if (response.status !== 200) faults.push(`!${model} does not answer any more: ${await response.text()}`);
  }
  const metrics = await readSums(server.url);
  const third = Math.floor(resident.length / 3);
  const range = (part: readonly number[]) => ({ least: Math.min(...part), most: Math.max(...part) });
  const [early, late] = [range(resident.slice(third, 2 * third)), range(resident.slice(2 * third))];
  // Also what is resident when V8 has just collected: between, its heaps take what they please.
  const grows = (before: number, after: number) => after > 1.1 * before + (16 << 20);
  if (third > 0 && grows(early.least, late.least) && grows(early.most, late.most))
    faults.push(`!memory grows: ${mib(early)}, then ${mib(late)} MiB`);
  server.child.kill('SIGTERM');
  const { code, err } = await server.ended;
  if (code !== 0) faults.push(`!the server ended with ${code}`);
  if (/"level":(50|60)|defect/.test(err)) faults.push(`!the log says ${err.slice(-2000)}`);
  rmSync(folder, { recursive: true });
  const requests = Object.values(outcomes).reduce((sum, value) => sum + value, 0);
  const report = {
    seconds,
    requests,
    loads: metrics('ingot_model_loads_total'),
    tokens: metrics('ingot_generated_tokens_total'),
    preemptions: metrics('ingot_preemptions_total'),
    residentMiB: { secondThird: mib(early), lastThird: mib(late) },
    outcomes: Object.fromEntries(Object.entries(outcomes).sort()),
    faults: faults.slice(0, 20),
  };
  console.log(JSON.stringify(report, undefined, 2));
  return faults.length === 0;
}

const mib = ({ least, most }: { readonly least: number; readonly most: number }) =>
  [least, most].map((bytes) => Math.round(bytes / 2 ** 20)).join(' to ');

const program = new Command('soak')
  .option('--seconds <n>', 'how long', wholeNumber(1), 600)
  .option('--clients <n>', 'at once', wholeNumber(1, 1000), 16)
  .option('--seed <n>', 'of what they do', wholeNumber(0), 1)
  .parse();
process.exitCode = (await soak(program.opts<SoakOptions>())) ? 0 : 1;
