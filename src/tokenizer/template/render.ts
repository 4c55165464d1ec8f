/**
 * Runs a template: its statements, with Jinja's scopes. All that it does is paid for from one budget, so it ends soon and makes
 * no more than that, whatever it says; it reaches nothing but the values that it is given.
 */
import { applyFilter, call, evaluate, readArguments, Scope } from './expressions.ts';
import type { Body, Expression, Parameter, Statement } from './syntax.ts';
import {
  type Arguments,
  type Budget,
  Callable,
  fail,
  isTrue,
  iterate,
  Namespace,
  Tuple,
  text,
  typeName,
  type Value,
} from './values.ts';

/** Macros that call macros. Schemas of tools nest some ten deep. */
const MAX_DEPTH = 100;

type Leave = 'break' | 'continue' | undefined;

export function renderTemplate(body: Body, values: ReadonlyMap<string, Value>, budget: Budget): string {
  const renderer = new Renderer(budget);
  const scope = new Scope();
  for (const [name, value] of values) scope.set(name, value);
  return renderer.block(body, scope);
}

class Renderer {
  readonly #budget: Budget;
  #depth = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** The text of a body. */
  block(body: Body, scope: Scope): string {
    const out = new Output(this.#budget);
    if (this.#run(body, scope, out) !== undefined) fail('break or continue outside of a loop');
    return out.text;
  }

  #run(body: Body, scope: Scope, out: Output): Leave {
    for (const statement of body) {
      const leave = this.#statement(statement, scope, out);
      if (leave !== undefined) return leave;
    }
    return undefined;
  }

  #statement(node: Statement, scope: Scope, out: Output): Leave {
    const value = (inner: Expression) => evaluate(inner, scope, this.#budget);
    this.#budget.spend(1);
    switch (node.type) {
      case 'Comment':
        return undefined;
      case 'Break':
        return 'break';
      case 'Continue':
        return 'continue';
      case 'If':
        return this.#run(isTrue(value(node.test)) ? node.body : node.alternate, scope, out);
      case 'For':
        return this.#loop(node, scope, out);
      case 'Set': {
        const given = node.value === null ? this.block(node.body, new Scope(scope)) : value(node.value);
        this.#assign(node.assignee, given, scope);
        return undefined;
      }
      case 'Macro':
        scope.set(node.name.value, this.#macro(node.name.value, node.args, node.body, scope));
        return undefined;
      case 'CallStatement': {
        const { positional, keywords } = readArguments(node.call, scope, this.#budget);
        const caller = this.#macro('caller', node.callerArgs ?? [], node.body, scope);
        const args = { positional, keywords: new Map([...keywords, ['caller', caller] as const]) };
        out.write(text(call(value(node.call.callee), args, this.#budget), this.#budget));
        return undefined;
      }
      case 'FilterStatement': {
        const rendered = this.block(node.body, new Scope(scope));
        out.write(text(applyFilter(node.filter, rendered, scope, this.#budget), this.#budget));
        return undefined;
      }
      default:
        out.write(text(value(node), this.#budget));
        return undefined;
    }
  }

  #loop(node: Extract<Statement, { type: 'For' }>, scope: Scope, out: Output): Leave {
    const { iterable, loopvar, body } = node;
    const over = iterable.type === 'SelectExpression' ? iterable.lhs : iterable;
    let items = iterate(evaluate(over, scope, this.#budget), this.#budget);
    if (iterable.type === 'SelectExpression') {
      items = items.filter((item) => {
        const inner = new Scope(scope);
        this.#assign(loopvar, item, inner);
        return isTrue(evaluate(iterable.test, inner, this.#budget));
      });
    }
    if (items.length === 0) return this.#run(node.defaultBlock, new Scope(scope), out);
    for (const [i, item] of items.entries()) {
      const inner = new Scope(scope);
      this.#assign(loopvar, item, inner);
      inner.set('loop', loopValue(items, i));
      this.#budget.spend(12);
      if (this.#run(body, inner, out) === 'break') break;
    }
    return undefined;
  }

  #assign(target: Expression, value: Value, scope: Scope): void {
    switch (target.type) {
      case 'Identifier':
        scope.set(target.value, value);
        return;
      case 'TupleLiteral': {
        const items = iterate(value, this.#budget);
        if (items.length !== target.value.length) fail(`${items.length} values for ${target.value.length} names`);
        for (const [i, one] of target.value.entries()) this.#assign(one, items[i], scope);
        return;
      }
      case 'MemberExpression': {
        const object = evaluate(target.object, scope, this.#budget);
        if (!(object instanceof Namespace) || target.property.type !== 'Identifier' || target.computed) {
          fail(`an attribute of ${typeName(object)} is set`);
        } else {
          object.values.set(target.property.value, value);
        }
        return;
      }
      default:
        fail('something that is no name is set');
    }
  }

  #macro(name: string, parameters: readonly Parameter[], body: Body, defined: Scope): Callable {
    return new Callable(name, (args) => {
      if (++this.#depth > MAX_DEPTH) fail(`macros call each other ${MAX_DEPTH} deep`);
      const scope = new Scope(defined);
      this.#bind(name, parameters, args, scope);
      const rendered = this.block(body, scope);
      this.#depth--;
      return rendered;
    });
  }

  /** Further arguments (`varargs`, `kwargs`) are not known. */
  #bind(name: string, parameters: readonly Parameter[], { positional, keywords }: Arguments, scope: Scope): void {
    const names = parameters.map((one) => (one.type === 'Identifier' ? one.value : one.key.value));
    const stranger = [...keywords.keys()].find((key) => !names.includes(key) && key !== 'caller');
    if (positional.length > names.length || stranger !== undefined) {
      fail(`the macro ${name} takes no ${stranger ?? `${positional.length} arguments`}`);
    }
    if (keywords.has('caller')) scope.set('caller', keywords.get('caller'));
    parameters.forEach((parameter, i) => {
      const given = i < positional.length ? positional[i] : keywords.get(names[i]);
      const absent = parameter.type === 'Identifier' || given !== undefined;
      scope.set(names[i], absent ? given : evaluate(parameter.value, scope, this.#budget));
    });
  }
}

class Output {
  text = '';
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  write(more: string): void {
    this.#budget.spend(more.length);
    this.text += more;
  }
}

function loopValue(items: readonly Value[], i: number): Value {
  const { length } = items;
  return new Map<string, Value>([
    ['index', i + 1],
    ['index0', i],
    ['revindex', length - i],
    ['revindex0', length - i - 1],
    ['first', i === 0],
    ['last', i === length - 1],
    ['length', length],
    ['previtem', items[i - 1]],
    ['nextitem', items[i + 1]],
    [
      'cycle',
      new Callable('cycle', ({ positional }) =>
        positional.length === 0 ? fail('cycle of nothing') : positional[i % positional.length],
      ),
    ],
  ]);
}

/** `namespace(...)` and `dict(...)`: from a mapping, or pairs, and names. */
export function entriesOf({ positional, keywords }: Arguments, budget: Budget): Map<string, Value> {
  const [source] = positional;
  const pairs = source instanceof Map ? Array.from(source, (pair) => Tuple.from(pair)) : iterate(source, budget);
  const entries = pairs.map((pair): [string, Value] => {
    const [key, value] = iterate(pair, budget);
    return [typeof key === 'string' ? key : fail(`a key is ${typeName(key)}`), value];
  });
  budget.spend(entries.length + keywords.size);
  return new Map([...entries, ...keywords]);
}
