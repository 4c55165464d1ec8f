/** `ingot bench [MODEL]`: speed of prefill and decode, as a table or as rows of JSON. */
import type { Command } from 'commander';
import type { Engine, GenerateRequest } from '../engine/engine.ts';
import { openEngine } from '../engine/open-node.ts';
import { parseMesh } from '../ir/mesh.ts';
import { launchedRank } from '../parallel/mpi-abi.ts';
import type { Communication, MeshWork } from './bench-communication.ts';
import { addBenchServe } from './bench-serve.ts';
import { decodeName, type TimedWork, timeAnswers, timePrompt } from './bench-work.ts';
import { bundledModel, modelName } from './bundled-model.ts';
import { usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import { measureFirst } from './measure-first.ts';
import { addEngineOptions, type EngineFlags, engineSettings, wholeNumber } from './options.ts';
import { showProgress } from './progress.ts';
import { randomTokens } from './random-tokens.ts';
import { formatBytes, formatTable, peakMemory } from './report.ts';

interface BenchOptions extends EngineFlags {
  readonly p: number;
  readonly n: number;
  readonly d: number;
  readonly b: number;
  readonly traceSteps?: string;
  readonly json?: boolean;
}

export interface BenchRow {
  /** 'pp512', 'tg128', 'tg128@d4096', 'tg128@b16'. */
  readonly test: string;
  /** At the median. */
  readonly tokens_per_second: number;
  readonly seconds: { readonly min: number; readonly median: number; readonly max: number };
  /** Largest resident memory of the process until the end of this test. */
  readonly peak_bytes: number;
  readonly device: string;
  readonly model: string;
  readonly threads: number;
  /** Of rank 0 with `--mesh`, in a run of its own that records each launch. */
  readonly communication?: Communication;
  /** Of what the machine's memory or arithmetic could do, whichever takes longer; where both are known. */
  readonly of_limit?: { readonly share: number; readonly by: 'memory' | 'arithmetic' };
}

const repetitions = 3;

export function addBench(program: Command): void {
  const command = program
    .command('bench')
    // What stands behind the name of a command below is that command's.
    .enablePositionalOptions()
    .summary('measure prefill and decode')
    .description(
      `Measures prefill of -p tokens and decode of -n tokens after -d tokens of context, ${repetitions} times each after one run that is not counted.`,
    )
    .argument('[model]', 'a GGUF file or a Hugging Face folder; the bundled model without it')
    .option('-p <tokens>', 'prompt tokens of the prefill test; 0 = no such test', wholeNumber(0), 256)
    .option('-n <tokens>', 'tokens of the decode test; 0 = no such test', wholeNumber(0), 64)
    .option('-d <tokens>', 'context before the decoded tokens', wholeNumber(0), 0)
    .option('-b <sequences>', 'sequences at once in the decode test', wholeNumber(1, 1024), 1)
    .option('--trace-steps <file>', 'write a line of JSON for each step: what it held and how long it took')
    .option('--json', 'print the rows as JSON');
  addEngineOptions(command).action(async (model: string | undefined, options: BenchOptions) => {
    if (options.p === 0 && options.n === 0) throw usageError('-p 0 and -n 0 leave nothing to measure');
    const path = model ?? bundledModel;
    const rows = await withInterrupt((signal) => bench(path, options, signal));
    const between = recordsExchanges(options)
      ? await withInterrupt((signal) => exchanges(path, options, signal))
      : undefined;
    if (options.json)
      console.log(
        JSON.stringify(
          rows.map((row) => withCommunication(row, between)),
          undefined,
          2,
        ),
      );
    else console.log(formatRows(rows));
    if (!options.json && between !== undefined && between.size > 0) {
      const { formatCommunication } = await import('./bench-communication.ts');
      console.log(`\n${formatCommunication(between)}`);
    }
  });
  addBenchServe(command);
}

async function bench(path: string, options: BenchOptions, signal: AbortSignal): Promise<readonly BenchRow[]> {
  const { p, n, d, b } = options;
  const contextLength = contextOf(options);
  await measureFirst(options.device, signal);
  await using engine = await open(path, contextLength, options, signal);
  const { machine } = await engine.status();
  const measure = async (test: string, tokens: number, work: () => Promise<TimedWork>) => {
    const done: TimedWork[] = [];
    for (let i = 0; i <= repetitions; i++) {
      const one = await work();
      if (i > 0) done.push(one);
    }
    done.sort((a, b) => a.seconds - b.seconds);
    const middle = done[done.length >> 1];
    const [min, median, max] = [done[0], middle, done[done.length - 1]].map(({ seconds }) => seconds);
    return {
      test,
      tokens_per_second: tokens / median,
      seconds: { min, median, max },
      peak_bytes: peakMemory(),
      device: engine.device.name,
      model: modelName(path),
      threads: engine.device.threads,
      ...(machine && { of_limit: shareOfLimit(middle, machine) }),
    };
  };
  let requests = 0;
  /** One that shares nothing with those before. */
  const request = (length: number, maxTokens: number): GenerateRequest => ({
    prompt: randomTokens(length, engine.model.vocabularySize),
    maxTokens,
    ignoreEnd: true,
    cacheOwner: String(requests++),
    signal,
  });
  const rows: BenchRow[] = [];
  if (p > 0) {
    rows.push(await measure(`pp${p}`, p, () => timePrompt(engine, request(p, 1))));
  }
  if (n > 0) {
    const decode = () => Array.from({ length: b }, () => request(Math.max(d, 1), n + 1));
    rows.push(await measure(decodeName(options), b * n, () => timeAnswers(engine, decode(), n)));
  }
  return rows;
}

/** Decoding begins after at least one token, and n gaps lie between n + 1 tokens. */
function contextOf({ p, n, d }: BenchOptions): number {
  return Math.max(p + 1, n === 0 ? 0 : Math.max(d, 1) + n + 1);
}

/** Whether the model is divided among ranks of which this process is one, or has all. */
function recordsExchanges({ mesh, groups }: BenchOptions): boolean {
  if (mesh === undefined || (groups !== undefined && launchedRank(process.env) === undefined)) return false;
  return parseMesh(mesh).axes.every(({ name, size }) => size === 1 || name === 'tensor');
}

/** What ranks say to each other in the same tests. An engine of this thread's own does them: code that is loaded only for that. */
async function exchanges(
  path: string,
  options: BenchOptions,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Communication>> {
  const { measureCommunication } = await import('./bench-communication.ts');
  const { p, n, d, b } = options;
  let owners = 0;
  const request = (length: number, maxTokens: number, vocabularySize: number): GenerateRequest => ({
    ...{ prompt: randomTokens(length, vocabularySize), maxTokens, ignoreEnd: true, signal },
    cacheOwner: String(owners++),
  });
  const prefill: MeshWork = {
    ...{ test: `pp${p}`, promptTokens: p },
    requests: (size) => [request(p, 1, size)],
  };
  const decode: MeshWork = {
    test: decodeName(options),
    requests: (size) => Array.from({ length: b }, () => request(Math.max(d, 1), n + 1, size)),
  };
  const tests = [...(p > 0 ? [prefill] : []), ...(n > 0 ? [decode] : [])];
  return measureCommunication(path, contextOf(options), options, b, tests, signal);
}

function withCommunication(row: BenchRow, between: ReadonlyMap<string, Communication> | undefined): BenchRow {
  const communication = between?.get(row.test);
  return communication === undefined ? row : { ...row, communication };
}

function shareOfLimit(
  { seconds, operations, bytes }: TimedWork,
  machine: { readonly operations: number; readonly bytes: number },
): NonNullable<BenchRow['of_limit']> {
  const [memory, arithmetic] = [bytes / machine.bytes, operations / machine.operations];
  return { share: Math.max(memory, arithmetic) / seconds, by: memory > arithmetic ? 'memory' : 'arithmetic' };
}

async function open(path: string, contextLength: number, options: BenchOptions, signal: AbortSignal): Promise<Engine> {
  using progress = showProgress('Loading');
  const { traceSteps } = options;
  return await openEngine(path, {
    ...engineSettings(options),
    contextLength,
    sequences: options.b,
    signal,
    onProgress: progress.update,
    ...(traceSteps !== undefined && { traceSteps }),
  });
}

function formatRows(rows: readonly BenchRow[]): string {
  return formatTable([
    ['test', 'tokens/s', 'of limit', 'seconds (min .. max)', 'peak memory', 'device', 'model'],
    ...rows.map(({ test, tokens_per_second, of_limit, seconds, peak_bytes, device, model }) => [
      test,
      tokens_per_second.toFixed(1),
      of_limit === undefined ? '' : `${(100 * of_limit.share).toFixed(0)}% (${of_limit.by})`,
      `${seconds.median.toFixed(3)} (${seconds.min.toFixed(3)} .. ${seconds.max.toFixed(3)})`,
      formatBytes(peak_bytes),
      device,
      model,
    ]),
  ]);
}
