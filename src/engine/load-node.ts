/** From a path and the name of a device to an engine on this thread, which owns both: the worker's way to open one. */
import { IngotError } from '../base/errors.ts';
import { dumpTo } from '../compiler/dump-node.ts';
import { openDevice } from '../devices/open-node.ts';
import type { Checkpoint } from '../formats/checkpoint.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { openModel } from '../models/architectures.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Engine, EngineOptions, LoadHooks } from './engine.ts';
import { LocalEngine } from './local-engine.ts';

/** What can be sent to another thread. */
export interface EngineSettings extends EngineOptions {
  /** A GGUF file or a Hugging Face folder. */
  readonly path: string;
  /** 'cpu' or 'reference'; the first that can be used if absent. */
  readonly device?: string;
  /** At most so many. */
  readonly threads?: number;
  /** Folder for the programs before and after each compiler pass. */
  readonly dump?: string;
}

/** An engine with all that it stands on, which is closed with it. */
export interface LoadedEngine extends AsyncDisposable {
  readonly engine: Engine;
}

/** @throws IngotError: whatever the file, its architecture, its vocabulary or the device do wrong; nothing stays open. */
export async function loadEngine(settings: EngineSettings, hooks: LoadHooks = {}): Promise<LoadedEngine> {
  const { path, device: deviceName, threads, dump, ...options } = settings;
  const opened: AsyncDisposable[] = [];
  const close = async () => {
    for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
  };
  try {
    const checkpoint = await openCheckpoint(path);
    opened.push(checkpoint);
    const model = openModel(checkpoint);
    const tokenizer = await openTokenizer(checkpoint, model.vocabularySize);
    const device = await openDevice(deviceName, threads);
    opened.push(device);
    const onPass = dump === undefined ? {} : { onPass: await dumpTo(dump) };
    const engine = await LocalEngine.load(device, model, tokenizer, { ...options, ...hooks, ...onPass });
    opened.push(engine);
    return { engine, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openTokenizer(checkpoint: Checkpoint, vocabularySize: number): Promise<Tokenizer> {
  switch (checkpoint.kind) {
    case 'gguf':
      return loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, { vocabularySize });
    case 'huggingface':
      return loadTokenizer({ kind: 'huggingface', companions: checkpoint.companions }, { vocabularySize });
    case 'llama2c':
    case 'safetensors':
      throw new IngotError('UnsupportedFile', `${checkpoint.path} carries no tokenizer`, {
        path: checkpoint.path,
        hint: 'Make a GGUF file of it: ingot convert CHECKPOINT OUT.gguf --tokenizer TOKENIZER',
      });
    default:
      return checkpoint.kind satisfies never;
  }
}
