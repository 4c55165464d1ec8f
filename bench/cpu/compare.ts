/** Runs rows: both sides in turn, llama.cpp with each of its settings that may be the fastest. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { throwIfAborted } from '../../src/base/errors.ts';
import { contextOf } from '../llama-work.ts';
import { limitPeer } from './peer.ts';
import type { SpeedRow } from './rows.ts';
import { type Sample, Side } from './side.ts';
import type { IngotSettings } from './side-ingot.ts';
import type { LlamaSettings } from './side-llama.ts';
import type { OnnxSettings } from './side-onnx.ts';

/** Samples of one side with one of its settings, or why there are none. */
export type Samples =
  | { readonly setting: string; readonly samples: readonly Sample[] }
  | { readonly setting: string; readonly failed: string };

export interface Comparison {
  readonly ingot: Samples;
  /** With each of its settings. */
  readonly peer: readonly Samples[];
}

/** Where onnxruntime-node is installed, and its file of the same shape as the model. */
export interface OnnxPlace {
  readonly folder: string;
  readonly path: string;
}

export interface Place {
  readonly path: string;
  /** Folder of llama.cpp's libraries. */
  readonly llama: string;
  readonly onnx: OnnxPlace;
  readonly threads: number;
  /** Turns that count; one before them does not. */
  readonly rounds: number;
  /** Ends both sides at once. */
  readonly signal: AbortSignal;
}

const script = (name: string) => new URL(`./${name}.js`, import.meta.url);

/**
 * Rows of one model that are the same work with the same set beside the same peer: Ingot once for each, beside the peer once.
 * @throws IngotError 'Aborted'.
 */
export async function compareSpeed(rows: readonly SpeedRow[], place: Place): Promise<readonly Comparison[]> {
  const { path, threads, rounds, signal } = place;
  const [{ test, set, peer }] = rows;
  const { all, each } = contextOf(test);
  const sequences = test.kind === 'decode' ? test.sequences : 1;
  const limited = set === undefined ? undefined : limitPeer(place.llama, set);
  const ingot = rows.map(({ numerics, kv }) => {
    const settings: IngotSettings = {
      ...{ path, threads, numerics, kv, sequences, contextLength: each },
      ...(set !== undefined && { instructionSet: set }),
    };
    return new Contender('', script('side-ingot'), settings, signal);
  });
  const llama = () =>
    [true, false].map((flashAttention) => {
      const folder = limited ?? place.llama;
      const settings: LlamaSettings = { folder, path, threads, sequences, tokens: all, flashAttention };
      return new Contender(`flash attention ${flashAttention ? 'on' : 'off'}`, script('side-llama'), settings, signal);
    });
  const onnx = () => {
    const settings: OnnxSettings = { ...place.onnx, threads };
    return [new Contender('', script('side-onnx'), settings, signal)];
  };
  const others = peer === 'llama.cpp' ? llama() : onnx();
  const sides = [...ingot, ...others];
  try {
    // One that loads takes time from those that work.
    for (const side of sides) await side.open();
    for (let round = 0; round <= rounds; round++) for (const side of sides) await side.turn(test, round > 0);
    throwIfAborted(signal);
    const samples = others.map((side) => side.samples());
    return ingot.map((side) => ({ ingot: side.samples(), peer: samples }));
  } finally {
    for (const side of sides) await side[Symbol.asyncDispose]();
    if (limited !== undefined) rmSync(limited, { recursive: true });
  }
}

/** A side that may fail at any time, which ends it and not the comparison. */
class Contender implements AsyncDisposable {
  readonly #setting: string;
  readonly #script: URL;
  readonly #settings: object;
  readonly #signal: AbortSignal;
  readonly #samples: Sample[] = [];
  #side: Side | undefined;
  #failed: string | undefined;

  constructor(setting: string, script: URL, settings: object, signal: AbortSignal) {
    this.#setting = setting;
    this.#script = script;
    this.#settings = settings;
    this.#signal = signal;
  }

  async open(): Promise<void> {
    await this.#unlessFailed(async () => {
      this.#side = await Side.open(this.#script, this.#settings, this.#signal);
    });
  }

  async turn(test: SpeedRow['test'], counts: boolean): Promise<void> {
    await this.#unlessFailed(async () => {
      const sample = await this.#side?.run(test);
      if (sample !== undefined && counts) this.#samples.push(sample);
    });
  }

  async #unlessFailed(work: () => Promise<void>): Promise<void> {
    throwIfAborted(this.#signal);
    if (this.#failed !== undefined) return;
    try {
      await work();
    } catch (error) {
      this.#failed = error instanceof Error ? error.message : String(error);
      await this[Symbol.asyncDispose]();
    }
  }

  samples(): Samples {
    const [setting, samples] = [this.#setting, this.#samples];
    return this.#failed === undefined ? { setting, samples } : { setting, failed: this.#failed };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#side?.[Symbol.asyncDispose]();
    this.#side = undefined;
  }
}

/** Processes that print their first token, from their start until they do. @throws IngotError 'Aborted'. */
export async function compareStart({ path, llama: libraries, threads, rounds, signal }: Place): Promise<Comparison> {
  const command = new URL('../../ingot/main.js', import.meta.url).pathname;
  const ingot = [command, 'run', path, 'Hello', '-n', '1', '--temperature', '0', '--threads', String(threads)];
  const llama = [script('first-token-llama').pathname, libraries, path, String(threads)];
  const samples = [ingot, llama].map((): Sample[] => []);
  const failed: (string | undefined)[] = [undefined, undefined];
  for (let round = 0; round <= rounds; round++) {
    for (const [side, args] of [ingot, llama].entries()) {
      if (failed[side] !== undefined) continue;
      const seconds = await secondsToOutput(args, signal);
      throwIfAborted(signal);
      if (seconds === undefined) failed[side] = `${args.join(' ')} printed nothing`;
      else if (round > 0) samples[side].push({ seconds, peakBytes: 0 });
    }
  }
  const of = (side: number): Samples => {
    const why = failed[side];
    return why === undefined ? { setting: '', samples: samples[side] } : { setting: '', failed: why };
  };
  return { ingot: of(0), peer: [of(1)] };
}

async function secondsToOutput(args: readonly string[], signal: AbortSignal): Promise<number | undefined> {
  const start = performance.now();
  const child = spawn(process.execPath, [...args], { stdio: ['ignore', 'pipe', 'ignore'], signal });
  let seconds: number | undefined;
  child.stdout.on('data', () => {
    seconds ??= (performance.now() - start) / 1000;
  });
  // What is aborted is an error to whoever waits.
  await once(child, 'close').catch(() => {});
  return seconds;
}
