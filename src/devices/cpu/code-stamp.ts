/** What machine code that is remembered must have been made by. */
import { readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { version } = createRequire(import.meta.url)('../../../../package.json') as { version: string };

/** Changes with the version and, where somebody works on Ingot, with the files that make code. */
export function codeStamp(): string {
  const sources = fileURLToPath(new URL('../../', import.meta.url));
  let [newest, bytes] = [0, 0];
  for (const folder of [
    'devices/cpu',
    'devices/cpu/asm',
    'devices/cpu/composites',
    'devices/cpu/emit',
    'devices/cpu/kernels',
    'compiler/kernel',
  ]) {
    for (const name of readdirSync(join(sources, folder))) {
      if (!name.endsWith('.js')) continue;
      const { mtimeMs, size } = statSync(join(sources, folder, name));
      newest = Math.max(newest, mtimeMs);
      bytes += size;
    }
  }
  return `${version} ${bytes} ${Math.trunc(newest)}`;
}
