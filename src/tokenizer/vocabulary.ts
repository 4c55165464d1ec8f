/**
 * What every vocabulary file says, whatever its format: tokens, their kinds (GGUF's and SentencePiece's six), and which
 * of them begin and end a text.
 */
import { IngotError } from '../base/errors.ts';

export const tokenKinds = ['normal', 'unknown', 'control', 'userDefined', 'unused', 'byte'] as const;
export type TokenKind = (typeof tokenKinds)[number];

export interface Vocabulary {
  /** Tokens as the file spells them; the index is the id. */
  readonly texts: readonly string[];
  readonly kinds: readonly TokenKind[];
  readonly bos?: number;
  readonly eos?: number;
  readonly unknown?: number;
  /** Ids that end a generation; `eos` is always one. */
  readonly endOfGeneration: ReadonlySet<number>;
  readonly addBos: boolean;
  readonly addEos: boolean;
}

/** Where a stretch of plain text stands: at the very start, after a special token. There are no others. */
export type Position = 'start' | 'afterSpecial';

/** What a kind of model does with plain text; `VocabularyTokenizer` does the rest. */
export interface TextModel {
  /** Appends the ids of a stretch of plain text. */
  encode(text: string, position: Position, ids: number[]): void;
  /** The bytes of a token that is no special one. */
  tokenBytes(id: number): Uint8Array;
  /** The encoder puts a space before a text, which the decoder takes away. */
  readonly dropsSpace: boolean;
}

/** What a vocabulary file is read into. */
export interface Encoding {
  readonly vocabulary: Vocabulary;
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
  readonly texts: readonly string[];
  readonly kinds: readonly TokenKind[];
  readonly bos?: number | undefined;
  readonly eos?: number | undefined;
  readonly unknown?: number | undefined;
  /** Further ids that end a generation. */
  readonly ends?: readonly (number | undefined)[];
  readonly addBos?: boolean;
  readonly addEos?: boolean;
}

/**
 * Checks ids and completes what files leave out: well-known ends of turns are control tokens that end a generation.
 * @throws IngotError 'InvalidFile' for an empty vocabulary and for ids outside it.
 */
export function makeVocabulary(parts: VocabularyParts): Vocabulary {
  const { texts, bos, eos, unknown, addBos = false, addEos = false } = parts;
  if (texts.length === 0) throw new IngotError('InvalidFile', 'the vocabulary is empty');
  for (const [name, id] of Object.entries({ bos, eos, unknown })) checkId(name, id, texts.length);
  const endOfGeneration = new Set<number>();
  for (const id of [eos, ...(parts.ends ?? [])]) {
    checkId('end', id, texts.length);
    if (id !== undefined) endOfGeneration.add(id);
  }
  const kinds = [...parts.kinds];
  texts.forEach((text, id) => {
    if (!isKnownEnd(text)) return;
    endOfGeneration.add(id);
    kinds[id] = 'control';
  });
  return {
    texts,
    kinds,
    endOfGeneration,
    addBos,
    addEos,
    ...(bos === undefined ? {} : { bos }),
    ...(eos === undefined ? {} : { eos }),
    ...(unknown === undefined ? {} : { unknown }),
  };
}

function checkId(name: string, id: number | undefined, size: number): void {
  if (id === undefined || (Number.isInteger(id) && id >= 0 && id < size)) return;
  throw new IngotError('InvalidFile', `the ${name} token's id ${id} is outside the vocabulary of ${size} tokens`);
}
