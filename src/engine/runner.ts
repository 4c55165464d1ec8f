/**
 * Runs planned steps: fills the step descriptor, submits once, waits. The only part of the engine that touches the
 * device; it owns the weights, the pools and the compiled programs.
 */
import { IngotError, type StopSignal } from '../base/errors.ts';
import { compile } from '../compiler/compile.ts';
import type { StepLimits } from '../composites/step.ts';
import type { Bound, Device, DeviceBuffer, Executable } from '../devices/device.ts';
import type { Program } from '../ir/program.ts';
import { maxBytes } from '../ir/types.ts';
import type { BuildOptions, Model } from '../models/model.ts';
import type { DotNumerics } from '../numerics/dot.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import type { EngineNumerics } from './engine.ts';
import { memoryNeed, refuseTooLarge } from './memory-need.ts';
import { type PackOptions, packWeights, type Weights } from './pack-weights.ts';
import { type Pool, Pools } from './pools.ts';
import type { SamplingParameters } from './sampling.ts';
import type { CachedSequence, StepEntry } from './sequence.ts';
import { StepInputs } from './step-inputs.ts';

export interface RunnerOptions extends PackOptions {
  readonly limits: StepLimits;
  readonly kv: KvFormat;
  /** 'exact' if absent. */
  readonly numerics?: EngineNumerics;
  /** As of an engine. */
  readonly compilesAll?: boolean;
  /** Packed already, or soon; they are the caller's, and stay longer than this. */
  readonly weights?: Promise<Weights>;
  /** Sees each program that is compiled, before the first pass and after each. */
  readonly onPass?: (pass: string, program: Program) => void;
}

/** A step that was submitted. Either method once. */
export interface RunningStep {
  /** @throws IngotError 'Aborted' when the signal stopped it, and whatever the device says. */
  result(signal?: StopSignal): Promise<StepResult>;
  /** For a step that nobody wants any more: stops it, and returns when it no longer runs. */
  drop(): Promise<void>;
}

/** What a step sampled: one entry for each row, in the order of the entries that sample. */
export interface StepResult {
  readonly ids: Int32Array;
  /** Of the sampled ids, under the raw logits. */
  readonly logprobs: Float32Array;
  /** [R, V]; only if asked for. */
  readonly logits?: Float32Array;
}

type Entry = StepEntry<CachedSequence>;

type Results = BuildOptions['results'];

export class Runner implements AsyncDisposable {
  readonly limits: StepLimits;
  readonly #device: Device;
  readonly #model: Model;
  readonly #kv: KvFormat;
  readonly #numerics: EngineNumerics;
  readonly #onPass: RunnerOptions['onPass'];
  #weights: Weights = new Map();
  /** Those of them that go with this. */
  #owned: Weights = new Map();
  readonly #state = new Map<string, DeviceBuffer>();
  readonly #bound = new Map<string, Bound>();
  readonly #answerInputs: StepInputs;
  /** Of texts, which sample nothing. */
  readonly #textInputs: StepInputs;
  #pools: Pools | undefined;

  private constructor(device: Device, model: Model, { limits, kv, numerics = 'exact', onPass }: RunnerOptions) {
    this.#onPass = onPass;
    this.#device = device;
    this.#model = model;
    this.#kv = kv;
    this.#numerics = numerics;
    this.limits = limits;
    this.#answerInputs = new StepInputs(limits, true);
    this.#textInputs = new StepInputs(limits, false);
  }

  /** Compiles the sampling programs, packs the weights, allocates the pools. Whatever fails leaves nothing allocated. */
  static async load(device: Device, model: Model, options: RunnerOptions): Promise<Runner> {
    const runner = new Runner(device, model, options);
    try {
      await runner.#load(options);
      return runner;
    } catch (error) {
      await runner[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Compiles what `load` would, for a device that keeps what it made. */
  static async compileAhead(device: Device, model: Model, options: RunnerOptions): Promise<void> {
    const runner = new Runner(device, model, options);
    using _ = await runner.#compile(runner.#first, 'i8');
  }

  get #first(): Results {
    return this.#model.results.includes('sample') ? ['sample'] : ['embedding'];
  }

  /** What requests ask for now and then. */
  get #rare(): readonly Results[] {
    const { results } = this.#model;
    return [
      ...(results.includes('sample') ? [['sample', 'logits'] as const] : []),
      ...(results.includes('embedding') ? [['embedding'] as const] : []),
    ];
  }

  async #load({ weights: given, compilesAll, ...options }: RunnerOptions): Promise<void> {
    const first = this.#first;
    const executable = await this.#compile(first, 'i8');
    refuseTooLarge(this.#device, memoryNeed(this.#device, this.#model, executable), this.limits);
    if (given === undefined) this.#owned = await packWeights(this.#device, this.#model, options);
    this.#weights = (await given) ?? this.#owned;
    for (const { name, type, role } of executable.program.parameters) {
      if (role === 'state') this.#state.set(name, await this.#device.allocate(type, 'state'));
    }
    this.#pools = new Pools(this.#device, this.#listPools());
    this.#bound.set(`${first.join('+')} i8`, await this.#device.bind(executable, this.#weights, this.#state));
    const numerics: readonly DotNumerics[] = this.#numerics === 'fast' ? ['i8', 'bf16'] : ['i8'];
    const all = (compilesAll ?? this.limits.maxSequences > 1) ? [first, ...this.#rare] : [first];
    for (const each of numerics) for (const results of all) await this.#bind(results, each);
  }

  #listPools(): readonly Pool[] {
    const { windows = [], blockCount } = this.limits;
    return [...this.#state].flatMap(([name, buffer]) => {
      const [kv, layer] = name.split('.');
      if (kv !== 'kv') return [];
      const w = windows.findIndex(({ window }) => window === this.#model.windowOf(Number(layer)));
      return [{ buffer, bytes: maxBytes(buffer.type) / (windows[w]?.blockCount ?? blockCount), place: w + 1 }];
    });
  }

  get pools(): Pools {
    if (this.#pools === undefined) throw new IngotError('InvalidArgument', 'no model is loaded');
    return this.#pools;
  }

  #compile(results: Results, numerics: DotNumerics): Promise<Executable> {
    const program = this.#model.build({ limits: this.limits, kv: this.#kv, numerics, results });
    // Who wants to see the passes has to have them run.
    if (this.#onPass !== undefined) return this.#device.compile(compile(program, { dump: this.#onPass }));
    return this.#device.compile(program, compile);
  }

  /** Programs that were not compiled at first are when they are asked for; all share weights and pools. */
  async #bind(results: Results, numerics: DotNumerics): Promise<Bound> {
    const key = `${results.join('+')} ${numerics}`;
    const known = this.#bound.get(key);
    if (known !== undefined) return known;
    const executable = await this.#compile(results, numerics);
    const bound = await this.#device.bind(executable, this.#weights, this.#state);
    this.#bound.set(key, bound);
    return bound;
  }

  #numericsOf(entries: readonly Entry[]): DotNumerics {
    return this.#numerics === 'fast' && entries.some(({ count }) => count > 1) ? 'bf16' : 'i8';
  }

  /** A sequence takes over row `row` of the token counts: its first `promptTokens` tokens are its prompt, the others its answer. */
  begin(row: number, tokens: readonly number[], promptTokens = tokens.length): void {
    const counts = this.#state.get('counts');
    if (counts === undefined) throw new IngotError('InvalidArgument', 'the model has no token counts');
    const size = this.#model.vocabularySize;
    const values = new Int32Array(2 * size);
    tokens.forEach((id, i) => {
      values[i < promptTokens ? id : size + id]++;
    });
    this.#device.write(counts, values, row * values.byteLength);
  }

  /** Starts to compute the entries and to sample the rows that their sequences ask for, after what was submitted before. */
  async submit(
    entries: readonly Entry[],
    sampling: readonly SamplingParameters[],
    withLogits: boolean,
  ): Promise<RunningStep> {
    const bound = await this.#bind(withLogits ? ['sample', 'logits'] : ['sample'], this.#numericsOf(entries));
    const inputs = this.#answerInputs;
    const dims = inputs.fill(entries, ({ samples }) => (samples ? 1 : 0));
    inputs.fillSampling(entries, sampling);
    const ticket = this.#device.submit(bound, inputs.named, dims);
    return {
      result: async (signal) => {
        const results = await this.#device.wait(ticket, Number.POSITIVE_INFINITY, signal);
        const logits = results.get('logits');
        return {
          ids: int32(results.get('ids')),
          logprobs: float32(results.get('logprobs')),
          ...(logits !== undefined && { logits: copied(logits) }),
        };
      },
      drop: async () => {
        // How it ended is nobody's business any more.
        await this.#device.wait(ticket, Number.POSITIVE_INFINITY, AbortSignal.abort()).catch(() => {});
      },
    };
  }

  /** Computes an entry. Logits of each of its tokens, [count, V], where they are `wanted`: then `count` is at most maxRows. */
  async score(entry: Entry, signal?: StopSignal, wanted = true): Promise<Float32Array> {
    const bound = await this.#bind(['logits'], this.#numericsOf([entry]));
    const results = await this.#compute(bound, [entry], ({ count }) => (wanted ? count : 0), signal);
    return copied(results.get('logits'));
  }

  /** The embeddings of the entries' sequences, [S, H], as far as their tokens have been computed. */
  async embed(entries: readonly Entry[], signal?: StopSignal): Promise<Float32Array> {
    const bound = await this.#bind(['embedding'], this.#numericsOf(entries));
    return copied((await this.#compute(bound, entries, () => 1, signal)).get('embedding'));
  }

  #compute(bound: Bound, entries: readonly Entry[], rowsOf: (entry: Entry) => number, signal: StopSignal | undefined) {
    const dims = this.#textInputs.fill(entries, rowsOf);
    const ticket = this.#device.submit(bound, this.#textInputs.named, dims);
    return this.#device.wait(ticket, Number.POSITIVE_INFINITY, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bound of this.#bound.values()) {
      bound[Symbol.dispose]();
      bound.executable[Symbol.dispose]();
    }
    for (const buffer of [...this.#owned.values(), ...this.#state.values()]) buffer[Symbol.dispose]();
    this.#bound.clear();
    this.#weights = this.#owned = new Map();
    this.#state.clear();
  }
}

function float32(view: ArrayBufferView | undefined): Float32Array {
  if (view === undefined) throw new IngotError('DeviceFault', 'the step returned no such result');
  return new Float32Array(view.buffer, view.byteOffset, view.byteLength / 4);
}

/** Of what is as large as a device may want back when the next run is waited for. */
const copied = (view: ArrayBufferView | undefined) => float32(view).slice();

function int32(view: ArrayBufferView | undefined): Int32Array {
  if (view === undefined) throw new IngotError('DeviceFault', 'the step returned no such result');
  return new Int32Array(view.buffer, view.byteOffset, view.byteLength / 4);
}
