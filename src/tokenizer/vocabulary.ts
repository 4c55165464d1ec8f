/**
 * What every vocabulary file says, whatever its format: tokens, their kinds (GGUF's and SentencePiece's six), and which
 * of them begin and end a text.
 */
import { IngotError } from '../base/errors.ts';
import { findTexts, type Strings } from '../base/string-list.ts';
import type { AddedTokens } from './added-tokens.ts';

export const tokenKinds = ['normal', 'unknown', 'control', 'userDefined', 'unused', 'byte'] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** What arrays of kinds and lists of them have in common; the index is the id. */
export interface TokenKinds extends Iterable<TokenKind> {
  readonly length: number;
  at(id: number): TokenKind | undefined;
}

/** A byte for each: an array of so many is 1 MB for 128,000 tokens. */
export class TokenKindList implements TokenKinds {
  readonly length: number;
  readonly #kinds: Uint8Array;

  /** @param kinds places in `tokenKinds`. */
  constructor(kinds: Uint8Array) {
    this.length = kinds.length;
    this.#kinds = kinds;
  }

  /** A copy. */
  static of(kinds: TokenKinds): TokenKindList {
    if (kinds instanceof TokenKindList) return new TokenKindList(kinds.#kinds.slice());
    return new TokenKindList(Uint8Array.from(kinds, (kind) => tokenKinds.indexOf(kind)));
  }

  at(id: number): TokenKind | undefined {
    const kind = this.#kinds[id];
    return kind === undefined ? undefined : tokenKinds[kind];
  }

  set(id: number, kind: TokenKind): void {
    this.#kinds[id] = tokenKinds.indexOf(kind);
  }

  *[Symbol.iterator](): Generator<TokenKind, void, undefined> {
    for (const kind of this.#kinds) yield tokenKinds[kind] ?? 'normal';
  }
}

export interface Vocabulary {
  /** Tokens as the file spells them; the index is the id. */
  readonly texts: Strings;
  readonly kinds: TokenKinds;
  readonly bos?: number;
  readonly eos?: number;
  readonly unknown?: number;
  /** Ids that end a generation; `eos` is always one. */
  readonly endOfGeneration: ReadonlySet<number>;
  /** Special tokens that a text begins and ends with where the caller does not say otherwise. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** A stretch of text between added tokens. */
export interface Stretch {
  /** Nothing stands before it. */
  readonly atStart: boolean;
  /** Special tokens written out in it count. */
  readonly parseSpecial: boolean;
}

/** What a kind of model does with text between added tokens; `VocabularyTokenizer` does the rest. */
export interface TextModel {
  /** Appends the ids of a stretch of text. */
  encode(text: string, stretch: Stretch, ids: number[]): void;
  readonly decoder: TokenDecoder;
}

export interface TokenDecoder {
  /** The bytes of a token that is no special one. @param first it begins a text. */
  bytes(id: number, first: boolean): Uint8Array;
  /** A space that a text ends with is no part of it. */
  readonly dropsLastSpace?: boolean;
  /** A token that stands twice in a row counts once. */
  readonly dropsRepeats?: boolean;
}

/** What a vocabulary file is read into. */
export interface Encoding {
  readonly vocabulary: Vocabulary;
  /** Those that are looked for in text as it was written. */
  readonly added: AddedTokens;
  readonly model: TextModel;
}

/** Turns and texts of well-known chat models end with these, though many files name only one of them as end. */
const ends = new Set([
  '<|endoftext|>',
  '<|end_of_text|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<end_of_turn>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '<end_of_utterance>',
]);

/** Whether the text alone makes a token the end of a generation. */
export function isKnownEnd(text: string): boolean {
  return ends.has(text);
}

export interface VocabularyParts {
  readonly texts: Strings;
  readonly kinds: TokenKinds;
  readonly bos?: number | undefined;
  readonly eos?: number | undefined;
  readonly unknown?: number | undefined;
  /** Further ids that end a generation. */
  readonly ends?: readonly (number | undefined)[];
  readonly before?: readonly number[];
  readonly after?: readonly number[];
}

/**
 * Checks ids and completes what files leave out: well-known ends of turns are control tokens that end a generation.
 * @throws IngotError 'InvalidFile' for an empty vocabulary and for ids outside it.
 */
export function makeVocabulary(parts: VocabularyParts): Vocabulary {
  const { texts, bos, eos, unknown, before = [], after = [] } = parts;
  if (texts.length === 0) throw new IngotError('InvalidFile', 'the vocabulary is empty');
  for (const [name, id] of Object.entries({ bos, eos, unknown })) checkId(name, id, texts.length);
  for (const id of [...before, ...after]) checkId('added', id, texts.length);
  const endOfGeneration = new Set<number>();
  for (const id of [eos, ...(parts.ends ?? [])]) {
    checkId('end', id, texts.length);
    if (id !== undefined) endOfGeneration.add(id);
  }
  const kinds = TokenKindList.of(parts.kinds);
  const known = new Map<string, number>();
  for (const [id, text] of findTexts(texts, ends)) {
    endOfGeneration.add(id);
    kinds.set(id, 'control');
    known.set(text, id);
  }
  // OpenAI's harmony format ends one message of an answer with '<|end|>'; others end the whole with it.
  const end = known.get('<|end|>');
  if (end !== undefined && known.has('<|return|>') && known.has('<|call|>')) endOfGeneration.delete(end);
  return {
    texts,
    kinds,
    endOfGeneration,
    before,
    after,
    ...(bos === undefined ? {} : { bos }),
    ...(eos === undefined ? {} : { eos }),
    ...(unknown === undefined ? {} : { unknown }),
  };
}

/** A list of the id if it is wanted. */
export function onlyIf(wanted: boolean, id: number | undefined): number[] {
  return wanted && id !== undefined ? [id] : [];
}

function checkId(name: string, id: number | undefined, size: number): void {
  if (id === undefined || (Number.isInteger(id) && id >= 0 && id < size)) return;
  throw new IngotError('InvalidFile', `the ${name} token's id ${id} is outside the vocabulary of ${size} tokens`);
}
