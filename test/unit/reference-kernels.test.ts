import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import type { BinaryOp, UnaryOp } from '../../src/ir/attributes.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Value } from '../../src/ir/program.ts';
import { asTensor, tensor } from '../../src/ir/types.ts';
import type { ElementType } from '../../src/numerics/element-types.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';

/** Elements of the values that `build` makes. */
async function evaluate(...build: ((b: Builder) => Value)[]): Promise<(number | bigint)[][]> {
  const program = new ProgramBuilder().program([], (b) =>
    Object.fromEntries(build.map((make, i) => [`r${i}`, make(b)])),
  );
  await using device = createReferenceDevice();
  using executable = await device.compile(program);
  using bound = await device.bind(executable, new Map(), new Map());
  const results = await device.wait(device.submit(bound, new Map(), {}), Number.POSITIVE_INFINITY);
  return program.results.map(({ name, type }) => {
    const view = results.get(name) as ArrayBufferView;
    return [...decodeElements(asTensor(type).element, new Uint8Array(view.buffer, view.byteOffset, view.byteLength))];
  });
}

const { fround } = Math;

test('a dot product adds in ascending order, one accumulator, whatever the layout and the number of rows', async () => {
  const shape = fc.record({ m: fc.integer({ min: 1, max: 5 }), n: fc.integer({ min: 1, max: 19 }), seed: fc.nat() });
  const property = fc.asyncProperty(shape, fc.integer({ min: 1, max: 40 }), async ({ m, n, seed }, k) => {
    const random = (count: number, salt: number) =>
      Float32Array.from({ length: count }, (_, i) => Math.sin((seed % 1000) + salt + i * 12.9898) * 1000);
    const x = random(m * k, 1);
    const w = random(n * k, 2);
    const expected = Array.from({ length: m * n }, (_, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      let total = 0;
      for (let c = 0; c < k; c++) total = fround(total + fround(x[i * k + c] * w[j * k + c]));
      return total;
    });
    const left = (b: Builder) => b.constant(tensor('f32', [m, k]), x);
    const right = (b: Builder) => b.constant(tensor('f32', [n, k]), w);
    const [plain, transposed, firstRow] = await evaluate(
      (b) => b.dot(left(b), right(b), { contract: [[1, 1]] }),
      (b) => b.dot(b.transpose(left(b), [1, 0]), b.transpose(right(b), [1, 0]), { contract: [[0, 0]] }),
      (b) => b.dot(b.slice(left(b), 0, 0, 1), right(b), { contract: [[1, 1]] }),
    );
    assert.deepEqual(plain, expected);
    assert.deepEqual(transposed, expected);
    assert.deepEqual(firstRow, expected.slice(0, n));
  });
  await fc.assert(property, { seed: 3, numRuns: 40 });
});

test('narrow floats accumulate in f32 and round once; integers wrap', async () => {
  const ones = Array.from({ length: 300 }, () => 1);
  const dot = (element: ElementType, values: readonly number[], result?: ElementType) => (b: Builder) => {
    const x = b.constant(tensor(element, [300]), values);
    return b.dot(x, x, { contract: [[0, 0]], ...(result && { element: result }) });
  };
  const tens = ones.map(() => 10);
  const [bf16, i8, wide] = await evaluate(dot('bf16', ones), dot('i8', tens), dot('i8', tens, 'i32'));
  assert.deepEqual(bf16, [300], 'in bf16 the sum would stop at 256');
  assert.deepEqual(i8, [(30000 << 24) >> 24]);
  assert.deepEqual(wide, [30000]);
});

test('a float sum runs in 16 lanes, the same whichever dimension is folded', async () => {
  const values = Float32Array.from({ length: 3 * 37 }, (_, i) => Math.sin(i) * 10 ** (i % 5));
  const lanes = (row: number) => {
    const sums = new Float32Array(16);
    for (let i = 0; i < 37; i++) sums[i % 16] += values[row * 37 + i];
    for (let half = 8; half >= 1; half /= 2) for (let i = 0; i < half; i++) sums[i] += sums[i + half];
    return fround(0.5 + sums[0]);
  };
  const x = (b: Builder) => b.constant(tensor('f32', [3, 37]), values);
  const [rows, columns, apart] = await evaluate(
    (b) => b.reduce('add', x(b), 0.5, [1]),
    (b) => b.reduce('add', b.transpose(x(b), [1, 0]), 0.5, [0]),
    (b) => b.reduce('add', b.transpose(b.reshape(x(b), [3, 37, 1]), [1, 0, 2]), 0.5, [0, 2]),
  );
  const expected = [0, 1, 2].map(lanes);
  assert.deepEqual(rows, expected);
  assert.deepEqual(columns, expected);
  assert.deepEqual(apart, expected);
});

test('elementwise ops at the edges of their types', async () => {
  type Case = [
    BinaryOp | UnaryOp,
    ElementType,
    (number | bigint)[],
    (number | bigint)[] | undefined,
    (number | bigint)[],
  ];
  const cases: Case[] = [
    ['divide', 'i32', [7, -7, 5, -(2 ** 31)], [2, 2, 0, -1], [3, -3, -1, -(2 ** 31)]],
    ['remainder', 'i32', [7, -7, 5], [-2, 2, 0], [1, -1, 5]],
    ['divide', 'ui8', [200, 1], [3, 0], [66, 255]],
    ['shift_left', 'i8', [1, 1, 1], [7, 8, -1], [-128, 0, 0]],
    ['shift_right_arithmetic', 'i8', [-128, -128, 64], [3, 9, 9], [-16, -1, 0]],
    ['shift_right_logical', 'i8', [-128, -1], [3, 8], [16, 0]],
    ['power', 'i32', [3, -1, 2, 0], [4, -3, -1, 0], [81, -1, 0, 1]],
    ['power', 'ui64', [3n, 2n], [40n, 64n], [12157665459056928801n, 0n]],
    ['multiply', 'i32', [123456789], [987654321], [Math.imul(123456789, 987654321)]],
    ['add', 'i4', [7, -8], [1, -1], [-8, 7]],
    ['maximum', 'f32', [Number.NaN, -0, 1], [1, 0, 2], [Number.NaN, 0, 2]],
    ['power', 'f32', [1, -1, 0], [Number.NaN, Number.POSITIVE_INFINITY, 0], [1, 1, 1]],
    ['add', 'bf16', [256], [1], [256]],
    ['round_nearest_even', 'f32', [0.5, 1.5, -2.5, -0.2], undefined, [0, 2, -2, -0]],
    ['round_nearest_afz', 'f32', [0.5, -2.5, 0.49999997], undefined, [1, -3, 0]],
    ['count_leading_zeros', 'i8', [0, 1, -1], undefined, [8, 7, 0]],
    ['popcnt', 'i64', [-1n, 3n], undefined, [64n, 2n]],
    ['abs', 'i8', [-128, -5], undefined, [-128, 5]],
    ['sign', 'f32', [-0, -3, Number.NaN], undefined, [-0, -1, Number.NaN]],
    ['sqrt', 'complex<f32>', [-4, 0], undefined, [0, 2]],
    ['multiply', 'complex<f64>', [1, 2], [3, 4], [-5, 10]],
  ];
  const results = await evaluate(
    ...cases.map(([op, element, x, y]) => (b: Builder) => {
      const shape = [x.length / (element.startsWith('complex') ? 2 : 1)];
      const value = (numbers: (number | bigint)[]) => b.constant(tensor(element, shape), numbers);
      return y === undefined ? b.unary(op as UnaryOp, value(x)) : b.binary(op as BinaryOp, value(x), value(y));
    }),
  );
  for (const [i, [op, element, , , expected]] of cases.entries())
    assert.deepEqual(results[i], expected, `${op} ${element}`);
});

test('convert cuts, saturates, rounds once, and turns NaN into 0', async () => {
  const convert = (from: ElementType, to: ElementType, values: (number | bigint)[]) => (b: Builder) =>
    b.convert(b.constant(tensor(from, [values.length]), values), to);
  const results = await evaluate(
    convert('f32', 'i8', [1.9, -1.9, 300, -300, Number.NaN]),
    convert('f32', 'i64', [2 ** 62, 2 ** 63, -(2 ** 63), Number.NEGATIVE_INFINITY]),
    convert('f64', 'ui32', [-1, 2 ** 32]),
    // The nearest f64 lies half way between two f32 values: rounding twice would go the wrong way.
    convert('i64', 'f32', [(1n << 60n) + (1n << 36n) + 1n]),
    convert('i32', 'i8', [130, -129]),
    convert('f32', 'i1', [0, -0, 0.1, Number.NaN]),
    convert('f32', 'complex<f32>', [3]),
  );
  assert.deepEqual(results, [
    [1, -1, 127, -128, 0],
    [1n << 62n, (1n << 63n) - 1n, -(1n << 63n), -(1n << 63n)],
    [0, 2 ** 32 - 1],
    [2 ** 60 + 2 ** 37],
    [-126, 127],
    [0, 0, 1, 1],
    [3, 0],
  ]);
});

test('gather clamps, scatter drops whole windows, slices move inside, sort is stable', async () => {
  const table = (b: Builder) => b.constant(tensor('f32', [3, 2]), [1, 2, 3, 4, 5, 6]);
  const ids = (b: Builder, ...values: number[]) => b.constant(tensor('i32', [values.length]), values);
  const byFirst = (b: Builder) =>
    b.region([tensor('f32'), tensor('f32'), tensor('i32'), tensor('i32')], (inner, x, y) => [
      inner.compare('GT', x, y),
    ]);
  const results = await evaluate(
    (b) => b.take(table(b), ids(b, -5, 1, 9)),
    (b) => b.put(table(b), ids(b, -1, 2, 3), b.constant(tensor('f32', [3, 2]), [7, 7, 8, 8, 9, 9])),
    (b) => b.op('dynamic_slice', [table(b), b.scalar('i32', 2), b.scalar('i32', -1)], { slice_sizes: [2, 1] })[0],
    (b) =>
      b.op(
        'sort',
        [b.constant(tensor('f32', [5]), [1, 3, 1, 3, 2]), b.iota('i32', [5], 0)],
        { dimension: 0, is_stable: true },
        { regions: [byFirst(b)] },
      )[1],
  );
  assert.deepEqual(results, [
    [1, 2, 3, 4, 5, 6],
    [1, 2, 3, 4, 8, 8],
    [3, 5],
    [1, 3, 4, 0, 2],
  ]);
});
