import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { planState } from '../../src/compiler/state.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Op, Parameter, Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { walk } from '../../src/ir/walk.ts';

const vector = tensor('f32', [4]);
const state = (name: string) => ({ name, type: vector, role: 'state' }) as const satisfies Parameter;
const input = (name: string, type = vector) => ({ name, type, role: 'input' }) as const satisfies Parameter;
const parameters = [
  state('s'),
  state('t'),
  input('x'),
  input('u', tensor('f32', [1])),
  input('p', tensor('i1')),
  input('ids', tensor('i32', [1])),
] as const;
type Values = Readonly<Record<(typeof parameters)[number]['name'], Value>>;

function build(
  body: (b: Builder, values: Values, module: ProgramBuilder) => Readonly<Record<string, Value>>,
  aliases: Readonly<Record<string, 's' | 't'>> = { s: 's' },
): Program {
  const module = new ProgramBuilder();
  const program = module.program(parameters, (b, values) => body(b, values, module), aliases);
  verify(program);
  return program;
}

const update = (b: Builder, value: Value, by: Value): Value =>
  b.op('dynamic_update_slice', [value, by, b.scalar('i32', 1)], {})[0];

/** What each op with a result in place writes to: "op <- what it names". */
function described(program: Program): readonly string[] {
  const plan = planState(program);
  const name = (value: Value): string => {
    if (value.owner.kind === 'op') return value.owner.name;
    const parameter = program.main.parameters.indexOf(value);
    return parameter >= 0 ? program.parameters[parameter].name : `parameter ${value.index}`;
  };
  const all: Op[] = [program.main, ...program.functions.values()].flatMap((func) => [...walk(func)]);
  return all.flatMap((op) =>
    op.results.flatMap((result) => {
      const target = plan.get(result);
      return target === undefined ? [] : [`${op.name} <- ${name(target)}`];
    }),
  );
}

const allowed: readonly [name: string, program: () => Program, expected: readonly string[]][] = [
  ['state that is only read', () => build((b, { s, x }) => ({ y: b.add(s, x), s })), []],
  [
    'one update, the old version read before it',
    () => build((b, { s, x, u }) => ({ y: b.add(s, x), s: update(b, s, u) })),
    ['dynamic_update_slice <- s'],
  ],
  [
    'two updates and a scatter, the last version read after',
    () =>
      build((b, { s, u, ids }) => {
        const last = b.put(update(b, update(b, s, u), u), ids, u);
        return { s: last, y: b.negate(last) };
      }),
    ['dynamic_update_slice <- s', 'dynamic_update_slice <- dynamic_update_slice', 'scatter <- dynamic_update_slice'],
  ],
  [
    'renamed around the update',
    () =>
      build((b, { s, u }) => {
        const square = b.reshape(s, [2, 2]);
        const zero = b.scalar('i32', 0);
        const one = b.op('dynamic_update_slice', [square, b.reshape(u, [1, 1]), zero, zero], {})[0];
        return { s: b.reshape(one, [4]) };
      }),
    ['reshape <- s', 'dynamic_update_slice <- reshape', 'reshape <- dynamic_update_slice'],
  ],
  ['overwritten element by element', () => build((b, { s, x }) => ({ s: b.add(b.multiply(s, x), s) })), ['add <- s']],
  ['overwritten by what never read it', () => build((b, { x }) => ({ s: b.negate(x) })), ['negate <- s']],
  ['overwritten by an input: copied in at the end', () => build((_, { x }) => ({ s: x })), []],
  [
    'a temporary that is updated and then becomes the state, which is read until then',
    () =>
      build((b, { s, x, u }) => {
        const fresh = b.negate(x);
        const y = b.negate(s);
        return { y, s: update(b, fresh, u) };
      }),
    ['dynamic_update_slice <- s'],
  ],
  [
    'through a call of a function for two states',
    () =>
      build(
        (b, { s, t, u }, module) => {
          const f = module.define('f', [vector, u.type], (c, value, by) => [c.negate(value), update(c, value, by)]);
          const [, first] = b.call(f, [s, u]);
          return { s: first, t: b.call(f, [t, u])[1] };
        },
        { s: 's', t: 't' },
      ),
    ['call <- s', 'call <- t', 'dynamic_update_slice <- parameter 0'],
  ],
  [
    'a callee that overwrites it',
    () =>
      build((b, { s, x }, module) => {
        const f = module.define('f', [vector, vector], (c, value, by) => [c.add(value, by)]);
        return { s: b.call(f, [s, x])[0] };
      }),
    ['call <- s', 'add <- parameter 0'],
  ],
  [
    'a callee that computes it without having it',
    () =>
      build((b, { x }, module) => {
        const f = module.define('f', [vector], (c, value) => [c.negate(value)]);
        return { s: b.call(f, [x])[0] };
      }),
    ['call <- s'],
  ],
  [
    'a function that updates state here and a temporary there',
    () =>
      build((b, { s, x, u }, module) => {
        const f = module.define('f', [vector, u.type], (c, value, by) => [update(c, value, by)]);
        return { y: b.call(f, [b.negate(x), u])[0], s: b.call(f, [s, u])[0] };
      }),
    ['call <- negate', 'call <- s', 'dynamic_update_slice <- parameter 0'],
  ],
  [
    'in one branch only',
    () =>
      build((b, { s, u, p }) => ({
        s: b.if(
          p,
          (c) => [update(c, s, u)],
          () => [s],
        )[0],
      })),
    ['if <- s', 'dynamic_update_slice <- s'],
  ],
  [
    'overwritten in one branch, updated in the other',
    () =>
      build((b, { s, x, u, p }) => ({
        s: b.if(
          p,
          (c) => [c.negate(x)],
          (c) => [update(c, s, u)],
        )[0],
      })),
    ['if <- s', 'negate <- s', 'dynamic_update_slice <- s'],
  ],
  [
    'around a loop that also reads another state',
    () =>
      build((b, { s, t, u }) => {
        const one = b.scalar('i32', 1);
        const [, last] = b.while(
          [b.scalar('i32', 0), s],
          (c, i) => c.compare('LT', i, c.scalar('i32', 3)),
          (c, i, value) => [
            c.add(i, one),
            update(
              c,
              value,
              c.multiply(u, c.op('slice', [t], { start_indices: [0], limit_indices: [1], strides: [1] })[0]),
            ),
          ],
        );
        return { s: last };
      }),
    ['while <- s', 'dynamic_update_slice <- parameter 1'],
  ],
  [
    'two states updated by one scatter',
    () =>
      build(
        (b, { s, t, ids, u }) => {
          const scalar = tensor('f32');
          const region = b.region([scalar, scalar, scalar, scalar], (_, _a, _b, c, d) => [c, d]);
          const [first, second] = b.op(
            'scatter',
            [s, t, ids, u, u],
            {
              update_window_dims: [],
              inserted_window_dims: [0],
              input_batching_dims: [],
              scatter_indices_batching_dims: [],
              scatter_dims_to_operand_dims: [0],
              index_vector_dim: 1,
              indices_are_sorted: false,
              unique_indices: false,
            },
            { regions: [region] },
          );
          return { s: first, t: second };
        },
        { s: 's', t: 't' },
      ),
    ['scatter <- s', 'scatter <- t'],
  ],
];
for (const [name, program, expected] of allowed) {
  test(`in place: ${name}`, () => assert.deepEqual(described(program()), expected));
}

const refused: readonly [name: string, program: () => Program, op: string, pattern: RegExp][] = [
  [
    'the old version read after the update',
    () =>
      build((b, { s, u }) => {
        const next = update(b, s, u);
        return { s: next, y: b.negate(s) };
      }),
    'negate',
    /older version is used after dynamic_update_slice/,
  ],
  [
    'a renamed old version read after the update',
    () =>
      build((b, { s, u }) => {
        const square = b.reshape(s, [2, 2]);
        const next = update(b, s, u);
        return { s: next, y: b.negate(square) };
      }),
    'negate',
    /older version/,
  ],
  ['the old version returned', () => build((b, { s, u }) => ({ s: update(b, s, u), y: s })), 'return', /older version/],
  [
    'an update whose result is not the state',
    () =>
      build((b, { s, u, x }, module) => {
        const f = module.define('f', [vector, u.type], (c, value, by) => [c.negate(update(c, value, by))]);
        return { y: b.call(f, [s, u])[0], s: b.add(s, x) };
      }),
    'dynamic_update_slice',
    /would update a copy/,
  ],
  [
    'two updates of one version',
    () =>
      build((b, { s, u }) => {
        const other = update(b, s, u);
        return { s: update(b, s, u), y: other };
      }),
    'dynamic_update_slice',
    /older version/,
  ],
  [
    'two states exchanged',
    () => build((_, { s, t }) => ({ s: t, t: s }), { s: 's', t: 't' }),
    'return',
    /its new value is state t/,
  ],
  [
    'overwritten by an op that still needs other elements',
    () => build((b, { s }) => ({ s: b.op('reverse', [s], { dimensions: [0] })[0] })),
    'reverse',
    /overwrites what it still reads/,
  ],
  [
    'an update by itself',
    () => build((b, { s }) => ({ s: update(b, s, s) })),
    'dynamic_update_slice',
    /reads the memory that it updates/,
  ],
  [
    'a callee that gets it twice',
    () =>
      build((b, { s }, module) => {
        const f = module.define('f', [vector, vector], (c, value, by) => [c.add(value, by)]);
        return { s: b.call(f, [s, s])[0] };
      }),
    'call',
    /takes it twice/,
  ],
  [
    'a callee that reads the old version too late',
    () =>
      build((b, { s, u }, module) => {
        const f = module.define('f', [vector, u.type], (c, value, by) => {
          const next = update(c, value, by);
          return [next, c.negate(value)];
        });
        const [next, y] = b.call(f, [s, u]);
        return { s: next, y };
      }),
    'negate',
    /older version/,
  ],
  [
    'a function in place for the state, of a shared temporary',
    () =>
      build((b, { s, x, u }, module) => {
        const f = module.define('f', [vector, u.type], (c, value, by) => [update(c, value, by)]);
        return { y: b.call(f, [x, u])[0], s: b.call(f, [s, u])[0] };
      }),
    'call',
    /updates parameter 0 in place/,
  ],
  [
    'a function in place for the state, whose result is dropped elsewhere',
    () =>
      build((b, { s, t, x }, module) => {
        const f = module.define('f', [vector, vector], (c, value, by) => [c.add(value, by)]);
        return { y: b.call(f, [t, x])[0], s: b.call(f, [s, x])[0] };
      }),
    'call',
    /here the result is not the state/,
  ],
  [
    'a loop that reads the version before it inside',
    () =>
      build((b, { s, p }) => {
        const first = (c: Builder, value: Value) =>
          c.op('slice', [value], { start_indices: [0], limit_indices: [1], strides: [1] })[0];
        return {
          s: b.while(
            [s],
            () => p,
            (c, value) => [update(c, value, first(c, c.negate(s)))],
          )[0],
        };
      }),
    'negate',
    /older version is used after/,
  ],
  [
    'a loop that starts from it and goes elsewhere',
    () =>
      build((b, { s, x, p }) => ({
        s,
        y: b.while(
          [s],
          () => p,
          (c, value) => [c.add(value, x)],
        )[0],
      })),
    'return',
    /older version is used after while/,
  ],
  [
    'a branch that returns it where the other does not',
    () =>
      build((b, { s, x, p }) => ({
        s,
        y: b.if(
          p,
          () => [s],
          () => [x],
        )[0],
      })),
    'return',
    /older version is used after if/,
  ],
  [
    'the old version read in a later branch',
    () =>
      build((b, { s, x, u, p }) => {
        const next = update(b, s, u);
        return {
          s: next,
          y: b.if(
            p,
            (c) => [c.negate(s)],
            () => [x],
          )[0],
        };
      }),
    'negate',
    /older version/,
  ],
];
for (const [name, program, op, pattern] of refused) {
  test(`StateWouldCopy: ${name}`, () => {
    const built = program();
    assert.throws(
      () => planState(built),
      (error) => {
        assert.ok(isIngotError(error, 'StateWouldCopy'), String(error));
        assert.equal(error.place.op, op);
        assert.match(error.message, pattern);
        return true;
      },
    );
  });
}
