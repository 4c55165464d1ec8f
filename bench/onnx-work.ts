/** What is measured of onnxruntime-node, on which transformers.js computes in Node. Keys and values are in F32; nothing is sampled. */
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import type { Work } from './llama-work.ts';

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

const past = 'past_key_values.';

export class OnnxWork {
  readonly #runtime: Runtime;
  readonly #session: Session;
  readonly #empty: Caches;

  private constructor(runtime: Runtime, session: Session) {
    this.#runtime = runtime;
    this.#session = session;
    const caches = session.inputMetadata.filter(({ name }) => name.startsWith(past));
    const tensor = (shape: readonly (number | string)[]) =>
      new runtime.Tensor('float32', new Float32Array(0), [1, Number(shape[1]), 0, Number(shape[3])]);
    this.#empty = Object.fromEntries(caches.map(({ name, shape }) => [name, tensor(shape)]));
  }

  /** `folder`: where the package is installed; `path`: a file of onnx-model.ts. */
  static async open(folder: string, path: string, threads: number): Promise<OnnxWork> {
    const runtime = createRequire(join(resolve(folder), 'node_modules/'))('onnxruntime-node') as Runtime;
    const options = { intraOpNumThreads: threads, interOpNumThreads: 1 };
    return new OnnxWork(runtime, await runtime.InferenceSession.create(path, options));
  }

  /** Seconds that the work takes, of one sequence. */
  async seconds(work: Work): Promise<number> {
    let [depth, caches] = [0, this.#empty];
    const step = async (tokens: number) => {
      caches = await this.#step(tokens, depth, caches);
      depth += tokens;
    };
    if (work.kind === 'decode') await step(Math.max(work.depth, 1));
    const start = performance.now();
    if (work.kind === 'prefill') await step(work.tokens);
    else for (let i = 0; i < work.tokens; i++) await step(1);
    return (performance.now() - start) / 1000;
  }

  /** The caches after so many more tokens. */
  async #step(tokens: number, depth: number, caches: Caches): Promise<Caches> {
    const { Tensor } = this.#runtime;
    const ids = BigInt64Array.from({ length: tokens }, (_, i) => BigInt(100 + (((depth + i) * 7919) % 20000)));
    const { logits, ...present } = await this.#session.run({
      input_ids: new Tensor('int64', ids, [1, tokens]),
      last: new Tensor('int64', BigInt64Array.of(BigInt(tokens - 1)), [1]),
      seqlens_k: new Tensor('int32', Int32Array.of(depth + tokens - 1), [1]),
      total_sequence_length: new Tensor('int32', Int32Array.of(depth + tokens), []),
      ...caches,
    });
    if (!Number.isFinite(logits.data[0])) throw new Error('logits are no numbers');
    return Object.fromEntries(Object.entries(present).map(([name, value]) => [name.replace('present.', past), value]));
  }
}
