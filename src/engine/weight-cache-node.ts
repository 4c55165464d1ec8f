/**
 * Packed weights of models, kept in files of a folder: whoever finds none packs them and writes the file, others map it, which reads nothing
 * of the model. A file is used only if the same version of Ingot made it of the same files, and if its digest is that of what was written:
 * all other files are made again. It holds
 *
 *   weights as the device lays them out, one behind the other, each at a multiple of 64 bytes; zeros up to what a device maps
 *   what they are, as JSON (`Contents`)
 *   the SHA-256 of that, its length in 8 bytes, and "INGOTPW1"
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { ByteSource } from '../base/bytes.ts';
import { IngotError, isIngotError, throwIfAborted } from '../base/errors.ts';
import { formatBytes } from '../base/format-bytes.ts';
import { makePrivateFolder } from '../devices/cpu/cache-folder.ts';
import { weightStamp } from '../devices/cpu/code-stamp.ts';
import type { Device, DeviceBuffer, MappedFile, WeightFiles } from '../devices/device.ts';
import { createFile, removeLeftovers } from '../formats/atomic-write-node.ts';
import type { Checkpoint, StoredTensor } from '../formats/checkpoint.ts';
import { systemError } from '../formats/file-node.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import type { ByteSink } from '../formats/tensor-stream.ts';
import { lock } from '../hub/lock.ts';
import type { Model } from '../models/model.ts';
import type { OpenedWeights } from './open-model-node.ts';
import { type PackOptions, packWeights, type Weights } from './pack-weights.ts';

/** What packed weights depend on. */
interface Origin {
  readonly ingot: string;
  /** Size and time of each file of the model, and some bytes where times say nothing. */
  readonly files: readonly { readonly version: string; readonly sample: string }[];
}

interface Contents {
  readonly origin: Origin;
  /** Where the model was; an older version has not said it. */
  readonly model?: string;
  /** Of the weights, with what fills up. */
  readonly bytes: number;
  /** Of these bytes, as the device makes it. */
  readonly digest: string;
  /** Where each begins. */
  readonly offsets: Readonly<Record<string, number>>;
}

const packedEnding = '.packed';
const magic = 'INGOTPW1';
const tailBytes = 32 + 8 + magic.length;
const lineBytes = 64;
/** JSON of more is none of ours. */
const mostContents = 64 << 20;
/** Of a file of a model, as far apart as can be. */
const [samples, sampleBytes] = [32, 64];
/** At once. */
const writeBytes = 8 << 20;
/** What is packed while as much is written. */
const batchBytes = 256 << 20;

/** A device that maps files, and what it is to have. */
interface Task extends PackOptions, Pick<Contents, 'origin'> {
  readonly device: Device;
  readonly files: WeightFiles;
  readonly model: Model;
  readonly modelPath: string;
  readonly path: string;
}

/**
 * The weights of a model by way of `folder`; undefined where that cannot be, which is said on standard error.
 * @throws IngotError 'Aborted'.
 */
export async function cachedWeights(
  folder: string,
  { checkpoint, model }: OpenedWeights,
  device: Device,
  options: PackOptions = {},
): Promise<Weights | undefined> {
  const files = device.weightFiles;
  if (files === undefined) {
    say('no packed weights are kept: only the cpu device on Linux maps them, of models that are not divided');
    return undefined;
  }
  try {
    const modelPath = await realpath(checkpoint.path);
    const place = createHash('sha256').update(modelPath).digest('hex').slice(0, 12);
    const path = join(folder, `${basename(checkpoint.path)}-${place}${packedEnding}`);
    await openFolder(folder);
    const origin = await originOf(checkpoint);
    return await find({ ...options, device, files, model, modelPath, origin, path });
  } catch (error) {
    throwIfAborted(options.signal);
    if (!isIngotError(error)) throw error;
    say(`no packed weights are kept: ${error.message}`);
    return undefined;
  }
}

async function originOf({ files }: Pick<Checkpoint, 'files'>): Promise<Origin> {
  return { ingot: weightStamp(), files: await Promise.all(files.map(fileOf)) };
}

/** Models that differ do so all over: a few places tell them apart. */
async function fileOf(file: ByteSource): Promise<Origin['files'][number]> {
  const { version = '', length } = file;
  const count = Math.min(sampleBytes, length);
  const places = Array.from({ length: samples }, (_, i) => Math.floor(((length - count) * i) / (samples - 1)));
  const sum = createHash('sha256');
  for (const bytes of await Promise.all(places.map((at) => file.read(at, count)))) sum.update(bytes);
  return { version, sample: sum.digest('hex') };
}

const say = (text: string) => console.error(`ingot: ${text}`);

/** What is mapped is used as it is: it must be nobody's to change. @throws IngotError 'FileAccess'. */
async function openFolder(folder: string): Promise<void> {
  try {
    makePrivateFolder(folder);
    refuseOthers(folder, await lstat(folder));
  } catch (error) {
    throw systemError(error, folder);
  }
}

function refuseOthers(path: string, { uid, mode }: { readonly uid: number; readonly mode: number }): void {
  const isOurs = uid === 0 || uid === process.getuid?.();
  if (isOurs && (mode & 0o022) === 0) return;
  throw new IngotError('FileAccess', `others than its user can change ${path}`, { path });
}

async function find(task: Task): Promise<Weights> {
  const { path, signal } = task;
  const found = await openKept(task);
  if (typeof found !== 'string') return found;
  const onWait = () => say(`another process packs ${basename(path)}; waiting for it`);
  await using _ = await lock(`${path}.lock`, { ...(signal && { signal }), onWait });
  const made = await openKept(task);
  if (typeof made !== 'string') return made;
  if (made !== absent) say(`${path} is made again: ${made}`);
  return await make(task);
}

const absent = 'there is none';

/** The weights, or why they cannot be had from the file. */
async function openKept(task: Task): Promise<Weights | string> {
  const { path } = task;
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    const typed = systemError(error, path);
    if (isIngotError(typed, 'FileNotFound')) return absent;
    throw typed;
  }
  try {
    return await mapKept(task, file);
  } finally {
    await file.close();
  }
}

async function mapKept(
  { path, files, origin, model, signal, onProgress }: Task,
  file: FileHandle,
): Promise<Weights | string> {
  const { size, ...owner } = await file.stat();
  refuseOthers(path, owner);
  const contents = await readContents(file, size);
  if (contents === undefined) return 'it is damaged';
  const { bytes, digest } = contents;
  const stale = whyStale(contents, origin);
  if (stale !== undefined) return stale;
  using mapped = files.map(file.fd, bytes);
  if ((await mapped.digest(signal)) !== digest) return 'it is damaged';
  onProgress?.(size, size);
  return take(mapped, model, contents);
}

function whyStale({ origin: made }: Contents, origin: Origin): string | undefined {
  if (made.ingot !== origin.ingot) return 'another version of Ingot has made it';
  return JSON.stringify(made) === JSON.stringify(origin) ? undefined : 'the model has changed';
}

/** Undefined for what was not written like that. */
async function readContents(file: FileHandle, size: number): Promise<Contents | undefined> {
  if (size < tailBytes) return undefined;
  const tail = await readExactly(file, size - tailBytes, tailBytes);
  const length = Number(tail.readBigUInt64LE(32));
  if (tail.toString('latin1', 40) !== magic || length > Math.min(mostContents, size - tailBytes)) return undefined;
  const json = await readExactly(file, size - tailBytes - length, length);
  if (!createHash('sha256').update(json).digest().equals(tail.subarray(0, 32))) return undefined;
  const contents = JSON.parse(json.toString('utf8')) as Contents;
  return contents.bytes === size - tailBytes - length ? contents : undefined;
}

async function readExactly(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, offset);
  return bytes;
}

function take(mapped: MappedFile, { weights }: Model, { offsets }: Contents): Weights {
  const taken = new Map<string, DeviceBuffer>();
  try {
    for (const [name, weight] of weights) taken.set(name, mapped.weight(weight, offsets[name]));
    return taken;
  } catch (error) {
    for (const buffer of taken.values()) buffer[Symbol.dispose]();
    throw error;
  }
}

/** Packs one batch while the one before it is written. What was packed goes; what was written is mapped. */
async function make({ device, files, model, modelPath, origin, path, signal, onProgress }: Task): Promise<Weights> {
  await removeLeftovers(path);
  const places = placesOf(files, model);
  await using file = await createFile(path, { overwrite: true, length: places.bytes, mode: 0o600 });
  let written = 0;
  const whole = inWholePieces(file);
  const write = async (bytes: Uint8Array) => {
    throwIfAborted(signal);
    await whole.write(bytes);
    written += bytes.length;
  };
  const fill = (end: number) => write(new Uint8Array(end - written));
  const writeBatch = async (names: Iterable<string>, packed: Weights, before: Promise<void>) => {
    try {
      await before;
      for (const name of names) {
        await fill(places.offsets[name]);
        const buffer = packed.get(name);
        if (buffer !== undefined) for (const bytes of files.contents(buffer)) await write(bytes);
      }
    } finally {
      for (const buffer of packed.values()) buffer[Symbol.dispose]();
    }
  };
  const total = [...model.weights.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  let [packedBefore, writing]: [number, Promise<void>] = [0, Promise.resolve()];
  try {
    for (const weights of batchesOf(files, model)) {
      const onPacked = (done: number) => onProgress?.(packedBefore + done, total);
      const packed = await packWeights(
        aloneOn(device),
        { weights },
        { ...(signal && { signal }), onProgress: onPacked },
      );
      for (const { bytes } of weights.values()) packedBefore += bytes.length;
      const before = writing;
      writing = writeBatch(weights.keys(), packed, before);
      await before;
    }
  } finally {
    await writing.catch(() => {});
  }
  await writing;
  await fill(places.bytes);
  await whole.flush();
  using mapped = files.map(file.descriptor, places.bytes);
  const contents = { origin, model: modelPath, ...places, digest: await mapped.digest(signal) };
  await file.write(tailOf(contents));
  await file.commit();
  say(`packed weights are kept in ${path} (${formatBytes(written)})`);
  return take(mapped, model, contents);
}

/** Linux keeps what is written at once in pages of 2 MiB, and maps those, where the file system has such. */
function inWholePieces(file: ByteSink) {
  const piece = new Uint8Array(writeBytes);
  let held = 0;
  const flush = async () => {
    await file.write(piece.subarray(0, held));
    held = 0;
  };
  return {
    flush,
    async write(bytes: Uint8Array) {
      for (let at = 0; at < bytes.length; ) {
        const some = bytes.subarray(at, at + piece.length - held);
        piece.set(some, held);
        held += some.length;
        at += some.length;
        if (held === piece.length) await flush();
      }
    },
  };
}

/** Nobody else has a use for what is packed. */
function aloneOn(device: Device): Pick<Device, 'pack' | 'readsFiles'> {
  const { readsFiles = false } = device;
  return { readsFiles, pack: ({ parameter: _, ...weight }) => device.pack(weight) };
}

function placesOf({ bytesOf, unit }: WeightFiles, { weights }: Model): Pick<Contents, 'bytes' | 'offsets'> {
  const offsets: Record<string, number> = {};
  let end = 0;
  for (const [name, weight] of weights) {
    offsets[name] = roundUp(end, lineBytes);
    end = offsets[name] + bytesOf(weight);
  }
  return { bytes: roundUp(end, unit), offsets };
}

const roundUp = (value: number, unit: number) => Math.ceil(value / unit) * unit;

function* batchesOf({ bytesOf }: WeightFiles, { weights }: Model): Generator<ReadonlyMap<string, StoredTensor>> {
  let [batch, bytes] = [new Map<string, StoredTensor>(), 0];
  for (const [name, weight] of weights) {
    const more = bytesOf(weight);
    if (bytes > 0 && bytes + more > batchBytes) {
      yield batch;
      [batch, bytes] = [new Map(), 0];
    }
    batch.set(name, weight);
    bytes += more;
  }
  yield batch;
}

function tailOf(contents: Contents): Uint8Array {
  const json = Buffer.from(JSON.stringify(contents));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([json, createHash('sha256').update(json).digest(), length, Buffer.from(magic, 'latin1')]);
}

/** Bytes on disk, but for the few that say what they are. */
export function packedFileBytes(files: WeightFiles, model: Model): number {
  return placesOf(files, model).bytes;
}

export interface KeptWeights {
  readonly path: string;
  readonly bytes: number;
  /** Where the model was; null where the file does not say it. */
  readonly model: string | null;
  /** Why the next start of the model makes the file again; null where it maps it, unless bytes of the weights have changed. */
  readonly stale: string | null;
}

/** What `folder` holds. @throws IngotError 'FileNotFound', 'FileAccess'. */
export async function keptWeights(folder: string): Promise<readonly KeptWeights[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw systemError(error, folder);
  });
  const paths = names.filter((name) => name.endsWith(packedEnding)).map((name) => join(folder, name));
  return Promise.all(paths.sort().map(examineKept));
}

async function examineKept(path: string): Promise<KeptWeights> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: unknown) => {
    throw systemError(error, path);
  });
  try {
    const { size: bytes } = await file.stat();
    const contents = await readContents(file, bytes);
    if (contents === undefined) return { path, bytes, model: null, stale: 'it is damaged' };
    return { path, bytes, model: contents.model ?? null, stale: (await whyStaleNow(contents)) ?? null };
  } finally {
    await file.close();
  }
}

async function whyStaleNow(contents: Contents): Promise<string | undefined> {
  const { model, origin } = contents;
  const version = whyStale(contents, { ...origin, ingot: weightStamp() });
  if (version !== undefined || model === undefined) return version;
  try {
    await using checkpoint = await openCheckpoint(model);
    return whyStale(contents, await originOf(checkpoint));
  } catch (error) {
    if (isIngotError(error)) return error.message;
    throw error;
  }
}
