/**
 * The programs of `examples/`, compiled and run against the package as `npm pack` makes it: what it forgets to ship, or to declare, is missed here.
 * Nothing is fetched: the package is unpacked where npm would put it, and what it depends on is linked from this project.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { repositoryPath } from '../fixtures.ts';
import { writeEmbedder } from './embedder-model.ts';

const execute = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'ingot-examples-'));
const env = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), LOCALAPPDATA: join(folder, 'cache') };
after(() => rmSync(folder, { recursive: true, force: true }));

const examples = readdirSync(repositoryPath('examples')).filter((name) => name.endsWith('.ts'));

before(async () => {
  const npmEnv = {
    ...env,
    npm_config_cache: join(folder, 'npm'),
    npm_config_offline: 'true',
    npm_config_ignore_scripts: 'true',
  };
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  await execute(npm, ['pack', '--pack-destination', folder], { cwd: repositoryPath(), env: npmEnv });
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
  const installed = join(folder, 'node_modules', 'ingot');
  mkdirSync(installed, { recursive: true });
  await execute('tar', ['-xzf', join(folder, tarball), '-C', installed, '--strip-components', '1']);
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    readonly dependencies: object;
    readonly optionalDependencies: object;
  };
  for (const name of [...Object.keys({ ...dependencies, ...optionalDependencies }), 'openai', '@types/node']) {
    const path = join(folder, 'node_modules', name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(repositoryPath('node_modules', name), path, 'junction');
  }
  for (const name of examples) copyFileSync(repositoryPath('examples', name), join(folder, name));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const compilerOptions = {
    ...{ target: 'es2022', module: 'nodenext', lib: ['es2023', 'esnext.disposable'], types: ['node'], strict: true },
    ...{ noUncheckedIndexedAccess: true, noUnusedLocals: true, skipLibCheck: true },
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: examples }));
  await execute(process.execPath, [repositoryPath('node_modules/typescript/bin/tsc')], { cwd: folder }).catch(
    ({ stdout }) => assert.fail(`the examples do not compile:\n${stdout}`),
  );
});

async function run(name: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await execute(process.execPath, [`${name}.js`, ...args], { cwd: folder, env });
  return stdout;
}

/** Starts a program that goes on, until it says where it serves. */
async function start(
  args: readonly string[],
  says: RegExp,
): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const child = spawn(process.execPath, args, { cwd: folder, env });
  let said = '';
  const url = await new Promise<string>((resolve, reject) => {
    const hear = (text: string) => {
      said += text;
      const [, found] = says.exec(said) ?? [];
      if (found !== undefined) resolve(found);
    };
    child.stdout.setEncoding('utf8').on('data', hear);
    child.stderr.setEncoding('utf8').on('data', hear);
    child.on('close', () => reject(new Error(`it ended: ${said}`)));
  });
  return { child, url };
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.on('close', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** What each program shows; every one has a row. */
const shows: Readonly<Record<string, () => Promise<void>>> = {
  batch: async () => {
    writeFileSync(join(folder, 'prompts.txt'), 'Once upon a time there was a fox\nOnce upon a time there was a cat\n');
    const lines = (await run('batch')).trim().split('\n');
    const answers = lines.map((line) => JSON.parse(line) as { prompt: string; answer: string });
    assert.deepEqual(
      answers.map(({ prompt }) => prompt.slice(-3)),
      ['fox', 'cat'],
    );
    assert.ok(answers.every(({ answer }) => answer.length > 10));
  },
  chat: async () => {
    const child = execute(process.execPath, ['chat.js'], { cwd: folder, env });
    child.child.stdin?.end('Tell me a story about a brave fox.\nAnd then?\n\n');
    const { stdout } = await child;
    assert.equal(stdout.split('> ').length, 4);
    assert.ok(stdout.length > 100);
  },
  'openai-client': async () => {
    const main = join('node_modules', 'ingot', 'dist', 'ingot', 'main.js');
    const { child, url } = await start([main, 'serve', '--port', '0', '--context', '512'], /(http:\S+\/v1)/);
    try {
      assert.match(await run('openai-client', url), /\S+[\s\S]*\n40 tokens for a prompt of \d+\n$/);
    } finally {
      await end(child);
    }
  },
  'own-server': async () => {
    const { child, url } = await start(['own-server.js', '0'], /(http:\S+)/);
    try {
      const answer = await fetch(url, { method: 'POST', body: 'Once upon a time' });
      assert.ok((await answer.text()).length > 20);
      const empty = await fetch(url, { method: 'POST', body: 'x '.repeat(3000) });
      assert.deepEqual([empty.status, /context holds/.test(await empty.text())], [400, true]);
    } finally {
      await end(child);
    }
  },
  program: async () => {
    assert.equal(await run('program'), 'result0 Float32Array(2) [ 321, 654 ]\n');
  },
  sampling: async () => {
    const text = await run('sampling');
    assert.match(text, /^\s?Once upon a time/);
    assert.ok(text.length > 30);
  },
  search: async () => {
    writeFileSync(join(folder, 'lines.txt'), 'the cat sat\na very long line of other words\n');
    const found = await run('search', writeEmbedder(join(folder, 'embedder')), 'lines.txt', 'the cat sat');
    assert.match(found, /^1\.000 the cat sat\n\d\.\d{3} a very long/);
  },
};

for (const name of examples) {
  test(`examples/${name} does what it says`, async () => {
    const show = shows[name.replace(/\.ts$/, '')];
    assert.ok(show, 'it has a row here');
    await show();
  });
}
