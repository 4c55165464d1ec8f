/** The same statements of other expressions, loops and buffers: what rewriting a kernel is made of. */
import type { Axis, Buffer, Expression, Statement } from './language.ts';

export interface StatementMap {
  expression(e: Expression): Expression;
  /** Where a store goes; otherwise to its buffer, at `expression` of its index. */
  place?(buffer: Buffer, index: Expression): { readonly buffer: Buffer; readonly index: Expression };
  /** Of a loop that is no reduction. */
  axis?(axis: Axis): Axis;
}

export function mapStatements(list: readonly Statement[], map: StatementMap): readonly Statement[] {
  return list.map((statement) => mapStatement(statement, map));
}

function mapStatement(s: Statement, map: StatementMap): Statement {
  const { expression } = map;
  switch (s.kind) {
    case 'let':
    case 'set':
      return { ...s, value: expression(s.value) };
    case 'store': {
      const to = map.place?.(s.buffer, s.index) ?? { index: expression(s.index) };
      return { ...s, ...to, value: expression(s.value), ...(s.where && { where: expression(s.where) }) };
    }
    case 'for':
      return { ...s, axis: map.axis?.(s.axis) ?? s.axis, body: mapStatements(s.body, map) };
    case 'reduce':
      return { ...s, body: mapStatements(s.body, map), value: expression(s.value), init: expression(s.init) };
    case 'if': {
      const [body, otherwise] = [mapStatements(s.body, map), mapStatements(s.otherwise, map)];
      return { ...s, condition: expression(s.condition), body, otherwise };
    }
    case 'while': {
      const [before, body] = [mapStatements(s.before, map), mapStatements(s.body, map)];
      return { ...s, before, condition: expression(s.condition), body };
    }
    default:
      return s satisfies never;
  }
}
