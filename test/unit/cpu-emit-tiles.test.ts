/** Loops in tiles, moves by registers and folds in strips: the values of the evaluator of the language, whatever the extents, types and threads. */
import assert from 'node:assert/strict';
import { evaluatorOf } from '../../src/compiler/kernel/evaluate.ts';
import type { Expression, Kernel, ScalarElement, Statement } from '../../src/compiler/kernel/language.ts';
import { emitKernel } from '../../src/devices/cpu/emit/emit.ts';
import { targetKey } from '../../src/devices/cpu/target.ts';
import { elementBytes } from '../../src/numerics/element-types.ts';
import { encodeElements, hostArray } from '../../src/numerics/host-array.ts';
import { same } from './cpu-emit-checked.ts';
import {
  axis,
  binary,
  buffer,
  constant,
  convert,
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
import { generator } from './cpu-products-harness.ts';
import { withDrawnSchedule, withSchedule } from './drawn-schedule.ts';
import type { Machine } from './machine.ts';

const next = generator(7);

/** Small numbers, those of a row unlike those of the next. */
function numbers(element: ScalarElement, count: number): Uint8Array {
  const values = hostArray(element, count);
  for (let i = 0; i < count; i++) {
    const value = element === 'i1' ? (i % 3) & 1 : ((i * 37 + (i >> 5) * 11) % 61) % 7;
    values[i] = typeof values[i] === 'bigint' ? BigInt(value) : value;
  }
  return encodeElements(element, values);
}

/** The emitted kernel on its inputs, by the evaluator too; the last buffer is the output. */
function check(k: Kernel, machine: Machine, threads: readonly number[], streamed?: number): void {
  const inputs = k.buffers.slice(0, -1).map(({ element, elements }) => numbers(element, elements));
  const out = k.buffers.at(-1) ?? assert.fail();
  const expected = poison(out.elements * elementBytes(out.element));
  evaluatorOf(k)([...inputs.map((bytes) => ({ bytes: bytes.slice(), offset: 0 })), { bytes: expected, offset: 0 }], {});
  for (const count of machine.emulated ? threads.slice(0, 1) : threads) {
    const drawn = next() % 2 === 0 ? machine : withDrawnSchedule(machine, next);
    const on = withSchedule(drawn, streamed === undefined ? {} : { streamedBytes: streamed });
    const emitted = emitKernel(k, on.target);
    const results = runEmitted(k, machine, [...inputs, poison(expected.length)], [], count, emitted);
    const difference = same(out.element, expected, results.at(-1) ?? assert.fail(), false);
    assert.equal(difference, undefined, `${k.name} with ${count} threads, ${targetKey(on.target)}`);
  }
}

const isTiled = (k: Kernel, machine: Machine) => emitKernel(k, machine.target).listing().includes('vpunpckl');

/** out[b, i, j] = in[b, j, i], of `batch` matrices. */
function transpose(element: ScalarElement, batch: number, rows: number, columns: number): Kernel {
  const [a, o] = [buffer('a', element, batch * rows * columns), buffer('o', element, batch * rows * columns, 'write')];
  const [b, i, j] = [axis('b', 'parallel', batch), axis('i', 'parallel', columns), axis('j', 'vector', rows)];
  const matrix = times(of(b), index(rows * columns));
  const from = plus(plus(matrix, times(of(j), index(columns))), of(i));
  const to = plus(plus(matrix, times(of(i), index(rows))), of(j));
  const v = local('v', element);
  return kernel([a, o], [loop(b, loop(i, loop(j, define(v, load(a, from)), store(o, to, get(v)))))]);
}

testEmitted('matrices of every type and shape are transposed in tiles', (machine) => {
  const types = ['f32', 'f64', 'bf16', 'i8', 'ui16', 'i64', 'i1', 'ui4', 'i32'] satisfies ScalarElement[];
  for (const [t, element] of types.entries()) {
    const shapes = [
      [1, 16, 16],
      [2, 70, 33],
      [1, 150, 64],
      [1, 64, 131],
    ] as const;
    for (const [s, [batch, rows, columns]] of shapes.entries()) {
      if (machine.emulated && (s + t) % 3 > 0) continue;
      const k = transpose(element, batch, rows, columns);
      assert.ok(isTiled(k, machine), element);
      check(k, machine, [3, 1, 2]);
      check(k, machine, [2], 1);
    }
  }
  assert.ok(!isTiled(transpose('f32', 1, 15, 100), machine), 'a side that is too short');
});

testEmitted('what is computed with a transposed operand is tiled, what updates is not', (machine) => {
  const [rows, columns] = [40, 83];
  const [i, j] = [axis('i', 'parallel', columns), axis('j', 'vector', rows)];
  const crossed = plus(times(of(j), index(columns)), of(i));
  const straight = plus(times(of(i), index(rows)), of(j));
  const [a, b, c] = [buffer('a', 'bf16', rows * columns), buffer('b', 'f32', rows * columns), buffer('c', 'f32', rows)];
  const sum = (x: Expression) => plus(plus(x, times(load(b, straight), load(b, crossed))), load(c, of(j)));
  const body = (o: ReturnType<typeof buffer>): Statement =>
    loop(i, loop(j, store(o, straight, sum(convert('f32', load(a, crossed))))));
  const out = buffer('o', 'f32', rows * columns, 'write');
  const k = kernel([a, b, c, out], [body(out)]);
  assert.ok(isTiled(k, machine));
  check(k, machine, [2, 1, 3]);
  const updated = buffer('o', 'f32', rows * columns, 'update');
  assert.ok(!isTiled(kernel([a, b, c, updated], [body(updated)]), machine));
  // Whatever has no code in lanes is written without tiles.
  const [x, y] = [buffer('x', 'i32', rows * columns), buffer('y', 'i32', rows * columns, 'write')];
  const divided = binary('divide', load(x, crossed), constant('i32', 3));
  const slow = kernel([x, y], [loop(i, loop(j, store(y, straight, divided)))]);
  assert.ok(!isTiled(slow, machine));
  check(slow, machine, [2]);
});

testEmitted('neighbours of one and two bytes are moved as they lie in memory', (machine) => {
  for (const [t, element] of (['i8', 'bf16', 'ui16', 'i1', 'ui4'] satisfies ScalarElement[]).entries()) {
    for (const [s, columns] of [5, 32, 64, 131, 300].entries()) {
      if (machine.emulated && (s + t) % 3 > 0) continue;
      const [rows, step, first] = [3, 320, 32 * (s % 2) + (s % 3)];
      const [a, o] = [buffer('a', element, rows * columns), buffer('o', element, rows * step + first, 'write')];
      const [r, c] = [axis('r', 'parallel', rows), axis('c', 'vector', columns)];
      const from = plus(times(of(r), index(columns)), of(c));
      const to = plus(plus(times(of(r), index(step)), of(c)), index(first));
      const v = local('v', element);
      const k = kernel([a, o], [loop(r, loop(c, define(v, load(a, from)), store(o, to, get(v))))]);
      check(k, machine, [2, 1]);
      check(k, machine, [1], 1);
      const flat = axis('c', 'vector', rows * columns);
      check(kernel([a, o], [loop(flat, store(o, of(flat), load(a, of(flat))))]), machine, [3, 1], 1);
    }
  }
});

testEmitted('folds of columns in strips', (machine) => {
  const types = ['f32', 'f64', 'bf16', 'i8', 'ui32', 'i64'] satisfies ScalarElement[];
  for (const [t, element] of types.entries()) {
    for (const [s, [rows, columns]] of [
      [1, 5],
      [37, 61],
      [5, 2048 + 70],
      [18, 64],
    ].entries()) {
      if (machine.emulated && (s + t) % 3 > 0) continue;
      for (const op of ['add', 'maximum'] as const) {
        const [a, w, o] = [
          buffer('a', element, rows * columns),
          buffer('w', element, columns),
          buffer('o', element, columns, 'write'),
        ];
        const [c, r] = [axis('c', 'vector', columns), axis('r', 'serial', rows)];
        const [before, value, result] = [local('before', element), local('value', element), local('result', element)];
        const at = plus(times(of(r), index(columns)), of(c));
        const fold: Statement = {
          ...{ kind: 'reduce', op, axes: [r], body: [define(value, load(a, at))] },
          ...{ value: plus(get(value), load(w, of(c))), init: load(w, of(c)), into: result },
        };
        const body = [define(before, load(w, of(c))), fold, store(o, of(c), plus(get(result), get(before)))];
        check(kernel([a, w, o], [loop(c, ...body)]), machine, [2, 1, 3]);
      }
    }
  }
});

testEmitted('neighbours in descending order, and indices as numbers, run in lanes', (machine) => {
  for (const element of ['f32', 'f64', 'bf16', 'i8', 'ui16', 'i32', 'i64'] satisfies ScalarElement[]) {
    for (const n of [5, 16, 43, 128]) {
      const [a, o] = [buffer('a', element, 3 * n), buffer('o', element, 3 * n, 'write')];
      const [i, j] = [axis('i', 'parallel', 3), axis('j', 'vector', n)];
      const row = times(of(i), index(n));
      const back = plus(plus(row, index(n - 1)), times(of(j), index(-1)));
      const number = convert(element, plus(plus(times(of(j), index(2)), of(i)), index(5)));
      check(kernel([a, o], [loop(i, loop(j, store(o, plus(row, of(j)), plus(load(a, back), number))))]), machine, [2]);
    }
  }
  const [o, far] = [buffer('o', 'f32', 40, 'write'), axis('j', 'vector', 40)];
  const number = convert('f32', times(of(far), index(2 ** 30)));
  check(kernel([o], [loop(far, store(o, of(far), number))]), machine, [1]);
});

testEmitted('short rows that do not follow one another are asked for ahead', (machine) => {
  const [rows, stride] = [66, 8192];
  for (const [element, columns] of [
    ['f32', 40],
    ['bf16', 128],
    ['f32', 2000],
  ] satisfies [ScalarElement, number][]) {
    const [a, o] = [buffer('a', element, rows * stride), buffer('o', element, rows * columns, 'write')];
    const [i, j] = [axis('i', 'parallel', rows), axis('j', 'vector', columns)];
    const x = load(a, plus(times(of(i), index(stride)), of(j)));
    const k = kernel([a, o], [loop(i, loop(j, store(o, plus(times(of(i), index(columns)), of(j)), plus(x, x))))]);
    assert.equal(emitKernel(k, machine.target).listing().includes('prefetch'), columns < 2000);
    if (columns < 2000) check(k, machine, [2]);
  }
});

/** out[i, j] = the sum of a[i, k] * b over k and, in turn, l; b is [k, l, j] or, `crossed`, [j, k, l]. */
function product(
  element: ScalarElement,
  crossed: boolean,
  rows: number,
  columns: number,
  [K, L]: [number, number],
): Kernel {
  const type: ScalarElement = element === 'bf16' ? 'f32' : element;
  const [a, b] = [buffer('a', element, rows * K), buffer('b', element, columns * K * L)];
  const o = buffer('o', type, rows * columns, 'write');
  const [i, j, k, l] = [
    axis('i', 'parallel', rows),
    axis('j', 'vector', columns),
    axis('k', 'serial', K),
    axis('l', 'serial', L),
  ];
  const inner = plus(times(of(k), index(L)), of(l));
  const at = crossed ? plus(times(of(j), index(K * L)), inner) : plus(times(inner, index(columns)), of(j));
  const [sum, x, y] = [local('sum', type), local('x', element), local('y', element)];
  const wide = (v: Expression) => (type === element ? v : convert(type, v));
  const [z, add] = [local('z', type), plus(get(sum), times(wide(get(x)), wide(get(y))))];
  const body = [
    define(x, load(a, plus(times(of(i), index(K)), of(k)))),
    define(y, load(b, at)),
    define(z, add),
    { kind: 'set', local: sum, value: get(z) } satisfies Statement,
  ];
  return kernel(
    [a, b, o],
    [
      loop(
        i,
        loop(
          j,
          define(sum, constant(type, 1)),
          loop(k, loop(l, ...body)),
          store(o, plus(times(of(i), index(columns)), of(j)), get(sum)),
        ),
      ),
    ],
  );
}

testEmitted('products go through their serial loops side by side, or by squares', (machine) => {
  for (const element of ['f32', 'bf16', 'i32', 'f64'] satisfies ScalarElement[]) {
    for (const crossed of [false, true]) {
      for (const [columns, length] of [
        [64, [3, 8]],
        [70, [1, 19]],
        [131, [2, 1]],
        [5, [4, 9]],
      ] satisfies [number, [number, number]][]) {
        if (machine.emulated && columns === 131) continue;
        check(product(element, crossed, 2, columns, length), machine, [2]);
      }
    }
  }
});
