/** `ingot chat` as a person and a script meet it: real processes, pipes and a pseudo-terminal, the bundled model. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { dataPath, repositoryPath, skipWithoutData } from '../fixtures.ts';
import { writeTemplateModel } from './template-model.ts';

const main = repositoryPath('dist', 'src', 'cli', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'ingot-chat-'));
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});
const greedy = ['--temperature', '0', '-n', '24'];
/** An answer that takes the interpreter many seconds: whoever interrupts it may be late. */
const long = ['--temperature', '0', '-n', '400', '--device', 'reference'];

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Collects what a process says. `said(text)` waits until its output holds the text after what was waited for before. */
function watch(child: ChildProcess) {
  children.push(child);
  let [out, err, seen] = ['', '', 0];
  let wake: () => void = () => {};
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    wake();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text;
    wake();
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, out, err });
      wake();
    });
  });
  const said = async (text: string, where: 'out' | 'err' = 'out') => {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const all = where === 'out' ? out : err;
      const at = all.indexOf(text, where === 'out' ? seen : 0);
      if (at >= 0) {
        if (where === 'out') seen = at + text.length;
        return;
      }
      assert.ok(performance.now() < deadline && child.exitCode === null, `no "${text}" in ${JSON.stringify(all)}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 200);
      });
    }
  };
  return { ended, said };
}

/** A chat with all its input at once. */
function chat(lines: readonly string[], args: readonly string[] = greedy): Promise<Ended> {
  const child = spawn(process.execPath, [main, 'chat', ...args], { cwd: folder });
  const { ended } = watch(child);
  child.stdin.end(lines.map((line) => `${line}\n`).join(''));
  return ended;
}

test('a pipe brings a message a line; answers alone are on standard output; the turns before are known', async () => {
  const question = 'Tell me a story about a brave fox who lived in a green forest and liked to sing.';
  const { code, out, err } = await chat([question, '', '/stats', 'Another one, please.', '/stats']);
  assert.equal(code, 0, err);
  assert.equal(out.match(/Once upon a time/g)?.length, 2, out);
  const stats = [...err.matchAll(/(\d+) messages, .*last answer: (\d+) tokens \((\d+) reused\) \+ 24/g)];
  assert.deepEqual(
    stats.map(([, messages]) => messages),
    ['2', '4'],
    err,
  );
  const [first, second] = stats.map(([, , tokens, reused]) => ({ tokens: Number(tokens), reused: Number(reused) }));
  assert.equal(first.reused, 0);
  assert.ok(second.tokens > first.tokens + 24, 'the second question comes after the first turn');
  // Whole blocks of 16; the last token of the answer was sampled and never read.
  assert.ok(second.reused > first.tokens + 23 - 16, 'which is not computed again');
});

test('messages of several lines, and messages that look like commands', async () => {
  const lines = ['Tell me a story \\', 'about a kite.', '"""', '/help is no', 'command here', '"""', '/save many.json'];
  const { code, err } = await chat(lines);
  assert.equal(code, 0, err);
  const { messages } = JSON.parse(readFileSync(join(folder, 'many.json'), 'utf8'));
  assert.deepEqual(
    messages.filter(({ role }: { role: string }) => role === 'user').map(({ content }: { content: string }) => content),
    ['Tell me a story \nabout a kite.', '/help is no\ncommand here'],
  );
});

test('what is saved can be loaded and goes on alike', async () => {
  const first = 'Tell me a story about a girl named Lily.';
  const saved = await chat(['/system Be kind.', first, '/save kept.json', 'And then?']);
  assert.equal(saved.code, 0, saved.err);
  const { messages } = JSON.parse(readFileSync(join(folder, 'kept.json'), 'utf8'));
  assert.deepEqual([messages.length, messages[0]], [3, { role: 'system', content: 'Be kind.' }]);
  const loaded = await chat(['/load kept.json', 'And then?', '/save kept.json', '/reset', '/stats']);
  assert.equal(loaded.code, 0, loaded.err);
  assert.ok(saved.out.endsWith(loaded.out) && loaded.out.length > 10, loaded.out);
  assert.match(loaded.err, /^0 messages/m);
  assert.equal(
    JSON.parse(readFileSync(join(folder, 'kept.json'), 'utf8')).messages.length,
    5,
    'its own file is replaced',
  );
  const other = await chat(['/save kept.json']);
  assert.equal(other.code, 1);
  assert.match(other.err, /FileExists/, "and nobody else's");
});

test('thoughts are no part of the answer: they go to standard error, and into what is saved apart', async () => {
  // A model that never stops to think: its template begins thoughts, and it knows no end of them.
  const model = join(folder, 'thinks.gguf');
  const template =
    '{% for m in messages %}{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}\n{% endfor %}<think>\n';
  await writeTemplateModel(model, template);
  const { code, out, err } = await chat(['Tell me a story.', '/save thought.json', '/stats'], [model, ...greedy]);
  assert.equal(code, 0, err);
  assert.equal(out, '\n');
  const { messages } = JSON.parse(readFileSync(join(folder, 'thought.json'), 'utf8'));
  const [, answer] = messages;
  assert.deepEqual([answer.role, answer.content], ['assistant', '']);
  assert.ok(answer.reasoning_content.length > 20 && err.includes(answer.reasoning_content), err);
  const { err: later } = await chat(['/load thought.json', '/stats'], [model, ...greedy]);
  const used = (text: string) => /(\d+) of \d+ tokens/.exec(text)?.[1];
  assert.equal(used(later), used(err), 'thoughts that were saved come back');
});

test('files that are no conversation are refused, and the chat goes on', async () => {
  const wrong = {
    'none.json': 'no JSON',
    'list.json': '[]',
    'role.json': '{"messages": [{"role": "king", "content": "x"}]}',
    'text.json': '{"messages": [{"role": "user", "content": ["x"]}]}',
    'late.json': '{"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]}',
  };
  for (const [name, text] of Object.entries(wrong)) writeFileSync(join(folder, name), text);
  const names = [...Object.keys(wrong), 'gone.json'];
  const { code, out, err } = await chat([
    ...names.map((name) => `/load ${name}`),
    '/load',
    '/nonsense',
    'A fox.',
    '/stats',
  ]);
  assert.equal(code, 2, 'as the last of the mistakes');
  assert.equal(err.match(/ingot: InvalidFile/g)?.length, 5, err);
  assert.match(err, /FileNotFound.*needs the name of a file.*no command \/nonsense/s);
  assert.match(err, /message 2 is from the system/);
  assert.doesNotMatch(err, /\n\s+at /);
  assert.ok(out.length > 20);
  assert.match(err, /^2 messages, 2 of them sent/m);
});

const turns = Array.from({ length: 6 }, (_, i) => `Tell me story number ${i} about a fox and a dog.`);

test('a full context: --overflow error refuses the message and keeps the chat', async () => {
  const { code, err } = await chat([...turns, '/stats'], [...greedy, '-c', '128', '--overflow', 'error']);
  assert.equal(code, 1, err);
  assert.match(err, /ContextOverflow.*\n.*\/reset/);
  const [, messages, sent] = /^(\d+) messages, (\d+) of them sent/m.exec(err) ?? [];
  assert.ok(messages === sent && Number(messages) >= 2 && Number(messages) < 12, err);
});

for (const rule of ['slide', 'truncate-middle']) {
  test(`a full context: --overflow ${rule} leaves out turns, and every message is answered`, async () => {
    const args = [...greedy, '-c', '128', '--overflow', rule];
    const { code, out, err } = await chat(
      [...turns, '/stats', '/save all.json', ...(rule === 'slide' ? [] : ['/exit'])],
      args,
    );
    assert.equal(code, 0, err);
    assert.ok(out.length > 200);
    const [, messages, sent] = /^(\d+) messages, (\d+) of them sent/m.exec(err) ?? [];
    assert.ok(Number(messages) === 12 && Number(sent) < 10, err);
    assert.equal(
      JSON.parse(readFileSync(join(folder, 'all.json'), 'utf8')).messages.length,
      12,
      'nothing that was said is lost',
    );
    rmSync(join(folder, 'all.json'));
    const long = await chat([`${'A fox and a dog. '.repeat(60)}`], args);
    if (rule === 'slide') assert.match(long.err, /ContextOverflow.*\n.*truncate-middle/);
    else assert.ok(long.code === 0 && long.out.length > 20, long.err);
  });
}

const noSignals = process.platform === 'win32' && 'Windows has no SIGINT to send';

test('an interrupt stops the answer and keeps the chat; while nothing works it ends the process', {
  skip: noSignals,
}, async () => {
  const child = spawn(process.execPath, [main, 'chat', ...long], { cwd: folder });
  const { ended, said } = watch(child);
  child.stdin.write('Tell me a story about a brave fox.\n');
  await said('Once');
  child.kill('SIGINT');
  await said('\n');
  child.stdin.write('/stats\n');
  await said('2 messages', 'err');
  child.kill('SIGINT');
  const { code, out, err } = await ended;
  assert.equal(code, 130, err);
  assert.match(err, /\+ \d+ \|/);
  assert.ok(out.length < 1500, `${out.length} characters`);
});

const script = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;

/** A chat at a pseudo-terminal: util-linux's `script` makes one. */
function atTerminal(args: readonly string[]) {
  const command = [process.execPath, main, 'chat', ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    cwd: folder,
    env: { ...process.env, TERM: 'xterm' },
  });
  return { child, ...watch(child) };
}

test('at a terminal: a prompt, Ctrl-C stops an answer, clears a line, and leaves when said twice; Ctrl-D leaves', {
  skip: !script && 'there is no util-linux `script` to make a terminal with',
}, async () => {
  const first = atTerminal(long);
  await first.said('/help');
  await first.said('> ');
  first.child.stdin.write('Tell me a story about a brave fox.\r');
  await first.said('Once upon');
  first.child.stdin.write('\x03');
  await first.said('> ');
  first.child.stdin.write('a line that nobody sends');
  await first.said('sends');
  first.child.stdin.write('\x03');
  await first.said('> ');
  first.child.stdin.write('/stats\r');
  await first.said('2 messages');
  await first.said('> ');
  first.child.stdin.write('\x03');
  await first.said('once more');
  first.child.stdin.write('/help\r');
  await first.said('Ctrl-C stops an answer.');
  await first.said('> ');
  // Ctrl-Z, and `fg` of a shell.
  first.child.stdin.write('\x1a');
  const group = Number(readFileSync(`/proc/${first.child.pid}/task/${first.child.pid}/children`, 'utf8'));
  const goesOn = setInterval(() => process.kill(-group, 'SIGCONT'), 100);
  await first.said('> ');
  clearInterval(goesOn);
  first.child.stdin.write('/nonsense\r');
  await first.said('no command /nonsense');
  await first.said('> ');
  first.child.stdin.write('\x03');
  await first.said('once more');
  first.child.stdin.write('\x03');
  const { code, out } = await first.ended;
  assert.equal(code, 0, out);

  const second = atTerminal(greedy);
  await second.said('> ');
  second.child.stdin.write('A fox \\\r');
  await second.said('. ');
  second.child.stdin.write('and a dog.\r');
  await second.said('Once');
  await second.said('> ');
  second.child.stdin.write('\x04');
  assert.equal((await second.ended).code, 0);
});

test('a model without a chat template continues what is written, and says so', { skip: skipWithoutData }, async () => {
  const model = join(folder, 'stories.gguf');
  const [weights, tokenizer] = ['stories260K.bin', 'tok512.bin'].map((name) => dataPath('models', 'stories260K', name));
  assert.ok(existsSync(weights));
  spawnSync(process.execPath, [main, 'convert', weights, model, '--tokenizer', tokenizer]);
  const { code, out, err } = await chat(['Once upon a time,'], [model, ...greedy]);
  assert.equal(code, 0, err);
  assert.match(err, /no chat template/);
  assert.match(out, /^ ?there was/);
});
