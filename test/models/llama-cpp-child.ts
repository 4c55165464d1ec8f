/**
 * Asks llama.cpp, in a process of its own, since what it cannot load may end it. Reads a JSON list of questions from
 * standard input and prints for each file the logarithms of the probabilities after each token, [ids, vocabulary], or the
 * embedding of all, or what went wrong. Argument: the folder of the package node-llama-cpp.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Question {
  readonly file: string;
  readonly ids: readonly number[];
  readonly wanted: 'probabilities' | 'embedding';
}

export type Answer =
  | { readonly embedding: readonly number[] }
  | { readonly logProbabilities: readonly number[] }
  | { readonly error: string };

interface Evaluated {
  readonly next?: { readonly probabilities?: ReadonlyMap<number, number> };
}

/** What is used of node-llama-cpp. */
interface Package {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{
        getSequence(): { controlledEvaluate(input: readonly unknown[]): Promise<readonly (Evaluated | undefined)[]> };
        dispose(): Promise<void>;
      }>;
      createEmbeddingContext(options: object): Promise<{
        getEmbeddingFor(ids: readonly number[]): Promise<{ readonly vector: readonly number[] }>;
        dispose(): Promise<void>;
      }>;
      dispose(): Promise<void>;
    }>;
    dispose(): Promise<void>;
  }>;
}

const generateNext = { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } };

async function answer(
  llama: Awaited<ReturnType<Package['getLlama']>>,
  { file, ids, wanted }: Question,
): Promise<Answer> {
  try {
    const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
    if (wanted === 'embedding') {
      const context = await model.createEmbeddingContext({ contextSize: 64, batchSize: 64 });
      const { vector } = await context.getEmbeddingFor(ids);
      await context.dispose();
      await model.dispose();
      return { embedding: vector };
    }
    const context = await model.createContext({
      ...{ contextSize: 64, batchSize: 64, flashAttention: false },
      ...{ experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' },
    });
    const evaluated = await context.getSequence().controlledEvaluate(ids.map((id) => [id, { generateNext }]));
    const rows = evaluated.map((token) => token?.next?.probabilities ?? new Map<number, number>());
    await context.dispose();
    await model.dispose();
    return {
      logProbabilities: rows.flatMap((row) =>
        Array.from({ length: row.size }, (_, id) => Math.log(Math.max(row.get(id) ?? 0, Number.MIN_VALUE))),
      ),
    };
  } catch (error) {
    return { error: String(error) };
  }
}

const folder = process.argv[2];
const questions = JSON.parse(readFileSync(0, 'utf8')) as readonly Question[];
const { getLlama } = (await import(pathToFileURL(join(folder, 'dist', 'index.js')).href)) as Package;
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: 'error' });
const answers: Answer[] = [];
for (const question of questions) answers.push(await answer(llama, question));
await llama.dispose();
process.stdout.write(JSON.stringify(answers));
