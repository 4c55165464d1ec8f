/** Typed access to the keys of GGUF that describe vocabularies. */
import { IngotError } from '../base/errors.ts';
import { StringList, type Strings } from '../base/string-list.ts';
import type { Metadata } from '../formats/checkpoint.ts';

type Family = 'ggml' | 'ingot';

/** Typed access to `tokenizer.ggml.*` (and `tokenizer.ingot.*`); a key of another type is an 'InvalidFile'. */
export class GgufKeys {
  readonly #metadata: Metadata;

  constructor(metadata: Metadata) {
    this.#metadata = metadata;
  }

  wrong(key: string, what: string, family: Family = 'ggml'): IngotError {
    return new IngotError('InvalidFile', `tokenizer.${family}.${key} ${what}`);
  }

  string(key: string, family: Family = 'ggml'): string | undefined {
    const value = this.#get(key, family);
    if (value === undefined || typeof value === 'string') return value;
    throw this.wrong(key, 'is not a string', family);
  }

  boolean(key: string, family: Family = 'ggml'): boolean | undefined {
    const value = this.#get(key, family);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.wrong(key, 'is not a boolean', family);
  }

  /** Files write 0xFFFFFFFF, and some -1, for "none". */
  id(key: string): number | undefined {
    const value = this.#get(key);
    if (value === undefined || value === 0xffffffff || value === -1) return undefined;
    if (typeof value === 'number') return value;
    throw this.wrong(key, 'is not a token id');
  }

  /** Bytes, of which files write arrays of either sign. */
  bytes(key: string): Uint8Array | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (value instanceof Uint8Array) return value;
    if (value instanceof Int8Array) return new Uint8Array(value.buffer, value.byteOffset, value.length);
    throw this.wrong(key, 'is not an array of bytes');
  }

  ids(key: string, family: Family): readonly number[] {
    const value = this.#get(key, family);
    if (value === undefined) return [];
    if (!isNumbers(value)) throw this.wrong(key, 'is not an array of numbers', family);
    return Array.from(value);
  }

  strings(key: string): Strings | undefined {
    const value = this.#get(key);
    if (value === undefined || value instanceof StringList) return value;
    if (!Array.isArray(value)) throw this.wrong(key, 'is not an array of strings');
    return value.map((item: unknown) => {
      if (typeof item !== 'string') throw this.wrong(key, 'is not an array of strings');
      return item;
    });
  }

  numbers(key: string, length: number): ArrayLike<number> | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!isNumbers(value)) throw this.wrong(key, 'is not an array of numbers');
    if (value.length !== length) throw this.wrong(key, `has ${value.length} entries for ${length} tokens`);
    return value;
  }

  floats(key: string, length: number): ArrayLike<number> {
    const value = this.numbers(key, length);
    if (value === undefined) throw this.wrong(key, 'is missing');
    for (let i = 0; i < value.length; i++) {
      if (!Number.isFinite(value[i])) throw this.wrong(key, `is ${value[i]} for token ${i}`);
    }
    return value;
  }

  #get(key: string, family: Family = 'ggml'): unknown {
    return this.#metadata.get(`tokenizer.${family}.${key}`);
  }
}

function isNumbers(value: unknown): value is ArrayLike<number> {
  if (Array.isArray(value)) return value.every((item) => typeof item === 'number');
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}
