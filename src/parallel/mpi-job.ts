/** Ranks that are started from outside of them, by the launcher of an MPI library: a job that may die without whoever started it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { IngotError, throwIfAborted } from '../base/errors.ts';
import { mpiLibraries } from './mpi-abi.ts';
import type { RankAddress } from './rank-group.ts';

/** What the first rank of a job says on standard output when all are ready. */
export interface JobReady {
  readonly version: string;
  readonly ranks: readonly RankAddress[];
}

const readyMark = 'ingot ranks are ready: ';

export function readyLine(ready: JobReady): string {
  return `\n${readyMark}${JSON.stringify(ready)}\n`;
}

export interface Job extends AsyncDisposable {
  readonly ready: JobReady;
}

interface JobOptions {
  readonly ranks: number;
  /** A host for each rank; this one if there are none. */
  readonly hosts: readonly string[];
  /** What each rank runs. */
  readonly command: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/** Ranks may have to be reached, and to read Ingot from a slow disk. */
const startMilliseconds = 120_000;
/** What the job may take to end by itself, and then when it is told to. */
const endMilliseconds = 3000;

/** Which library `mpirun` is of, and how it is asked for what all can do. */
interface Launcher {
  readonly name: string;
  /** In what `--version` prints. */
  readonly mark: RegExp;
  readonly options: readonly string[];
  /** The front says by itself when a job ends. */
  readonly quiet: Readonly<Record<string, string>>;
  hosts(hosts: readonly string[]): readonly string[];
}

const launchers: readonly Launcher[] = [
  {
    name: 'Open MPI',
    mark: /Open MPI|OpenRTE|PRRTE/,
    // Ranks share the cores of a host by themselves.
    options: ['--oversubscribe', '--bind-to', 'none'],
    // Version 5 cannot be asked.
    quiet: { OMPI_MCA_orte_execute_quiet: '1' },
    hosts: (hosts) => ['--host', hosts.join(',')],
  },
  { name: 'MPICH', mark: /HYDRA/i, options: [], quiet: {}, hosts: (hosts) => ['-hosts', hosts.join(',')] },
];

async function findLauncher(): Promise<Launcher> {
  const child = spawn('mpirun', ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  try {
    await once(child, 'close');
  } catch (cause) {
    throw new IngotError('FileNotFound', 'there is no mpirun here, which starts ranks', {
      hint: `Install it: ${mpiLibraries.map(({ install }) => install).join(', or ')}`,
      cause,
    });
  }
  const found = launchers.find(({ mark }) => mark.test(text));
  if (found !== undefined) return found;
  const [first] = text.split('\n');
  throw new IngotError('Usage', `mpirun is of neither ${launchers.map(({ name }) => name).join(' nor ')}: ${first}`);
}

/** @throws IngotError 'FileNotFound' where there is no launcher, 'RankLost' with what it has said if the ranks do not come. */
export async function startJob({ ranks, hosts, command, signal }: JobOptions): Promise<Job> {
  const launcher = await findLauncher();
  throwIfAborted(signal);
  const where = hosts.length === 0 ? [] : launcher.hosts(hosts);
  // A group of its own: Ctrl-C is for whoever started it, which ends it in its own time.
  const child = spawn('mpirun', [...launcher.options, ...where, '-n', String(ranks), ...command], {
    env: { ...process.env, ...launcher.quiet },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const ended = once(child, 'close').catch(() => {});
  try {
    const ready = await readyOf(child, signal);
    return {
      ready,
      [Symbol.asyncDispose]() {
        // What it complains of now is what is wanted.
        child.stderr?.removeAllListeners('data').resume();
        return endJob(child, ended);
      },
    };
  } catch (error) {
    child.kill('SIGTERM');
    await endJob(child, ended);
    throw error;
  }
}

function readyOf(child: ChildProcess, signal: AbortSignal | undefined): Promise<JobReady> {
  return new Promise((resolve, reject) => {
    let [out, err] = ['', ''];
    let settled = false;
    const settle = (outcome: JobReady | IngotError) => {
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      if (outcome instanceof IngotError) reject(outcome);
      else resolve(outcome);
    };
    const lost = (why: string) => {
      const said = err.trim();
      settle(new IngotError('RankLost', `the ranks have not come: ${why}${said === '' ? '' : `\n${said}`}`));
    };
    const abort = () => settle(new IngotError('Aborted', 'ranks were being started', { cause: signal?.reason }));
    const timer = setTimeout(() => lost(`${startMilliseconds / 1000} s have passed`), startMilliseconds);
    signal?.addEventListener('abort', abort, { once: true });
    child.stdout?.setEncoding('utf8').on('data', (part: string) => {
      if (settled) return;
      out += part;
      const line = out.split('\n').find((each, i, all) => i < all.length - 1 && each.startsWith(readyMark));
      if (line !== undefined) settle(JSON.parse(line.slice(readyMark.length)) as JobReady);
    });
    child.stderr?.setEncoding('utf8').on('data', (part: string) => {
      if (settled) process.stderr.write(part);
      else err += part;
    });
    child.on('error', (error) => lost(error.message));
    child.on('close', (code, how) => lost(`mpirun ended with ${how ?? `code ${code}`}`));
  });
}

/** Waits for it to end by itself, which ranks do that nobody asks for; then makes it. */
async function endJob(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  for (const kill of ['SIGTERM', 'SIGKILL'] as const) {
    const timer = setTimeout(() => child.kill(kill), endMilliseconds);
    const late = new Promise((resolve) => setTimeout(resolve, endMilliseconds + 1000).unref());
    await Promise.race([ended, late]);
    clearTimeout(timer);
    if (child.exitCode !== null || child.signalCode !== null) return;
  }
}
