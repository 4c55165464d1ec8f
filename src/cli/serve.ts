/** `ingot serve [MODEL]`: an OpenAI-compatible API, until a signal ends it. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { pino } from 'pino';
import { IngotError } from '../base/errors.ts';
import { openEngine } from '../engine/open-node.ts';
import { createApp } from '../server/app.ts';
import { listen } from '../server/listen.ts';
import { Models } from '../server/models.ts';
import { bundledModel } from './bundled-model.ts';
import { usageError } from './failure.ts';
import { gather, numberIn, wholeNumber } from './options.ts';
import { showProgress } from './progress.ts';

interface ServeOptions {
  readonly host: string;
  readonly port: number;
  readonly sequences: number;
  readonly queue: number;
  readonly queueTime?: number;
  readonly pace?: number;
  readonly traceSteps?: string;
  readonly context?: number;
  readonly name?: string;
  readonly apiKey?: readonly string[];
  readonly isolate?: boolean;
  readonly cors?: readonly string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly device?: string;
  readonly threads?: number;
  readonly mlock?: boolean;
  readonly verbose?: boolean;
}

export function addServe(program: Command): void {
  program
    .command('serve')
    .summary('answer over HTTP, as OpenAI does')
    .description(
      'Serves a model at /v1/chat/completions, /v1/completions, /v1/models, /tokenize, /detokenize, /health, /ready and /metrics.\n' +
        'Requests are computed together; Ctrl-C or SIGTERM lets those that run finish, a second one ends them.',
    )
    .argument('[model]', 'a GGUF file or a Hugging Face folder; the bundled model without it')
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <port>', '0 = one that is free', wholeNumber(0, 65535), 8080)
    .option('--sequences <n>', 'requests that are computed together at most', wholeNumber(1, 1024), 16)
    .option('--queue <n>', 'requests that wait at most; more are refused with status 429', wholeNumber(0), 256)
    .option('--queue-time <seconds>', 'refuse with status 503 what has waited for so long', numberIn(0, 1e6))
    .option('--pace <x>', 'steps with prompts may take x times as long as without (default: 2)', numberIn(1, 1000))
    .option(
      '--context <tokens>',
      "longest request, prompt and answer (default: the model's, at most 4096)",
      wholeNumber(1),
    )
    .option('--name <name>', "what clients call the model (default: the file's name)")
    .option('--api-key <key>', 'clients have to send one of these keys; may be given several times', gather)
    .option('--isolate', 'no key finds what another has computed, by its answers or by their time')
    .option('--cors <origin>', 'pages of this origin may ask (* = any); may be given several times', gather)
    .option('--tls-cert <file>', 'certificate, PEM')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--device <name>', 'where to compute: cpu or reference (default: the first that can be used)')
    .option('--threads <n>', 'threads to use at most', wholeNumber(1, 4096))
    .option('--mlock', 'keep weights and cache in memory, whatever else the machine does')
    .option('--trace-steps <file>', 'write a line of JSON for each step: what it held and how long it took')
    .option('--verbose', 'log every request; never what was asked or answered')
    .action((model: string | undefined, options: ServeOptions) => run(model ?? bundledModel, options));
}

/** Longer contexts take memory that few need; who does says so. */
const defaultContext = 4096;

async function run(path: string, options: ServeOptions): Promise<void> {
  const { host, port, sequences, queue, queueTime, pace, traceSteps, context, ...others } = options;
  const { device, threads, mlock, isolate, cors } = others;
  const tls = readTls(options);
  const name = options.name ?? (path === bundledModel ? 'tales' : basename(path).replace(/\.gguf$/i, ''));
  const engine = await openWithProgress();
  await using models = new Models([{ name, bytes: 0, open: async () => engine }]);
  const log = pino({ level: options.verbose ? 'info' : 'warn' }, pino.destination({ dest: 2, sync: false }));
  const app = createApp({
    models,
    log,
    ...(options.apiKey && { apiKeys: options.apiKey }),
    ...(isolate && { isolate }),
    ...(cors && { cors }),
  });
  await models.preload();
  await using server = await listen(app, { host, port, ...(tls && { tls }) });
  const { contextLength, device: used } = engine;
  console.error(
    `${name} is served at ${server.url}/v1 (${used.name}, ${used.threads} threads, ${sequences} requests of ${contextLength} tokens)`,
  );
  await ended();
  console.error('no new requests; those that run are finished (again to end them)');

  async function openWithProgress() {
    using progress = showProgress('Loading');
    return await openEngine(path, {
      sequences,
      queue,
      onProgress: progress.update,
      contextLength: context ?? { atMost: defaultContext },
      ...(queueTime !== undefined && { queueSeconds: queueTime }),
      ...(pace !== undefined && { pace }),
      ...(traceSteps !== undefined && { traceSteps }),
      ...(device !== undefined && { device }),
      ...(threads !== undefined && { threads }),
      ...(mlock !== undefined && { mlock }),
    });
  }
}

function readTls({ tlsCert, tlsKey }: ServeOptions): { cert: string; key: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw usageError('--tls-cert and --tls-key go together');
  const read = (path: string) => {
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      throw new IngotError('FileNotFound', `cannot read ${path}`, { path, cause });
    }
  };
  return { cert: read(tlsCert), key: read(tlsKey) };
}

/** Settles with the first signal; the second ends the process. */
function ended(): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    const onSignal = () => {
      if (++signals > 1) process.exit(130);
      resolve();
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}
