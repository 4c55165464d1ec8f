/**
 * Vocabularies of Hugging Face folders. A `tokenizer.json` describes a pipeline (added tokens, normalizer, pre-tokenizer, model,
 * post-processor, decoder; huggingface/tokenizers defines them); each part is read by the table of its kind.
 */
import type { ByteSource } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import { type AddedToken, AddedTokens } from './added-tokens.ts';
import { inTurn } from './cut.ts';
import { readDecoder } from './huggingface-decoders.ts';
import { readModel, readTokens, takesBytes, unknownToken } from './huggingface-models.ts';
import { readNormalizer } from './huggingface-normalizers.ts';
import { readFrame } from './huggingface-post-processors.ts';
import { readPreTokenizer, spellInBytes } from './huggingface-pre-tokenizers.ts';
import { JsonView, readJson, readText } from './json-view.ts';
import { MAX_RANK } from './merge.ts';
import { Pipeline } from './pipeline.ts';
import { type SentencePieceSource, sentencePieceEncoding } from './sentencepiece-file.ts';
import { isRankFile, type TiktokenSource, tiktokenEncoding, tiktokenModels } from './tiktoken.ts';
import { type Encoding, makeVocabulary, type TextModel, type TokenKind, type Vocabulary } from './vocabulary.ts';

/** The files of a folder, and what they make of its tokens. */
export interface HuggingFaceFiles {
  /** `tokenizer.json`, or what older files mean by it. */
  readonly tokenizer: JsonView;
  readonly vocabulary: Vocabulary;
}

/** @throws as `readHuggingFaceFiles`; 'UnsupportedFile' for pipelines that cannot be followed. */
export async function huggingFaceEncoding(companions: ReadonlyMap<string, ByteSource>): Promise<Encoding> {
  const files = await readHuggingFaceFiles(companions);
  if ('kind' in files) {
    return files.kind === 'tiktoken' ? tiktokenEncoding(files.bytes, files.model) : sentencePieceEncoding(files.bytes);
  }
  const { tokenizer, vocabulary } = files;
  const added = readAddedTokens(tokenizer, vocabulary);
  return {
    vocabulary,
    added: new AddedTokens(added.filter((token) => !token.normalized)),
    model: textModel(tokenizer, vocabulary, added),
  };
}

/**
 * @param companions files by name; `tokenizer.json`, else `vocab.json` with `merges.txt` (GPT-2), else `tokenizer.model` of
 * SentencePiece or of Llama 3, else `qwen.tiktoken`, which are given back as they are.
 * @throws IngotError 'FileNotFound' if none is there, 'InvalidFile', 'UnsupportedFile'.
 */
export async function readHuggingFaceFiles(
  companions: ReadonlyMap<string, ByteSource>,
): Promise<HuggingFaceFiles | SentencePieceSource | TiktokenSource> {
  const optional = async (name: string) => {
    const source = companions.get(name);
    return source === undefined ? new JsonView(undefined, name) : readJson(source);
  };
  const config = await optional('tokenizer_config.json');
  const generation = await optional('generation_config.json');
  const [vocab, merges, model, ranks] = ['vocab.json', 'merges.txt', 'tokenizer.model', 'qwen.tiktoken'].map((name) =>
    companions.get(name),
  );
  let tokenizer = await optional('tokenizer.json');
  if (tokenizer.missing && vocab !== undefined && merges !== undefined) tokenizer = await gpt2Pipeline(vocab, merges);
  if (tokenizer.missing && model !== undefined) {
    const bytes = await model.read(0, model.length);
    return isRankFile(bytes)
      ? { kind: 'tiktoken', bytes, model: tiktokenModels.llama3 }
      : { kind: 'sentencepiece', bytes };
  }
  if (tokenizer.missing && ranks !== undefined) {
    return { kind: 'tiktoken', bytes: await ranks.read(0, ranks.length), model: tiktokenModels.qwen2 };
  }
  if (tokenizer.missing) {
    throw new IngotError('FileNotFound', 'the folder holds no tokenizer', {
      hint: 'put its tokenizer.json (or tokenizer.model) beside the weights',
    });
  }
  return { tokenizer, vocabulary: readVocabulary(tokenizer, config, generation) };
}

function textModel(tokenizer: JsonView, vocabulary: Vocabulary, added: readonly ReadToken[]): TextModel {
  const model = tokenizer.get('model');
  const ids = idsOfText(model, vocabulary);
  const normalize = readNormalizer(tokenizer.get('normalizer'));
  const cuts = readPreTokenizer(tokenizer.get('pre_tokenizer'));
  const inBytes = cuts.at(-1) === spellInBytes && takesBytes(model, ids);
  const normalized = added
    .filter((token) => token.normalized)
    .map((token) => ({ ...token, text: normalize === undefined ? token.text : normalize(token.text) }));
  return new Pipeline({
    cut: inTurn(inBytes ? cuts.slice(0, -1) : cuts),
    model: readModel(model, vocabulary, ids, inBytes),
    decoder: readDecoder(tokenizer.get('decoder'), vocabulary),
    ...(normalize === undefined ? {} : { normalize }),
    ...(normalized.length === 0 ? {} : { added: new AddedTokens(normalized) }),
  });
}

/** Tokens of the model that text may become: no text makes a control token by itself. */
function idsOfText(model: JsonView, { kinds }: Vocabulary): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const [text, id] of readTokens(model)) {
    if (typeof id === 'number' && kinds.at(id) !== 'control' && kinds.at(id) !== 'unknown') ids.set(text, id);
  }
  return ids;
}

type ReadToken = AddedToken & { readonly normalized: boolean };

function readAddedTokens(tokenizer: JsonView, { texts, kinds }: Vocabulary): ReadToken[] {
  return tokenizer
    .get('added_tokens')
    .array()
    .map((token) => {
      const id = token.get('id').integer() ?? 0;
      const special = token.get('special').boolean() ?? false;
      return {
        id,
        text: texts.at(id) ?? '',
        special: kinds.at(id) !== 'userDefined',
        lstrip: token.get('lstrip').boolean() ?? false,
        rstrip: token.get('rstrip').boolean() ?? false,
        singleWord: token.get('single_word').boolean() ?? false,
        normalized: token.get('normalized').boolean() ?? !special,
      };
    });
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
  if (unknown !== undefined && unknown < kinds.length) kinds[unknown] = 'unknown';
  const frame = readFrame(tokenizer.get('post_processor'));
  const [bos, eos] = [idOf('bos_token') ?? frame.before[0], idOf('eos_token') ?? frame.after.at(-1)];
  const generationEnds = generation.get('eos_token_id');
  return makeVocabulary({
    texts,
    kinds,
    unknown,
    bos,
    eos,
    ends: Array.isArray(generationEnds.value)
      ? generationEnds.array().map((id) => id.integer())
      : [generationEnds.integer()],
    before: asConfigured(frame.before, config.get('add_bos_token').boolean(), bos),
    after: asConfigured(frame.after, config.get('add_eos_token').boolean(), eos),
  });
}

/** A configuration may add the token that a template lacks, or take it away. */
function asConfigured(
  frame: readonly number[],
  wanted: boolean | undefined,
  id: number | undefined,
): readonly number[] {
  if (wanted === undefined || id === undefined || frame.includes(id) === wanted) return frame;
  return wanted ? [id, ...frame] : frame.filter((other) => other !== id);
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
