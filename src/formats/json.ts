/** JSON out of files: typed errors, and no key twice where the format forbids it. */
import { type ByteSource, checkRange } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';

/** Parsed JSON takes many times the memory of its text, brackets most of all (80 bytes for 2). */
const maxJsonBytes = 32 << 20;
const maxBrackets = 2_000_000;

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads a range of the source as a JSON object. @throws IngotError 'InvalidFile' and what the source throws. */
export async function readJsonObject(
  source: ByteSource,
  { offset = 0, length = source.length, limit = maxJsonBytes, uniqueKeys = false } = {},
): Promise<JsonObject> {
  checkRange(source, offset, length);
  const place = { path: source.name, offset };
  if (length > limit) {
    throw new IngotError('InvalidFile', `${length} bytes of JSON; at most ${limit} are allowed`, place);
  }
  const bytes = await source.read(offset, length);
  if (countBrackets(bytes) > maxBrackets) {
    throw new IngotError('InvalidFile', `JSON of more than ${maxBrackets} arrays and objects`, place);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new IngotError('InvalidFile', 'the JSON is not valid UTF-8', { ...place, cause });
  }
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unknown reason';
    throw new IngotError('InvalidFile', `this is not valid JSON: ${reason}`, { ...place, cause });
  }
  if (!isJsonObject(value)) throw new IngotError('InvalidFile', 'the JSON is not an object', place);
  const twice = uniqueKeys ? duplicateKey(text) : undefined;
  if (twice !== undefined) throw new IngotError('InvalidFile', `the key "${twice}" appears twice`, place);
  return value;
}

function countBrackets(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte === 0x5b || byte === 0x7b) count++;
  return count;
}

/** The first key that one object of the text holds twice. The text is valid JSON. */
function duplicateKey(text: string): string | undefined {
  // One entry per open bracket; arrays have no keys.
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = closingQuote(text, at);
      if (isFollowedByColon(text, end + 1)) {
        const key: string = JSON.parse(text.slice(at, end + 1));
        const keys = open.at(-1);
        if (keys?.has(key)) return key;
        keys?.add(key);
      }
      at = end;
    }
  }
  return undefined;
}

function closingQuote(text: string, opening: number): number {
  for (let at = text.indexOf('"', opening + 1); ; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text[at - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}

function isFollowedByColon(text: string, at: number): boolean {
  let next = at;
  while (next < text.length && ' \t\n\r'.includes(text[next] ?? '')) next++;
  return text[next] === ':';
}
