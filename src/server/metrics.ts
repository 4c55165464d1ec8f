/** What the server measures, as Prometheus reads it. docs/metrics.md says where each clock starts and stops. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Engine, EngineStatus } from '../engine/engine.ts';
import type { Statistics } from '../engine/statistics.ts';

const seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];
const tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536];

export class Metrics {
  readonly registry = new Registry();
  readonly #requests: Counter<'route' | 'status'>;
  readonly #histograms: Readonly<Record<'ttft' | 'tbot' | 'total' | 'queue' | 'prompt' | 'answer', Histogram>>;
  /** Gauges and counters that are read from the engine when somebody asks. */
  readonly #readings: readonly { readonly gauge: Gauge<string>; read(status: EngineStatus): number }[];

  constructor() {
    const registers = [this.registry];
    this.#requests = new Counter({
      name: 'ingot_http_requests_total',
      help: 'Requests that were answered, by route and status',
      labelNames: ['route', 'status'],
      registers,
    });
    const histogram = (name: string, help: string, buckets = seconds) =>
      new Histogram({ name: `ingot_${name}`, help, buckets, registers });
    this.#histograms = {
      ttft: histogram('time_to_first_token_seconds', 'From the engine taking a request to its first token'),
      tbot: histogram('time_between_output_tokens_seconds', 'Mean gap between the output tokens of an answer'),
      total: histogram('request_seconds', 'From the engine taking a request to its end'),
      queue: histogram('queue_seconds', 'From the engine taking a request to its first step'),
      prompt: histogram('prompt_tokens', 'Tokens of a prompt', tokens),
      answer: histogram('generated_tokens', 'Tokens of an answer', tokens),
    };
    const gauge = (name: string, help: string, read: (status: EngineStatus) => number) => ({
      gauge: new Gauge({ name: `ingot_${name}`, help, registers }),
      read,
    });
    this.#readings = [
      gauge('requests_running', 'Requests that are computed', ({ running }) => running),
      gauge('requests_waiting', 'Requests that wait for others', ({ waiting }) => waiting),
      gauge('kv_cache_capacity_tokens', 'Tokens that the KV cache holds', ({ cache }) => cache.capacity),
      gauge('kv_cache_used_tokens', 'Tokens of the KV cache that requests use', ({ cache }) => cache.used),
      gauge(
        'kv_cache_known_tokens',
        'Tokens that no request uses and another may begin with',
        ({ cache }) => cache.known,
      ),
      gauge('steps_total', 'Steps since the start', ({ totals }) => totals.steps),
      gauge('step_seconds_total', 'Seconds in steps since the start', ({ totals }) => totals.stepSeconds),
      gauge('prompt_tokens_total', 'Tokens of prompts since the start', ({ totals }) => totals.promptTokens),
      gauge('reused_tokens_total', 'Those of them that were known', ({ totals }) => totals.reusedTokens),
      gauge('generated_tokens_total', 'Tokens of answers since the start', ({ totals }) => totals.generatedTokens),
      gauge('preemptions_total', 'Requests that gave their memory back', ({ totals }) => totals.preemptions),
      gauge('weights_bytes', 'Memory of weights', ({ memory }) => memory.weights),
      gauge('state_bytes', 'Memory of the KV cache and of sampling', ({ memory }) => memory.state),
      gauge('scratch_bytes', 'Memory of activations', ({ memory }) => memory.scratch),
    ];
    new Gauge({
      name: 'ingot_resident_bytes',
      help: 'Memory of the whole process',
      registers,
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
    new Gauge({
      name: 'ingot_javascript_heap_bytes',
      help: 'Memory of JavaScript on the main thread',
      registers,
      collect() {
        this.set(process.memoryUsage().heapUsed);
      },
    });
  }

  answered(route: string, status: number): void {
    this.#requests.inc({ route, status: String(status) });
  }

  generated({ ttftSeconds, tbotSeconds, totalSeconds, queueSeconds, promptTokens, generatedTokens }: Statistics): void {
    const { ttft, tbot, total, queue, prompt, answer } = this.#histograms;
    if (ttftSeconds !== undefined) ttft.observe(ttftSeconds);
    if (tbotSeconds !== undefined) tbot.observe(tbotSeconds);
    total.observe(totalSeconds);
    queue.observe(queueSeconds);
    prompt.observe(promptTokens);
    answer.observe(generatedTokens);
  }

  /** In Prometheus' text format. */
  async text(engine: Engine): Promise<string> {
    const status = await engine.status();
    for (const { gauge, read } of this.#readings) gauge.set(read(status));
    return this.registry.metrics();
  }
}
