/** Where the peers are: llama.cpp's libraries in an installed node-llama-cpp, and onnxruntime-node, or packages installed for this run. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InstructionSet } from '../../src/devices/cpu/target.ts';

export const llamaPackage = 'node-llama-cpp@3.22.1';
export const onnxPackage = 'onnxruntime-node@1.30.0';

/**
 * The folder of the libraries below an installed package, a folder of packages, or that folder itself.
 * @throws Error where there are none.
 */
export function findPeer(folder: string): string {
  const below = [
    '',
    'bins/linux-x64',
    '@node-llama-cpp/linux-x64/bins/linux-x64',
    '../@node-llama-cpp/linux-x64/bins/linux-x64',
  ];
  const places = ['', 'node_modules'].flatMap((at) => below.map((name) => join(folder, at, name)));
  const found = places.find(
    (place) => existsSync(place) && readdirSync(place).some((name) => /^libllama\..*so/.test(name)),
  );
  if (found === undefined) throw new Error(`there are no libraries of llama.cpp in ${folder}`);
  return found;
}

/** Installs both packages below a folder, without running their scripts: where. */
export function installPeers(below: string): string {
  const folder = join(below, 'peers');
  mkdirSync(folder);
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder];
  execFileSync('npm', ['install', ...options, llamaPackage, onnxPackage], { stdio: 'inherit' });
  return folder;
}

/** Whether onnxruntime-node is installed in a folder. */
export function hasOnnx(folder: string): boolean {
  return existsSync(join(folder, 'node_modules', 'onnxruntime-node'));
}

/** Processor variants of llama.cpp that have no more than a set, by the names of their libraries. */
const variants: Readonly<Partial<Record<InstructionSet, RegExp>>> = {
  avx2: /-cpu-(x64|sse42|ivybridge|sandybridge|piledriver|haswell)\./,
  vnni: /-cpu-(?!sapphirerapids|alderlake)/,
};

/** A folder of links to the libraries that use no more than a set; undefined where that cannot be said. */
export function limitPeer(folder: string, set: InstructionSet): string | undefined {
  const allowed = variants[set];
  if (allowed === undefined) return undefined;
  const limited = mkdtempSync(join(tmpdir(), 'ingot-peer-'));
  for (const name of readdirSync(folder)) {
    if (!name.includes('ggml-cpu-') || allowed.test(name)) symlinkSync(join(folder, name), join(limited, name));
  }
  return limited;
}
