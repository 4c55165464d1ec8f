/**
 * Writes GGUF version 3 (little endian), after the specification in ggml's `docs/gguf.md`. The header is laid out at
 * once; tensors are streamed one after the other, each asked for its data when its turn comes. A file that `gguf.ts`
 * has read is written again byte for byte (version 3, tensors in file order with no gaps, strings of valid UTF-8 outside of arrays).
 */
import { IngotError } from '../base/errors.ts';
import { StringList } from '../base/string-list.ts';
import type { Metadata, MetadataValue } from './checkpoint.ts';
import { alignUp } from './gguf.ts';
import {
  type GgmlType,
  type GgufArrayType,
  type GgufScalar,
  type GgufType,
  ggmlTypesByName,
  ggufAlignmentKey,
  ggufArrayId,
  ggufDefaultAlignment,
  ggufMagic,
  ggufScalars,
  ggufVersion,
} from './gguf-types.ts';
import { type FileLayout, streamTensor, type TensorToWrite } from './tensor-stream.ts';

export interface GgufContents {
  /** `general.alignment`, if present, is obeyed. */
  readonly metadata: Metadata;
  /**
   * Types of metadata values. Without one: integers are uint32, int32, uint64 or int64, whichever is first to hold
   * them; other numbers float32; typed arrays what they are; other arrays the like for all their elements.
   */
  readonly types?: ReadonlyMap<string, GgufType>;
  readonly tensors: readonly TensorToWrite[];
}

/** @throws IngotError 'InvalidArgument' for values, formats and shapes that GGUF cannot hold. */
export function layoutGguf({ metadata, types, tensors }: GgufContents): FileLayout {
  const alignment = alignmentOf(metadata);
  const header = new HeaderWriter();
  header.u32(ggufMagic);
  header.u32(ggufVersion);
  header.u64(tensors.length);
  header.u64(metadata.size);
  for (const [key, value] of metadata) {
    header.string(key);
    writeValue(header, key, value, types?.get(key) ?? inferType(key, value));
  }

  let offset = 0;
  const lengths: number[] = [];
  const names = new Set<string>();
  for (const tensor of tensors) {
    if (names.has(tensor.name)) refuse('two tensors have the same name', tensor.name);
    names.add(tensor.name);
    const { type, length } = describe(tensor);
    header.string(tensor.name);
    header.u32(tensor.shape.length);
    for (const size of tensor.shape.toReversed()) header.u64(size);
    header.u32(type.id);
    header.u64(offset);
    offset += alignUp(length, alignment);
    lengths.push(length);
  }
  // A file without tensors ends with its header.
  if (tensors.length > 0) header.pad(alignment);
  const headerBytes = header.bytes();

  return {
    length: headerBytes.length + offset,
    async writeTo(sink, signal) {
      await sink.write(headerBytes);
      for (const [i, tensor] of tensors.entries()) {
        const length = lengths[i] ?? 0;
        await streamTensor(tensor, length, sink, signal);
        const padding = alignUp(length, alignment) - length;
        if (padding > 0) await sink.write(new Uint8Array(padding));
      }
    },
  };
}

function refuse(message: string, tensor?: string): never {
  throw new IngotError('InvalidArgument', message, tensor === undefined ? {} : { tensor });
}

function alignmentOf(metadata: Metadata): number {
  const value = metadata.get(ggufAlignmentKey) ?? ggufDefaultAlignment;
  if (typeof value !== 'number' || !(value > 0) || value > 1 << 20 || (value & (value - 1)) !== 0) {
    return refuse(`"${ggufAlignmentKey}" must be a power of two`);
  }
  return value;
}

function describe({ name, format, shape }: TensorToWrite): { type: GgmlType; length: number } {
  const type = ggmlTypesByName.get(format) ?? refuse(`GGUF has no tensor type "${format}"`, name);
  if (shape.length > 4) refuse(`${shape.length} dimensions; GGUF allows 4`, name);
  const elements = shape.reduce((product, size) => product * size, 1);
  const whole = shape.every((size) => Number.isSafeInteger(size) && size > 0) && Number.isSafeInteger(elements);
  if (!whole) refuse(`the shape [${shape.join(', ')}] is not one of positive integers`, name);
  if ((shape.at(-1) ?? 1) % type.blockSize !== 0) {
    refuse(`rows of ${shape.at(-1)} values are not whole blocks of ${type.blockSize} (${format})`, name);
  }
  return { type, length: (elements / type.blockSize) * type.blockBytes };
}

function inferType(key: string, value: MetadataValue): GgufType {
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'number' || typeof value === 'bigint') return numberType([value]);
  const array = inferArrayType(value);
  return array ?? refuse(`the metadata value "${key}" has no GGUF type; only arrays of one kind and scalars have`);
}

function inferArrayType(value: MetadataValue): GgufArrayType | undefined {
  if (value instanceof Uint8Array) return { array: 'uint8' };
  if (value instanceof Int8Array) return { array: 'int8' };
  if (value instanceof Uint16Array) return { array: 'uint16' };
  if (value instanceof Int16Array) return { array: 'int16' };
  if (value instanceof Uint32Array) return { array: 'uint32' };
  if (value instanceof Int32Array) return { array: 'int32' };
  if (value instanceof Float32Array) return { array: 'float32' };
  if (value instanceof Float64Array) return { array: 'float64' };
  if (value instanceof StringList) return { array: 'string' };
  if (!Array.isArray(value)) return undefined;
  const elements: readonly MetadataValue[] = value;
  if (elements.every((element) => typeof element === 'string')) return { array: 'string' };
  if (elements.every((element) => typeof element === 'boolean')) return { array: 'bool' };
  const numbers = elements.filter((element) => typeof element === 'number' || typeof element === 'bigint');
  if (numbers.length === elements.length) return { array: numberType(numbers) };
  const arrays = elements.map(inferArrayType).filter((type) => type !== undefined);
  return arrays.length === elements.length ? { arrays } : undefined;
}

const integerRanges = [
  ['uint32', 0n, 2n ** 32n - 1n],
  ['int32', -(2n ** 31n), 2n ** 31n - 1n],
  ['uint64', 0n, 2n ** 64n - 1n],
  ['int64', -(2n ** 63n), 2n ** 63n - 1n],
] as const;

/** The first type that holds all of the numbers. */
function numberType(numbers: readonly (number | bigint)[]): GgufScalar {
  const integers: bigint[] = [];
  for (const number of numbers) {
    if (typeof number === 'number' && !Number.isSafeInteger(number)) return 'float32';
    integers.push(BigInt(number));
  }
  for (const [type, least, most] of integerRanges) {
    if (integers.every((integer) => integer >= least && integer <= most)) return type;
  }
  return refuse('an integer of more than 64 bits');
}

function writeValue(header: HeaderWriter, key: string, value: MetadataValue, type: GgufType): void {
  if (typeof type !== 'string') {
    header.u32(ggufArrayId);
    writeArray(header, key, value, type);
    return;
  }
  header.u32(ggufScalars[type].id);
  writeScalar(header, key, value, type);
}

function writeArray(header: HeaderWriter, key: string, value: MetadataValue, type: GgufArrayType): void {
  if (value instanceof StringList) {
    if (!('array' in type) || type.array !== 'string') refuse(`the metadata value "${key}" is of strings`);
    header.u32(ggufScalars.string.id);
    header.u64(value.length);
    for (let i = 0; i < value.length; i++) header.text(value.bytes.subarray(value.start(i), value.ends[i]));
    return;
  }
  const isArray = Array.isArray(value) || ArrayBuffer.isView(value);
  if (!isArray) refuse(`the metadata value "${key}" is not an array`);
  const elements: ArrayLike<MetadataValue> = value;
  header.u32('arrays' in type ? ggufArrayId : ggufScalars[type.array].id);
  header.u64(elements.length);
  for (let i = 0; i < elements.length; i++) {
    const element = elements[i] ?? null;
    if ('array' in type) {
      writeScalar(header, key, element, type.array);
      continue;
    }
    const inner = type.arrays[i] ?? refuse(`the type of "${key}" has fewer arrays than its value`);
    writeArray(header, key, element, inner);
  }
}

/** No value is ever rounded or wrapped into an integer field. */
function writeScalar(header: HeaderWriter, key: string, value: MetadataValue, type: GgufScalar): void {
  if (type === 'string' && typeof value === 'string') header.string(value);
  else if (type === 'bool' && typeof value === 'boolean') header.integer(1, value ? 1n : 0n);
  else if (type === 'float32' && typeof value === 'number') header.f32(value);
  else if (type === 'float64' && typeof value === 'number') header.f64(value);
  else {
    const integer = integerOf(value, type);
    if (integer === undefined) refuse(`the metadata value "${key}" (${typeof value}) is not a ${type}`);
    header.integer(ggufScalars[type].bytes, integer);
  }
}

/** The value, if it is an integer that this integer type holds. */
function integerOf(value: MetadataValue, type: GgufScalar): bigint | undefined {
  if (type === 'string' || type === 'bool' || type === 'float32' || type === 'float64') return undefined;
  if (typeof value !== 'bigint' && !(typeof value === 'number' && Number.isSafeInteger(value))) return undefined;
  const integer = BigInt(value);
  const bits = ggufScalars[type].bytes * 8;
  const held = type.startsWith('u') ? BigInt.asUintN(bits, integer) : BigInt.asIntN(bits, integer);
  return held === integer ? integer : undefined;
}

/** A growing buffer of little-endian fields. */
class HeaderWriter {
  #view = new DataView(new ArrayBuffer(1 << 16));
  #length = 0;
  readonly #utf8 = new TextEncoder();

  // Room first: making it may replace the view.
  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }
  u64(value: number): void {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }
  f32(value: number): void {
    const at = this.#grow(4);
    this.#view.setFloat32(at, value, true);
  }
  f64(value: number): void {
    const at = this.#grow(8);
    this.#view.setFloat64(at, value, true);
  }

  /** The low `bytes` bytes of the integer. */
  integer(bytes: number, value: bigint): void {
    const at = this.#grow(bytes);
    for (let i = 0; i < bytes; i++) this.#view.setUint8(at + i, Number((value >> BigInt(8 * i)) & 0xffn));
  }

  string(text: string): void {
    this.text(this.#utf8.encode(text));
  }

  text(bytes: Uint8Array): void {
    this.u64(bytes.length);
    const at = this.#grow(bytes.length);
    new Uint8Array(this.#view.buffer).set(bytes, at);
  }

  pad(alignment: number): void {
    this.#grow(alignUp(this.#length, alignment) - this.#length);
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#length);
  }

  /** Room for `bytes` more; where they go. */
  #grow(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#view.byteLength) {
      const larger = new Uint8Array(Math.max(this.#length, this.#view.byteLength * 2));
      larger.set(new Uint8Array(this.#view.buffer));
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}
