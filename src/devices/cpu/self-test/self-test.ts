/**
 * Whether code made here can be trusted: before a processor's first run the kernels are tried in a process of their own, for the best
 * instruction set that it has. A kernel that crashes or is wrong is named, and the next lower set is tried. What came out
 * is remembered, by processor and by the files that make the code.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { recall, remember } from '../cache-folder.ts';
import { codeStamp } from '../code-stamp.ts';
import type { OperatingSystem } from '../os/os.ts';
import { type InstructionSet, usableTargets } from '../target.ts';
import type { Report } from './run-tests.ts';

export type Verdict = { readonly set: InstructionSet } & (
  | { readonly passed: true }
  | { readonly passed: false; readonly kernel: string; readonly problem: string }
);

export interface SelfTestOutcome {
  /** In the order in which they were tried: none passed, or the last. */
  readonly verdicts: readonly Verdict[];
  /** Whether the next start will know. */
  readonly remembered: boolean;
}

export interface SelfTestOptions {
  /** Whatever is remembered. */
  readonly again?: boolean;
  /** What runs in the other process. */
  readonly program?: string;
  /** How long one kernel may take. */
  readonly kernelMilliseconds?: number;
}

const file = 'self-test';

/** Takes a second or two where nothing is remembered. */
export async function selfTest(system: OperatingSystem, options: SelfTestOptions = {}): Promise<SelfTestOutcome> {
  const { model, names } = system.cpuFeatures();
  const key = { model: model.trim(), features: [...names].sort().join(' '), code: codeStamp() };
  const known = options.again ? undefined : recallVerdicts(key);
  if (known !== undefined) return { verdicts: known, remembered: true };
  const verdicts: Verdict[] = [];
  let conclusive = true;
  for (const { name } of usableTargets({ names }).toReversed()) {
    if (name === 'amx' && !system.requestTiles()) continue;
    const attempt = await tryKernels(name, options);
    verdicts.push(attempt.verdict);
    conclusive &&= attempt.conclusive;
    if (attempt.verdict.passed) break;
  }
  return { verdicts, remembered: conclusive && (await remember(file, { key, verdicts })) };
}

/** The best set that passed; undefined if none did. */
export function trustedSet({ verdicts }: SelfTestOutcome): InstructionSet | undefined {
  return verdicts.find(({ passed }) => passed)?.set;
}

/** For people: `code for avx512 failed its self-test at quantized_dot q4_0 i8: SIGILL ended it`. */
export function describeVerdict(verdict: Verdict): string {
  const { set } = verdict;
  if (verdict.passed) return `code for ${set} passed its self-test`;
  return `code for ${set} failed its self-test at ${verdict.kernel}: ${verdict.problem}`;
}

type Key = Readonly<Record<'model' | 'features' | 'code', string>>;

function recallVerdicts(key: Key): readonly Verdict[] | undefined {
  const found = (recall(file) ?? {}) as { readonly key?: Partial<Key>; readonly verdicts?: unknown };
  if (typeof found !== 'object' || !isSame(found.key, key)) return undefined;
  const { verdicts } = found;
  return Array.isArray(verdicts) && verdicts.length > 0 && verdicts.every(isVerdict) ? verdicts : undefined;
}

const isSame = (found: Partial<Key> | undefined, key: Key) =>
  typeof found === 'object' && found.model === key.model && found.features === key.features && found.code === key.code;

function isVerdict(value: unknown): value is Verdict {
  const { set, passed, kernel, problem } = (value ?? {}) as Record<string, unknown>;
  if (typeof set !== 'string') return false;
  return passed === true || (passed === false && typeof kernel === 'string' && typeof problem === 'string');
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
  { program = ownProgram, kernelMilliseconds = 20_000 }: SelfTestOptions,
): Promise<Attempt> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, set], { stdio: ['ignore', 'pipe', 'pipe'] });
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
      return { verdict: { set, passed: true }, conclusive: true };
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
