/** The folders of fixtures that are models, and what transformers computed of them (goldens.py). */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { fixtures } from '../fixtures.ts';

const folder = fixtures('models');

export const modelNames: readonly string[] = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

export const modelFolder = (name: string): string => join(folder, name);

/** `ids` of a text, `logits` [ids, vocabulary] after each. */
export async function golden(name: string) {
  await using file = await openCheckpoint(join(folder, name, 'golden.safetensors'));
  const read = async (tensor: string) => {
    const stored = file.tensors.get(tensor);
    assert.ok(stored !== undefined, `${name} has no golden ${tensor}`);
    return stored.bytes.read(0, stored.bytes.length);
  };
  const ids = Array.from(decodeElements('i32', await read('ids')) as Int32Array);
  return { ids, logits: decodeElements('f32', await read('logits')) as Float32Array };
}
