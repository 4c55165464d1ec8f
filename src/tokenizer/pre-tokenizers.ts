/**
 * How text is cut before byte-pair merges, by the name that GGUF gives in `tokenizer.ggml.pre`. The patterns are those
 * of the models' own tokenizers (GPT-2's `encoder.py`, Llama 3's `tokenizer.py`, Qwen's `tokenization_qwen.py`) and, for
 * the names that llama.cpp invented, of its `llama-vocab.cpp`; written for JavaScript:
 * - `\s` there is Unicode's White_Space, which JavaScript's `\s` is not (U+0085, U+FEFF);
 * - `(?i:'s)` there folds case as Unicode does, so that U+017F (long s) is an s.
 */
import { IngotError } from '../base/errors.ts';

const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/** Llama 3's pattern; Qwen2 differs in the digits that a number token may hold. */
const llama3 = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spelledContractions = "(?:'[sS\u017f]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
/** What means something else in JavaScript, or nothing: other groups with flags, word and line borders, possessive loops. */
const foreign = /\(\?[^:=!<]|\\[wWbBhHRAzZGKXdD]|(?<![[\\])\^|(?<!\\)\$|[+*?]\+|\d\}\+/;

/**
 * A pattern of Oniguruma or of Python's `regex`, as the files write them, in JavaScript; undefined if it holds anything
 * that is not known to mean the same.
 */
export function translatePattern(pattern: string): RegExp | undefined {
  const translated = pattern
    .replaceAll(contractions, spelledContractions)
    .replaceAll('\\s', '\\p{White_Space}')
    .replaceAll('\\S', '\\P{White_Space}');
  if (foreign.test(translated)) return undefined;
  try {
    return new RegExp(translated, 'gu');
  } catch {
    return undefined;
  }
}

export interface PreTokenizer {
  /** Applied one after the other: each cuts the pieces that the one before left into its matches and what lies between. */
  readonly patterns: readonly RegExp[];
  /** A piece that is a token as it stands is not merged. */
  readonly wholeTokens: boolean;
  readonly addBos: boolean;
}

function row(patterns: readonly string[], flags: { wholeTokens?: boolean; addBos?: boolean } = {}): PreTokenizer {
  const { wholeTokens = false, addBos = false } = flags;
  return { patterns: patterns.flatMap((pattern) => translatePattern(pattern) ?? []), wholeTokens, addBos };
}

const rows = {
  gpt2: row([gpt2]),
  llama3: row([llama3('\\p{N}{1,3}')], { wholeTokens: true, addBos: true }),
  qwen2: row([llama3('\\p{N}')]),
  starcoder: row(['\\p{N}', gpt2]),
  default: row(['[\\p{P}\\$+<=>\\^~|]+', gpt2, '\\p{N}+', '[0-9][0-9][0-9]']),
};

const names: ReadonlyMap<string, PreTokenizer> = new Map([
  ['default', rows.default],
  ['gpt-2', rows.gpt2],
  ['mpt', rows.gpt2],
  ['olmo', rows.gpt2],
  ['llama-bpe', rows.llama3],
  ['llama3', rows.llama3],
  ['llama-v3', rows.llama3],
  ['qwen2', rows.qwen2],
  ['stablelm2', rows.qwen2],
  ['starcoder', rows.starcoder],
  ['refact', rows.starcoder],
  ['smollm', rows.starcoder],
]);

/** @throws IngotError 'UnsupportedFile' for a name that is not in the table. */
export function preTokenizer(name: string): PreTokenizer {
  const found = names.get(name);
  if (found !== undefined) return found;
  throw new IngotError('UnsupportedFile', `unknown pre-tokenizer '${name}'`, {
    hint: `known are: ${[...names.keys()].join(', ')}`,
  });
}

/** The name of a pre-tokenizer that cuts as this one does, if the table has one. */
export function preTokenizerName({ patterns, wholeTokens }: PreTokenizer): string | undefined {
  const written = JSON.stringify(patterns.map((pattern) => pattern.source));
  for (const [name, known] of names) {
    const same = JSON.stringify(known.patterns.map((pattern) => pattern.source)) === written;
    if (same && known.wholeTokens === wholeTokens) return name;
  }
  return undefined;
}

/**
 * Pieces of the text in order; joined, they are the text.
 * @throws IngotError 'InvalidArgument' if some millions of characters are one piece: the engine's matcher has no room.
 */
export function preTokenize(text: string, patterns: readonly RegExp[]): string[] {
  try {
    return patterns.reduce((pieces, pattern) => pieces.flatMap((piece) => cut(piece, pattern)), [text]);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new IngotError('InvalidArgument', 'the text runs on for millions of characters without a word border', {
      hint: 'split it',
      cause,
    });
  }
}

function cut(text: string, pattern: RegExp): string[] {
  const pieces: string[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) pieces.push(text.slice(end, match.index));
    pieces.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  return pieces;
}
