/** The kernel of every op that computes; `interpret.ts` itself knows those that choose, repeat, call or only name. */
import type { BinaryOp, OpName, UnaryOp } from '../../ir/attributes.ts';
import type { Collective } from '../../ir/process-groups.ts';
import * as choose from './choose.ts';
import * as convert from './convert.ts';
import { dotGeneral } from './dot.ts';
import { binary, unary } from './elementwise.ts';
import { gather, scatter } from './gather-scatter.ts';
import type { KernelMaker } from './kernel.ts';
import * as reduction from './reduce.ts';
import * as shape from './shape.ts';
import { sort } from './sort.ts';

type ControlOp =
  | 'call'
  | 'case'
  | 'composite'
  | 'constant'
  | 'custom_call'
  | 'get_tuple_element'
  | 'if'
  | 'optimization_barrier'
  | 'reshape'
  | 'tuple'
  | 'while';

/** `collectives.ts` has these, and what a process is. */
type ProcessOp = Collective['name'] | 'after_all' | 'partition_id' | 'replica_id';

type KernelOp = Exclude<OpName, ControlOp | ProcessOp>;

const unaryKernels: { readonly [N in UnaryOp]: KernelMaker<UnaryOp> } = {
  abs: unary,
  cbrt: unary,
  ceil: unary,
  cosine: unary,
  count_leading_zeros: unary,
  exponential: unary,
  exponential_minus_one: unary,
  floor: unary,
  log: unary,
  log_plus_one: unary,
  logistic: unary,
  negate: unary,
  not: unary,
  popcnt: unary,
  round_nearest_afz: unary,
  round_nearest_even: unary,
  rsqrt: unary,
  sign: unary,
  sine: unary,
  sqrt: unary,
  tan: unary,
  tanh: unary,
};

const binaryKernels: { readonly [N in BinaryOp]: KernelMaker<BinaryOp> } = {
  add: binary,
  and: binary,
  atan2: binary,
  divide: binary,
  maximum: binary,
  minimum: binary,
  multiply: binary,
  or: binary,
  power: binary,
  remainder: binary,
  shift_left: binary,
  shift_right_arithmetic: binary,
  shift_right_logical: binary,
  subtract: binary,
  xor: binary,
};

export const kernels = {
  ...unaryKernels,
  ...binaryKernels,
  bitcast_convert: convert.bitcastConvert,
  broadcast_in_dim: shape.broadcastInDim,
  clamp: choose.clamp,
  compare: choose.compare,
  complex: convert.complex,
  concatenate: shape.concatenate,
  convert: convert.convert,
  dot_general: dotGeneral,
  dynamic_slice: shape.dynamicSlice,
  dynamic_update_slice: shape.dynamicUpdateSlice,
  gather,
  imag: convert.part,
  iota: shape.iota,
  is_finite: choose.finite,
  map: reduction.map,
  pad: shape.pad,
  real: convert.part,
  reduce: reduction.reduce,
  reduce_precision: convert.reducePrecision,
  reduce_window: reduction.reduceWindow,
  reverse: shape.reverse,
  scatter,
  select: choose.select,
  select_and_scatter: reduction.selectAndScatter,
  slice: shape.slice,
  sort,
  transpose: shape.transpose,
} satisfies { readonly [N in KernelOp]: KernelMaker<N> | KernelMaker<UnaryOp> | KernelMaker<BinaryOp> };
