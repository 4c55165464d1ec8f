/**
 * Models in several GGUF files, after llama.cpp's `gguf-split`: NAME-00001-of-00003.gguf and so on lie in one folder, the first has
 * the metadata, each says which of how many it is, and the tensors of all are the model's.
 */

import { IngotError } from '../base/errors.ts';
import type { StoredTensor } from './checkpoint.ts';
import { openFile } from './file-node.ts';
import { type GgufCheckpoint, readGguf } from './gguf.ts';

const numberKey = 'split.no';
const countKey = 'split.count';
const tensorsKey = 'split.tensors.count';
const keys: readonly string[] = [numberKey, countKey, tensorsKey];

/**
 * The whole model if `first` is the first of several parts; `first` itself if it is all. Where this throws, `first` is still the
 * caller's.
 * @throws IngotError 'FileNotFound' for a missing part, 'InvalidFile' for one that belongs elsewhere, 'UnsupportedFile' for a
 * part that is not the first.
 */
export async function joinGgufParts(first: GgufCheckpoint): Promise<GgufCheckpoint> {
  const count = first.metadata.get(countKey);
  if (typeof count !== 'number' || count <= 1) return first;
  const { path } = first;
  const number = first.metadata.get(numberKey);
  const [, stem] = /^(.*)-00001-of-\d{5}\.gguf$/.exec(path) ?? [];
  if (number !== 0 || stem === undefined || partName(stem, 0, count) !== path) {
    throw new IngotError('UnsupportedFile', `${path} is one of the ${count} parts of a model`, {
      path,
      hint: `give the first of them, under the name that it was made with: NAME-00001-of-${digits(count)}.gguf`,
    });
  }
  const parts: GgufCheckpoint[] = [first];
  const close = async (from: number) => {
    for (const part of parts.slice(from)) await part[Symbol.asyncDispose]();
  };
  try {
    for (let i = 1; i < count; i++) {
      const part = await openPart(partName(stem, i, count));
      parts.push(part);
      if (part.metadata.get(numberKey) !== i || part.metadata.get(countKey) !== count) {
        throw wrong(part.path, `it does not say that it is part ${i + 1} of ${count}`);
      }
    }
    return {
      ...first,
      metadata: new Map([...first.metadata].filter(([key]) => !keys.includes(key))),
      metadataTypes: new Map([...first.metadataTypes].filter(([key]) => !keys.includes(key))),
      tensors: joinTensors(parts),
      files: parts.flatMap(({ files }) => files),
      [Symbol.asyncDispose]: () => close(0),
    };
  } catch (error) {
    await close(1);
    throw error;
  }
}

async function openPart(path: string): Promise<GgufCheckpoint> {
  const file = await openFile(path);
  try {
    return await readGguf(file);
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

function joinTensors(parts: readonly GgufCheckpoint[]): ReadonlyMap<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const part of parts) {
    for (const [name, tensor] of part.tensors) {
      if (tensors.has(name)) throw wrong(part.path, `the tensor "${name}" is in another part, too`);
      tensors.set(name, tensor);
    }
  }
  const [first] = parts;
  const expected = first.metadata.get(tensorsKey);
  if (expected !== tensors.size) {
    throw wrong(first.path, `all parts have ${tensors.size} tensors; it says ${String(expected)}`);
  }
  return tensors;
}

function digits(number: number): string {
  return String(number).padStart(5, '0');
}

function partName(stem: string, index: number, count: number): string {
  return `${stem}-${digits(index + 1)}-of-${digits(count)}.gguf`;
}

function wrong(path: string, message: string): IngotError {
  const hint = 'the parts do not belong together; download all of them again';
  return new IngotError('InvalidFile', message, { path, hint });
}
