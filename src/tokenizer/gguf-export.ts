/**
 * Vocabularies on their way into GGUF files: `tokenizer.*` keys that `gguf-vocabulary.ts` (and llama.cpp) reads into the
 * same encoder. What those keys cannot say is refused, never approximated.
 */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, Metadata, MetadataValue } from '../formats/checkpoint.ts';
import { type Merge, mergeParts } from './byte-level-vocabulary.ts';
import { huggingFaceChatTemplate } from './chat.ts';
import { type Pipeline, readHuggingFaceFiles, readPipeline } from './huggingface.ts';
import { readLlama2cVocabulary } from './llama2c-vocabulary.ts';
import { checkVocabularySize, type TokenizerSource } from './load.ts';
import { preTokenizerName } from './pre-tokenizers.ts';
import { prefixAll, type SpacePrefix, symbolTables } from './sentencepiece.ts';
import { readSentencePieceFile } from './sentencepiece-file.ts';
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

async function huggingFaceKeys(companions: Checkpoint['companions'], size: number): Promise<Keys> {
  const files = await readHuggingFaceFiles(companions);
  if (files instanceof Uint8Array) return sentencePieceFileKeys(files, size);
  const keys = pipelineKeys(readPipeline(files.tokenizer), files.vocabulary, size);
  const template = await huggingFaceChatTemplate(companions);
  if (template !== undefined) keys.set('tokenizer.chat_template', template);
  return keys;
}

function pipelineKeys(pipeline: Pipeline, vocabulary: Vocabulary, size: number): Keys {
  switch (pipeline.kind) {
    case 'byteLevel': {
      const name = preTokenizerName(pipeline.preTokenizer);
      if (name === undefined) throw unsupported('its way to cut text before merging has no name in GGUF');
      const keys = commonKeys('gpt2', name, vocabulary, size);
      keys.set('tokenizer.ggml.merges', pipeline.merges.map(spellMerge));
      if (pipeline.normalization !== 'none') keys.set('tokenizer.ingot.normalization', pipeline.normalization);
      return keys;
    }
    case 'sentencePiece':
      return sentencePieceKeys(vocabulary, scoresOf(pipeline.merges, vocabulary), pipeline.spacePrefix, size);
    case 'other':
      throw unsupported('it is neither byte-level nor SentencePiece BPE');
    default:
      return pipeline satisfies never;
  }
}

function sentencePieceFileKeys(bytes: Uint8Array, size: number): Keys {
  const { vocabulary, scores, spacePrefix, removeExtraSpaces } = readSentencePieceFile(bytes);
  if (removeExtraSpaces) throw unsupported('it removes extra spaces');
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
  const padded = new Float32Array(size);
  padded.set(Array.from(scores));
  keys.set('tokenizer.ggml.scores', padded);
  keys.set('tokenizer.ggml.add_space_prefix', spacePrefix.at !== 'nowhere');
  if (spacePrefix.at !== 'nowhere' && !spacePrefix.besideSpace) {
    keys.set('tokenizer.ingot.space_prefix', spacePrefix.at);
  }
  return keys;
}

function commonKeys(model: 'gpt2' | 'llama', pre: string, vocabulary: Vocabulary, size: number): Keys {
  const { texts, kinds, bos, eos, unknown, endOfGeneration } = vocabulary;
  checkVocabularySize(texts.length, size);
  const unused = tokenKinds.indexOf('unused');
  const types = Int32Array.from({ length: size }, (_, id) => {
    const kind = kinds[id];
    return 1 + (kind === undefined ? unused : tokenKinds.indexOf(kind));
  });
  const keys: Keys = new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', model],
    ['tokenizer.ggml.pre', pre],
    // Names of tokens must differ.
    ['tokenizer.ggml.tokens', Array.from(types, (_, id) => texts[id] || `[PAD${id}]`)],
    ['tokenizer.ggml.token_type', types],
    ['tokenizer.ggml.add_bos_token', vocabulary.addBos],
    ['tokenizer.ggml.add_eos_token', vocabulary.addEos],
  ]);
  const [eot, eom, ...more] = [...endOfGeneration].filter((id) => id !== eos && !isKnownEnd(texts[id] ?? ''));
  if (more.length > 0) throw unsupported('it has more than three tokens that end a generation');
  for (const [role, id] of Object.entries({ bos, eos, unknown, eot, eom })) {
    if (id !== undefined) keys.set(`tokenizer.ggml.${role}_token_id`, id);
  }
  return keys;
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
  const isSymbol = (text: string) => ids.has(text) || (Array.from(text).length === 1 && characters.has(codeOf(text)));
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
  for (const text of ids.keys()) {
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
