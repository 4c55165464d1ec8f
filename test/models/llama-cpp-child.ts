/**
 * Asks llama.cpp, in a process of its own, since what it cannot load may end it. Reads a JSON list of questions from
 * standard input and prints a list of what was wanted of each file, or of what went wrong. Argument: the folder of the package
 * node-llama-cpp.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export type Question = { readonly file: string } & (
  | { readonly wanted: 'probabilities' | 'losses' | 'embedding'; readonly ids: readonly number[] }
  | { readonly wanted: 'tokens'; readonly texts: readonly string[] }
);

export type Answer =
  | { readonly embedding: readonly number[] }
  /** Logarithms of the probabilities after each token, [ids, vocabulary]. */
  | { readonly logProbabilities: readonly number[] }
  /** Of each token but the first, the negative logarithm of its probability. */
  | { readonly losses: readonly number[] }
  /** Of each text. */
  | { readonly tokens: readonly (readonly number[])[] }
  | { readonly error: string };

interface Evaluated {
  readonly next?: { readonly probabilities?: ReadonlyMap<number, number> };
}

/** What is used of node-llama-cpp. */
interface LlamaModel {
  createContext(options: object): Promise<{
    getSequence(): { controlledEvaluate(input: readonly unknown[]): Promise<readonly (Evaluated | undefined)[]> };
    dispose(): Promise<void>;
  }>;
  createEmbeddingContext(options: object): Promise<{
    getEmbeddingFor(ids: readonly number[]): Promise<{ readonly vector: readonly number[] }>;
    dispose(): Promise<void>;
  }>;
  dispose(): Promise<void>;
}
interface Vocabulary {
  init(): Promise<boolean>;
  tokenize(text: string, special: boolean): Iterable<number>;
  dispose(): Promise<void>;
}
interface Llama {
  loadModel(options: object): Promise<LlamaModel>;
  /** What `loadModel` is made of: it would estimate the memory of a model first, which takes ten times as long. */
  readonly _bindings: { readonly AddonModel: new (path: string, options: object) => Vocabulary };
  dispose(): Promise<void>;
}
interface Package {
  getLlama(options: object): Promise<Llama>;
}

const generateNext = { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } };

async function answer(llama: Llama, question: Question): Promise<Answer> {
  if (question.wanted === 'tokens') return { tokens: await tokens(llama, question) };
  const model = await llama.loadModel({ modelPath: question.file, gpuLayers: 0 });
  const answered = await ask(model, question);
  await model.dispose();
  return answered;
}

type ModelQuestion = Exclude<Question, { wanted: 'tokens' }>;

async function ask(model: LlamaModel, { wanted, ids }: ModelQuestion): Promise<Answer> {
  switch (wanted) {
    case 'embedding': {
      const context = await model.createEmbeddingContext({ contextSize: 64, batchSize: 64 });
      const { vector } = await context.getEmbeddingFor(ids);
      await context.dispose();
      return { embedding: vector };
    }
    case 'probabilities': {
      const rows = await distributions(model, ids);
      return { logProbabilities: rows.flatMap((row) => Array.from({ length: row.size }, (_, id) => logOf(row, id))) };
    }
    case 'losses': {
      const rows = await distributions(model, ids);
      return { losses: ids.slice(1).map((id, i) => -logOf(rows[i], id)) };
    }
    default:
      return wanted satisfies never;
  }
}

async function tokens(llama: Llama, { file, texts }: Extract<Question, { wanted: 'tokens' }>): Promise<number[][]> {
  const options = { addonExports: llama._bindings, gpuLayers: 0, vocabOnly: true, checkTensors: false };
  const model = new llama._bindings.AddonModel(file, options);
  if (!(await model.init())) throw new Error('llama.cpp cannot load it');
  const all = texts.map((text) => Array.from(model.tokenize(text, false)));
  await model.dispose();
  return all;
}

async function distributions(model: LlamaModel, ids: readonly number[]): Promise<ReadonlyMap<number, number>[]> {
  const size = Math.max(64, ids.length);
  const context = await model.createContext({
    ...{ contextSize: size, batchSize: size, flashAttention: false },
    ...{ experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' },
  });
  const evaluated = await context.getSequence().controlledEvaluate(ids.map((id) => [id, { generateNext }]));
  const rows = evaluated.map((token) => token?.next?.probabilities ?? new Map<number, number>());
  await context.dispose();
  return rows;
}

function logOf(row: ReadonlyMap<number, number>, id: number): number {
  return Math.log(Math.max(row.get(id) ?? 0, Number.MIN_VALUE));
}

const folder = process.argv[2];
const questions = JSON.parse(readFileSync(0, 'utf8')) as readonly Question[];
const { getLlama } = (await import(pathToFileURL(join(folder, 'dist', 'index.js')).href)) as Package;
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: 'error' });
const answers: Answer[] = [];
for (const question of questions) {
  try {
    answers.push(await answer(llama, question));
  } catch (error) {
    answers.push({ error: String(error) });
  }
}
await llama.dispose();
process.stdout.write(JSON.stringify(answers));
