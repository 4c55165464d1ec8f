import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseModule, programOf } from '../../src/ir/mlir/parse.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import { ops } from '../../src/ir/ops/table.ts';
import type { Func, Op, Program, Region, Value } from '../../src/ir/program.ts';
import { formatType, tensor } from '../../src/ir/types.ts';
import { namedSamples, samples } from './mlir-samples.ts';

const T = { sym: 'T', max: 8 } as const;

/** The whole of a program as plain data: values by number, no locations. */
function plain(program: Program): unknown {
  const func = (f: Func) => ({ name: f.name, ...region(f, new Map()) });
  const region = (r: Region, numbers: Map<Value, number>): object => {
    const define = (values: readonly Value[]) => {
      for (const value of values) numbers.set(value, numbers.size);
      return values.map(({ type }) => formatType(type));
    };
    const parameters = define(r.parameters);
    const body = r.body.map((op: Op) => ({
      name: op.name,
      operands: op.operands.map((value) => numbers.get(value)),
      attributes: op.attributes,
      regions: op.regions.map((inner) => region(inner, numbers)),
      results: define(op.results),
    }));
    return { parameters, body, results: r.results.map((value) => numbers.get(value)) };
  };
  const { parameters, results, aliases } = program;
  return {
    main: func(program.main),
    functions: [...program.functions.values()].map(func),
    parameters,
    results,
    aliases,
  };
}

function roundTrip(program: Program): Program {
  return programOf(parseModule(printProgram(program), 'printed'));
}

test('every op has a sample that contains it', () => {
  assert.deepEqual(Object.keys(samples).sort(), Object.keys(ops).sort());
  for (const { name, op, program } of namedSamples()) {
    const used = program.main.body.some((inner) => inner.name === op);
    assert.ok(used, `${name} does not use ${op}`);
  }
});

test('programs parse back to equal programs, and print the same again', () => {
  for (const { name, program } of namedSamples()) {
    const back = roundTrip(program);
    assert.deepEqual(plain(back), plain(program), `${name}\n${printProgram(program)}`);
    assert.equal(printProgram(back), printProgram(program), name);
  }
});

function modelLike(): Program {
  return new ProgramBuilder().program(
    [
      { name: 'tokens', type: tensor('f32', [T, 4]), role: 'input' },
      { name: 'norm "weight"', type: tensor('f32', [4]), role: 'weight', format: 'q8_0' },
      { name: 'cache', type: tensor('f32', [16, 4]), role: 'state' },
      { name: 'counts', type: tensor('i32', [4]), role: 'state' },
    ],
    (b, { tokens, 'norm "weight"': weight, cache, counts }) => ({
      y: rmsNorm(b, tokens, weight, 1e-5),
      counts: b.add(counts, counts),
      cache: b.negate(cache),
    }),
    { counts: 'counts', cache: 'cache' },
  );
}

test('what fills a tensor of rows of which there is one at most does so when it is read', () => {
  const one = { sym: 'S', max: 1 } as const;
  const program = new ProgramBuilder().program([], (b) => ({
    x: b.full('f32', [one, 4], 2),
    y: b.full('i1', [one], 1),
  }));
  assert.deepEqual(plain(roundTrip(program)), plain(program));
});

test('roles, formats, names and aliases survive', () => {
  const program = modelLike();
  assert.deepEqual(plain(roundTrip(program)), plain(program));
  assert.deepEqual(program.aliases, [
    { result: 1, parameter: 3 },
    { result: 2, parameter: 2 },
  ]);
});

test('the text of a program is what people expect to read', () => {
  assert.equal(
    printProgram(modelLike(), { dims: { T: 2 } }),
    `module {
  func.func public @main(%arg0: tensor<2x4xf32> {ingot.name = "tokens"}, %arg1: tensor<4xf32> {ingot.format = "q8_0", ingot.name = "norm \\22weight\\22", ingot.role = "weight"}, %arg2: tensor<16x4xf32> {ingot.name = "cache", ingot.role = "state", tf.aliasing_output = 2 : i32}, %arg3: tensor<4xi32> {ingot.name = "counts", ingot.role = "state", tf.aliasing_output = 1 : i32}) -> (tensor<2x4xf32> {ingot.name = "y"}, tensor<4xi32> {ingot.name = "counts"}, tensor<16x4xf32> {ingot.name = "cache"}) {
    %0 = stablehlo.composite "ingot.rms_norm" %arg0, %arg1 {composite_attributes = {epsilon = 0.00001 : f64}, decomposition = @rms_norm.impl, version = 1 : i32} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    %1 = stablehlo.add %arg3, %arg3 : tensor<4xi32>
    %2 = stablehlo.negate %arg2 : tensor<16x4xf32>
    return %0, %1, %2 : tensor<2x4xf32>, tensor<4xi32>, tensor<16x4xf32>
  }
  func.func private @rms_norm.impl(%arg0: tensor<2x4xf32>, %arg1: tensor<4xf32>) -> (tensor<2x4xf32>) {
    %0 = stablehlo.multiply %arg0, %arg0 : tensor<2x4xf32>
    %1 = stablehlo.constant dense<0.0> : tensor<f32>
    %2 = stablehlo.reduce(%0 init: %1) applies stablehlo.add across dimensions = [1] : (tensor<2x4xf32>, tensor<f32>) -> tensor<2xf32>
    %3 = stablehlo.constant dense<4.0> : tensor<2xf32>
    %4 = stablehlo.divide %2, %3 : tensor<2xf32>
    %5 = stablehlo.constant dense<0.00001> : tensor<2xf32>
    %6 = stablehlo.add %4, %5 : tensor<2xf32>
    %7 = stablehlo.rsqrt %6 : tensor<2xf32>
    %8 = stablehlo.broadcast_in_dim %7, dims = [0] : (tensor<2xf32>) -> tensor<2x4xf32>
    %9 = stablehlo.multiply %arg0, %8 : tensor<2x4xf32>
    %10 = stablehlo.broadcast_in_dim %arg1, dims = [1] : (tensor<4xf32>) -> tensor<2x4xf32>
    %11 = stablehlo.multiply %9, %10 : tensor<2x4xf32>
    return %11 : tensor<2x4xf32>
  }
}
`,
  );
});

test('regions are indented, their arguments numbered on', () => {
  assert.match(
    printProgram(samples.while[0]),
    / {4}%0:2 = stablehlo\.while\(%arg2 = %arg0, %arg3 = %arg1\) : .* cond \{\n {6}%1 = .*\n {6}%2 = .*\n {6}stablehlo\.return %2 : tensor<i1>\n {4}\} do \{/,
  );
  assert.match(
    printProgram(samples.sort[0]),
    /\(\{\n {4}\^bb0\(%arg2: tensor<f32>, .*\n {6}%1 = stablehlo\.compare LT/,
  );
});

test('large constants are bytes, or left out on request', () => {
  const program = new ProgramBuilder().program([], (b) => ({
    bytes: b.constant(
      tensor('ui8', [100]),
      Array.from({ length: 100 }, (_, i) => i),
    ),
    few: b.constant(tensor('ui8', [2]), [1, 2]),
  }));
  assert.match(printProgram(program), /dense<"0x000102[0-9A-F]*63"> : tensor<100xui8>/);
  assert.match(printProgram(program, { elide: true }), /dense_resource<__elided__> : tensor<100xui8>/);
  assert.match(printProgram(program, { elide: true }), /dense<\[1, 2\]> : tensor<2xui8>/);
});

test('constants that have not been read print only elided', () => {
  const type = tensor('f32', [1000]);
  const source = { name: 'weights.bin', length: 4000, read: async () => new Uint8Array(0) };
  const program = new ProgramBuilder().program([], (b) => ({ x: b.literal({ type, data: source, splat: false }) }));
  assert.match(printProgram(program, { elide: true }), /__elided__/);
  assert.throws(
    () => printProgram(program),
    (error) => isIngotError(error, 'InvalidArgument') && /weights\.bin/.test(error.message),
  );
});

test('a symbolic dimension without a value is an error', () => {
  assert.throws(
    () => printProgram(modelLike(), { dims: {} }),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
});
