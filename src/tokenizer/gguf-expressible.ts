/**
 * Which pipelines of `tokenizer.json` the keys of GGUF can say: byte-level BPE, SentencePiece's BPE and Unigram, WordPiece as BERT
 * has it. Whatever is not recognized gives a reason why not, never a guess.
 */
import { isPlainBpe, modelType, readMerges } from './huggingface-models.ts';
import type { JsonView } from './json-view.ts';
import type { Merge } from './merges.ts';
import { knownPatterns } from './patterns.ts';
import { SPACE, type SpacePrefix } from './spaces.ts';

export type Expressible =
  | {
      readonly kind: 'byteLevel';
      readonly patterns: readonly string[];
      readonly wholeTokens: boolean;
      readonly normalization: 'NFC' | 'none';
      readonly merges: readonly Merge[];
    }
  | { readonly kind: 'sentencePiece'; readonly spacePrefix: SpacePrefix; readonly merges: readonly Merge[] }
  | { readonly kind: 'wordPiece'; readonly lowercase: boolean; readonly stripAccents: boolean }
  | {
      readonly kind: 'unigram';
      /** As the file has it, in base64. */
      readonly charsmap: JsonView | undefined;
      readonly spacePrefix: SpacePrefix;
      /** Text is cut at white space before anything else. */
      readonly words: boolean;
    }
  | { readonly kind: 'no'; readonly why: string };

export function expressible(tokenizer: JsonView): Expressible {
  const model = tokenizer.get('model');
  const type = modelType(model);
  switch (type) {
    case 'BPE':
      return bytePairs(tokenizer, model);
    case 'WordPiece':
      return wordPiece(tokenizer, model);
    case 'Unigram':
      return unigram(tokenizer);
    case 'WordLevel':
      return { kind: 'no', why: 'it is a list of words' };
    default:
      return type satisfies never;
  }
}

/** Elements of a `Sequence`, or the part itself; nothing for null. */
function steps(part: JsonView, key: string): JsonView[] {
  if (part.missing) return [];
  if (typeOf(part) !== 'Sequence') return [part];
  return part
    .get(key)
    .array()
    .flatMap((step) => steps(step, key));
}

const typeOf = (part: JsonView | undefined) => part?.get('type').string();

function bytePairs(tokenizer: JsonView, model: JsonView): Expressible {
  if (!isPlainBpe(model)) return { kind: 'no', why: 'its tokens are marked inside of words or at their end' };
  const normalizers = steps(tokenizer.get('normalizer'), 'normalizers');
  const cuts = steps(tokenizer.get('pre_tokenizer'), 'pretokenizers');
  const patterns = byteLevelPatterns(cuts);
  const form = normalization(normalizers);
  if (patterns !== undefined && form !== undefined) {
    const wholeTokens = model.get('ignore_merges').boolean() ?? false;
    return { kind: 'byteLevel', patterns, wholeTokens, normalization: form, merges: readMerges(model) };
  }
  const spacePrefix = sentencePieceSpaces(normalizers, cuts);
  if (spacePrefix !== undefined) return { kind: 'sentencePiece', spacePrefix, merges: readMerges(model) };
  return { kind: 'no', why: 'it is neither byte-level nor SentencePiece BPE' };
}

function byteLevelPatterns(cuts: readonly JsonView[]): string[] | undefined {
  const last = cuts.at(-1);
  if (typeOf(last) !== 'ByteLevel' || (last?.get('add_prefix_space').boolean() ?? true)) return undefined;
  const patterns = cuts.slice(0, -1).map(pattern);
  if (last?.get('use_regex').boolean() ?? true) patterns.push(knownPatterns.gpt2);
  return patterns.every((found) => found !== undefined) ? patterns : undefined;
}

function pattern(part: JsonView): string | undefined {
  switch (typeOf(part)) {
    case 'Split': {
      const isolated = part.get('behavior').string() === 'Isolated' && part.get('invert').boolean() !== true;
      return isolated ? part.get('pattern').get('Regex').string() : undefined;
    }
    case 'Digits':
      return part.get('individual_digits').boolean() === true ? knownPatterns.digit : knownPatterns.digits;
    default:
      return undefined;
  }
}

/** The Unicode normalization that comes first; undefined if something else does. */
function normalization(normalizers: readonly JsonView[]): 'NFC' | 'none' | undefined {
  if (normalizers.length === 0) return 'none';
  return normalizers.length === 1 && typeOf(normalizers[0]) === 'NFC' ? 'NFC' : undefined;
}

/** Where SentencePiece's space goes, by the normalizers of older files or the pre-tokenizer of newer ones. */
function sentencePieceSpaces(normalizers: readonly JsonView[], cuts: readonly JsonView[]): SpacePrefix | undefined {
  const before = [...normalizers];
  const [cut, ...more] = cuts;
  if (more.length > 0) return undefined;
  const prepend = typeOf(before[0]) === 'Prepend' ? before.shift() : undefined;
  if (prepend !== undefined && prepend.get('prepend').string() !== SPACE) return undefined;
  if (before.length === 1 && replacesSpaces(before[0])) {
    // Gemma's files also split at spaces, of which there are none left.
    const splitsNothing =
      cut === undefined || (typeOf(cut) === 'Split' && cut.get('pattern').get('String').string() === ' ');
    if (!splitsNothing) return undefined;
    return prepend === undefined ? { at: 'nowhere' } : { at: 'stretches', besideSpace: true };
  }
  if (before.length > 0 || prepend !== undefined) return undefined;
  return cut?.get('split').boolean() === false ? metaspace(cut) : undefined;
}

function metaspace(cut: JsonView | undefined): SpacePrefix | undefined {
  if (cut === undefined || typeOf(cut) !== 'Metaspace') return undefined;
  if ((cut.get('replacement').string() ?? SPACE) !== SPACE) return undefined;
  switch (cut.get('prepend_scheme').string() ?? 'always') {
    case 'always':
      return { at: 'stretches', besideSpace: false };
    case 'first':
      return { at: 'start', besideSpace: false };
    case 'never':
      return { at: 'nowhere' };
    default:
      return undefined;
  }
}

function replacesSpaces(part: JsonView | undefined): boolean {
  if (typeOf(part) !== 'Replace') return false;
  return part?.get('pattern').get('String').string() === ' ' && part.get('content').string() === SPACE;
}

function wordPiece(tokenizer: JsonView, model: JsonView): Expressible {
  const [bert, ...more] = steps(tokenizer.get('normalizer'), 'normalizers');
  const cuts = steps(tokenizer.get('pre_tokenizer'), 'pretokenizers').map(typeOf);
  const asBert =
    typeOf(bert) === 'BertNormalizer' &&
    more.length === 0 &&
    (bert?.get('clean_text').boolean() ?? true) &&
    (bert?.get('handle_chinese_chars').boolean() ?? true) &&
    cuts.length === 1 &&
    cuts[0] === 'BertPreTokenizer' &&
    (model.get('continuing_subword_prefix').string() ?? '##') === '##' &&
    (model.get('max_input_chars_per_word').integer() ?? 100) === 100;
  if (!asBert) return { kind: 'no', why: "its WordPiece is not BERT's" };
  const lowercase = bert?.get('lowercase').boolean() ?? true;
  return { kind: 'wordPiece', lowercase, stripAccents: bert?.get('strip_accents').boolean() ?? lowercase };
}

function unigram(tokenizer: JsonView): Expressible {
  const [first, ...more] = steps(tokenizer.get('normalizer'), 'normalizers');
  const cuts = steps(tokenizer.get('pre_tokenizer'), 'pretokenizers');
  const words = typeOf(cuts[0]) === 'WhitespaceSplit';
  if (words) cuts.shift();
  const spacePrefix = cuts.length === 1 ? metaspace(cuts[0]) : undefined;
  const known = first === undefined || (typeOf(first) === 'Precompiled' && more.length === 0);
  if (!known || spacePrefix === undefined || (words && spacePrefix.at !== 'stretches')) {
    return { kind: 'no', why: 'it rewrites or cuts text in a way that SentencePiece does not' };
  }
  return { kind: 'unigram', charsmap: first?.get('precompiled_charsmap'), spacePrefix, words };
}
