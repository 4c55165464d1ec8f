/**
 * Ops with an assembly of their own (https://github.com/openxla/stablehlo, `StablehloOps.td`), one reader each. An op
 * that is not in the table is written like any elementwise op; the generic form, the name in quotes, serves all.
 */
import { type Attribute, isLiteralAttribute, type OpName } from '../attributes.ts';
import { createOp, createRegion } from '../build.ts';
import { isOpName } from '../ops/table.ts';
import type { Op, Region, Value } from '../program.ts';
import { asTensor, formatType, sameType, type Type, tensor } from '../types.ts';
import type { AttributeReader } from './attribute-text.ts';
import type { Lexer } from './lexer.ts';
import type { TypeReader } from './types.ts';

/** An op as its text has it: attributes not yet typed, result types as stated. */
export interface OpText {
  readonly operands: readonly Value[];
  readonly fields: { [key: string]: Attribute };
  readonly regions: readonly Region[];
  readonly types: readonly Type[];
}

/** A block argument before it has a value. */
export interface Argument {
  readonly name: string;
  readonly type: Type;
  /** What its location says, where the text has one. */
  readonly location?: string;
}

/** What readers need of the parser of a function's body. */
export interface BodyParser {
  readonly lexer: Lexer;
  readonly types: TypeReader;
  readonly attributes: AttributeReader;
  /** `%name` or `%name#1`. */
  value(): Value;
  /** `%name`, about to be defined. */
  name(): string;
  /** `%name: type`, with a location or without. */
  argument(): Argument;
  /** `{ ... }` with its arguments named outside, or `{ ^bb0(%a: type): ... }`. */
  region(parameters?: readonly Argument[]): Region;
}

type Reader = (p: BodyParser) => OpText;

// ── pieces ──

/** `%a, %b, ...` up to what is no value, a comma before it included. */
function valueList(p: BodyParser): Value[] {
  const values: Value[] = [];
  if (p.lexer.peek() !== '%') return values;
  do values.push(p.value());
  while (p.lexer.accept(',') && p.lexer.peek() === '%');
  // Where a list of indices is empty upstream writes its comma all the same: `%x, , sizes = []`.
  p.lexer.accept(',');
  return values;
}

function dictionary(p: BodyParser): { [key: string]: Attribute } {
  return p.lexer.peek() === '{' ? { ...p.attributes.dictionary() } : {};
}

export function checkTypes(p: BodyParser, values: readonly Value[], types: readonly Type[], at: number): void {
  if (values.length !== types.length) p.lexer.fail(`${types.length} types for ${values.length} values`, at);
  values.forEach((value, i) => {
    if (!sameType(value.type, types[i])) {
      p.lexer.fail(`value ${i} is a ${formatType(value.type)}, not a ${formatType(types[i])}`, at);
    }
  });
}

/** `: (A, B) -> C`; the types of the results. */
export function functional(p: BodyParser, operands: readonly Value[]): readonly Type[] {
  p.lexer.expect(':');
  const at = p.lexer.mark();
  const { inputs, results } = p.types.functionType();
  checkTypes(p, operands, inputs, at);
  return results;
}

/** As `functional`, or `: T` where `operandTypes` says which types T means for the operands. */
function shortened(
  p: BodyParser,
  operands: readonly Value[],
  operandTypes: (type: Type) => readonly Type[] = (type) => operands.map(() => type),
): readonly Type[] {
  const at = p.lexer.mark();
  p.lexer.expect(':');
  if (p.lexer.peek() === '(') {
    p.lexer.at = at;
    return functional(p, operands);
  }
  const type = p.types.type();
  checkTypes(p, operands, operandTypes(type), at);
  return [type];
}

function typeList(p: BodyParser): Type[] {
  const types: Type[] = [];
  do types.push(p.types.type());
  while (p.lexer.accept(','));
  return types;
}

/** `[1, 2]`, with `?` for a symbolic extent. */
function integers(p: BodyParser): Attribute[] {
  p.lexer.expect('[');
  return p.lexer.list(']', () => (p.lexer.accept('?') ? '?' : p.lexer.integer('an integer')));
}

/** `key = `. */
function key(p: BodyParser, name: string): void {
  p.lexer.expectKeyword(name);
  p.lexer.expect('=');
}

/** `%x, key = [..], other = [..] : types`, each list an attribute; `[..]` or one integer as the attribute needs. */
function withKeys(keys: Readonly<Record<string, string>>, read: (p: BodyParser) => Attribute): Reader {
  return (p) => {
    const operands = valueList(p);
    const fields: { [key: string]: Attribute } = {};
    Object.entries(keys).forEach(([spelled, name], i) => {
      if (i > 0) p.lexer.expect(',');
      key(p, spelled);
      fields[name] = read(p);
    });
    return { operands, fields: { ...dictionary(p), ...fields }, regions: [], types: shortened(p, operands) };
  };
}

const integer = (p: BodyParser): number => p.lexer.integer('an integer');

// ── readers ──

/** `%a, %b {..} : type`. */
const elementwise: Reader = (p) => {
  const operands = valueList(p);
  return { operands, fields: dictionary(p), regions: [], types: shortened(p, operands) };
};

const constant: Reader = (p) => {
  const fields = dictionary(p);
  const at = p.lexer.mark();
  const value = p.attributes.attribute();
  if (!isLiteralAttribute(value)) return p.lexer.fail('expected the elements of a constant', at);
  return { operands: [], fields: { ...fields, value }, regions: [], types: [value.type] };
};

const iota: Reader = (p) => {
  key(p, 'dim');
  const iota_dimension = integer(p);
  const fields = dictionary(p);
  p.lexer.expect(':');
  return { operands: [], fields: { ...fields, iota_dimension }, regions: [], types: [p.types.type()] };
};

const compare: Reader = (p) => {
  const comparison_direction = p.lexer.word('a comparison');
  p.lexer.expect(',');
  const operands = valueList(p);
  const compare_type = p.lexer.acceptWord();
  const fields = { ...dictionary(p), comparison_direction, ...(compare_type !== undefined && { compare_type }) };
  return { operands, fields, regions: [], types: functional(p, operands) };
};

const complex: Reader = (p) => {
  const operands = valueList(p);
  const fields = dictionary(p);
  const types = shortened(p, operands, (type) => {
    const { element, shape } = asTensor(type);
    return operands.map(() => tensor(element === 'complex<f64>' ? 'f64' : 'f32', shape));
  });
  return { operands, fields, regions: [], types };
};

const select: Reader = (p) => {
  const operands = valueList(p);
  const fields = dictionary(p);
  const at = p.lexer.mark();
  p.lexer.expect(':');
  if (p.lexer.peek() === '(') {
    p.lexer.at = at;
    return { operands, fields, regions: [], types: functional(p, operands) };
  }
  const [predicate, type, ...more] = typeList(p);
  if (type === undefined || more.length > 0) p.lexer.fail('expected the types of the predicate and of the result', at);
  checkTypes(p, operands, [predicate, type, type], at);
  return { operands, fields, regions: [], types: [type] };
};

const slice: Reader = (p) => {
  const operands = [p.value()];
  const ranges = { start_indices: [] as Attribute[], limit_indices: [] as Attribute[], strides: [] as Attribute[] };
  p.lexer.expect('[');
  p.lexer.list(']', () => {
    ranges.start_indices.push(integer(p));
    p.lexer.expect(':');
    ranges.limit_indices.push(p.lexer.accept('?') ? '?' : integer(p));
    ranges.strides.push(p.lexer.accept(':') ? integer(p) : 1);
  });
  return { operands, fields: { ...dictionary(p), ...ranges }, regions: [], types: functional(p, operands) };
};

const reducePrecision: Reader = (p) => {
  const operands = valueList(p);
  key(p, 'format');
  const at = p.lexer.mark();
  const format = /^e(\d+)m(\d+)$/.exec(p.lexer.word('a format'));
  if (format === null) return p.lexer.fail('expected a format like e5m10', at);
  const fields = { ...dictionary(p), exponent_bits: Number(format[1]), mantissa_bits: Number(format[2]) };
  return { operands, fields, regions: [], types: shortened(p, operands) };
};

/** `%a, %b, batching_dims = [..] x [..], contracting_dims = [..] x [..], precision = [..], algorithm = <..> : types`. */
const dotGeneral: Reader = (p) => {
  const operands = valueList(p);
  const dims: { [key: string]: Attribute } = {};
  do {
    const at = p.lexer.mark();
    const name = p.lexer.word('the dimensions of the product');
    p.lexer.expect('=');
    if (name === 'batching_dims' || name === 'contracting_dims') {
      const kind = name === 'batching_dims' ? 'batching' : 'contracting';
      dims[`lhs_${kind}_dimensions`] = integers(p);
      p.lexer.expectKeyword('x');
      dims[`rhs_${kind}_dimensions`] = integers(p);
    } else if (name === 'precision') p.lexer.group('[', ']');
    else if (name === 'algorithm') p.lexer.group('<', '>');
    else p.lexer.fail(`dot_general has no '${name}'`, at);
  } while (p.lexer.accept(','));
  const fields = { ...dictionary(p), dot_dimension_numbers: dims };
  return { operands, fields, regions: [], types: functional(p, operands) };
};

/** `(%x init: %a), (%y init: %b) [applies op] across dimensions = [..] : types [reducer(%l: T, %r: T) (..) { .. }]`. */
const reduce: Reader = (p) => {
  const inputs: Value[] = [];
  const inits: Value[] = [];
  do {
    p.lexer.expect('(');
    inputs.push(p.value());
    p.lexer.expectKeyword('init');
    p.lexer.expect(':');
    inits.push(p.value());
    p.lexer.expect(')');
  } while (p.lexer.accept(','));
  const operands = [...inputs, ...inits];
  const applied = p.lexer.keyword('applies') ? appliedOp(p) : undefined;
  p.lexer.expectKeyword('across');
  key(p, 'dimensions');
  const dimensions = integers(p);
  const fields = { ...dictionary(p), dimensions };
  const types = functional(p, operands);
  if (applied !== undefined) {
    return { operands, fields, regions: [applied(tensor(asTensor(inputs[0].type).element))], types };
  }
  p.lexer.expectKeyword('reducer');
  const left: Argument[] = [];
  const right: Argument[] = [];
  while (p.lexer.accept('(')) {
    left.push(p.argument());
    p.lexer.expect(',');
    right.push(p.argument());
    p.lexer.expect(')');
  }
  return { operands, fields, regions: [p.region([...left, ...right])], types };
};

/** The op behind `applies`, as a region over two scalars. */
function appliedOp(p: BodyParser): (type: Type) => Region {
  const at = p.lexer.mark();
  const full = p.lexer.word('an op');
  const name = full.replace(/^stablehlo\./, '');
  if (full === name || !isOpName(name)) return p.lexer.unsupported(full, at);
  return (type) =>
    createRegion([type, type], (parameters) => {
      const op = createOp(name, parameters, {}) as Op;
      return { body: [op], results: op.results };
    });
}

/** `(%a = %x, ..) : types cond { .. } do { .. }`. */
const whileLoop: Reader = (p) => {
  p.lexer.expect('(');
  const names: string[] = [];
  const operands: Value[] = [];
  p.lexer.list(')', () => {
    names.push(p.name());
    p.lexer.expect('=');
    operands.push(p.value());
  });
  const at = p.lexer.mark();
  const types = p.lexer.accept(':') ? typeList(p) : [];
  checkTypes(p, operands, types, at);
  const fields = p.lexer.keyword('attributes') ? dictionary(p) : {};
  const parameters = names.map((name, i) => ({ name, type: types[i] }));
  p.lexer.expectKeyword('cond');
  const condition = p.region(parameters);
  p.lexer.expectKeyword('do');
  return { operands, fields, regions: [condition, p.region(parameters)], types };
};

/** `@name(%a, ..) {..} : types`, the name under the attribute `as`. */
function callLike(as: string): Reader {
  return (p) => {
    const target = p.lexer.symbol('the name of a function');
    p.lexer.expect('(');
    const operands = p.lexer.list(')', () => p.value());
    return { operands, fields: { ...dictionary(p), [as]: target }, regions: [], types: functional(p, operands) };
  };
}

const composite: Reader = (p) => {
  const name = p.lexer.string('the name of the composite');
  const operands = valueList(p);
  return { operands, fields: { ...dictionary(p), name }, regions: [], types: functional(p, operands) };
};

const tuple: Reader = (p) => {
  const operands = valueList(p);
  const fields = dictionary(p);
  const types = shortened(p, operands, (type) => (type.kind === 'tuple' ? type.parts : [type]));
  return { operands, fields, regions: [], types };
};

const getTupleElement: Reader = (p) => {
  const operands = [p.value()];
  p.lexer.expect('[');
  const index = integer(p);
  p.lexer.expect(']');
  return { operands, fields: { ...dictionary(p), index }, regions: [], types: functional(p, operands) };
};

/** `%a, %b : A, B`; `()` stands for no values. */
const barrier: Reader = (p) => {
  const none = p.lexer.accept('(');
  if (none) p.lexer.expect(')');
  const operands = valueList(p);
  const fields = dictionary(p);
  const at = p.lexer.mark();
  if (none || !p.lexer.accept(':')) return { operands, fields, regions: [], types: [] };
  if (p.lexer.peek() === '(') {
    p.lexer.at = at;
    return { operands, fields, regions: [], types: functional(p, operands) };
  }
  const types = typeList(p);
  checkTypes(p, operands, types, at);
  return { operands, fields, regions: [], types };
};

const syntax: { readonly [N in OpName]?: Reader } = {
  broadcast_in_dim: withKeys({ dims: 'broadcast_dimensions' }, integers),
  call: callLike('callee'),
  compare,
  complex,
  composite,
  concatenate: withKeys({ dim: 'dimension' }, integer),
  constant,
  custom_call: callLike('call_target_name'),
  dot_general: dotGeneral,
  dynamic_slice: withKeys({ sizes: 'slice_sizes' }, integers),
  get_tuple_element: getTupleElement,
  iota,
  optimization_barrier: barrier,
  pad: withKeys({ low: 'edge_padding_low', high: 'edge_padding_high', interior: 'interior_padding' }, integers),
  reduce,
  reduce_precision: reducePrecision,
  reverse: withKeys({ dims: 'dimensions' }, integers),
  select,
  slice,
  transpose: withKeys({ dims: 'permutation' }, integers),
  tuple,
  while: whileLoop,
};

/** The op behind its unquoted name. */
export function readAssembly(name: OpName, p: BodyParser): OpText {
  return (syntax[name] ?? elementwise)(p);
}
