/** The normalizers of `tokenizer.json`, one row each; huggingface/tokenizers (`normalizers/`) defines what they do. */
import { IngotError } from '../base/errors.ts';
import { spellBytes } from './byte-alphabet.ts';
import { CharacterSet } from './character-set.ts';
import { Charsmap } from './charsmap.ts';
import type { Find } from './cut.ts';
import type { JsonView } from './json-view.ts';
import { finder } from './patterns.ts';
import type { Normalize } from './pipeline.ts';

/** Nothing if the part is missing. @throws IngotError 'UnsupportedFile' for kinds that are not known. */
export function readNormalizer(part: JsonView): Normalize | undefined {
  if (part.missing) return undefined;
  const type = part.get('type').string() ?? '';
  const read = Object.hasOwn(normalizers, type) ? normalizers[type] : undefined;
  if (read === undefined) throw part.unknownType(type, Object.keys(normalizers));
  return read(part);
}

const normalizers: Readonly<Record<string, (part: JsonView) => Normalize>> = {
  Sequence: (part) => {
    const steps = part
      .get('normalizers')
      .array()
      .flatMap((step) => readNormalizer(step) ?? []);
    return (text) => steps.reduce((normal, step) => step(normal), text);
  },
  NFC: () => (text) => text.normalize('NFC'),
  NFD: () => (text) => text.normalize('NFD'),
  NFKC: () => (text) => text.normalize('NFKC'),
  NFKD: () => (text) => text.normalize('NFKD'),
  Lowercase: () => lowercase,
  Strip: (part) => {
    const [left, right] = [part.get('strip_left').boolean() ?? true, part.get('strip_right').boolean() ?? true];
    return (text) => strip(text, left, right);
  },
  StripAccents: () => (text) => text.replace(/\p{M}/gu, ''),
  Replace: (part) => readReplace(part),
  Prepend: (part) => {
    const prefix = part.get('prepend').string() ?? '';
    return (text) => (text === '' ? '' : prefix + text);
  },
  Nmt: () => (text) =>
    text
      .replace(/[^\0\t\n\f\r\x20-\x7e\x80-\x8e\x90-\x9e\xa0-\u{10ffff}]/gu, '')
      .replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, ' '),
  BertNormalizer: (part) => {
    const lower = part.get('lowercase').boolean() ?? true;
    return bertNormalizer({
      clean: part.get('clean_text').boolean() ?? true,
      spaceHan: part.get('handle_chinese_chars').boolean() ?? true,
      lowercase: lower,
      stripAccents: part.get('strip_accents').boolean() ?? lower,
    });
  },
  Precompiled: (part) => {
    const map = new Charsmap(base64Bytes(part.get('precompiled_charsmap')));
    return (text) => map.normalizeGraphemes(text);
  },
  ByteLevel: () => (text) => spellBytes(utf8.encode(text)),
};

const utf8 = new TextEncoder();
const space = CharacterSet.ofClass('\\p{White_Space}');

/** Letter by letter: a sigma at the end of a word is like any other. */
export function lowercase(text: string): string {
  return text.replaceAll('\u03a3', '\u03c3').toLowerCase();
}

function strip(text: string, left: boolean, right: boolean): string {
  let [start, end] = [0, text.length];
  while (left && start < end && space.has(text.charCodeAt(start))) start++;
  while (right && end > start && space.has(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

export interface BertNormalizerOptions {
  /** Control characters go, white space becomes a space. */
  readonly clean: boolean;
  /** Spaces around Chinese characters. */
  readonly spaceHan: boolean;
  readonly lowercase: boolean;
  readonly stripAccents: boolean;
}

export function bertNormalizer({ clean, spaceHan, lowercase: lower, stripAccents }: BertNormalizerOptions): Normalize {
  return (text) => {
    let normal = text;
    if (clean)
      normal = normal.replace(/(?![\t\n\r])[\0\ufffd\p{Cc}\p{Cf}\p{Co}]/gu, '').replace(/\p{White_Space}/gu, ' ');
    // U+2B820 to U+2B91F are missing there, so they are here.
    if (spaceHan) {
      normal = normal.replace(
        /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu,
        ' $& ',
      );
    }
    if (stripAccents) normal = normal.normalize('NFD').replace(/\p{Mn}/gu, '');
    return lower ? lowercase(normal) : normal;
  };
}

/** `Replace`, which is a decoder too. */
export function readReplace(part: JsonView): Normalize {
  const content = part.get('content').string() ?? '';
  const literal = part.get('pattern').get('String').string();
  if (literal !== undefined && literal !== '') return (text) => text.replaceAll(literal, () => content);
  const find = readPattern(part.get('pattern'));
  return (text) => {
    const found = find(text);
    let out = '';
    let done = 0;
    for (let i = 0; i < found.length; i += 2) {
      out += text.slice(done, found[i]) + content;
      done = found[i + 1] ?? 0;
    }
    return out + text.slice(done);
  };
}

/** `{ "String": ... }` or `{ "Regex": ... }`. */
export function readPattern(pattern: JsonView): Find {
  const literal = pattern.get('String').string();
  if (literal !== undefined && literal !== '') return (text) => findLiteral(text, literal);
  const source = literal ?? pattern.get('Regex').string();
  if (source === undefined) throw pattern.wrong('is neither a String nor a Regex');
  return finder(source);
}

function findLiteral(text: string, wanted: string): number[] {
  const found: number[] = [];
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
    found.push(at, at + wanted.length);
  }
  return found;
}

/** @throws IngotError 'InvalidFile' if it is no base64. */
export function base64Bytes(view: JsonView): Uint8Array {
  const text = view.string();
  if (text === undefined) throw view.wrong('is missing');
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new IngotError('InvalidFile', 'the precompiled charsmap is no base64', { cause });
  }
}
