/** Patterns of files: what they find, how long that takes whatever they are, and what is refused. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { LinearPattern } from '../../src/tokenizer/linear-pattern.ts';
import { finder, knownPatterns } from '../../src/tokenizer/patterns.ts';
import { preTokenizer } from '../../src/tokenizer/pre-tokenizers.ts';
import { ingot } from './formats-support.ts';
import { processorTime } from './processor-time.ts';

const pieces = (pattern: string, text: string) => {
  const found = new LinearPattern(pattern).find(text);
  return found.flatMap((start, i) => (i % 2 === 0 ? [text.slice(start, found[i + 1])] : []));
};

describe('the linear matcher', () => {
  const cases: [pattern: string, text: string, expected: string[]][] = [
    ['a|ab', 'abab', ['a', 'a']],
    ['(?:a|ab)(?:c|bcd)', 'abcd', ['abcd']],
    ['a{2,3}', 'aaaaaaa', ['aaa', 'aaa']],
    ['a{2,3}?', 'aaaaa', ['aa', 'aa']],
    ['a{,2}b', 'aaab', ['aab']],
    ['a+?b', 'aab', ['aab']],
    ['a{x', 'a{x', ['a{x']],
    ['(?i:StraSSe)', 'strasse STRASSE', ['strasse', 'STRASSE']],
    ["(?i)'s|x", "'S '\u017f X", ["'S", "'\u017f", 'X']],
    ['(?i:a(?-i)b|c)', 'AB Ab AC Ac c', ['Ab', 'Ac']],
    ['[^\\s\\p{L}]+', 'a1 ,;b', ['1', ',;']],
    ['[a-f&&[^bc]]+', 'abcdef', ['a', 'def']],
    ['[[:upper:]\\d-]+', 'A1-b', ['A1-']],
    ['[]a]+', 'a]b', ['a]']],
    ['\\p{^L}|\\P{L}', 'a1', ['1']],
    ['\\p{Han}+', '\u4f60\u597da', ['\u4f60\u597d']],
    ['.+', 'a\nb', ['a', 'b']],
    ['(?m:.+)', 'a\nb', ['a\nb']],
    ['^a|b$', 'ab\nab', ['a', 'b', 'a', 'b']],
    ['\\Aa|b\\z', 'ab\nab', ['a', 'b']],
    ['\\bx', 'x ax x', ['x', 'x']],
    ['(?<=a)b|(?<!a|b)c', 'abcc', ['b', 'c']],
    ['a(?=b)|c(?!b)', 'abacbc', ['a', 'c']],
    ['a++b|a', 'aab', ['aab']],
    ['a++ab|b', 'aab', ['b']],
    ['(?>a|ab)c', 'abc ac', ['ac']],
    ['\\x41\\u0042\\x{1F600}\\t', 'AB\u{1f600}\t', ['AB\u{1f600}\t']],
    ['\\R', 'a\r\nb\n', ['\r\n', '\n']],
    ['(?#comment)a(?x: b # c\n)', 'ab', ['ab']],
    ['(?<name>a)b', 'ab', ['ab']],
    ['a*', 'baac', ['', 'aa', '']],
  ];
  for (const [pattern, text, expected] of cases) {
    test(JSON.stringify(pattern), () => assert.deepEqual(pieces(pattern, text), expected));
  }

  test('finds what JavaScript finds, of patterns that both know', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '[ab]',
      '[^a]',
      '.',
      '\\b',
      'a?',
      'b*',
      'a+',
      'b+?',
      'c{1,2}',
      '(?=b)',
      '(?!a)',
    );
    const pattern = fc.letrec<{ node: string }>((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        atom,
        fc.array(tie('node'), { minLength: 1, maxLength: 3 }).map((all) => all.join('')),
        fc.tuple(tie('node'), tie('node')).map(([left, right]) => `(?:${left}|${right})`),
        tie('node').map((node) => `(?:${node})+`),
      ),
    })).node;
    const text = fc.array(fc.constantFrom('a', 'b', 'c', ' '), { maxLength: 12 }).map((all) => all.join(''));
    const check = (source: string, input: string) => {
      // Where loops of nothing are, the two differ by design.
      const first = new RegExp(source, 'gu').exec(input);
      fc.pre(first !== null && first[0] !== '' && !/[*?)]\)\+/.test(source));
      const [start, end] = new LinearPattern(source).find(input);
      assert.deepEqual([start, end], [first.index, first.index + first[0].length], source);
    };
    fc.assert(fc.property(pattern, text, check), { seed: 4, numRuns: 2000 });
  });

  const hostile = [
    '(a+)+b',
    '(a|a)*b',
    '(?:a*)*c',
    '\\s+$',
    '(.*)(.*)(.*)x',
    '(?>(a|b)+)c',
    'a++b',
    '(?=(a+)+b)',
    '(?:(?=a+b)a)+',
  ];
  for (const pattern of hostile) {
    test(`${pattern} takes time linear in the text`, () => {
      for (const text of ['a'.repeat(1 << 17), `${' '.repeat(1 << 17)}x`]) {
        const begin = processorTime();
        new LinearPattern(pattern).find(text);
        assert.ok(processorTime() - begin < 8000);
      }
    });
  }

  test('what no text decides alone, or what is malformed, is refused', () => {
    for (const pattern of [
      '(a)\\1',
      '\\k<a>',
      '\\g<1>',
      '\\X',
      '(?(1)a|b)',
      '(?<=a+)b',
      'a{5000}',
      '(?~a)',
      '\\p{Nothing}',
    ]) {
      assert.throws(() => new LinearPattern(pattern), ingot('UnsupportedFile', /./), pattern);
    }
    for (const pattern of ['(', 'a)', '[a', '*a', '[b-a]', 'a{3,2}', '\\', '\\x{110000}', '(?<', '('.repeat(50)]) {
      assert.throws(() => new LinearPattern(pattern), isIngotError, pattern);
    }
    assert.throws(() => new LinearPattern('('.repeat(200)), ingot('UnsupportedFile', /nested/));
    assert.throws(() => new LinearPattern('a'.repeat(100_000)), ingot('UnsupportedFile', /100000/));
  });

  test('patterns out of noise end in an error or a matcher that ends', () => {
    const noise = fc
      .array(fc.constantFrom(...'ab\\()[]{}|*+?^$.-,&:!<=>12pLs'), { maxLength: 24 })
      .map((all) => all.join(''));
    const check = (source: string) => {
      try {
        new LinearPattern(source).find('ab 12 aab\n');
      } catch (error) {
        assert.ok(isIngotError(error), String(error));
      }
    };
    fc.assert(fc.property(noise, check), { seed: 4, numRuns: 5000 });
  });
});

const names = [
  'default gpt-2 llama-bpe dbrx qwen2 qwen35 ufakzeka laguna minicpm5 starcoder falcon deepseek-llm deepseek-coder deepseek-v3',
  'spark2_5 youtu bloom viking tekken gpt-4o tiny_aya chameleon kimi-k2 superbpe bailingmoe seed-coder afmoe exaone-moe jais-2 gemma4',
].flatMap((line) => line.split(' '));

test('the patterns of well-known models find in JavaScript what they find in the linear matcher', () => {
  const letters = [
    ...'aZ\u017fßéÉ中の한ﬁǅ1२½ \t\n\r\u0085\u00a0\u3000\ufeff.,!\'"/$-(|_`~',
    "'s",
    "'LL",
    '\u0301',
    '\u{1f600}',
    '\u200d',
  ];
  const text = fc.array(fc.constantFrom(...letters), { maxLength: 30 }).map((all) => all.join(''));
  for (const [name, source] of Object.entries(knownPatterns)) {
    const linear = new LinearPattern(source);
    const known = finder(source);
    fc.assert(
      fc.property(text, (input) => assert.deepEqual(known(input), linear.find(input), name)),
      { seed: 4, numRuns: 200 },
    );
  }
});

test('every pattern of the table takes time linear in the text', () => {
  const patterns = new Set(names.flatMap((name) => preTokenizer(name).patterns));
  assert.ok(patterns.size > 35);
  const size = 1 << 16;
  const texts = ['a', 'A', ' ', '\n', '1', '!', '\u4e2d', '\u0301', '\u{1f600}', ' \t', "'s", 'aA1 '];
  for (const pattern of patterns) {
    const find = finder(pattern);
    for (const text of texts) {
      const begin = processorTime();
      find(`${text.repeat(size / text.length)}x`);
      assert.ok(processorTime() - begin < 4000, `${pattern} on ${JSON.stringify(text)}`);
    }
  }
});

test('numbers in groups of three from the right, as the names ask', () => {
  const cut = (name: string, text: string) => {
    const found = finder(preTokenizer(name).patterns[0] ?? '')(text);
    return found.flatMap((start, i) => (i % 2 === 0 ? [text.slice(start, found[i + 1])] : []));
  };
  assert.deepEqual(cut('tiny_aya', '12345678 1'), ['12', '345', '678', '1']);
  assert.deepEqual(cut('afmoe', '1234 56'), ['1', '234', '56']);
  assert.deepEqual(finder(preTokenizer('superbpe').patterns[1] ?? '')('12345678'), [2, 2, 5, 5]);
  assert.deepEqual(cut('kimi-k2', '中文ab'), ['中文', 'ab']);
});
