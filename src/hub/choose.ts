/** Which files of a repository make the model that a name means. */
import { IngotError } from '../base/errors.ts';
import { formatBytes } from '../base/format-bytes.ts';
import { formatHubName, type HubName } from './name.ts';

interface File {
  readonly path: string;
  readonly size: number;
}

export interface Choice<F extends File> {
  /** What is opened: one file (the first, of a model in several parts), or the folder if absent. */
  readonly open?: string;
  readonly files: readonly F[];
}

/** What most publishers recommend; taken where a repository has it and nothing is asked for. */
const usualQuantization = 'Q4_K_M';

/**
 * A file by its path, a GGUF file by its quantization, or what the repository is for: a folder with safetensors, else its GGUF
 * file in Q4_K_M, else the only one there is.
 * @throws IngotError 'FileNotFound' with what there is, 'Usage' where several go with the name.
 */
export function chooseFiles<F extends File>(name: HubName, files: readonly F[]): Choice<F> {
  const { part } = name;
  const exact = files.find(({ path }) => path === part);
  const models = ggufModels(files);
  if (exact !== undefined) {
    return whole(
      name,
      models.find(({ parts }) => parts.includes(exact)) ?? { name: exact.path, parts: [exact], count: 1 },
    );
  }
  if (part !== undefined)
    return pick(
      name,
      models.filter((model) => isQuantization(model.name, part)),
      models,
    );
  if (hasWeights(files)) return chooseFolder(name, files);
  const usual = models.filter((model) => isQuantization(model.name, usualQuantization));
  return pick(name, usual.length > 0 ? usual : models, models);
}

interface GgufModel<F> {
  /** Of its file, or of its parts without their numbers. */
  readonly name: string;
  readonly parts: readonly F[];
  /** How many there should be. */
  readonly count: number;
}

/** Language models: not what sees or hears for them, and no importance matrices. */
export function ggufModels<F extends File>(files: readonly F[]): readonly GgufModel<F>[] {
  const models = new Map<string, { name: string; parts: F[]; count: number }>();
  for (const file of files.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    const [, stem, , count] = /^(.*?)(?:-(\d{5})-of-(\d{5}))?\.gguf$/i.exec(file.path) ?? [];
    if (stem === undefined || /(^|\/)mmproj|imatrix/i.test(file.path)) continue;
    const name = `${stem}.gguf`;
    const model = models.get(name) ?? { name, parts: [], count: Number(count ?? 1) };
    model.parts.push(file);
    models.set(name, model);
  }
  return [...models.values()];
}

/** `model-Q4_K_M.gguf`, `model.q4_k_m.gguf`, `Q4_K_M/model.gguf`: a word of the path. */
function isQuantization(path: string, quantization: string): boolean {
  const words = path
    .toLowerCase()
    .replace(/\.gguf$/, '')
    .split(/[-./]/);
  return words.includes(quantization.toLowerCase());
}

export function isUsual(path: string): boolean {
  return isQuantization(path.replace(/-\d{5}-of-\d{5}(?=\.gguf$)/, ''), usualQuantization);
}

function pick<F extends File>(name: HubName, found: readonly GgufModel<F>[], all: readonly GgufModel<F>[]): Choice<F> {
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return whole(name, first);
  const what = formatHubName(name);
  if (all.length === 0) {
    throw new IngotError('FileNotFound', `${name.repo} holds no ${name.part ?? 'GGUF file and no safetensors'}`, {
      hint: 'look at its page for what it holds',
    });
  }
  const list = all.map(
    (model) => `  ${model.name}, ${formatBytes(model.parts.reduce((sum, { size }) => sum + size, 0))}`,
  );
  const hint = `name one of these:\n${list.slice(0, 40).join('\n')}${list.length > 40 ? '\n  ...' : ''}`;
  if (first === undefined) throw new IngotError('FileNotFound', `${name.repo} holds no ${name.part}`, { hint });
  throw new IngotError('Usage', `${what} could be ${found.length} files`, { hint });
}

function whole<F extends File>(name: HubName, { parts, count, name: model }: GgufModel<F>): Choice<F> {
  if (parts.length === count) return { open: parts[0].path, files: parts };
  throw new IngotError('FileNotFound', `${name.repo} holds ${parts.length} of the ${count} parts of ${model}`);
}

const single = 'model.safetensors';
const index = 'model.safetensors.index.json';
const shard = /^model-\d{5}-of-(\d{5})\.safetensors$/;

function hasWeights(files: readonly File[]): boolean {
  return files.some(({ path }) => path === single || path === index);
}

/** Settings, tokenizer and chat template: what transformers reads beside the weights; also how embeddings are pooled. */
const companion = /^([^/]+\.(json|jinja|model|tiktoken)|vocab\.txt|merges\.txt|1_Pooling\/config\.json)$/;
const otherFrameworks = /\.index\.json$|^(pytorch|tf|flax|onnx)/;

/** The same weights lie in some repositories a second time, for other frameworks. */
function chooseFolder<F extends File>({ repo }: HubName, files: readonly F[]): Choice<F> {
  const sharded = files.some(({ path }) => path === index);
  const weights = files.filter(({ path }) => (sharded ? path === index || shard.test(path) : path === single));
  const shards = weights.filter(({ path }) => path !== index);
  const count = Number(shard.exec(shards[0]?.path ?? '')?.[1] ?? 1);
  if (shards.length !== count) {
    throw new IngotError('FileNotFound', `${repo} holds ${shards.length} of the ${count} shards of its weights`, {
      hint: 'ask whoever published it',
    });
  }
  return { files: [...files.filter(({ path }) => companion.test(path) && !otherFrameworks.test(path)), ...weights] };
}

const vocabularies = ['tokenizer.json', 'tokenizer.model', 'qwen.tiktoken', 'vocab.json', 'vocab.txt'];

/** Whether the files that are there are all that a folder with safetensors needs; a tokenizer among them. */
export function isWholeFolder(files: readonly File[]): boolean {
  const names = new Set(files.map(({ path }) => path));
  const tokenizer = vocabularies.some((name) => names.has(name));
  if (!tokenizer || !names.has('config.json') || !hasWeights(files)) return false;
  try {
    chooseFolder({ repo: '' }, files);
    return true;
  } catch {
    return false;
  }
}
