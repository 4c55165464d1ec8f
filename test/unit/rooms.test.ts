/**
 * Who may look into which room: the rules of docs/architecture.md ("Rooms"), checked on every file of src/.
 *
 * - A room imports only rooms above it; siblings never import each other.
 * - A few rooms see less than that: `models` the language of programs and what tensors and checkpoints are, not the readers
 *   and writers of files; compiler and devices no model.
 * - What a browser needs has no `node:` import, and imports no file that has one.
 * - No cycles of files. Type-only imports count for rooms but not here: they are gone at run time, and types that
 *   name each other (an attribute holds types, a function holds attributes) are one idea in two files.
 * - What a file exports is imported somewhere, by a test at least, or offered by the package's index. A type may also be
 *   there for the signatures of its own file.
 * - The page in `web/` and `src/` know nothing of each other: between them is HTTP.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exportsOf, importsOf } from './source-imports.ts';

/** In the order that a program passes through them; rooms of one row are siblings. */
const ROOMS: readonly (readonly string[])[] = [
  ['base'],
  ['numerics'],
  ['ir'],
  ['composites'],
  ['formats'],
  ['tokenizer'],
  ['models'],
  ['compiler'],
  ['devices'],
  ['parallel'],
  ['hub'],
  ['engine', 'train'],
  ['trust'],
  ['cluster'],
  ['server'],
  ['bridge'],
  ['cli'],
];
/** Where effects live: these import `node:` in any file, and nothing that a browser needs imports them. */
const NODE_ROOMS = ['devices/cpu', 'parallel', 'hub', 'trust', 'cluster', 'server', 'bridge', 'cli'];
/** What some rooms may see at most, besides themselves: all of it, or its types alone. */
const SEES_ONLY: Readonly<Record<string, { readonly all: readonly string[]; readonly types: readonly string[] }>> = {
  models: { all: ['base', 'numerics', 'ir', 'composites', 'formats/convert-tensor.ts'], types: ['formats'] },
};
/** What some rooms may not see, although it is above them. */
const NEVER_SEES: Readonly<Record<string, readonly string[]>> = {
  compiler: ['models', 'tokenizer'],
  devices: ['models', 'tokenizer'],
  parallel: ['models', 'tokenizer'],
};

/** Path below the root, with slashes, to text. */
type Tree = ReadonlyMap<string, string>;

const isShipped = (path: string) => path.startsWith('src/') || path.startsWith('web/');
const inside = (path: string, room: string) => path === `src/${room}` || path.startsWith(`src/${room}/`);
const roomOf = (path: string) => /^src\/([^/]+)\//.exec(path)?.[1];
const rank = (room: string) => ROOMS.findIndex((row) => row.includes(room));
const needsNode = (path: string) => path.endsWith('-node.ts') || NODE_ROOMS.some((room) => inside(path, room));
/** The package's index stands outside of the rooms: it offers what they have, and sees them all. */
const INDEX = 'src/index.ts';

function target(path: string, from: string): string {
  return from.startsWith('.') ? posix.join(posix.dirname(path), from) : from;
}

/** What is wrong with one import between rooms, or undefined. */
function wrongRoom(path: string, to: string, typeOnly: boolean): string | undefined {
  const [a, b] = [roomOf(path), roomOf(to)];
  if (path === INDEX) return undefined;
  if (to === INDEX) return 'no room imports the index of the package';
  if (a === undefined || rank(a) < 0) return `${a ?? path} is not in the list of rooms`;
  if (b === undefined || rank(b) < 0) return `${to} lies in no room`;
  if (a === b) {
    const [mine, other] = [path.split('/')[2], to.split('/')[2]];
    const folders = path.split('/').length > 3 && to.split('/').length > 3;
    return a === 'devices' && folders && mine !== other ? 'devices never import each other' : undefined;
  }
  if (rank(b) === rank(a)) return `${a} and ${b} are siblings`;
  if (rank(b) > rank(a)) return `${b} is not above ${a}`;
  const only = SEES_ONLY[a];
  if (only !== undefined && ![...only.all, ...(typeOnly ? only.types : [])].some((room) => inside(to, room))) {
    return `${a} sees only ${only.all.join(', ')} and types of ${only.types.join(', ')}`;
  }
  if (NEVER_SEES[a]?.some((room) => inside(to, room))) return `${a} knows nothing of ${b}`;
  return undefined;
}

function wrongImports(tree: Tree): string[] {
  const wrong: string[] = [];
  for (const [path, source] of tree) {
    if (!isShipped(path)) continue;
    for (const { from, typeOnly } of importsOf(source)) {
      const to = target(path, from);
      const say = (why: string) => wrong.push(`${path} imports '${from}': ${why}`);
      if (path.startsWith('web/')) {
        if (from.startsWith('node:')) say('a browser has no Node');
        else if (from.startsWith('.') && !to.startsWith('web/')) say('the page knows the API, not the server');
        else if (from.startsWith('.') && !tree.has(to)) say('there is no such file');
        continue;
      }
      if (from.startsWith('.')) {
        if (!tree.has(to)) say('there is no such file');
        const why = wrongRoom(path, to, typeOnly);
        if (why !== undefined) say(why);
        if (!needsNode(path) && path !== INDEX && needsNode(to) && !typeOnly) say('a browser has no Node');
      } else if (from.startsWith('node:') && !needsNode(path)) {
        say('a browser has no Node; its effects come in through an interface, from a *-node.ts file');
      }
    }
  }
  return wrong;
}

/** One text `a > b > a` for every import that closes a circle of modules. */
function cycles(tree: Tree): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    if (done.has(path)) return;
    const at = trail.indexOf(path);
    if (at >= 0) {
      found.push([...trail.slice(at), path].join(' > '));
      return;
    }
    for (const { from, typeOnly } of importsOf(tree.get(path) ?? '')) {
      if (from.startsWith('.') && !typeOnly) visit(target(path, from), [...trail, path]);
    }
    done.add(path);
  };
  for (const path of tree.keys()) visit(path, []);
  return found;
}

/** `file: name` of every export of src/ that no other file takes. */
function unusedExports(tree: Tree): string[] {
  const used = new Map<string, Set<string>>();
  for (const [path, source] of tree) {
    for (const { from, names } of importsOf(source)) {
      const to = target(path, from);
      used.set(to, new Set([...(used.get(to) ?? []), ...names]));
    }
  }
  return [...tree].flatMap(([path, source]) => {
    const names = used.get(path);
    if (!isShipped(path) || path === INDEX || names?.has('*')) return [];
    return exportsOf(source)
      .filter(({ name, type }) => !names?.has(name) && !(type && source.split(new RegExp(`\\b${name}\\b`)).length > 2))
      .map(({ name }) => `${path}: ${name}`);
  });
}

const root = fileURLToPath(new URL('../../../', import.meta.url));
function project(): Tree {
  const tree = new Map<string, string>();
  for (const folder of ['src', 'web', 'test', 'bench', 'scripts']) {
    let names: string[] = [];
    try {
      names = readdirSync(root + folder, { recursive: true, encoding: 'utf8' });
    } catch {} // no such folder yet
    for (const name of names.filter((name) => /\.tsx?$/.test(name)).sort()) {
      const path = `${folder}/${name.replaceAll('\\', '/')}`;
      tree.set(path, readFileSync(root + path, 'utf8'));
    }
  }
  return tree;
}

test('every import looks upwards, and only *-node.ts files and the rooms of Node use Node', () => {
  const tree = project();
  assert.ok(tree.has('src/ir/program.ts') && tree.has('web/app.tsx'), 'the sources were found');
  assert.deepEqual(wrongImports(tree), []);
});

test('no file of the project imports itself by a circle', () => {
  assert.deepEqual(cycles(project()), []);
});

test('every export is used somewhere', () => {
  assert.deepEqual(unusedExports(project()), []);
});

test('a wrong import is named with its file and its reason', () => {
  const tree = new Map([
    ['src/base/errors.ts', `import { x } from '../ir/program.ts';`],
    ['src/ir/program.ts', `import { readFileSync } from 'node:fs';`],
    ['src/formats/gguf.ts', `export * from './file-node.ts';`],
    ['src/formats/file-node.ts', `import 'node:fs';`],
    ['src/formats/checkpoint.ts', ''],
    [
      'src/models/llama.ts',
      `import type { C } from '../formats/checkpoint.ts';\nimport { g } from '../formats/gguf.ts';`,
    ],
    ['src/devices/device.ts', ''],
    ['src/devices/cpu/asm.ts', `import { a,\n  b } from '../reference/run.ts';\nimport 'node:os';`],
    ['src/devices/reference/run.ts', `import '../device.ts';\nconst m = await import('../../models/llama.ts');`],
    ['src/engine/engine.ts', `export { loss } from '../train/loss.ts';\nimport './gone.ts';`],
    ['src/train/loss.ts', `// import 'node:fs';\nimport '../engine/engine.ts';`],
    ['src/attic/old.ts', `import '../base/errors.ts';`],
    ['src/index.ts', `export * from './formats/file-node.ts';`],
    ['web/app.tsx', `import { x } from '../src/base/errors.ts';\nimport 'node:fs';\nimport './gone.tsx';`],
  ]);
  assert.deepEqual(wrongImports(tree), [
    "src/base/errors.ts imports '../ir/program.ts': ir is not above base",
    "src/ir/program.ts imports 'node:fs': a browser has no Node; its effects come in through an interface, from a *-node.ts file",
    "src/formats/gguf.ts imports './file-node.ts': a browser has no Node",
    "src/models/llama.ts imports '../formats/gguf.ts': models sees only base, numerics, ir, composites, formats/convert-tensor.ts and types of formats",
    "src/devices/cpu/asm.ts imports '../reference/run.ts': devices never import each other",
    "src/devices/reference/run.ts imports '../../models/llama.ts': devices knows nothing of models",
    "src/engine/engine.ts imports '../train/loss.ts': engine and train are siblings",
    "src/engine/engine.ts imports './gone.ts': there is no such file",
    "src/train/loss.ts imports '../engine/engine.ts': train and engine are siblings",
    "src/attic/old.ts imports '../base/errors.ts': attic is not in the list of rooms",
    "web/app.tsx imports '../src/base/errors.ts': the page knows the API, not the server",
    "web/app.tsx imports 'node:fs': a browser has no Node",
    "web/app.tsx imports './gone.tsx': there is no such file",
  ]);
});

test('circles and unused exports are found; types may name each other', () => {
  const tree = new Map([
    ['src/ir/a.ts', `import { b } from './b.ts';\nexport const a = b;\nexport function lonely() {}`],
    ['src/ir/b.ts', `import { c } from './c.ts';\nexport const b = c;\nexport type B = number;`],
    [
      'src/ir/c.ts',
      `import { a } from './a.ts';\nimport type { B } from './b.ts';\nconst c: B = a;\nexport interface C {}\nexport { c };`,
    ],
    ['src/ir/d.ts', `import type { E } from './e.ts';\nexport interface D { e: E }`],
    ['src/ir/e.ts', `import type { D } from './d.ts';\nexport interface E { d: D }`],
  ]);
  assert.deepEqual(cycles(tree), ['src/ir/a.ts > src/ir/b.ts > src/ir/c.ts > src/ir/a.ts']);
  assert.deepEqual(unusedExports(tree), ['src/ir/a.ts: lonely', 'src/ir/c.ts: C']);
});
