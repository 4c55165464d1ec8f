/**
 * One side of a comparison: a process that has a model and does work when it is asked to, so that both sides can take turns without
 * loading again. A side that fails ends alone.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Work } from '../llama-work.ts';

/** What work took. Bytes and operations of the model, where the side knows them; memory at most until now. */
export interface Sample {
  readonly seconds: number;
  readonly bytes?: number;
  readonly operations?: number;
  readonly peakBytes: number;
}

export type Answer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'sample'; readonly sample: Sample }
  | { readonly kind: 'failed'; readonly why: string };

/** The process of a side: answers each message, a work, with a sample. */
export function answerWork(open: () => Promise<(work: Work) => Promise<Sample>>): void {
  const send = (answer: Answer) => process.send?.(answer);
  const failed = (error: unknown) =>
    send({ kind: 'failed', why: error instanceof Error ? error.message : String(error) });
  open().then((run) => {
    process.on('message', (work: Work) => {
      run(work).then((sample) => send({ kind: 'sample', sample }), failed);
    });
    send({ kind: 'ready' });
  }, failed);
}

export class Side implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #errors: string[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    // Whoever waits for an answer is told.
    child.on('error', () => {});
    child.stderr?.on('data', (text: Buffer) => this.#errors.push(text.toString()));
  }

  /** Until `signal` is raised. @throws Error saying why the process is not ready. */
  static async open(script: URL, settings: object, signal: AbortSignal): Promise<Side> {
    const stdio = ['ignore', 'ignore', 'pipe', 'ipc'] as const;
    const child = fork(script, [JSON.stringify(settings)], { stdio: [...stdio], signal, killSignal: 'SIGKILL' });
    const side = new Side(child);
    try {
      await side.#answer();
      return side;
    } catch (error) {
      await side[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @throws Error saying why there is no sample. */
  async run(work: Work): Promise<Sample> {
    this.#child.send(work);
    const answer = await this.#answer();
    if (answer.kind !== 'sample') throw new Error('a side says that it is ready twice');
    return answer.sample;
  }

  async #answer(): Promise<Exclude<Answer, { kind: 'failed' }>> {
    const ended = new AbortController();
    const { signal } = ended;
    const message = once(this.#child, 'message', { signal }).then(([answer]) => answer as Answer);
    const exit = once(this.#child, 'exit', { signal }).then(([code, by]): Answer => {
      const last = this.#errors.join('').trim().split('\n').at(-1) ?? '';
      return { kind: 'failed', why: `its process ended (${by ?? code}) ${last}`.trim() };
    });
    const answer = await Promise.race([message, exit]);
    // Whoever lost the race is not waited for.
    for (const one of [message, exit]) one.catch(() => {});
    ended.abort();
    if (answer.kind === 'failed') throw new Error(answer.why);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}
