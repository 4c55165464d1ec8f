/** What machine code that is remembered must have been made by. */
import { readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { version } = createRequire(import.meta.url)('ingot/package.json') as { version: string };

/** Where this file lies is either the root of compiled sources, two folders up, or the folder of the bundle. */
const isBundled = !import.meta.url.endsWith('/devices/cpu/code-stamp.js');
const root = fileURLToPath(new URL(isBundled ? '.' : '../../', import.meta.url));
const folders = isBundled
  ? ['.']
  : [
      ...[
        'compiler',
        'compiler/kernel',
        'compiler/partition',
        'compiler/partition/rules',
        'composites',
        'ir',
        'numerics/quant',
        'devices/cpu',
      ],
      ...['asm', 'composites', 'emit', 'kernels'].map((name) => `devices/cpu/${name}`),
    ];

/** Changes with the version and, where somebody works on Ingot, with the files that make code. */
export const codeStamp = () => stampOf(folders);

/** The same, and with the files that read models. */
export const weightStamp = () => stampOf(isBundled ? folders : [...folders, 'formats', 'models']);

function stampOf(folders: readonly string[]): string {
  let [newest, bytes] = [0, 0];
  for (const folder of folders) {
    for (const name of readdirSync(join(root, folder))) {
      if (!name.endsWith('.js')) continue;
      const { mtimeMs, size } = statSync(join(root, folder, name));
      newest = Math.max(newest, mtimeMs);
      bytes += size;
    }
  }
  return `${version} ${bytes} ${Math.trunc(newest)}`;
}
