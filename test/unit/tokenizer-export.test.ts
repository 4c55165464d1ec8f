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
