/** Random programs with random statements on random meshes: ranks compute what one does. */
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Builder } from '../../src/ir/build.ts';
import type { Mesh } from '../../src/ir/mesh.ts';
import type { Program, Value } from '../../src/ir/program.ts';
import { constraintTarget, type DimSharding, type Sharding } from '../../src/ir/sharding.ts';
import { asTensor, type Type } from '../../src/ir/types.ts';
import { assertSame } from './partition-harness.ts';
import { randomArrays } from './random-arrays.ts';
import { decisions, randomProgram } from './random-program.ts';

const meshes: readonly Mesh[] = [
  { axes: [{ name: 'tensor', size: 2 }] },
  { axes: [{ name: 'tensor', size: 3 }] },
  { axes: [{ name: 'tensor', size: 2, shares: [2, 1] }] },
  {
    axes: [
      { name: 'data', size: 2 },
      { name: 'tensor', size: 2 },
    ],
  },
];

/** Numbers that say how dimensions are stated to lie. */
const statements = fc.array(fc.nat(5), { minLength: 24, maxLength: 24 });

class Statements {
  readonly #mesh: Mesh;
  readonly #numbers: readonly number[];
  #at = 0;

  constructor(mesh: Mesh, numbers: readonly number[]) {
    this.#mesh = mesh;
    this.#numbers = numbers;
  }

  #next(): number {
    return this.#numbers[this.#at++ % this.#numbers.length];
  }

  /** Each axis once at most. */
  sharding({ type }: { readonly type: Type }): Sharding {
    const free = this.#mesh.axes.map(({ name }) => name);
    const dims = asTensor(type).shape.map((size): DimSharding => {
      const number = this.#next();
      const axis = typeof size === 'number' && size > 1 && number < 3 ? free[number] : undefined;
      if (axis === undefined) return { axes: [], open: number % 2 === 0 };
      free.splice(free.indexOf(axis), 1);
      return { axes: [axis], open: false };
    });
    return { dims, replicated: [] };
  }

  some<X extends { readonly type: Type }>(of: X): X {
    return this.#next() > 3 ? of : { ...of, sharding: this.sharding(of) };
  }

  /** Results that are a state's memory lie as it does. */
  all(program: Program): Program {
    return {
      ...program,
      parameters: program.parameters.map((each) => this.some(each)),
      results: program.results.map((each, i) =>
        program.aliases.some(({ result }) => result === i) ? each : this.some(each),
      ),
    };
  }

  constrain(b: Builder, value: Value): Value {
    const dims = this.sharding(value).dims.map(({ axes, open }) => {
      return `{${[...axes.map((axis) => `"${axis}"`), ...(open ? ['?'] : [])].join(', ')}}`;
    });
    const extra = { sharding: `<@mesh, [${dims.join(', ')}]>` };
    const attributes = { call_target_name: constraintTarget, has_side_effect: false, extra };
    return b.op('custom_call', [value], attributes, { types: [value.type] })[0];
  }
}

test('calls, branches, loops and state', async () => {
  await fc.assert(
    fc.asyncProperty(decisions, statements, fc.nat(meshes.length - 1), fc.nat(4), async (list, numbers, m, tokens) => {
      const program = new Statements(meshes[m], numbers).all(randomProgram(list));
      await assertSame(program, meshes[m], { dims: { T: tokens }, seed: tokens + 1 });
    }),
    { seed: 6, numRuns: 40 },
  );
});

test('arrays of many sizes', async () => {
  await fc.assert(
    fc.asyncProperty(decisions, statements, fc.nat(meshes.length - 1), async (list, numbers, m) => {
      const stated = new Statements(meshes[m], numbers);
      const program = randomArrays(list, (b, value) => stated.constrain(b, value));
      await assertSame(stated.all(program), meshes[m], { seed: m + 1 });
    }),
    { seed: Number(process.env.SEED ?? 6), numRuns: Number(process.env.RUNS ?? 60) },
  );
});
