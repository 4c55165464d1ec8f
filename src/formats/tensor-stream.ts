/** Tensors on their way into a file: what the writers of all formats take, and where they write to. */
import type { ByteSource } from '../base/bytes.ts';
import { IngotError, throwIfAborted } from '../base/errors.ts';
import type { StoredTensor } from './checkpoint.ts';

export interface ByteSink {
  /** Appends; the bytes are the sink's until the promise is fulfilled. */
  write(bytes: Uint8Array): Promise<void>;
}

/** A file whose size is known and whose contents come when it is written. */
export interface FileLayout {
  /** Bytes that will be written. */
  readonly length: number;
  /** @throws IngotError 'Aborted'; 'InvalidArgument' if a tensor does not have the bytes that its shape needs. */
  writeTo(sink: ByteSink, signal?: AbortSignal): Promise<void>;
}

export interface TensorToWrite {
  readonly name: string;
  /** As of StoredTensor. */
  readonly format: string;
  /** Row-major, outermost dimension first. */
  readonly shape: readonly number[];
  /** The data in pieces, in order; asked for once, when its turn comes. */
  chunks(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const chunkBytes = 4 << 20;

/** A tensor as it lies in another file. */
export function copyTensor(tensor: StoredTensor): TensorToWrite {
  const { name, format, shape, bytes } = tensor;
  return { name, format, shape, chunks: () => chunksOf(bytes) };
}

async function* chunksOf(bytes: ByteSource): AsyncIterable<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
    yield await bytes.read(offset, Math.min(chunkBytes, bytes.length - offset));
  }
}

/** Writes the tensor's data; `length` is what its shape and format need. */
export async function streamTensor(
  tensor: TensorToWrite,
  length: number,
  sink: ByteSink,
  signal: AbortSignal | undefined,
): Promise<void> {
  let written = 0;
  for await (const chunk of tensor.chunks()) {
    throwIfAborted(signal);
    written += chunk.length;
    if (written > length) break;
    await sink.write(chunk);
  }
  throwIfAborted(signal);
  if (written !== length) {
    const have = written > length ? 'more' : `${written}`;
    throw new IngotError('InvalidArgument', `${length} bytes of data are needed and ${have} were given`, {
      tensor: tensor.name,
    });
  }
}
