/** Token ids of real vocabularies against llama.cpp's goldens, which Hugging Face's tokenizers made. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { StringList } from '../../src/base/string-list.ts';
import { openFile } from '../../src/formats/file-node.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { loadTokenizer, type TokenizerSource } from '../../src/tokenizer/load.ts';
import { tiktokenModels } from '../../src/tokenizer/tiktoken.ts';

const data = process.env.INGOT_TEST_DATA;
const skip = data === undefined ? 'INGOT_TEST_DATA is not set' : false;
const path = (name: string) => `${data}/tokenizers/${name}`;
const bytes = (name: string) => new Uint8Array(readFileSync(path(`models/${name}`)));

async function gguf(name: string) {
  await using checkpoint = await readGguf(await openFile(path(`ggml-vocab/ggml-vocab-${name}.gguf`)));
  return { kind: 'gguf', metadata: checkpoint.metadata } as const;
}

function gpt2Files(): TokenizerSource {
  const companions = new Map([
    ['vocab.json', memoryBytes(bytes('gpt2.vocab.json'))],
    ['merges.txt', memoryBytes(bytes('gpt2.merges.txt'))],
  ]);
  return { kind: 'huggingface', companions };
}

interface Golden {
  readonly text: string;
  readonly ids: readonly number[];
}

function goldens(name: string): Golden[] {
  const texts = readFileSync(path(`ggml-vocab/ggml-vocab-${name}.gguf.inp`), 'utf8').split('\n__ggml_vocab_test__\n');
  assert.equal(texts.pop(), '');
  const lines = readFileSync(path(`ggml-vocab/ggml-vocab-${name}.gguf.out`), 'utf8').split('\n');
  assert.equal(lines.pop(), '');
  assert.equal(lines.length, texts.length);
  return texts.map((text, i) => ({ text, ids: (lines[i] ?? '').split(' ').filter(Boolean).map(Number) }));
}

const cases: [golden: string, from: string, source: () => TokenizerSource | Promise<TokenizerSource>][] = [
  ['gpt-2', 'GGUF', () => gguf('gpt-2')],
  ['mpt', 'GGUF', () => gguf('mpt')],
  ['refact', 'GGUF', () => gguf('refact')],
  ['deepseek-llm', 'GGUF', () => gguf('deepseek-llm')],
  ['bert-bge', 'GGUF', () => gguf('bert-bge')],
  ['llama-spm', 'GGUF', () => gguf('llama-spm')],
  ['llama-spm', 'SentencePiece file', () => ({ kind: 'sentencepiece', bytes: bytes('llama2.tokenizer.model') })],
  [
    'llama-bpe',
    'rank file',
    () => ({ kind: 'tiktoken', bytes: bytes('llama3.tokenizer.model'), model: tiktokenModels.llama3 }),
  ],
  ['qwen2', 'rank file', () => ({ kind: 'tiktoken', bytes: bytes('qwen.tiktoken'), model: tiktokenModels.qwen2 })],
];

for (const [name, from, source] of cases) {
  test(`${name} from its ${from} gives the golden ids, and the texts again`, { skip }, async () => {
    const tokenizer = await loadTokenizer(await source());
    const expected = goldens(name);
    assert.ok(expected.length > 40);
    for (const { text, ids } of expected) {
      const encoded = tokenizer.encode(text, { addSpecial: false });
      assert.deepEqual(encoded, ids, JSON.stringify(text));
      if (name !== 'bert-bge') assert.equal(tokenizer.decode(encoded), text); // It forgets case and space.
    }
  });
}

test("GPT-2's vocab.json and merges.txt give the golden tokens", { skip }, async () => {
  // The file numbers its tokens otherwise, so tokens are compared and not ids.
  const [tokenizer, reference] = [await loadTokenizer(gpt2Files()), await loadTokenizer(await gguf('gpt-2'))];
  for (const { text, ids } of goldens('gpt-2')) {
    const tokens = tokenizer.encode(text).map((id) => tokenizer.tokenText(id));
    assert.deepEqual(
      tokens,
      ids.map((id) => reference.tokenText(id)),
      JSON.stringify(text),
    );
  }
});

test('special tokens follow the ranks with the ids that the models know', { skip }, async () => {
  const expected = [
    [
      'llama3',
      'llama3.tokenizer.model',
      128_256,
      { '<|begin_of_text|>': 128_000, '<|start_header_id|>': 128_006, '<|eot_id|>': 128_009 },
    ],
    ['qwen2', 'qwen.tiktoken', 151_646, { '<|endoftext|>': 151_643, '<|im_start|>': 151_644, '<|im_end|>': 151_645 }],
  ] as const;
  for (const [model, file, size, ids] of expected) {
    const tokenizer = await loadTokenizer({ kind: 'tiktoken', bytes: bytes(file), model: tiktokenModels[model] });
    assert.equal(tokenizer.vocabularySize, size);
    for (const [text, id] of Object.entries(ids)) {
      assert.deepEqual(tokenizer.encode(text, { parseSpecial: true, addSpecial: false }), [id]);
      assert.ok(tokenizer.encode(text, { addSpecial: false }).length > 1);
    }
  }
});

test("stories260K's tokenizer gives as many tokens as the published sentence has", { skip }, async () => {
  const folder = `${data}/models/stories260K`;
  const golden: { sentence: string; n_tokens: number } = JSON.parse(
    readFileSync(`${folder}/bennyz-golden.json`, 'utf8'),
  );
  const file = new Uint8Array(readFileSync(`${folder}/tok512.bin`));
  const tokenizer = await loadTokenizer({ kind: 'llama2c', bytes: file, vocabularySize: 512 });
  const ids = tokenizer.encode(golden.sentence);
  assert.equal(ids.length, golden.n_tokens);
  assert.equal(tokenizer.decode(ids), golden.sentence);
});

test('a pipeline of tokenizer.json gives the golden ids', { skip }, async () => {
  const { metadata } = await gguf('gpt-2');
  const [tokens, merges] = [metadata.get('tokenizer.ggml.tokens'), metadata.get('tokenizer.ggml.merges')];
  assert.ok(tokens instanceof StringList && merges instanceof StringList);
  const pipeline = {
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(Array.from(tokens, (token, id) => [token, id])),
      merges: [...merges],
    },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    decoder: { type: 'ByteLevel' },
  };
  const source = memoryBytes(new TextEncoder().encode(JSON.stringify(pipeline)));
  const tokenizer = await loadTokenizer({ kind: 'huggingface', companions: new Map([['tokenizer.json', source]]) });
  for (const { text, ids } of goldens('gpt-2')) assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
});
