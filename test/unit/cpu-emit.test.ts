/** Emitted kernels against plain TypeScript: loops, addresses, tails, threads. */
import assert from 'node:assert/strict';
import { sumLanes } from '../../src/numerics/math.ts';
import {
  axis,
  buffer,
  bytesOf,
  constant,
  define,
  get,
  index,
  kernel,
  load,
  local,
  loop,
  of,
  plus,
  poison,
  runEmitted,
  store,
  testEmitted,
  times,
} from './cpu-emit-harness.ts';
import { generator, normals } from './cpu-products-harness.ts';

const next = generator(1);
const randomF32 = (count: number) => normals(count, next);

testEmitted('f32 add over a vector loop, every length, every team', (machine) => {
  for (let n = 0; n <= 67; n++) {
    const [a, b, o] = [buffer('a', 'f32', n), buffer('b', 'f32', n), buffer('o', 'f32', n, 'write')];
    const i = axis('i', 'vector', n);
    const k = kernel([a, b, o], [loop(i, store(o, of(i), plus(load(a, of(i)), load(b, of(i)))))]);
    const [x, y] = [randomF32(n), randomF32(n)];
    for (const threads of [1, 2, 3, 4]) {
      const [, , out] = runEmitted(k, machine, [bytesOf(x), bytesOf(y), poison(4 * n)], [], threads);
      assert.deepEqual(out, bytesOf(x.map((value, at) => value + (y[at] as number))), `${n}`);
    }
  }
});

testEmitted('f32 row sums in the order of 16 lanes', (machine) => {
  for (let n = 0; n <= 67; n++) {
    const rows = 3;
    const [a, o] = [buffer('a', 'f32', rows * n), buffer('o', 'f32', rows, 'write')];
    const r = axis('r', 'parallel', rows);
    const i = axis('i', 'serial', n);
    const sum = local('sum', 'f32');
    const k = kernel(
      [a, o],
      [
        loop(
          r,
          {
            kind: 'reduce',
            op: 'add',
            axes: [i],
            body: [],
            value: load(a, plus(times(of(r), index(n)), of(i))),
            init: constant('f32', 0.25),
            into: sum,
          },
          store(o, of(r), get(sum)),
        ),
      ],
    );
    const x = randomF32(rows * n);
    const expected = Float32Array.from({ length: rows }, (_, row) => 0.25 + sumLanes(x, row * n, n, 1, Math.fround));
    const [, out] = runEmitted(k, machine, [bytesOf(x), poison(4 * rows)], [], 2);
    assert.deepEqual(out, bytesOf(expected), `${n}`);
  }
});

testEmitted('a local of a body is a register', (machine) => {
  const n = 20;
  const [a, o] = [buffer('a', 'f32', n), buffer('o', 'f32', n, 'write')];
  const i = axis('i', 'vector', n);
  const t = local('t', 'f32');
  const k = kernel([a, o], [loop(i, define(t, load(a, of(i))), store(o, of(i), times(get(t), get(t))))]);
  const x = randomF32(n);
  const [, out] = runEmitted(k, machine, [bytesOf(x), poison(4 * n)]);
  assert.deepEqual(out, bytesOf(x.map((value) => value * value)));
});
