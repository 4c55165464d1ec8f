/**
 * How each op is written: `assembly` has those with a form of their own (the inverse of `syntax.ts`), `properties` the
 * attributes of those that are written in generic form. The type checker names an op whose attributes neither writes.
 */
import type { AttributedOp, GlobalGrouping, Grouping, OpAttributes, OpName } from '../attributes.ts';
import { elementwise } from '../ops/elementwise.ts';
import type { Op, OpOf, Region, Value } from '../program.ts';
import { constraintTarget } from '../sharding.ts';
import { asTensor, type Dim, sameType, type Type, tensor } from '../types.ts';
import {
  type PrintOptions,
  printAttribute,
  printFields,
  printLiteral,
  printString,
  printSymbol,
} from './print-attribute.ts';

/** What the rows need of the printer of a function. */
export interface BodyPrinter {
  readonly options: PrintOptions;
  value(value: Value): string;
  type(type: Type): string;
  /** `?` where a symbolic dimension has no value. */
  dim(dim: Dim): string;
  /** Names the parameters; `names` are those of a region that shares them. */
  parameters(region: Region, names?: readonly string[]): readonly string[];
  /** `{ ... }`, its parameters, if they stand inside, before the ops. */
  block(region: Region, label?: string): string;
}

// ── pieces ──

const list = (numbers: readonly number[]): string => `[${numbers.join(', ')}]`;
const array = (numbers: readonly (number | string)[]): string =>
  numbers.length === 0 ? 'array<i64>' : `array<i64: ${numbers.join(', ')}>`;

function values(op: { readonly operands: readonly Value[] }, p: BodyPrinter): string {
  return op.operands.map((value) => p.value(value)).join(', ');
}

function types(of: readonly Value[], p: BodyPrinter): string {
  return of.map(({ type }) => p.type(type)).join(', ');
}

/** `(A, B) -> C`. */
function functional(op: { readonly operands: readonly Value[]; readonly results: readonly Value[] }, p: BodyPrinter) {
  const results = types(op.results, p);
  return `(${types(op.operands, p)}) -> ${op.results.length === 1 ? results : `(${results})`}`;
}

/** `T` where all operands and results are of it. */
function shortened(op: { readonly operands: readonly Value[]; readonly results: readonly Value[] }, p: BodyPrinter) {
  const [{ type }] = op.results;
  return op.operands.every((value) => sameType(value.type, type)) ? p.type(type) : functional(op, p);
}

// ── ops with a form of their own ──

type Row<N extends OpName> = (op: OpOf<N>, p: BodyPrinter) => string | undefined;

/** Ops whose name `reduce` may give instead of its region. */
const appliedOps: readonly string[] = ['add', 'and', 'maximum', 'minimum', 'multiply', 'or', 'xor'];

const reduce: Row<'reduce'> = (op, p) => {
  const count = op.operands.length / 2;
  const pairs = op.operands.slice(0, count).map((x, i) => `(${p.value(x)} init: ${p.value(op.operands[count + i])})`);
  const across = `across dimensions = ${list(op.attributes.dimensions)} : ${functional(op, p)}`;
  const [region] = op.regions;
  const applied = appliedOp(region, op.operands[0].type);
  if (applied !== undefined) return `${pairs.join(', ')} applies stablehlo.${applied} ${across}`;
  const names = p.parameters(region);
  const typed = names.map((name, i) => `${name}: ${p.type(region.parameters[i].type)}`);
  const arguments_ = pairs.map((_, i) => `(${typed[i]}, ${typed[count + i]})`).join(' ');
  return `${pairs.join(', ')} ${across} reducer${arguments_} ${p.block(region)}`;
};

/** The name of the one op that a region over two scalars does, if it can stand for the region. */
function appliedOp({ parameters, body, results }: Region, input: Type): string | undefined {
  const [op] = body;
  const scalar = tensor(asTensor(input).element);
  const plain =
    body.length === 1 &&
    appliedOps.includes(op.name) &&
    op.operands[0] === parameters[0] &&
    op.operands[1] === parameters[1] &&
    results[0] === op.results[0];
  return plain && parameters.every(({ type }) => sameType(type, scalar)) ? op.name : undefined;
}

const whileLoop: Row<'while'> = (op, p) => {
  if (op.operands.length === 0) return undefined;
  const [condition, body] = op.regions;
  const names = p.parameters(condition);
  p.parameters(body, names);
  const carried = names.map((name, i) => `${name} = ${p.value(op.operands[i])}`).join(', ');
  return `(${carried}) : ${types(op.operands, p)} cond ${p.block(condition)} do ${p.block(body)}`;
};

const dotGeneral: Row<'dot_general'> = (op, p) => {
  const a = op.attributes;
  const pair = (lhs: readonly number[], rhs: readonly number[]) => `${list(lhs)} x ${list(rhs)}`;
  const batch = pair(a.lhs_batching_dimensions, a.rhs_batching_dimensions);
  const batching = a.lhs_batching_dimensions.length > 0 ? `batching_dims = ${batch}, ` : '';
  const contracting = `contracting_dims = ${pair(a.lhs_contracting_dimensions, a.rhs_contracting_dimensions)}`;
  return ` ${values(op, p)}, ${batching}${contracting} : ${functional(op, p)}`;
};

const slice: Row<'slice'> = (op, p) => {
  const { start_indices: starts, limit_indices: limits, strides } = op.attributes;
  const ranges = starts.map((start, i) => `${start}:${p.dim(limits[i])}${strides[i] === 1 ? '' : `:${strides[i]}`}`);
  return ` ${values(op, p)} [${ranges.join(', ')}] : ${functional(op, p)}`;
};

const customCall: Row<'custom_call'> = (op, p) => {
  const { call_target_name: target, has_side_effect: effect, extra } = op.attributes;
  const fields = Object.entries(extra).map(([key, value]): [string, string] =>
    // Upstream wants this one as wide as its own definition says.
    key === 'api_version' ? [key, `${value} : i32`] : [key, printAttribute(value, p.options)],
  );
  if (effect) fields.push(['has_side_effect', 'true']);
  const attributes = fields.length === 0 ? '' : ` ${printFields(fields)}`;
  return ` ${printSymbol(target)}(${values(op, p)})${attributes} : ${functional(op, p)}`;
};

const composite: Row<'composite'> = (op, p) => {
  const { name, composite_attributes: inner, decomposition, version } = op.attributes;
  const fields: [string, string][] = [
    ['decomposition', printSymbol(decomposition)],
    ['version', `${version} : i32`],
  ];
  if (Object.keys(inner).length > 0) fields.push(['composite_attributes', printAttribute(inner, p.options)]);
  const operands = op.operands.length === 0 ? '' : ` ${values(op, p)}`;
  return ` ${printString(name)}${operands} ${printFields(fields)} : ${functional(op, p)}`;
};

const assembly = {
  bitcast_convert: (op, p) => ` ${values(op, p)} : ${functional(op, p)}`,
  broadcast_in_dim: (op, p) =>
    ` ${values(op, p)}, dims = ${list(op.attributes.broadcast_dimensions)} : ${functional(op, p)}`,
  call: (op, p) => ` ${printSymbol(op.attributes.callee)}(${values(op, p)}) : ${functional(op, p)}`,
  compare: (op, p) => {
    const { comparison_direction: direction, compare_type: type } = op.attributes;
    return ` ${direction}, ${values(op, p)}${type === undefined ? '' : `, ${type}`} : ${functional(op, p)}`;
  },
  composite,
  concatenate: (op, p) => ` ${values(op, p)}, dim = ${op.attributes.dimension} : ${functional(op, p)}`,
  constant: (op, p) => ` ${printLiteral(op.attributes.value, p.options)}`,
  custom_call: customCall,
  dot_general: dotGeneral,
  dynamic_slice: (op, p) => {
    const sizes = op.attributes.slice_sizes.map((size) => p.dim(size)).join(', ');
    return ` ${values(op, p)}, sizes = [${sizes}] : ${functional(op, p)}`;
  },
  dynamic_update_slice: (op, p) => ` ${values(op, p)} : ${functional(op, p)}`,
  get_tuple_element: (op, p) => ` ${values(op, p)}[${op.attributes.index}] : ${functional(op, p)}`,
  iota: (op, p) => ` dim = ${op.attributes.iota_dimension} : ${types(op.results, p)}`,
  optimization_barrier: (op, p) =>
    op.operands.length === 0 ? undefined : ` ${values(op, p)} : ${types(op.operands, p)}`,
  pad: (op, p) => {
    const { edge_padding_low: low, edge_padding_high: high, interior_padding: interior } = op.attributes;
    const amounts = `low = ${list(low)}, high = ${list(high)}, interior = ${list(interior)}`;
    return ` ${values(op, p)}, ${amounts} : ${functional(op, p)}`;
  },
  reduce,
  reduce_precision: (op, p) => {
    const { exponent_bits: exponent, mantissa_bits: mantissa } = op.attributes;
    return ` ${values(op, p)}, format = e${exponent}m${mantissa} : ${shortened(op, p)}`;
  },
  reshape: (op, p) => ` ${values(op, p)} : ${functional(op, p)}`,
  reverse: (op, p) => ` ${values(op, p)}, dims = ${list(op.attributes.dimensions)} : ${shortened(op, p)}`,
  select: (op, p) => ` ${values(op, p)} : ${types(op.operands.slice(0, 2), p)}`,
  slice,
  transpose: (op, p) => ` ${values(op, p)}, dims = ${list(op.attributes.permutation)} : ${functional(op, p)}`,
  tuple: (op, p) => ` ${values(op, p)} : ${types(op.results, p)}`,
  while: whileLoop,
} satisfies { readonly [N in OpName]?: Row<N> };

// ── ops in generic form ──

type Properties<N extends OpName> = (attributes: OpAttributes[N], p: BodyPrinter) => readonly [string, string][];

/** `<a = [1], b = 2>` without what is empty or zero, as upstream prints it. */
function body(fields: Readonly<Record<string, readonly number[] | number>>): string {
  const spelled = Object.entries(fields)
    .filter(([, value]) => (typeof value === 'number' ? value !== 0 : value.length > 0))
    .map(([key, value]) => `${key} = ${typeof value === 'number' ? value : list(value)}`);
  return `<${spelled.join(', ')}>`;
}

function padding(pairs: readonly (readonly [number, number])[]): string {
  const data = pairs.map(([low, high]) => `[${low}, ${high}]`).join(', ');
  return pairs.length === 0 ? 'dense<> : tensor<0x2xi64>' : `dense<[${data}]> : tensor<${pairs.length}x2xi64>`;
}

/** Rows of one length, as upstream has them: -1 where there is none. */
function matrix(rows: readonly (readonly number[])[], columns = Math.max(0, ...rows.map(({ length }) => length))) {
  const data = rows.map((row) => list(Array.from({ length: columns }, (_, i) => row[i] ?? -1))).join(', ');
  const spelled = rows.length === 0 ? '' : `[${data}]`;
  return `dense<${spelled}> : tensor<${rows.length}x${columns}xi64>`;
}

function handle(id: number, type: number): readonly [string, string][] {
  return id === 0 ? [] : [['channel_handle', `#stablehlo.channel_handle<handle = ${id}, type = ${type}>`]];
}

/** Between devices: what programs have for collectives. */
const deviceToDevice = 1;

const grouping = (a: Grouping): readonly [string, string][] => [
  ['replica_groups', matrix(a.replica_groups)],
  ...handle(a.channel_id, deviceToDevice),
];

const unit = (name: string, present: boolean): readonly [string, string][] => (present ? [[name, 'unit']] : []);

const globalGrouping = (a: GlobalGrouping): readonly [string, string][] => [
  ...grouping(a),
  ...unit('use_global_device_ids', a.use_global_device_ids),
];

const channel: Properties<'send' | 'recv'> = (a) => [
  ['channel_handle', `#stablehlo.channel_handle<handle = ${a.channel_id}, type = ${a.channel_type}>`],
  ['is_host_transfer', String(a.is_host_transfer)],
  ...(a.source_target_pairs.length > 0 ? pairs(a.source_target_pairs) : []),
];

const pairs = (of: readonly (readonly [number, number])[]): [string, string][] => [
  ['source_target_pairs', matrix(of, 2)],
];

const properties: { readonly [N in Exclude<AttributedOp, keyof typeof assembly>]: Properties<N> } = {
  all_gather: (a) => [['all_gather_dim', `${a.all_gather_dim} : i64`], ...globalGrouping(a)],
  all_reduce: globalGrouping,
  all_to_all: (a) => [
    ['split_dimension', `${a.split_dimension} : i64`],
    ['concat_dimension', `${a.concat_dimension} : i64`],
    ['split_count', `${a.split_count} : i64`],
    ...grouping(a),
  ],
  collective_broadcast: (a) => [...grouping(a), ...unit('has_dynamic_root', a.has_dynamic_root)],
  collective_permute: (a) => [...pairs(a.source_target_pairs), ...handle(a.channel_id, deviceToDevice)],
  gather: ({ slice_sizes: sizes, indices_are_sorted: sorted, ...dimensions }, p) => [
    ['dimension_numbers', `#stablehlo.gather${body(dimensions)}`],
    ['indices_are_sorted', String(sorted)],
    ['slice_sizes', array(sizes.map((size) => p.dim(size)))],
  ],
  map: ({ dimensions }) => [['dimensions', array(dimensions)]],
  recv: channel,
  reduce_scatter: (a) => [['scatter_dimension', `${a.scatter_dimension} : i64`], ...globalGrouping(a)],
  reduce_window: (a) => [
    ['base_dilations', array(a.base_dilations)],
    ['padding', padding(a.padding)],
    ['window_dilations', array(a.window_dilations)],
    ['window_dimensions', array(a.window_dimensions)],
    ['window_strides', array(a.window_strides)],
  ],
  scatter: ({ indices_are_sorted: sorted, unique_indices: unique, ...dimensions }) => [
    ['indices_are_sorted', String(sorted)],
    ['scatter_dimension_numbers', `#stablehlo.scatter${body(dimensions)}`],
    ['unique_indices', String(unique)],
  ],
  select_and_scatter: (a) => [
    ['padding', padding(a.padding)],
    ['window_dimensions', array(a.window_dimensions)],
    ['window_strides', array(a.window_strides)],
  ],
  send: channel,
  sort: ({ dimension, is_stable: stable }) => [
    ['dimension', `${dimension} : i64`],
    ['is_stable', String(stable)],
  ],
};

// ── any op ──

/** Elementwise ops of one type throughout say it once. */
function isShort(name: OpName): boolean {
  return Object.hasOwn(elementwise, name) && !['complex', 'imag', 'is_finite', 'real'].includes(name);
}

/** The op from its name on. */
export function printOp(op: Op, p: BodyPrinter): string {
  if (op.name === 'custom_call' && op.attributes.call_target_name === constraintTarget) {
    return `${constraintTarget} ${values(op, p)} ${op.attributes.extra.sharding} : ${shortened(op, p)}`;
  }
  const row = (assembly as { readonly [name: string]: Row<never> | undefined })[op.name];
  const name = op.name === 'call' ? 'func.call' : `stablehlo.${op.name}`;
  const own = row?.(op as never, p);
  if (own !== undefined) return name + own;
  if (isShort(op.name)) return `${name} ${values(op, p)} : ${shortened(op, p)}`;
  if (Object.hasOwn(elementwise, op.name)) return `${name} ${values(op, p)} : ${functional(op, p)}`;
  const fields = (properties as { readonly [name: string]: Properties<never> | undefined })[op.name];
  const attributes = fields === undefined ? '' : ` <${printFields(fields(op.attributes as never, p))}>`;
  const regions = op.regions.map((region) => {
    const names = p.parameters(region);
    const typed = names.map((parameter, i) => `${parameter}: ${p.type(region.parameters[i].type)}`);
    return p.block(region, typed.length === 0 ? undefined : `^bb0(${typed.join(', ')}):`);
  });
  const spelled = regions.length === 0 ? '' : ` (${regions.join(', ')})`;
  return `"${name}"(${values(op, p)})${attributes}${spelled} : ${functional(op, p)}`;
}
