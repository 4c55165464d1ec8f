/**
 * StableHLO's MLIR text to functions and programs (https://openxla.org/stablehlo/spec, https://mlir.llvm.org/docs/LangRef).
 * `lexer.ts` reads tokens, `types.ts`, `attribute-text.ts` and `dense.ts` the parts of ops, `body.ts` ops and regions,
 * `syntax.ts` the ops that have an assembly of their own, `attributes.ts` makes attributes typed.
 */
import { IngotError } from '../../base/errors.ts';
import { type Attribute, isListAttribute, isTypeAttribute } from '../attributes.ts';
import { createFunc } from '../build.ts';
import type { Mesh } from '../mesh.ts';
import type { Func, Parameter, Program, Value } from '../program.ts';
import { isConstraint, type Sharding } from '../sharding.ts';
import { asTensor, formatType, sameType, type Type } from '../types.ts';
import { walk } from '../walk.ts';
import { AttributeReader, aliasAttribute, type Fields, isFields } from './attribute-text.ts';
import { Body } from './body.ts';
import { Lexer } from './lexer.ts';
import { extentsAttribute, parseSharding, readMesh, shardingAttribute } from './sharding-text.ts';
import type { Argument } from './syntax.ts';
import { meshOfTiles, shardingOfTiles, tilesAttribute } from './tile-sharding.ts';
import { type FunctionType, TypeReader } from './types.ts';

/** What a text says of a function's border besides the types. */
export interface Signature {
  /** `name`: what the location calls the argument, as JAX writes it. */
  readonly arguments: readonly { readonly name?: string; readonly attributes: Fields }[];
  readonly results: readonly Fields[];
}

/** The functions of a text. */
export interface Module {
  readonly name?: string;
  readonly attributes: Fields;
  /** All functions, in the order of the text. */
  readonly functions: ReadonlyMap<string, Func>;
  readonly signatures: ReadonlyMap<string, Signature>;
  /** Of Shardy's dialect, by name. */
  readonly meshes: ReadonlyMap<string, Mesh>;
}

/**
 * One module, or functions without one around them. `name` is the file's, for messages.
 * @throws IngotError 'ParseError' with line and column for malformed text; 'UnsupportedOp' naming, in `place.op`, an
 * op, a type or an attribute that programs do not have.
 */
export function parseModule(text: string, name?: string): Module {
  return new ModuleParser(new Lexer(text, name)).module();
}

/** Texts between lines `// -----`, each padded with empty lines so that positions stay those of the file. */
export function splitModules(text: string): string[] {
  let lines = 0;
  return text.split(/^\/\/ -----.*$/m).map((part) => {
    const padded = '\n'.repeat(lines) + part;
    lines += part.split('\n').length - 1;
    return padded;
  });
}

/** A result of a function as it is declared; with a name and a location, an argument. */
interface Declared {
  readonly type: Type;
  readonly attributes: Fields;
}

class ModuleParser {
  readonly #lexer: Lexer;
  readonly #types: TypeReader;
  readonly #attributes: AttributeReader;
  readonly #functions = new Map<string, Func>();
  readonly #signatures = new Map<string, Signature>();
  readonly #locations = new Map<string, string>();
  readonly #meshes = new Map<string, Mesh>();
  #entered = false;
  #name: string | undefined;
  #moduleAttributes: Fields = {};

  constructor(lexer: Lexer) {
    this.#lexer = lexer;
    this.#types = new TypeReader(lexer);
    this.#attributes = new AttributeReader(lexer, this.#types);
  }

  module(): Module {
    while (!this.#lexer.atEnd) this.#item(false);
    const signatures = new Map(
      [...this.#signatures].map(([name, signature]) => [
        name,
        { ...signature, arguments: signature.arguments.map((argument) => this.#named(argument)) },
      ]),
    );
    return {
      ...(this.#name !== undefined && { name: this.#name }),
      attributes: this.#moduleAttributes,
      functions: this.#functions,
      signatures,
      meshes: this.#meshes,
    };
  }

  /** Locations may be defined behind their uses, so their names are looked up at the end. */
  #named({ name: location, attributes }: Signature['arguments'][number]): Signature['arguments'][number] {
    let text = location;
    for (let i = 0; i < 8 && text?.startsWith('#'); i++) text = this.#locations.get(text.slice(1));
    // A name, not a place in a file ("file":1:2).
    const name = text === undefined ? undefined : /^"([^"\\]+)"(?!\s*:)/.exec(text)?.[1];
    return { ...(name !== undefined && { name }), attributes };
  }

  #item(inModule: boolean): void {
    const lexer: Lexer = this.#lexer;
    const char = lexer.peek();
    const at = lexer.mark();
    if (char === '#' && !inModule) this.#attributeAlias();
    else if (char === '!' && !inModule) {
      lexer.accept('!');
      this.#types.alias();
    } else if (char === '"') this.#genericItem();
    else {
      const op = lexer.word('a module or a function');
      if (op === 'func.func') this.#function();
      else if (op === 'sdy.mesh') this.#mesh();
      else if ((op === 'module' || op === 'builtin.module') && !inModule) this.#module(at);
      else if (op.includes('.')) lexer.unsupported(op, at);
      else lexer.fail(`expected a module or a function, found '${op}'`, at);
    }
  }

  #attributeAlias(): void {
    const lexer: Lexer = this.#lexer;
    lexer.expect('#');
    const name = lexer.suffix();
    if (name.startsWith('loc')) {
      lexer.expect('=');
      lexer.expectKeyword('loc');
      this.#locations.set(name, lexer.group('(', ')').trim());
    } else this.#attributes.alias(name);
  }

  #module(at: number): void {
    const lexer: Lexer = this.#lexer;
    this.#enter(at);
    this.#name = lexer.acceptSymbol();
    if (lexer.keyword('attributes')) this.#moduleAttributes = this.#attributes.dictionary();
    lexer.expect('{');
    while (!lexer.accept('}')) this.#item(true);
    this.#location();
  }

  #mesh(): void {
    const name = this.#lexer.symbol('the name of a mesh');
    this.#meshes.set(name, readMesh(this.#lexer));
    this.#dictionary();
    this.#location();
  }

  #enter(at: number): void {
    if (this.#entered || this.#functions.size > 0) this.#lexer.fail('a text holds one module', at);
    this.#entered = true;
  }

  #function(): void {
    const lexer: Lexer = this.#lexer;
    for (const visibility of ['public', 'private', 'nested']) if (lexer.keyword(visibility)) break;
    const at = lexer.mark();
    const name = lexer.symbol('the name of a function');
    lexer.expect('(');
    if (lexer.peek() !== '%' && lexer.peek() !== ')') lexer.unsupported('function without a body', at);
    const args = lexer.list(')', () => this.#argument());
    const results = lexer.accept('->') ? this.#results() : [];
    if (lexer.keyword('attributes')) this.#attributes.dictionary();
    if (lexer.peek() !== '{') lexer.unsupported('function without a body', at);
    lexer.expect('{');
    const body = new Body(lexer, this.#types, this.#attributes);
    const func = createFunc(
      name,
      args.map(({ type }) => type),
      (values) => body.block(args, values),
    );
    this.#location();
    this.#define(func, args, results, at);
  }

  #define(func: Func, args: readonly (Argument & Declared)[], results: readonly Declared[], at: number): void {
    const lexer: Lexer = this.#lexer;
    if (this.#functions.has(func.name)) lexer.fail(`function @${func.name} is defined twice`, at);
    const same =
      func.results.length === results.length && func.results.every(({ type }, i) => sameType(type, results[i].type));
    if (!same) {
      const returned = func.results.map(({ type }) => formatType(type)).join(', ');
      lexer.fail(`@${func.name} returns (${returned}), not what it declares`, at);
    }
    this.#functions.set(func.name, func);
    this.#signatures.set(func.name, {
      arguments: args.map(({ location, attributes }) => ({
        ...(location !== undefined && { name: location }),
        attributes,
      })),
      results: results.map(({ attributes }) => attributes),
    });
  }

  #argument(): Argument & Declared {
    const lexer: Lexer = this.#lexer;
    lexer.expect('%');
    const name = lexer.suffix();
    lexer.expect(':');
    const type = this.#types.type();
    const attributes = this.#dictionary();
    const location = this.#location();
    return { name, type, attributes, ...(location !== undefined && { location }) };
  }

  #results(): Declared[] {
    const lexer: Lexer = this.#lexer;
    // Without parentheses the brace behind the type opens the body.
    if (!lexer.accept('(')) return [{ type: this.#types.type(), attributes: {} }];
    return lexer.list(')', () => ({ type: this.#types.type(), attributes: this.#dictionary() }));
  }

  #dictionary(): Fields {
    return this.#lexer.peek() === '{' ? this.#attributes.dictionary() : {};
  }

  /** What a location says, if one comes next. */
  #location(): string | undefined {
    return this.#lexer.keyword('loc') ? this.#lexer.group('(', ')').trim() : undefined;
  }

  /** `"builtin.module"() <{..}> ({ .. }) : () -> ()` and `"func.func"() <{..}> ({ .. }) : () -> ()`. */
  #genericItem(): void {
    const lexer: Lexer = this.#lexer;
    const at = lexer.mark();
    const op = lexer.string('an op');
    if (op !== 'builtin.module' && op !== 'func.func') lexer.unsupported(op, at);
    lexer.expect('(');
    lexer.expect(')');
    let fields: Fields = {};
    if (lexer.accept('<')) {
      fields = this.#attributes.dictionary();
      lexer.expect('>');
    }
    lexer.expect('(');
    lexer.expect('{');
    if (op === 'builtin.module') {
      this.#enter(at);
      lexer.nested(() => {
        while (!lexer.accept('}')) this.#item(true);
      });
    } else this.#genericFunction(fields, at);
    lexer.expect(')');
    this.#dictionary();
    lexer.expect(':');
    this.#types.functionType();
    this.#location();
  }

  #genericFunction(fields: Fields, at: number): void {
    const lexer: Lexer = this.#lexer;
    const { sym_name: name, function_type: type, arg_attrs: argAttributes, res_attrs: resultAttributes } = fields;
    if (typeof name !== 'string') lexer.fail('a function needs sym_name', at);
    if (!isFunctionType(type)) lexer.fail('a function needs function_type', at);
    const body = new Body(lexer, this.#types, this.#attributes);
    const args = body.label();
    const func = createFunc(
      name,
      args.map((argument) => argument.type),
      (values) => body.block(args, values),
    );
    const stated = type.inputs.length === args.length && args.every((arg, i) => sameType(arg.type, type.inputs[i]));
    if (!stated) lexer.fail('function_type and the arguments of the body differ', at);
    const of = (given: Attribute | undefined, i: number): Fields => {
      const fields = given !== undefined && isListAttribute(given) ? given[i] : undefined;
      return fields !== undefined && isFields(fields) ? fields : {};
    };
    const declared = type.results.map((result, i) => ({ type: result, attributes: of(resultAttributes, i) }));
    const borders = args.map((arg, i) => ({ ...arg, attributes: of(argAttributes, i) }));
    this.#define(func, borders, declared, at);
  }
}

/** The attribute reader gives function types as two lists of types. */
function isFunctionType(value: Attribute | undefined): value is Attribute & FunctionType {
  if (value === undefined || !isFields(value)) return false;
  const { inputs, results }: Fields = value;
  return [inputs, results].every((list) => list !== undefined && isListAttribute(list) && list.every(isTypeAttribute));
}

/**
 * The program that begins with function `entry`; all others of the module are its functions. Names, roles, formats and
 * aliases are those that `printProgram` writes; in other texts every argument is an input, named by its location.
 * @throws IngotError 'InvalidProgram' if there is no such function or its attributes contradict each other.
 */
export function programOf(module: Module, entry = 'main'): Program {
  const main = module.functions.get(entry);
  const signature = module.signatures.get(entry);
  if (main === undefined || signature === undefined) {
    throw new IngotError('InvalidProgram', `the module has no function @${entry}`, {
      hint: `its functions are ${[...module.functions.keys()].map((name) => `@${name}`).join(', ')}`,
    });
  }
  const functions = new Map([...module.functions].filter(([name]) => name !== entry));
  const parameters = main.parameters.map((value, i) => parameterOf(value, i, signature));
  const results = main.results.map(({ type }, i) => ({
    name: text(signature.results[i], 'ingot.name') ?? `result${i}`,
    type,
  }));
  unique(parameters, 'parameters');
  unique(results, 'results');
  const aliases = signature.arguments.flatMap(({ attributes }, parameter) => {
    const result = attributes[aliasAttribute];
    if (parameters[parameter].role !== 'state' || typeof result !== 'number') return [];
    if (results[result] === undefined) throw new IngotError('InvalidProgram', `there is no result ${result} to alias`);
    return [{ result, parameter }];
  });
  aliases.sort((a, b) => a.result - b.result);
  const processes = processesOf(module.attributes);
  const mesh = meshOf(module);
  return {
    ...{ main, functions, aliases },
    parameters: parameters.map((each, i) => ({
      ...each,
      ...sharded(signature.arguments[i].attributes, each.type, mesh),
    })),
    results: results.map((each, i) => ({ ...each, ...sharded(signature.results[i], each.type, mesh) })),
    ...(processes && { processes }),
    ...(mesh && { mesh }),
  };
}

/** The grid that the text states; one process, which every export states, says nothing. */
function processesOf(attributes: Fields): Program['processes'] {
  const count = (axis: string): number => {
    const given = attributes[`mhlo.num_${axis}`] ?? 1;
    if (typeof given === 'number' && Number.isInteger(given) && given > 0) return given;
    throw new IngotError('InvalidProgram', `the module has ${given} ${axis}`);
  };
  const [replicas, partitions] = [count('replicas'), count('partitions')];
  return replicas * partitions > 1 ? { replicas, partitions } : undefined;
}

/** Shardy's, or the one that GSPMD's shardings of arguments and results need. */
function meshOf({ meshes, signatures, functions }: Module): Mesh | undefined {
  const named = [...meshes.values()].find(({ axes }) => axes.length > 0);
  if (named !== undefined) return named;
  const stated = [...signatures.values()].flatMap((signature) => [
    ...signature.arguments.map(({ attributes }) => attributes),
    ...signature.results,
  ]);
  const constraints = [...functions.values()].flatMap((func) =>
    [...walk(func)].flatMap((op) => (op.name === 'custom_call' && isConstraint(op) ? [op.attributes.extra] : [])),
  );
  const texts = [...stated, ...constraints].flatMap((fields) => text(fields, tilesAttribute) ?? []);
  return meshOfTiles(texts);
}

function sharded(attributes: Fields, type: Type, mesh: Mesh | undefined): { readonly sharding?: Sharding } {
  if (mesh === undefined || type.kind !== 'tensor') return {};
  const named = text(attributes, shardingAttribute);
  const tiles = text(attributes, tilesAttribute);
  if (named !== undefined) {
    const sharding = parseSharding(named);
    const extents = attributes[extentsAttribute];
    const stated = extents !== undefined && isListAttribute(extents) ? extents : [];
    const dims = sharding.dims.map((dim, d) => {
      const own = stated[d];
      const list = own !== undefined && isListAttribute(own) ? own.filter((n) => typeof n === 'number') : [];
      return list.length === 0 ? dim : { ...dim, extents: list };
    });
    return { sharding: { ...sharding, dims } };
  }
  return tiles === undefined ? {} : { sharding: shardingOfTiles(tiles, mesh, type.shape.length) };
}

function parameterOf(value: Value, index: number, signature: Signature): Parameter {
  const { name, attributes } = signature.arguments[index];
  const role = text(attributes, 'ingot.role') ?? 'input';
  if (role !== 'input' && role !== 'weight' && role !== 'state') {
    throw new IngotError('InvalidProgram', `argument ${index} has role '${role}'`, { hint: 'input, weight or state' });
  }
  const format = text(attributes, 'ingot.format');
  return {
    name: text(attributes, 'ingot.name') ?? name ?? `arg${index}`,
    type: asTensor(value.type),
    role,
    ...(format !== undefined && { format }),
  };
}

function text(attributes: Fields, name: string): string | undefined {
  const value = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
  return typeof value === 'string' ? value : undefined;
}

function unique(named: readonly { readonly name: string }[], what: string): void {
  const names = new Set<string>();
  for (const { name } of named) {
    if (names.has(name)) throw new IngotError('InvalidProgram', `two ${what} are named ${name}`);
    names.add(name);
  }
}
