/** Opens whatever model is at a path: decides by contents, never by the name's ending. */
import { stat } from 'node:fs/promises';
import type { ByteSource } from '../base/bytes.ts';
import { IngotError, isIngotError } from '../base/errors.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type FileSource, openFile, systemError } from './file-node.ts';
import { readGguf } from './gguf.ts';
import { joinGgufParts } from './gguf-parts-node.ts';
import { openHuggingFaceFolder } from './huggingface-node.ts';
import { llama2cFileBytes, llama2cHeaderBytes, parseLlama2cHeader, readLlama2c } from './llama2c.ts';
import { readSafetensors } from './safetensors.ts';

const supported =
  'supported are GGUF and safetensors files, Hugging Face folders with safetensors, and llama2.c checkpoints';

/** @throws IngotError 'FileNotFound', 'UnsupportedFile' with what was found, 'InvalidFile', 'FileChanged', 'FileAccess'. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (await isFolder(path)) return openHuggingFaceFolder(path);
  const file = await openFile(path);
  try {
    return await readByContents(file);
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    const error = systemError(cause, path);
    // As other tools have it: without a word that it is on a hub.
    if (!isIngotError(error, 'FileNotFound') || !/^[\w-][\w.-]*\/[\w.-]+$/.test(path)) throw error;
    const hint = `check the path; a model of a hub is called hf:${path}`;
    throw new IngotError('FileNotFound', error.message, { path, hint, cause });
  }
}

/** Beginnings of files that people have and that are not read. */
const knownBeginnings: readonly (readonly [bytes: string, what: string, hint: string])[] = [
  ['version https://git-lfs', 'a Git LFS pointer, not the model itself', 'fetch the file itself with "git lfs pull"'],
  ['PK\x03\x04', 'a zip archive, probably PyTorch weights', 'save the model as safetensors'],
  ['\x80\x02', 'a Python pickle, probably PyTorch weights', 'save the model as safetensors'],
  ['\x89HDF', 'an HDF5 file', 'save the model as safetensors'],
  ['FUGG', 'a byte-swapped GGUF file', 'convert the model again for a little-endian machine'],
  ['tjgg', 'an old GGML file (ggjt)', 'convert the model again to GGUF'],
  ['lmgg', 'an old GGML file (ggml)', 'convert the model again to GGUF'],
  ['fmgg', 'an old GGML file (ggmf)', 'convert the model again to GGUF'],
  ['24ka', 'a llama2.c checkpoint of version 1 or 2', 'export it with version 0'],
  ['<', 'a web page or XML', 'the download failed; download the file again'],
  ['{', 'a JSON text', 'give the folder that the file is in'],
];

async function readByContents(file: FileSource): Promise<Checkpoint> {
  const head = await file.read(0, Math.min(file.length, 32));
  const text = String.fromCharCode(...head);
  if (text.startsWith('GGUF')) return joinGgufParts(await readGguf(file));
  if (looksLikeSafetensors(file, head)) return readSafetensors(file);
  const known = knownBeginnings.find(([bytes]) => text.startsWith(bytes));
  if (known !== undefined) throw unsupported(file, known[1], `${known[2]}; ${supported}`);
  if (looksLikeLlama2c(file, head)) return readLlama2c(file);
  const found = head.length === 0 ? 'an empty file' : `a file of an unknown kind, beginning with ${hex(head)}`;
  throw unsupported(file, found, supported);
}

function unsupported(file: ByteSource, found: string, hint: string): IngotError {
  return new IngotError('UnsupportedFile', `${file.name} is ${found}`, { path: file.name, offset: 0, hint });
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** A header length with its upper half zero, and a JSON object. Whether they are true is for the reader to say. */
function looksLikeSafetensors(file: ByteSource, head: Uint8Array<ArrayBuffer>): boolean {
  return file.length > 9 && new DataView(head.buffer).getUint32(4, true) === 0 && head[8] === 0x7b;
}

/**
 * There is no magic: a header of plausible numbers and a file within a factor of two of what they say, so that one cut
 * off on its way is called damaged rather than unknown.
 */
function looksLikeLlama2c(file: ByteSource, head: Uint8Array): boolean {
  const header = parseLlama2cHeader(head.subarray(0, llama2cHeaderBytes));
  if (typeof header === 'string') return false;
  const expected = llama2cFileBytes(header);
  return expected < file.length * 2 && file.length < expected * 2;
}
