/**
 * Settings of every architecture with values that make no sense: whatever `config.json` or GGUF's keys say, there is a model
 * whose program can be built, or an IngotError, soon. Seeded.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import { stepLimits } from '../../src/engine/step-limits.ts';
import type { Checkpoint, MetadataValue } from '../../src/formats/checkpoint.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { bytesOf, seededRandom } from '../unit/formats-support.ts';
import { processorTime } from '../unit/processor-time.ts';
import { embedderNames, modelFolder, modelNames } from './golden.ts';

const values: readonly MetadataValue[] = [0, -1, 3, 2 ** 31, 1e300, 0.5, '', true, [], [0.5], {}];
type Fields = Readonly<Record<string, MetadataValue>>;
const isSection = (value: MetadataValue | undefined): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

/** One value, or one in a section, changed for another or taken away. */
function strange(metadata: Checkpoint['metadata'], random: (limit: number) => number): Map<string, MetadataValue> {
  const copy = new Map(metadata);
  const keys = [...copy.keys()].filter((key) => key !== 'architectures' && !/^general\.|^tokenizer/.test(key));
  const key = keys[random(keys.length)] ?? '';
  const value = values[random(values.length)] ?? 0;
  const old = copy.get(key);
  const inner = isSection(old) ? Object.keys(old) : [];
  if (isSection(old) && inner.length > 0 && random(4) > 0)
    copy.set(key, { ...old, [inner[random(inner.length)] ?? '']: value });
  else if (random(8) === 0) copy.delete(key);
  else copy.set(key, value);
  return copy;
}

/** Whether a program can be built of it. */
function endsWell(checkpoint: Checkpoint, what: string): boolean {
  const begin = processorTime();
  let fine = false;
  try {
    const model = openModel(checkpoint);
    const limits = { ...stepLimits(model, { contextLength: Math.min(32, model.contextLength) }), maxTokens: 16 };
    const result = model.results.includes('sample') ? 'sample' : 'embedding';
    model.build({ limits, kv: 'f32', numerics: 'i8', results: [result] });
    fine = true;
  } catch (error) {
    assert.ok(isIngotError(error), `${what}: ${error instanceof Error ? error.stack : String(error)}`);
  }
  assert.ok(processorTime() - begin < 5000, what);
  return fine;
}

const difference = (before: Checkpoint['metadata'], after: Checkpoint['metadata']) =>
  JSON.stringify(
    [...before.keys()].filter((key) => before.get(key) !== after.get(key)).map((key) => [key, after.get(key) ?? null]),
  );

for (const [kind, seed] of [
  ['config.json', 41],
  ['the keys of a GGUF file', 42],
] as const) {
  test(`${kind} with strange values`, async () => {
    const random = seededRandom(seed);
    let fine = 0;
    let tried = 0;
    for (const name of [...modelNames, ...embedderNames]) {
      await using folder = await openCheckpoint(modelFolder(name));
      let checkpoint: Checkpoint = folder;
      if (kind !== 'config.json') {
        try {
          const contents = exportGguf(folder, openModel(folder), { name, tokenizer: new Map() });
          checkpoint = await readGguf(memoryBytes(await bytesOf(layoutGguf(contents))));
        } catch (error) {
          // GGUF cannot say all that folders can.
          assert.ok(isIngotError(error, 'UnsupportedFile'));
          continue;
        }
      }
      assert.ok(endsWell(checkpoint, name));
      for (let round = 0; round < 30; round++) {
        let metadata = new Map(checkpoint.metadata);
        for (let changes = 1 + random(2); changes > 0; changes--) metadata = strange(metadata, random);
        tried++;
        if (endsWell({ ...checkpoint, metadata }, `${name} ${difference(checkpoint.metadata, metadata)}`)) fine++;
      }
    }
    assert.ok(fine > tried / 20 && fine < tried * 0.95, `${fine} of ${tried} could be built`);
  });
}
