/** `ingot serve [MODEL...]`: an OpenAI-compatible API, until a signal ends it. */
import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { IngotError } from '../base/errors.ts';
import { Workers } from '../engine/workers-node.ts';
import { systemError } from '../formats/file-node.ts';
import { type ModelSource, Models, type ModelsOptions } from '../server/models.ts';
import { bundledModel } from './bundled-model.ts';
import { exitCodes, usageError } from './failure.ts';
import { splitName } from './named-model.ts';
import {
  addEngineOptions,
  byteSize,
  type EngineFlags,
  engineSettings,
  gather,
  numberIn,
  wholeNumber,
} from './options.ts';
import { showProgress } from './progress.ts';
import { formatBytes, formatThreads } from './report.ts';
import { servedModels } from './served-models.ts';

interface ServeOptions extends EngineFlags {
  readonly host: string;
  readonly port: number;
  readonly sequences: number;
  readonly queue: number;
  readonly queueTime?: number;
  readonly pace?: number;
  readonly cache?: number;
  readonly kvDisk?: number;
  readonly traceSteps?: string;
  readonly context: number;
  readonly name?: string;
  readonly memory?: number;
  readonly apiKey?: readonly string[];
  readonly apiKeyFile?: string;
  readonly isolate?: boolean;
  readonly metricsKey?: string;
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  readonly cors?: readonly string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly drain: number;
  readonly verbose?: boolean;
}

export function addServe(program: Command): void {
  const command = program
    .command('serve')
    .summary('answer over HTTP, as OpenAI does')
    .description(
      'Serves models at /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models, /tokenize, /detokenize, /health, /ready ' +
        'and /metrics, and a page to chat in at /. The first is loaded at once, others when they are asked for. Requests are computed together; ' +
        'Ctrl-C, SIGTERM or SIGHUP lets those that run finish, a second one ends them.',
    )
    .argument('[models...]', 'GGUF files or Hugging Face folders, also NAME=MODEL; the bundled model without any')
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <port>', '0 = one that is free', wholeNumber(0, 65535), 8080)
    .option('--sequences <n>', 'requests of a model that are computed together at most', wholeNumber(1, 1024), 16)
    .option('--queue <n>', 'requests that wait at most; more are refused with status 429', wholeNumber(0), 256)
    .option('--queue-time <seconds>', 'refuse with status 503 what has waited for so long', numberIn(0, 1e6))
    .option('--pace <x>', 'steps with prompts may take x times as long as without (default: 1.75)', numberIn(1, 1000))
    .option('--context <tokens>', 'longest request, prompt and answer, as far as a model goes', wholeNumber(1), 4096)
    .option(
      '--cache <tokens>',
      "tokens of a model's KV cache (default: enough for all requests at their longest)",
      wholeNumber(1),
    )
    .option('--kv-disk <size>', 'disk for what the KV cache has no room for, like 2GB', byteSize)
    .option('--name <name>', "what clients call the model (default: the file's name)")
    .option(
      '--memory <size>',
      'weights, caches and temporaries of all loaded models at most, like 8GB (default: what is free at the start)',
      byteSize,
    )
    .option('--api-key <key>', 'clients have to send one of these keys; may be given several times', gather)
    .option('--api-key-file <file>', 'more keys, one a line; # begins a comment')
    .option('--isolate', 'no key finds what another has computed, by its answers or by their time')
    .option('--metrics-key <key>', 'who sends this key, and nobody else, reads /metrics')
    .option('--requests-per-minute <n>', 'of each key', wholeNumber(1))
    .option('--tokens-per-minute <n>', 'of each key, of prompts and answers', wholeNumber(1))
    .option('--cors <origin>', 'pages of this origin may ask (* = any); may be given several times', gather)
    .option('--tls-cert <file>', 'certificate, PEM')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--drain <seconds>', 'at the end requests that run have so long to finish', wholeNumber(0), 30)
    .option('--trace-steps <file>', 'write a line of JSON for each step: what it held and how long it took')
    .option('--verbose', 'log every request; never what was asked or answered');
  addEngineOptions(command).action((models: readonly string[], options: ServeOptions) =>
    run(models.length > 0 ? models : [bundledModel], options),
  );
}

async function run(named: readonly string[], options: ServeOptions): Promise<void> {
  const { port, host, isolate, cors, metricsKey, requestsPerMinute, tokensPerMinute } = options;
  const tls = readTls(options);
  const apiKeys = readKeys(options);
  const stopped = signals();
  using progress = showProgress('Loading');
  await using workers = new Workers();
  const sources = await findModels(named, options, workers, progress.update);
  await using models = new Models(sources, await memoryOf(sources, options));
  const lost = allLost(models);
  lost.catch(() => {});
  // The engine loads in its own thread: the server's libraries are read meanwhile.
  const loading = Promise.race([models.preload().then(() => true), stopped.then(() => false)]);
  loading.catch(() => {});
  const [{ createApp }, { listen }, { pino }] = await Promise.all([
    import('../server/app.ts'),
    import('../server/listen.ts'),
    import('pino'),
  ]);
  const log = pino({ level: options.verbose ? 'info' : 'warn' }, pino.destination({ dest: 2, sync: false }));
  const app = createApp({
    models,
    log,
    apiKeys,
    requestsPerMinute,
    tokensPerMinute,
    ...(isolate && { isolate }),
    ...(metricsKey !== undefined && { metricsKey }),
    ...(cors && { cors }),
  });
  await using server = await listen(app, { host, port, drainSeconds: options.drain, ...(tls && { tls }) });
  if (!(await loading)) {
    await models[Symbol.asyncDispose]();
    throw new IngotError('Aborted', 'stopped before the model was loaded');
  }
  progress[Symbol.dispose]();
  console.error(describe(models, server.url, options));
  if (apiKeys.length === 0 && !isLoopback(server.host)) {
    console.error('Whoever reaches this machine may ask: --api-key says who may.');
  }
  await Promise.race([stopped, lost]);
  console.error('no new requests; those that run are finished (again to end them)');
}

/** @throws IngotError when the last engine of a model is lost, and none comes in its place: whoever has started the server may start it again. */
function allLost(models: Models): Promise<never> {
  return new Promise((_, reject) => {
    models.onEvent((event) => {
      if (event.kind !== 'replica' || event.event.kind !== 'lost' || event.event.returns) return;
      if (models.replicas.ready === 0) reject(event.event.error);
    });
  });
}

async function memoryOf(sources: readonly ModelSource[], { memory }: ServeOptions): Promise<ModelsOptions> {
  if (memory !== undefined) return { memory };
  // One alone has what there is.
  if (sources.length === 1) return {};
  const { availableMemory } = await import('../devices/open-node.ts');
  return { memory: availableMemory() };
}

async function findModels(
  named: readonly string[],
  options: ServeOptions,
  workers: Workers,
  onProgress: (done: number, total: number) => void,
): Promise<readonly ModelSource[]> {
  const { sequences, queue, queueTime, pace, traceSteps, context, cache, kvDisk, name, memory } = options;
  if (name !== undefined && named.length > 1) throw usageError('--name is for one model', 'Write NAME=MODEL for each.');
  if (options.groups !== undefined && named.length > 1) throw usageError('ranks of other processes serve one model');
  if (traceSteps !== undefined && named.length > 1) throw usageError('--trace-steps is for one model');
  const sources = await servedModels(
    named.map((text) => ({ ...splitName(text, existsSync), ...(name !== undefined && { name }) })),
    {
      ...engineSettings(options),
      ...{ workers, sequences, queue, compilesAll: true },
      contextLength: context,
      ...(queueTime !== undefined && { queueSeconds: queueTime }),
      ...(pace !== undefined && { pace }),
      ...(cache !== undefined && { cacheTokens: cache }),
      ...(kvDisk !== undefined && { kvDisk }),
      ...(traceSteps !== undefined && { traceSteps }),
    },
    memory !== undefined,
    onProgress,
  );
  const large = sources.find(({ bytes }) => memory !== undefined && bytes > memory);
  if (large === undefined) return sources;
  const hint = 'Give them more of it, or ask for less: --sequences, --context.';
  throw usageError(`${large.name} needs ${formatBytes(large.bytes)} of memory, more than --memory allows`, hint);
}

function readTls({ tlsCert, tlsKey }: ServeOptions): { cert: string; key: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw usageError('--tls-cert and --tls-key go together');
  return { cert: read(tlsCert), key: read(tlsKey) };
}

function readKeys({ apiKey = [], apiKeyFile, isolate }: ServeOptions): readonly string[] {
  const lines = apiKeyFile === undefined ? [] : read(apiKeyFile).split(/\r?\n/);
  const ofFile = lines.map((line) => line.replace(/#.*/, '').trim()).filter(Boolean);
  if (apiKeyFile !== undefined && ofFile.length === 0) throw usageError(`${apiKeyFile} holds no key`);
  const keys = [...apiKey, ...ofFile];
  if (keys.some((key) => !/^[!-~]+$/.test(key))) {
    throw usageError('an API key is empty, or holds what a header cannot', 'Use letters, digits and signs of ASCII.');
  }
  if (isolate && keys.length === 0) throw usageError('--isolate keeps keys apart, and there are none: --api-key');
  return [...new Set(keys)];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw systemError(cause, path);
  }
}

function describe(models: Models, url: string, { sequences }: ServeOptions): string {
  const [first, ...others] = models.names;
  const engine = models.loaded(first);
  const how =
    engine &&
    ` (${engine.device.name}, ${formatThreads(engine.device.threads)}, ${sequences} requests of ${engine.contextLength} tokens)`;
  const more = others.length === 0 ? '' : `; ${others.join(', ')} when asked for`;
  return `${first} is served at ${url}/v1${how ?? ''}${more}`;
}

const isLoopback = (address: string) => address === '::1' || address.startsWith('127.');

/** Settles with the first signal; the second ends the process. */
function signals(): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    const onSignal = () => {
      if (++count > 1) process.exit(exitCodes.interrupted);
      resolve();
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, onSignal);
  });
}
