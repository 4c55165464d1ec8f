/** What tells models apart that ranks have files of, each its own: cheap, since whoever wants to deceive is no rank. */
import { createHash } from 'node:crypto';
import type { Model } from '../models/model.ts';

const sampleBytes = 64;

/** Of the architecture, the formats and shapes of all weights, and bytes from the middle of each. */
export async function modelDigest({ architecture, contextLength, vocabularySize, weights }: Model): Promise<string> {
  const hash = createHash('sha256');
  const all = [...weights];
  const rows = all.map(([name, { format, shape, bytes }]) => [name, format, shape, bytes.length]);
  hash.update(JSON.stringify([architecture, contextLength, vocabularySize, rows]));
  const samples = all.map(([, { bytes }]) => {
    const length = Math.min(sampleBytes, bytes.length);
    return bytes.read(Math.floor((bytes.length - length) / 2), length);
  });
  for (const sample of await Promise.all(samples)) hash.update(sample);
  return hash.digest('hex');
}
