/** Vocabularies through GGUF: what is written loads again and encodes equal; what GGUF cannot say is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { memoryBytes } from '../../src/base/bytes.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { spellBytes } from '../../src/tokenizer/byte-alphabet.ts';
import { exportTokenizer } from '../../src/tokenizer/gguf-export.ts';
import { loadTokenizer, type TokenizerSource } from '../../src/tokenizer/load.ts';
import { tiktokenModels } from '../../src/tokenizer/tiktoken.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { bytesOf, ingot } from './formats-support.ts';

type Json = Record<string, unknown>;

function folder(files: Record<string, Json | string>): TokenizerSource {
  const companions = Object.entries(files).map(([name, contents]) => {
    const text = typeof contents === 'string' ? contents : JSON.stringify(contents);
    return [name, memoryBytes(new TextEncoder().encode(text), name)] as const;
  });
  return { kind: 'huggingface', companions: new Map(companions) };
}

/** The vocabulary after a way through a file. */
async function throughGguf(source: TokenizerSource, size: number): Promise<Tokenizer> {
  const metadata = await exportTokenizer(source, size);
  const file = await readGguf(memoryBytes(await bytesOf(layoutGguf({ metadata, tensors: [] }))));
  return loadTokenizer({ kind: 'gguf', metadata: file.metadata }, { vocabularySize: size });
}

async function assertEqualEncoding(source: TokenizerSource, size: number, text: fc.Arbitrary<string>): Promise<void> {
  const before = await loadTokenizer(source, { vocabularySize: size });
  const after = await throughGguf(source, size);
  assert.deepEqual(after.endOfGeneration, before.endOfGeneration);
  assert.equal(after.bos, before.bos);
  const check = (input: string) => {
    for (const options of [{}, { addSpecial: false }, { parseSpecial: true }]) {
      const ids = before.encode(input, options);
      assert.deepEqual(after.encode(input, options), ids, JSON.stringify(input));
      assert.equal(after.decode(ids), before.decode(ids));
    }
  };
  fc.assert(fc.property(text, check), { seed: 20, numRuns: 300 });
}

const llama3Pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

function byteLevel(pattern: string, model: Json = {}, rest: Json = {}): Json {
  const tokens = Array.from({ length: 256 }, (_, byte) => spellBytes(Uint8Array.of(byte)));
  const merges = ['a b', 'ab ab', 'Ġ a', 'Ġa b', 'e Ì', 'eÌ ģ', '1 2', '12 3'];
  tokens.push(...merges.map((merge) => merge.replace(' ', '')));
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  const level = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };
  return {
    model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges, ...model },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [split, level] },
    decoder: { type: 'ByteLevel' },
    added_tokens: ['<s>', '</s>', '<turn>'].map((content, i) => ({ id: 264 + i, content, special: i < 2 })),
    ...rest,
  };
}

const config = { bos_token: '<s>', eos_token: { content: '</s>' }, add_bos_token: true };
const pieces = (...texts: string[]) =>
  fc.array(fc.constantFrom(...texts), { maxLength: 12 }).map((all) => all.join(''));
const words = pieces('a', 'b', 'ab', ' ', '  ', '\n', 'é', 'e\u0301', '123', '<s>', '<turn>', "'S", '€', '!');

test('byte-level BPE: named by its pattern, normalization kept, spare rows filled', async () => {
  const llama3 = {
    'tokenizer.json': byteLevel(llama3Pattern, { ignore_merges: true }),
    'tokenizer_config.json': config,
  };
  await assertEqualEncoding(folder(llama3), 300, words);
  const keys = await exportTokenizer(folder(llama3), 300);
  assert.equal(keys.get('tokenizer.ggml.pre'), 'llama-bpe');
  const tokens = keys.get('tokenizer.ggml.tokens');
  assert.ok(Array.isArray(tokens) && tokens.length === 300 && new Set(tokens).size === 300);

  const nfc = { normalizer: { type: 'NFC' } };
  const qwen2 = {
    'tokenizer.json': byteLevel(llama3Pattern.replace('{1,3}', ''), {}, nfc),
    'tokenizer_config.json': config,
  };
  await assertEqualEncoding(folder(qwen2), 267, words);
  assert.equal((await exportTokenizer(folder(qwen2), 267)).get('tokenizer.ggml.pre'), 'qwen2');
});

test('every end of a generation is carried over', async () => {
  const files = {
    'tokenizer.json': byteLevel(llama3Pattern, { ignore_merges: true }),
    'tokenizer_config.json': config,
    'generation_config.json': { eos_token_id: [265, 266, 3] },
  };
  assert.deepEqual((await throughGguf(folder(files), 267)).endOfGeneration, new Set([265, 266, 3]));
  const many = { ...files, 'generation_config.json': { eos_token_id: [265, 1, 2, 3] } };
  await assert.rejects(throughGguf(folder(many), 267), ingot('UnsupportedFile', /end a generation/));
});

test('the chat template comes along, from either place', async () => {
  const base = { 'tokenizer.json': byteLevel(llama3Pattern, { ignore_merges: true }) };
  const template = async (files: Record<string, Json | string>) =>
    (await exportTokenizer(folder({ ...base, ...files }), 267)).get('tokenizer.chat_template');
  assert.equal(await template({}), undefined);
  assert.equal(await template({ 'tokenizer_config.json': { chat_template: '{{ 1 }}' } }), '{{ 1 }}');
  assert.equal(await template({ 'chat_template.jinja': '{{ 2 }}' }), '{{ 2 }}');
});

/** Tokens and merges as Hugging Face makes them from a SentencePiece model. */
function sentencePiece(rest: Json, merges?: string[][]): Json {
  const prefixed = !(rest.normalizer === replace || JSON.stringify(rest).includes('never'));
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  const scored = ['▁a', 'ab', '▁ab', 'aa', 'aab', 'ba', '▁▁'];
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...scored, '▁', 'a', 'b'];
  const known = new Set(tokens);
  const cuts = scored.flatMap((token) =>
    Array.from({ length: token.length - 1 }, (_, i) => [token.slice(0, i + 1), token.slice(i + 1)]),
  );
  return {
    model: {
      type: 'BPE',
      byte_fallback: true,
      unk_token: '<unk>',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges ?? cuts.filter((cut) => cut.every((part) => known.has(part))),
    },
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true })),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefixed ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    ...rest,
  };
}

const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
const legacy = { normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] } };
const metaspace = (prepend_scheme: string) => ({
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme, split: false },
});

test('SentencePiece BPE: scores from the order of merges, and every way to put a space', async () => {
  const text = pieces('a', 'b', 'ab', 'aab', ' ', '  ', '<s>', 'é', '\n');
  for (const rest of [legacy, { normalizer: replace }, ...['first', 'always', 'never'].map(metaspace)]) {
    const files = { 'tokenizer.json': sentencePiece(rest), 'tokenizer_config.json': config };
    await assertEqualEncoding(folder(files), 280, text);
  }
  const scores = (
    await exportTokenizer(folder({ 'tokenizer.json': sentencePiece(legacy), 'tokenizer_config.json': config }), 280)
  ).get('tokenizer.ggml.scores');
  assert.ok(scores instanceof Float32Array && scores.length === 280);
  assert.deepEqual([...scores.subarray(259, 266)], [-1, -2, -3, -4, -5, -6, -7]);
});

test('WordPiece as BERT has it, and added tokens that take white space along', async () => {
  const words = ['[UNK]', '[CLS]', '[SEP]', 'a', 'b', '##b', '##ab', 'ab', '!', '##', '\u4e16'];
  const bert = (rest: Json): Json => ({
    model: { type: 'WordPiece', unk_token: '[UNK]', vocab: Object.fromEntries(words.map((text, id) => [text, id])) },
    normalizer: { type: 'BertNormalizer', lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: { type: 'BertProcessing', cls: ['[CLS]', 1], sep: ['[SEP]', 2] },
    decoder: { type: 'WordPiece', cleanup: false },
    added_tokens: [
      ...['[UNK]', '[CLS]', '[SEP]'].map((content, id) => ({ id, content, special: true })),
      { id: 11, content: '<left>', special: false, normalized: false, lstrip: true },
      { id: 12, content: 'ba', special: false, normalized: false, single_word: true },
    ],
    ...rest,
  });
  const text = pieces('a', 'b', 'AB', 'ab', ' ', '!', '\u00e4', '\u4e16', 'ba', '<left>', '[SEP]', '\n');
  await assertEqualEncoding(folder({ 'tokenizer.json': bert({}) }), 20, text);
  const cased = bert({ normalizer: { type: 'BertNormalizer', lowercase: false } });
  await assertEqualEncoding(folder({ 'tokenizer.json': cased }), 20, text);
  const other = bert({ pre_tokenizer: { type: 'Whitespace' } });
  await assert.rejects(exportTokenizer(folder({ 'tokenizer.json': other }), 20), ingot('UnsupportedFile', /BERT/));
});

test('Unigram, with and without white space as borders of words', async () => {
  const vocab: [string, number][] = [
    ['<unk>', 0],
    ['</s>', 0],
    ['\u2581', -3],
    ['\u2581a', -2],
    ['a', -4],
    ['b', -4.5],
    ['ab', -2.5],
    ['\u2581ab', -5.5],
  ];
  const unigram = (words: boolean, changes: [string, number][] = vocab): Json => {
    const metaspace = { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always' };
    return {
      model: { type: 'Unigram', unk_id: 0, vocab: changes },
      normalizer: null,
      pre_tokenizer: words ? { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] } : metaspace,
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
        special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
      },
      decoder: metaspace,
      added_tokens: ['<unk>', '</s>'].map((content, id) => ({ id, content, special: true })),
    };
  };
  const text = pieces('a', 'b', 'ab', ' ', '  ', '\n', '\u3000', 'x', '</s>', '\u2581');
  for (const words of [true, false]) await assertEqualEncoding(folder({ 'tokenizer.json': unigram(words) }), 8, text);
  const refused = async (changes: [string, number][], message: RegExp) => {
    const files = { 'tokenizer.json': unigram(false, changes) };
    await assert.rejects(exportTokenizer(folder(files), 9), ingot('UnsupportedFile', message));
  };
  await refused([...vocab, ['a\u2581b', -1]], /goes on behind a space/);
  await refused([...vocab, ['c', -0.1]], /32-bit/);
  await refused([['<unk>', -100], ...vocab.slice(1)], /worst score/);
});

test('what GGUF cannot say is refused', async () => {
  const refused = async (files: Record<string, Json | string>, message: RegExp) => {
    await assert.rejects(exportTokenizer(folder(files), 280), ingot('UnsupportedFile', message));
  };
  await refused({ 'tokenizer.json': byteLevel('\\p{L}+|\\s+') }, /no name in GGUF/);
  await refused({ 'tokenizer.json': { model: { type: 'Unigram', vocab: [['a', 0]] } } }, /rewrites or cuts/);
  const config_ = { 'tokenizer_config.json': config };
  await refused({ 'tokenizer.json': sentencePiece(legacy) }, /no bos token/);
  const interleaved = [
    ['▁', 'a'],
    ['▁', 'ab'],
    ['a', 'b'],
    ['▁a', 'b'],
  ];
  await refused({ 'tokenizer.json': sentencePiece(legacy, interleaved), ...config_ }, /do not follow from scores/);
  const incomplete = [
    ['▁', 'a'],
    ['a', 'b'],
  ];
  await refused({ 'tokenizer.json': sentencePiece(legacy, incomplete), ...config_ }, /do not follow from scores/);
  const tiktoken = { kind: 'tiktoken', bytes: new Uint8Array(0), model: tiktokenModels.qwen2 } as const;
  await assert.rejects(exportTokenizer(tiktoken, 3), ingot('UnsupportedFile', /tiktoken/));
});

test('a tokenizer of another model is refused', async () => {
  const source = folder({ 'tokenizer.json': byteLevel(llama3Pattern, { ignore_merges: true }) });
  await assert.rejects(exportTokenizer(source, 266), ingot('TokenizerMismatch', /267 tokens, the model 266/));
  await assert.rejects(exportTokenizer(source, 5000), ingot('TokenizerMismatch', /the model 5000/));
});
