/**
 * Attributes of MLIR text, whatever op they belong to, as plain values: lists and `array<i64: ...>` are arrays,
 * dictionaries and `#stablehlo.dot<key = ...>` are objects, words of enumerations, types that are no types of values
 * and symbols (with their `@`) are strings. `attributes.ts` makes them the typed attributes of an op.
 */
import { type Attribute, isListAttribute, isLiteralAttribute, isTypeAttribute } from '../attributes.ts';
import { readDense } from './dense.ts';
import type { Lexer } from './lexer.ts';
import { isScalarName, type TypeReader } from './types.ts';

export type Fields = { readonly [key: string]: Attribute };

export function isFields(value: Attribute): value is Fields {
  return typeof value === 'object' && !isListAttribute(value) && !isTypeAttribute(value) && !isLiteralAttribute(value);
}

/** JAX's name for an argument whose memory a result takes. There it is a permission; for state of ours it is a must. */
export const aliasAttribute = 'tf.aliasing_output';

/** In a list of extents: the symbolic dimension that stands at this place. */
export const symbolicExtent = '?';

export class AttributeReader {
  readonly #lexer: Lexer;
  readonly #types: TypeReader;
  readonly #aliases = new Map<string, Attribute>();

  constructor(lexer: Lexer, types: TypeReader) {
    this.#lexer = lexer;
    this.#types = types;
  }

  /** `#name = attribute`; the number sign and the name have been taken. */
  alias(name: string): void {
    this.#lexer.expect('=');
    this.#aliases.set(name, this.attribute());
  }

  attribute(): Attribute {
    return this.#lexer.nested(() => this.#attribute());
  }

  #attribute(): Attribute {
    const lexer: Lexer = this.#lexer;
    const char = lexer.peek();
    const start = lexer.at;
    switch (char) {
      case '"': {
        const text = lexer.string('a string');
        if (lexer.accept(':')) this.#skipType();
        return text;
      }
      case '@':
        return this.#symbol();
      case '[':
        lexer.accept('[');
        return lexer.list(']', () => this.attribute());
      case '{':
        return this.dictionary();
      case '(':
        return { ...this.#types.functionType() };
      case '#':
        lexer.accept('#');
        return this.#dialectAttribute(start);
      case '!':
        return this.#types.type();
      case '?':
        lexer.accept('?');
        return symbolicExtent;
    }
    const name = lexer.peekWord();
    if (name === undefined) return this.#number();
    if (name === 'tensor' || name === 'tuple') return this.#types.type();
    lexer.acceptWord();
    switch (name) {
      case 'true':
        return true;
      case 'false':
        return false;
      case 'unit':
        return true;
      case 'dense':
        return readDense(lexer, () => this.#types.tensor());
      case 'array':
        return this.#array();
      case 'dense_resource':
        return lexer.unsupported('dense_resource', start);
      case 'loc':
        return `loc(${lexer.group('(', ')')})`;
      case 'affine_map':
      case 'strided':
        return `${name}<${lexer.group('<', '>')}>`;
    }
    if (isScalarName(name) || name === 'index' || name === 'none') {
      return lexer.peek() === '<' ? `${name}<${lexer.group('<', '>')}>` : name;
    }
    return lexer.fail(`there is no attribute '${name}'`, start);
  }

  #symbol(): string {
    const lexer: Lexer = this.#lexer;
    let name = `@${lexer.symbol('a symbol')}`;
    while (lexer.accept('::')) name += `::@${lexer.symbol('a symbol')}`;
    return name;
  }

  #number(): Attribute {
    const lexer: Lexer = this.#lexer;
    const start = lexer.at;
    const spelled = lexer.acceptNumber() ?? lexer.fail('expected an attribute');
    const type = lexer.accept(':') ? lexer.word('a type of number') : undefined;
    const isFloat = type === undefined ? spelled.includes('.') : /^(?:bf|f|tf)\d/.test(type);
    if (!isFloat) {
      if (!/^(?:[-+]?\d+|0x[0-9A-Fa-f]+)$/.test(spelled)) lexer.fail(`'${spelled}' is no integer`, start);
      const value = BigInt(spelled.replace('+', ''));
      const small = Number(value);
      return Number.isSafeInteger(small) ? small : value;
    }
    if (!spelled.includes('0x')) return Number(spelled);
    if (type !== 'f64' && type !== 'f32') return lexer.unsupported(`bit pattern of type ${type}`, start);
    const bits = BigInt(spelled);
    const width = type === 'f64' ? 64n : 32n;
    if (bits < 0n || bits >> width !== 0n) lexer.fail(`'${spelled}' does not fit ${type}`, start);
    const view = new DataView(new ArrayBuffer(8));
    if (type === 'f64') view.setBigUint64(0, bits);
    else view.setUint32(0, Number(bits));
    return type === 'f64' ? view.getFloat64(0) : view.getFloat32(0);
  }

  /** `array<i64: 1, 2>` behind its first word. */
  #array(): Attribute {
    const lexer: Lexer = this.#lexer;
    lexer.expect('<');
    lexer.word('a type of number');
    if (lexer.accept('>')) return [];
    lexer.expect(':');
    return lexer.list('>', () => {
      const value = this.#attribute();
      if (typeof value === 'object') lexer.fail('expected a number');
      return value;
    });
  }

  /** `{a = 1, b, "c d" = [2]}`; a key alone is a unit attribute, true. */
  dictionary(): Fields {
    const lexer: Lexer = this.#lexer;
    lexer.expect('{');
    return this.#fields('}', () => this.attribute());
  }

  #fields(close: string, value: () => Attribute): Fields {
    const lexer: Lexer = this.#lexer;
    const fields = new Map<string, Attribute>();
    lexer.list(close, () => {
      const start = lexer.mark();
      const key = lexer.acceptString() ?? lexer.word('the name of an attribute');
      if (fields.has(key)) lexer.fail(`attribute '${key}' is given twice`, start);
      fields.set(key, lexer.accept('=') ? value() : true);
    });
    return Object.fromEntries(fields);
  }

  /** `#stablehlo<comparison_direction LT>`, `#stablehlo.dot<key = value, ...>`, `#alias`; others stay text. */
  #dialectAttribute(start: number): Attribute {
    const lexer: Lexer = this.#lexer;
    const name = lexer.suffix();
    const alias = this.#aliases.get(name);
    if (alias !== undefined) return alias;
    // Aliases of locations stand at the end of a text, behind their uses.
    if (name.startsWith('loc')) return `#${name}`;
    if (name === 'stablehlo') {
      lexer.expect('<');
      lexer.word('an enumeration');
      const value = lexer.word('a value of the enumeration');
      lexer.expect('>');
      return value;
    }
    if (lexer.peek() !== '<') {
      return name.includes('.') ? `#${name}` : lexer.fail(`attribute alias #${name} is not defined`, start);
    }
    if (!name.startsWith('stablehlo.')) return `#${name}<${lexer.group('<', '>')}>`;
    lexer.expect('<');
    return this.#fields('>', () => this.#bodyValue());
  }

  /** Values in the body of StableHLO's attributes may leave out the dialect: `<transpose NO_TRANSPOSE>`, `FLOAT`. */
  #bodyValue(): Attribute {
    const lexer: Lexer = this.#lexer;
    if (lexer.peek() === '<') return lexer.group('<', '>');
    return this.attribute();
  }

  #skipType(): void {
    if (this.#lexer.peekWord() === 'tensor' || this.#lexer.peek() === '!') this.#types.type();
    else this.#lexer.word('a type');
  }
}
