import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { tensor } from '../../src/ir/types.ts';

const T = { sym: 'T', max: 8 } as const;

test('a matrix product with a bias, a maximum and a sum, for several values of a symbolic dimension', async () => {
  const program = new ProgramBuilder().program(
    [
      { name: 'x', type: tensor('f32', [T, 3]), role: 'input' },
      { name: 'w', type: tensor('f32', [2, 3]), role: 'weight' },
    ],
    (b, { x, w }) => {
      const product = b.dot(x, w, { contract: [[1, 1]] });
      const y = b.maximum(b.add(product, b.full('f32', [T, 2], 1)), b.full('f32', [T, 2], 0));
      return { y, sum: b.reduce('add', y, 0, [1]) };
    },
  );
  const device = createReferenceDevice();
  using executable = await device.compile(program);
  using w = await device.allocate(tensor('f32', [2, 3]), 'weights');
  device.write(w, Float32Array.of(1, 2, 3, -1, -2, -3));
  using bound = await device.bind(executable, new Map([['w', w]]), new Map());
  for (const count of [1, 2, 5]) {
    const x = Float32Array.from({ length: 3 * count }, (_, i) => i);
    const results = await device.wait(device.submit(bound, new Map([['x', x]]), { T: count }), Infinity);
    const rows = Array.from({ length: count }, (_, r) => 1 + x[3 * r] + 2 * x[3 * r + 1] + 3 * x[3 * r + 2]);
    const read = (name: string) => new Float32Array((results.get(name) as Uint8Array<ArrayBuffer>).buffer);
    assert.deepEqual(
      [...read('y')],
      rows.flatMap((v) => [v, Math.max(0, 2 - v)]),
    );
    assert.deepEqual(
      [...read('sum')],
      rows.map((v) => v + Math.max(0, 2 - v)),
    );
  }
});
