/**
 * Whether code made here can be trusted: before their first run on a processor, kernels are tried in a process of their own, for the
 * best instruction set that it has; those of an area (areas.ts) when it is first needed. A kernel that crashes or is wrong is
 * named, and the next lower set is tried. What came out is remembered, by processor and by the files that make the code.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { recall, remember } from '../cache-folder.ts';
import { codeStamp } from '../code-stamp.ts';
import type { OperatingSystem } from '../os/os.ts';
import { type InstructionSet, usableTargets } from '../target.ts';
import { allAreas } from './areas.ts';
import type { Report } from './run-tests.ts';

export type Verdict = { readonly set: InstructionSet } & (
  | { readonly passed: true; readonly areas: readonly string[] }
  | { readonly passed: false; readonly kernel: string; readonly problem: string }
);

export interface SelfTestOutcome {
  /** In the order in which they were tried: none passed, or the last. */
  readonly verdicts: readonly Verdict[];
  /** Whether the next start will know. */
  readonly remembered: boolean;
}

export interface SelfTestOptions {
  /** Those whose kernels will run; all if absent. */
  readonly areas?: readonly string[];
  /** Whatever is remembered. */
  readonly again?: boolean;
  /** What runs in the other process. */
  readonly program?: string;
  /** Called when the first of them begins. */
  readonly onTest?: () => void;
  /** How long one kernel may take. */
  readonly kernelMilliseconds?: number;
}

const file = 'self-test';

/** Takes about a second where nothing is remembered. */
export async function selfTest(system: OperatingSystem, options: SelfTestOptions = {}): Promise<SelfTestOutcome> {
  const { model, names } = system.cpuFeatures();
  const key = { model: model.trim(), features: [...names].sort().join(' '), code: codeStamp() };
  const known = options.again ? [] : recallVerdicts(key);
  const areas = options.areas ?? allAreas;
  const verdicts: Verdict[] = [];
  let [conclusive, isNew] = [true, false];
  for (const { name } of usableTargets({ names }).toReversed()) {
    if (name === 'amx' && !system.requestTiles()) continue;
    let verdict = known.find(({ set }) => set === name);
    const passed = verdict?.passed ? verdict.areas : [];
    const untested = verdict?.passed === false ? [] : areas.filter((area) => !passed.includes(area));
    if (untested.length > 0) {
      const trying = tryKernels(name, untested, options);
      if (!isNew) options.onTest?.();
      const attempt = await trying;
      verdict = attempt.verdict.passed ? { ...attempt.verdict, areas: [...passed, ...untested] } : attempt.verdict;
      conclusive &&= attempt.conclusive;
      isNew = true;
    }
    if (verdict !== undefined) verdicts.push(verdict);
    if (verdict?.passed) break;
  }
  return { verdicts, remembered: !isNew || (conclusive && (await remember(file, { key, verdicts }))) };
}

/** The best set that passed; undefined if none did. */
export function trustedSet({ verdicts }: Pick<SelfTestOutcome, 'verdicts'>): InstructionSet | undefined {
  return verdicts.find(({ passed }) => passed)?.set;
}

/** For people: `code for avx512 failed its self-test at quantized_dot q4_0 i8: SIGILL ended it`. */
export function describeVerdict(verdict: Verdict): string {
  const { set } = verdict;
  if (verdict.passed) return `code for ${set} passed its self-test`;
  return `code for ${set} failed its self-test at ${verdict.kernel}: ${verdict.problem}`;
}

type Key = Readonly<Record<'model' | 'features' | 'code', string>>;

function recallVerdicts(key: Key): readonly Verdict[] {
  const found = (recall(file) ?? {}) as { readonly key?: Partial<Key>; readonly verdicts?: unknown };
  if (typeof found !== 'object' || !isSame(found.key, key)) return [];
  const { verdicts } = found;
  return Array.isArray(verdicts) && verdicts.every(isVerdict) ? verdicts : [];
}

const isSame = (found: Partial<Key> | undefined, key: Key) =>
  typeof found === 'object' && found.model === key.model && found.features === key.features && found.code === key.code;

function isVerdict(value: unknown): value is Verdict {
  const { set, passed, areas, kernel, problem } = (value ?? {}) as Record<string, unknown>;
  if (typeof set !== 'string') return false;
  if (passed === true) return Array.isArray(areas) && areas.every((area) => typeof area === 'string');
  return passed === false && typeof kernel === 'string' && typeof problem === 'string';
}

const ownProgram = fileURLToPath(new URL('./child.js', import.meta.url));

/** Until the first kernel begins. */
const startMilliseconds = 60_000;

/** `conclusive`: it will go the same way next time. */
interface Attempt {
  readonly verdict: Verdict;
  readonly conclusive: boolean;
}

function tryKernels(
  set: InstructionSet,
  areas: readonly string[],
  { program = ownProgram, kernelMilliseconds = 20_000 }: SelfTestOptions,
): Promise<Attempt> {
  return new Promise((resolve) => {
    // It makes much that is soon garbage, and ends soon.
    const child = spawn(process.execPath, ['--max-semi-space-size=64', program, set, areas.join()], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    let late = false;
    const giveUp = () => {
      late = true;
      child.kill('SIGKILL');
    };
    let timer = setTimeout(giveUp, startMilliseconds);
    // Every line is a kernel that begins.
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      clearTimeout(timer);
      timer = setTimeout(giveUp, kernelMilliseconds);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const end = (how: string, isCrash: boolean) => {
      clearTimeout(timer);
      resolve(judge(set, out, how, isCrash));
    };
    child.on('error', (error) => end(error.message, false));
    child.on('close', (code, signal) => {
      if (late) end(`it did not end in ${kernelMilliseconds / 1000} s`, true);
      else if (signal === null) end(`it ended with code ${code} (${err.trim().split('\n').at(-1)})`, true);
      else end(`${signal} ended it`, crashes.has(signal));
    });
  });
}

/** Signals that a program brings upon itself. Others come from a user or from a system that is short of memory. */
const crashes: ReadonlySet<NodeJS.Signals> = new Set([
  ...(['SIGILL', 'SIGSEGV', 'SIGBUS', 'SIGFPE', 'SIGTRAP', 'SIGABRT', 'SIGSYS'] as const),
]);

/** `how` the process ended counts where it did not come to a result. */
function judge(set: InstructionSet, out: string, how: string, isCrash: boolean): Attempt {
  const lines = out.split('\n').slice(0, -1);
  const last = lines.length === 0 ? undefined : (JSON.parse(lines[lines.length - 1]) as Report);
  switch (last?.kind) {
    case 'passed':
      return { verdict: { set, passed: true, areas: [] }, conclusive: true };
    case 'wrong':
      return { verdict: { set, passed: false, kernel: last.kernel, problem: last.problem }, conclusive: true };
    case 'begin':
      return { verdict: { set, passed: false, kernel: last.kernel, problem: how }, conclusive: isCrash };
    case undefined:
      return { verdict: { set, passed: false, kernel: 'the start of the test', problem: how }, conclusive: false };
    default:
      return last satisfies never;
  }
}
