import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type IngotError, isIngotError } from '../../src/base/errors.ts';
import { literalArray } from '../../src/ir/literal.ts';
import { parseModule, programOf, splitModules } from '../../src/ir/mlir/parse.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import type { Op } from '../../src/ir/program.ts';
import { asTensor, formatType, maxElements } from '../../src/ir/types.ts';

/** The ops of a function without arguments, given its lines. */
function ops(lines: string, args = ''): readonly Op[] {
  const module = parseModule(`func.func @f(${args}) {\n${lines}\nreturn\n}`, 'text');
  return module.functions.get('f')?.body ?? [];
}

/** The values of `stablehlo.constant <text>`. */
function constant(text: string): (number | bigint)[] {
  const [op] = ops(`%0 = stablehlo.constant ${text}`);
  assert.equal(op.name, 'constant');
  const { value } = op.attributes;
  return [...literalArray(value, maxElements(value.type))];
}

function failure(read: () => unknown): IngotError {
  try {
    read();
  } catch (error) {
    if (isIngotError(error)) return error;
    throw error;
  }
  return assert.fail('no error');
}

const where = ({ code, place }: IngotError) => `${code} ${place.line}:${place.column}`;

const x = '%x: tensor<2x3xf32>';

test('constants: lists, one for all, nothing, booleans, complex pairs, bit patterns', () => {
  assert.deepEqual(constant('dense<[[1, -2], [3, 4]]> : tensor<2x2xi32>'), [1, -2, 3, 4]);
  assert.deepEqual(constant('dense<2.5> : tensor<3xf32>'), [2.5, 2.5, 2.5]);
  assert.deepEqual(constant('dense<> : tensor<0x4xf32>'), []);
  assert.deepEqual(constant('dense<[true, false, 1]> : tensor<3xi1>'), [1, 0, 1]);
  assert.deepEqual(constant('dense<[(1.0, -2.0), (0.5, 4.0)]> : tensor<2xcomplex<f32>>'), [1, -2, 0.5, 4]);
  assert.deepEqual(constant('dense<[0x7F800000, 0xFF800000, 1.0e-1]> : tensor<3xf32>'), [
    Infinity,
    -Infinity,
    Math.fround(0.1),
  ]);
  assert.deepEqual(constant('dense<[0x7C00, 65504.0]> : tensor<2xf16>'), [Infinity, 65504]);
  assert.deepEqual(constant('dense<[nan, -inf]> : tensor<2xf64>'), [NaN, -Infinity]);
  assert.deepEqual(constant('dense<[-8, 7, 15]> : tensor<3xi4>'), [-8, 7, -1]);
  assert.deepEqual(constant('dense<[0, 15]> : tensor<2xui4>'), [0, 15]);
  assert.deepEqual(constant('dense<[-9223372036854775808, 0x10]> : tensor<2xi64>'), [-(2n ** 63n), 16n]);
  assert.deepEqual(constant('dense<18446744073709551615> : tensor<ui64>'), [2n ** 64n - 1n]);
});

test('constants: bytes in hexadecimal, of all elements, of one for all, packed booleans', () => {
  assert.deepEqual(constant('dense<"0x0000803F000000C0"> : tensor<2xf32>'), [1, -2]);
  assert.deepEqual(constant('dense<"0x0000803f"> : tensor<3xf32>'), [1, 1, 1]);
  assert.deepEqual(constant('dense<"0x0503"> : tensor<10xi1>'), [1, 0, 1, 0, 0, 0, 0, 0, 1, 1]);
  assert.deepEqual(constant('dense<"0x000101"> : tensor<3xi1>'), [0, 1, 1]);
});

test('constants whose data does not fit their type', () => {
  const bad = [
    'dense<[1, 2, 3]> : tensor<2xi32>',
    'dense<[1]> : tensor<2xi32>',
    'dense<[[1, 2]]> : tensor<2xi32>',
    'dense<[1, 2]> : tensor<2x1xi32>',
    'dense<300> : tensor<i8>',
    'dense<-1> : tensor<ui8>',
    'dense<16> : tensor<ui4>',
    'dense<1.5> : tensor<i32>',
    'dense<> : tensor<2xi32>',
    'dense<0x1FFFF> : tensor<f16>',
    'dense<"0x00"> : tensor<2xi32>',
    'dense<"00000000"> : tensor<i32>',
    'dense<"0x0"> : tensor<i8>',
    'dense<(1.0)> : tensor<complex<f32>>',
    'dense<1 2> : tensor<i32>',
    'dense<[1, 2]> : tensor<99999999999x2xi32>',
    'dense<[1, 2]> : tensor<?xi32, #ingot.dim<T, 2>>',
    'dense<1',
    'dense<true> : tensor<f32>',
    '3 : i32',
  ];
  for (const text of bad) {
    const error = failure(() => constant(text));
    assert.equal(error.code, 'ParseError', text);
    assert.equal(error.place.line, 2, text);
  }
});

test('a splat of a lying size takes no memory', () => {
  const [op] = ops('%0 = stablehlo.constant dense<1.0> : tensor<1000000x1000000xf32>');
  assert.ok(op.name === 'constant' && op.attributes.value.splat && op.attributes.value.data.length === 4);
});

test('types: symbolic dimensions, tokens, tuples, aliases', () => {
  const text = `!pair = tuple<tensor<f32>, !stablehlo.token>
    func.func @f(%a: tensor<?x4xbf16, #ingot.dim<T, 512>>, %b: !pair, %c: tensor< 3x2xcomplex<f64> >) { return }`;
  const types = parseModule(text)
    .functions.get('f')
    ?.parameters.map(({ type }) => formatType(type));
  assert.deepEqual(types, [
    'tensor<?x4xbf16, #ingot.dim<T, 512>>',
    'tuple<tensor<f32>, !stablehlo.token>',
    'tensor<3x2xcomplex<f64>>',
  ]);
});

test('names: several results, regions that see outside, arguments', () => {
  const lines = `%r:2, %s = "stablehlo.custom_call"() {call_target_name = "three"} : () -> (tensor<f32>, tensor<i32>, tensor<i1>)
    %p = "stablehlo.if"(%s) ({
      %n = stablehlo.negate %r#0 : tensor<f32>
      stablehlo.return %n : tensor<f32>
    }, {
      "stablehlo.return"(%r) : (tensor<f32>) -> ()
    }) : (tensor<i1>) -> tensor<f32>`;
  const [call, branch] = ops(lines);
  assert.equal(branch.operands[0], call.results[2]);
  assert.equal(branch.regions[0].body[0].operands[0], call.results[0]);
  assert.equal(branch.regions[1].results[0], call.results[0]);
});

test('assembly forms that are not those of the printer', () => {
  const [reduce, loop, gather] = ops(
    `%c = "stablehlo.constant"() <{value = dense<0.0> : tensor<f32>}> : () -> tensor<f32> loc(#loc1)
    %r = stablehlo.reduce(%x init: %c) across dimensions = [1] {mhlo.note = #mhlo<any <of> "it">} : (tensor<2x3xf32>, tensor<f32>) -> tensor<2xf32>
     reducer(%l: tensor<f32>, %rr: tensor<f32>) {
      %s = stablehlo.subtract %l, %rr : (tensor<f32>, tensor<f32>) -> tensor<f32>
      stablehlo.return %s : tensor<f32>
    }
    %w = stablehlo.while(%i = %c) : tensor<f32> attributes {jax.x = "y"}
    cond {
      %t = stablehlo.constant dense<true> : tensor<i1>
      stablehlo.return %t : tensor<i1>
    } do {
      stablehlo.return %i : tensor<f32>
    }
    %ids = stablehlo.constant dense<[[0], [1]]> : tensor<2x1xi32>
    %g = "stablehlo.gather"(%x, %ids) {
      dimension_numbers = #stablehlo.gather<
        offset_dims = [1],
        collapsed_slice_dims = [0],
        start_index_map = [0],
        index_vector_dim = 1
      >,
      slice_sizes = dense<[1, 3]> : tensor<2xi64>
    } : (tensor<2x3xf32>, tensor<2x1xi32>) -> tensor<2x3xf32>
    func.call @other() : () -> ()`,
    x,
  ).filter(({ name }) => name !== 'constant');
  assert.ok(reduce.name === 'reduce' && reduce.regions[0].body[0].name === 'subtract');
  assert.ok(loop.name === 'while' && loop.location === 'text:8');
  assert.ok(gather.name === 'gather');
  assert.deepEqual(gather.attributes.slice_sizes, [1, 3]);
});

test('attributes that keep their defaults are filled in', () => {
  const [window] = ops(
    `%r = "stablehlo.reduce_window"(%x, %c) <{window_dimensions = array<i64: 1, 3>, padding = dense<[[0, 0], [1, 1]]> : tensor<2x2xi64>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %s = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }) : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>`,
    `${x}, %c: tensor<f32>`,
  );
  assert.deepEqual(window.attributes, {
    window_dimensions: [1, 3],
    window_strides: [1, 1],
    base_dilations: [1, 1],
    window_dilations: [1, 1],
    padding: [
      [0, 0],
      [1, 1],
    ],
  });
});

test('checks are custom calls, their constants constants', () => {
  const checked = ops(
    `check.expect_eq %x, %x : tensor<2x3xf32>
    check.expect_almost_eq_const %x, dense<0.5> : tensor<2x3xf32> {tolerance = 0.1 : f64}
    "check.expect_eq_const"(%x) <{value = dense<1.0> : tensor<2x3xf32>}> : (tensor<2x3xf32>) -> ()
    check.expect_close %x, %x, max_ulp_difference = 3 : tensor<2x3xf32>, tensor<2x3xf32>
    %p = interpreter.probe %x, probe_id = "a" : tensor<2x3xf32>
    %q:2 = "interpreter.run_parallel"(%x) {programs = [[@f, @f]]} : (tensor<2x3xf32>) -> (tensor<f32>, tensor<f32>)`,
    x,
  );
  assert.deepEqual(
    checked.map((op) => (op.name === 'custom_call' ? [op.attributes.call_target_name, op.attributes.extra] : op.name)),
    [
      ['check.expect_eq', {}],
      'constant',
      ['check.expect_almost_eq', { tolerance: 0.1 }],
      'constant',
      ['check.expect_eq', {}],
      ['check.expect_close', { max_ulp_difference: 3 }],
      ['interpreter.probe', { probe_id: 'a' }],
      ['interpreter.run_parallel', { programs: [['@f', '@f']] }],
    ],
  );
  assert.equal(checked[2].operands[1], checked[1].results[0]);
});

test('modules: attributes, aliases, locations, declarations of names', () => {
  const text = `#map = 7 : i32
module @jit_f attributes {mhlo.num_replicas = 1 : i32, note = #map} {
  func.func public @main(%arg0: tensor<f32> {jax.buffer_donor = true} loc("params['w']"), %arg1: tensor<f32> loc(#loc2), %arg2: tensor<f32> loc("f.py":1:2)) -> (tensor<f32> {jax.result_info = ""}) {
    return %arg0 : tensor<f32> loc(#loc)
  } loc(#loc)
  func.func private @"odd name"() attributes {no_inline} { return }
} loc(#loc)
#loc = loc(unknown)
#loc1 = loc("f.py":1:2)
#loc2 = loc("x"(#loc1))`;
  const module = parseModule(text);
  assert.equal(module.name, 'jit_f');
  assert.deepEqual(module.attributes, { 'mhlo.num_replicas': 1, note: 7 });
  assert.deepEqual([...module.functions.keys()], ['main', 'odd name']);
  const program = programOf(module);
  assert.deepEqual(
    program.parameters.map(({ name, role }) => [name, role]),
    [
      ["params['w']", 'input'],
      ['x', 'input'],
      ['arg2', 'input'],
    ],
  );
  assert.equal(printProgram(programOf(parseModule(printProgram(program)))), printProgram(program));
});

test('donated inputs of other texts are no aliases, and programs without an entry say what there is', () => {
  const module = parseModule(
    'func.func @g(%a: tensor<f32> {tf.aliasing_output = 0 : i32}) -> tensor<f32> { return %a : tensor<f32> }',
  );
  assert.deepEqual(programOf(module, 'g').aliases, []);
  const error = failure(() => programOf(module));
  assert.equal(error.code, 'InvalidProgram');
  assert.match(error.hint ?? '', /@g/);
});

test('contradictions in the attributes of a program', () => {
  const f = (args: string) => programOf(parseModule(`func.func @main(${args}) { return }`));
  assert.equal(failure(() => f('%a: tensor<f32> {ingot.role = "teapot"}')).code, 'InvalidProgram');
  assert.equal(failure(() => f('%a: tensor<f32> loc("n"), %b: tensor<f32> {ingot.name = "n"}')).code, 'InvalidProgram');
  const alias = '%a: tensor<f32> {ingot.role = "state", tf.aliasing_output = 3 : i32}';
  assert.equal(failure(() => f(alias)).code, 'InvalidProgram');
  assert.equal(failure(() => f('%a: !stablehlo.token')).code, 'InvalidProgram');
});

test('split files keep their lines', () => {
  const parts = splitModules('func.func @a() { return }\n// -----\n\nfunc.func @b() { oops }');
  assert.equal(parts.length, 2);
  assert.equal(where(failure(() => parseModule(parts[1]))), 'ParseError 4:18');
});

test('what programs do not have is named, with its place', () => {
  const cases: [string, string, string][] = [
    ['  %0 = chlo.erf %x : tensor<2x3xf32>', 'chlo.erf', '2:8'],
    ['%0 = "stablehlo.convolution"(%x, %x)', 'stablehlo.convolution', '2:6'],
    ['%0 = stablehlo.uniform_quantize %x : (tensor<2x3xf32>)', 'stablehlo.uniform_quantize', '2:6'],
    ['%0 = stablehlo.constant dense<1> : tensor<2xf8E3M4>', 'element type f8E3M4', '2:45'],
    ['%0 = stablehlo.iota dim = 0 : tensor<2x!quant.uniform<i8:f32, 1.0>>', 'quantized type', '2:40'],
    ['%0 = stablehlo.iota dim = 0 : tensor<?xf32>', 'dynamic dimension', '2:31'],
    ['%0 = stablehlo.negate %x {mystery = 1 : i32} : tensor<2x3xf32>', 'stablehlo.negate', '2:6'],
    ['cf.br ^bb1', 'cf.br', '2:1'],
    ['return } func.func private @g(tensor<f32>) -> tensor<f32> func.func @h() {', 'function without a body', '2:28'],
    ['stablehlo.call @f() : () -> ()', 'stablehlo.call', '2:1'],
  ];
  for (const [line, op, place] of cases) {
    const error = failure(() => ops(line, x));
    assert.equal(
      `${error.code} ${error.place.op} ${error.place.line}:${error.place.column}`,
      `UnsupportedOp ${op} ${place}`,
    );
    assert.equal(error.place.path, 'text');
  }
});

test('malformed text: line and column', () => {
  const cases: [string, string][] = [
    ['%0 = stablehlo.negate %y : tensor<2x3xf32>', '2:23'],
    ['%0 = stablehlo.negate %x : tensor<3xf32>', '2:26'],
    ['%0 = stablehlo.negate %x', '3:1'],
    ['%0 = stablehlo.add %x : tensor<2x3xf32>', '2:6'],
    ['%0:2 = stablehlo.negate %x : tensor<2x3xf32>', '2:1'],
    ['%0 = stablehlo.negate %x#1 : tensor<2x3xf32>', '2:23'],
    ['%x = stablehlo.negate %x : tensor<2x3xf32>', '2:1'],
    ['%0 = stablehlo.transpose %x, dims = [0] : (tensor<2x3xf32>) -> tensor<3x2xf32>', '2:6'],
    ['%0 = stablehlo.transpose %x, dims = [1, 0] : (tensor<2x3xf32>) -> tensor<2x3xf32>', '2:6'],
    ['%0 = stablehlo.compare XX, %x, %x : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xi1>', '2:6'],
    ['%0 = stablehlo.slice %x [0:2] : (tensor<2x3xf32>) -> tensor<2x3xf32>', '2:6'],
    ['%0 = frobnicate %x', '2:6'],
    ['%0 = stablehlo.select %x, %x, %x : tensor<2x3xf32>', '2:34'],
    ['%0 = "stablehlo.sort"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>', '2:6'],
    ['%0 = "stablehlo.negate(%x)', '2:6'],
    ['%0 = stablehlo.custom_call @f(%x) {a = 1, a = 2} : (tensor<2x3xf32>) -> ()', '2:43'],
    ['return\n  %0 = stablehlo.negate %x : tensor<2x3xf32>', '3:3'],
    ['%0 = stablehlo.reduce_precision %x, format = m5 : tensor<2x3xf32>', '2:46'],
  ];
  for (const [line, place] of cases) {
    assert.equal(where(failure(() => ops(line, x))), `ParseError ${place}`, line);
  }
});

test('malformed modules', () => {
  const cases = [
    'module {',
    'module { func.func @f() { return } ',
    'func.func @f() { return } func.func @f() { return }',
    'func.func @f() -> tensor<f32> { return }',
    'func.func @f() { }',
    'func.func f() { return }',
    'func.func @f(%a: tensor<f32>, %a: tensor<f32>) { return }',
    'func.func @f(%a: tensor<2xq32>) { return }',
    'func.func @f(%a: !nothing) { return }',
    'func.func @f() attributes {a = #nothing} { return }',
    'module {} module {}',
    'hello',
    '"builtin.module"() ({',
    '"func.func"() <{function_type = () -> (), sym_name = "f"}> ({ ^bb0(%a: tensor<f32>): "func.return"() : () -> () }) : () -> ()',
    '"func.func"() <{function_type = {inputs = [1], results = []}, sym_name = "f"}> ({ "func.return"() : () -> () }) : () -> ()',
  ];
  for (const text of cases) assert.equal(failure(() => parseModule(text)).code, 'ParseError', text);
});

test('text that nests without end is refused', () => {
  const deep = 100_000;
  const texts = [
    `func.func @f(%a: ${'tuple<'.repeat(deep)}`,
    `module attributes {a = ${'['.repeat(deep)}`,
    `module attributes {a = ${'{a = '.repeat(deep)}`,
    `func.func @f() { ${'"stablehlo.case"() ({ '.repeat(deep)}`,
    `func.func @f() { %0 = stablehlo.constant dense<${'['.repeat(deep)}> : tensor<${'1x'.repeat(deep)}f32>`,
  ];
  for (const text of texts) assert.equal(failure(() => parseModule(text)).code, 'ParseError', text.slice(0, 40));
});

test('generic modules, as mlir-opt prints them', () => {
  const text = `"builtin.module"() <{sym_name = "m"}> ({
  "func.func"() <{function_type = (tensor<2xf32>) -> tensor<2xf32>, sym_name = "main", res_attrs = [{ingot.name = "y"}]}> ({
  ^bb0(%arg0: tensor<2xf32> loc("x")):
    %0 = "stablehlo.compare"(%arg0, %arg0) <{compare_type = #stablehlo<comparison_type FLOAT>, comparison_direction = #stablehlo<comparison_direction EQ>}> : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xi1>
    %1 = "stablehlo.select"(%0, %arg0, %arg0) : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    "func.return"(%1) : (tensor<2xf32>) -> ()
  }) : () -> ()
}) {mhlo.x = 1 : i32} : () -> ()`;
  const program = programOf(parseModule(text));
  assert.equal(program.parameters[0].name, 'x');
  assert.equal(program.results[0].name, 'y');
  assert.equal(asTensor(program.main.body[0].results[0].type).element, 'i1');
});
