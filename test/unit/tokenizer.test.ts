import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { MergeList, PairTable } from '../../src/tokenizer/merge.ts';
import { cutByPatterns, preTokenizer } from '../../src/tokenizer/pre-tokenizers.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { makeVocabulary } from '../../src/tokenizer/vocabulary.ts';
import { processorTime } from './processor-time.ts';
import { byteLevel, byteLevelKeys, sentencePiece, sentencePieceKeys } from './small-vocabularies.ts';

const seed = 20240726;

/** 64 times the text takes 64 times as long or some more, not 4,096 times. */
function linear(encode: (text: string) => unknown): void {
  const time = (length: number) => {
    const text = 'a'.repeat(length);
    const start = processorTime();
    encode(text);
    return processorTime() - start;
  };
  time(1 << 16);
  const short = Math.min(...Array.from({ length: 5 }, () => time(1 << 14)));
  assert.ok(time(1 << 20) < 800 * short);
}

describe('merging', () => {
  /** The definition: again and again, the leftmost pair of the lowest rank. */
  function naive(symbols: number[], pairs: PairTable): number[] {
    const left = [...symbols];
    for (;;) {
      let best = -1;
      let bestRank = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < left.length; i++) {
        const slot = pairs.find(left[i] ?? -1, left[i + 1] ?? -1);
        if (slot >= 0 && pairs.rank(slot) < bestRank) [best, bestRank] = [i, pairs.rank(slot)];
      }
      if (best < 0) return left;
      left.splice(best, 2, pairs.merged(pairs.find(left[best] ?? -1, left[best + 1] ?? -1)));
    }
  }

  function merged(list: MergeList, symbols: number[], pairs: PairTable): number[] {
    list.reserve(symbols.length).set(symbols);
    list.merge(symbols.length, pairs);
    const out: number[] = [];
    for (let at = 0; at < symbols.length; at = list.after(at)) out.push(list.symbols[at] ?? -1);
    return out;
  }

  test('equals the definition, whatever the pairs and the ranks', () => {
    const symbol = fc.integer({ min: -1, max: 6 });
    const pair = fc.tuple(symbol, symbol, fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 6 }));
    const list = new MergeList();
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 20 }), fc.array(symbol, { maxLength: 60 }), (rows, symbols) => {
        const pairs = new PairTable();
        for (const [left, right, rank, result] of rows)
          if (left >= 0 && right >= 0) pairs.add(left, right, rank, result);
        assert.deepEqual(merged(list, symbols, pairs), naive(symbols, pairs));
      }),
      { seed, numRuns: 300 },
    );
  });

  test('takes time linear in a text that is one piece', async () => {
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
    linear((text) => tokenizer.encode(text));
  });
});

describe('pre-tokenizers', () => {
  const cut = (name: string, text: string) => {
    const pieces: string[] = [];
    cutByPatterns(preTokenizer(name).patterns)(text, true, (piece) => pieces.push(piece));
    return pieces;
  };

  test('GPT-2', () => {
    assert.deepEqual(cut('gpt-2', "I've  done\n\n it'S 1234!"), [
      'I',
      "'ve",
      ' ',
      ' done',
      '\n\n',
      ' it',
      "'",
      'S',
      ' 1234',
      '!',
    ]);
  });
  test('Llama 3 takes three digits at most, contractions in any case, and newlines with punctuation', () => {
    assert.deepEqual(cut('llama-bpe', "it'S 1234567!\n\n  x"), [
      'it',
      "'S",
      ' ',
      '123',
      '456',
      '7',
      '!\n\n',
      ' ',
      ' x',
    ]);
  });
  test('Qwen2 takes digits one by one', () => {
    assert.deepEqual(cut('qwen2', 'a 123'), ['a', ' ', '1', '2', '3']);
  });
  test('the default takes punctuation first and digits by three', () => {
    assert.deepEqual(cut('default', 'a 12345!b'), ['a', ' ', '123', '45', '!', 'b']);
  });
  test('white space is what Unicode says, not JavaScript', () => {
    assert.deepEqual(cut('gpt-2', 'a\u0085\u0085b'), ['a', '\u0085', '\u0085', 'b']);
    assert.deepEqual(cut('gpt-2', 'a\ufeff.b'), ['a', '\ufeff.', 'b']);
  });
  test('the long s is an s where case does not matter', () => {
    assert.deepEqual(cut('qwen2', "x'\u017fy"), ['x', "'\u017f", 'y']);
  });
  test('pieces joined are the text', () => {
    for (const name of ['gpt-2', 'llama-bpe', 'qwen2', 'default', 'starcoder']) {
      fc.assert(
        fc.property(fc.string({ unit: 'binary', maxLength: 50 }), (text) => cut(name, text).join('') === text),
        { seed, numRuns: 200 },
      );
    }
  });
  test('an unknown name is refused with those that are known', () => {
    assert.throws(() => preTokenizer('no-such'), { code: 'UnsupportedFile', hint: /llama-bpe.*qwen2/ });
  });
});

describe('byte-level BPE', () => {
  let tokenizer: Tokenizer;
  const { id } = byteLevel;
  before(async () => {
    tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
  });

  test('merges by rank', () => {
    assert.deepEqual(tokenizer.encode('hello the'), [id('hello'), id('Ġthe')]);
    assert.deepEqual(tokenizer.encode('aaaaa'), [id('aaaa'), id('a')]);
    assert.deepEqual(tokenizer.encode(''), []);
  });

  test('decoding gives the text again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => {
        const ids = tokenizer.encode(text);
        assert.equal(tokenizer.decode(ids), text);
        assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
      }),
      { seed, numRuns: 300 },
    );
  });

  test('a lone surrogate becomes U+FFFD', () => {
    assert.equal(tokenizer.decode(tokenizer.encode('a\ud800b')), 'a\ufffdb');
  });

  test('adds what the model says, and what the caller says', async () => {
    const end = id('<|endoftext|>');
    const adding = await loadTokenizer({
      kind: 'gguf',
      metadata: byteLevelKeys({ add_bos_token: true, add_eos_token: true }),
    });
    assert.deepEqual(adding.encode('a'), [end, id('a'), end]);
    assert.deepEqual(adding.encode('a', { addSpecial: false }), [id('a')]);
    assert.deepEqual(tokenizer.encode('a'), [id('a')]);
    assert.deepEqual(tokenizer.encode('a', { addSpecial: true }), [end, id('a')]);
  });

  test('the pre-tokenizer of Llama 3 brings its begin of text along', async () => {
    const llama3 = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys({ pre: 'llama-bpe' }) });
    assert.equal(llama3.encode('a')[0], llama3.bos);
    const qwen2 = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys({ pre: 'qwen2' }) });
    assert.deepEqual(qwen2.encode('a'), [id('a')]);
  });

  test('a piece that is a token as it stands is taken whole by Llama 3 alone', async () => {
    const tokens = [...byteLevel.tokens];
    tokens[id('Ã¤')] = 'he\u0120'; // out of the way
    tokens.push('zebra');
    const metadata = { tokens, merges: ['h e'], token_type: new Int32Array(tokens.length).fill(1) };
    const llama3 = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys({ ...metadata, pre: 'llama-bpe' }) });
    assert.deepEqual(llama3.encode('zebra', { addSpecial: false }), [tokens.length - 1]);
    const gpt2 = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys(metadata) });
    assert.equal(gpt2.encode('zebra').length, 5);
  });

  test('ends of turns that every chat model has are known without being named', () => {
    assert.deepEqual([...tokenizer.endOfGeneration].sort(), [id('<|endoftext|>'), id('<|im_end|>')].sort());
  });

  test("the end of a message is the end of the answer, but not in gpt-oss's format, whose answers have several", () => {
    const ends = (...texts: string[]) =>
      [...makeVocabulary({ texts, kinds: texts.map(() => 'normal') }).endOfGeneration].map((end) => texts[end]);
    assert.deepEqual(ends('a', '<|end|>', '<|user|>'), ['<|end|>']);
    assert.deepEqual(ends('<|end|>', '<|return|>', 'a', '<|call|>'), ['<|return|>', '<|call|>']);
  });

  test('more pieces than the cache holds change nothing', () => {
    const text = Array.from({ length: 70_000 }, (_, i) => ` x${i.toString(36)}`).join('');
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    assert.deepEqual(tokenizer.encode('hello the'), [id('hello'), id('Ġthe')]);
  });
});

describe('SentencePiece BPE', () => {
  let tokenizer: Tokenizer;
  const { id } = sentencePiece;
  before(async () => {
    tokenizer = await loadTokenizer({ kind: 'gguf', metadata: sentencePieceKeys() });
  });
  const encode = (text: string) => tokenizer.encode(text, { addSpecial: false });

  test('merges by score behind a space of its own, bytes for what it lacks', () => {
    assert.deepEqual(tokenizer.encode('the'), [1, id('\u2581the')]);
    assert.deepEqual(encode('the the'), [id('\u2581the'), id('\u2581the')]);
    assert.deepEqual(encode('\u00e4'), [id('\u2581'), id('<0xC3>'), id('<0xA4>')]);
    assert.deepEqual(encode(''), []);
  });

  test('equals merging the text as a whole', () => {
    const symbols = new Map(sentencePiece.tokens.map((text, index) => [text, index]));
    const naive = (text: string) => {
      const parts = Array.from(` ${text}`.replaceAll(' ', '\u2581'));
      for (;;) {
        let best = -1;
        let bestId = Number.POSITIVE_INFINITY;
        for (let i = 0; i + 1 < parts.length; i++) {
          const found = symbols.get(`${parts[i]}${parts[i + 1]}`);
          if (found !== undefined && found < bestId) [best, bestId] = [i, found];
        }
        if (best < 0) break;
        parts.splice(best, 2, `${parts[best]}${parts[best + 1]}`);
      }
      return parts.flatMap(
        (part) => symbols.get(part) ?? Array.from(new TextEncoder().encode(part), (byte) => byte + 3),
      );
    };
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...' theablo xyz\u00e4\u2581🦙'), { minLength: 1, maxLength: 40 }),
        (letters) => {
          const text = letters.join('');
          assert.deepEqual(encode(text), naive(text), text);
        },
      ),
      { seed, numRuns: 500 },
    );
  });

  test('decoding gives the text again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        assert.equal(tokenizer.decode(tokenizer.encode(text)), text.replaceAll('\u2581', ' '));
      }),
      { seed, numRuns: 300 },
    );
  });

  test('without byte tokens, a run of unknown characters is one unknown token', async () => {
    const tokens = ['<unk>', '<s>', '</s>', '\u2581', 'a'];
    const metadata = sentencePieceKeys({
      tokens,
      scores: new Float32Array(5),
      token_type: Int32Array.of(2, 3, 3, 1, 1),
    });
    const small = await loadTokenizer({ kind: 'gguf', metadata });
    assert.deepEqual(small.encode('axyza', { addSpecial: false }), [3, 4, 0, 4]);
  });

  test('the space in front is for the asking', async () => {
    const bare = await loadTokenizer({ kind: 'gguf', metadata: sentencePieceKeys({ add_space_prefix: false }) });
    assert.deepEqual(bare.encode('he', { addSpecial: false }), [id('he')]);
    assert.equal(bare.decode([id('\u2581the')]), ' the');
  });

  test('takes time linear in a text without seams', () => {
    linear((text) => encode(text));
  });
});

describe('special tokens', () => {
  const { id } = byteLevel;

  test('stay text in a text unless asked for', async () => {
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
    const text = 'hello<|im_end|> the';
    const plain = tokenizer.encode(text);
    assert.ok(!plain.includes(id('<|im_end|>')));
    assert.equal(tokenizer.decode(plain), text);
    const special = tokenizer.encode(text, { parseSpecial: true });
    assert.deepEqual(special, [id('hello'), id('<|im_end|>'), id('Ġthe')]);
    assert.equal(tokenizer.decode(special), 'hello the');
    assert.equal(tokenizer.decode(special, { special: true }), text);
    assert.equal(tokenizer.tokenBytes(id('<|im_end|>')).length, 0);
    assert.equal(tokenizer.tokenText(id('<|im_end|>')), '<|im_end|>');
  });

  test('no text at all makes a control token by itself', async () => {
    for (const metadata of [byteLevelKeys(), sentencePieceKeys()]) {
      const tokenizer = await loadTokenizer({ kind: 'gguf', metadata });
      const types = metadata.get('tokenizer.ggml.token_type');
      assert.ok(types instanceof Int32Array);
      const pieces = ['<|im_end|>', '<|endoftext|>', '<s>', '</s>', '<unk>', '<|', '|>', ' ', 'hello', '<0x0A>'];
      fc.assert(
        fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 8 }), (parts) => {
          for (const token of tokenizer.encode(parts.join(''), { addSpecial: false })) {
            assert.ok(types[token] !== 3 && types[token] !== 2, parts.join(''));
          }
        }),
        { seed, numRuns: 200 },
      );
    }
  });

  test('user-defined tokens are always found; the longest of two that begin alike', async () => {
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
    assert.deepEqual(tokenizer.encode('a<tool>a'), [id('a'), id('<tool>'), id('a')]);
    assert.equal(tokenizer.decode([id('<tool>')]), '<tool>');
    const tokens = [...byteLevel.tokens, '<tool>s'];
    const types = Int32Array.from(tokens, (text) => (text.startsWith('<tool>') ? 4 : 1));
    const longer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys({ tokens, token_type: types }) });
    assert.deepEqual(longer.encode('<tool>s<tool>'), [tokens.length - 1, id('<tool>')]);
  });

  test('SentencePiece starts anew after one', async () => {
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: sentencePieceKeys() });
    const ids = tokenizer.encode('the</s>the', { parseSpecial: true });
    assert.deepEqual(ids, [1, sentencePiece.id('\u2581the'), 2, sentencePiece.id('\u2581the')]);
  });
});

describe('streaming', () => {
  for (const [name, metadata] of [
    ['byte-level', byteLevelKeys()],
    ['SentencePiece', sentencePieceKeys()],
  ] as const) {
    test(`${name}: pushes joined are the decoded text, whatever the ids, and no push ends inside a character`, async () => {
      const tokenizer = await loadTokenizer({ kind: 'gguf', metadata });
      const id = fc.integer({ min: 0, max: tokenizer.vocabularySize - 1 });
      fc.assert(
        fc.property(fc.array(id, { maxLength: 60 }), (ids) => {
          const stream = tokenizer.stream();
          const text = ids.map((token) => stream.push(token)).join('') + stream.end();
          assert.equal(text, tokenizer.decode(ids));
        }),
        { seed, numRuns: 300 },
      );
      fc.assert(
        fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
          const stream = tokenizer.stream();
          for (const token of tokenizer.encode(text)) {
            const pushed = stream.push(token);
            if (!text.includes('\ufffd')) assert.ok(!pushed.includes('\ufffd'));
          }
          assert.equal(stream.end(), '');
        }),
        { seed, numRuns: 300 },
      );
    });
  }

  test('an emoji comes out whole, and half of one as U+FFFD at the end', async () => {
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
    const ids = tokenizer.encode('🦙');
    assert.equal(ids.length, 4);
    const stream = tokenizer.stream();
    assert.deepEqual(
      ids.map((id) => stream.push(id)),
      ['', '', '', '🦙'],
    );
    const half = tokenizer.stream();
    for (const id of ids.slice(0, 2)) assert.equal(half.push(id), '');
    assert.equal(half.end(), '\ufffd');
  });

  test('a byte order mark is a character', async () => {
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
    const ids = tokenizer.encode('\ufeffa');
    const stream = tokenizer.stream();
    assert.equal(tokenizer.decode(ids), '\ufeffa');
    assert.equal(ids.map((id) => stream.push(id)).join(''), '\ufeffa');
  });

  test('a continuation keeps the space that the start of a text drops', async () => {
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: sentencePieceKeys() });
    const the = sentencePiece.id('\u2581the');
    assert.equal(tokenizer.stream().push(the), 'the');
    assert.equal(tokenizer.stream({ continuation: true }).push(the), ' the');
    const stream = tokenizer.stream();
    assert.deepEqual([stream.push(1), stream.push(the), stream.push(the)], ['', 'the', ' the']);
  });
});
