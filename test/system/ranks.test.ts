/**
 * Commands on ranks in several processes, as people start them: `mpirun ingot ...` on the bundled model, held to the text of one
 * process; and what refuses ranks that do not fit together.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { repositoryPath } from '../fixtures.ts';
import { launcherEnvironment, launchers, missing } from './mpi-launchers.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'ingot-ranks-'));
/** Where Open MPI keeps the memory that ranks share, instead of /dev/shm. */
const shared = join(folder, 'shared');
mkdirSync(shared);
after(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(command: string, args: readonly string[]): Promise<Ended> {
  const own = { XDG_CACHE_HOME: join(folder, 'cache'), OMPI_MCA_btl_vader_backing_directory: shared };
  const env = { ...process.env, ...launcherEnvironment, ...own };
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, out, err });
    });
  });
}

const greedy = ['run', 'Once upon a time', '-n', '32', '--temperature', '0'];

for (const launcher of launchers) {
  const skip = missing(launcher);
  const { name, command, options } = launcher;
  const mpirun = (ranks: number, ...args: string[]) =>
    start(command, [...options, '-n', String(ranks), process.execPath, main, ...args]);
  const sizes = name === 'Open MPI' ? [2, 3, 4] : [2];

  for (const size of sizes) {
    test(`${name}: ${size} ranks write the text of one process, and leave nothing behind`, { skip }, async () => {
      const alone = await start(process.execPath, [main, ...greedy]);
      const { code, out, err } = await mpirun(size, ...greedy, '--mesh', `tensor=${size}`);
      assert.equal(code, 0, err);
      assert.equal(out, alone.out);
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
