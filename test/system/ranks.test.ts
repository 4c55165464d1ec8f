/**
 * Commands on ranks in several processes, as people start them: `mpirun ingot ...` and `ingot launch ...` on the bundled model, held
 * to the text of one process, also where ranks die; and what refuses ranks that do not fit together.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, test } from 'node:test';
import { repositoryPath } from '../fixtures.ts';
import { complete, completeAlone } from './complete.ts';
import { writeEmbedder } from './embedder-model.ts';
import { type Launcher, launcherEnvironment, launchers, missing } from './mpi-launchers.ts';
import { isRunning, rankProcesses } from './rank-processes.ts';
import { rankLosses, startServer } from './serve-harness.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'ingot-ranks-'));
/** Where Open MPI keeps the memory that ranks share, instead of /dev/shm; version 5 has another name for it. */
const shared = join(folder, 'shared');
mkdirSync(shared);
after(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const environment = {
  ...launcherEnvironment,
  XDG_CACHE_HOME: join(folder, 'cache'),
  OMPI_MCA_btl_vader_backing_directory: shared,
  OMPI_MCA_btl_sm_backing_directory: shared,
};

function start(
  command: string,
  args: readonly string[],
  more: Launcher['environment'] = {},
  input = '',
): Promise<Ended> {
  const env = { ...process.env, ...environment, ...more };
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: folder, env });
    child.stdin.end(input);
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 180_000);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, out, err });
    });
  });
}

let aloneOnce: Promise<Ended> | undefined;
/** What one process writes. */
function alone(): Promise<Ended> {
  aloneOnce ??= start(process.execPath, [main, ...greedy]);
  return aloneOnce;
}

const greedy = ['run', 'Once upon a time', '-n', '32', '--temperature', '0'];

for (const launcher of launchers) {
  const skip = missing(launcher);
  const { name, command, options, sizes } = launcher;
  const mpirun = (ranks: number, ...args: string[]) =>
    start(command, [...options, '-n', String(ranks), process.execPath, main, ...args], launcher.environment);

  for (const size of sizes) {
    test(`${name}: ${size} ranks write the text of one process, and leave nothing behind`, { skip }, async () => {
      const { code, out, err } = await mpirun(size, ...greedy, '--mesh', `tensor=${size}`);
      assert.equal(code, 0, err);
      assert.equal(out, (await alone()).out);
      assert.deepEqual(readdirSync(shared), []);
    });
  }

  test(`${name}: a mesh that does not fit the ranks is refused once, with one that does`, { skip }, async () => {
    const { code, err } = await mpirun(2, ...greedy, '--mesh', 'tensor=3');
    assert.notEqual(code, 0);
    assert.equal(err.match(/Usage:/g)?.length, 1, err);
    assert.match(err, /'tensor' is 3, not 2/);
    assert.match(err, /--mesh tensor=2 has as many, or start 3/);
  });
}

const [openMpi] = launchers;
const skip = missing(openMpi);

/** A folder where the launcher is called `mpirun`. */
function asMpirun({ name, command }: Launcher): string {
  const bin = join(folder, name.replaceAll(' ', '-'));
  mkdirSync(bin);
  writeFileSync(join(bin, 'mpirun'), `#!/bin/sh\nexec "${command}" "$@"\n`, { mode: 0o755 });
  return bin;
}

test('ranks embed texts as one process does, started by mpirun and by ingot launch with each mpirun', {
  skip,
}, async () => {
  const model = writeEmbedder(join(folder, 'embedder'), 'qwen3-embedding');
  const embed = ['embed', model];
  const ranks = [...embed, '--mesh', 'tensor=2'];
  const vectors = async (command: string, args: readonly string[], more: Launcher['environment'] = {}) => {
    const { code, out, err } = await start(command, args, more, 'the cat sat\na very long line of other words\n');
    assert.equal(code, 0, err);
    return out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as readonly number[]);
  };
  const expected = await vectors(process.execPath, [main, ...embed]);
  assert.equal(expected.length, 2);
  const found = [await vectors(openMpi.command, [...openMpi.options, '-n', '2', process.execPath, main, ...ranks])];
  for (const launcher of launchers) {
    if (missing(launcher) !== false) continue;
    const PATH = `${asMpirun(launcher)}${delimiter}${process.env.PATH}`;
    const more = { ...launcher.environment, PATH };
    found.push(await vectors(process.execPath, [main, 'launch', '-n', '2', ...ranks], more));
  }
  for (const each of found) {
    assert.deepEqual(
      each.map((vector) => vector.length),
      expected.map((vector) => vector.length),
    );
    const far = each.flatMap((vector, i) => vector.map((value, at) => Math.abs(value - expected[i][at])));
    assert.ok(Math.max(...far) < 1e-5, `${Math.max(...far)}`);
  }
});

test('a mixture of experts on 2, 3 and 4 ranks writes the text of one process', { skip }, async () => {
  const words = ['run', writeEmbedder(join(folder, 'experts'), 'qwen3-moe'), 'the cat sat', '-n', '8'];
  const run = [process.execPath, main, ...words, '--temperature', '0'];
  const own = await start(run[0], run.slice(1));
  assert.match(own.out, /^( \w+){8}\n$/, own.err);
  for (const size of openMpi.sizes) {
    const many = [...openMpi.options, '-n', String(size), ...run, '--mesh', `tensor=${size}`];
    const { code, out, err } = await start(openMpi.command, many);
    assert.equal(code, 0, err);
    assert.equal(out, own.out);
  }
});

test('mpirun ingot serve: two replicas of two ranks write the text of one process, and one goes on for both', {
  skip,
}, async () => {
  const { command, options, recover = [] } = openMpi;
  const through = [command, ...options, ...recover, '-n', '4'].join(' ');
  const words = ['--mesh', 'data=2,tensor=2', '--threads', '1', '--verbose'];
  await using server = await startServer({ folder, env: environment, through }, ...words);
  const text = await completeAlone(folder);
  const two = (onToken?: (i: number, count: number) => void) =>
    Promise.all([0, 1].map((i) => complete(server.url, (count) => onToken?.(i, count))));
  assert.deepEqual(await two(), [text, text]);
  const victim = rankProcesses(server.child.pid ?? 0, 'serve')[3];
  const counts = [0, 0];
  let killed = false;
  const again = await two((i, count) => {
    counts[i] = count;
    // Not when both have as many: whoever has the processors may end before the other begins.
    if (killed || counts.every((each) => each < 10)) return;
    killed = process.kill(victim, 'SIGKILL');
  });
  assert.deepEqual([killed, ...again], [true, text, text]);
  assert.equal(await complete(server.url), text, 'by the other replica');
  const lost = server.log().match(/"replica":(\d),"epoch":1,"requests":(\d).*rank 3 .* is gone/);
  assert.deepEqual(lost?.slice(1), ['1', '1'], server.log());
});

const ingot = (...args: string[]) => start(process.execPath, [main, ...args]);

test('ranks that differ in options or in their file of the model are refused before weights are loaded', {
  skip,
}, async () => {
  const bytes = readFileSync(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  const folders = [0, 1].map((i) => {
    const each = join(folder, `host${i}`);
    mkdirSync(each);
    writeFileSync(
      join(each, 'model.gguf'),
      i === 0 ? bytes : bytes.map((byte, at) => (2 * at < bytes.length ? byte : ~byte)),
    );
    return each;
  });
  const two = (...own: readonly (readonly string[])[]) => {
    const words = [process.execPath, main, 'run', 'model.gguf', 'Once', '-n', '4', '--mesh', 'tensor=2'];
    const parts = own.map((more, i) => ['-n', '1', '-wdir', folders[i], ...words, ...more]);
    return start(openMpi.command, [...openMpi.options, ...parts[0], ':', ...parts[1]]);
  };
  const options = await two(['--kv', 'int8'], ['--kv', 'int4']);
  assert.notEqual(options.code, 0);
  assert.match(options.err, /differs from rank \d in its format of keys and values: int\d, not int\d/);
  const numerics = await two(['--numerics', 'fast'], ['--numerics', 'exact']);
  assert.notEqual(numerics.code, 0);
  assert.match(numerics.err, /differs from rank \d in its numerics: (fast, not exact|exact, not fast)/);
  const files = await two([], []);
  assert.notEqual(files.code, 0);
  assert.match(files.err, /rank 1 has another model than model.gguf/);
});

test('ingot launch refuses what cannot be before it starts anything', { skip }, async () => {
  const cases: readonly (readonly [RegExp, ...string[]])[] = [
    [/'tensor' is 2, not 3/, '-n', '3', ...greedy, '--mesh', 'tensor=2'],
    [/no ranks along 'pipeline'/, '-n', '2', ...greedy, '--mesh', 'pipeline=2'],
    [/not said how ranks divide the model/, '-n', '2', ...greedy],
    [/no command walk to launch/, '-n', '2', 'walk'],
    [/serve one model/, 'serve', 'a=m.gguf', 'b=m.gguf', '--mesh', 'tensor=2'],
    [/no host/, '--hosts', 'a,;b', ...greedy, '--mesh', 'tensor=2'],
    [/does not exist/, '--hostfile', 'nowhere', ...greedy, '--mesh', 'tensor=2'],
    [/go not together/, '--hosts', 'a', '--hostfile', 'b', ...greedy],
  ];
  for (const [said, ...args] of cases) {
    const { code, err } = await ingot('launch', ...args);
    assert.notEqual(code, 0);
    assert.match(err, said);
  }
});

test('where there is no mpirun, ingot launch says how to install it', async () => {
  const before = process.env.PATH;
  process.env.PATH = folder;
  const ended = ingot('launch', ...greedy, '--mesh', 'tensor=2');
  process.env.PATH = before;
  const { code, err } = await ended;
  assert.notEqual(code, 0);
  assert.match(err, /there is no mpirun/);
  assert.match(err, /apt-get install openmpi-bin/);
});

test('a rank that is killed or stopped costs a stream time and no word; nothing is left', { skip }, async () => {
  const options = { folder, env: environment, launch: ['launch', '-n', '2'] };
  const server = await startServer(options, '--mesh', 'tensor=2', '--verbose');
  const all = new Set<number>();
  const front = server.child.pid ?? 0;
  const text = await completeAlone(folder);
  assert.equal(await complete(server.url), text);
  for (const [rank, how] of [
    [1, 'SIGKILL'],
    [0, 'SIGSTOP'],
  ] as const) {
    const victim = rankProcesses(front)[rank];
    for (const pid of rankProcesses(front)) all.add(pid);
    let began = 0;
    const again = await complete(server.url, (count) => {
      if (count !== 20) return;
      began = Date.now();
      process.kill(victim, how);
    });
    assert.equal(again, text);
    const loss = rankLosses(server.log()).at(-1);
    assert.ok(loss !== undefined);
    assert.match(loss.message, how === 'SIGKILL' ? /rank 1 .* is gone/ : /rank 0 .* has not answered for 1\.\d+ s/);
    // A busy machine may be late by itself: on a quiet one it is less than two seconds (bench/rank-losses.ts).
    assert.ok(loss.time - began < 60_000, `${how}: ${loss.time - began} ms`);
  }
  for (const pid of rankProcesses(front)) all.add(pid);
  assert.ok(all.size >= 6);
  await server[Symbol.asyncDispose]();
  const { code, err } = await server.ended;
  assert.equal(code, 0, err);
  assert.deepEqual([...all].filter(isRunning), []);
  assert.deepEqual(readdirSync(shared), []);
});
