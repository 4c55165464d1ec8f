/**
 * Two loops directly around each other become one where every index moves with both as one counter would: rows that lie
 * one after another are one line. Nothing is divided: where an index would need it, the loops stay.
 */
import { keyOf } from './expression-key.ts';
import { mapOperands } from './expressions.ts';
import { axisIndex, constantIndex, multiplyIndex, substitute } from './index-arithmetic.ts';
import type { Axis, Expression, Kernel, Statement } from './language.ts';

export function mergeLoops(kernel: Kernel): Kernel {
  return { ...kernel, body: kernel.body.map(mergeIn) };
}

function mergeIn(statement: Statement): Statement {
  switch (statement.kind) {
    case 'let':
    case 'set':
    case 'store':
      return statement;
    case 'for':
      return mergeFor(statement.axis, statement.body.map(mergeIn));
    case 'reduce':
      return mergeReduce({ ...statement, body: statement.body.map(mergeIn) });
    case 'if':
      return { ...statement, body: statement.body.map(mergeIn), otherwise: statement.otherwise.map(mergeIn) };
    case 'while':
      return { ...statement, before: statement.before.map(mergeIn), body: statement.body.map(mergeIn) };
    default:
      return statement satisfies never;
  }
}

function mergeFor(outer: Axis, body: readonly Statement[]): Statement {
  const [inner] = body;
  if (body.length === 1 && inner.kind === 'for') {
    const merging = new Merging(outer, inner.axis);
    const merged = merging.axis && merging.statements(inner.body);
    if (merging.axis !== undefined && merged !== undefined) return { kind: 'for', axis: merging.axis, body: merged };
  }
  return { kind: 'for', axis: outer, body };
}

function mergeReduce(reduce: Extract<Statement, { kind: 'reduce' }>): Statement {
  for (let i = reduce.axes.length - 2; i >= 0; i--) {
    const merging = new Merging(reduce.axes[i], reduce.axes[i + 1]);
    const { axis } = merging;
    const body = axis && merging.statements(reduce.body);
    const value = axis && merging.expression(reduce.value);
    if (axis === undefined || body === undefined || value === undefined) continue;
    return mergeReduce({ ...reduce, axes: reduce.axes.toSpliced(i, 2, axis), body, value });
  }
  return reduce;
}

class Merging {
  readonly #outer: Axis;
  readonly #inner: Axis;
  readonly #turns: number;
  /** undefined where the kinds or the inner extent do not allow it. */
  readonly axis: Axis | undefined;

  constructor(outer: Axis, inner: Axis) {
    this.#outer = outer;
    this.#inner = inner;
    const turns = constantIndex(inner.extent);
    this.#turns = turns ?? 0;
    const same = outer.kind === inner.kind || (outer.kind === 'parallel' && inner.kind === 'vector');
    if (turns !== undefined && same) {
      const extent = multiplyIndex(outer.extent, inner.extent);
      this.axis = { name: `${outer.name}${inner.name}`, kind: inner.kind, extent };
    }
  }

  /** With the one axis in the place of both; undefined where that needs a division. */
  expression(e: Expression): Expression | undefined {
    if (e.type === 'index' && e.kind !== 'convert' && e.kind !== 'select') {
      const by = this.axis && axisIndex(this.axis);
      return by && substitute(e, this.#outer, this.#inner, this.#turns, by, (atom) => this.#inside(atom));
    }
    return this.#inside(e);
  }

  #inside(e: Expression): Expression | undefined {
    let failed = false;
    const mapped = mapOperands(e, (operand) => {
      const result = this.expression(operand);
      if (result === undefined) failed = true;
      return result ?? operand;
    });
    return failed ? undefined : mapped;
  }

  statements(list: readonly Statement[]): readonly Statement[] | undefined {
    return all(list.map((statement) => this.#statement(statement)));
  }

  #statement(s: Statement): Statement | undefined {
    switch (s.kind) {
      case 'let':
      case 'set': {
        const value = this.expression(s.value);
        return value && { ...s, value };
      }
      case 'store': {
        const [index, value] = [this.expression(s.index), this.expression(s.value)];
        const where = s.where && this.expression(s.where);
        if (index === undefined || value === undefined || (s.where !== undefined && where === undefined))
          return undefined;
        return { ...s, index, value, ...(where && { where }) };
      }
      case 'for': {
        // Axes are compared by identity: the extent must not change, so it must not depend on the merged ones.
        const body = this.#isFree(s.axis) ? this.statements(s.body) : undefined;
        return body && { ...s, body };
      }
      case 'reduce': {
        const body = s.axes.every((axis) => this.#isFree(axis)) ? this.statements(s.body) : undefined;
        const [value, init] = [this.expression(s.value), this.expression(s.init)];
        return body && value && init && { ...s, body, value, init };
      }
      case 'if': {
        const condition = this.expression(s.condition);
        const [body, otherwise] = [this.statements(s.body), this.statements(s.otherwise)];
        return condition && body && otherwise && { ...s, condition, body, otherwise };
      }
      case 'while': {
        const condition = this.expression(s.condition);
        const [before, body] = [this.statements(s.before), this.statements(s.body)];
        return condition && before && body && { ...s, condition, before, body };
      }
      default:
        return s satisfies never;
    }
  }

  #isFree(axis: Axis): boolean {
    const extent = this.expression(axis.extent);
    return extent !== undefined && keyOf(extent) === keyOf(axis.extent);
  }
}

/** The list, if no item is missing. */
function all<T>(list: readonly (T | undefined)[]): readonly T[] | undefined {
  const found = list.filter((item) => item !== undefined);
  return found.length === list.length ? found : undefined;
}
