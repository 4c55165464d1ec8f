/**
 * llama.cpp behind an OpenAI-compatible address, so that `ingot bench serve` measures it as it measures Ingot:
 * `node dist/bench/llama-server.js PACKAGE MODEL.gguf [--sequences N] [--context TOKENS] [--batch TOKENS] [--threads N] [--port PORT]`.
 * PACKAGE is the folder of an installed node-llama-cpp, whose llama.cpp is prebuilt and has no server of its own. Like that of llama.cpp, this
 * one computes all sequences that run in one batch, and gives a request the idle sequence whose history begins most like it; requests
 * beyond that wait. Only streams of `/v1/completions` are answered, greedily, as long as asked for (`ignore_eos`).
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/options.ts';

/** What is used of node-llama-cpp. */
interface Sequence {
  readonly contextTokens: readonly number[];
  adaptStateToTokens(tokens: readonly number[], allowShift: boolean): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number, void, undefined>;
}
interface LlamaModel {
  readonly tokens: { readonly bos: number | null };
  tokenize(text: string): readonly number[];
  detokenize(tokens: readonly number[]): string;
  createContext(options: object): Promise<{ getSequence(): Sequence }>;
}
interface Package {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}

interface Options {
  readonly sequences: number;
  readonly context: number;
  readonly batch: number;
  readonly threads: number;
  readonly port: number;
}

interface Asked {
  readonly prompt: string;
  readonly max_tokens: number;
}

/** Idle sequences, and who waits for one. */
class Slots {
  readonly #idle: Sequence[];
  readonly #waiting: (() => void)[] = [];

  constructor(sequences: readonly Sequence[]) {
    this.#idle = [...sequences];
  }

  /** The one that holds most of the prompt's beginning. */
  async take(tokens: readonly number[]): Promise<Sequence> {
    while (this.#idle.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const known = this.#idle.map((sequence) => shared(sequence.contextTokens, tokens));
    const [best] = this.#idle.splice(known.indexOf(Math.max(...known)), 1);
    return best;
  }

  give(sequence: Sequence): void {
    this.#idle.push(sequence);
    this.#waiting.shift()?.();
  }
}

function shared(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

async function serve(folder: string, path: string, options: Options): Promise<void> {
  const { sequences, context: contextSize, batch: batchSize, threads, port } = options;
  const { getLlama } = (await import(pathToFileURL(join(folder, 'dist', 'index.js')).href)) as Package;
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    maxThreads: threads,
    logLevel: 'error',
  });
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  // Its own size is that of one sequence; threads are not shared out among those that run.
  const context = await model.createContext({
    ...{ sequences, contextSize, batchSize, flashAttention: true },
    threads: { ideal: threads, min: threads },
  });
  const slots = new Slots(Array.from({ length: sequences }, () => context.getSequence()));

  async function complete({ prompt, max_tokens: most }: Asked, response: ServerResponse): Promise<void> {
    const { bos } = model.tokens;
    const tokens = [...(bos === null ? [] : [bos]), ...model.tokenize(prompt)];
    const sequence = await slots.take(tokens);
    let made = 0;
    try {
      // Who waited may have gone.
      if (response.destroyed) return;
      const known = Math.min(shared(sequence.contextTokens, tokens), tokens.length - 1);
      await sequence.adaptStateToTokens(tokens.slice(0, known), false);
      const send = (value: object) => response.write(`data: ${JSON.stringify(value)}\n\n`);
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      if (most > 0) {
        for await (const token of sequence.evaluate(tokens.slice(known), { temperature: 0, yieldEogToken: true })) {
          send({ choices: [{ index: 0, text: model.detokenize([token]), finish_reason: null }] });
          if (++made >= most || response.destroyed) break;
        }
      }
      send({ choices: [{ index: 0, text: '', finish_reason: 'length' }] });
      const details = { prompt_tokens_details: { cached_tokens: known } };
      send({ choices: [], usage: { prompt_tokens: tokens.length, completion_tokens: made, ...details } });
      response.end('data: [DONE]\n\n');
    } finally {
      slots.give(sequence);
    }
  }

  const server = createServer(async (request, response) => {
    if (request.method === 'GET') {
      response.setHeader('Content-Type', 'application/json').end('{"data": [{"id": "llama.cpp"}]}');
      return;
    }
    try {
      await complete(JSON.parse(await bodyOf(request)) as Asked, response);
    } catch (error) {
      if (!response.headersSent) response.writeHead(500);
      response.end(JSON.stringify({ error: { message: String(error) } }));
    }
  });
  server.listen(port, '127.0.0.1', () => {
    console.error(`llama.cpp is served at http://127.0.0.1:${port}/v1 (${threads} threads, ${sequences} sequences)`);
  });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request.setEncoding('utf8')) text += part;
  return text;
}

await new Command('llama-server')
  .argument('<package>')
  .argument('<model>')
  .option('--sequences <n>', 'computed together', wholeNumber(1), 16)
  .option('--context <tokens>', 'of each sequence', wholeNumber(1), 512)
  .option('--batch <tokens>', 'in a step at most', wholeNumber(1), 512)
  .option('--threads <n>', 'to compute with', wholeNumber(1), 2)
  .option('--port <port>', 'where to listen', wholeNumber(1, 65535), 8090)
  .action(serve)
  .parseAsync();
