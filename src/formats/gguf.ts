/**
 * Reads GGUF, versions 2 and 3, little endian, after the specification in ggml's `docs/gguf.md`:
 *
 *   magic, version, tensor count, value count; key-value pairs; tensor infos; padding; tensor data
 *
 * Only the header is read, by ranged reads; tensors stay where they are. A file is not trusted: every count, length,
 * type, shape and offset is checked before it is used, and what it makes us allocate is bounded by its size.
 */
import { type ByteSource, sliceBytes } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, MetadataValue, StoredTensor } from './checkpoint.ts';
import {
  type GgmlType,
  type GgufArrayType,
  type GgufScalar,
  type GgufType,
  ggmlTypesById,
  ggufAlignmentKey,
  ggufArrayId,
  ggufDefaultAlignment,
  ggufMagic,
  ggufScalarById,
  ggufScalars,
  removedGgmlTypes,
} from './gguf-types.ts';
import { WindowedReader } from './windowed-reader.ts';

/** Vocabularies of 256k tokens with merges take some 15 MB. */
const maxHeaderBytes = 128 << 20;
const maxKeyBytes = 65535;
const maxDimensions = 4;
const maxArrayDepth = 4;
const maxAlignment = 1 << 20;

export interface GgufCheckpoint extends Checkpoint {
  readonly kind: 'gguf';
  readonly version: 2 | 3;
  /** Bytes to which each tensor's data is aligned. */
  readonly alignment: number;
  /** The types that the file gives to its metadata, for writing it again as it was. */
  readonly metadataTypes: ReadonlyMap<string, GgufType>;
}

export function isGguf(checkpoint: Checkpoint): checkpoint is GgufCheckpoint {
  return checkpoint.kind === 'gguf' && 'metadataTypes' in checkpoint;
}

/**
 * Reads the header. The checkpoint owns the source from then on: disposing of it disposes of the source. Where this
 * throws, the source is still the caller's.
 * @throws IngotError 'InvalidFile' with offset and tensor name; 'UnsupportedFile' for other versions, big-endian files
 * and removed tensor types; whatever the source throws.
 */
export async function readGguf(source: ByteSource & Partial<AsyncDisposable>): Promise<GgufCheckpoint> {
  const reader = new WindowedReader(source, maxHeaderBytes);
  await reader.need(24, 'the header');
  if (reader.u32() !== ggufMagic) reader.fail('this is not a GGUF file: it does not begin with "GGUF"', 0);
  const version = supportedVersion(reader.u32(), source.name);
  // A tensor info takes at least 24 bytes (name length, dimension count, type, offset), a pair 13.
  const tensorCount = reader.count(24, 'the number of tensors');
  const pairCount = reader.count(13, 'the number of metadata values');

  const metadata = new Map<string, MetadataValue>();
  const metadataTypes = new Map<string, GgufType>();
  for (let i = 0; i < pairCount; i++) {
    const start = reader.offset;
    const key = await readKey(reader);
    if (metadata.has(key)) reader.fail(`the key "${key}" appears twice`, start);
    const { value, type } = await readValue(reader, key);
    metadata.set(key, value);
    metadataTypes.set(key, type);
  }
  const alignment = readAlignment(reader, metadata, metadataTypes);

  const infos = new Map<string, TensorInfo>();
  for (let i = 0; i < tensorCount; i++) {
    const info = await readTensorInfo(reader, alignment, source.name);
    if (infos.has(info.name)) reader.fail('two tensors have the same name', info.at, info.name);
    infos.set(info.name, info);
  }
  const dataStart = alignUp(reader.offset, alignment);
  checkRanges(reader, [...infos.values()], dataStart, source.length);

  const tensors = new Map<string, StoredTensor>();
  for (const { name, type, shape, offset, length } of infos.values()) {
    tensors.set(name, { name, format: type.name, shape, bytes: sliceBytes(source, dataStart + offset, length) });
  }
  return {
    kind: 'gguf',
    path: source.name,
    files: [source],
    version,
    alignment,
    metadata,
    metadataTypes,
    tensors,
    companions: new Map(),
    [Symbol.asyncDispose]: async () => source[Symbol.asyncDispose]?.(),
  };
}

export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

function supportedVersion(version: number, path: string): 2 | 3 {
  if (version === 2 || version === 3) return version;
  const place = { path, offset: 4 };
  if (version !== 0 && (version & 0xffff) === 0) {
    const hint = 'convert the model again for a little-endian machine';
    throw new IngotError('UnsupportedFile', 'this GGUF file is big endian; only little-endian files are supported', {
      ...place,
      hint,
    });
  }
  throw new IngotError('UnsupportedFile', `GGUF version ${version} is not supported (2 and 3 are)`, {
    ...place,
    hint: 'convert the model again with a current converter',
  });
}

async function readKey(reader: WindowedReader): Promise<string> {
  await reader.need(8, 'the length of a key');
  const length = reader.count(1, 'the length of a key');
  if (length === 0 || length > maxKeyBytes) {
    reader.fail(`a key has ${length} bytes; 1 to ${maxKeyBytes} are allowed`, reader.offset - 8);
  }
  await reader.need(length, 'a key');
  return reader.text(length, 'strict', 'a key');
}

/** Values that are not valid UTF-8 are kept with replacement characters: some vocabularies hold raw bytes. */
async function readString(reader: WindowedReader, what: string): Promise<string> {
  await reader.need(8, what);
  const length = reader.count(1, `the length of ${what}`);
  await reader.need(length, what);
  return reader.text(length, 'lossy', what);
}

async function readValue(reader: WindowedReader, key: string): Promise<{ value: MetadataValue; type: GgufType }> {
  const what = `the value of "${key}"`;
  await reader.need(4, what);
  const id = reader.u32();
  if (id === ggufArrayId) return readArray(reader, what, 1);
  const type = ggufScalarById(id) ?? reader.fail(`${what} has the unknown type ${id}`, reader.offset - 4);
  if (type === 'string') return { value: await readString(reader, what), type };
  await reader.need(ggufScalars[type].bytes, what);
  return { value: readScalar(reader, type, what), type };
}

/** A value whose bytes are in the window. */
function readScalar(reader: WindowedReader, type: Exclude<GgufScalar, 'string'>, what: string): MetadataValue {
  switch (type) {
    case 'uint8':
      return reader.u8();
    case 'int8':
      return reader.i8();
    case 'uint16':
      return reader.u16();
    case 'int16':
      return reader.i16();
    case 'uint32':
      return reader.u32();
    case 'int32':
      return reader.i32();
    case 'float32':
      return reader.f32();
    case 'float64':
      return reader.f64();
    case 'uint64':
      return numberIfExact(reader.u64());
    case 'int64':
      return numberIfExact(reader.i64());
    case 'bool': {
      const byte = reader.u8();
      if (byte > 1) reader.fail(`${what} is a bool of ${byte}; only 0 and 1 are allowed`, reader.offset - 1);
      return byte === 1;
    }
  }
}

function numberIfExact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

async function readArray(
  reader: WindowedReader,
  what: string,
  depth: number,
): Promise<{ value: MetadataValue; type: GgufArrayType }> {
  if (depth > maxArrayDepth) reader.fail(`${what} nests arrays more than ${maxArrayDepth} deep`);
  await reader.need(12, what);
  const id = reader.u32();
  if (id === ggufArrayId) {
    const count = reader.count(12, `the length of ${what}`);
    const values: MetadataValue[] = [];
    const arrays: GgufArrayType[] = [];
    for (let i = 0; i < count; i++) {
      const { value, type } = await readArray(reader, what, depth + 1);
      values.push(value);
      arrays.push(type);
    }
    return { value: values, type: { arrays } };
  }
  const type = ggufScalarById(id) ?? reader.fail(`${what} has elements of the unknown type ${id}`, reader.offset - 4);
  const size = ggufScalars[type].bytes;
  const count = reader.count(size, `the length of ${what}`);
  if (type === 'string') return { value: await reader.strings(count, what), type: { array: type } };
  await reader.need(count * size, what);
  const value =
    typedArray(reader, type, count * size) ?? Array.from({ length: count }, () => readScalar(reader, type, what));
  return { value, type: { array: type } };
}

/** Arrays of numbers of which JavaScript has an array; the rest is read one by one. */
function typedArray(
  reader: WindowedReader,
  type: Exclude<GgufScalar, 'string'>,
  length: number,
): MetadataValue | undefined {
  switch (type) {
    case 'uint8':
      return reader.bytes(length);
    case 'int8':
      return new Int8Array(reader.bytes(length).buffer);
    case 'uint16':
      return new Uint16Array(reader.bytes(length).buffer);
    case 'int16':
      return new Int16Array(reader.bytes(length).buffer);
    case 'uint32':
      return new Uint32Array(reader.bytes(length).buffer);
    case 'int32':
      return new Int32Array(reader.bytes(length).buffer);
    case 'float32':
      return new Float32Array(reader.bytes(length).buffer);
    case 'float64':
      return new Float64Array(reader.bytes(length).buffer);
    case 'bool':
    case 'int64':
    case 'uint64':
      return undefined;
  }
}

function readAlignment(
  reader: WindowedReader,
  metadata: ReadonlyMap<string, MetadataValue>,
  types: ReadonlyMap<string, GgufType>,
): number {
  const value = metadata.get(ggufAlignmentKey);
  if (value === undefined) return ggufDefaultAlignment;
  if (types.get(ggufAlignmentKey) !== 'uint32' || typeof value !== 'number') {
    reader.fail(`"${ggufAlignmentKey}" is not a uint32`);
  }
  if (value === 0 || value > maxAlignment || (value & (value - 1)) !== 0) {
    reader.fail(`"${ggufAlignmentKey}" is ${value}; a power of two up to ${maxAlignment} is needed`);
  }
  return value;
}

interface TensorInfo {
  readonly name: string;
  readonly type: GgmlType;
  readonly shape: readonly number[];
  /** Of the data, from the start of the data section; in bytes. */
  readonly offset: number;
  readonly length: number;
  /** Where in the file this is said. */
  readonly at: number;
}

async function readTensorInfo(reader: WindowedReader, alignment: number, path: string): Promise<TensorInfo> {
  const at = reader.offset;
  await reader.need(8, 'the name of a tensor');
  const nameLength = reader.count(1, 'the length of the name of a tensor');
  if (nameLength > maxKeyBytes) reader.fail(`the name of a tensor has ${nameLength} bytes`, at);
  await reader.need(nameLength, 'the name of a tensor');
  const name = reader.text(nameLength, 'strict', 'the name of a tensor');

  await reader.need(4, `the description of tensor "${name}"`);
  const dimensions = reader.u32();
  if (dimensions > maxDimensions) {
    reader.fail(`${dimensions} dimensions; at most ${maxDimensions} are allowed`, reader.offset - 4, name);
  }
  await reader.need(dimensions * 8 + 12, `the description of tensor "${name}"`);
  const innermostFirst: number[] = [];
  let elements = 1;
  for (let i = 0; i < dimensions; i++) {
    const size = Number(reader.u64());
    elements *= size;
    if (size === 0) reader.fail('a dimension is zero', reader.offset - 8, name);
    if (!Number.isSafeInteger(elements)) reader.fail('the shape has too many elements', reader.offset - 8, name);
    innermostFirst.push(size);
  }

  const type = supportedType(reader, name, path);
  const row = innermostFirst[0] ?? 1;
  if (row % type.blockSize !== 0) {
    reader.fail(`rows of ${row} values are not whole blocks of ${type.blockSize} (${type.name})`, at, name);
  }
  const length = (elements / type.blockSize) * type.blockBytes;
  const offset = Number(reader.u64());
  if (offset % alignment !== 0) {
    reader.fail(`the data offset ${offset} is not a multiple of ${alignment}`, reader.offset - 8, name);
  }
  return { name, type, shape: innermostFirst.reverse(), offset, length, at };
}

function supportedType(reader: WindowedReader, tensor: string, path: string): GgmlType {
  const offset = reader.offset;
  const id = reader.u32();
  const type = ggmlTypesById.get(id);
  if (type !== undefined) return type;
  const removed = removedGgmlTypes.get(id);
  if (removed === undefined) return reader.fail(`the unknown tensor type ${id}`, offset, tensor);
  throw new IngotError('UnsupportedFile', `tensor type ${removed} was removed from GGUF`, {
    path,
    offset,
    tensor,
    hint: 'quantize the model again to a current type',
  });
}

/** Data lies inside the file and no two tensors share bytes. */
function checkRanges(reader: WindowedReader, infos: TensorInfo[], dataStart: number, fileLength: number): void {
  let previous: TensorInfo | undefined;
  for (const info of infos.sort((a, b) => a.offset - b.offset)) {
    const end = dataStart + info.offset + info.length;
    if (end > fileLength) {
      const range = `${dataStart + info.offset} to ${end}`;
      reader.fail(`its data (bytes ${range}) lies past the end of the file (${fileLength} bytes)`, info.at, info.name);
    }
    if (previous !== undefined && previous.offset + previous.length > info.offset) {
      reader.fail(`its data overlaps that of "${previous.name}"`, info.at, info.name);
    }
    previous = info;
  }
}
