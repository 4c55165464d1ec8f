/**
 * Speed of onnxruntime-node, on which transformers.js computes in Node, on a file of bench/make-onnx.py, in the rows of `ingot bench
 * --json`: `node dist/bench/onnx.js FOLDER MODEL.onnx [-p TOKENS] [-n TOKENS] [-t THREADS]`. FOLDER is where the package onnxruntime-node is
 * installed. Keys and values are in F32; nothing is sampled.
 */
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/options.ts';
import { peakBytes } from './peak.ts';

/** Of onnxruntime-node, what is used. */
interface Runtime {
  readonly Tensor: new (type: 'float32' | 'int64' | 'int32', data: TensorData, dims: readonly number[]) => Tensor;
  readonly InferenceSession: { create(path: string, options: object): Promise<Session> };
}
type TensorData = Float32Array | BigInt64Array | Int32Array;
interface Tensor {
  readonly data: TensorData;
}
interface Session {
  readonly inputMetadata: readonly { readonly name: string; readonly shape: readonly (number | string)[] }[];
  run(feeds: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>>;
}
type Caches = Readonly<Record<string, Tensor>>;

interface Options {
  readonly p: number;
  readonly n: number;
  readonly threads: number;
}

const repetitions = 3;
const past = 'past_key_values.';

class OnnxWork {
  readonly #runtime: Runtime;
  readonly #session: Session;
  readonly #empty: Caches;

  constructor(runtime: Runtime, session: Session) {
    this.#runtime = runtime;
    this.#session = session;
    const caches = session.inputMetadata.filter(({ name }) => name.startsWith(past));
    const tensor = (shape: readonly (number | string)[]) =>
      new runtime.Tensor('float32', new Float32Array(0), [1, Number(shape[1]), 0, Number(shape[3])]);
    this.#empty = Object.fromEntries(caches.map(({ name, shape }) => [name, tensor(shape)]));
  }

  /** The caches after so many more tokens. */
  async #step(tokens: number, depth: number, caches: Caches): Promise<Caches> {
    const { Tensor } = this.#runtime;
    const ids = BigInt64Array.from({ length: tokens }, (_, i) => BigInt(100 + (((depth + i) * 7919) % 20000)));
    const results = await this.#session.run({
      input_ids: new Tensor('int64', ids, [1, tokens]),
      last: new Tensor('int64', BigInt64Array.of(BigInt(tokens - 1)), [1]),
      seqlens_k: new Tensor('int32', Int32Array.of(depth + tokens - 1), [1]),
      total_sequence_length: new Tensor('int32', Int32Array.of(depth + tokens), []),
      ...caches,
    });
    const { 'head.out': logits, ...present } = results;
    if (!Number.isFinite(logits.data[0])) throw new Error('logits are no numbers');
    return Object.fromEntries(Object.entries(present).map(([name, value]) => [name.replace('present.', past), value]));
  }

  async prefill(tokens: number): Promise<number> {
    const start = performance.now();
    await this.#step(tokens, 0, this.#empty);
    return (performance.now() - start) / 1000;
  }

  async decode(tokens: number): Promise<number> {
    let caches = await this.#step(1, 0, this.#empty);
    const start = performance.now();
    for (let i = 1; i <= tokens; i++) caches = await this.#step(1, i, caches);
    return (performance.now() - start) / 1000;
  }
}

async function measure(folder: string, path: string, { p, n, threads }: Options): Promise<void> {
  const runtime = createRequire(join(resolve(folder), 'node_modules/'))('onnxruntime-node') as Runtime;
  const session = await runtime.InferenceSession.create(path, { intraOpNumThreads: threads, interOpNumThreads: 1 });
  const work = new OnnxWork(runtime, session);
  const row = async (test: string, tokens: number, seconds: () => Promise<number>) => {
    await seconds();
    const times: number[] = [];
    for (let i = 0; i < repetitions; i++) times.push(await seconds());
    times.sort((x, y) => x - y);
    const [min, median, max] = [times[0], times[times.length >> 1], times[times.length - 1]];
    return {
      ...{ test, tokens_per_second: tokens / median, seconds: { min, median, max }, peak_bytes: peakBytes(), threads },
    };
  };
  const rows = [
    ...(p > 0 ? [await row(`pp${p}`, p, () => work.prefill(p))] : []),
    ...(n > 0 ? [await row(`tg${n}`, n, () => work.decode(n))] : []),
  ];
  console.log(JSON.stringify(rows, undefined, 2));
}

await new Command('onnx')
  .argument('<folder>')
  .argument('<model>')
  .option('-p <tokens>', 'prompt', wholeNumber(0), 512)
  .option('-n <tokens>', 'decoded tokens', wholeNumber(0), 64)
  .option('-t, --threads <n>', 'threads', wholeNumber(1, 1024), 2)
  .action(measure)
  .parseAsync();
