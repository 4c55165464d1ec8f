import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { type Builder, createFunc, createOp, createRegion, ProgramBuilder } from '../../src/ir/build.ts';
import type { Func, Op, Parameter, Program, Value } from '../../src/ir/program.ts';
import { rewriteProgram } from '../../src/ir/rewrite.ts';
import { type Dim, tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { reachable, uses, walk } from '../../src/ir/walk.ts';

const T = { sym: 'T', max: 8 } as const;
const vector = tensor('f32', [4]);

const input = (name: string, type = vector) => ({ name, type, role: 'input' }) as const satisfies Parameter;
const state = (name: string, type = vector) => ({ name, type, role: 'state' }) as const satisfies Parameter;

/** A program of everything that nests: calls, a composite, a loop, a choice, a reduction. */
function sample(): Program {
  const module = new ProgramBuilder();
  const layer = module.define('layer', [vector, vector], (b, x, w) => [rmsNorm(b, x, w, 1e-5)]);
  return module.program(
    [input('x'), { name: 'w', type: vector, role: 'weight', format: 'q8_0' }, input('n', tensor('i32')), state('s')],
    (b, { x, w, n, s }) => {
      const [, looped] = b.while(
        [b.scalar('i32', 0), x],
        (c, i) => c.compare('LT', i, n),
        (c, i, v) => [c.add(i, c.scalar('i32', 1)), c.call(layer, [v, w])[0]],
      );
      const positive = b.compare('GT', b.reduce('add', looped, 0, [0]), b.scalar('f32', 0));
      const [chosen] = b.if(
        positive,
        (c) => [c.multiply(looped, x)],
        () => [x],
      );
      return { y: chosen, s: b.add(s, chosen) };
    },
    { s: 's' },
  );
}

/** A program whose main has the given body, unchecked by the builder. */
function raw(parameters: readonly Parameter[], body: readonly Op[], values: readonly Value[], region?: Func): Program {
  const main =
    region ??
    createFunc(
      'main',
      parameters.map(({ type }) => type),
      () => ({ body, results: values }),
    );
  const results = main.results.map((value, i) => ({ name: `r${i}`, type: value.type }));
  return { main, functions: new Map(), parameters, results, aliases: [] };
}

function refused(program: Program, pattern: RegExp, op?: string) {
  assert.throws(
    () => verify(program),
    (error) => {
      assert.ok(isIngotError(error, 'InvalidProgram'), String(error));
      assert.match(error.message, pattern);
      assert.equal(error.place.op, op);
      return true;
    },
  );
}

test('a program of every nesting is accepted, and its copy too', () => {
  const program = sample();
  verify(program);
  assert.equal(
    rewriteProgram(program, () => undefined),
    program,
    'nothing was replaced',
  );
  const copy = rewriteProgram(program, (op, { operands, b }) =>
    op.name === 'add' ? [b.add(operands[0], operands[1])] : undefined,
  );
  assert.notEqual(copy, program);
  verify(copy);
  const names = (p: Program) => reachable(p).map((func) => [func.name, ...[...walk(func)].map((op) => op.name)]);
  assert.deepEqual(names(copy), names(program));
});

test('uses and walk see nested regions', () => {
  const { main } = sample();
  const [x, w, n] = main.parameters;
  const names = (value: Value) =>
    uses(main)
      .get(value)
      ?.map(({ op }) => op?.name ?? 'return');
  assert.deepEqual(names(x), ['while', 'multiply', 'return']);
  assert.deepEqual(names(w), ['call']);
  assert.deepEqual(names(n), ['compare']);
});

const x = input('x');
const cases: readonly [name: string, program: () => Program, pattern: RegExp, op?: string][] = [
  [
    'a result type that the row does not infer',
    () => {
      const main = createFunc('main', [vector], ([value]) => {
        const op = createOp('negate', [value], {});
        const wrong: Op = { ...op, results: [] };
        return { body: [wrong], results: [value] };
      });
      return raw([x], [], [], main);
    },
    /states \(\) where its row infers/,
    'negate',
  ],
  [
    'a value used before it is defined',
    () => {
      const main = createFunc('main', [vector], ([value]) => {
        const first = createOp('negate', [value], {});
        const second = createOp('negate', first.results, {});
        return { body: [second, first], results: second.results };
      });
      return raw([x], [], [], main);
    },
    /operand 0 is not defined before it/,
    'negate',
  ],
  [
    'a value of a region used outside of it',
    () => {
      let leaked: Value | undefined;
      const module = new ProgramBuilder();
      return module.program([x, input('p', tensor('i1'))], (b, { x: value, p }) => {
        b.if(
          p,
          (c) => {
            leaked = c.negate(value);
            return [leaked];
          },
          () => [value],
        );
        return { y: b.negate(leaked ?? value) };
      });
    },
    /operand 0 is not defined before it/,
    'negate',
  ],
  [
    'a reducer that captures',
    () => {
      const module = new ProgramBuilder();
      return module.program([x, input('k', tensor('f32'))], (b, { x: value, k }) => {
        const region = b.region([tensor('f32'), tensor('f32')], (c, l, r) => [c.add(c.add(l, r), k)]);
        return { y: b.op('reduce', [value, b.scalar('f32', 0)], { dimensions: [0] }, { regions: [region] })[0] };
      });
    },
    /operand 1 is not defined before it/,
    'add',
  ],
  [
    'an op at two places',
    () => {
      const main = createFunc('main', [vector], ([value]) => {
        const op = createOp('negate', [value], {});
        return { body: [op, op], results: op.results };
      });
      return raw([x], [], [], main);
    },
    /stands at two places/,
    'negate',
  ],
  [
    'a returned value from elsewhere',
    () => raw([x], [], createRegion([vector], () => ({ body: [], results: [] })).parameters),
    /returned value 0 is not defined/,
  ],
  [
    'a call of a missing function',
    () =>
      new ProgramBuilder().program([x], (b, { x: value }) => ({
        y: b.op('call', [value], { callee: 'gone' }, { types: [vector] })[0],
      })),
    /there is no function gone/,
    'call',
  ],
  [
    'a call that passes other types',
    () => {
      const module = new ProgramBuilder();
      module.define('f', [tensor('f32', [5])], (b, value) => [b.negate(value)]);
      return module.program([x], (b, { x: value }) => ({
        y: b.op('call', [value], { callee: 'f' }, { types: [vector] })[0],
      }));
    },
    /passes \(tensor<4xf32>\) to f/,
    'call',
  ],
  [
    'a call that expects other types',
    () => {
      const module = new ProgramBuilder();
      module.define('f', [vector], (b, value) => [b.convert(value, 'f16')]);
      return module.program([x], (b, { x: value }) => ({
        y: b.op('call', [value], { callee: 'f' }, { types: [vector] })[0],
      }));
    },
    /expects \(tensor<4xf32>\) of f/,
    'call',
  ],
  [
    'a function that calls itself through another',
    () => {
      const module = new ProgramBuilder();
      const call = (b: Builder, callee: string, value: Value) => b.op('call', [value], { callee }, { types: [vector] });
      module.define('f', [vector], (b, value) => call(b, 'g', value));
      module.define('g', [vector], (b, value) => call(b, 'f', value));
      return module.program([x], (_, { x: value }) => ({ y: value }));
    },
    /f calls itself/,
    'call',
  ],
  [
    'a function named as main',
    () => {
      const module = new ProgramBuilder();
      module.define('main', [], () => []);
      return module.program([x], (_, { x: value }) => ({ y: value }));
    },
    /main is defined twice/,
  ],
  [
    'two parameters of one name',
    () => ({ ...sample(), parameters: sample().parameters.map((parameter) => ({ ...parameter, name: 'same' })) }),
    /two parameters are named same/,
  ],
  [
    'a parameter that main does not take',
    () => ({ ...sample(), parameters: [] }),
    /the program has 0 parameters, main 4/,
  ],
  [
    'a result of another type',
    () => ({ ...sample(), results: sample().results.map(({ name }) => ({ name, type: tensor('f32', [5]) })) }),
    /result y is tensor<5xf32>, in main tensor<4xf32>/,
  ],
  [
    'a block format on state',
    () => ({
      ...sample(),
      parameters: sample().parameters.map((parameter) =>
        parameter.name === 's' ? { ...parameter, format: 'f16' } : parameter,
      ),
    }),
    /state s has a block format/,
  ],
  ['an alias of nothing', () => ({ ...sample(), aliases: [{ result: -1, parameter: 3 }] }), /there is no such pair/],
  [
    'an alias to an input',
    () => ({ ...sample(), aliases: [{ result: 1, parameter: 0 }] }),
    /result s is aliased to input x/,
  ],
  [
    'two aliases to one state',
    () => ({ ...sample(), aliases: [0, 1].map((result) => ({ result, parameter: 3 })) }),
    /state s is aliased twice/,
  ],
  [
    'a result that is two states',
    () => {
      const module = new ProgramBuilder();
      const program = module.program([state('a'), state('b')], (b, { a }) => ({ y: b.negate(a) }));
      return { ...program, aliases: [0, 1].map((parameter) => ({ result: 0, parameter })) };
    },
    /result y is aliased twice/,
  ],
  [
    'an alias of another type',
    () => {
      const module = new ProgramBuilder();
      return module.program([state('a')], (b, { a }) => ({ y: b.convert(a, 'f16') }), { y: 'a' });
    },
    /result y is tensor<4xf16>, its state a tensor<4xf32>/,
  ],
  [
    'state that is updated and not aliased',
    () =>
      new ProgramBuilder().program([state('a'), input('u', tensor('f32', [1]))], (b, { a, u }) => ({
        y: b.op('dynamic_update_slice', [a, u, b.scalar('i32', 0)], {})[0],
      })),
    /updates state a, to which no result is aliased/,
    'dynamic_update_slice',
  ],
  [
    'a symbolic dimension that does not lead',
    () => new ProgramBuilder().program([input('t', tensor('f32', [2, T] as Dim[]))], (_, { t }) => ({ y: t })),
    /T of tensor<2x\?xf32, #ingot.dim<T, 8>> does not lead/,
  ],
  [
    'a symbol with two bounds',
    () =>
      new ProgramBuilder().program(
        [input('t', tensor('f32', [T])), input('u', tensor('f32', [{ sym: 'T', max: 9 }]))],
        (_, { t }) => ({ y: t }),
      ),
    /T is bounded by 8 and by 9/,
  ],
];

for (const [name, program, pattern, op] of cases) test(`refused: ${name}`, () => refused(program(), pattern, op));
