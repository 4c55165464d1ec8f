/**
 * Vocabularies on their way into GGUF files: `tokenizer.*` keys that `gguf-vocabulary.ts` (and llama.cpp) reads into the
 * same encoder. What those keys cannot say is refused, never approximated.
 */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, Metadata, MetadataValue } from '../formats/checkpoint.ts';
import { huggingFaceChatTemplate } from './chat.ts';
import { type Expressible, expressible } from './gguf-expressible.ts';
import { huggingFaceEncoding, readHuggingFaceFiles } from './huggingface.ts';
import { base64Bytes } from './huggingface-normalizers.ts';
import type { JsonView } from './json-view.ts';
import { readLlama2cVocabulary } from './llama2c-vocabulary.ts';
import { checkVocabularySize, type TokenizerSource } from './load.ts';
import { type Merge, mergeParts } from './merges.ts';
import { preTokenizerName } from './pre-tokenizers.ts';
import { symbolTables } from './sentencepiece.ts';
import { readSentencePieceFile } from './sentencepiece-file.ts';
import { prefixAll, SPACE, type SpacePrefix } from './spaces.ts';
import { isKnownEnd, makeVocabulary, tokenKinds, type Vocabulary } from './vocabulary.ts';

type Keys = Map<string, MetadataValue>;

/**
 * @param vocabularySize rows of the model's embedding; rows past the last token are written as unused tokens, since
 * other readers take the model's size from here.
 * @throws IngotError as `loadTokenizer` does, and 'UnsupportedFile' for what GGUF cannot say.
 */
export async function exportTokenizer(source: TokenizerSource, vocabularySize: number): Promise<Metadata> {
  switch (source.kind) {
    case 'gguf':
      return new Map([...source.metadata].filter(([key]) => key.startsWith('tokenizer.')));
    case 'llama2c': {
      const parts = readLlama2cVocabulary(source.bytes, source.vocabularySize);
      return sentencePieceKeys(makeVocabulary(parts), parts.scores, prefixAll, vocabularySize);
    }
    case 'sentencepiece':
      return sentencePieceFileKeys(source.bytes, vocabularySize);
    case 'huggingface':
      return huggingFaceKeys(source.companions, vocabularySize);
    case 'tiktoken':
      throw new IngotError('UnsupportedFile', 'a tiktoken file names no merges, which GGUF needs', {
        hint: 'take the tokenizer.json of the same model',
      });
    default:
      return source satisfies never;
  }
}

async function huggingFaceKeys(companions: Checkpoint['companions'], size: number): Promise<Metadata> {
  const files = await readHuggingFaceFiles(companions);
  if ('kind' in files) return exportTokenizer(files, size);
  const keys = pipelineKeys(files.tokenizer, files.vocabulary, size);
  const { added } = await huggingFaceEncoding(companions);
  for (const [key, ids] of Object.entries(added.wishes())) {
    if (ids.length > 0) keys.set(`tokenizer.ingot.${key}`, Int32Array.from(ids));
  }
  const template = await huggingFaceChatTemplate(companions);
  if (template !== undefined) keys.set('tokenizer.chat_template', template);
  return keys;
}

function pipelineKeys(tokenizer: JsonView, vocabulary: Vocabulary, size: number): Keys {
  const pipeline = expressible(tokenizer);
  switch (pipeline.kind) {
    case 'byteLevel': {
      const name = preTokenizerName({ ...pipeline, symbols: 'bytes' });
      if (name === undefined) throw unsupported('its way to cut text before merging has no name in GGUF');
      const keys = commonKeys('gpt2', name, vocabulary, size);
      keys.set('tokenizer.ggml.merges', pipeline.merges.map(spellMerge));
      if (pipeline.normalization !== 'none') keys.set('tokenizer.ingot.normalization', pipeline.normalization);
      return keys;
    }
    case 'sentencePiece':
      return sentencePieceKeys(vocabulary, scoresOf(pipeline.merges, vocabulary), pipeline.spacePrefix, size);
    case 'wordPiece':
      return wordPieceKeys(vocabulary, pipeline, size);
    case 'unigram':
      return unigramKeys(tokenizer.get('model'), vocabulary, pipeline, size);
    case 'no':
      throw unsupported(pipeline.why);
    default:
      return pipeline satisfies never;
  }
}

function wordPieceKeys(
  vocabulary: Vocabulary,
  { lowercase, stripAccents }: Expressible & { kind: 'wordPiece' },
  size: number,
): Keys {
  const [separator, ...more] = vocabulary.after;
  if (separator === undefined || more.length > 0) throw unsupported('it ends a text with more or less than a token');
  // There, words begin with a space and nothing marks what goes on.
  const texts = Array.from(vocabulary.texts, (text, id) => {
    if (vocabulary.kinds.at(id) !== 'normal') return text;
    return text.startsWith('##') && text.length > 2 ? text.slice(2) : SPACE + text;
  });
  const keys = commonKeys('bert', 'default', { ...vocabulary, texts, after: [] }, size);
  keys.set('tokenizer.ggml.seperator_token_id', separator);
  keys.set('tokenizer.ggml.normalizer.lowercase', lowercase);
  keys.set('tokenizer.ggml.normalizer.strip_accents', stripAccents);
  return keys;
}

function unigramKeys(
  model: JsonView,
  vocabulary: Vocabulary,
  { charsmap, spacePrefix, words }: Expressible & { kind: 'unigram' },
  size: number,
): Keys {
  for (const role of ['eos', 'unknown'] as const) {
    if (vocabulary[role] === undefined) throw unsupported(`it has no ${role} token`);
  }
  const { texts } = vocabulary;
  const kinds = Array.from(vocabulary.kinds);
  if (kinds.includes('byte')) throw unsupported('its bytes are tokens that text can spell');
  const joins = kinds.findIndex((kind, id) => kind === 'normal' && texts.at(id)?.includes(SPACE, 1));
  if (joins >= 0) throw unsupported(`its token '${texts.at(joins)}' goes on behind a space`);
  const scores = new Float32Array(size);
  let [worst, worstNormal] = [0, 0];
  model
    .get('vocab')
    .array()
    .forEach((entry, id) => {
      const score = Number(entry.array()[1]?.value);
      scores[id] = score;
      if (scores[id] !== score) throw unsupported('its scores are no 32-bit numbers');
      worst = Math.min(worst, score);
      if (kinds[id] === 'normal') worstNormal = Math.min(worstNormal, score);
    });
  if (worst !== worstNormal) throw unsupported('its worst score is that of a special token');
  const keys = commonKeys('t5', 'default', vocabulary, size);
  keys.set('tokenizer.ggml.scores', scores);
  setSpacePrefix(keys, spacePrefix);
  keys.set('tokenizer.ggml.remove_extra_whitespaces', words);
  if (words) keys.set('tokenizer.ingot.white_space', true);
  if (charsmap !== undefined) {
    keys.set('tokenizer.ggml.precompiled_charsmap', base64Bytes(charsmap));
    keys.set('tokenizer.ingot.graphemes', true);
  }
  return keys;
}

function sentencePieceFileKeys(bytes: Uint8Array, size: number): Keys {
  const { model, vocabulary, scores, charsmap, spacePrefix, removeExtraSpaces } = readSentencePieceFile(bytes);
  if (model === 'unigram') {
    const keys = commonKeys('t5', 'default', vocabulary, size);
    keys.set('tokenizer.ggml.scores', padded(scores, size));
    setSpacePrefix(keys, spacePrefix);
    keys.set('tokenizer.ggml.remove_extra_whitespaces', removeExtraSpaces);
    if (charsmap.length > 0) keys.set('tokenizer.ggml.precompiled_charsmap', charsmap);
    // llama.cpp sums scores more exactly than sentencepiece does.
    keys.set('tokenizer.ingot.sums', 'f32');
    return keys;
  }
  if (removeExtraSpaces) throw unsupported('it removes extra spaces');
  if (charsmap.length > 0) throw unsupported('it rewrites characters');
  return sentencePieceKeys(vocabulary, scores, spacePrefix, size);
}

function sentencePieceKeys(
  vocabulary: Vocabulary,
  scores: ArrayLike<number>,
  spacePrefix: SpacePrefix,
  size: number,
): Keys {
  // Readers assume 1, 2 and 0 where a file is silent.
  for (const role of ['bos', 'eos', 'unknown'] as const) {
    if (vocabulary[role] === undefined) throw unsupported(`it has no ${role} token`);
  }
  const keys = commonKeys('llama', 'default', vocabulary, size);
  keys.set('tokenizer.ggml.scores', padded(scores, size));
  setSpacePrefix(keys, spacePrefix);
  return keys;
}

function padded(scores: ArrayLike<number>, size: number): Float32Array {
  const all = new Float32Array(size);
  all.set(Array.from(scores));
  return all;
}

function setSpacePrefix(keys: Keys, spacePrefix: SpacePrefix): void {
  keys.set('tokenizer.ggml.add_space_prefix', spacePrefix.at !== 'nowhere');
  if (spacePrefix.at !== 'nowhere' && !spacePrefix.besideSpace) {
    keys.set('tokenizer.ingot.space_prefix', spacePrefix.at);
  }
}

function commonKeys(model: 'gpt2' | 'llama' | 'bert' | 't5', pre: string, vocabulary: Vocabulary, size: number): Keys {
  const { texts, kinds, bos, eos, unknown, endOfGeneration } = vocabulary;
  checkVocabularySize(texts.length, size);
  const unused = tokenKinds.indexOf('unused');
  const types = Int32Array.from({ length: size }, (_, id) => {
    const kind = kinds.at(id);
    return 1 + (kind === undefined ? unused : tokenKinds.indexOf(kind));
  });
  const keys: Keys = new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', model],
    ['tokenizer.ggml.pre', pre],
    // Names of tokens must differ.
    ['tokenizer.ggml.tokens', Array.from(types, (_, id) => texts.at(id) || `[PAD${id}]`)],
    ['tokenizer.ggml.token_type', types],
    ['tokenizer.ggml.add_bos_token', addsOnly(vocabulary.before, bos)],
    ['tokenizer.ggml.add_eos_token', addsOnly(vocabulary.after, eos)],
  ]);
  const [eot, eom, ...more] = [...endOfGeneration].filter((id) => id !== eos && !isKnownEnd(texts.at(id) ?? ''));
  if (more.length > 0) throw unsupported('it has more than three tokens that end a generation');
  for (const [role, id] of Object.entries({ bos, eos, unknown, eot, eom })) {
    if (id !== undefined) keys.set(`tokenizer.ggml.${role}_token_id`, id);
  }
  return keys;
}

function addsOnly(added: readonly number[], id: number | undefined): boolean {
  if (added.length === 0) return false;
  if (added.length === 1 && added[0] === id) return true;
  throw unsupported('it puts other tokens around a text than those that begin and end one');
}

function spellMerge(merge: Merge): string {
  const [left, right] = mergeParts(merge);
  if (left.includes(' ') || right.includes(' ')) throw unsupported('a merge has a space in it');
  return `${left} ${right}`;
}

/**
 * Scores that order merges as their list does. Scores belong to the merged token, whatever its halves: the list must hold
 * every way to cut a token in two, and all ways to make one token together. Lists made from scores do.
 */
function scoresOf(merges: readonly Merge[], vocabulary: Vocabulary): Float32Array {
  const { ids, characters } = symbolTables(vocabulary);
  const isSymbol = (text: string) =>
    ids.get(text) !== undefined || (Array.from(text).length === 1 && characters.has(codeOf(text)));
  const scores = new Float32Array(vocabulary.texts.length);
  let before = '';
  const waysLeft = new Map<string, number>();
  let rank = 0;
  for (const merge of merges) {
    const [left, right] = mergeParts(merge);
    const text = left + right;
    const id = ids.get(text);
    if (id === undefined)
      throw new IngotError('InvalidFile', `a merge makes '${text}', which is not in the vocabulary`);
    if (text !== before) {
      if (waysLeft.has(text)) throw notScored(text);
      waysLeft.set(text, countCuts(text, isSymbol));
      scores[id] = -++rank;
      before = text;
    }
    waysLeft.set(text, (waysLeft.get(text) ?? 0) - 1);
  }
  for (const [text] of ids) {
    if ((waysLeft.get(text) ?? countCuts(text, isSymbol)) !== 0) throw notScored(text);
  }
  return scores;
}

function countCuts(text: string, isSymbol: (text: string) => boolean): number {
  let count = 0;
  for (let cut = 1; cut < text.length; cut++) {
    if (isSymbol(text.slice(0, cut)) && isSymbol(text.slice(cut))) count++;
  }
  return count;
}

function codeOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function notScored(text: string): IngotError {
  return unsupported(`its merges into '${text}' do not follow from scores of tokens`);
}

function unsupported(why: string): IngotError {
  return new IngotError('UnsupportedFile', `GGUF cannot hold this tokenizer: ${why}`, {
    hint: 'run the model from its folder',
  });
}
