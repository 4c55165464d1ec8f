/**
 * A model on disk, whatever the file format: what the file says about itself and where its tensors lie. Knows no
 * model; `models/` reads the metadata, `tokenizer/` reads the vocabulary.
 */
import type { ByteSource } from '../base/bytes.ts';
import type { StringList } from '../base/string-list.ts';

/** Values of GGUF keys and of JSON configuration files alike. 64-bit integers that fit are numbers, others bigints. */
export type MetadataValue =
  | number
  | bigint
  | boolean
  | string
  | null
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | StringList
  | readonly MetadataValue[]
  | { readonly [key: string]: MetadataValue };

export type Metadata = ReadonlyMap<string, MetadataValue>;

/** A tensor that has not been read. */
export interface StoredTensor {
  readonly name: string;
  /** Name of a row of `numerics/quant/formats.ts`. */
  readonly format: string;
  /** Row-major, outermost dimension first (GGUF's order reversed). */
  readonly shape: readonly number[];
  /** Exactly this tensor's bytes. */
  readonly bytes: ByteSource;
}

/** A model's file or folder, of which only the header was read. */
export interface Checkpoint extends AsyncDisposable {
  readonly kind: 'gguf' | 'huggingface' | 'safetensors' | 'llama2c';
  /** Path of the file or folder that was opened. */
  readonly path: string;
  /** All that it was read from. */
  readonly files: readonly ByteSource[];
  /** GGUF: its keys. Hugging Face: the keys of `config.json`. safetensors: its text. llama2.c: the header's fields. */
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Other files that came along, by name (`tokenizer.json`, `generation_config.json`, ...); empty for single files. */
  readonly companions: ReadonlyMap<string, ByteSource>;
}
