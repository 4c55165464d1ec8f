/** One small program for each op, some for several shapes of its text. A new op without a sample does not compile. */
import type { BinaryOp, OpAttributes, OpName, UnaryOp } from '../../src/ir/attributes.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import { literal } from '../../src/ir/literal.ts';
import type { Parameter, Program, Value } from '../../src/ir/program.ts';
import { type TensorType, tensor } from '../../src/ir/types.ts';

const T = { sym: 'T', max: 8 } as const;
const f32 = tensor('f32', [2, 3]);
const i32 = tensor('i32', [2, 3]);
const rows = tensor('f32', [T, 4]);

type Body = (b: Builder, ...values: Value[]) => readonly Value[];

/** A program whose inputs have these types. */
function program(types: readonly TensorType[], body: Body): Program {
  const parameters: Parameter[] = types.map((type, i) => ({ name: `arg${i}`, type, role: 'input' }));
  return new ProgramBuilder().program(parameters, (b, named) => {
    const values = Object.values<Value>(named);
    return Object.fromEntries(body(b, ...values).map((value, i) => [`result${i}`, value]));
  });
}

const unary = (name: UnaryOp, type: TensorType = f32) => [program([type], (b, x) => [b.unary(name, x)])];
const binary = (name: BinaryOp, type: TensorType = f32) => [program([type, type], (b, x, y) => [b.binary(name, x, y)])];

const window = {
  window_dimensions: [2, 2],
  window_strides: [1, 2],
  padding: [
    [1, 0],
    [0, 1],
  ],
} as const;

function reduceTwo(b: Builder, x: Value, ids: Value): readonly Value[] {
  const scalars = [tensor('f32'), tensor('i32'), tensor('f32'), tensor('i32')];
  const region = b.region(scalars, (inner, lx, li, rx, ri) => {
    const less = inner.compare('LT', lx, rx);
    return [inner.select(less, lx, rx), inner.select(less, li, ri)];
  });
  const operands = [x, ids, b.scalar('f32', Infinity), b.scalar('i32', 0)];
  return b.op('reduce', operands, { dimensions: [1] }, { regions: [region] });
}

function addRegion(b: Builder) {
  return b.region([tensor('f32'), tensor('f32')], (inner, x, y) => [inner.add(x, y)]);
}

const grouping = { replica_groups: [[0, 1]], channel_id: 0 };
const ragged = { replica_groups: [[2, 0], [1]], channel_id: 1, use_global_device_ids: true };
const pairs = [
  [0, 1],
  [1, 0],
] as const;
const channel = { channel_id: 3, channel_type: 2, is_host_transfer: true, source_target_pairs: [] };

function reduced(type: TensorType, attributes: OpAttributes['all_reduce']): Program {
  return program([type], (b, x) => [...b.op('all_reduce', [x], attributes, { regions: [addRegion(b)] })]);
}

export const samples: { readonly [N in OpName]: readonly Program[] } = {
  abs: [...unary('abs'), ...unary('abs', tensor('complex<f32>', [2]))],
  add: [...binary('add'), ...binary('add', rows), ...binary('add', tensor('i1', [2]))],
  after_all: [program([], (b) => b.op('after_all', [...b.op('after_all', [], {}), ...b.op('after_all', [], {})], {}))],
  all_gather: [
    program([f32], (b, x) => [
      ...b.op(
        'all_gather',
        [x],
        { ...grouping, use_global_device_ids: false, all_gather_dim: 0 },
        { types: [tensor('f32', [4, 3])] },
      ),
    ]),
  ],
  all_reduce: [
    reduced(f32, { ...grouping, use_global_device_ids: false }),
    reduced(rows, ragged),
    reduced(f32, { replica_groups: [], channel_id: 2, use_global_device_ids: false }),
  ],
  all_to_all: [
    program([tensor('f32', [2, 4])], (b, x) => [
      ...b.op('all_to_all', [x], { ...grouping, split_dimension: 1, concat_dimension: 0, split_count: 2 }),
    ]),
  ],
  and: binary('and', i32),
  atan2: binary('atan2'),
  bitcast_convert: [
    program([f32], (b, x) => [b.bitcastConvert(x, i32)]),
    program([f32], (b, x) => [b.bitcastConvert(x, tensor('i8', [2, 3, 4]))]),
  ],
  broadcast_in_dim: [
    program([tensor('f32', [3])], (b, x) => [b.broadcast(x, [2, 3], [1])]),
    program([tensor('f32')], (b, x) => [b.broadcast(x, [T, 3])]),
  ],
  call: [
    program([f32], (b, x) => {
      const double = b.program.define('double', [f32], (inner, y) => [inner.add(y, y)]);
      return [...b.call(double, b.call(double, [x]))];
    }),
  ],
  case: [
    program([tensor('i32'), f32], (b, i, x) => [
      ...b.op('case', [i], {}, { regions: [b.region([], (inner) => [inner.negate(x)]), b.region([], () => [x])] }),
    ]),
  ],
  cbrt: unary('cbrt'),
  ceil: unary('ceil'),
  clamp: [
    program([f32, f32, f32], (b, low, x, high) => [b.clamp(low, x, high)]),
    program([tensor('f32'), f32, tensor('f32')], (b, low, x, high) => [b.clamp(low, x, high)]),
  ],
  collective_broadcast: [
    program([f32], (b, x) => [...b.op('collective_broadcast', [x], { ...grouping, has_dynamic_root: false })]),
  ],
  collective_permute: [
    program([f32], (b, x) => [
      ...b.op('collective_permute', [x], { source_target_pairs: pairs, channel_id: 0 }),
      ...b.op('collective_permute', [x], { source_target_pairs: [], channel_id: 1 }),
    ]),
  ],
  compare: [
    program([f32, f32], (b, x, y) => [b.compare('LT', x, y)]),
    program([f32, f32], (b, x, y) => [
      ...b.op('compare', [x, y], { comparison_direction: 'GE', compare_type: 'TOTALORDER' }),
    ]),
  ],
  complex: [program([f32, f32], (b, x, y) => [...b.op('complex', [x, y], {})])],
  composite: [
    program([rows], (b, x) => {
      b.program.define('scale.impl', [rows], (inner, y) => [inner.multiply(y, inner.full('f32', [T, 4], 0.1))]);
      const composite_attributes = {
        epsilon: 1e-6,
        whole: 3,
        negative: -1,
        zero: 0.5,
        kind: 'neox "quoted" \\ ü\n',
        flag: true,
        list: [1, 2, 3],
        nested: { none: [], factors: [0.25, 1.5] },
        table: literal(tensor('f32', [2]), [1, 2]),
        type: tensor('bf16', [4]),
      };
      const attributes = { name: 'ingot.scale', composite_attributes, decomposition: 'scale.impl', version: 1 };
      return [...b.op('composite', [x], attributes, { types: [rows] })];
    }),
  ],
  concatenate: [program([f32, tensor('f32', [2, 1])], (b, x, y) => [b.concatenate([x, y], 1)])],
  constant: [
    program([], (b) => [
      b.constant(f32, [1, -0, 0.1, 3.4e38, 1e-45, 123456789]),
      b.constant(tensor('f32', [3]), [NaN, Infinity, -Infinity]),
      b.constant(tensor('f64', [4]), [1, 0.1, 5e-324, NaN]),
      b.constant(tensor('f16', [4]), [0.1, 65504, Infinity, NaN]),
      b.constant(tensor('bf16', [4]), [0.1, 1e38, -Infinity, NaN]),
      b.constant(tensor('f8E4M3FN', [4]), [0.1, 448, -0, NaN]),
      b.constant(tensor('f8E5M2', [4]), [0.1, 57344, -Infinity, NaN]),
      b.constant(tensor('i64', [2]), [-(2n ** 63n), 2n ** 63n - 1n]),
      b.constant(tensor('ui64', [2]), [0n, 2n ** 64n - 1n]),
      b.constant(tensor('i4', [3]), [-8, 0, 7]),
      b.constant(tensor('ui4', [3]), [0, 1, 15]),
      b.constant(tensor('i8', [2]), [-128, 127]),
      b.constant(tensor('ui32', [2]), [0, 4294967295]),
      b.constant(tensor('i1', [2]), [true, false]),
      b.constant(tensor('complex<f32>', [2]), [1, 2.5, -3, 0]),
      b.constant(tensor('complex<f64>'), [0.1, -1e300]),
      b.scalar('i16', -3),
      b.full('f32', [T, 2], 0.5),
      b.full('ui16', [1000, 1000], 7),
      b.constant(tensor('f32', [0, 3]), []),
      b.constant(
        tensor('f32', [10, 10]),
        Array.from({ length: 100 }, (_, i) => i / 7),
      ),
      b.constant(
        tensor('i1', [100]),
        Array.from({ length: 100 }, (_, i) => i % 3 === 0),
      ),
      b.constant(
        tensor('i4', [100]),
        Array.from({ length: 100 }, (_, i) => (i % 16) - 8),
      ),
    ]),
  ],
  convert: [program([f32], (b, x) => [b.convert(x, 'i32')]), program([rows], (b, x) => [b.convert(x, 'bf16')])],
  cosine: unary('cosine'),
  count_leading_zeros: unary('count_leading_zeros', i32),
  custom_call: [
    program([f32, f32], (b, x, y) => {
      const extra = { tolerance: 0.5, backend_config: { mode: 'fast' }, api_version: 4 };
      const attributes = { call_target_name: 'check.expect_close', has_side_effect: true, extra };
      b.op('custom_call', [x, y], attributes, { types: [] });
      const plain = { call_target_name: 'odd name', has_side_effect: false, extra: {} };
      return [...b.op('custom_call', [x], plain, { types: [f32, i32] })];
    }),
  ],
  divide: binary('divide'),
  dot_general: [
    program([tensor('f32', [5, 2, 3]), tensor('f32', [5, 3, 4])], (b, x, y) => [
      b.dot(x, y, { batch: [[0, 0]], contract: [[2, 1]] }),
    ]),
    program([tensor('bf16', [T, 3]), tensor('bf16', [4, 3])], (b, x, y) => [
      b.dot(x, y, { contract: [[1, 1]], element: 'f32' }),
    ]),
    program([tensor('f32', [2]), tensor('f32', [3])], (b, x, y) => [b.dot(x, y, { contract: [] })]),
  ],
  dynamic_slice: [
    program([f32, tensor('i32')], (b, x, i) => [...b.op('dynamic_slice', [x, i, i], { slice_sizes: [1, 2] })]),
    program([rows, tensor('i32')], (b, x, i) => [...b.op('dynamic_slice', [x, i, i], { slice_sizes: [T, 2] })]),
    program([tensor('f32')], (b, x) => [...b.op('dynamic_slice', [x], { slice_sizes: [] })]),
  ],
  dynamic_update_slice: [
    program([f32, tensor('f32', [1, 3]), tensor('i32')], (b, x, update, i) => [
      ...b.op('dynamic_update_slice', [x, update, i, i], {}),
    ]),
    program([tensor('f32'), tensor('f32')], (b, x, update) => [...b.op('dynamic_update_slice', [x, update], {})]),
  ],
  exponential: unary('exponential'),
  exponential_minus_one: unary('exponential_minus_one'),
  floor: unary('floor'),
  gather: [
    program([f32, tensor('i32', [T])], (b, table, ids) => [b.take(table, ids)]),
    program([rows, tensor('i32', [2])], (b, x, ids) => [
      ...b.op('gather', [x, ids], {
        offset_dims: [0],
        collapsed_slice_dims: [1],
        operand_batching_dims: [],
        start_indices_batching_dims: [],
        start_index_map: [1],
        index_vector_dim: 1,
        slice_sizes: [T, 1],
        indices_are_sorted: true,
      }),
    ]),
    program([tensor('f32', [5, 4]), tensor('i32', [5, 1])], (b, x, ids) => [
      ...b.op('gather', [x, ids], {
        offset_dims: [],
        collapsed_slice_dims: [1],
        operand_batching_dims: [0],
        start_indices_batching_dims: [0],
        start_index_map: [1],
        index_vector_dim: 1,
        slice_sizes: [1, 1],
        indices_are_sorted: false,
      }),
    ]),
  ],
  get_tuple_element: [
    program([f32, i32], (b, x, y) => {
      const [pair] = b.op('tuple', [x, y], {});
      return [...b.op('get_tuple_element', [pair], { index: 1 })];
    }),
  ],
  if: [
    program([tensor('i1'), f32], (b, p, x) => [
      ...b.if(
        p,
        (inner) => [inner.exponential(x), x],
        () => [x, x],
      ),
    ]),
  ],
  imag: [program([tensor('complex<f32>', [2])], (b, x) => [...b.op('imag', [x], {})])],
  iota: [program([], (b) => [b.iota('i32', [2, 3], 1), b.iota('f32', [T, 4], 1)])],
  is_finite: [program([f32], (b, x) => [...b.op('is_finite', [x], {})])],
  log: unary('log'),
  log_plus_one: unary('log_plus_one'),
  logistic: unary('logistic'),
  map: [
    program([f32, f32], (b, x, y) => [...b.op('map', [x, y], { dimensions: [0, 1] }, { regions: [addRegion(b)] })]),
  ],
  maximum: binary('maximum'),
  minimum: binary('minimum'),
  multiply: binary('multiply'),
  negate: unary('negate'),
  not: unary('not', i32),
  optimization_barrier: [
    program([f32, i32], (b, x, y) => [...b.op('optimization_barrier', [x, y], {})]),
    program([], (b) => [...b.op('optimization_barrier', [], {})]),
  ],
  or: binary('or', i32),
  pad: [
    program([f32], (b, x) => [
      ...b.op('pad', [x, b.scalar('f32', 0)], {
        edge_padding_low: [1, -1],
        edge_padding_high: [0, 2],
        interior_padding: [0, 1],
      }),
    ]),
  ],
  popcnt: unary('popcnt', i32),
  power: binary('power'),
  partition_id: [program([], (b) => [...b.op('partition_id', [], {})])],
  real: [program([tensor('complex<f64>', [2])], (b, x) => [...b.op('real', [x], {})])],
  recv: [
    program([], (b) => [
      ...b.op(
        'recv',
        [...b.op('after_all', [], {})],
        { ...channel, channel_type: 3 },
        { types: [f32, { kind: 'token' }] },
      ),
    ]),
  ],
  reduce: [
    program([rows], (b, x) => [b.reduce('add', x, 0, [1])]),
    program([f32, i32], reduceTwo),
    program([f32], (b, x) => {
      const region = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.subtract(l, r)]);
      return [...b.op('reduce', [x, b.scalar('f32', 0)], { dimensions: [0, 1] }, { regions: [region] })];
    }),
  ],
  reduce_precision: [
    program([f32], (b, x) => [...b.op('reduce_precision', [x], { exponent_bits: 5, mantissa_bits: 10 })]),
  ],
  reduce_scatter: [
    program([tensor('f32', [2, 4])], (b, x) => [
      ...b.op(
        'reduce_scatter',
        [x],
        { ...grouping, use_global_device_ids: false, scatter_dimension: 1 },
        { regions: [addRegion(b)], types: [tensor('f32', [2, 2])] },
      ),
    ]),
  ],
  reduce_window: [
    program([tensor('f32', [4, 4])], (b, x) => [
      ...b.op(
        'reduce_window',
        [x, b.scalar('f32', 0)],
        { ...window, base_dilations: [1, 2], window_dilations: [2, 1] },
        { regions: [addRegion(b)] },
      ),
    ]),
  ],
  remainder: binary('remainder'),
  replica_id: [program([], (b) => [...b.op('replica_id', [], {})])],
  reshape: [program([f32], (b, x) => [b.reshape(x, [3, 2])]), program([rows], (b, x) => [b.reshape(x, [T, 2, 2])])],
  reverse: [program([f32], (b, x) => [...b.op('reverse', [x], { dimensions: [0, 1] })])],
  round_nearest_afz: unary('round_nearest_afz'),
  round_nearest_even: unary('round_nearest_even'),
  rsqrt: unary('rsqrt', rows),
  scatter: [
    program([f32, tensor('i32', [4, 1]), tensor('f32', [4, 3])], (b, x, ids, update) => [b.put(x, ids, update)]),
  ],
  select: [
    program([tensor('i1', [2, 3]), f32, f32], (b, p, x, y) => [b.select(p, x, y)]),
    program([tensor('i1'), f32, f32], (b, p, x, y) => [b.select(p, x, y)]),
  ],
  select_and_scatter: [
    program([tensor('f32', [4, 4]), tensor('f32', [4, 2])], (b, x, source) => {
      const select = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.compare('GE', l, r)]);
      const operands = [x, source, b.scalar('f32', 0)];
      return [...b.op('select_and_scatter', operands, window, { regions: [select, addRegion(b)] })];
    }),
  ],
  send: [program([f32], (b, x) => [...b.op('send', [x, ...b.op('after_all', [], {})], channel)])],
  shift_left: binary('shift_left', i32),
  shift_right_arithmetic: binary('shift_right_arithmetic', i32),
  shift_right_logical: binary('shift_right_logical', i32),
  sign: unary('sign'),
  sine: unary('sine'),
  slice: [
    program([f32], (b, x) => [b.slice(x, 1, 0, 3, 2)]),
    program([rows], (b, x) => [b.slice(x, 1, 1, 3)]),
    program([tensor('f32')], (b, x) => [...b.op('slice', [x], { start_indices: [], limit_indices: [], strides: [] })]),
  ],
  sort: [
    program([f32, i32], (b, x, y) => {
      const scalars = [tensor('f32'), tensor('f32'), tensor('i32'), tensor('i32')];
      const less = b.region(scalars, (inner, l, r) => [inner.compare('LT', l, r)]);
      return [...b.op('sort', [x, y], { dimension: 1, is_stable: true }, { regions: [less] })];
    }),
  ],
  sqrt: unary('sqrt'),
  subtract: binary('subtract'),
  tan: unary('tan'),
  tanh: unary('tanh'),
  transpose: [program([f32], (b, x) => [b.transpose(x, [1, 0])])],
  tuple: [
    program([f32, i32], (b, x, y) => {
      const [pair] = b.op('tuple', [x, y], {});
      return [...b.op('tuple', [pair, x], {})];
    }),
  ],
  while: [
    program([tensor('i32'), f32], (b, i, x) => [
      ...b.while(
        [i, x],
        (inner, n) => inner.compare('LT', n, inner.scalar('i32', 3)),
        (inner, n, y) => [inner.add(n, inner.scalar('i32', 1)), inner.add(y, x)],
      ),
    ]),
  ],
  xor: binary('xor', tensor('ui8', [4])),
};

/** All samples with a name each. */
export function namedSamples(): { readonly name: string; readonly op: OpName; readonly program: Program }[] {
  return (Object.keys(samples) as OpName[]).flatMap((op) =>
    samples[op].map((sample, i) => ({ name: `${op} ${i}`, op, program: sample })),
  );
}
