/**
 * Random steps like those of optimizers and caches, for property tests: states of a few shapes, each read in various ways, then
 * overwritten whole or some rows of it, then read again. A list of numbers decides everything, so that fast-check can shrink it.
 */
import * as fc from 'fast-check';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';

export const stepDecisions = fc.array(fc.nat(0xffff), { minLength: 10, maxLength: 90 });

const shapes = [[20, 3], [20, 3], [20, 3], [20], []] as const;
const parameters: readonly Parameter[] = [
  ...shapes.flatMap((shape, i): Parameter[] => [
    { name: `x${i}`, type: tensor('f32', shape), role: 'input' },
    { name: `s${i}`, type: tensor('f32', shape), role: 'state' },
  ]),
  { name: 'ids', type: tensor('i32', [20]), role: 'input' },
];

/** @throws IngotError only when its state is planned: some programs would overwrite what they still read. */
export function randomStep(list: readonly number[]): Program {
  let at = 0;
  const next = (count: number) => (list.at(at++) ?? 0) % count;
  const body = (b: Builder, given: Readonly<Record<string, Value>>) => {
    at = 0;
    const values = shapes.map((_, i) => [given[`x${i}`], given[`s${i}`]] as Value[]);
    const pick = (kind: number) => values[kind][next(values[kind].length)];
    const like = (kind: number) => pick(kind < 3 ? next(3) : kind);
    const make = (kind: number): Value => {
      const shape = shapes[kind];
      switch (next(kind < 3 ? 10 : 5)) {
        case 0:
        case 1:
          return b.add(like(kind), like(kind));
        case 2:
          return b.multiply(like(kind), b.broadcast(pick(4), shape, []));
        case 3:
          return kind === 3 ? b.reduce('add', like(0), 0, [1]) : b.maximum(like(kind), like(kind));
        case 4:
          return b.negate(like(kind));
        case 5:
          return b.subtract(like(kind), like(kind));
        case 6:
          return b.multiply(like(kind), b.broadcast(pick(3), shape, [0]));
        case 7:
          return b.op('reverse', [like(kind)], { dimensions: [next(2)] })[0] as Value;
        case 8:
          return b.reshape(b.transpose(like(kind), [1, 0]), shape);
        default:
          return b.dot(like(kind), b.dot(like(kind), like(kind), { contract: [[0, 0]] }), { contract: [[1, 0]] });
      }
    };
    const results: Record<string, Value> = {};
    for (let i = 0; at < list.length; i++) {
      const kind = next(shapes.length);
      const made = make(kind);
      const name = `s${kind}`;
      const overwrites = next(3) === 0 && results[name] === undefined;
      // Backwards, so that some rows would be written before they are read; some twice, some nowhere.
      const places = () => b.subtract(given.ids, b.add(b.iota('i32', [20], 0), b.full('i32', [20], -19)));
      const rows = () => (next(2) === 0 ? b.subtract(made, given[name]) : made);
      const value = overwrites && kind < 3 && next(2) === 0 ? b.put(given[name], places(), rows()) : made;
      if (overwrites) {
        results[name] = value;
        values[kind] = values[kind].filter((other) => other !== given[name]);
      }
      values[kind].push(value);
      if (next(6) === 0) results[`y${i}`] = value;
    }
    return results;
  };
  const names = new ProgramBuilder().program(parameters, body).results.map(({ name }) => name);
  const states = names.filter((name) => name.startsWith('s'));
  return new ProgramBuilder().program(parameters, body, Object.fromEntries(states.map((name) => [name, name])));
}
