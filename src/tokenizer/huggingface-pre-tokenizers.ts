/** The pre-tokenizers of `tokenizer.json`, one row each; huggingface/tokenizers (`pre_tokenizers/`) defines what they do. */
import { spellBytes } from './byte-alphabet.ts';
import { CharacterSet } from './character-set.ts';
import { type Behavior, behaviors, type Cut, cutAt, type Find, inTurn } from './cut.ts';
import { readPattern } from './huggingface-normalizers.ts';
import type { JsonView } from './json-view.ts';
import { finder, knownPatterns } from './patterns.ts';
import { SPACE, writeSpaces } from './spaces.ts';
import { cutAtScripts } from './unicode-scripts.ts';

/** Cuts in their order; none if the part is missing. @throws IngotError 'UnsupportedFile' for kinds that are not known. */
export function readPreTokenizer(part: JsonView): Cut[] {
  if (part.missing) return [];
  const type = part.get('type').string() ?? '';
  const read = Object.hasOwn(preTokenizers, type) ? preTokenizers[type] : undefined;
  if (read === undefined) throw part.unknownType(type, Object.keys(preTokenizers));
  return read(part);
}

const preTokenizers: Readonly<Record<string, (part: JsonView) => Cut[]>> = {
  Sequence: (part) =>
    part
      .get('pretokenizers')
      .array()
      .flatMap((step) => readPreTokenizer(step)),
  ByteLevel: (part) => [
    ...((part.get('add_prefix_space').boolean() ?? true) ? [prefixSpace] : []),
    ...((part.get('use_regex').boolean() ?? true) ? [cutAt(finder(knownPatterns.gpt2), 'Isolated')] : []),
    spellInBytes,
  ],
  Whitespace: () => [cutAt(findWordsAndSymbols, 'Removed', true)],
  WhitespaceSplit: () => [cutAtSpaces],
  BertPreTokenizer: () => [bertCut],
  Metaspace: (part) => [readMetaspace(part)],
  Split: (part) => [cutAt(readPattern(part.get('pattern')), readBehavior(part), part.get('invert').boolean() ?? false)],
  Punctuation: (part) => [cutAt(findCharacters(punctuation), readBehavior(part))],
  Digits: (part) => {
    const each = part.get('individual_digits').boolean() ?? false;
    return [cutAt(findCharacters(number), each ? 'Isolated' : 'Contiguous')];
  },
  CharDelimiterSplit: (part) => {
    const delimiter = part.get('delimiter').string() ?? '';
    return [cutAt(findCharacters(CharacterSet.of(delimiter.codePointAt(0) ?? -1)), 'Removed')];
  },
  UnicodeScripts: () => [cutAtScripts],
  FixedLength: (part) => {
    const length = part.get('length').integer() ?? 5;
    if (length < 1) throw part.wrong('cuts into pieces of nothing');
    return [fixedLength(length)];
  },
};

const space = CharacterSet.ofClass('\\p{White_Space}');
const number = CharacterSet.ofClass('\\p{N}');
const punctuation = CharacterSet.ofClass('[!-\\/:-@\\[-`\\{-~\\p{P}]');
const word = CharacterSet.ofClass('[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]');
const symbol = CharacterSet.complement(CharacterSet.union([space, word]));
const utf8 = new TextEncoder();

const prefixSpace: Cut = (piece, atStart, emit) => emit(piece.startsWith(' ') ? piece : ` ${piece}`, atStart);

/** The last step of byte-level pipelines; a model that takes bytes needs none of it. */
export const spellInBytes: Cut = (piece, atStart, emit) => emit(spellBytes(utf8.encode(piece)), atStart);

/** At white space, which goes. */
export const cutAtSpaces: Cut = cutAt(findCharacters(space), 'Removed');

/** At white space, which goes, and around punctuation; in one pass, since it is the whole of BERT's cutting. */
export const bertCut: Cut = (text, atStart, emit) => {
  let start = 0;
  const flush = (end: number) => {
    if (end > start) emit(text.slice(start, end), atStart && start === 0);
  };
  for (let at = 0; at < text.length; ) {
    const code = text.codePointAt(at) ?? 0;
    const end = at + (code > 0xffff ? 2 : 1);
    const isSpace = space.has(code);
    if (isSpace || punctuation.has(code)) {
      flush(at);
      if (!isSpace) emit(text.slice(at, end), atStart && at === 0);
      start = end;
    }
    at = end;
  }
  flush(text.length);
};

function readBehavior(part: JsonView): Behavior {
  const name = part.get('behavior').string() ?? 'Isolated';
  const behavior = behaviors.find((known) => known === name);
  if (behavior === undefined) throw part.get('behavior').wrong(`is '${name}'; known are ${behaviors.join(', ')}`);
  return behavior;
}

function readMetaspace(part: JsonView): Cut {
  const written = part.get('replacement').string() ?? SPACE;
  const spaces = writeSpaces(metaspacePrefix(part), written);
  if (!(part.get('split').boolean() ?? true)) return spaces;
  return inTurn([spaces, cutAt(findCharacters(CharacterSet.of(written.codePointAt(0) ?? -1)), 'MergedWithNext')]);
}

/** Where a Metaspace, as pre-tokenizer or decoder, has its space; older files say it by `add_prefix_space`. */
export function metaspacePrefix(part: JsonView) {
  const old = part.get('add_prefix_space').boolean() === false ? 'never' : 'always';
  const scheme = part.get('prepend_scheme').string() ?? old;
  switch (scheme) {
    case 'always':
      return { at: 'stretches', besideSpace: false } as const;
    case 'first':
      return { at: 'start', besideSpace: false } as const;
    case 'never':
      return { at: 'nowhere' } as const;
    default:
      throw part.get('prepend_scheme').wrong(`is '${scheme}'; known are always, first, never`);
  }
}

/** Every character of a set by itself. */
function findCharacters(set: CharacterSet): Find {
  return (text) => {
    const found: number[] = [];
    for (let at = 0; at < text.length; ) {
      const code = text.codePointAt(at) ?? 0;
      const end = at + (code > 0xffff ? 2 : 1);
      if (set.has(code)) found.push(at, end);
      at = end;
    }
    return found;
  };
}

/** `\w+|[^\w\s]+` */
function findWordsAndSymbols(text: string): number[] {
  const found: number[] = [];
  for (let at = 0; at < text.length; ) {
    const start = at;
    const set = [word, symbol].find((one) => one.has(text.codePointAt(start) ?? 0));
    do at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
    while (at < text.length && set?.has(text.codePointAt(at) ?? 0));
    if (set !== undefined) found.push(start, at);
  }
  return found;
}

function fixedLength(length: number): Cut {
  return (text, atStart, emit) => {
    let start = 0;
    let count = 0;
    for (let at = 0; at < text.length; ) {
      at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
      if (++count === length || at === text.length) {
        emit(text.slice(start, at), atStart && start === 0);
        [start, count] = [at, 0];
      }
    }
  };
}
