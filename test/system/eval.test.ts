/** `ingot eval` as it is started: real processes on the bundled model. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { repositoryPath } from '../fixtures.ts';

const main = repositoryPath('dist', 'src', 'cli', 'main.js');
const bundled = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
const folder = mkdtempSync(join(tmpdir(), 'ingot-eval-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function evaluate(
  ...args: readonly string[]
): Promise<{ readonly code: unknown; readonly out: string; readonly err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, 'eval', ...args], { cwd: folder }, (error, out, err) => {
      resolve({ code: error?.code ?? 0, out, err });
    });
  });
}

const story =
  'Once upon a time there was a brave fox named Oscar, who lived in a wide sunny meadow. He loved to play with his friend. ';
writeFileSync(join(folder, 'text.txt'), story.repeat(8));
writeFileSync(join(folder, 'short.txt'), 'Too short.');

test('the perplexity of a text, by both rules, for people and for programs', async () => {
  const halves = JSON.parse((await evaluate('--text', 'text.txt', '-c', '64', '--json')).out);
  assert.equal(halves.kind, 'perplexity');
  assert.deepEqual([halves.context, halves.stride, halves.tokens], [64, null, 31 * halves.windows]);
  assert.ok(halves.perplexity > 1 && halves.perplexity < 50 && halves.error > 0, JSON.stringify(halves));
  assert.ok(Math.abs(Math.exp(halves.nll) - halves.perplexity) < 1e-9);
  const strided = JSON.parse((await evaluate('--text', 'text.txt', '-c', '64', '--stride', '16', '--json')).out);
  assert.ok(strided.tokens > 200 && strided.stride === 16);
  const { out } = await evaluate(bundled, '--text', 'text.txt', '-c', '64');
  assert.match(out, new RegExp(`^Perplexity ${halves.perplexity.toFixed(4)} \\+/- .* windows of 64\\)\n$`));
});

test('the same model is no way off; tokens of another vocabulary are refused', async () => {
  const same = JSON.parse((await evaluate('--text', 'text.txt', '-c', '64', '--against', bundled, '--json')).out);
  assert.deepEqual([same.kind, same.meanKl, same.sameTop], ['divergence', 0, 1]);
  assert.equal(same.perplexity, same.referencePerplexity);
});

test('exact match: white space around an answer does not count, and one line is one answer', async () => {
  const lines = [
    { prompt: 'Once upon a', answer: ' time' },
    { prompt: 'Once upon a', answer: 'table' },
  ];
  writeFileSync(join(folder, 'questions.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n\n`).join(''));
  const asked = JSON.parse((await evaluate('--questions', 'questions.jsonl', '--json')).out);
  assert.equal(asked.questions, 2);
  for (const { answer, expected, match } of asked.answers) assert.equal(match, answer === expected);
  assert.ok(asked.answers[0].answer.startsWith('time'), 'the rest of the line is part of the answer');
  const whole = { prompt: 'Once upon a', answer: asked.answers[0].answer };
  writeFileSync(join(folder, 'whole.jsonl'), JSON.stringify(whole));
  const { code, out } = await evaluate('--questions', 'whole.jsonl');
  assert.deepEqual([code, out.trim().startsWith('Exact match')], [0, true]);
});

const mistakes: readonly (readonly [what: string, args: readonly string[], code: number, says: RegExp])[] = [
  ['nothing to measure', [], 2, /--text or --questions/],
  ['two things to measure', ['--text', 'text.txt', '--questions', 'questions.jsonl'], 2, /--text or --questions/],
  ['a stride without a text', ['--questions', 'q.jsonl', '--stride', '4'], 2, /for a --text/],
  ['a stride that leaves gaps', ['--text', 'text.txt', '-c', '64', '--stride', '64'], 2, /gaps/],
  ['a text that is too short', ['--text', 'short.txt'], 1, /at least 1024 are needed/],
  ['a text that is not there', ['--text', 'gone.txt'], 1, /FileNotFound/],
  ['questions that are none', ['--questions', 'text.txt'], 1, /InvalidFile.*line 1/],
];
for (const [what, args, code, says] of mistakes) {
  test(`${what} is told in a few lines`, async () => {
    const ended = await evaluate(...args);
    assert.equal(ended.code, code, ended.err);
    assert.match(ended.err, says);
    assert.equal(ended.out, '');
  });
}
