/**
 * Kernels whose work comes in pieces: some tokens and some columns, as a product makes its result of them piece by piece. A piece is
 * the kernel itself with fewer turns of two loops, whose buffers begin where its part of them does: addresses move, indices stay. What
 * data says (the slots of tokens) moves with the data.
 */
import type { DimSymbol } from '../../ir/types.ts';
import { mapOperands, operandsOf } from './expressions.ts';
import { addIndex, axisIndex, constantIndex, indexConstant, scaleIndex } from './index-arithmetic.ts';
import type { Axis, Buffer, Expression, Kernel, Local, Statement } from './language.ts';
import { mapStatements } from './map-statements.ts';
import { mergeLoops } from './merge-loops.ts';

/** A kernel that runs behind another in its launch, on each piece that this has made. */
export interface Follower {
  readonly kernel: Kernel;
  /** One a buffer: which of the values that this launch alone has, 0 what it follows; undefined where a launch names memory. */
  readonly inner: readonly (number | undefined)[];
}

/** A kernel that may be cut along both axes. */
export interface Pieces {
  readonly kernel: Kernel;
  readonly tokens: Axis;
  readonly columns: Axis;
  readonly columnCount: number;
  /** Of every buffer that a launch names. */
  readonly moves: ReadonlyMap<Buffer, Moves>;
  /** What indices name at token 0 and column 0, where no data says it. */
  readonly spans: ReadonlyMap<Expression, Span>;
}

/** Elements from a token to the next, and from a column to the next; and the indices of its loads and stores. */
export interface Moves {
  readonly perToken: number;
  readonly perColumn: number;
  readonly indices: readonly Expression[];
}

/** Of elements: the first and the last. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

/** Where the pieces of a buffer lie in memory of their own: `elements` in all, `width` a token. */
export interface Inner {
  readonly elements: number;
  readonly width: number;
  readonly runs: readonly Run[];
}

/** Elements of the first piece that follow one another, and their place in a token's. */
export interface Run {
  readonly start: number;
  readonly length: number;
  readonly at: number;
}

/**
 * Columns are the first loop besides that over tokens. Where tokens come in order they must not meet: pieces have none among them.
 * undefined where a value or an index depends on either in another way than by a step of its own, or loops are not nested like that.
 */
export function piecesOf(kernel: Kernel, symbol: DimSymbol): Pieces | undefined {
  const isTokens = ({ extent }: Axis) => extent.kind === 'dim' && extent.sym === symbol;
  const [outer, ...beside] = kernel.body;
  if (outer?.kind !== 'for' || beside.length > 0 || kernel.dims.some((dim) => dim !== symbol)) return undefined;
  const inner = outer.body.at(-1);
  const isOutside = isTokens(outer.axis);
  const isNest = inner?.kind === 'for' && outer.body.slice(0, -1).every(({ kind }) => kind === 'let');
  if (isOutside && !isNest) return undefined;
  const columns = isOutside && inner?.kind === 'for' ? inner.axis : outer.axis;
  const loops = isOutside ? [outer] : loopsIn(outer.body).filter(({ axis }) => isTokens(axis));
  const [tokens] = loops;
  const columnCount = constantIndex(columns.extent);
  if (tokens === undefined || loops.length > 1 || columnCount === undefined || columns.kind === 'serial')
    return undefined;
  if (kernel.buffers.some(({ access }) => access === 'scratch')) return undefined;
  const cutting = new Cutting(tokens.axis, columns);
  if (!cutting.list(kernel.body)) return undefined;
  const { moves, spans } = cutting;
  return { kernel, tokens: tokens.axis, columns, columnCount, moves, spans };
}

function loopsIn(list: readonly Statement[]): readonly Extract<Statement, { kind: 'for' }>[] {
  return list.flatMap((s) => (s.kind === 'for' ? [s, ...loopsIn(s.body)] : []));
}

/** How a number moves with both axes, and what it is at the first of both where that is known. */
interface Form {
  readonly perToken: number;
  readonly perColumn: number;
  readonly span?: Span | undefined;
}

const still: Form = { perToken: 0, perColumn: 0 };
const isStill = (form: Form | undefined) => form !== undefined && form.perToken === 0 && form.perColumn === 0;

class Cutting {
  readonly moves = new Map<Buffer, Moves>();
  readonly spans = new Map<Expression, Span>();
  readonly #tokens: Axis;
  readonly #columns: Axis;
  readonly #locals = new Map<Local, Form>();

  constructor(tokens: Axis, columns: Axis) {
    this.#tokens = tokens;
    this.#columns = columns;
  }

  /** Whether all may be cut. */
  list(statements: readonly Statement[]): boolean {
    return statements.every((s) => this.#statement(s));
  }

  #statement(s: Statement): boolean {
    switch (s.kind) {
      case 'let': {
        const form = this.#form(s.value);
        if (form !== undefined) this.#locals.set(s.local, form);
        return form !== undefined;
      }
      case 'set':
        // What one token leaves for the next.
        return this.#tokens.kind !== 'serial' && isStill(this.#locals.get(s.local)) && this.#isStill(s.value);
      case 'store':
        return (
          (this.#tokens.kind !== 'serial' || s.buffer.access === 'write') &&
          (s.where === undefined || this.#isStill(s.where)) &&
          this.#isStill(s.value) &&
          this.#access(s.buffer, s.index)
        );
      case 'for':
        return this.#isCountable(s.axis) && this.list(s.body);
      case 'reduce': {
        const isCut = s.axes.every((axis) => this.#isCountable(axis)) && this.#isStill(s.init) && this.list(s.body);
        this.#locals.set(s.into, still);
        return isCut && this.#isStill(s.value);
      }
      case 'if':
        return this.#isStill(s.condition) && this.list(s.body) && this.list(s.otherwise);
      case 'while':
        return false;
      default:
        return s satisfies never;
    }
  }

  #isCountable(axis: Axis): boolean {
    return axis === this.#tokens || constantIndex(axis.extent) !== undefined;
  }

  #isStill(e: Expression): boolean {
    return isStill(this.#form(e));
  }

  /** Whether every index of the buffer moves alike. */
  #access(buffer: Buffer, index: Expression): boolean {
    const form = this.#form(index);
    if (form === undefined) return false;
    const { perToken, perColumn, span } = form;
    if (span !== undefined) this.spans.set(index, span);
    const known = this.moves.get(buffer);
    this.moves.set(buffer, { perToken, perColumn, indices: [...(known?.indices ?? []), index] });
    return known === undefined || (known.perToken === perToken && known.perColumn === perColumn);
  }

  #form(e: Expression): Form | undefined {
    switch (e.kind) {
      case 'axis': {
        if (e.axis === this.#tokens) return { perToken: 1, perColumn: 0, span: { first: 0, last: 0 } };
        if (e.axis === this.#columns) return { perToken: 0, perColumn: 1, span: { first: 0, last: 0 } };
        return { ...still, span: { first: 0, last: (constantIndex(e.axis.extent) ?? 1) - 1 } };
      }
      case 'constant':
        return { ...still, span: { first: Number(e.value), last: Number(e.value) } };
      case 'dim':
        return undefined;
      case 'local':
        return this.#locals.get(e.local);
      case 'load':
        return this.#access(e.buffer, e.index) ? still : undefined;
      case 'binary': {
        const [a, b] = [this.#form(e.a), this.#form(e.b)];
        if (a === undefined || b === undefined) return undefined;
        if (e.type === 'index' && e.op === 'add') return sum(a, b, 1);
        if (e.type === 'index' && e.op === 'subtract') return sum(a, b, -1);
        if (e.type === 'index' && e.op === 'multiply' && e.b.kind === 'constant') return scaled(a, Number(e.b.value));
        return isStill(a) && isStill(b)
          ? { ...still, span: e.type === 'index' ? cutSpan(e, a.span) : undefined }
          : undefined;
      }
      case 'unary':
      case 'is_finite':
      case 'convert':
      case 'bitcast':
      case 'compare':
      case 'select':
        return operandsOf(e).every((x) => this.#isStill(x)) ? still : undefined;
      default:
        return e satisfies never;
    }
  }
}

/** Of a quotient or a remainder by a constant of what is not negative. */
function cutSpan({ op, b }: Extract<Expression, { kind: 'binary' }>, span: Span | undefined): Span | undefined {
  const by = constantIndex(b);
  if (by === undefined || span === undefined || span.first < 0) return undefined;
  if (op === 'divide') return { first: Math.floor(span.first / by), last: Math.floor(span.last / by) };
  return op === 'remainder' ? { first: 0, last: Math.min(span.last, by - 1) } : undefined;
}

function sum(a: Form, b: Form, sign: 1 | -1): Form {
  const other = scaled(b, sign);
  return {
    perToken: a.perToken + other.perToken,
    perColumn: a.perColumn + other.perColumn,
    span: a.span && other.span && { first: a.span.first + other.span.first, last: a.span.last + other.span.last },
  };
}

function scaled({ perToken, perColumn, span }: Form, by: number): Form {
  const ends = span && [span.first * by, span.last * by];
  return {
    perToken: perToken * by,
    perColumn: perColumn * by,
    span: ends && { first: Math.min(...ends), last: Math.max(...ends) },
  };
}

/**
 * The kernel for so many columns, and as many tokens as its dimension then says. Buffers that are in `inner` lie in memory of the
 * piece's own, where a run has all that an index names.
 */
export function pieceOf(
  { kernel, tokens, columns, moves, spans }: Pieces,
  columnCount: number,
  inner: ReadonlyMap<Buffer, Inner>,
): Kernel {
  const axis: Axis = { ...columns, extent: indexConstant(columnCount) };
  const buffers = new Map(
    kernel.buffers.map((buffer) => [buffer, { ...buffer, elements: inner.get(buffer)?.elements ?? buffer.elements }]),
  );
  const bufferOf = (buffer: Buffer) => buffers.get(buffer) ?? buffer;
  const indexOf = (buffer: Buffer, index: Expression): Expression => {
    const mapped = expression(index);
    const place = inner.get(buffer);
    if (place === undefined) return mapped;
    const { first } = spans.get(index) ?? { first: 0 };
    const run = place.runs.find(({ start, length }) => start <= first && first < start + length);
    const perToken = moves.get(buffer)?.perToken ?? 0;
    const moved = addIndex(mapped, scaleIndex(axisIndex(tokens), place.width - perToken));
    return addIndex(moved, indexConstant((run?.at ?? 0) - (run?.start ?? 0)));
  };
  const expression = (e: Expression): Expression => {
    if (e.kind === 'axis') return e.axis === columns ? axisIndex(axis) : e;
    if (e.kind === 'load') return { ...e, buffer: bufferOf(e.buffer), index: indexOf(e.buffer, e.index) };
    return mapOperands(e, expression);
  };
  const body = mapStatements(kernel.body, {
    expression,
    place: (buffer, index) => ({ buffer: bufferOf(buffer), index: indexOf(buffer, index) }),
    axis: (one) => (one === columns ? axis : one),
  });
  return mergeLoops({ ...kernel, buffers: kernel.buffers.map(bufferOf), body });
}
