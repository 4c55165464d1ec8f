/** What the server measures, as Prometheus reads it. docs/metrics.md says where each clock starts and stops. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Engine, EngineStatus, EngineTotals, ReplicaStatus } from '../engine/engine.ts';
import type { Statistics } from '../engine/statistics.ts';
import { addedTotals, noTotals } from '../engine/status.ts';
import type { ModelEvent, Models } from './models.ts';

const seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];
const tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536];

/** Of each request that was answered to its end. */
const histograms: readonly {
  readonly name: string;
  readonly help: string;
  readonly buckets: number[];
  read(statistics: Statistics): number | undefined;
}[] = [
  {
    name: 'time_to_first_token_seconds',
    help: 'From the engine taking a request to its first token',
    buckets: seconds,
    read: ({ ttftSeconds }) => ttftSeconds,
  },
  {
    name: 'time_between_output_tokens_seconds',
    help: 'Mean gap between the output tokens of an answer',
    buckets: seconds,
    read: ({ tbotSeconds }) => tbotSeconds,
  },
  {
    name: 'request_seconds',
    help: 'From the engine taking a request to its end',
    buckets: seconds,
    read: ({ totalSeconds }) => totalSeconds,
  },
  {
    name: 'queue_seconds',
    help: 'From the engine taking a request to its first step',
    buckets: seconds,
    read: ({ queueSeconds }) => queueSeconds,
  },
  { name: 'prompt_tokens', help: 'Tokens of a prompt', buckets: tokens, read: ({ promptTokens }) => promptTokens },
  {
    name: 'generated_tokens',
    help: 'Tokens of an answer',
    buckets: tokens,
    read: ({ generatedTokens }) => generatedTokens,
  },
];

/** Of an engine, now. */
const gauges: readonly { readonly name: string; readonly help: string; read(status: EngineStatus): number }[] = [
  { name: 'requests_running', help: 'Requests that are computed', read: ({ running }) => running },
  { name: 'kv_cache_capacity_tokens', help: 'Tokens that the KV cache holds', read: ({ cache }) => cache.capacity },
  { name: 'kv_cache_used_tokens', help: 'Tokens of the KV cache that requests use', read: ({ cache }) => cache.used },
  {
    name: 'kv_cache_known_tokens',
    help: 'Tokens that no request uses and another may begin with',
    read: ({ cache }) => cache.known,
  },
  {
    name: 'kv_cache_stored_tokens',
    help: 'Tokens that left the KV cache for the disk and may come back',
    read: ({ cache }) => cache.stored,
  },
  { name: 'weights_bytes', help: 'Memory of weights', read: ({ memory }) => memory.weights },
  { name: 'state_bytes', help: 'Memory of the KV cache and of sampling', read: ({ memory }) => memory.state },
  { name: 'scratch_bytes', help: 'Memory of activations', read: ({ memory }) => memory.scratch },
  {
    name: 'engine_heap_bytes',
    help: "Memory of JavaScript in the engine's thread",
    read: ({ memory }) => memory.javascript,
  },
];

/** How far the steps of an engine have used what the machine was measured to do; nothing where that is not known. */
const shares: readonly {
  readonly name: string;
  readonly help: string;
  read(status: EngineStatus): number | undefined;
}[] = [
  {
    name: 'machine_operations_per_second',
    help: 'Arithmetic that the machine can do',
    read: ({ machine }) => machine?.operations,
  },
  { name: 'machine_bytes_per_second', help: 'Bytes that the machine can read', read: ({ machine }) => machine?.bytes },
  {
    name: 'operations_share',
    help: 'Arithmetic of the steps, over what the machine could have done meanwhile',
    read: ({ machine, totals }) => machine && totals.operations / (totals.stepSeconds * machine.operations),
  },
  {
    name: 'bytes_share',
    help: 'Bytes that the steps read, over what the machine could have read meanwhile',
    read: ({ machine, totals }) => machine && totals.bytes / (totals.stepSeconds * machine.bytes),
  },
];

/** Of all engines that a model has had. */
const counters: readonly { readonly name: string; readonly help: string; read(totals: EngineTotals): number }[] = [
  { name: 'steps_total', help: 'Steps', read: ({ steps }) => steps },
  { name: 'step_seconds_total', help: 'Seconds in steps', read: ({ stepSeconds }) => stepSeconds },
  { name: 'step_requests_total', help: 'Requests in steps', read: ({ stepRequests }) => stepRequests },
  { name: 'step_tokens_total', help: 'Tokens in steps', read: ({ stepTokens }) => stepTokens },
  { name: 'step_operations_total', help: 'Arithmetic that steps asked for', read: ({ operations }) => operations },
  { name: 'step_bytes_total', help: 'Bytes that steps had to read', read: ({ bytes }) => bytes },
  { name: 'prompt_tokens_total', help: 'Tokens of prompts', read: ({ promptTokens }) => promptTokens },
  { name: 'reused_tokens_total', help: 'Those of them that were known', read: ({ reusedTokens }) => reusedTokens },
  {
    name: 'prefix_hits_total',
    help: 'Requests whose prompt began with what was known',
    read: ({ prefixHits }) => prefixHits,
  },
  { name: 'generated_tokens_total', help: 'Tokens of answers', read: ({ generatedTokens }) => generatedTokens },
  { name: 'preemptions_total', help: 'Requests that gave their memory back', read: ({ preemptions }) => preemptions },
  {
    name: 'kv_cache_evicted_tokens_total',
    help: 'Tokens that nobody used and that made room for others',
    read: ({ evictedTokens }) => evictedTokens,
  },
  {
    name: 'kv_cache_written_tokens_total',
    help: 'Those of them that were written to disk',
    read: ({ storedTokens }) => storedTokens,
  },
  {
    name: 'kv_cache_fetched_tokens_total',
    help: 'Tokens that were read from disk',
    read: ({ fetchedTokens }) => fetchedTokens,
  },
];

/** Of each of the engines that a model consists of. */
const replicaGauges: readonly { readonly name: string; readonly help: string; read(status: ReplicaStatus): number }[] =
  [
    { name: 'ready', help: 'Whether the replica works', read: ({ ready }) => Number(ready) },
    { name: 'requests', help: 'Requests that the replica has', read: ({ requests }) => requests },
  ];

const replicaCounters: typeof replicaGauges = [
  { name: 'restarts_total', help: 'Times that the replica was opened again', read: ({ restarts }) => restarts },
  { name: 'replays_total', help: 'Requests that left the replica when it was lost', read: ({ replays }) => replays },
];

interface Watched {
  readonly model: string;
  /** What it said last. */
  status: EngineStatus | undefined;
}

export class Metrics {
  readonly registry = new Registry();
  readonly #models: Models;
  readonly #requests: Counter<'route' | 'status'>;
  readonly #requestSeconds: Histogram<'route'>;
  readonly #histograms: readonly { readonly histogram: Histogram<'model'>; read(of: Statistics): number | undefined }[];
  readonly #gauges: readonly { readonly gauge: Gauge<'model'>; read(status: EngineStatus): number }[];
  readonly #shares: readonly { readonly gauge: Gauge<'model'>; read(status: EngineStatus): number | undefined }[];
  readonly #counters: readonly { readonly counter: Counter<'model'>; read(totals: EngineTotals): number }[];
  readonly #replicaGauges: readonly { readonly gauge: Gauge<'model' | 'replica'>; read(of: ReplicaStatus): number }[];
  readonly #replicaCounters: readonly {
    readonly counter: Counter<'model' | 'replica'>;
    read(of: ReplicaStatus): number;
  }[];
  readonly #loaded: Gauge<'model'>;
  readonly #loads: Counter<'model'>;
  readonly #waiting: Gauge<'model'>;
  readonly #engines = new Map<Engine, Watched>();
  /** What engines of each model had done that are gone. */
  readonly #gone = new Map<string, EngineTotals>();

  constructor(models: Models) {
    const registers = [this.registry];
    const options = <L extends string>(name: string, help: string, ...labelNames: L[]) => ({
      name: `ingot_${name}`,
      help,
      labelNames,
      registers,
    });
    this.#models = models;
    this.#requests = new Counter(
      options('http_requests_total', 'Requests that were answered, by route and status', 'route', 'status'),
    );
    this.#requestSeconds = new Histogram({
      ...options('http_request_seconds', 'From the headers of a request to the end of its answer', 'route'),
      buckets: seconds,
    });
    this.#histograms = histograms.map(({ name, help, buckets, read }) => ({
      histogram: new Histogram({ ...options(name, help, 'model'), buckets }),
      read,
    }));
    this.#gauges = gauges.map(({ name, help, read }) => ({ gauge: new Gauge(options(name, help, 'model')), read }));
    this.#shares = shares.map(({ name, help, read }) => ({ gauge: new Gauge(options(name, help, 'model')), read }));
    this.#counters = counters.map(({ name, help, read }) => ({
      counter: new Counter(options(name, help, 'model')),
      read,
    }));
    this.#replicaGauges = replicaGauges.map(({ name, help, read }) => ({
      gauge: new Gauge(options(`replica_${name}`, help, 'model', 'replica')),
      read,
    }));
    this.#replicaCounters = replicaCounters.map(({ name, help, read }) => ({
      counter: new Counter(options(`replica_${name}`, help, 'model', 'replica')),
      read,
    }));
    this.#loaded = new Gauge(options('model_loaded', 'Whether the model is in memory', 'model'));
    this.#loads = new Counter(options('model_loads_total', 'Times that the model was loaded', 'model'));
    this.#waiting = new Gauge(
      options('requests_waiting', 'Requests that wait for others, or for their model', 'model'),
    );
    new Gauge({
      ...options('resident_bytes', 'Memory of the whole process'),
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
    new Gauge({
      ...options('javascript_heap_bytes', 'Memory of JavaScript on the main thread'),
      collect() {
        this.set(process.memoryUsage().heapUsed);
      },
    });
    models.onEvent((event) => this.#take(event));
  }

  answered(route: string, status: number, seconds: number): void {
    this.#requests.inc({ route, status: String(status) });
    this.#requestSeconds.observe({ route }, seconds);
  }

  generated(model: string, statistics: Statistics): void {
    for (const { histogram, read } of this.#histograms) {
      const value = read(statistics);
      if (value !== undefined) histogram.observe({ model }, value);
    }
  }

  #take(event: ModelEvent): void {
    switch (event.kind) {
      case 'loaded':
        this.#engines.set(event.engine, { model: event.model, status: undefined });
        this.#loads.inc({ model: event.model });
        return;
      case 'left': {
        // One that died says nothing any more.
        const status = event.last ?? this.#engines.get(event.engine)?.status;
        this.#engines.delete(event.engine);
        if (status === undefined) return;
        this.#gone.set(event.model, addedTotals([this.#gone.get(event.model) ?? noTotals, status.totals]));
        return;
      }
      case 'failed':
      case 'replica':
        return;
      default:
        event satisfies never;
    }
  }

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    await Promise.all(
      [...this.#engines].map(async ([engine, watched]) => {
        watched.status = await engine.status().catch(() => watched.status);
      }),
    );
    for (const model of this.#models.names) this.#read(model);
    return this.registry.metrics();
  }

  #read(model: string): void {
    const statuses = [...this.#engines.values()].flatMap((each) =>
      each.model === model && each.status !== undefined ? [each.status] : [],
    );
    const gone = this.#gone.get(model) ?? noTotals;
    const totals = addedTotals([gone, ...statuses.map((status) => status.totals)]);
    const sum = (of: (status: EngineStatus) => number) => statuses.reduce((all, one) => all + of(one), 0);
    for (const { gauge, read } of this.#gauges) gauge.set({ model }, sum(read));
    for (const { gauge, read } of this.#shares) {
      const value = statuses.length === 1 ? read(statuses[0]) : undefined;
      if (value === undefined || Number.isNaN(value)) gauge.remove({ model });
      else gauge.set({ model }, value);
    }
    for (const { counter, read } of this.#counters) {
      counter.remove({ model });
      counter.inc({ model }, read(totals));
    }
    for (const [i, status] of statuses.flatMap(({ replicas = [] }) => replicas).entries()) {
      const labels = { model, replica: String(i) };
      for (const { gauge, read } of this.#replicaGauges) gauge.set(labels, read(status));
      for (const { counter, read } of this.#replicaCounters) {
        counter.remove(labels);
        counter.inc(labels, read(status));
      }
    }
    this.#loaded.set({ model }, this.#models.loaded(model) === undefined ? 0 : 1);
    this.#waiting.set({ model }, sum(({ waiting }) => waiting) + this.#models.waiting(model));
  }
}
