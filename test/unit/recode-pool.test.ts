/** Worker threads that recode: the same bytes as this thread, refusals with their codes, an end at any time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { convertTensor } from '../../src/formats/convert-tensor.ts';
import { inline, type Recoder } from '../../src/formats/recode.ts';
import { openRecodePool } from '../../src/formats/recode-pool-node.ts';
import { concat, ingot } from './formats-support.ts';

const columns = 512;
const values = Float32Array.from({ length: 700 * columns }, (_, i) => Math.sin(i) * (1 + (i % 7)));
const stored = (data: Float32Array, shape: readonly number[]) => ({
  name: 'w',
  format: 'f32',
  shape,
  bytes: memoryBytes(new Uint8Array(data.buffer), 'w'),
});

async function converted(recoder: Recoder, shape: readonly number[], importance?: Float32Array): Promise<Uint8Array> {
  const conversion = { name: 'w', format: 'q4_K', recoder, ...(importance && { importance }) };
  const chunks: Uint8Array[] = [];
  for await (const chunk of convertTensor(stored(values, shape), conversion).chunks()) chunks.push(chunk);
  return concat(...chunks);
}

test('slices come in order and are what this thread makes of them', async () => {
  await using pool = openRecodePool(3);
  assert.deepEqual(await converted(pool, [700, columns]), await converted(inline, [700, columns]));
});

test('each matrix of a stack has the importance of its own columns', async () => {
  const importance = Float32Array.from({ length: 7 * columns }, (_, i) => 1 + ((i * 37) % 101));
  await using pool = openRecodePool(2);
  const stack = await converted(pool, [7, 100, columns], importance);
  const matrices: Uint8Array[] = [];
  for (let i = 0; i < 7; i++) {
    const matrix = stored(values.slice(i * 100 * columns, (i + 1) * 100 * columns), [100, columns]);
    const weights = importance.slice(i * columns, (i + 1) * columns);
    const conversion = { name: 'w', format: 'q4_K', importance: weights };
    for await (const chunk of convertTensor(matrix, conversion).chunks()) matrices.push(chunk);
  }
  assert.deepEqual(stack, concat(...matrices));
  assert.notDeepEqual(stack, await converted(inline, [7, 100, columns]));
  assert.throws(
    () =>
      convertTensor(stored(values, [7, 100, columns]), { name: 'w', format: 'q4_K', importance: importance.slice(1) }),
    ingot('InvalidArgument', /3583 columns for it, and it has 3584/, { tensor: 'w' }),
  );
});

test('a value that is no number is refused by the name of its tensor, and the pool goes on', async () => {
  await using pool = openRecodePool(2);
  const damaged = values.slice();
  damaged[600 * columns + 3] = NaN;
  const conversion = { name: 'w', format: 'q4_K', recoder: pool };
  await assert.rejects(
    async () => {
      for await (const _ of convertTensor(stored(damaged, [700, columns]), conversion).chunks());
    },
    ingot('InvalidArgument', /holds NaN/, { tensor: 'w' }),
  );
  assert.equal((await converted(pool, [700, columns])).length, (700 * columns * 144) / 256);
});

test('disposing ends what waits with Aborted', async () => {
  const pool = openRecodePool(1);
  const task = () => ({ bytes: new Uint8Array(values.slice().buffer), from: 'f32', to: 'q4_K' });
  const results = Promise.allSettled([pool.recode(task()), pool.recode(task())]);
  await pool[Symbol.asyncDispose]();
  for (const result of await results) {
    assert.ok(result.status === 'rejected' && isIngotError(result.reason, 'Aborted'));
  }
  await assert.rejects(pool.recode(task()), { code: 'Aborted' });
});
