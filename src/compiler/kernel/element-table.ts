/** Every op by its name: how one element of its result is computed. */
import type { BinaryOp, OpName, UnaryOp } from '../../ir/attributes.ts';
import type { ElementRow } from './element-row.ts';
import {
  broadcastElement,
  concatenateElement,
  constantElement,
  dynamicSliceElement,
  dynamicUpdateSliceElement,
  gatherElement,
  iotaElement,
  padElement,
  reshapeElement,
  reverseElement,
  sliceElement,
  transposeElement,
} from './index-maps.ts';
import { barrierElement, callElement, caseElement, ifElement, notElementwise, whileElement } from './lower-control.ts';
import {
  binaryElement,
  bitcastElement,
  clampElement,
  compareElement,
  complexElement,
  convertElement,
  isFiniteElement,
  partOfComplex,
  reducePrecisionElement,
  selectElement,
  unaryElement,
} from './lower-elementwise.ts';
import { dotElement, mapElement, reduceElement, reduceWindowElement } from './lower-reduce.ts';
import type { ElementOf } from './scope.ts';

const unaries: { readonly [N in UnaryOp]: ElementRow<UnaryOp> } = {
  abs: unaryElement,
  cbrt: unaryElement,
  ceil: unaryElement,
  cosine: unaryElement,
  count_leading_zeros: unaryElement,
  exponential: unaryElement,
  exponential_minus_one: unaryElement,
  floor: unaryElement,
  log: unaryElement,
  log_plus_one: unaryElement,
  logistic: unaryElement,
  negate: unaryElement,
  not: unaryElement,
  popcnt: unaryElement,
  round_nearest_afz: unaryElement,
  round_nearest_even: unaryElement,
  rsqrt: unaryElement,
  sign: unaryElement,
  sine: unaryElement,
  sqrt: unaryElement,
  tan: unaryElement,
  tanh: unaryElement,
};

const binaries: { readonly [N in BinaryOp]: ElementRow<BinaryOp> } = {
  add: binaryElement,
  and: binaryElement,
  atan2: binaryElement,
  divide: binaryElement,
  maximum: binaryElement,
  minimum: binaryElement,
  multiply: binaryElement,
  or: binaryElement,
  power: binaryElement,
  remainder: binaryElement,
  shift_left: binaryElement,
  shift_right_arithmetic: binaryElement,
  shift_right_logical: binaryElement,
  subtract: binaryElement,
  xor: binaryElement,
};

/** `notElementwise`: kernels of their own (`lower.ts`), steps of a plan (`plan.ts`), or nothing that a device runs. */
const rows = {
  ...unaries,
  ...binaries,
  after_all: notElementwise,
  all_gather: notElementwise,
  all_reduce: notElementwise,
  all_to_all: notElementwise,
  bitcast_convert: bitcastElement,
  broadcast_in_dim: broadcastElement,
  call: callElement,
  case: caseElement,
  clamp: clampElement,
  collective_broadcast: notElementwise,
  collective_permute: notElementwise,
  compare: compareElement,
  complex: complexElement,
  composite: callElement,
  concatenate: concatenateElement,
  constant: constantElement,
  convert: convertElement,
  custom_call: notElementwise,
  dot_general: dotElement,
  dynamic_slice: dynamicSliceElement,
  dynamic_update_slice: dynamicUpdateSliceElement,
  gather: gatherElement,
  get_tuple_element: notElementwise,
  if: ifElement,
  imag: partOfComplex,
  iota: iotaElement,
  is_finite: isFiniteElement,
  map: mapElement,
  optimization_barrier: barrierElement,
  pad: padElement,
  partition_id: notElementwise,
  real: partOfComplex,
  recv: notElementwise,
  reduce: reduceElement,
  reduce_precision: reducePrecisionElement,
  reduce_scatter: notElementwise,
  reduce_window: reduceWindowElement,
  replica_id: notElementwise,
  reshape: reshapeElement,
  reverse: reverseElement,
  scatter: notElementwise,
  select: selectElement,
  select_and_scatter: notElementwise,
  send: notElementwise,
  slice: sliceElement,
  sort: notElementwise,
  transpose: transposeElement,
  tuple: notElementwise,
  while: whileElement,
} satisfies {
  readonly [N in OpName]: ElementRow<N> | ElementRow<UnaryOp> | ElementRow<BinaryOp> | ElementRow<OpName>;
};

export const elementOfOp: ElementOf = (op, result, index, scope) => {
  // One table for all names: the row and its op agree by the name.
  const row = rows[op.name] as ElementRow<OpName>;
  return row(op, index, scope, result);
};
