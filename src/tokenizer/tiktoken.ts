/**
 * Rank files (openai/tiktoken; `tokenizer.model` of Llama 3, `qwen.tiktoken`): a line for each token, its bytes in base64 and its
 * rank, which is its id. Any two neighbours whose concatenation is a token merge, lowest rank first.
 */
import { IngotError } from '../base/errors.ts';
import { AddedTokens } from './added-tokens.ts';
import { BpeModel } from './bpe.ts';
import { spellBytes } from './byte-alphabet.ts';
import { byteLevelDecoder } from './decoders.ts';
import { PairTable } from './merge.ts';
import { Pipeline } from './pipeline.ts';
import { cutByPatterns, preTokenizer } from './pre-tokenizers.ts';
import { MAX_TOKEN_LENGTH } from './sentencepiece.ts';
import { spellingIds, type TokenIds } from './token-ids.ts';
import { type Encoding, makeVocabulary, onlyIf, type TokenKind } from './vocabulary.ts';

/** A vocabulary that lies in a rank file. */
export interface TiktokenSource {
  readonly kind: 'tiktoken';
  readonly bytes: Uint8Array;
  readonly model: TiktokenModel;
}

/** What a rank file does not say. */
export interface TiktokenModel {
  /** Name of a row of `pre-tokenizers.ts`. */
  readonly pre: string;
  /** Special tokens, which follow the ranks. */
  readonly specialTokens: readonly string[];
  readonly bos?: string;
  readonly eos?: string;
}

const llama3Reserved = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `<|reserved_special_token_${from + i}|>`);

/** Special tokens of the models whose rank files are known, from Llama 3.1's and Qwen's own tokenizers. */
export const tiktokenModels = {
  llama3: {
    pre: 'llama-bpe',
    specialTokens: [
      '<|begin_of_text|>',
      '<|end_of_text|>',
      ...llama3Reserved(0, 2),
      '<|finetune_right_pad_id|>',
      ...llama3Reserved(2, 3),
      '<|start_header_id|>',
      '<|end_header_id|>',
      '<|eom_id|>',
      '<|eot_id|>',
      '<|python_tag|>',
      ...llama3Reserved(3, 248),
    ],
    bos: '<|begin_of_text|>',
    eos: '<|end_of_text|>',
  },
  qwen2: { pre: 'qwen2', specialTokens: ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], eos: '<|endoftext|>' },
} as const satisfies Record<string, TiktokenModel>;

/** Whether a file begins as rank files do: `tokenizer.model` is also the name of SentencePiece's. */
export function isRankFile(bytes: Uint8Array): boolean {
  const [beginning] = new TextDecoder('latin1').decode(bytes.subarray(0, MAX_TOKEN_LENGTH)).split('\n');
  return rankLine.test(beginning ?? '');
}

/** @throws IngotError 'InvalidFile' for lines that are no rank, base64 errors, ranks with holes or twice. */
export function tiktokenEncoding(bytes: Uint8Array, model: TiktokenModel): Encoding {
  const spellings = readRanks(bytes);
  const texts = [...spellings, ...model.specialTokens];
  const kinds = texts.map((_, id): TokenKind => (id < spellings.length ? 'normal' : 'control'));
  const idOf = (text: string | undefined) => (text === undefined ? undefined : texts.lastIndexOf(text));
  const bos = idOf(model.bos);
  const vocabulary = makeVocabulary({ texts, kinds, bos, eos: idOf(model.eos), before: onlyIf(true, bos) });
  const ids = spellingIds(vocabulary);
  const pipeline = new Pipeline({
    cut: cutByPatterns(preTokenizer(model.pre).patterns),
    model: new BpeModel({
      ids,
      pairs: rankedPairs(ids),
      symbols: 'bytes',
      vocabularySize: texts.length,
      wholeTokens: true,
    }),
    decoder: byteLevelDecoder(vocabulary),
  });
  return { vocabulary, added: AddedTokens.of(vocabulary), model: pipeline };
}

const rankLine = /^([A-Za-z0-9+/]+={0,2}) (\d{1,9})\r?$/;

/** Tokens in the byte alphabet; the index is the rank. */
function readRanks(bytes: Uint8Array): string[] {
  const lines = new TextDecoder('latin1').decode(bytes).split('\n');
  if (lines.at(-1) === '') lines.pop();
  const texts = new Array<string>(lines.length).fill('');
  lines.forEach((content, index) => {
    const line = index + 1;
    const [, base64 = '', digits = ''] = rankLine.exec(content) ?? [];
    if (base64 === '') throw new IngotError('InvalidFile', `not a token in base64 and its rank`, { line });
    const rank = Number(digits);
    if (rank >= lines.length) {
      throw new IngotError('InvalidFile', `rank ${rank} in a file of ${lines.length} tokens: ranks have holes`, {
        line,
      });
    }
    if (texts[rank] !== '') throw new IngotError('InvalidFile', `rank ${rank} stands twice`, { line });
    texts[rank] = spellBytes(decodeBase64(base64, line));
  });
  return texts;
}

function decodeBase64(text: string, line: number): Uint8Array {
  try {
    if (text.length / 4 > MAX_TOKEN_LENGTH / 3) throw new Error(`a token longer than ${MAX_TOKEN_LENGTH} bytes`);
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new IngotError('InvalidFile', `'${text.slice(0, 40)}' is no base64 of a token`, { line, cause });
  }
}

/** Every way to cut a token into two tokens; the rank is the whole token's. */
function rankedPairs(ids: TokenIds): PairTable {
  const pairs = new PairTable();
  for (const [text, id] of ids) {
    for (let cut = 1; cut < text.length; cut++) {
      const left = ids.get(text.slice(0, cut));
      const right = left === undefined ? undefined : ids.get(text.slice(cut));
      if (left !== undefined && right !== undefined) pairs.add(left, right, id, id);
    }
  }
  return pairs;
}
