/** Types of MLIR text to types of the program. */
import { isElementType } from '../../numerics/element-types.ts';
import { type Dim, type TensorType, type Type, tensor } from '../types.ts';
import type { Lexer } from './lexer.ts';

const extent = /(\d+|\?)x/y;
/** The common case, whole: such types are made once and shared. */
const simple = /tensor<[\dx]*[a-z]+\d+>/y;

const maxRank = 64;

export interface FunctionType {
  readonly inputs: readonly Type[];
  readonly results: readonly Type[];
}

export class TypeReader {
  readonly #lexer: Lexer;
  readonly #known = new Map<string, TensorType>();
  readonly #aliases = new Map<string, Type>();

  constructor(lexer: Lexer) {
    this.#lexer = lexer;
  }

  /** `!name = type`; the exclamation mark has been taken. */
  alias(): void {
    const name = this.#lexer.suffix();
    this.#lexer.expect('=');
    this.#aliases.set(name, this.type());
  }

  /** @throws IngotError 'UnsupportedOp' for types that programs do not have, 'ParseError' for what is no type. */
  type(): Type {
    const lexer: Lexer = this.#lexer;
    const start = lexer.mark();
    if (lexer.accept('!')) return this.#dialectType(start);
    const name = lexer.peekWord();
    if (name === 'tensor') return this.tensor();
    lexer.word('a type');
    if (name === 'tuple') {
      lexer.expect('<');
      return { kind: 'tuple', parts: lexer.nested(() => lexer.list('>', () => this.type())) };
    }
    if (name === 'none' || name === 'index' || isScalarName(name ?? ''))
      return lexer.unsupported(`type ${name}`, start);
    return lexer.fail(`there is no type '${name}'`, start);
  }

  #dialectType(start: number): Type {
    const lexer: Lexer = this.#lexer;
    const name = lexer.suffix();
    if (name === 'stablehlo.token') return { kind: 'token' };
    const alias = this.#aliases.get(name);
    if (alias !== undefined) return alias;
    if (name.startsWith('quant')) return lexer.unsupported('quantized type', start);
    if (name.includes('.')) return lexer.unsupported(`type !${name}`, start);
    return lexer.fail(`type alias !${name} is not defined`, start);
  }

  tensor(): TensorType {
    const lexer: Lexer = this.#lexer;
    lexer.skip();
    simple.lastIndex = lexer.at;
    const text = simple.exec(lexer.text)?.[0];
    const known = text === undefined ? undefined : this.#known.get(text);
    if (text !== undefined && known !== undefined) {
      lexer.at += text.length;
      return known;
    }
    const type = this.#newTensor();
    if (text !== undefined) this.#known.set(text, type);
    return type;
  }

  #newTensor(): TensorType {
    const lexer: Lexer = this.#lexer;
    const start = lexer.at;
    lexer.expectKeyword('tensor');
    lexer.expect('<');
    const extents = this.#extents();
    const element = this.#element();
    const symbolic = lexer.accept(',') ? this.#encoding() : undefined;
    lexer.expect('>');
    const shape = extents.map(
      (dim): Dim => (dim === '?' ? (symbolic ?? lexer.unsupported('dynamic dimension', start)) : dim),
    );
    const unknown = extents.filter((dim) => dim === '?').length;
    if (symbolic !== undefined && (unknown !== 1 || extents[0] !== '?')) {
      lexer.fail('one symbolic dimension must lead the shape', start);
    }
    return tensor(element, shape);
  }

  #extents(): (number | '?')[] {
    const lexer: Lexer = this.#lexer;
    const dims: (number | '?')[] = [];
    lexer.skip();
    for (;;) {
      extent.lastIndex = lexer.at;
      const found = extent.exec(lexer.text);
      if (found === null) return dims;
      const dim = found[1] === '?' ? '?' : Number(found[1]);
      if (dim !== '?' && !Number.isSafeInteger(dim)) lexer.fail(`dimension ${found[1]} is too large`);
      dims.push(dim);
      if (dims.length > maxRank) lexer.fail(`more than ${maxRank} dimensions`);
      lexer.at += found[0].length;
    }
  }

  #element() {
    const lexer: Lexer = this.#lexer;
    const start = lexer.mark();
    if (lexer.accept('!')) {
      const name = lexer.suffix();
      return lexer.unsupported(name.startsWith('quant') ? 'quantized type' : `element type !${name}`, start);
    }
    let name = lexer.word('an element type');
    if (name === 'complex') name = `complex<${lexer.group('<', '>').trim()}>`;
    if (isElementType(name)) return name;
    // Layouts are tensors of `index`; nothing else that programs use is.
    if (name === 'index') return 'i64';
    if (isScalarName(name)) return lexer.unsupported(`element type ${name}`, start);
    return lexer.fail(`there is no element type '${name}'`, start);
  }

  /** `#ingot.dim<T, 512>` stands for the dimension written `?`. */
  #encoding(): Dim {
    const lexer: Lexer = this.#lexer;
    const start = lexer.mark();
    lexer.expect('#');
    const name = lexer.suffix();
    if (name !== 'ingot.dim') return lexer.unsupported(`tensor encoding #${name}`, start);
    lexer.expect('<');
    const sym = lexer.word('T, S or R');
    if (sym !== 'T' && sym !== 'S' && sym !== 'R') return lexer.fail(`there is no symbolic dimension ${sym}`, start);
    lexer.expect(',');
    const max = lexer.integer('the bound of the dimension');
    if (max < 0) lexer.fail('the bound of a dimension cannot be negative', start);
    lexer.expect('>');
    return { sym, max };
  }

  /** `(A, B) -> C` or `(A) -> (B, C)`. */
  functionType(): FunctionType {
    const lexer: Lexer = this.#lexer;
    lexer.expect('(');
    const inputs = lexer.list(')', () => this.type());
    lexer.expect('->');
    const results = lexer.accept('(') ? lexer.list(')', () => this.type()) : [this.type()];
    return { inputs, results };
  }
}

/** Names of MLIR's builtin scalar types and StableHLO's small ones, whether or not programs have them. */
export function isScalarName(name: string): boolean {
  return /^(?:[su]?i\d+|bf16|tf32|f\d+(?:E\d+M\d+(?:B\d+)?[A-Z]*)?|complex<\w+>)$/.test(name);
}
