/**
 * A reader never meets a command that does not work. Every ```sh and ```ts block of README.md, CONTRIBUTING.md and docs/
 * runs here, in an empty folder that holds nothing but the bundled model as `model.gguf`: shell blocks as they stand, with
 * the built command line as `ingot` and `npx ingot`; TypeScript blocks compiled against the package `ingot`. What cannot
 * run here is marked ```text. The paths that the documents name and link exist, and tables have heads.
 *
 * `npm ci` is taken as done and the scripts of package.json as existing or not; `npm start` is really run.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => `docs/${name}`),
];
const blockTimeout = 120_000;

interface CodeBlock {
  readonly place: string;
  readonly language: string;
  readonly code: string;
}

function codeBlocks(path: string, text: string): CodeBlock[] {
  return [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(({ 1: language, 2: code, index }) => {
    return { place: `${path}:${text.slice(0, index).split('\n').length}`, language: language ?? '', code: code ?? '' };
  });
}

/**
 * Files (`engine/engine.ts`) and folders (`docs/`) that a text names, but for sections whose heading says `planned`, and
 * the files of outside data (`testdata/`).
 */
function namedPaths(text: string): string[] {
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '').replace(/^#+ .*\bplanned\b[\s\S]*?(?=^#|(?![\s\S]))/gim, '');
  return [...prose.matchAll(/`(?!testdata\/)((?:[\w.*-]+\/)+(?:[\w.*-]+\.\w+)?)`/g)].map(([, path]) => path ?? '');
}

/** Relative links, by their place in the project. */
function linkedPaths(path: string, text: string): string[] {
  return [...text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, link]) => join(dirname(path), link ?? ''));
}

/** Whether there is such a file; `*` stands for any part of the last name. */
function exists(path: string): boolean {
  const [, folder = '', pattern = ''] = /^(.*)[/\\]([^/\\]*\*[^/\\]*)$/.exec(path) ?? [];
  if (pattern === '') return existsSync(path);
  const match = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
  return existsSync(folder) && readdirSync(folder).some((name) => match.test(name));
}

/** First lines of tables that have no line of dashes under them, without which they are no tables. */
function tablesWithoutHead(text: string): string[] {
  const lines = text.replace(/^```[\s\S]*?^```$/gm, '').split('\n');
  return lines.filter((line, i) => {
    const isFirst = line.startsWith('|') && !lines[i - 1]?.startsWith('|');
    return isFirst && !/^\|( *:?-+:? *\|)+$/.test(lines[i + 1] ?? '');
  });
}

const scratch = mkdtempSync(join(tmpdir(), 'ingot-docs-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** Programs of a reader's machine: the command line as an installed package has it, and npm in this project. */
function installPrograms(): string {
  const bin = join(scratch, 'bin');
  mkdirSync(bin);
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const programs = {
    ingot: `exec "${process.execPath}" "${join(root, 'dist/ingot/main.js')}" "$@"`,
    npx: '[ "$1" = ingot ] || { echo "npx $1: unknown" >&2; exit 1; }; shift; exec ingot "$@"',
    npm: `script=$1; [ "$script" = run ] && script=$2
      case $script in
        ci) exit 0 ;;
        start) PATH="$READER_PATH"; exec npm --prefix "${root}" "$@" ;;
        ${Object.keys(scripts).join('|')}) exit 0 ;;
        *) echo "npm $*: no such script" >&2; exit 1 ;;
      esac`,
  };
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  }
  return bin;
}

/** A folder as a reader might stand in: the package is installed, a model is at hand. */
function readersFolder(): string {
  const folder = mkdtempSync(join(scratch, 'reader-'));
  const model = join(root, 'models/tales/tales-q8_0.gguf');
  if (existsSync(model)) copyFileSync(model, join(folder, 'model.gguf'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/ingot'), 'junction');
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  return folder;
}

interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

/** Runs a program with all that it starts; whatever still runs after `blockTimeout` is ended, and `code` is null. */
function execute(
  command: string,
  args: readonly string[],
  cwd: string,
  more: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const path = process.env.PATH ?? '';
    const env = { ...process.env, PATH: `${bin}${delimiter}${path}`, READER_PATH: path, ...more };
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (data: Buffer) => {
      output += data.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, blockTimeout);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

const runShell = (code: string) => execute('sh', ['-euc', code], readersFolder());

/** Compiles as strictly as the project itself, then runs. */
async function runTypeScript(code: string): Promise<Outcome> {
  const folder = readersFolder();
  writeFileSync(join(folder, 'example.ts'), code);
  const options = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      rootDir: folder,
      outDir: folder,
      incremental: false,
      declaration: false,
      tsBuildInfoFile: null,
      noUnusedLocals: false,
      typeRoots: [join(root, 'node_modules/@types')],
    },
    files: ['example.ts'],
    include: [],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options));
  const compiled = await execute(process.execPath, [join(root, 'node_modules/typescript/bin/tsc')], folder);
  return compiled.code === 0 ? execute(process.execPath, ['example.js'], folder) : compiled;
}

const bin = installPrograms();
const skip = process.platform === 'win32' ? 'no POSIX shell' : false;

for (const path of documents) {
  const text = readFileSync(join(root, path), 'utf8');

  test(`${path} names and links files that exist`, () => {
    const gone = namedPaths(text).filter((named) => !exists(join(root, named)) && !exists(join(root, 'src', named)));
    assert.deepEqual(gone, []);
    assert.deepEqual(
      linkedPaths(path, text).filter((link) => !existsSync(join(root, link))),
      [],
    );
  });

  test(`${path} gives every table a head`, () => assert.deepEqual(tablesWithoutHead(text), []));

  for (const { place, language, code } of codeBlocks(path, text)) {
    if (language === 'text' || language === 'mlir') continue;
    test(`the ${language} block at ${place} works`, { skip }, async () => {
      assert.ok(language === 'sh' || language === 'ts', 'a block says sh or ts, and runs; or text, and does not');
      const { code: exit, output } = await (language === 'sh' ? runShell(code) : runTypeScript(code));
      assert.equal(exit, 0, `exit code ${exit}\n${code}\n${output}`);
    });
  }
}

test('npx finds the command line in a copy of the repository', { skip }, async () => {
  // Scripts would build anew what other tests run meanwhile.
  const npm = {
    npm_config_cache: join(scratch, 'npm-cache'),
    npm_config_offline: 'true',
    npm_config_ignore_scripts: 'true',
  };
  const env = { ...npm, PATH: process.env.PATH };
  const { code, output } = await execute('npx', ['ingot', '--version'], root, env);
  assert.equal(code, 0, output);
  assert.match(output, /^\d+\.\d+\.\d+$/m);
});

test('a block that does not work is found', { skip }, async () => {
  const shell = codeBlocks('x.md', 'Text.\n\n```sh\nfalse\ntrue\n```\n\n```text\nfalse\n```\n');
  assert.deepEqual(
    shell.map(({ place, language }) => [place, language]),
    [
      ['x.md:3', 'sh'],
      ['x.md:8', 'text'],
    ],
  );
  for (const command of [
    shell[0]?.code ?? '',
    'npm run no-such-script',
    'npx no-such-program',
    'npm ci && npm test && false',
  ]) {
    assert.notEqual((await runShell(command)).code, 0, command);
  }
  assert.equal((await runShell('npm ci && npm test')).code, 0);
  assert.match((await runTypeScript(`const n: number = 'text';`)).output, /TS2322/);
  assert.match((await runTypeScript(`throw new Error('at run time');`)).output, /at run time/);
  assert.equal((await runTypeScript('console.log(await Promise.resolve(1) as number); export {};')).output, '1\n');
});

test('paths in prose are found, those of a plan are left out', () => {
  const text =
    'See `src/a.ts`, `docs/` and `i32`.\n```sh\nls `x/y`\n```\n## Planned rooms\n`src/later/`\n## More\n`src/*-node.ts` `testdata/x.mlir`\n';
  assert.deepEqual(namedPaths(text), ['src/a.ts', 'docs/', 'src/*-node.ts']);
  assert.ok(exists(join(root, 'src/formats/*-node.ts')) && exists(join(root, 'docs/')));
  const links = '[a](b.md) [c](../d.md#e) [f](https://g.h/i.md) [j](#k)';
  assert.deepEqual(linkedPaths('docs/x.md', links), [join('docs', 'b.md'), 'd.md']);
  assert.ok(!exists(join(root, 'src/formats/*-web.ts')) && !exists(join(root, 'src/ir/none.ts')));
});

test('a table that has lost its head is found', () => {
  const table = '| a | b |\n| --- |--:|\n| 1 | 2 |\n';
  assert.deepEqual(tablesWithoutHead(`${table}\nText.\n\n| 1 | 2 |\n| 3 | 4 |\n\n| 5 |`), ['| 1 | 2 |', '| 5 |']);
  assert.deepEqual(tablesWithoutHead(`${table}\n\`\`\`text\n| 1 |\n\`\`\`\n${table}`), []);
});
