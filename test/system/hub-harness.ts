/** What the tests of pulls share: a hub with a model, a cache of their own, a model with contents of no pattern. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { parseHubName } from '../../src/hub/name.ts';
import { type Pulled, type PullHooks, pull } from '../../src/hub/pull.ts';
import { commitOf, type Repository, TestHub } from './hub-server.ts';

export const MiB = 1 << 20;
/** As in `hub/download.ts`: the tests below look at what is asked for. */
export const pieceBytes = 8 * MiB;

export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0, i = 0; at < length; i++) {
    const block = createHash('sha512')
      .update(`${seed} ${i >> 8}`)
      .digest();
    // A block of pattern is enough that no two pieces are alike.
    block.writeUInt32LE(i, 0);
    bytes.set(block.subarray(0, Math.min(block.length, length - at)), at);
    at += block.length;
  }
  return bytes;
}

/** Two and a half pieces. */
export const model = noise(20 * MiB);
export const modelHash = createHash('sha256').update(model).digest('hex');
export const repository = (): Repository => ({
  commit: commitOf('first'),
  files: { 'README.md': Buffer.from('a model'), 'm-Q4_K_M.gguf': model, 'm-Q8_0.gguf': noise(MiB, 2) },
});

export const folder = mkdtempSync(join(tmpdir(), 'ingot-hub-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** With a cache that is empty; `HF_HUB_CACHE` names it. */
export async function freshHub(): Promise<TestHub> {
  const hub = await TestHub.start();
  hub.repositories.set('org/repo', repository());
  process.env.HF_HUB_CACHE = mkdtempSync(join(folder, 'cache-'));
  return hub;
}

interface PullSettings extends PullHooks {
  readonly signal?: AbortSignal;
  /** Machines on which tests run may be busy. */
  readonly patience?: number;
}

export function pullFrom(
  hub: Pick<TestHub, 'endpoint'>,
  name = 'hf:org/repo',
  { onProgress, onNotice, ...settings }: PullSettings = {},
): Promise<Pulled> {
  const asHub = { endpoint: hub.endpoint, token: 'hf_secret', patience: 20_000, firstWait: 1 };
  return pull(parseHubName(name), {
    hub: { ...asHub, ...settings },
    ...(onProgress && { onProgress }),
    ...(onNotice && { onNotice }),
  });
}

export function isModel(path: string): boolean {
  return readFileSync(path).equals(model);
}

/** Below the folder of the repository's contents. */
export function blobs(): readonly string[] {
  return readdirSync(join(process.env.HF_HUB_CACHE ?? '', 'models--org--repo', 'blobs'));
}
