/** `ingot profile [MODEL]`: where the time of prefill and decode goes, kernel by kernel, or the code of one of them. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { IngotError } from '../base/errors.ts';
import type { Device, Profile } from '../devices/device.ts';
import { openDevice, processorName } from '../devices/open-node.ts';
import type { Engine, GenerateRequest } from '../engine/engine.ts';
import { LocalEngine } from '../engine/local-engine.ts';
import { type OpenedModel, openForRunning } from '../engine/open-model-node.ts';
import { systemError } from '../formats/file-node.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import { decodeName } from './bench-work.ts';
import { bundledModel, modelName } from './bundled-model.ts';
import { usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import { printKernelCode } from './kernel-code.ts';
import { measureFirst } from './measure-first.ts';
import { kvOption, wholeNumber } from './options.ts';
import { type Analysis, analyse } from './profile-analysis.ts';
import { printPhases } from './profile-table.ts';
import { showProgress } from './progress.ts';
import { randomTokens } from './random-tokens.ts';
import { type TracedPhase, traceOf } from './trace-events.ts';

interface ProfileOptions {
  readonly p: number;
  readonly n: number;
  readonly d: number;
  readonly b: number;
  readonly threads?: number;
  readonly device?: string;
  readonly kv: KvFormat;
  readonly asm?: string;
  readonly trace?: string;
  readonly json?: boolean;
}

/** Prefill or decode. */
export interface Phase extends Analysis {
  /** 'pp128', or as `decodeName` says. */
  readonly test: string;
  readonly device: string;
  readonly model: string;
  readonly threads: number;
  readonly tokens: number;
}

export function addProfile(program: Command): void {
  program
    .command('profile')
    .summary('show where the time goes, kernel by kernel')
    .description(
      'Measures the kernels of a prefill of -p tokens and of a decode of -n tokens after -d tokens of context, by -b sequences at once, after a run of each that is not counted, ' +
        "beside what this machine's memory and arithmetic could do. With --asm nothing is run.",
    )
    .argument('[model]', 'a GGUF file or a Hugging Face folder; the bundled model without it')
    .option('-p <tokens>', 'prompt tokens; 0 = no prefill', wholeNumber(0), 128)
    .option('-n <tokens>', 'tokens to decode; 0 = no decode', wholeNumber(0), 32)
    .option('-d <tokens>', 'context before the decoded tokens', wholeNumber(0), 0)
    .option('-b <sequences>', 'sequences at once in the decode', wholeNumber(1, 1024), 1)
    .option(
      '-t, --threads <n>',
      'threads, one a core at most; as many as cores and quota allow if left out',
      wholeNumber(1, 4096),
    )
    .option('--device <name>', 'where to compute: cpu or reference (default: the first that can be used)')
    .addOption(kvOption())
    .option('--trace <file>', 'write when each thread was in which kernel, for https://ui.perfetto.dev')
    .option(
      '--asm <kernel>',
      'print the machine code of a kernel, by its name or a part of it, and the loops it came from',
    )
    .option('--json', 'print one JSON object for each phase, in a list')
    .action(async (path: string | undefined, options: ProfileOptions) => {
      const { p, n, asm, trace } = options;
      if (p === 0 && n === 0) throw usageError('-p 0 and -n 0 leave nothing to measure');
      await withInterrupt(async (signal) => {
        const name = modelName(path ?? bundledModel);
        await using opened = await openForRunning(path ?? bundledModel);
        const contextLength = contextOf(opened, name, options);
        if (asm !== undefined) return printKernelCode(opened.model, contextLength, asm, options.device);
        const { phases, traced } = await profile(opened, name, contextLength, options, signal);
        if (options.json) console.log(JSON.stringify(phases, undefined, 2));
        else printPhases(phases);
        // Last: whatever is wrong with the file, what was measured is told.
        if (trace !== undefined) await writeTrace(trace, traced, name);
      });
    });
}

/** Tokens of context that the phases need. */
function contextOf({ model }: OpenedModel, name: string, { p, n, d }: ProfileOptions): number {
  const length = Math.max(p + 1, n === 0 ? 0 : Math.max(d, 1) + n + 2);
  if (length <= model.contextLength) return length;
  throw new IngotError(
    'ContextOverflow',
    `the phases need ${length} tokens of context; ${name} holds ${model.contextLength}`,
    { hint: 'Ask for fewer with -p, -n and -d.' },
  );
}

async function profile(
  opened: OpenedModel,
  name: string,
  contextLength: number,
  options: ProfileOptions,
  signal: AbortSignal,
): Promise<{ readonly phases: readonly Phase[]; readonly traced: readonly TracedPhase[] }> {
  await measureFirst(options.device, signal);
  const recorded = options.trace === undefined ? 'sums' : 'timeline';
  await using device = await openDevice(options.device, {
    threads: options.threads,
    profile: recorded,
  });
  using loading = showProgress('Loading');
  await using engine = await LocalEngine.load(device, opened.model, opened.tokenizer, {
    contextLength,
    kv: options.kv,
    sequences: options.b,
    signal,
    onProgress: loading.update,
  });
  const { p, n, d, b } = options;
  const prompt = (length: number) => randomTokens(length, opened.model.vocabularySize);
  let requests = 0;
  /** Shares nothing with those before. */
  const request = () => ({ ignoreEnd: true, signal, cacheOwner: String(requests++) });
  const phases: Phase[] = [];
  const traced: TracedPhase[] = [];
  type Asked = Pick<GenerateRequest, 'prompt' | 'maxTokens'>;
  const add = async (test: string, tokens: number, asked: readonly Asked[], from: 'start' | 'second step') => {
    const work = () =>
      measure(
        engine,
        device,
        asked.map((one) => ({ ...request(), ...one })),
        from,
      );
    await work();
    const { start, end, profile } = await work();
    // A device that runs ahead has not yet done all that was submitted before.
    const done = from === 'start' ? tokens : profile.runs * asked.length;
    const facts = { test, device: device.name, model: name, threads: device.hardware.threads, tokens: done };
    phases.push({ ...facts, ...analyse((end - start) / 1000, done, profile, device.hardware) });
    if (profile.timeline !== undefined) traced.push({ test, start, end, timeline: profile.timeline });
  };
  if (p > 0) await add(`pp${p}`, p, [{ prompt: prompt(p), maxTokens: 1 }], 'start');
  if (n > 0) {
    // When the first token is told, the step of the second has been submitted.
    const asked = () => ({ prompt: prompt(Math.max(d, 1)), maxTokens: n + 2 });
    await add(decodeName({ n, d, b }), n * b, Array.from({ length: b }, asked), 'second step');
  }
  return { phases, traced };
}

async function writeTrace(path: string, phases: readonly TracedPhase[], model: string): Promise<void> {
  if (phases.length === 0) throw usageError('the reference device keeps no times of its kernels to trace');
  const text = JSON.stringify(traceOf(phases, { model, processor: processorName() }));
  await writeFile(path, text).catch((error: unknown) => {
    throw systemError(error, path);
  });
}

interface MeasuredPhase {
  /** In milliseconds of `performance.now()`. */
  readonly start: number;
  readonly end: number;
  readonly profile: Profile;
}

/** Runs requests and measures from their start, or while all of them write: from the end of the second step of the last to begin. */
async function measure(
  engine: Engine,
  device: Device,
  requests: readonly GenerateRequest[],
  from: 'start' | 'second step',
): Promise<MeasuredPhase> {
  device.profile();
  let start = performance.now();
  let waits = from === 'second step' ? requests.length : 0;
  let measured: MeasuredPhase | undefined;
  const run = async (request: GenerateRequest) => {
    let first = true;
    for await (const event of engine.generate(request)) {
      if (event.kind === 'end' && event.reason === 'aborted')
        throw new IngotError('Aborted', 'the measurement was interrupted');
      if (event.kind === 'end' && waits > 0)
        throw usageError(`one of ${requests.length} sequences has ended before the last began; ask for more with -n`);
      if (event.kind === 'end' && measured === undefined) {
        // The others are in a step that this awaits and counts.
        const profile = device.profile();
        measured = { start, end: performance.now(), profile };
      }
      if (!first) continue;
      first = false;
      if (--waits !== 0) continue;
      device.profile();
      start = performance.now();
    }
  };
  await Promise.all(requests.map(run));
  if (measured === undefined) throw new IngotError('DeviceFault', 'the generation ended without saying why');
  return measured;
}
