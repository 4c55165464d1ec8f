/**
 * From the attributes of a text to those of the program, one row an op. What a row does not ask for must be a
 * discardable attribute (its name has a dot: by MLIR's rule an op keeps its meaning without it: `mhlo.layout_mode`,
 * `jax.result_info`) or one that only says how exactly to compute (`imprecise`); anything else is refused.
 */
import { IngotError } from '../../base/errors.ts';
import { decodeElements } from '../../numerics/host-array.ts';
import {
  type Attribute,
  type AttributedOp,
  type CompareType,
  type ComparisonDirection,
  isLiteralAttribute,
  type OpAttributes,
  type OpName,
} from '../attributes.ts';
import type { Value } from '../program.ts';
import type { Dim } from '../types.ts';
import { type Fields, isFields, symbolicExtent } from './attribute-text.ts';

/** Requests for speed or accuracy that every device of ours meets or may ignore. */
const imprecise = ['precision_config', 'precision', 'algorithm', 'result_accuracy'];
/** Layouts of buffers at the border of a custom call. Ours are always row-major. */
const layouts = ['operand_layouts', 'result_layouts'];

const directions: readonly ComparisonDirection[] = ['EQ', 'NE', 'GE', 'GT', 'LE', 'LT'];
const compareTypes: readonly CompareType[] = ['FLOAT', 'TOTALORDER', 'SIGNED', 'UNSIGNED'];

/** The attributes of one op while they are read. All methods throw IngotError 'ParseError' for what does not fit. */
class Reading {
  readonly op: string;
  readonly #fields: Fields;
  readonly #used = new Set<string>();

  constructor(op: string, fields: Fields) {
    this.op = op;
    this.#fields = fields;
  }

  fail(message: string): never {
    throw new IngotError('ParseError', `${this.op}: ${message}`, { op: this.op });
  }

  /** As it stands; undefined if the text has none of this name. */
  get(name: string): Attribute | undefined {
    this.#used.add(name);
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
  }

  #must<T>(name: string, value: T | undefined, what: string, given?: Attribute): T {
    if (value !== undefined) return value;
    return this.fail(given === undefined ? `needs attribute ${name}` : `attribute ${name} is not ${what}`);
  }

  integer(name: string, fallback?: number): number {
    const given = this.get(name);
    if (given === undefined && fallback !== undefined) return fallback;
    return this.#must(
      name,
      typeof given === 'number' && Number.isInteger(given) ? given : undefined,
      'an integer',
      given,
    );
  }

  boolean(name: string, fallback: boolean): boolean {
    const given = this.get(name) ?? fallback;
    return this.#must(name, typeof given === 'boolean' ? given : undefined, 'a boolean', given);
  }

  string(name: string): string {
    const given = this.get(name);
    return this.#must(name, typeof given === 'string' ? given : undefined, 'a string', given);
  }

  /** The name behind the `@`. */
  symbol(name: string): string {
    const text = this.string(name);
    return text.startsWith('@') ? text.slice(1) : text;
  }

  word<W extends string>(name: string, words: readonly W[]): W {
    const given = this.get(name);
    return this.#must(
      name,
      words.find((word) => word === given),
      `one of ${words.join(', ')}`,
      given,
    );
  }

  /** `array<i64: ...>`, `[...]`, or a one-dimensional constant, as older texts have it. */
  integers(name: string, fallback?: readonly number[]): readonly number[] {
    const given = this.get(name);
    if (given === undefined && fallback !== undefined) return fallback;
    return this.#must(name, given === undefined ? undefined : integerList(given), 'a list of integers', given);
  }

  /** Like `integers`; `?` stands for the symbolic dimension of `shape` at its place. */
  extents(name: string, shape: readonly Dim[]): readonly Dim[] {
    const given = this.get(name);
    const list = Array.isArray(given) ? given : undefined;
    if (list === undefined || !list.includes(symbolicExtent)) return this.integers(name);
    return list.map((entry: Attribute, i) => {
      if (entry === symbolicExtent && typeof shape[i] === 'object') return shape[i];
      return this.#must(
        name,
        typeof entry === 'number' && Number.isInteger(entry) ? entry : undefined,
        'extents',
        given,
      );
    });
  }

  /** `dense<[[low, high], ...]>`. */
  pairs(name: string, count: number): readonly (readonly [number, number])[] {
    const given = this.get(name);
    if (given === undefined) return Array.from({ length: count }, () => [0, 0] as const);
    const flat = integerList(given);
    if (flat === undefined || (flat.length !== 2 * count && flat.length !== 1)) {
      return this.fail(`attribute ${name} is not ${count} pairs of integers`);
    }
    return Array.from({ length: count }, (_, i) => [flat[2 * i] ?? flat[0], flat[2 * i + 1] ?? flat[0]] as const);
  }

  /** Rows of `dense<[[0, 1], [2, -1]]>`, without the places that -1 says are empty. */
  rows(name: string): readonly (readonly number[])[] {
    const given = this.get(name);
    if (given === undefined) return [];
    const flat = integerList(given);
    const shape = isLiteralAttribute(given) ? given.type.shape : [];
    const [rows, columns] = shape;
    if (flat === undefined || shape.length !== 2 || typeof rows !== 'number' || typeof columns !== 'number') {
      return this.fail(`attribute ${name} is not a matrix of integers`);
    }
    if (columns === 0) return [];
    return Array.from({ length: rows }, (_, i) => flat.slice(i * columns, (i + 1) * columns).filter((id) => id !== -1));
  }

  /** `dense<[[source, target], ...]>`, as many as there are. */
  targets(name: string): readonly (readonly [number, number])[] {
    return this.rows(name).map((row) => {
      if (row.length !== 2) return this.fail(`attribute ${name} is not pairs of processes`);
      return [row[0], row[1]] as const;
    });
  }

  /** `#stablehlo.channel_handle<handle = 1, type = 0>`; without one, channel 0. */
  channel(): { readonly channel_id: number; readonly channel_type: number } {
    if (this.get('channel_handle') === undefined) return { channel_id: 0, channel_type: 0 };
    return this.body('channel_handle', (b) => ({
      channel_id: b.integer('handle', 0),
      channel_type: b.integer('type', 0),
    }));
  }

  fields(name: string): Fields {
    const given = this.get(name);
    return this.#must(name, given !== undefined && isFields(given) ? given : undefined, 'a dictionary', given);
  }

  /** `fields` as a reading of its own, with its own end. */
  body<T>(name: string, read: (body: Reading) => T): T {
    const body = new Reading(this.op, this.fields(name));
    const value = read(body);
    body.end();
    return value;
  }

  /** What nobody asked for, by name. */
  rest(): [string, Attribute][] {
    return Object.entries(this.#fields).filter(([name]) => !this.#used.has(name));
  }

  end(): void {
    for (const [name] of this.rest()) {
      if (name.includes('.') || imprecise.includes(name)) continue;
      throw new IngotError('UnsupportedOp', `attribute ${name} of ${this.op} is not supported`, { op: this.op });
    }
  }
}

function integerList(value: Attribute): readonly number[] | undefined {
  if (Array.isArray(value)) return value.every((n) => Number.isInteger(n)) ? (value as number[]) : undefined;
  if (!isLiteralAttribute(value) || !(value.data instanceof Uint8Array)) return undefined;
  const numbers = Array.from(decodeElements(value.type.element, value.data), Number);
  if (!numbers.every(Number.isSafeInteger)) return undefined;
  if (!value.splat) return numbers;
  const count = value.type.shape.reduce<number>((product, dim) => product * (typeof dim === 'number' ? dim : 0), 1);
  return count <= maxSplat ? Array.from({ length: count }, () => numbers[0]) : undefined;
}

/** Lists of extents are short; a splat that claims more lies. */
const maxSplat = 1024;

type Row<N extends OpName> = (a: Reading, operands: readonly Value[]) => OpAttributes[N];
function shapeOf(value: Value | undefined): readonly Dim[] {
  return value?.type.kind === 'tensor' ? value.type.shape : [];
}

const ones = (rank: number): number[] => new Array<number>(rank).fill(1);

function window(a: Reading, operands: readonly Value[]) {
  const rank = shapeOf(operands[0]).length;
  return {
    window_dimensions: a.integers('window_dimensions', ones(rank)),
    window_strides: a.integers('window_strides', ones(rank)),
    padding: a.pairs('padding', rank),
  };
}

const grouping = (a: Reading) => ({
  replica_groups: a.rows('replica_groups'),
  channel_id: a.channel().channel_id,
});
const globalGrouping = (a: Reading) => ({
  ...grouping(a),
  use_global_device_ids: a.boolean('use_global_device_ids', false),
});
const channel = (a: Reading) => ({
  ...a.channel(),
  is_host_transfer: a.boolean('is_host_transfer', false),
  source_target_pairs: a.targets('source_target_pairs'),
});

const rows: { readonly [N in AttributedOp]: Row<N> } = {
  all_gather: (a) => ({ ...globalGrouping(a), all_gather_dim: a.integer('all_gather_dim') }),
  all_reduce: globalGrouping,
  all_to_all: (a) => ({
    ...grouping(a),
    split_dimension: a.integer('split_dimension'),
    concat_dimension: a.integer('concat_dimension'),
    split_count: a.integer('split_count'),
  }),
  broadcast_in_dim: (a) => ({ broadcast_dimensions: a.integers('broadcast_dimensions') }),
  call: (a) => ({ callee: a.symbol('callee') }),
  collective_broadcast: (a) => ({ ...grouping(a), has_dynamic_root: a.boolean('has_dynamic_root', false) }),
  collective_permute: (a) => ({
    source_target_pairs: a.targets('source_target_pairs'),
    channel_id: a.channel().channel_id,
  }),
  compare: (a) => {
    const comparison_direction = a.word('comparison_direction', directions);
    const type = a.get('compare_type');
    if (type === undefined || type === 'NOTYPE') return { comparison_direction };
    return { comparison_direction, compare_type: a.word('compare_type', compareTypes) };
  },
  composite: (a) => ({
    name: a.string('name'),
    composite_attributes: a.get('composite_attributes') === undefined ? {} : a.fields('composite_attributes'),
    decomposition: a.symbol('decomposition'),
    version: a.integer('version', 0),
  }),
  concatenate: (a) => ({ dimension: a.integer('dimension') }),
  constant: (a) => {
    const value = a.get('value');
    return value !== undefined && isLiteralAttribute(value) ? { value } : a.fail('needs a constant value');
  },
  custom_call: (a) => {
    const call_target_name = a.symbol('call_target_name');
    const has_side_effect = a.boolean('has_side_effect', false);
    const extra = Object.fromEntries(a.rest().filter(([name]) => !layouts.includes(name)));
    for (const name of [...layouts, ...Object.keys(extra)]) a.get(name);
    return { call_target_name, has_side_effect, extra };
  },
  dot_general: (a) =>
    a.body('dot_dimension_numbers', (b) => ({
      lhs_batching_dimensions: b.integers('lhs_batching_dimensions', []),
      rhs_batching_dimensions: b.integers('rhs_batching_dimensions', []),
      lhs_contracting_dimensions: b.integers('lhs_contracting_dimensions', []),
      rhs_contracting_dimensions: b.integers('rhs_contracting_dimensions', []),
    })),
  dynamic_slice: (a, [operand]) => ({ slice_sizes: a.extents('slice_sizes', shapeOf(operand)) }),
  gather: (a, [operand]) => ({
    ...a.body('dimension_numbers', (b) => ({
      offset_dims: b.integers('offset_dims', []),
      collapsed_slice_dims: b.integers('collapsed_slice_dims', []),
      operand_batching_dims: b.integers('operand_batching_dims', []),
      start_indices_batching_dims: b.integers('start_indices_batching_dims', []),
      start_index_map: b.integers('start_index_map', []),
      index_vector_dim: b.integer('index_vector_dim', 0),
    })),
    slice_sizes: a.extents('slice_sizes', shapeOf(operand)),
    indices_are_sorted: a.boolean('indices_are_sorted', false),
  }),
  get_tuple_element: (a) => ({ index: a.integer('index') }),
  iota: (a) => ({ iota_dimension: a.integer('iota_dimension') }),
  map: (a) => ({ dimensions: a.integers('dimensions') }),
  pad: (a) => ({
    edge_padding_low: a.integers('edge_padding_low'),
    edge_padding_high: a.integers('edge_padding_high'),
    interior_padding: a.integers('interior_padding'),
  }),
  recv: channel,
  reduce: (a) => ({ dimensions: a.integers('dimensions') }),
  reduce_precision: (a) => ({ exponent_bits: a.integer('exponent_bits'), mantissa_bits: a.integer('mantissa_bits') }),
  reduce_window: (a, operands) => {
    const rank = shapeOf(operands[0]).length;
    return {
      ...window(a, operands),
      base_dilations: a.integers('base_dilations', ones(rank)),
      window_dilations: a.integers('window_dilations', ones(rank)),
    };
  },
  reduce_scatter: (a) => ({ ...globalGrouping(a), scatter_dimension: a.integer('scatter_dimension') }),
  reverse: (a) => ({ dimensions: a.integers('dimensions') }),
  scatter: (a) => ({
    ...a.body('scatter_dimension_numbers', (b) => ({
      update_window_dims: b.integers('update_window_dims', []),
      inserted_window_dims: b.integers('inserted_window_dims', []),
      input_batching_dims: b.integers('input_batching_dims', []),
      scatter_indices_batching_dims: b.integers('scatter_indices_batching_dims', []),
      scatter_dims_to_operand_dims: b.integers('scatter_dims_to_operand_dims', []),
      index_vector_dim: b.integer('index_vector_dim', 0),
    })),
    indices_are_sorted: a.boolean('indices_are_sorted', false),
    unique_indices: a.boolean('unique_indices', false),
  }),
  select_and_scatter: window,
  send: channel,
  slice: (a, [operand]) => ({
    start_indices: a.integers('start_indices'),
    limit_indices: a.extents('limit_indices', shapeOf(operand)),
    strides: a.integers('strides'),
  }),
  sort: (a) => ({ dimension: a.integer('dimension', -1), is_stable: a.boolean('is_stable', false) }),
  transpose: (a) => ({ permutation: a.integers('permutation') }),
};

function isAttributed(name: OpName): name is AttributedOp {
  return Object.hasOwn(rows, name);
}

/**
 * The typed attributes of an op from those of its text.
 * @throws IngotError 'ParseError' for a missing or unfit one, 'UnsupportedOp' for one whose meaning would be lost.
 */
export function readAttributes(name: OpName, fields: Fields, operands: readonly Value[]): OpAttributes[OpName] {
  const reading = new Reading(`stablehlo.${name}`, fields);
  const attributes = isAttributed(name) ? rows[name](reading, operands) : {};
  reading.end();
  return attributes;
}
