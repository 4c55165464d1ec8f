/** `ingot profile [MODEL]`: where the time of prefill and decode goes, kernel by kernel, or the code of one of them. */
import type { Command } from 'commander';
import { IngotError } from '../base/errors.ts';
import { type Hardware, leastSeconds } from '../compiler/cost.ts';
import { recallMeasurements } from '../devices/cpu/measurements.ts';
import { findSystem } from '../devices/cpu/os/open.ts';
import type { Device, KernelProfile, Profile } from '../devices/device.ts';
import { chosenDevice, openDevice } from '../devices/open-node.ts';
import type { Engine, GenerateRequest } from '../engine/engine.ts';
import { LocalEngine } from '../engine/local-engine.ts';
import { type OpenedModel, openForRunning } from '../engine/open-model-node.ts';
import { bundledModel, modelName } from './bundled-model.ts';
import { usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import { printKernelCode } from './kernel-code.ts';
import { measureAndRemember } from './measure.ts';
import { wholeNumber } from './options.ts';
import { printPhases } from './profile-table.ts';
import { showProgress } from './progress.ts';
import { randomTokens } from './random-tokens.ts';

interface ProfileOptions {
  readonly p: number;
  readonly n: number;
  readonly d: number;
  readonly threads?: number;
  readonly device?: string;
  readonly asm?: string;
  readonly json?: boolean;
}

export interface ProfiledKernel extends KernelProfile {
  /** Of the time of all kernels. */
  readonly share: number;
  /** What memory and arithmetic of the machine would take at least, over `seconds`; where both are known. */
  readonly roofline?: number;
}

/** Prefill or decode. `seconds` are `kernelSeconds` + `wakeSeconds` + `javascriptSeconds`. */
export interface Phase {
  /** 'pp128', 'tg32', 'tg32@d4096'. */
  readonly test: string;
  readonly device: string;
  readonly model: string;
  readonly threads: number;
  readonly tokens: number;
  readonly runs: number;
  readonly seconds: number;
  /** In kernels, their barriers included. */
  readonly kernelSeconds: number;
  readonly barrierSeconds: number;
  /** From submission to the first kernel, and from the last one until JavaScript goes on. */
  readonly wakeSeconds: number;
  /** Between runs. */
  readonly javascriptSeconds: number;
  /** By time, descending. */
  readonly kernels: readonly ProfiledKernel[];
  /** The kernel that loses most against what the machine could do, and what it loses. */
  readonly largestGap?: { readonly kernel: string; readonly seconds: number };
}

export function addProfile(program: Command): void {
  program
    .command('profile')
    .summary('show where the time goes, kernel by kernel')
    .description(
      'Measures the kernels of a prefill of -p tokens and of a decode of -n tokens after -d tokens of context, after a run of each that is not counted, ' +
        "beside what this machine's memory and arithmetic could do. With --asm nothing is run.",
    )
    .argument('[model]', 'a GGUF file or a Hugging Face folder; the bundled model without it')
    .option('-p <tokens>', 'prompt tokens; 0 = no prefill', wholeNumber(0), 128)
    .option('-n <tokens>', 'tokens to decode; 0 = no decode', wholeNumber(0), 32)
    .option('-d <tokens>', 'context before the decoded tokens', wholeNumber(0), 0)
    .option('-t, --threads <n>', 'threads to use at most', wholeNumber(1, 4096))
    .option('--device <name>', 'where to compute: cpu or reference (default: the first that can be used)')
    .option(
      '--asm <kernel>',
      'print the machine code of a kernel, by its name or a part of it, and the loops it came from',
    )
    .option('--json', 'print one JSON object for each phase, in a list')
    .action(async (path: string | undefined, options: ProfileOptions) => {
      const { p, n, asm } = options;
      if (p === 0 && n === 0) throw usageError('-p 0 and -n 0 leave nothing to measure');
      await withInterrupt(async (signal) => {
        const name = modelName(path ?? bundledModel);
        await using opened = await openForRunning(path ?? bundledModel);
        const contextLength = contextOf(opened, name, options);
        if (asm !== undefined) return printKernelCode(opened.model, contextLength, asm, options.device);
        const phases = await profile(opened, name, contextLength, options, signal);
        if (options.json) console.log(JSON.stringify(phases, undefined, 2));
        else printPhases(phases);
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
): Promise<readonly Phase[]> {
  const chosen = options.device ?? chosenDevice();
  const found = findSystem();
  if (chosen === 'cpu' && found.usable && recallMeasurements(found.system) === undefined) {
    await measureAndRemember(found.system, signal);
  }
  await using device = await openDevice(chosen, { threads: options.threads, profile: true });
  using loading = showProgress('Loading');
  await using engine = await LocalEngine.load(device, opened.model, opened.tokenizer, {
    contextLength,
    signal,
    onProgress: loading.update,
  });
  const { p, n, d } = options;
  const prompt = (length: number) => randomTokens(length, opened.model.vocabularySize);
  let requests = 0;
  /** Shares nothing with those before. */
  const request = () => ({ ignoreEnd: true, signal, cacheOwner: String(requests++) });
  const phases: Phase[] = [];
  type Asked = Pick<GenerateRequest, 'prompt' | 'maxTokens'>;
  const add = async (test: string, tokens: number, asked: Asked, from: 'start' | 'second step') => {
    await measure(engine, device, { ...request(), ...asked }, from);
    const measured = await measure(engine, device, { ...request(), ...asked }, from);
    // A device that runs ahead has not yet done all that was submitted before.
    const done = from === 'start' ? tokens : measured.profile.runs;
    const facts = { test, device: device.name, model: name, threads: device.hardware.threads, tokens: done };
    phases.push({ ...facts, ...analyse(measured, device.hardware) });
  };
  if (p > 0) await add(`pp${p}`, p, { prompt: prompt(p), maxTokens: 1 }, 'start');
  if (n > 0) {
    // When the first token is told, the step of the second has been submitted.
    const asked = { prompt: prompt(Math.max(d, 1)), maxTokens: n + 2 };
    await add(d === 0 ? `tg${n}` : `tg${n}@d${d}`, n, asked, 'second step');
  }
  return phases;
}

interface MeasuredPhase {
  readonly seconds: number;
  readonly profile: Profile;
}

/** Runs a request and measures it from its start, or from the end of its second step on. */
async function measure(
  engine: Engine,
  device: Device,
  request: GenerateRequest,
  from: 'start' | 'second step',
): Promise<MeasuredPhase> {
  device.profile();
  let start = performance.now();
  let waits = from === 'second step';
  for await (const event of engine.generate(request)) {
    if (event.kind === 'end') {
      if (event.reason === 'aborted') throw new IngotError('Aborted', 'the measurement was interrupted');
      break;
    }
    if (!waits) continue;
    waits = false;
    device.profile();
    start = performance.now();
  }
  const seconds = (performance.now() - start) / 1000;
  return { seconds, profile: device.profile() };
}

function analyse({ seconds, profile }: MeasuredPhase, hardware: Hardware) {
  const sum = (of: (kernel: KernelProfile) => number) => profile.kernels.reduce((total, each) => total + of(each), 0);
  const kernelSeconds = sum((kernel) => kernel.seconds);
  const least = ({ cost }: KernelProfile) => (cost === undefined ? undefined : leastSeconds(hardware, cost));
  const kernels = profile.kernels
    .toSorted((a, b) => b.seconds - a.seconds)
    .map((kernel): ProfiledKernel => {
      const bound = least(kernel);
      const roofline = bound === undefined || bound === 0 ? {} : { roofline: bound / kernel.seconds };
      return { ...kernel, share: kernel.seconds / kernelSeconds, ...roofline };
    });
  const gaps = kernels.map((kernel) => ({
    kernel: kernel.kernel,
    seconds: kernel.seconds - (least(kernel) ?? kernel.seconds),
  }));
  const [largestGap] = gaps.toSorted((a, b) => b.seconds - a.seconds);
  return {
    runs: profile.runs,
    seconds,
    kernelSeconds,
    barrierSeconds: sum((kernel) => kernel.barrierSeconds),
    wakeSeconds: profile.seconds - kernelSeconds,
    javascriptSeconds: seconds - profile.seconds,
    kernels,
    ...(largestGap !== undefined && largestGap.seconds > 0 && { largestGap }),
  };
}
