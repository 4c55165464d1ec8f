/**
 * Vocabularies of Hugging Face folders. A `tokenizer.json` describes a pipeline (normalizer, pre-tokenizer, model, post-
 * processor; huggingface/tokenizers defines them). The pipelines of byte-level and of SentencePiece BPE are read into
 * Ingot's encoders, which are linear and some ten times faster; for any other, `@huggingface/tokenizers` encodes the text
 * between special tokens.
 */
import type { ByteSource } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import { ByteLevelModel } from './bpe.ts';
import { type Merge, mergesByName, spellingIds } from './byte-level-vocabulary.ts';
import { byteLevelPatterns, normalization, sentencePieceSpaces } from './huggingface-pipeline.ts';
import { JsonView, readJson, readText } from './json-view.ts';
import { LibraryModel } from './library-model.ts';
import { MAX_RANK } from './merge.ts';
import type { PreTokenizer } from './pre-tokenizers.ts';
import { SentencePieceModel, type SpacePrefix, symbolTables } from './sentencepiece.ts';
import { sentencePieceEncoding } from './sentencepiece-file.ts';
import { type Encoding, makeVocabulary, type TextModel, type TokenKind, type Vocabulary } from './vocabulary.ts';

/** The files of a folder, and what they make of its tokens. */
export interface HuggingFaceFiles {
  /** `tokenizer.json`, or what older files mean by it. */
  readonly tokenizer: JsonView;
  readonly config: JsonView;
  readonly vocabulary: Vocabulary;
}

/** What the pipeline of a `tokenizer.json` does with plain text; 'other' is for the library. */
export type Pipeline =
  | {
      readonly kind: 'byteLevel';
      readonly preTokenizer: PreTokenizer;
      readonly normalization: 'NFC' | 'none';
      readonly merges: readonly Merge[];
    }
  | { readonly kind: 'sentencePiece'; readonly spacePrefix: SpacePrefix; readonly merges: readonly Merge[] }
  | { readonly kind: 'other' };

/** @throws as `readHuggingFaceFiles`; 'UnsupportedFile' for pipelines that cannot be followed. */
export async function huggingFaceEncoding(companions: ReadonlyMap<string, ByteSource>): Promise<Encoding> {
  const files = await readHuggingFaceFiles(companions);
  if (files instanceof Uint8Array) return sentencePieceEncoding(files);
  return { vocabulary: files.vocabulary, model: textModel(files) };
}

/**
 * @param companions files by name; `tokenizer.json`, else `vocab.json` with `merges.txt` (GPT-2), else `tokenizer.model`,
 * of which the bytes are given back.
 * @throws IngotError 'FileNotFound' if none is there, 'InvalidFile', 'UnsupportedFile'.
 */
export async function readHuggingFaceFiles(
  companions: ReadonlyMap<string, ByteSource>,
): Promise<HuggingFaceFiles | Uint8Array> {
  const optional = async (name: string) => {
    const source = companions.get(name);
    return source === undefined ? new JsonView(undefined, name) : readJson(source);
  };
  const config = await optional('tokenizer_config.json');
  const generation = await optional('generation_config.json');
  const [vocab, merges, model] = ['vocab.json', 'merges.txt', 'tokenizer.model'].map((name) => companions.get(name));
  let tokenizer = await optional('tokenizer.json');
  if (tokenizer.missing && vocab !== undefined && merges !== undefined) tokenizer = await gpt2Pipeline(vocab, merges);
  if (tokenizer.missing && model !== undefined) return model.read(0, model.length);
  if (tokenizer.missing) {
    throw new IngotError('FileNotFound', 'the folder holds no tokenizer', {
      hint: 'put its tokenizer.json (or tokenizer.model) beside the weights',
    });
  }
  return { tokenizer, config, vocabulary: readVocabulary(tokenizer, config, generation) };
}

export function readPipeline(tokenizer: JsonView): Pipeline {
  const model = tokenizer.get('model');
  const normalizer = tokenizer.get('normalizer');
  const plain = ['continuing_subword_prefix', 'end_of_word_suffix'].every((key) => !model.get(key).string());
  if (model.get('type').string() !== 'BPE' || !plain) return { kind: 'other' };
  const form = normalization(normalizer);
  const patterns = byteLevelPatterns(tokenizer.get('pre_tokenizer'));
  if (patterns !== undefined && form !== undefined) {
    const preTokenizer = { patterns, wholeTokens: model.get('ignore_merges').boolean() ?? false, addBos: false };
    return { kind: 'byteLevel', preTokenizer, normalization: form, merges: readMerges(model) };
  }
  const spacePrefix = sentencePieceSpaces(normalizer, tokenizer.get('pre_tokenizer'));
  if (spacePrefix === undefined) return { kind: 'other' };
  return { kind: 'sentencePiece', spacePrefix, merges: readMerges(model) };
}

function textModel({ tokenizer, config, vocabulary }: HuggingFaceFiles): TextModel {
  const pipeline = readPipeline(tokenizer);
  switch (pipeline.kind) {
    case 'byteLevel': {
      const { preTokenizer, normalization: form } = pipeline;
      const ids = spellingIds(vocabulary);
      const pairs = mergesByName(pipeline.merges, ids);
      const normalized = form === 'none' ? {} : { normalization: form };
      return new ByteLevelModel({ vocabulary, ids, pairs, preTokenizer, ...normalized });
    }
    case 'sentencePiece': {
      const { ids, characters, inside } = symbolTables(vocabulary);
      const pairs = mergesByName(pipeline.merges, ids);
      return new SentencePieceModel({ vocabulary, characters, inside, pairs, spacePrefix: pipeline.spacePrefix });
    }
    case 'other':
      return new LibraryModel(tokenizer, config, vocabulary);
    default:
      return pipeline satisfies never;
  }
}

function readVocabulary(tokenizer: JsonView, config: JsonView, generation: JsonView): Vocabulary {
  const model = tokenizer.get('model');
  const byteFallback = model.get('byte_fallback').boolean() ?? false;
  const texts: string[] = [];
  const kinds: TokenKind[] = [];
  const add = (text: string, id: unknown, kind: TokenKind) => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > MAX_RANK) {
      throw model.wrong(`gives '${text}' the id ${String(id)}`);
    }
    while (texts.length <= id) {
      texts.push('');
      kinds.push('unused');
    }
    texts[id] = text;
    kinds[id] = kind;
  };
  for (const [text, id] of readTokens(model)) {
    add(text, id, byteFallback && /^<0x[0-9A-Fa-f]{2}>$/.test(text) ? 'byte' : 'normal');
  }
  for (const token of tokenizer.get('added_tokens').array()) {
    const special = token.get('special').boolean() ?? false;
    add(token.get('content').string() ?? '', token.get('id').value, special ? 'control' : 'userDefined');
  }
  const named = new Map(texts.map((text, id) => [text, id]));
  const idOf = (key: string) => {
    const entry = config.get(key);
    const text = typeof entry.value === 'object' ? entry.get('content').string() : entry.string();
    return text === undefined ? undefined : named.get(text);
  };
  const unknown = unknownToken(model, named);
  if (unknown !== undefined) kinds[unknown] = 'unknown';
  const template = readTemplate(tokenizer.get('post_processor'));
  const generationEnds = generation.get('eos_token_id');
  return makeVocabulary({
    texts,
    kinds,
    unknown,
    bos: idOf('bos_token') ?? template.bos,
    eos: idOf('eos_token') ?? template.eos,
    ends: Array.isArray(generationEnds.value)
      ? generationEnds.array().map((id) => id.integer())
      : [generationEnds.integer()],
    addBos: config.get('add_bos_token').boolean() ?? template.bos !== undefined,
    addEos: config.get('add_eos_token').boolean() ?? template.eos !== undefined,
  });
}

/** Tokens and ids: BPE has an object of them, Unigram a list of token and score. */
function readTokens(model: JsonView): Iterable<readonly [string, unknown]> {
  const vocab = model.get('vocab');
  if (model.get('type').string() !== 'Unigram') return Object.entries(vocab.object());
  return vocab.array().map((entry, id) => [entry.array()[0]?.string() ?? '', id] as const);
}

function unknownToken(model: JsonView, named: ReadonlyMap<string, number>): number | undefined {
  const text = model.get('unk_token').string();
  return text === undefined ? model.get('unk_id').integer() : named.get(text);
}

function readMerges(model: JsonView): readonly Merge[] {
  const merges = model.get('merges');
  if (!Array.isArray(merges.value)) throw merges.wrong('is not an array');
  return merges.value.map((merge: unknown, rank) => {
    if (typeof merge === 'string') return merge;
    if (!isPair(merge)) throw merges.wrong(`[${rank}] is not a pair of tokens`);
    return merge;
  });
}

function isPair(value: unknown): value is readonly [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string');
}

/** The special tokens that a template puts at either end of a text. */
function readTemplate(processor: JsonView): { bos?: number; eos?: number } {
  const all = processor.get('type').string() === 'Sequence' ? processor.get('processors').array() : [processor];
  const template = all.find((step) => step.get('type').string() === 'TemplateProcessing');
  if (template === undefined) return {};
  const single = template.get('single').array();
  const text = single.findIndex((part) => !part.get('Sequence').missing);
  if (text < 0 || text > 1 || single.length - text > 2) {
    throw new IngotError(
      'UnsupportedFile',
      'tokenizer.json: templates of more than one token at either end are not known',
    );
  }
  const id = (part: JsonView | undefined) => {
    const name = part?.get('SpecialToken').get('id').string() ?? '';
    return template.get('special_tokens').get(name).get('ids').array()[0]?.integer();
  };
  const [bos, eos] = [text === 1 ? id(single[0]) : undefined, id(single[text + 1])];
  return { ...(bos === undefined ? {} : { bos }), ...(eos === undefined ? {} : { eos }) };
}

/** The files from before `tokenizer.json`, as the pipeline that they mean. */
async function gpt2Pipeline(vocab: ByteSource, merges: ByteSource): Promise<JsonView> {
  const tokens = await readJson(vocab);
  const lines = (await readText(merges))
    .split('\n')
    .filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#')));
  return new JsonView(
    {
      model: { type: 'BPE', vocab: tokens.object(), merges: lines.map((line) => line.replace(/\r$/, '')) },
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
      decoder: { type: 'ByteLevel' },
    },
    vocab.name,
  );
}
