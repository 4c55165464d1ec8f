/**
 * Characters to tokens of MLIR text (https://mlir.llvm.org/docs/LangRef, "Notation"). What a token is depends on where
 * it stands (`4x4xf32` is a shape in a type and nonsense elsewhere), so the parser asks for the token that it expects.
 */
import { IngotError } from '../../base/errors.ts';

const blank = /(?:\s+|\/\/[^\n]*)*/y;
const word = /[A-Za-z_][\w$.]*/y;
const suffix = /\d+|[A-Za-z$._-][\w$.-]*/y;
const number = /[-+]?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*(?:[eE][-+]?\d+)?)?)/y;
const quoted = /"(?:[^"\\\n]|\\[^\n])*"/y;

/** Regions, lists and types nest at most this deep: deeper text is refused before it exhausts the stack. */
const maxDepth = 200;

export class Lexer {
  readonly text: string;
  /** For messages: the file's name. */
  readonly name: string | undefined;
  /** Offset of the next character to read. */
  at = 0;
  #depth = 0;
  #lines: number[] | undefined;

  constructor(text: string, name?: string) {
    this.text = text;
    this.name = name;
  }

  /** 1-based line and column of an offset. */
  position(offset: number): { readonly line: number; readonly column: number } {
    this.#lines ??= lineStarts(this.text);
    let [low, high] = [0, this.#lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lines[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - this.#lines[low] + 1 };
  }

  /** @throws IngotError 'ParseError' at `offset`, or where reading stopped. */
  fail(message: string, offset = this.at): never {
    throw new IngotError('ParseError', message, this.place(offset));
  }

  /** @throws IngotError 'UnsupportedOp': the text may be right, but the program language has no such thing. */
  unsupported(what: string, offset: number): never {
    throw new IngotError('UnsupportedOp', `${what} is not supported`, { ...this.place(offset), op: what });
  }

  place(offset: number) {
    return { ...(this.name !== undefined && { path: this.name }), ...this.position(offset) };
  }

  /** Runs `read` one level deeper. */
  nested<T>(read: () => T): T {
    if (this.#depth >= maxDepth) this.fail(`nested more than ${maxDepth} levels deep`);
    this.#depth++;
    try {
      return read();
    } finally {
      this.#depth--;
    }
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  /** Past white space and comments. */
  skip(): void {
    // Most tokens follow each other directly or after one space.
    const code = this.text.charCodeAt(this.at);
    if (code > 32 && code !== 47) return;
    this.#match(blank);
  }

  /** Offset of the next token, for messages and to come back to. */
  mark(): number {
    this.skip();
    return this.at;
  }

  /** Next character that is neither white space nor comment; '' at the end. */
  peek(): string {
    this.skip();
    return this.text.charAt(this.at);
  }

  get atEnd(): boolean {
    return this.peek() === '';
  }

  /** Takes punctuation if it comes next. */
  accept(symbol: string): boolean {
    this.skip();
    if (!this.text.startsWith(symbol, this.at)) return false;
    this.at += symbol.length;
    return true;
  }

  expect(symbol: string): void {
    if (!this.accept(symbol)) this.fail(`expected '${symbol}', found ${this.#found()}`);
  }

  /** What stands here, for messages. */
  #found(): string {
    const rest = this.text.slice(this.at, this.at + 24).split(/\s/, 1)[0];
    return rest === '' ? 'the end of the text' : `'${rest}'`;
  }

  /** A bare identifier, dots included: `stablehlo.add`, `dims`. */
  acceptWord(): string | undefined {
    this.skip();
    return this.#match(word);
  }

  word(what: string): string {
    return this.acceptWord() ?? this.fail(`expected ${what}, found ${this.#found()}`);
  }

  /** The bare identifier that comes next, left where it is. */
  peekWord(): string | undefined {
    const found = this.acceptWord();
    if (found !== undefined) this.at -= found.length;
    return found;
  }

  /** Takes this identifier if it comes next, whole. */
  keyword(expected: string): boolean {
    if (this.peekWord() !== expected) return false;
    this.at += expected.length;
    return true;
  }

  expectKeyword(expected: string): void {
    if (!this.keyword(expected)) this.fail(`expected '${expected}', found ${this.#found()}`);
  }

  /** What follows `%`, `^`, `@`, `#` or `!` without space. */
  suffix(): string {
    return this.#match(suffix) ?? this.fail(`expected a name, found ${this.#found()}`);
  }

  /** Literal of a number as it is spelled. */
  acceptNumber(): string | undefined {
    this.skip();
    return this.#match(number);
  }

  integer(what: string): number {
    const start = this.at;
    const spelled = this.acceptNumber() ?? this.fail(`expected ${what}, found ${this.#found()}`);
    const value = Number(spelled);
    if (!Number.isSafeInteger(value)) this.fail(`expected ${what}, found '${spelled}'`, start);
    return value;
  }

  /** The text of a string literal, unescaped. */
  acceptString(): string | undefined {
    if (this.peek() !== '"') return undefined;
    const literal = this.#match(quoted) ?? this.fail('the string does not end on its line');
    const body = literal.slice(1, -1);
    return body.includes('\\') ? unescaped(body) : body;
  }

  string(what: string): string {
    return this.acceptString() ?? this.fail(`expected ${what}, found ${this.#found()}`);
  }

  /** The name behind `@`, or undefined if no symbol comes next. */
  acceptSymbol(): string | undefined {
    if (!this.accept('@')) return undefined;
    return this.text.charAt(this.at) === '"' ? this.string('a name') : this.suffix();
  }

  symbol(what: string): string {
    return this.acceptSymbol() ?? this.fail(`expected ${what}, found ${this.#found()}`);
  }

  /** Items between commas up to `close`, which is taken; `open` has been. */
  list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    if (this.accept(close)) return items;
    do items.push(item());
    while (this.accept(','));
    this.expect(close);
    return items;
  }

  /** Past a balanced group that opens here; what it says, without the brackets. */
  group(open: string, close: string): string {
    this.expect(open);
    const start = this.at;
    for (let depth = 1; ; ) {
      const char = this.peek();
      if (char === '') this.fail(`no '${close}' closes this '${open}'`, start - open.length);
      if (char === '"') {
        this.acceptString();
        continue;
      }
      if (this.accept('->')) continue;
      this.at++;
      if (char === open) depth++;
      else if (char === close && --depth === 0) return this.text.slice(start, this.at - 1);
    }
  }
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/** `\n`, `\t`, `\\`, `\"`, and bytes of UTF-8 as two hexadecimal digits. */
function unescaped(body: string): string {
  const parts: Uint8Array[] = [];
  const encoder = new TextEncoder();
  for (const [part] of body.matchAll(/[^\\]+|\\[0-9A-Fa-f]{2}|\\./gu)) {
    if (part[0] !== '\\') parts.push(encoder.encode(part));
    else if (part.length === 3) parts.push(Uint8Array.of(Number.parseInt(part.slice(1), 16)));
    else parts.push(encoder.encode(part[1] === 'n' ? '\n' : part[1] === 't' ? '\t' : part.slice(1)));
  }
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return new TextDecoder().decode(bytes);
}
