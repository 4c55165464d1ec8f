/**
 * Ops of StableHLO's own test tools, `check.*` and `interpreter.*`: they become custom calls of that name, so that
 * hand-written tests look like those made from JAX (`stablehlo.custom_call @check.expect_eq(%a, %b)`). The expected
 * constant of a `_const` form becomes a constant op and the second operand; tolerances and the like are in `extra`.
 */
import { type Attribute, isLiteralAttribute } from '../attributes.ts';
import type { Literal, Value } from '../program.ts';
import type { Type } from '../types.ts';
import { type BodyParser, checkTypes, type OpText } from './syntax.ts';

const names = [
  'check.expect_almost_eq',
  'check.expect_almost_eq_const',
  'check.expect_close',
  'check.expect_close_const',
  'check.expect_eq',
  'check.expect_eq_const',
  'check.expect_serialized_eq',
  'interpreter.print',
  'interpreter.probe',
  'interpreter.run_parallel',
];

export function isCheck(name: string): boolean {
  return names.includes(name);
}

/** `%a, %b, tolerance = 0.1 : type` or `%a, dense<..> : type {tolerance = 0.1 : f64}`, behind the name. */
export function readCheck(name: string, p: BodyParser): OpText {
  const operands: Value[] = [];
  const fields: { [key: string]: Attribute } = {};
  do {
    if (p.lexer.peek() === '%') operands.push(p.value());
    else if (p.lexer.peekWord() === 'dense') fields.value = p.attributes.attribute();
    else {
      const key = p.lexer.word('a value, a constant or an attribute');
      p.lexer.expect('=');
      fields[key] = p.lexer.acceptString() ?? Number(p.lexer.acceptNumber() ?? p.lexer.fail('expected a number'));
    }
  } while (p.lexer.accept(','));
  const at = p.lexer.mark();
  if (p.lexer.accept(':')) {
    const types: Type[] = [];
    do types.push(p.types.type());
    while (p.lexer.accept(','));
    checkTypes(p, operands, types.length === 1 ? operands.map(() => types[0]) : types, at);
  }
  if (p.lexer.peek() === '{') Object.assign(fields, p.attributes.dictionary());
  return { operands, fields, regions: [], types: name === 'interpreter.probe' ? operands.map(({ type }) => type) : [] };
}

/** As a custom call. `constant` makes an op of the expected value. */
export function asCustomCall(name: string, text: OpText, constant: (value: Literal) => Value): OpText {
  const { value, ...extra } = text.fields;
  const expected = value !== undefined && isLiteralAttribute(value) ? [constant(value)] : [];
  return {
    ...text,
    operands: [...text.operands, ...expected],
    fields: { ...extra, call_target_name: name.replace(/_const$/, ''), has_side_effect: true },
  };
}
