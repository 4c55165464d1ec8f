/** `ingot bench serve [URL]`: a load on an OpenAI-compatible server, and how it bears that: table, JSON, page of plots. */
import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { throwIfAborted } from '../base/errors.ts';
import { createFile } from '../formats/atomic-write-node.ts';
import { systemError } from '../formats/file-node.ts';
import { usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import { calibrate } from './load/calibrate.ts';
import { type Api, apis, ask, firstModel, type Target } from './load/client.ts';
import { loadPage } from './load/html.ts';
import { startServer } from './load/own-server.ts';
import { type Range, seededRandom } from './load/random.ts';
import { type ClientCost, formatLoad } from './load/report.ts';
import { runLoad } from './load/run.ts';
import { type Sample, type Slo, summarize } from './load/statistics.ts';
import { readTrace } from './load/trace.ts';
import { drawnWords, promptText, type Words, wordsOf } from './load/words.ts';
import { drawnRequests, type PlannedRequest, traceRequests } from './load/workload.ts';
import { positiveNumber, wholeNumber } from './options.ts';
import { showProgress } from './progress.ts';

interface LoadFlags {
  readonly serve?: string;
  readonly model?: string;
  readonly api: Api;
  readonly apiKey?: string;
  readonly requests: number;
  readonly rate?: number;
  readonly burst: number;
  readonly trace?: string;
  readonly lengthScale: number;
  readonly concurrency?: number;
  readonly promptTokens: Range;
  readonly outputTokens: Range;
  readonly prefixTokens: number;
  readonly prefixGroups: number;
  readonly text?: string;
  readonly mayEnd?: boolean;
  readonly seed: number;
  readonly sloTtft?: number;
  readonly sloTbot?: number;
  readonly json?: string;
  readonly html?: string;
}

export function addBenchServe(bench: Command): void {
  bench
    .command('serve')
    .summary('load a server with many requests')
    .description(
      'Sends requests to an OpenAI-compatible server and measures its answers; without a URL to an `ingot serve` that it starts and stops.\n' +
        'Requests come at a rate or as in a trace, however slow the answers are; without either all at once, or so many at a time.',
    )
    .argument('[url]', "a server's address, up to and with /v1")
    .option('--serve <model>', 'the model of the server that is started; the bundled one without it')
    .option('--model <name>', 'the model to ask for (default: the first that the server lists)')
    .addOption(new Option('--api <kind>', 'what to ask').choices(apis).default('completions'))
    .option('--api-key <key>', 'sent with each request')
    .option('--requests <n>', 'how many to send', wholeNumber(1), 64)
    .option('--rate <r>', 'requests a second on average, at random moments (a Poisson process)', positiveNumber)
    .option('--burst <n>', 'with --rate: so many come at each of these moments', wholeNumber(1), 1)
    .option('--trace <file>', 'moments and lengths of an Azure or Mooncake trace; --rate changes its pace')
    .option('--length-scale <f>', "a trace's lengths are multiplied by this", positiveNumber, 1)
    .option('--concurrency <n>', 'requests under way at the same time at most; others wait here', wholeNumber(1))
    .addOption(rangeOption('--prompt-tokens <n>', 'of each prompt, or from-to to draw from'))
    .addOption(rangeOption('--output-tokens <n>', 'of each answer, or from-to to draw from'))
    .option('--prefix-tokens <n>', 'that prompts begin with, before their own', wholeNumber(0), 0)
    .option('--prefix-groups <n>', 'of prompts; those of one group begin alike', wholeNumber(1), 1)
    .option('--text <file>', 'prompts are pieces of this text (default: random words)')
    .option('--may-end', 'answers may be shorter (default: the server is asked for all tokens by ignore_eos)')
    .option('--seed <n>', 'of everything that is drawn', wholeNumber(0, 2 ** 32 - 1), 1)
    .option('--slo-ttft <ms>', 'longest time to the first token of a good answer', positiveNumber)
    .option('--slo-tbot <ms>', 'longest mean time between its tokens', positiveNumber)
    .option('--json <file>', 'write settings, summary and every request')
    .option('--html <file>', 'write a page of plots')
    .action((url: string | undefined, flags: LoadFlags) => withInterrupt((signal) => benchServe(url, flags, signal)));
}

function rangeOption(flags: string, text: string): Option {
  return new Option(flags, text).argParser(range).default({ low: 128, high: 128 }, '128');
}

/** `128` or `16-512`. */
function range(text: string): Range {
  const [, low, high = low] = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(text) ?? [];
  if (low === undefined || Number(low) < 1 || Number(high) < Number(low)) {
    throw new InvalidArgumentError('It must be a whole number from 1, or two as in 16-512.');
  }
  return { low: Number(low), high: Number(high) };
}

async function benchServe(url: string | undefined, flags: LoadFlags, signal: AbortSignal): Promise<void> {
  if (url !== undefined && !/^https?:\/\/[^/]/.test(url)) throw usageError(`${url} is not the address of a server`);
  if (url !== undefined && flags.serve !== undefined) throw usageError('--serve starts a server, and a URL names one');
  const plan = await planOf(flags);
  const words: Words = flags.text === undefined ? drawnWords : wordsOf(await readText(flags.text));
  await using own =
    url === undefined ? await startServer(new URL('./main.js', import.meta.url), flags.serve, signal) : null;
  const base = new URL(url ?? own?.url ?? '');
  const { api, apiKey } = flags;
  const model = flags.model ?? (await firstModel(base, apiKey, signal));
  const target: Target = { base, api, model, ...(apiKey !== undefined && { apiKey }) };
  const mayEnd = flags.mayEnd ?? false;
  const rate = await calibrate(words, (prompt) => ask(target, { prompt, maxTokens: 1, mayEnd }, signal));
  const send = ({ prompt, outputTokens }: PlannedRequest) =>
    ask(target, { prompt: promptText(prompt, words, rate), maxTokens: outputTokens, mayEnd }, signal);
  const { samples, client } = await measured(plan, send, flags, signal);
  const slo = sloOf(flags);
  const summary = summarize(samples, slo);
  const failures = [...new Set(samples.flatMap(({ error }) => error ?? []))];
  const table = formatLoad({ server: base.href, model, api, summary, slo, client, failures });
  console.log(table);
  const settings = { ...flags, server: base.href, model, apiKey: undefined };
  if (flags.json !== undefined) {
    await write(
      flags.json,
      JSON.stringify({ settings, tokensPerWord: rate.perWord, client, summary, samples }, undefined, 1),
    );
  }
  if (flags.html !== undefined) await write(flags.html, loadPage(`Load on ${model}`, table, samples, slo));
  // What was answered before somebody stopped it has been shown.
  throwIfAborted(signal);
  if (failures.length > 0) process.exitCode = 1;
}

/** Milliseconds between two looks at the event loop: often enough to see it busy, and no work. */
const delayResolution = 10;

async function measured(
  plan: readonly PlannedRequest[],
  send: Parameters<typeof runLoad>[1],
  { concurrency }: LoadFlags,
  signal: AbortSignal,
): Promise<{ readonly samples: readonly Sample[]; readonly client: ClientCost }> {
  using progress = showProgress('Loading the server', 'requests');
  const onAnswer = (answered: number) => progress.update(answered, plan.length);
  const delays = monitorEventLoopDelay({ resolution: delayResolution });
  delays.enable();
  const [begin, before] = [performance.now(), process.cpuUsage()];
  const samples = await runLoad(plan, send, { signal, onAnswer, ...(concurrency !== undefined && { concurrency }) });
  const { user, system } = process.cpuUsage(before);
  delays.disable();
  const microseconds = (performance.now() - begin) * 1000;
  // What is recorded holds the timer's own period.
  const late = Math.max(0, delays.percentile(99) / 1e9 - delayResolution / 1e3);
  return { samples, client: { cpuShare: (user + system) / microseconds, lateSeconds: late } };
}

async function planOf(flags: LoadFlags): Promise<readonly PlannedRequest[]> {
  const { requests, rate, burst, trace, lengthScale, prefixTokens, prefixGroups } = flags;
  if (burst > 1 && (rate === undefined || trace !== undefined))
    throw usageError('--burst goes with --rate, without a trace');
  const random = seededRandom(flags.seed);
  if (trace !== undefined) return traceRequests(await readTrace(trace, requests), lengthScale, rate, random);
  const lengths = {
    prompt: flags.promptTokens,
    output: flags.outputTokens,
    prefix: prefixTokens,
    groups: prefixGroups,
  };
  return drawnRequests(requests, lengths, rate === undefined ? undefined : { rate, burst }, random);
}

function sloOf({ sloTtft, sloTbot }: LoadFlags): Slo {
  return {
    ...(sloTtft !== undefined && { ttft: sloTtft / 1000 }),
    ...(sloTbot !== undefined && { tbot: sloTbot / 1000 }),
  };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw systemError(error, path);
  }
}

async function write(path: string, text: string): Promise<void> {
  await using file = await createFile(path, { overwrite: true });
  await file.write(new TextEncoder().encode(text));
  await file.commit();
}
