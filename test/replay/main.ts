/**
 * `npm run replay`: what a change did to machine code. Compares the kernels of this tree with those of the merge base with `main`
 * (or of another commit), which is built in a worktree of its own: names, sizes, and the difference of their assembly. `--write` accepts
 * the kernels as they are. As tinygrad's process replay does.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { reportFailure } from '../../src/cli/failure.ts';
import { repositoryPath } from '../fixtures.ts';
import { captured, captureLines } from './capture.ts';
import { differences, readLines, writeLines } from './kernels-file.ts';

interface ReplayOptions {
  readonly write?: boolean;
  readonly listings?: string;
  readonly base: string;
}

const root = repositoryPath();
const git = (...args: readonly string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();

async function replay({ write, listings, base }: ReplayOptions): Promise<void> {
  if (write) return writeLines(await captureLines());
  if (listings !== undefined) return writeListings(listings);
  const folder = mkdtempSync(join(tmpdir(), 'ingot-replay-'));
  const tree = join(folder, 'tree');
  try {
    git('worktree', 'add', '--detach', tree, git('merge-base', 'HEAD', base));
    symlinkSync(repositoryPath('node_modules'), join(tree, 'node_modules'));
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc')], { cwd: tree, stdio: 'inherit' });
    const main = join(tree, 'dist/test/replay/main.js');
    execFileSync(process.execPath, [main, '--listings', join(folder, 'before')], { stdio: 'inherit' });
    await writeListings(join(folder, 'after'));
    const shown = spawnSync('git', ['diff', '--no-index', '--stat', '--patch', 'before', 'after'], {
      cwd: folder,
      stdio: 'inherit',
    });
    if (shown.status === 0) console.log('No kernel is another.');
  } finally {
    rmSync(folder, { recursive: true });
    // What a folder that is gone leaves.
    git('worktree', 'prune');
  }
  const changed = differences(readLines(), await captureLines());
  if (changed.length > 0) console.log(`\nNot accepted yet (npm run replay -- --write):\n${changed.join('\n')}`);
}

/** A file a kernel and set: its size, and its code without addresses, so that what moved is no difference. */
async function writeListings(folder: string): Promise<void> {
  for await (const { set, name, kernel } of captured()) {
    mkdirSync(join(folder, set), { recursive: true });
    const file = `${name.replaceAll(/[^\w.#*-]+/g, '_').slice(0, 160)}.s`;
    const code = kernel
      .listing()
      .split('\n')
      .map((line) => line.replace(/^\s*[0-9a-f]+(?: [0-9a-f]{2})*\s{2,}/, '  '));
    writeFileSync(join(folder, set, file), `${name}: ${kernel.bytes.length} bytes\n${code.join('\n')}\n`);
  }
}

const program = new Command('replay')
  .description('Shows which kernels a change altered.')
  .option('--write', 'accept the kernels as they are now')
  .option('--listings <folder>', 'write the assembly of every kernel into a folder')
  .option('--base <commit>', 'compare with the merge base with this', 'main')
  .action(replay);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
