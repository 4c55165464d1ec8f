/**
 * The ops and the attributes of each, by the names of StableHLO's specification. A new op is a line here, a row in the
 * table of its family (`ops/`), and rows in the passes and devices that own derivatives, shardings and lowerings: the
 * type checker names every table in which the row is missing.
 */
import type { Literal } from './program.ts';
import type { Dim, Type } from './types.ts';

/** What composites and custom calls may carry. */
export type Attribute =
  | number
  | bigint
  | boolean
  | string
  | Type
  | Literal
  | readonly Attribute[]
  | { readonly [key: string]: Attribute };

export function isTypeAttribute(value: Attribute): value is Type {
  if (typeof value !== 'object' || !('kind' in value)) return false;
  return (
    value.kind === 'token' ||
    (value.kind === 'tensor' && 'shape' in value) ||
    (value.kind === 'tuple' && 'parts' in value)
  );
}

export function isLiteralAttribute(value: Attribute): value is Literal {
  return typeof value === 'object' && 'data' in value && 'splat' in value && typeof value.splat === 'boolean';
}

export function isListAttribute(value: Attribute): value is readonly Attribute[] {
  return Array.isArray(value);
}

export type ComparisonDirection = 'EQ' | 'NE' | 'GE' | 'GT' | 'LE' | 'LT';
export type CompareType = 'FLOAT' | 'TOTALORDER' | 'SIGNED' | 'UNSIGNED';
type None = Readonly<Record<never, never>>;

export interface DotDimensions {
  readonly lhs_batching_dimensions: readonly number[];
  readonly rhs_batching_dimensions: readonly number[];
  readonly lhs_contracting_dimensions: readonly number[];
  readonly rhs_contracting_dimensions: readonly number[];
}

/** Windows of reduce_window and select_and_scatter; `padding` is [low, high] a dimension. */
export interface Window {
  readonly window_dimensions: readonly number[];
  readonly window_strides: readonly number[];
  readonly padding: readonly (readonly [number, number])[];
}

/** Processes that exchange data, by group (`process-groups.ts`): those of the whole grid if there are none. `channel_id` 0: no channel. */
export interface Grouping {
  readonly replica_groups: readonly (readonly number[])[];
  readonly channel_id: number;
}

/** As `Grouping`; with `use_global_device_ids` the groups name processes, not replicas. */
export interface GlobalGrouping extends Grouping {
  readonly use_global_device_ids: boolean;
}

/** `channel_type` as upstream numbers it; `source_target_pairs` may be empty: then the channel says who meets whom. */
interface Channel {
  readonly channel_id: number;
  readonly channel_type: number;
  readonly is_host_transfer: boolean;
  readonly source_target_pairs: readonly (readonly [number, number])[];
}

interface OtherAttributes {
  all_gather: GlobalGrouping & { readonly all_gather_dim: number };
  all_reduce: GlobalGrouping;
  reduce_scatter: GlobalGrouping & { readonly scatter_dimension: number };
  all_to_all: Grouping & {
    readonly split_dimension: number;
    readonly concat_dimension: number;
    readonly split_count: number;
  };
  /** From the first of each group to the others, or from the one whose index an i32 of the last operand says, operand by operand. */
  collective_broadcast: Grouping & { readonly has_dynamic_root: boolean };
  collective_permute: {
    readonly source_target_pairs: readonly (readonly [number, number])[];
    readonly channel_id: number;
  };
  send: Channel;
  recv: Channel;
  compare: { readonly comparison_direction: ComparisonDirection; readonly compare_type?: CompareType };
  reduce_precision: { readonly exponent_bits: number; readonly mantissa_bits: number };
  constant: { readonly value: Literal };
  iota: { readonly iota_dimension: number };
  transpose: { readonly permutation: readonly number[] };
  broadcast_in_dim: { readonly broadcast_dimensions: readonly number[] };
  /** The limit of a symbolic dimension is the dimension itself: it is always taken whole (`slice_sizes` may also be 1). */
  slice: {
    readonly start_indices: readonly number[];
    readonly limit_indices: readonly Dim[];
    readonly strides: readonly number[];
  };
  dynamic_slice: { readonly slice_sizes: readonly Dim[] };
  pad: {
    readonly edge_padding_low: readonly number[];
    readonly edge_padding_high: readonly number[];
    readonly interior_padding: readonly number[];
  };
  concatenate: { readonly dimension: number };
  reverse: { readonly dimensions: readonly number[] };
  dot_general: DotDimensions;
  reduce: { readonly dimensions: readonly number[] };
  reduce_window: Window & { readonly base_dilations: readonly number[]; readonly window_dilations: readonly number[] };
  select_and_scatter: Window;
  map: { readonly dimensions: readonly number[] };
  gather: {
    readonly offset_dims: readonly number[];
    readonly collapsed_slice_dims: readonly number[];
    readonly operand_batching_dims: readonly number[];
    readonly start_indices_batching_dims: readonly number[];
    readonly start_index_map: readonly number[];
    readonly index_vector_dim: number;
    readonly slice_sizes: readonly Dim[];
    readonly indices_are_sorted: boolean;
  };
  scatter: {
    readonly update_window_dims: readonly number[];
    readonly inserted_window_dims: readonly number[];
    readonly input_batching_dims: readonly number[];
    readonly scatter_indices_batching_dims: readonly number[];
    readonly scatter_dims_to_operand_dims: readonly number[];
    readonly index_vector_dim: number;
    readonly indices_are_sorted: boolean;
    readonly unique_indices: boolean;
  };
  sort: { readonly dimension: number; readonly is_stable: boolean };
  call: { readonly callee: string };
  composite: {
    readonly name: string;
    readonly composite_attributes: { readonly [key: string]: Attribute };
    /** Function that says what it means in plain StableHLO. */
    readonly decomposition: string;
    readonly version: number;
  };
  custom_call: {
    readonly call_target_name: string;
    readonly has_side_effect: boolean;
    /** Everything else that the text carried. */
    readonly extra: { readonly [key: string]: Attribute };
  };
  get_tuple_element: { readonly index: number };
}

export type UnaryOp =
  | 'abs'
  | 'cbrt'
  | 'ceil'
  | 'cosine'
  | 'count_leading_zeros'
  | 'exponential'
  | 'exponential_minus_one'
  | 'floor'
  | 'log'
  | 'log_plus_one'
  | 'logistic'
  | 'negate'
  | 'not'
  | 'popcnt'
  | 'round_nearest_afz'
  | 'round_nearest_even'
  | 'rsqrt'
  | 'sign'
  | 'sine'
  | 'sqrt'
  | 'tan'
  | 'tanh';

export type BinaryOp =
  | 'add'
  | 'and'
  | 'atan2'
  | 'divide'
  | 'maximum'
  | 'minimum'
  | 'multiply'
  | 'or'
  | 'power'
  | 'remainder'
  | 'shift_left'
  | 'shift_right_arithmetic'
  | 'shift_right_logical'
  | 'subtract'
  | 'xor';

/** Ops that have no attributes. */
type PlainOp =
  | UnaryOp
  | BinaryOp
  | 'after_all'
  | 'bitcast_convert'
  | 'case'
  | 'clamp'
  | 'complex'
  | 'convert'
  | 'dynamic_update_slice'
  | 'if'
  | 'imag'
  | 'is_finite'
  | 'optimization_barrier'
  | 'partition_id'
  | 'real'
  | 'replica_id'
  | 'reshape'
  | 'select'
  | 'tuple'
  | 'while';

export type OpAttributes = OtherAttributes & { [N in PlainOp]: None };
export type OpName = keyof OpAttributes;
/** Ops that have attributes. */
export type AttributedOp = { [N in OpName]: keyof OpAttributes[N] extends never ? never : N }[OpName];
