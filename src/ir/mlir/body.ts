/** Bodies of functions: ops in SSA form, their regions and the scopes of their names. */
import { IngotError, isIngotError } from '../../base/errors.ts';
import type { OpName } from '../attributes.ts';
import { createOp, createRegion } from '../build.ts';
import { isOpName } from '../ops/table.ts';
import type { Literal, Op, Region, Value } from '../program.ts';
import { constraintTarget } from '../sharding.ts';
import { formatType, sameType, type Type } from '../types.ts';
import type { AttributeReader } from './attribute-text.ts';
import { readAttributes } from './attributes.ts';
import { asCustomCall, isCheck, readCheck } from './check.ts';
import type { Lexer } from './lexer.ts';
import { printSharding, readSharding } from './sharding-text.ts';
import { type Argument, type BodyParser, checkTypes, functional, type OpText, readAssembly } from './syntax.ts';
import type { TypeReader } from './types.ts';

/** Names of one region; outer ones are seen through it. */
class Scope {
  readonly #names = new Map<string, readonly Value[]>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  /** False if the name is taken here. */
  define(name: string, values: readonly Value[]): boolean {
    if (this.#names.has(name)) return false;
    this.#names.set(name, values);
    return true;
  }

  find(name: string): readonly Value[] | undefined {
    return this.#names.get(name) ?? this.#outer?.find(name);
  }
}

/** Names of terminators; they become the results of the region. */
const returns = ['return', 'func.return', 'stablehlo.return'];

const regionOps: readonly OpName[] = [
  'all_reduce',
  'case',
  'if',
  'map',
  'reduce',
  'reduce_scatter',
  'reduce_window',
  'scatter',
  'select_and_scatter',
  'sort',
  'while',
];

export class Body implements BodyParser {
  readonly lexer: Lexer;
  readonly types: TypeReader;
  readonly attributes: AttributeReader;
  #scope = new Scope();
  /** Ops read so far of the region that is being read. */
  #ops: Op[] = [];

  constructor(lexer: Lexer, types: TypeReader, attributes: AttributeReader) {
    this.lexer = lexer;
    this.types = types;
    this.attributes = attributes;
  }

  // ── values ──

  name(): string {
    this.lexer.expect('%');
    return this.lexer.suffix();
  }

  value(): Value {
    this.lexer.skip();
    const at = this.lexer.at;
    const name = this.name();
    const values = this.#scope.find(name) ?? this.lexer.fail(`%${name} is not defined`, at);
    const index = this.lexer.accept('#') ? this.lexer.integer('the number of a result') : 0;
    return values[index] ?? this.lexer.fail(`%${name} has ${values.length} values, not #${index}`, at);
  }

  #define(name: string, values: readonly Value[], at: number): void {
    if (!this.#scope.define(name, values)) this.lexer.fail(`%${name} is defined twice`, at);
  }

  // ── regions ──

  region(parameters?: readonly Argument[]): Region {
    this.lexer.expect('{');
    const args = parameters ?? this.label();
    const outer = { scope: this.#scope, ops: this.#ops };
    this.#scope = new Scope(outer.scope);
    this.#ops = [];
    const region = this.lexer.nested(() =>
      createRegion(
        args.map(({ type }) => type),
        (values) => this.block(args, values),
      ),
    );
    this.#scope = outer.scope;
    this.#ops = outer.ops;
    return region;
  }

  /** `^bb0(%a: type, ...):`, which a region without arguments may leave out. */
  label(): Argument[] {
    const lexer: Lexer = this.lexer;
    if (!lexer.accept('^')) return [];
    lexer.suffix();
    const args = lexer.accept('(') ? lexer.list(')', () => this.argument()) : [];
    lexer.expect(':');
    return args;
  }

  argument(): Argument {
    const name = this.name();
    this.lexer.expect(':');
    const type = this.types.type();
    const location = this.location();
    return { name, type, ...(location !== undefined && { location }) };
  }

  /** Ops up to the closing brace, which is taken. */
  block(args: readonly Argument[], values: readonly Value[]): { body: readonly Op[]; results: readonly Value[] } {
    const lexer: Lexer = this.lexer;
    args.forEach(({ name }, i) => {
      this.#define(name, [values[i]], lexer.at);
    });
    let results: readonly Value[] | undefined;
    while (!lexer.accept('}')) {
      if (lexer.peek() === '^') lexer.unsupported('control flow between blocks', lexer.at);
      if (results !== undefined) lexer.fail('an op behind the end of the block');
      results = this.#operation();
    }
    return { body: this.#ops, results: results ?? lexer.fail('a block must end with a return', lexer.at - 1) };
  }

  /** What a location says, if one comes next. */
  location(): string | undefined {
    return this.lexer.keyword('loc') ? this.lexer.group('(', ')').trim() : undefined;
  }

  // ── ops ──

  /** Appends one op; a terminator is not appended but gives its operands. */
  #operation(): readonly Value[] | undefined {
    const lexer: Lexer = this.lexer;
    const at = lexer.mark();
    const names = lexer.peek() === '%' ? this.#resultNames() : [];
    const opAt = lexer.mark();
    const quoted = lexer.acceptString();
    const name = quoted ?? lexer.word('an op');
    if (returns.includes(name)) {
      if (names.length > 0) lexer.fail(`${name} has no results`, at);
      const results = quoted === undefined ? this.#returned() : this.#generic().operands;
      this.location();
      return results;
    }
    const results = this.#append(name, quoted !== undefined, opAt);
    this.location();
    let first = 0;
    for (const { name, count } of names) {
      this.#define(name, results.slice(first, first + count), at);
      first += count;
    }
    if (first !== results.length && names.length > 0) {
      lexer.fail(`${first} names for ${results.length} results`, at);
    }
    return undefined;
  }

  /** `%a, %b:2 =`. */
  #resultNames(): { name: string; count: number }[] {
    const lexer: Lexer = this.lexer;
    const names: { name: string; count: number }[] = [];
    do {
      const name = this.name();
      const count = lexer.accept(':') ? lexer.integer('a number of results') : 1;
      if (count < 1) lexer.fail('a name stands for at least one result');
      names.push({ name, count });
    } while (lexer.accept(','));
    lexer.expect('=');
    return names;
  }

  #returned(): readonly Value[] {
    const lexer: Lexer = this.lexer;
    if (lexer.peek() === '{') this.attributes.dictionary();
    const values: Value[] = [];
    if (lexer.peek() !== '%') return values;
    do values.push(this.value());
    while (lexer.accept(','));
    const at = lexer.mark();
    lexer.expect(':');
    const types: Type[] = [];
    do types.push(this.types.type());
    while (lexer.accept(','));
    checkTypes(this, values, types, at);
    return values;
  }

  #append(full: string, generic: boolean, at: number): readonly Value[] {
    const lexer: Lexer = this.lexer;
    const name = opName(full);
    if (name !== undefined) return this.#create(name, generic ? this.#generic() : readAssembly(name, this), at);
    if (isCheck(full)) {
      const text = generic ? this.#generic() : readCheck(full, this);
      const constant = (value: Literal): Value =>
        this.#create('constant', { operands: [], fields: { value }, regions: [], types: [value.type] }, at)[0];
      return this.#create('custom_call', asCustomCall(full, text, constant), at);
    }
    if (full === constraintTarget) {
      const text = generic ? this.#generic() : this.#constraint();
      const extra = { sharding: text.fields.sharding };
      return this.#create(
        'custom_call',
        { ...text, fields: { ...extra, call_target_name: full, has_side_effect: false } },
        at,
      );
    }
    if (full.includes('.')) return lexer.unsupported(full, at);
    return lexer.fail(`there is no op '${full}'`, at);
  }

  /** `%a <@mesh, [{"x"}, {}]> : A`. */
  #constraint(): OpText {
    const value = this.value();
    const sharding = printSharding(readSharding(this.lexer));
    this.lexer.expect(':');
    const type = this.types.type();
    return { operands: [value], fields: { sharding }, regions: [], types: [type] };
  }

  /** `(%a) <{properties}> ({regions}) {attributes} : (A) -> B`, behind the quoted name. */
  #generic(): OpText {
    const lexer: Lexer = this.lexer;
    lexer.expect('(');
    const operands = lexer.list(')', () => this.value());
    if (lexer.peek() === '[') lexer.unsupported('control flow between blocks', lexer.at);
    let properties = {};
    if (lexer.accept('<')) {
      properties = this.attributes.dictionary();
      lexer.expect('>');
    }
    const regions = lexer.accept('(') ? lexer.list(')', () => this.region()) : [];
    const attributes = lexer.peek() === '{' ? this.attributes.dictionary() : {};
    return { operands, fields: { ...attributes, ...properties }, regions, types: functional(this, operands) };
  }

  #create(name: OpName, { operands, fields, regions, types }: OpText, at: number): readonly Value[] {
    const lexer: Lexer = this.lexer;
    try {
      if (regions.length > 0 && !regionOps.includes(name)) lexer.fail(`${name} has no regions`, at);
      const attributes = readAttributes(name, fields, operands);
      const { line } = lexer.position(at);
      const location = `${lexer.name ?? 'line'}:${line}`;
      const op = createOp(name, operands, attributes, { regions, types, location }) as Op;
      this.#ops.push(op);
      const stated = types.map(formatType).join(', ');
      if (op.results.length !== types.length || !op.results.every(({ type }, i) => sameType(type, types[i]))) {
        lexer.fail(`${name} gives (${op.results.map(({ type }) => formatType(type)).join(', ')}), not (${stated})`, at);
      }
      return op.results;
    } catch (error) {
      if (!isIngotError(error) || error.place.line !== undefined) throw error;
      const code = error.code === 'UnsupportedOp' ? error.code : 'ParseError';
      throw new IngotError(code, error.message, { ...lexer.place(at), op: `stablehlo.${name}`, cause: error });
    }
  }
}

function opName(full: string): OpName | undefined {
  if (full === 'call' || full === 'func.call') return 'call';
  if (!full.startsWith('stablehlo.')) return undefined;
  const name = full.slice('stablehlo.'.length);
  return name !== 'call' && isOpName(name) ? name : undefined;
}
