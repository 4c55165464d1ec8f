/** Reads a model's settings from a checkpoint's metadata: what is missing or of a wrong kind is named, never guessed. */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, Metadata, MetadataValue } from '../formats/checkpoint.ts';

export class Settings {
  readonly #metadata: Metadata;
  readonly path: string;
  readonly #prefix: string;
  readonly #asked = new Set<string>();

  /** Keys are looked up below `prefix` ('llama.' in GGUF files). */
  constructor(checkpoint: Pick<Checkpoint, 'metadata' | 'path'>, prefix = '') {
    this.#metadata = checkpoint.metadata;
    this.path = checkpoint.path;
    this.#prefix = prefix;
  }

  /** Undefined where the key is absent or null. */
  get(key: string): MetadataValue | undefined {
    this.#asked.add(key);
    return this.#metadata.get(this.#prefix + key) ?? undefined;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  #wrong(key: string, expected: string): never {
    const value = this.get(key);
    const found = value === undefined ? 'is missing' : `is ${JSON.stringify(value)?.slice(0, 60)}`;
    throw new IngotError('InvalidFile', `the model's setting ${this.#prefix}${key} ${found}; expected ${expected}`, {
      path: this.path,
    });
  }

  number(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback;
    return typeof value === 'number' && Number.isFinite(value) ? value : this.#wrong(key, 'a number');
  }

  /** A whole number from 1 to 2^31. */
  count(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback;
    const ok = typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 2 ** 31;
    return ok ? value : this.#wrong(key, 'a positive whole number');
  }

  string(key: string, fallback?: string): string {
    const value = this.get(key) ?? fallback;
    return typeof value === 'string' ? value : this.#wrong(key, 'a string');
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.get(key) ?? fallback;
    return typeof value === 'boolean' ? value : this.#wrong(key, 'true or false');
  }

  strings(key: string): readonly string[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    const ok = Array.isArray(value) && value.every((item): item is string => typeof item === 'string');
    return ok ? value : this.#wrong(key, 'a list of strings');
  }

  booleans(key: string): readonly boolean[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    const ok = Array.isArray(value) && value.every((item): item is boolean => typeof item === 'boolean');
    return ok ? value : this.#wrong(key, 'a list of true and false');
  }

  /** A list of `length` numbers. */
  numbers(key: string, length: number): readonly number[] {
    const value = this.get(key);
    const ok =
      Array.isArray(value) &&
      value.length === length &&
      value.every((item): item is number => typeof item === 'number');
    return ok ? value : this.#wrong(key, `a list of ${length} numbers`);
  }

  /** An object's own settings; undefined where the key is absent. */
  section(key: string): Settings | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
      return this.#wrong(key, 'an object');
    }
    return new Settings({ metadata: new Map(Object.entries(value)), path: this.path });
  }

  /** @throws IngotError 'UnsupportedFile' for a key among these that nobody asked for and that is not off. */
  refuseUnasked(keys: readonly string[]): void {
    for (const key of keys) {
      if (this.#asked.has(key)) continue;
      const value = this.get(key);
      if (value !== undefined && value !== 0 && value !== false) this.unsupported(key, 'none for this architecture');
    }
  }

  /** @throws IngotError 'UnsupportedFile' saying that Ingot does not know this value. */
  unsupported(key: string, known: string): never {
    throw new IngotError(
      'UnsupportedFile',
      `the model's setting ${this.#prefix}${key} is ${JSON.stringify(this.get(key))}, which Ingot does not know (it knows ${known})`,
      { path: this.path },
    );
  }
}
