/** What statements consist of: all statements and expressions of a list, nested ones included, in the order of the text. */
import { operandsOf } from './expressions.ts';
import type { Expression, Statement } from './language.ts';

export function* statementsOf(list: readonly Statement[]): Generator<Statement, void> {
  for (const s of list) {
    yield s;
    switch (s.kind) {
      case 'for':
      case 'reduce':
        yield* statementsOf(s.body);
        break;
      case 'if':
        yield* statementsOf(s.body);
        yield* statementsOf(s.otherwise);
        break;
      case 'while':
        yield* statementsOf(s.before);
        yield* statementsOf(s.body);
        break;
      case 'let':
      case 'set':
      case 'store':
        break;
      default:
        s satisfies never;
    }
  }
}

/** With the operands of expressions, and extents of loops. */
export function* expressionsOf(list: readonly Statement[]): Generator<Expression, void> {
  for (const s of statementsOf(list)) {
    switch (s.kind) {
      case 'let':
      case 'set':
        yield* expressionsIn(s.value);
        break;
      case 'store':
        yield* expressionsIn(s.index);
        yield* expressionsIn(s.value);
        if (s.where !== undefined) yield* expressionsIn(s.where);
        break;
      case 'for':
        yield* expressionsIn(s.axis.extent);
        break;
      case 'reduce':
        for (const { extent } of s.axes) yield* expressionsIn(extent);
        yield* expressionsIn(s.value);
        yield* expressionsIn(s.init);
        break;
      case 'if':
      case 'while':
        yield* expressionsIn(s.condition);
        break;
      default:
        s satisfies never;
    }
  }
}

function* expressionsIn(e: Expression): Generator<Expression, void> {
  yield e;
  for (const operand of operandsOf(e)) yield* expressionsIn(operand);
}
