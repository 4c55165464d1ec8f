/** What kernels are said to move and compute, against counts by hand; and the least time that follows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cost, leastSeconds } from '../../src/compiler/cost.ts';
import { kernelCost } from '../../src/compiler/kernel/kernel-cost.ts';
import { type Plan, planProgram } from '../../src/compiler/kernel/plan.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter } from '../../src/ir/program.ts';
import { type DimValues, type TensorType, tensor } from '../../src/ir/types.ts';
import { axis, binary, buffer, kernel, load, loop, of, store } from './cpu-emit-harness.ts';

const T = { sym: 'T', max: 64 } as const;

const input = <const N extends string>(name: N, type: TensorType) =>
  ({ name, type, role: 'input' }) as const satisfies Parameter;

/** Of all kernels of main together. */
function planCost({ main }: Plan, dims: DimValues): Pick<Cost, 'bytes' | 'operations'> {
  let [bytes, operations] = [0, 0];
  for (const step of main.steps) {
    if (step.kind !== 'launch' && step.kind !== 'copy') continue;
    const cost = kernelCost(step.kernel, dims);
    bytes += cost.bytes;
    operations += cost.operations;
  }
  return { bytes, operations };
}

test('elementwise: each operand and the result once, at the dimensions of the run', () => {
  const parameters = [input('x', tensor('f32', [T, 100])), input('y', tensor('f32', [T, 100]))];
  const program = new ProgramBuilder().program(parameters, (b, { x, y }) => ({ z: b.multiply(b.add(x, y), x) }));
  for (const rows of [1, 7, 64]) {
    const elements = rows * 100;
    assert.deepEqual(planCost(planProgram(program), { T: rows }), {
      bytes: 3 * 4 * elements,
      operations: 2 * elements,
    });
  }
});

test('a product: operands once however often they are read, a multiplication and an addition a term', () => {
  const parameters = [input('x', tensor('f32', [T, 40])), input('w', tensor('f32', [40, 24]))];
  const program = new ProgramBuilder().program(parameters, (b, { x, w }) => ({
    y: b.dot(x, w, { contract: [[1, 0]] }),
  }));
  const { bytes, operations } = planCost(planProgram(program), { T: 5 });
  assert.equal(bytes, 4 * (5 * 40 + 40 * 24 + 5 * 24));
  assert.equal(operations, 2 * 5 * 40 * 24);
});

test('what is repeated along an axis is read once; a fold counts its terms', () => {
  const parameters = [input('x', tensor('f32', [T, 16])), input('s', tensor('f32', [16]))];
  const program = new ProgramBuilder().program(parameters, (b, { x, s }) => ({
    y: b.reduce('add', b.multiply(x, b.broadcast(s, [T, 16], [1])), 0, [1]),
  }));
  const { bytes, operations } = planCost(planProgram(program), { T: 8 });
  assert.equal(bytes, 4 * (8 * 16 + 16 + 8));
  assert.ok(operations >= 2 * 8 * 16 && operations <= 2 * 8 * 16 + 2 * 8, `${operations}`);
});

test('where data chooses, no more than the buffer has', () => {
  const indices = buffer('indices', 'i32', 1000);
  const table = buffer('table', 'f32', 10);
  const out = buffer('out', 'f32', 1000, 'write');
  const scratch = buffer('scratch', 'f32', 1000, 'scratch');
  const i = axis('i', 'vector', 1000);
  const chosen = load(table, { kind: 'convert', type: 'index', x: load(indices, of(i)) });
  const gather = kernel(
    [indices, table, out, scratch],
    [loop(i, store(scratch, of(i), chosen), store(out, of(i), binary('add', load(scratch, of(i)), chosen)))],
  );
  const cost = kernelCost(gather, {});
  assert.deepEqual(cost, { bytes: 4 * (1000 + 10 + 1000), operations: 1000, element: 'f32' });
});

test('the least time is that of the slower of memory and arithmetic', () => {
  const hardware = { name: '', memoryBytes: 0, threads: 1, readBytesPerSecond: 10, operationsPerSecond: { f32: 4 } };
  assert.equal(leastSeconds(hardware, { bytes: 100, operations: 1, element: 'f32' }), 10);
  assert.equal(leastSeconds(hardware, { bytes: 1, operations: 100, element: 'f32' }), 25);
  assert.equal(leastSeconds(hardware, { bytes: 1, operations: 100, element: 'i32' }), 0.1, 'nobody measured i32');
});
