/** What tells models apart that ranks have files of, each its own: cheap, since whoever wants to deceive is no rank. */
import { createHash } from 'node:crypto';
import type { Model } from '../models/model.ts';

const samples = 64;
const sampleBytes = 64;

/** Of the architecture, the formats and shapes of all weights, and bytes from the middle of some of them. */
export async function modelDigest({ architecture, contextLength, vocabularySize, weights }: Model): Promise<string> {
  const hash = createHash('sha256');
  const all = [...weights];
  const rows = all.map(([name, { format, shape, bytes }]) => [name, format, shape, bytes.length]);
  hash.update(JSON.stringify([architecture, contextLength, vocabularySize, rows]));
  const stride = Math.max(1, Math.ceil(all.length / samples));
  for (const [, { bytes }] of all.filter((_, i) => i % stride === 0)) {
    const length = Math.min(sampleBytes, bytes.length);
    hash.update(await bytes.read(Math.floor((bytes.length - length) / 2), length));
  }
  return hash.digest('hex');
}
