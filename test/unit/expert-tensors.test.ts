/** Experts of a Hugging Face folder as the tensors of GGUF files: joined, turned, and repacked while they are read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinBytes, memoryBytes } from '../../src/base/bytes.ts';
import type { Checkpoint, StoredTensor } from '../../src/formats/checkpoint.ts';
import { everyOther, mxfp4Experts, transposedExperts } from '../../src/models/expert-views.ts';
import { row, takeTensors } from '../../src/models/tensors.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { ingot } from './formats-support.ts';

const stored = (name: string, shape: readonly number[], values: ArrayBufferView, format = 'f32'): StoredTensor => ({
  ...{ name, shape, format },
  bytes: memoryBytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
});
const floats = async ({ bytes }: StoredTensor) => [...decodeElements('f32', await bytes.read(0, bytes.length))];

test('joined sources give every range as their bytes in a row do', async () => {
  const all = Uint8Array.from({ length: 12 }, (_, i) => i);
  const joined = joinBytes([0, 4, 8].map((at) => memoryBytes(all.subarray(at, at + 4))));
  for (let from = 0; from <= 12; from++) {
    for (let to = from; to <= 12; to++) {
      assert.deepEqual([...(await joined.read(from, to - from))], [...all.subarray(from, to)]);
    }
  }
  await assert.rejects(joined.read(9, 4), ingot('InvalidFile'));
});

function folder(...tensors: readonly StoredTensor[]): Checkpoint {
  return {
    ...{ kind: 'huggingface', path: 'folder', files: [], metadata: new Map(), companions: new Map() },
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    [Symbol.asyncDispose]: async () => {},
  };
}

test('experts are one tensor in the order of their numbers; one that is missing or differs is named', async () => {
  const expert = (i: number, shape = [1, 2]) =>
    stored(
      `experts.${i}.up`,
      shape,
      Float32Array.from({ length: 2 }, (_, k) => 10 * i + k),
    );
  // As a folder may list them.
  const experts = [10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9].map((i) => expert(i));
  const rows = [row('up', 'experts.*.up', [11, 1, 2])];
  const up = takeTensors(folder(...experts), 'mixture', rows).get('up') ?? assert.fail();
  assert.deepEqual(up.shape, [11, 1, 2]);
  assert.deepEqual(
    await floats(up),
    Array.from({ length: 22 }, (_, i) => 10 * (i >> 1) + (i & 1)),
  );
  const without = experts.filter(({ name }) => name !== 'experts.7.up');
  assert.throws(() => takeTensors(folder(...without), 'mixture', rows), ingot('InvalidFile', /experts\.7\.up/));
  const other = [...without, expert(7, [2, 1])];
  assert.throws(
    () => takeTensors(folder(...other), 'mixture', rows),
    ingot('InvalidFile', /experts\.7\.up is \[2,1\]/),
  );
  // A configuration may claim any number of them.
  const many = [row('up', 'experts.*.up', [2 ** 31, 1, 2])];
  assert.throws(() => takeTensors(folder(...experts), 'mixture', many), ingot('InvalidFile', /experts\.11\.up/));
});

test('rows that take turns come apart, as they lie and the other way round', async () => {
  const bias = stored('bias', [2, 4], Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7));
  assert.deepEqual(await floats(everyOther(bias, 2, 0)), [0, 2, 4, 6]);
  assert.deepEqual(await floats(everyOther(bias, 2, 1)), [1, 3, 5, 7]);
  // [E, K, 2N] of 1, 2 and 2 * 3.
  const matrix = stored('matrix', [1, 2, 6], Float32Array.of(0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15));
  const up = transposedExperts(matrix, 2, 1);
  assert.deepEqual(up.shape, [1, 3, 2]);
  assert.deepEqual(await floats(up), [1, 11, 3, 13, 5, 15]);
});

test('blocks and scales of MXFP4 become those of GGUF files', async () => {
  // Two rows that take turns, of two blocks each; value k of block b is level (k + b) mod 16.
  const [rows, blocks] = [2, 2];
  const levels = new Uint8Array(rows * blocks * 16).map((_, at) => {
    const [block, pair] = [at >> 4, at & 15];
    return ((2 * pair + block) & 15) | (((2 * pair + 1 + block) & 15) << 4);
  });
  const scales = Uint8Array.of(127, 128, 126, 130);
  const view = mxfp4Experts(
    stored('b', [1, rows, blocks, 16], levels, 'u8'),
    stored('s', [1, rows, blocks], scales, 'u8'),
    2,
    1,
  );
  assert.deepEqual([view.format, view.shape], ['mxfp4', [1, 1, 64]]);
  const values = new Float32Array(64);
  blockFormat('mxfp4').decode(await view.bytes.read(0, view.bytes.length), values);
  // ggml has no negative zero.
  const fp4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6];
  const expected = Array.from({ length: 64 }, (_, k) => {
    const block = 2 + (k >> 5);
    return (fp4[((k & 31) + block) & 15] ?? 0) * 2 ** ((scales[block] ?? 0) - 127);
  });
  assert.deepEqual([...values], expected);
  const wrong = stored('s', [1, rows, 1], scales.subarray(2), 'u8');
  assert.throws(
    () => mxfp4Experts(stored('b', [1, rows, blocks, 16], levels, 'u8'), wrong, 2, 1),
    ingot('InvalidFile'),
  );
});
