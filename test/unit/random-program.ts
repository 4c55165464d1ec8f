/**
 * Random valid programs for property tests: elementwise ops, shapes, products, reductions, branches, loops, calls,
 * composites, and one state `s` that is read and updated in a legal order. A list of numbers decides everything, so that
 * fast-check can shrink it.
 */
import * as fc from 'fast-check';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import type { BinaryOp, UnaryOp } from '../../src/ir/attributes.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Func, Parameter, Program, Value } from '../../src/ir/program.ts';
import { asTensor, type Dim, sameShape, sameType, tensor } from '../../src/ir/types.ts';

const T = { sym: 'T', max: 4 } as const;
export const vector = tensor('f32', [3]);
export const parameters = [
  { name: 'x', type: vector, role: 'input' },
  { name: 'rows', type: tensor('f32', [T, 3]), role: 'input' },
  { name: 'ids', type: tensor('i32', [3]), role: 'input' },
  { name: 'n', type: tensor('i32'), role: 'input' },
  { name: 'w', type: tensor('f32', [3, 3]), role: 'weight' },
  { name: 'scale', type: vector, role: 'weight' },
  { name: 's', type: vector, role: 'state' },
] as const satisfies readonly Parameter[];

export const decisions = fc.array(fc.nat(0xffff), { minLength: 4, maxLength: 80 });

const unary: readonly UnaryOp[] = ['negate', 'abs', 'floor', 'sign'];
const binary: readonly BinaryOp[] = ['add', 'subtract', 'multiply', 'maximum', 'minimum'];

class Writer {
  readonly #decisions: readonly number[];
  readonly #module: ProgramBuilder;
  #at = 0;
  #functions = 0;

  constructor(list: readonly number[], module: ProgramBuilder) {
    this.#decisions = list;
    this.#module = module;
  }

  /** 0 <= n < `count`; all 0 when the decisions are used up. */
  next(count: number): number {
    const decision = this.#decisions.at(this.#at) ?? 0;
    this.#at++;
    return decision % count;
  }

  get left(): boolean {
    return this.#at < this.#decisions.length;
  }

  pick<X>(list: readonly X[]): X {
    return list[this.next(list.length)];
  }

  like(scope: readonly Value[], value: Value): Value {
    return this.pick(scope.filter((other) => sameType(other.type, value.type)));
  }

  /** Ops in `scope`, which grows; returns the latest version of the state. */
  body(b: Builder, scope: Value[], state: Value, depth: number, ops: number): Value {
    let latest = state;
    for (let i = 0; i < ops && this.left; i++) {
      const kind = this.next(26);
      if (kind < 18) scope.push(this.pure(b, scope, kind, latest));
      else latest = this.control(b, scope, kind, latest, depth);
    }
    return latest;
  }

  pure(b: Builder, scope: readonly Value[], kind: number, state: Value): Value {
    const value = this.pick(scope);
    const { element, shape } = asTensor(value.type);
    const floats = scope.filter((v) => asTensor(v.type).element === 'f32');
    const vectors = scope.filter((v) => sameType(v.type, vector));
    switch (kind) {
      case 0:
        return b.unary(element === 'f32' ? this.pick(unary) : 'negate', value);
      case 1:
      case 2:
        return b.binary(this.pick(binary), value, this.like(scope, value));
      case 3:
        return b.select(
          b.compare(this.pick(['LT', 'EQ', 'GE']), value, this.like(scope, value)),
          value,
          this.like(scope, value),
        );
      case 4:
        return b.convert(value, this.pick(['f32', 'i32', 'f16', 'f32']));
      case 5:
        return shape.length === 2 && typeof shape[0] === 'number'
          ? b.transpose(value, [1, 0])
          : b.transpose(
              value,
              shape.map((_, d) => d),
            );
      case 6:
        return b.op('reverse', [value], { dimensions: shape.length === 2 ? [1] : [] })[0];
      case 7:
        return b.reshape(
          b.reshape(
            this.pick(vectors),
            this.pick([
              [1, 3],
              [3, 1],
            ]),
          ),
          [3],
        );
      case 8:
        return b.broadcast(
          this.pick(vectors),
          this.pick([
            [T, 3],
            [3, 3],
            [2, 3],
          ] as readonly Dim[][]),
          [1],
        );
      case 9: {
        const rows = this.pick(floats.filter((v) => asTensor(v.type).shape.length === 2));
        const last = asTensor(rows.type).shape[1];
        const matrices = floats.filter((v) => sameShape(asTensor(v.type).shape, [3, 3]));
        return last === 3 ? b.dot(rows, this.pick(matrices), { contract: [[1, this.next(2)]] }) : rows;
      }
      case 10: {
        const matrix = this.pick(floats.filter((v) => sameShape(asTensor(v.type).shape, [3, 3])));
        return b.reduce(this.pick(['add', 'maximum']), matrix, 0, [this.next(2)]);
      }
      case 11: {
        const part = (v: Value) =>
          b.op('slice', [v], { start_indices: [this.next(2)], limit_indices: [2], strides: [1] })[0];
        const joined = b.op('concatenate', [part(this.pick(vectors)), this.pick(vectors)], { dimension: 0 })[0];
        return b.op('slice', [joined], { start_indices: [0], limit_indices: [3], strides: [1] })[0];
      }
      case 12:
        return b.take(this.pick(vectors), this.pick(scope.filter((v) => sameType(v.type, tensor('i32', [3])))));
      case 13:
        return rmsNorm(
          b,
          this.pick(floats.filter((v) => asTensor(v.type).shape.at(-1) === 3)),
          this.pick(vectors),
          0.5,
        );
      case 14:
        return b.add(state, this.pick(vectors));
      case 15:
        return b.full(element, shape, this.pick([0, 1, -2, 3]));
      case 16:
        return this.pick([
          () => b.multiply(value, b.full(element, shape, 1)),
          () => b.negate(b.negate(value)),
          () => b.convert(b.convert(value, 'f32'), element),
        ])();
      default:
        return b.multiply(state, this.pick(vectors));
    }
  }

  control(b: Builder, scope: Value[], kind: number, state: Value, depth: number): Value {
    const vectors = scope.filter((v) => sameType(v.type, vector));
    const counter = this.pick(scope.filter((v) => sameType(v.type, tensor('i32'))));
    const form = kind % 4;
    if (depth === 0 || form === 0) return this.update(b, vectors, state);
    const writes = this.next(2) === 1;
    if (form === 1) {
      const predicate = b.compare('GT', counter, b.scalar('i32', this.next(3)));
      const [x, y] = [this.next(3), this.next(3)];
      const branch = (pickAt: number) => (c: Builder) => {
        const inner = [...scope];
        const last = this.body(c, inner, state, depth - 1, 3);
        const mine = inner.filter((v) => sameType(v.type, vector));
        return [mine[mine.length - 1 - (pickAt % mine.length)], writes ? last : state];
      };
      // A branch that must not write only reads.
      const results = writes
        ? b.if(predicate, branch(x), branch(y))
        : b.if(predicate, this.reading(scope, state), this.reading(scope, state));
      scope.push(results[0]);
      return writes ? results[1] : state;
    }
    if (form === 2) {
      const limit = this.next(3);
      const init = this.pick(vectors);
      const carried = writes ? [b.scalar('i32', 0), init, state] : [b.scalar('i32', 0), init];
      const results = b.while(
        carried,
        (c, i) => c.compare('LT', i, c.scalar('i32', limit)),
        (c, i, v, s) => {
          const inner = [...scope, i, v];
          const next = c.add(i, c.scalar('i32', 1));
          if (s === undefined) return [next, ...this.reading(inner, state)(c)];
          const last = this.body(c, inner, s, depth - 1, 3);
          return [next, this.pick(inner.filter((w) => sameType(w.type, vector))), last];
        },
      );
      scope.push(results[1]);
      return writes ? results[2] : state;
    }
    const func = this.func(writes, depth);
    const results = b.call(func, [this.pick(vectors), counter, this.ids(scope), this.matrix(scope), state]);
    scope.push(results[0]);
    return writes ? results[1] : state;
  }

  ids(scope: readonly Value[]): Value {
    return this.pick(scope.filter((v) => sameType(v.type, tensor('i32', [3]))));
  }
  matrix(scope: readonly Value[]): Value {
    return this.pick(scope.filter((v) => sameType(v.type, tensor('f32', [3, 3]))));
  }

  reading(scope: readonly Value[], state: Value): (b: Builder) => readonly Value[] {
    return (b) => {
      const inner = [...scope];
      for (let i = this.next(4); i > 0; i--) inner.push(this.pure(b, inner, this.next(18), state));
      return [this.pick(inner.filter((v) => sameType(v.type, vector)))];
    };
  }

  func(writes: boolean, depth: number): Func {
    const types = [vector, tensor('i32'), tensor('i32', [3]), tensor('f32', [3, 3]), vector];
    return this.#module.define(`f${this.#functions++}`, types, (b, x, n, ids, m, s) => {
      const rows = b.broadcast(x, [T, 3], [1]);
      const scope = [x, n, ids, m, rows];
      if (!writes) return this.reading(scope, s)(b);
      const last = this.body(b, scope, s, depth - 1, 4);
      return [this.pick(scope.filter((v) => sameType(v.type, vector))), last];
    });
  }

  update(b: Builder, vectors: readonly Value[], state: Value): Value {
    const value = this.pick(vectors);
    switch (this.next(4)) {
      case 0:
        return b.op(
          'dynamic_update_slice',
          [
            state,
            b.op('slice', [value], { start_indices: [1], limit_indices: [3], strides: [1] })[0],
            b.scalar('i32', this.next(3)),
          ],
          {},
        )[0];
      case 1:
        return b.put(
          state,
          b.constant(tensor('i32', [2]), [this.next(3), 5]),
          b.op('slice', [value], { start_indices: [0], limit_indices: [2], strides: [1] })[0],
        );
      case 2:
        return b.subtract(b.multiply(state, value), state);
      default:
        return b.maximum(value, b.full('f32', [3], 0));
    }
  }
}

/** Results: `s` (the state) and up to three others, `y0` ... */
export function randomProgram(list: readonly number[]): Program {
  const module = new ProgramBuilder();
  const writer = new Writer(list, module);
  return module.program(
    parameters,
    (b, { x, rows, ids, n, w, scale, s }) => {
      const scope = [x, rows, ids, n, w, scale];
      const last = writer.body(b, scope, s, 2, 40);
      const results: Record<string, Value> = { s: last };
      scope.slice(-3).forEach((value, i) => {
        results[`y${i}`] = value;
      });
      return results;
    },
    { s: 's' },
  );
}
