/**
 * Opens a folder as Hugging Face's `transformers` saves one: `config.json`, weights in `model.safetensors` or in shards
 * listed by `model.safetensors.index.json`, and the files of the tokenizer.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteSource } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, StoredTensor } from './checkpoint.ts';
import { type FileSource, openFile, systemError } from './file-node.ts';
import { isJsonObject, readJsonObject } from './json.ts';
import { joinQuantizedWeights } from './quantized-weights.ts';
import { readSafetensorsHeader } from './safetensors.ts';

const companionNames = [
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'qwen.tiktoken',
  'special_tokens_map.json',
  'generation_config.json',
  'chat_template.jinja',
  'vocab.json',
  'merges.txt',
];

/** How sentence-transformers makes one vector of a text: part of the settings, under the name of its file. */
const poolingFolder = '1_Pooling';
const poolingName = `${poolingFolder}/config.json`;

const singleName = 'model.safetensors';
const indexName = 'model.safetensors.index.json';

/**
 * @throws IngotError 'FileNotFound' for missing parts, 'UnsupportedFile' for other kinds of weights, 'InvalidFile' for
 * contents that lie, 'FileChanged'.
 */
export async function openHuggingFaceFolder(path: string): Promise<Checkpoint> {
  const folder = new Folder(path, await listFolder(path));
  try {
    if (!folder.names.has('config.json')) throw notAModel(folder);
    const config = await readJsonObject(await folder.open('config.json'));
    const metadata = new Map(Object.entries(config));
    const pooling = await readPooling(folder);
    if (pooling !== undefined) metadata.set(poolingName, pooling);
    const stored = folder.names.has(indexName) ? await readShards(folder) : await readSingle(folder);
    const tensors = joinQuantizedWeights(config, stored, path);
    const companions = new Map<string, ByteSource>();
    for (const name of companionNames) {
      if (folder.names.has(name)) companions.set(name, await folder.open(name));
    }
    return {
      kind: 'huggingface',
      path,
      files: folder.files,
      metadata,
      tensors,
      companions,
      [Symbol.asyncDispose]: () => folder.close(),
    };
  } catch (error) {
    await folder.close();
    throw error;
  }
}

/** What is in a folder, and which of its files are open. */
class Folder {
  readonly path: string;
  readonly names: ReadonlySet<string>;
  readonly #files: FileSource[] = [];

  constructor(path: string, names: ReadonlySet<string>) {
    this.path = path;
    this.names = names;
  }

  async open(name: string): Promise<FileSource> {
    const file = await openFile(join(this.path, name));
    this.#files.push(file);
    return file;
  }

  get files(): readonly ByteSource[] {
    return [...this.#files];
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.splice(0).map((file) => file[Symbol.asyncDispose]()));
  }
}

async function listFolder(path: string): Promise<ReadonlySet<string>> {
  try {
    return new Set(await readdir(path));
  } catch (error) {
    throw systemError(error, path);
  }
}

async function readPooling(folder: Folder) {
  if (!folder.names.has(poolingFolder)) return undefined;
  return readJsonObject(await folder.open(poolingName));
}

async function readSingle(folder: Folder): Promise<ReadonlyMap<string, StoredTensor>> {
  if (!folder.names.has(singleName)) throw noWeights(folder);
  return (await readSafetensorsHeader(await folder.open(singleName))).tensors;
}

async function readShards(folder: Folder): Promise<ReadonlyMap<string, StoredTensor>> {
  const index = await folder.open(indexName);
  const { weight_map: weightMap } = await readJsonObject(index, { uniqueKeys: true });
  const lie = (message: string, tensor?: string): never => {
    throw new IngotError('InvalidFile', message, {
      path: index.name,
      ...(tensor === undefined ? {} : { tensor }),
      hint: 'the index does not go with the files; download the folder again',
    });
  };
  if (!isJsonObject(weightMap)) return lie('the index has no weight_map');

  const shardOf = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(weightMap)) {
    // Shards lie beside their index: any other path would reach out of the folder.
    if (typeof shard !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(shard)) {
      return lie(`the shard ${JSON.stringify(shard).slice(0, 80)} is not the name of a .safetensors file`, tensor);
    }
    shardOf.set(tensor, shard);
  }
  const shards = [...new Set(shardOf.values())].sort();
  const missing = shards.filter((shard) => !folder.names.has(shard));
  if (missing.length > 0) {
    const list = missing.slice(0, 3).join(', ') + (missing.length > 3 ? ', ...' : '');
    const message = `${missing.length} of ${shards.length} shards are missing: ${list}`;
    throw new IngotError('FileNotFound', message, { path: folder.path, hint: 'finish downloading the model' });
  }

  const stored = new Map<string, ReadonlyMap<string, StoredTensor>>();
  for (const shard of shards) stored.set(shard, (await readSafetensorsHeader(await folder.open(shard))).tensors);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shard] of shardOf) {
    const tensor = stored.get(shard)?.get(name);
    if (tensor === undefined) return lie(`the tensor is not in ${shard}, where the index has it`, name);
    tensors.set(name, tensor);
  }
  return tensors;
}

function notAModel({ path, names }: Folder): IngotError {
  if (names.size === 0) {
    return new IngotError('FileNotFound', `the folder ${path} is empty`, { path, hint: 'download the model into it' });
  }
  const gguf = [...names].filter((name) => name.endsWith('.gguf')).sort()[0];
  const hint =
    gguf === undefined ? 'give a Hugging Face folder with config.json' : `give the file: ${join(path, gguf)}`;
  return new IngotError('UnsupportedFile', `the folder ${path} holds no config.json`, { path, hint });
}

function noWeights({ path, names }: Folder): IngotError {
  const list = [...names];
  const other = list.find((name) => /\.(bin|pth?|ckpt|h5|msgpack|onnx)$/.test(name));
  const shard = list.find((name) => name.endsWith('.safetensors'));
  if (shard !== undefined) {
    const message = `${path} has ${shard} but neither ${singleName} nor ${indexName}`;
    return new IngotError('FileNotFound', message, { path, hint: 'finish downloading the model' });
  }
  if (other !== undefined) {
    const message = `${path} has its weights in ${other}; only safetensors are read`;
    const hint = 'save the model as safetensors, for example with save_pretrained of transformers';
    return new IngotError('UnsupportedFile', message, { path, hint });
  }
  const message = `${path} has no weights: neither ${singleName} nor ${indexName}`;
  return new IngotError('FileNotFound', message, { path, hint: 'finish downloading the model' });
}
