/**
 * Vocabularies in GGUF's `tokenizer.ggml.*` keys (llama.cpp's `gguf-py` and `llama-vocab.cpp` define them). What those
 * cannot say of a Hugging Face tokenizer is in two keys of our own, `tokenizer.ingot.*`, which other readers pass over.
 */
import { IngotError } from '../base/errors.ts';
import type { Metadata } from '../formats/checkpoint.ts';
import { ByteLevelModel } from './bpe.ts';
import { mergesByName, spellingIds } from './byte-level-vocabulary.ts';
import { preTokenizer } from './pre-tokenizers.ts';
import { prefixAll, SentencePieceModel, type SpacePrefix, scoredPairs } from './sentencepiece.ts';
import { type Encoding, makeVocabulary, type TokenKind, tokenKinds } from './vocabulary.ts';

/** @throws IngotError 'InvalidFile' for missing or malformed keys, 'UnsupportedFile' for kinds of vocabulary not known. */
export function ggufEncoding(metadata: Metadata): Encoding {
  const keys = new Keys(metadata);
  const model = keys.string('model');
  if (model === undefined) {
    throw new IngotError('InvalidFile', 'the file holds no vocabulary (no tokenizer.ggml.model)', {
      hint: 'give a tokenizer file of its own',
    });
  }
  const texts = keys.strings('tokens') ?? [];
  const kinds = readKinds(keys, texts.length);
  const common = {
    texts,
    kinds,
    bos: keys.id('bos_token_id'),
    eos: keys.id('eos_token_id'),
    unknown: keys.id('unknown_token_id'),
    ends: [keys.id('eot_token_id'), keys.id('eom_token_id')],
    addEos: keys.boolean('add_eos_token') ?? false,
  };
  switch (model) {
    case 'gpt2': {
      const cut = preTokenizer(keys.string('pre') ?? 'default');
      const vocabulary = makeVocabulary({ ...common, addBos: keys.boolean('add_bos_token') ?? cut.addBos });
      const ids = spellingIds(vocabulary);
      const pairs = mergesByName(keys.strings('merges') ?? [], ids);
      const form = keys.string('normalization', 'ingot');
      if (form !== undefined && form !== 'NFC')
        throw keys.wrong('normalization', `is '${form}'; known is NFC`, 'ingot');
      const normalized = form === undefined ? {} : ({ normalization: form } as const);
      return { vocabulary, model: new ByteLevelModel({ vocabulary, ids, pairs, preTokenizer: cut, ...normalized }) };
    }
    case 'llama': {
      const vocabulary = makeVocabulary({
        ...common,
        bos: common.bos ?? 1,
        eos: common.eos ?? 2,
        unknown: common.unknown ?? 0,
        addBos: keys.boolean('add_bos_token') ?? true,
      });
      const scores = keys.floats('scores', texts.length);
      return {
        vocabulary,
        model: new SentencePieceModel({
          vocabulary,
          ...scoredPairs(vocabulary, scores),
          spacePrefix: readSpacePrefix(keys),
        }),
      };
    }
    default:
      throw new IngotError('UnsupportedFile', `unknown kind of vocabulary '${model}'`, {
        hint: "known are 'gpt2' (byte-level BPE) and 'llama' (SentencePiece BPE)",
      });
  }
}

function readSpacePrefix(keys: Keys): SpacePrefix {
  if (!(keys.boolean('add_space_prefix') ?? true)) return { at: 'nowhere' };
  // Hugging Face's Metaspace: no space where one is already.
  const at = keys.string('space_prefix', 'ingot');
  if (at === undefined) return prefixAll;
  if (at === 'start' || at === 'stretches') return { at, besideSpace: false };
  throw keys.wrong('space_prefix', `is '${at}'; known are start and stretches`, 'ingot');
}

function readKinds(keys: Keys, size: number): TokenKind[] {
  const types = keys.numbers('token_type', size);
  if (types === undefined) return new Array<TokenKind>(size).fill('normal');
  return Array.from(types, (type, id) => {
    const kind = tokenKinds[type - 1];
    if (kind === undefined) throw keys.wrong('token_type', `is ${type} for token ${id}; the types are 1 to 6`);
    return kind;
  });
}

type Family = 'ggml' | 'ingot';

/** Typed access to `tokenizer.ggml.*` (and `tokenizer.ingot.*`); a key of another type is an 'InvalidFile'. */
class Keys {
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

  boolean(key: string): boolean | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.wrong(key, 'is not a boolean');
  }

  /** Files write 0xFFFFFFFF, and some -1, for "none". */
  id(key: string): number | undefined {
    const value = this.#get(key);
    if (value === undefined || value === 0xffffffff || value === -1) return undefined;
    if (typeof value === 'number') return value;
    throw this.wrong(key, 'is not a token id');
  }

  strings(key: string): readonly string[] | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
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
