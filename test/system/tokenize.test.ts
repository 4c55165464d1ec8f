/** `ingot tokenize` as a person meets it: text through standard input, and back. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { repositoryPath } from '../fixtures.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');
const bundled = repositoryPath('models', 'tales', 'tales-q8_0.gguf');

function tokenize(input: string | Uint8Array, ...options: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'tokenize', ...options], {
    input,
    maxBuffer: 1 << 26,
  });
  return { code: status, out: stdout.toString(), err: stderr.toString() };
}

test('text becomes ids and tokens, and what it prints becomes the text again', () => {
  const text = 'Once upon a time, a \u{1f98a} said:\n"h\u00e9llo".';
  const encoded = tokenize(text, '--no-special', '--json');
  const { ids, tokens } = JSON.parse(encoded.out);
  assert.equal(ids.length, tokens.length);
  assert.equal(tokens[0], 'Once');
  assert.equal(tokenize(encoded.out, '--decode').out, text);
  assert.equal(tokenize(ids.join('\n'), '--decode').out, text);
  assert.deepEqual(JSON.parse(tokenize(JSON.stringify(ids), '--decode', '--json').out), { text });
  assert.deepEqual(JSON.parse(tokenize(text, '--no-special', '--json', '--model', bundled).out).ids, ids);
});

test('special tokens count, unless they shall not', () => {
  const text = 'A<|begin|>b';
  const special = JSON.parse(tokenize(text, '--json').out);
  assert.deepEqual(special.tokens, ['<|begin|>', 'A', '<|begin|>', 'b']);
  const plain = JSON.parse(tokenize(text, '--json', '--no-special').out);
  assert.ok(!plain.tokens.includes('<|begin|>'));
  assert.equal(tokenize(JSON.stringify(special), '--decode').out, `<|begin|>${text}`);
  assert.equal(tokenize(JSON.stringify(special), '--decode', '--no-special').out, 'Ab');
});

test('for people, a line for each token', () => {
  assert.match(tokenize('Once upon').out, /^ +\d+ {2}"<\|begin\|>"\n +\d+ {2}"Once"\n +\d+ {2}"\u0120upon"\n$/);
  assert.equal(tokenize('', '--no-special').out, '');
});

test('bytes that are no UTF-8 count as U+FFFD, and that is said', () => {
  const { code, out, err } = tokenize(Uint8Array.of(0x61, 0xff, 0x62), '--json', '--no-special');
  assert.equal(code, 0);
  assert.match(err, /U\+FFFD/);
  assert.deepEqual(JSON.parse(out), JSON.parse(tokenize('a\ufffdb', '--json', '--no-special').out));
});

test('what holds no ids, or ids that there are not, is refused', () => {
  for (const input of ['one two', '[1, "a"]', '{"tokens": 3}', '[1', '1.5']) {
    const { code, err } = tokenize(input, '--decode');
    assert.equal(code, 2, input);
    assert.match(err, /no token ids/);
  }
  const outside = tokenize('99999999', '--decode');
  assert.equal(outside.code, 1);
  assert.match(outside.err, /outside the vocabulary.*\nIt is of another tokenizer/);
});

test('a megabyte passes', () => {
  const { code, out } = tokenize('The fox. '.repeat(120_000), '--json');
  assert.equal(code, 0);
  assert.ok(JSON.parse(out).ids.length > 240_000);
});
