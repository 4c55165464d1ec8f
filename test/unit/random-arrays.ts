/** Random programs over arrays of one to three dimensions of many sizes, of the ops that ranks split in ways of their own. */
import type { BinaryOp } from '../../src/ir/attributes.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Program, Value } from '../../src/ir/program.ts';
import { asTensor, staticShape, tensor } from '../../src/ir/types.ts';

const parameters = [
  { name: 'x', type: tensor('f32', [6, 8]), role: 'input' },
  { name: 'ids', type: tensor('i32', [5]), role: 'input' },
  { name: 'w', type: tensor('f32', [8, 12]), role: 'weight' },
  { name: 'v', type: tensor('f32', [12, 8]), role: 'weight' },
  { name: 'bias', type: tensor('f32', [12]), role: 'weight' },
  { name: 'heads', type: tensor('f32', [3, 4, 8]), role: 'weight' },
] as const satisfies readonly Parameter[];

const folds: readonly BinaryOp[] = ['add', 'maximum', 'minimum', 'multiply'];
/** Arrays beyond it are not made larger. */
const mostElements = 600;

/** `list` decides everything; `constrain` may say of a value how it lies. */
export function randomArrays(list: readonly number[], constrain: (b: Builder, value: Value) => Value): Program {
  let at = 0;
  const next = (count: number) => (list[at++] ?? 0) % count;
  const pick = <X>(all: readonly X[]): X => all[next(all.length)];
  const shapeOf = (value: Value) => staticShape(asTensor(value.type));
  const sizeOf = (value: Value) => shapeOf(value).reduce((a, b) => a * b, 1);

  const step = (b: Builder, scope: readonly Value[], ids: Value): Value => {
    const x = pick(scope);
    const shape = shapeOf(x);
    if (shape.length === 0) return b.unary('tanh', x);
    const d = next(shape.length);
    const like = () => pick(scope.filter((other) => shapeOf(other).join() === shape.join()));
    switch (next(16)) {
      case 0:
        return b.unary('tanh', x);
      case 1:
        return b.binary(pick(['add', 'subtract', 'multiply', 'maximum']), x, like());
      case 2:
      case 3: {
        const others = scope.flatMap((other) =>
          shapeOf(other).flatMap((size, e) => (size === shape[d] ? [{ other, e }] : [])),
        );
        const { other, e } = pick(others);
        const large = (sizeOf(x) / shape[d]) * (sizeOf(other) / shape[d]) > mostElements;
        return large || shape.length + shapeOf(other).length > 5 ? x : b.dot(x, other, { contract: [[d, e]] });
      }
      case 4: {
        const others = scope.filter((other) => shapeOf(other)[0] === shape[0] && shapeOf(other).length > 1);
        if (shape.length < 2 || others.length === 0) return x;
        const other = pick(others);
        const contracted = shapeOf(other).findIndex((size, e) => e > 0 && size === shape[1]);
        return contracted < 0 ? x : b.dot(x, other, { batch: [[0, 0]], contract: [[1, contracted]] });
      }
      case 5:
        return shape.length < 2 ? x : b.reduce(pick(folds), x, pick([0, 1]), [d]);
      case 6: {
        const y = like();
        return sizeOf(x) > mostElements / 2 ? x : b.concatenate([x, y], d);
      }
      case 7: {
        const start = next(shape[d]);
        return b.slice(x, d, start, start + 1 + next(shape[d] - start));
      }
      case 8:
        return shape.length < 2 ? x : b.transpose(x, [...shape.keys()].toReversed());
      case 9: {
        if (shape.length < 2) return b.reshape(x, shape[0] % 2 === 0 ? [2, shape[0] / 2] : [1, shape[0]]);
        return b.reshape(x, [shape[0] * shape[1], ...shape.slice(2)]);
      }
      case 10:
        return sizeOf(x) > mostElements / 4 || shape.length > 2
          ? x
          : b.broadcast(
              x,
              [4, ...shape],
              [...shape.keys()].map((i) => i + 1),
            );
      case 11: {
        const compared = b.compare('GE', b.iota('i32', shape, d), b.full('i32', shape, next(shape[d])));
        return b.select(compared, x, like());
      }
      case 12:
        return b.take(x, ids);
      case 13: {
        const others = scope.filter((other) => [5, ...shape.slice(1)].join() === shapeOf(other).join());
        return others.length === 0 ? x : b.accumulate(x, ids, pick(others));
      }
      case 14:
        return b.op('reverse', [x], { dimensions: [d] })[0];
      default:
        return constrain(b, x);
    }
  };

  return new ProgramBuilder().program(parameters, (b, { ids, ...arrays }) => {
    const scope: Value[] = Object.values(arrays);
    while (at < list.length) {
      const made = step(b, scope, ids);
      if (shapeOf(made).length <= 4) scope.push(made);
    }
    return Object.fromEntries(scope.slice(-4).map((value, i) => [`y${i}`, value]));
  });
}
