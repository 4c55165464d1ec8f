/** Vocabulary files of every kind, well-formed and not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { memoryBytes } from '../../src/base/bytes.ts';
import { type ErrorCode, isIngotError } from '../../src/base/errors.ts';
import type { MetadataValue } from '../../src/formats/checkpoint.ts';
import { loadTokenizer, type TokenizerSource } from '../../src/tokenizer/load.ts';
import { byteLevel, byteLevelKeys, byteTokens, sentencePiece, sentencePieceKeys } from './small-vocabularies.ts';

const seed = 20240726;
const utf8 = new TextEncoder();

async function refused(source: TokenizerSource, code: ErrorCode, message = /./): Promise<void> {
  await assert.rejects(loadTokenizer(source), (error) => {
    assert.ok(isIngotError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  });
}

/** Whatever the bytes, a tokenizer or a typed error. */
async function survives(source: TokenizerSource): Promise<void> {
  try {
    (await loadTokenizer(source)).encode('hello the');
  } catch (error) {
    assert.ok(isIngotError(error), String(error));
  }
}

/** Copies of a file, cut short or with bytes changed. */
const damage = (bytes: Uint8Array) =>
  fc
    .tuple(
      fc.integer({ min: 0, max: bytes.length }),
      fc.array(fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
    )
    .map(([length, changes]) => {
      const copy = bytes.slice();
      for (const [at, byte] of changes) copy[at] = byte;
      return length % 3 === 0 ? copy.slice(0, length) : copy;
    });

describe('GGUF vocabularies', () => {
  const gguf = (metadata: ReadonlyMap<string, MetadataValue>): TokenizerSource => ({ kind: 'gguf', metadata });
  const bad: [what: string, changes: Record<string, MetadataValue | undefined>, code: ErrorCode, message: RegExp][] = [
    ['no model', { model: undefined }, 'InvalidFile', /no vocabulary/],
    ['a model of another kind', { model: 'rwkv' }, 'UnsupportedFile', /'rwkv'/],
    ['a model that says it has none', { model: 'none' }, 'InvalidFile', /no vocabulary/],
    ['an unknown pre-tokenizer', { pre: 'x' }, 'UnsupportedFile', /'x'/],
    ['no tokens', { tokens: undefined, token_type: undefined }, 'InvalidFile', /empty/],
    ['tokens that are no strings', { tokens: [1, 2] }, 'InvalidFile', /tokens is not an array of strings/],
    ['tokens that are no array', { tokens: 'a' }, 'InvalidFile', /tokens is not an array/],
    ['too few types', { token_type: Int32Array.of(1) }, 'InvalidFile', /1 entries for/],
    [
      'a type that there is not',
      { token_type: new Int32Array(byteLevel.tokens.length).fill(7) },
      'InvalidFile',
      /is 7/,
    ],
    ['types that are no numbers', { token_type: ['1'] }, 'InvalidFile', /not an array of numbers/],
    ['an id past the end', { bos_token_id: 100_000 }, 'InvalidFile', /bos token's id 100000/],
    ['a negative id', { eos_token_id: -5 }, 'InvalidFile', /eos/],
    ['an id that is no number', { eot_token_id: 'x' }, 'InvalidFile', /eot_token_id/],
    ['an end of turn past the end', { eot_token_id: 1e6 }, 'InvalidFile', /1000000/],
    ['a merge of an unknown token', { merges: ['qq a'] }, 'InvalidFile', /merge 0 names 'qq'/],
    ['a merge into an unknown token', { merges: ['a', 'q'].map((left) => `${left} z`) }, 'InvalidFile', /'az'/],
    ['a merge of one', { merges: ['a'] }, 'InvalidFile', /merge 0/],
    ['a flag that is no flag', { add_bos_token: 1 }, 'InvalidFile', /not a boolean/],
  ];
  for (const [what, changes, code, message] of bad) {
    test(`refuses ${what}`, () => refused(gguf(byteLevelKeys(changes)), code, message));
  }

  const badScores: [what: string, changes: Record<string, MetadataValue | undefined>, message: RegExp][] = [
    ['no scores', { scores: undefined }, /scores is missing/],
    ['too few scores', { scores: Float32Array.of(1) }, /1 entries/],
    ['a score that is no number', { scores: new Float32Array(sentencePiece.tokens.length).fill(Number.NaN) }, /NaN/],
    [
      'a byte token spelled otherwise',
      { token_type: new Int32Array(sentencePiece.tokens.length).fill(6) },
      /byte token/,
    ],
    [
      'a token without end',
      { tokens: sentencePiece.tokens.map((text, i) => (i === 270 ? 'x'.repeat(5000) : text)) },
      /5000/,
    ],
  ];
  for (const [what, changes, message] of badScores) {
    test(`refuses ${what}`, () => refused(gguf(sentencePieceKeys(changes)), 'InvalidFile', message));
  }

  test('tokens that stand twice are as real files have them: the last counts', async () => {
    const tokens = [...byteLevel.tokens, 'hello'];
    const metadata = byteLevelKeys({ tokens, token_type: new Int32Array(tokens.length).fill(1) });
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata });
    assert.deepEqual(tokenizer.encode('hello'), [tokens.length - 1]);
  });

  test('0xFFFFFFFF means no such token', async () => {
    const metadata = byteLevelKeys({ bos_token_id: 0xffffffff });
    assert.equal((await loadTokenizer({ kind: 'gguf', metadata })).bos, undefined);
  });

  test('a byte that the vocabulary lacks is an error of the text that has it', async () => {
    const tokens = byteLevel.tokens.map((text) => (text === 'q' ? 'other' : text));
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys({ tokens }) });
    assert.equal(tokenizer.decode(tokenizer.encode('hello')), 'hello');
    assert.throws(() => tokenizer.encode('q'), { code: 'TokenizerMismatch', message: /0x71/ });
  });
});

describe('a vocabulary and a model', () => {
  const source = { kind: 'gguf', metadata: byteLevelKeys() } as const;
  const size = byteLevel.tokens.length;

  test('that is smaller, or far larger, do not belong together', async () => {
    for (const vocabularySize of [size - 1, size + 5000]) {
      await assert.rejects(loadTokenizer(source, { vocabularySize }), { code: 'TokenizerMismatch' });
    }
  });

  test('whose embedding is padded do; spare ids stand for nothing', async () => {
    const tokenizer = await loadTokenizer(source, { vocabularySize: size + 100 });
    assert.equal(tokenizer.vocabularySize, size + 100);
    assert.equal(tokenizer.decode([size + 99, byteLevel.id('a')]), 'a');
    assert.throws(() => tokenizer.decode([size + 100]), { code: 'InvalidArgument' });
    assert.throws(() => tokenizer.tokenBytes(-1), { code: 'InvalidArgument' });
    assert.throws(() => tokenizer.tokenText(0.5), { code: 'InvalidArgument' });
  });
});

describe('rank files', () => {
  const model = { pre: 'gpt-2', specialTokens: ['<|end|>', '<|other|>'], eos: '<|end|>' };
  const line = (text: string | number, rank: number) =>
    `${btoa(typeof text === 'string' ? text : String.fromCharCode(text))} ${rank}\n`;
  const bytes = byteTokens.map((_, byte) => line(byte, byte)).join('');
  const source = (text: string): TokenizerSource => ({ kind: 'tiktoken', bytes: utf8.encode(text), model });

  test('merge whatever makes a token, lowest rank first', async () => {
    const tokenizer = await loadTokenizer(
      source(`${bytes}${line('ab', 256)}${line('bc', 257)}${line('abc', 258)}${line('bcd', 259)}`),
    );
    assert.deepEqual(tokenizer.encode('abcz'), [258, 122]);
    assert.deepEqual(tokenizer.encode('xbcd'), [120, 259]);
    assert.deepEqual(tokenizer.encode('<|end|>', { parseSpecial: true }), [260]);
    assert.deepEqual([...tokenizer.endOfGeneration], [260]);
    assert.equal(tokenizer.vocabularySize, 262);
    assert.deepEqual(tokenizer.tokenBytes(0xe4), Uint8Array.of(0xe4));
  });

  const bad: [what: string, text: string, line: number][] = [
    ['a rank that stands twice', bytes + line('ab', 0), 257],
    ['a hole', bytes + line('ab', 300), 257],
    ['a line without rank', `${bytes}YWI=\n`, 257],
    ['no base64', `${bytes}Y!I= 256\n`, 257],
    ['base64 of the wrong length', `${bytes}YWIab 256\n`, 257],
    ['an empty line', `\n${bytes}`, 1],
    ['a negative rank', 'YQ== -1\n', 1],
    ['a token without end', `${bytes}${line('x'.repeat(9000), 256)}`, 257],
  ];
  for (const [what, text, where] of bad) {
    test(`refuses ${what} and tells the line`, () =>
      assert.rejects(
        loadTokenizer(source(text)),
        (error) => isIngotError(error, 'InvalidFile') && error.place.line === where,
      ));
  }

  test("are found in a folder: Llama 3's under the name of SentencePiece's, and Qwen's", async () => {
    const file = memoryBytes(utf8.encode(`${bytes}${line('ab', 256)}`));
    const loaded = (name: string) => loadTokenizer({ kind: 'huggingface', companions: new Map([[name, file]]) });
    const llama = await loaded('tokenizer.model');
    assert.deepEqual(llama.encode('ab<|eot_id|>', { parseSpecial: true, addSpecial: false }), [256, 257 + 9]);
    const qwen = await loaded('qwen.tiktoken');
    assert.deepEqual(qwen.encode('ab<|im_end|>', { parseSpecial: true, addSpecial: false }), [256, 257 + 2]);
  });

  test('an empty file is no vocabulary', () =>
    refused({ kind: 'tiktoken', bytes: new Uint8Array(0), model: { pre: 'gpt-2', specialTokens: [] } }, 'InvalidFile'));
});

/** The tokens of the GGUF vocabulary in llama2.c's file. */
function llama2cFile(tokens: readonly string[]): Uint8Array {
  const chunks = tokens.map((token, id) => {
    const text = utf8.encode(id === 1 || id === 2 ? `\n${token}\n` : token.replaceAll('\u2581', ' '));
    const head = new DataView(new ArrayBuffer(8));
    head.setFloat32(0, id < 259 ? 0 : 259 - id, true);
    head.setInt32(4, text.length, true);
    return [...new Uint8Array(head.buffer), ...text];
  });
  return Uint8Array.from([[9, 0, 0, 0], ...chunks].flat());
}

describe('llama2.c tokenizers', () => {
  const tokens = sentencePiece.tokens.slice(0, -1);
  const file = llama2cFile(tokens);
  const source = (bytes: Uint8Array): TokenizerSource => ({ kind: 'llama2c', bytes, vocabularySize: tokens.length });

  test('encode as the same vocabulary does in GGUF', async () => {
    const tokenizer = await loadTokenizer(source(file));
    const gguf = await loadTokenizer({ kind: 'gguf', metadata: sentencePieceKeys() });
    for (const text of ['the hello', '  aab\u00e4\n', '', 'xyz lo']) {
      assert.deepEqual(tokenizer.encode(text), gguf.encode(text));
    }
    assert.deepEqual([...tokenizer.endOfGeneration].sort(), [1, 2]);
  });

  test('of another number of tokens do not belong to the model', () =>
    refused({ kind: 'llama2c', bytes: file, vocabularySize: 7 }, 'TokenizerMismatch', /7/));

  test('that end early, or lie about a length, are refused', async () => {
    await refused(source(file.slice(0, -1)), 'InvalidFile', /passes the end/);
    await refused(source(file.slice(0, 9)), 'InvalidFile', /inside a token/);
    const lying = file.slice();
    new DataView(lying.buffer).setInt32(8, -1, true);
    await refused(source(lying), 'InvalidFile', /passes the end/);
  });

  test('damaged in any way are an error or a vocabulary', () =>
    fc.assert(
      fc.asyncProperty(damage(file), (bytes) => survives(source(bytes))),
      { seed, numRuns: 100 },
    ));
});

/** Protocol buffers, as far as SentencePiece's file needs them. */
const proto = {
  varint: (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) + 128, ...proto.varint(Math.floor(value / 128))],
  integer: (field: number, value: number) => [...proto.varint(field * 8), ...proto.varint(value)],
  bytes: (field: number, value: ArrayLike<number>) => [
    ...proto.varint(field * 8 + 2),
    ...proto.varint(value.length),
    ...Array.from(value),
  ],
  float: (field: number, value: number) => [field * 8 + 5, ...new Uint8Array(Float32Array.of(value).buffer)],
};

describe('SentencePiece files', () => {
  function file({
    modelType = 2,
    characterMap = [] as number[],
    removeExtraSpaces = 0,
    type = (_: number): number | undefined => undefined,
  } = {}) {
    const kind = (id: number) =>
      id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : id === sentencePiece.tokens.length - 1 ? 4 : 1;
    const pieces = sentencePiece.tokens.map((text, id) => [
      ...proto.bytes(1, utf8.encode(text)),
      ...proto.float(2, id < 259 ? 0 : 259 - id),
      ...proto.integer(3, type(id) ?? kind(id)),
    ]);
    const trainer = [...proto.integer(3, modelType), ...proto.integer(35, 1)];
    const normalizer = [
      ...proto.bytes(1, utf8.encode('identity')),
      ...proto.bytes(2, characterMap),
      ...proto.integer(4, removeExtraSpaces),
    ];
    return Uint8Array.from([
      ...pieces.flatMap((piece) => proto.bytes(1, piece)),
      ...proto.bytes(2, trainer),
      ...proto.bytes(3, normalizer),
    ]);
  }
  const source = (bytes: Uint8Array): TokenizerSource => ({ kind: 'sentencepiece', bytes });

  test('encode as the same vocabulary does in GGUF', async () => {
    const tokenizer = await loadTokenizer(source(file()));
    const gguf = await loadTokenizer({ kind: 'gguf', metadata: sentencePieceKeys() });
    for (const text of ['the hello', '  aab\u00e4\n', '', 'xyz lo'])
      assert.deepEqual(tokenizer.encode(text), gguf.encode(text));
    // Behind a token that users define llama.cpp writes a space, and sentencepiece none.
    const [tool, space] = ['<tool>', '\u2581'].map((text) => sentencePiece.tokens.indexOf(text));
    const spaced = gguf.encode('xyz<tool>lo');
    const at = spaced.indexOf(tool) + 1;
    assert.equal(spaced[at], space);
    assert.deepEqual(tokenizer.encode('xyz<tool>lo'), spaced.toSpliced(at, 1));
  });

  test('may ask for extra spaces to go', async () => {
    const tokenizer = await loadTokenizer(source(file({ removeExtraSpaces: 1 })));
    assert.deepEqual(tokenizer.encode('  the   the '), tokenizer.encode('the the'));
  });

  test('of words, or with a damaged table of characters, are refused by name', async () => {
    await refused(source(file({ modelType: 3 })), 'UnsupportedFile', /type 3/);
    await refused(source(file({ characterMap: [1, 2] })), 'InvalidFile', /charsmap/);
    await refused(source(file({ type: (id) => (id === 5 ? 9 : undefined) })), 'InvalidFile', /type 9/);
  });

  test('that are something else are refused', async () => {
    await refused(source(new Uint8Array(0)), 'InvalidFile', /empty/);
    await refused(source(utf8.encode('{"model": 1}')), 'InvalidFile');
    await refused(source(file().slice(0, -2)), 'InvalidFile', /passes the end/);
    await refused(source(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f)), 'InvalidFile', /passes the end/);
    await refused(source(new Uint8Array(20).fill(0xff)), 'InvalidFile', /64 bits/);
  });

  test('damaged in any way are an error or a vocabulary', () =>
    fc.assert(
      fc.asyncProperty(damage(file()), (bytes) => survives(source(bytes))),
      { seed, numRuns: 100 },
    ));
});

describe('Hugging Face folders', () => {
  type Json = Record<string, unknown>;
  const folder = (files: Record<string, unknown>): TokenizerSource => ({
    kind: 'huggingface',
    companions: new Map(
      Object.entries(files).map(([name, content]) => {
        const text = typeof content === 'string' ? content : JSON.stringify(content);
        return [name, memoryBytes(utf8.encode(text), name)] as const;
      }),
    ),
  });
  const added = (content: string, special = true) => ({ id: byteLevel.id(content), content, special });
  const vocab = Object.fromEntries(byteLevel.tokens.slice(0, -4).map((text, id) => [text, id]));
  const bytes = {
    model: { type: 'BPE', vocab, merges: byteLevel.merges },
    added_tokens: [added('<|endoftext|>'), added('<|im_end|>'), added('<tool>', false), added('<|x|>')],
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    decoder: { type: 'ByteLevel' },
  };
  const spaces = {
    model: {
      type: 'BPE',
      byte_fallback: true,
      unk_token: '<unk>',
      vocab: Object.fromEntries(sentencePiece.tokens.slice(0, -1).map((text, id) => [text, id])),
      merges: [
        ['\u2581', 't'],
        ['h', 'e'],
        ['\u2581t', 'he'],
        ['a', 'a'],
        ['aa', 'a'],
        ['l', 'l'],
        ['l', 'o'],
        ['\u2581', '\u2581'],
      ],
    },
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '\u2581' },
        { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
  };
  const texts = ['hello the', '  aab\n\nhello', 'xyz lo 12', '', 'a b  c'];
  /** A normalizer that changes nothing here. */
  const other = { type: 'Replace', pattern: { String: '\u0001\u0001' }, content: '' };

  test('byte-level BPE encodes as the same vocabulary does in GGUF', async () => {
    const tokenizer = await loadTokenizer(folder({ 'tokenizer.json': bytes }));
    const gguf = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
    for (const text of [...texts, 'a<tool>b<|im_end|>']) {
      assert.deepEqual(tokenizer.encode(text), gguf.encode(text), text);
      assert.deepEqual(tokenizer.encode(text, { parseSpecial: true }), gguf.encode(text, { parseSpecial: true }));
    }
  });

  test('SentencePiece BPE encodes as the same vocabulary does in GGUF', async () => {
    const tokenizer = await loadTokenizer(folder({ 'tokenizer.json': spaces }));
    const gguf = await loadTokenizer({ kind: 'gguf', metadata: sentencePieceKeys() });
    for (const text of ['the hello', '  aab\u00e4\n', '']) {
      assert.deepEqual(tokenizer.encode(text), gguf.encode(text), text);
      assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    }
  });

  test('a normalizer more that changes nothing makes the same tokens', async () => {
    for (const [json, name] of [
      [bytes, 'byte-level'],
      [spaces, 'SentencePiece'],
    ] as const) {
      const normalizers = 'normalizer' in json ? [...json.normalizer.normalizers, other] : [other];
      const own = await loadTokenizer(folder({ 'tokenizer.json': json }));
      const longer = await loadTokenizer(
        folder({ 'tokenizer.json': { ...json, normalizer: { type: 'Sequence', normalizers } } }),
      );
      for (const text of [...texts, '<|im_end|></s>']) {
        assert.deepEqual(longer.encode(text), own.encode(text), `${name}: ${text}`);
        assert.equal(longer.decode(longer.encode(text)), own.decode(own.encode(text)));
      }
    }
  });

  test('a Unigram model takes the best sum of scores', async () => {
    const model = {
      type: 'Unigram',
      unk_id: 0,
      vocab: [
        ['<unk>', 0],
        ['\u2581', -3],
        ['\u2581he', -2],
        ['llo', -2],
        ['l', -5],
        ['\u2581hello', -9],
      ],
    };
    const metaspace = { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always' };
    const json = { model, normalizer: null, pre_tokenizer: metaspace, decoder: metaspace, added_tokens: [] };
    const tokenizer = await loadTokenizer(folder({ 'tokenizer.json': json }));
    assert.deepEqual(tokenizer.encode('hello hello'), [2, 3, 2, 3]);
    assert.equal(tokenizer.decode([2, 3, 2, 3]), 'hello hello');
  });

  test('of ways with the same sum a Unigram model takes the one that was found first, as tokenizers does', async () => {
    const vocab = Object.entries({ '<unk>': 0, a: -1, b: -1, ab: -2, c: -3, bc: -4, abc: -6 });
    const json = { model: { type: 'Unigram', unk_id: 0, vocab }, added_tokens: [] };
    const tokenizer = await loadTokenizer(folder({ 'tokenizer.json': json }));
    const ids = ['ab', 'abc', 'bc', 'cab'].map((text) => tokenizer.encode(text));
    assert.deepEqual(ids, [[3], [1, 5], [5], [4, 3]]);
  });

  test('configurations name begin and end', async () => {
    const tokenizer = await loadTokenizer(
      folder({
        'tokenizer.json': bytes,
        'tokenizer_config.json': { bos_token: { content: '<|x|>' }, eos_token: '<|im_end|>', add_bos_token: true },
        'generation_config.json': { eos_token_id: [byteLevel.id('<tool>')] },
      }),
    );
    assert.deepEqual(tokenizer.encode('a'), [byteLevel.id('<|x|>'), byteLevel.id('a')]);
    assert.equal(tokenizer.eos, byteLevel.id('<|im_end|>'));
    assert.ok(tokenizer.endOfGeneration.has(byteLevel.id('<tool>')));
  });

  test('Metaspace puts its space only where none is; at the start alone if it says first', async () => {
    const metaspace = (scheme: string) =>
      loadTokenizer(
        folder({
          'tokenizer.json': {
            ...spaces,
            normalizer: null,
            pre_tokenizer: { type: 'Metaspace', replacement: '\u2581', prepend_scheme: scheme, split: false },
          },
        }),
      );
    const the = sentencePiece.id('\u2581the');
    const [always, first, never] = await Promise.all(['always', 'first', 'never'].map(metaspace));
    assert.deepEqual(always?.encode(' the'), [1, the]);
    assert.deepEqual(always?.encode('the</s>the', { parseSpecial: true }), [1, the, 2, the]);
    const bare = [sentencePiece.id('t'), sentencePiece.id('he')];
    assert.deepEqual(first?.encode('the</s>the', { parseSpecial: true }), [1, the, 2, ...bare]);
    assert.deepEqual(never?.encode('the'), [1, ...bare]);
  });

  test('NFC is applied where the file says so', async () => {
    const tokenizer = await loadTokenizer(folder({ 'tokenizer.json': { ...bytes, normalizer: { type: 'NFC' } } }));
    assert.deepEqual(tokenizer.encode('a\u0308'), [byteLevel.id('Ã¤')]);
  });

  test('vocab.json and merges.txt stand in for a tokenizer.json', async () => {
    const merges = `#version: 0.2\n${byteLevel.merges.join('\n')}\n`;
    const tokenizer = await loadTokenizer(folder({ 'vocab.json': vocab, 'merges.txt': merges }));
    assert.deepEqual(tokenizer.encode('hello the'), [byteLevel.id('hello'), byteLevel.id('Ġthe')]);
  });

  const bad: [what: string, files: Json, code: ErrorCode][] = [
    ['an empty folder', {}, 'FileNotFound'],
    ['no JSON', { 'tokenizer.json': '{' }, 'InvalidFile'],
    ['JSON of another kind', { 'tokenizer.json': '[]' }, 'InvalidFile'],
    ['no model', { 'tokenizer.json': {} }, 'InvalidFile'],
    [
      'a vocabulary that is no object',
      { 'tokenizer.json': { ...bytes, model: { type: 'BPE', vocab: 3 } } },
      'InvalidFile',
    ],
    [
      'an id that is no number',
      { 'tokenizer.json': { ...bytes, model: { ...bytes.model, vocab: { a: 'x' } } } },
      'InvalidFile',
    ],
    [
      'an id out of all bounds',
      { 'tokenizer.json': { ...bytes, model: { ...bytes.model, vocab: { a: 1e9 } } } },
      'InvalidFile',
    ],
    [
      'merges that are no array',
      { 'tokenizer.json': { ...bytes, model: { ...bytes.model, merges: 'a b' } } },
      'InvalidFile',
    ],
    [
      'a merge of three',
      { 'tokenizer.json': { ...bytes, model: { ...bytes.model, merges: [['a', 'b', 'c']] } } },
      'InvalidFile',
    ],
    [
      'a merge of an unknown token',
      { 'tokenizer.json': { ...bytes, model: { ...bytes.model, merges: ['qq a'] } } },
      'InvalidFile',
    ],
    ['an added token without id', { 'tokenizer.json': { ...bytes, added_tokens: [{ content: 'x' }] } }, 'InvalidFile'],
    [
      'a configuration of another kind',
      { 'tokenizer.json': bytes, 'tokenizer_config.json': { bos_token: 3 } },
      'InvalidFile',
    ],
    [
      'a model of an unknown type',
      { 'tokenizer.json': { model: { type: 'Neural', vocab: { a: 0 } } } },
      'UnsupportedFile',
    ],
    [
      'WordPiece without an unknown token',
      { 'tokenizer.json': { model: { type: 'WordPiece', vocab: { a: 0 } } } },
      'InvalidFile',
    ],
    ...['normalizer', 'pre_tokenizer', 'post_processor', 'decoder'].map((part): [string, Json, ErrorCode] => [
      `a ${part} of an unknown type`,
      { 'tokenizer.json': { ...bytes, [part]: { type: 'Strange' } } },
      'UnsupportedFile',
    ]),
  ];
  for (const [what, files, code] of bad) test(`refuses ${what}`, () => refused(folder(files), code));

  test('a tokenizer.json damaged in any way is an error or a vocabulary', () => {
    const file = utf8.encode(JSON.stringify(spaces));
    return fc.assert(
      fc.asyncProperty(damage(file), (damaged) =>
        survives({ kind: 'huggingface', companions: new Map([['tokenizer.json', memoryBytes(damaged)]]) }),
      ),
      { seed, numRuns: 100 },
    );
  });
});
