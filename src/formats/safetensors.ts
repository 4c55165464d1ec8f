/**
 * Reads safetensors, after the format's description in huggingface/safetensors:
 *
 *   u64 length of the header; header: JSON {name: {dtype, shape, data_offsets: [begin, end]}}; tensor data
 *
 * The data section must be covered exactly, without holes or overlaps, as the format demands.
 */
import { type ByteSource, sliceBytes } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, StoredTensor } from './checkpoint.ts';
import { isJsonObject, type JsonValue, readJsonObject } from './json.ts';

/** Element types by their name in the file. Our name is the same in lower case. */
export const safetensorsBits: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

export interface SafetensorsHeader {
  /** `__metadata__`: text only. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** @throws IngotError 'InvalidFile' with the tensor's name; whatever the source throws. */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsHeader> {
  if (source.length < 8) fail(source, 'the file is too short to be safetensors', 0);
  const prefix = new DataView((await source.read(0, 8)).buffer);
  const headerBytes = Number(prefix.getBigUint64(0, true));
  if (headerBytes > source.length - 8) {
    fail(source, `a header of ${headerBytes} bytes in a file of ${source.length}`, 0);
  }
  // Its limit is a third of the reference implementation's and ten times what the largest models have.
  const header = await readJsonObject(source, { offset: 8, length: headerBytes, uniqueKeys: true });

  const metadata = new Map<string, string>();
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name !== '__metadata__') {
      entries.push(readEntry(source, name, value));
      continue;
    }
    if (!isJsonObject(value)) return fail(source, '__metadata__ is not an object', 8);
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') return fail(source, `__metadata__ holds "${key}", which is not text`, 8);
      metadata.set(key, text);
    }
  }

  const dataStart = 8 + headerBytes;
  checkCovered(source, entries, source.length - dataStart);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape, begin, end } of entries) {
    const bytes = sliceBytes(source, dataStart + begin, end - begin);
    tensors.set(name, { name, format: dtype.toLowerCase(), shape, bytes });
  }
  return { metadata, tensors };
}

/** A single file by itself. Owns the source from then on, unless it throws. */
export async function readSafetensors(source: ByteSource & Partial<AsyncDisposable>): Promise<Checkpoint> {
  const { metadata, tensors } = await readSafetensorsHeader(source);
  return {
    kind: 'safetensors',
    path: source.name,
    files: [source],
    metadata,
    tensors,
    companions: new Map(),
    [Symbol.asyncDispose]: async () => source[Symbol.asyncDispose]?.(),
  };
}

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** From the start of the data section. */
  readonly begin: number;
  readonly end: number;
}

function readEntry(source: ByteSource, name: string, value: JsonValue): Entry {
  const refuse = (message: string): never => fail(source, message, 8, name);
  if (!isJsonObject(value)) return refuse('its description is not an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(safetensorsBits, dtype)) {
    return refuse(`the unknown dtype ${JSON.stringify(dtype)?.slice(0, 40)}`);
  }
  if (!isCounts(shape)) return refuse('its shape is not an array of counts');
  if (!isCounts(offsets)) return refuse('its data_offsets are not two counts');
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2 || begin > end) {
    return refuse('its data_offsets are not two counts, the first not above the second');
  }
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    // Even if a zero follows: the reference implementation refuses the overflow, too.
    if (!Number.isSafeInteger(elements)) return refuse('its shape has too many elements');
  }
  const bits = elements * (safetensorsBits[dtype] ?? 0);
  if (bits !== (end - begin) * 8) {
    return refuse(`[${shape.join(', ').slice(0, 80)}] of ${dtype} are ${bits / 8} bytes, its data ${end - begin}`);
  }
  return { name, dtype, shape, begin, end };
}

function isCounts(value: JsonValue | undefined): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function checkCovered(source: ByteSource, entries: readonly Entry[], length: number): void {
  let covered = 0;
  for (const entry of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin < covered) fail(source, 'its data overlaps that of another tensor', 8, entry.name);
    if (entry.begin > covered) fail(source, `a hole of ${entry.begin - covered} bytes before its data`, 8, entry.name);
    covered = entry.end;
    if (covered > length) fail(source, `its data ends at ${covered} of ${length} bytes of data`, 8, entry.name);
  }
  if (covered !== length) fail(source, `${length - covered} bytes after the last tensor belong to none`, 8);
}

function fail(source: ByteSource, message: string, offset: number, tensor?: string): never {
  throw new IngotError('InvalidFile', message, {
    path: source.name,
    offset,
    ...(tensor === undefined ? {} : { tensor }),
    hint: 'the file is damaged or incomplete; download it again',
  });
}
