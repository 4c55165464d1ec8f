/** JSON that somebody else wrote, read with its types checked: a wrong one is an error that names the place. */
import type { ByteSource } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import { readJsonObject } from '../formats/json.ts';

/** The largest vocabularies (262,144 tokens) take some 35 MB. */
const MAX_BYTES = 128 << 20;

/** @throws IngotError 'InvalidFile' if the source holds no JSON object. */
export async function readJson(source: ByteSource): Promise<JsonView> {
  return new JsonView(await readJsonObject(source, { limit: MAX_BYTES }), source.name);
}

export async function readText(source: ByteSource): Promise<string> {
  if (source.length > MAX_BYTES) {
    throw new IngotError('InvalidFile', `${source.length} bytes of text; at most ${MAX_BYTES} are allowed`, {
      path: source.name,
    });
  }
  return new TextDecoder().decode(await source.read(0, source.length));
}

export class JsonView {
  readonly value: unknown;
  readonly #place: string;

  /** @param place for messages: the file and the keys that led here. */
  constructor(value: unknown, place: string) {
    this.value = value;
    this.#place = place;
  }

  get missing(): boolean {
    return this.value === undefined || this.value === null;
  }

  get(key: string): JsonView {
    return new JsonView(this.missing ? undefined : this.object()[key], `${this.#place}: ${key}`);
  }

  string(): string | undefined {
    if (this.missing) return undefined;
    if (typeof this.value === 'string') return this.value;
    throw this.wrong('is not a string');
  }

  boolean(): boolean | undefined {
    if (this.missing) return undefined;
    if (typeof this.value === 'boolean') return this.value;
    throw this.wrong('is not true or false');
  }

  integer(): number | undefined {
    if (this.missing) return undefined;
    if (typeof this.value === 'number' && Number.isInteger(this.value)) return this.value;
    throw this.wrong('is not an integer');
  }

  /** Elements; none if there is no array. */
  array(): JsonView[] {
    if (this.missing) return [];
    if (!Array.isArray(this.value)) throw this.wrong('is not an array');
    return this.value.map((item: unknown, index) => new JsonView(item, `${this.#place}[${index}]`));
  }

  object(): Readonly<Record<string, unknown>> {
    if (isObject(this.value)) return this.value;
    throw this.wrong('is not an object');
  }

  /** For a part of a pipeline whose type is not among those known. */
  unknownType(type: string, known: readonly string[]): IngotError {
    return new IngotError('UnsupportedFile', `${this.#place} is of type '${type}', which is not known`, {
      hint: `known are ${known.join(', ')}`,
    });
  }

  unsupported(what: string): IngotError {
    return new IngotError('UnsupportedFile', `${this.#place} ${what}, which is not known here`);
  }

  wrong(what: string): IngotError {
    return new IngotError('InvalidFile', `${this.#place} ${what}`);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
