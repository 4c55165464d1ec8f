/** Every operation of every type, and random expressions of them, as machine code and as the evaluator runs them. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type {
  Binary,
  Buffer,
  Expression,
  Kernel,
  ReduceOp,
  ScalarElement,
  Statement,
  Unary,
} from '../../src/compiler/kernel/language.ts';
import { type ElementType, elementBytes, elementClass, elementTypes } from '../../src/numerics/element-types.ts';
import { encodeElements, hostArray } from '../../src/numerics/host-array.ts';
import { roundTo, wrapTo } from '../../src/numerics/rounding.ts';
import { checkedOn } from './cpu-emit-checked.ts';
import {
  axis,
  binary,
  buffer,
  constant,
  convert,
  define,
  get,
  index,
  kernel,
  load,
  local,
  loop,
  of,
  plus,
  store,
  testEmitted,
  times,
  unary,
} from './cpu-emit-harness.ts';
import type { Machine } from './machine.ts';

const types = (Object.keys(elementTypes) as ElementType[]).filter(
  (type): type is ScalarElement => elementTypes[type].class !== 'complex',
);
const isFloat = (type: ScalarElement) => elementClass(type) === 'float';

const floats = [
  0,
  -0,
  1,
  -1,
  0.5,
  -2.25,
  3.5,
  1e-40,
  65520,
  -1e30,
  127.5,
  -128.5,
  255.5,
  2 ** 31,
  -(2 ** 31),
  2 ** 63,
  2 ** 64,
];
const special = [
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
  1 + 2 ** -11,
  1 + 3 * 2 ** -12,
  448,
  464,
  57344,
  61440,
];
const integers = [0n, 1n, -1n, 2n, 7n, -8n, 127n, -128n, 255n, 31n, 32n, 33n, 63n, 64n, 2n ** 31n - 1n, -(2n ** 31n)];
const wide = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, 2n ** 24n + 1n, -(2n ** 62n) - 513n, 2n ** 40n];

/** Elements of a type: its edges in an order that `salt` chooses. */
function elements(type: ScalarElement, count: number, salt: number): Uint8Array {
  const array = hostArray(type, count);
  for (let i = 0; i < count; i++) {
    const at = (i * 7 + salt * (i + 3)) % 1009;
    if (elementClass(type) === 'float') {
      const list = [...floats, ...special];
      array[i] = roundTo(type as 'f32', list[at % list.length] as number);
    } else {
      const list = [...integers, ...wide];
      array[i] = wrapTo(type as 'i32', list[at % list.length] as bigint);
    }
  }
  return encodeElements(type, array);
}

function check(machine: Machine, k: Kernel, salt = 1): void {
  const memory = k.buffers.map(({ element, elements: count, access }, i) => {
    const bytes = access === 'read' || access === 'update' ? elements(element, count, salt + i) : undefined;
    const room = new Uint8Array(Math.ceil((count * elementBytes(element)) / 8) * 8 + 8).fill(0x5a);
    if (bytes !== undefined) room.set(bytes);
    return { bytes: room, offset: 0 };
  });
  checkedOn(machine, 2)(k)(memory, {});
}

const COUNT = 61;

/** `value` of the elements of two inputs, over a vector loop. */
function elementwise(
  ins: readonly ScalarElement[],
  out: ScalarElement,
  value: (...x: Expression[]) => Expression,
): Kernel {
  const inputs = ins.map((type, i) => buffer(`in${i}`, type, COUNT));
  const output = buffer('out', out, COUNT, 'write');
  const i = axis('i', 'vector', COUNT);
  return kernel([...inputs, output], [loop(i, store(output, of(i), value(...inputs.map((one) => load(one, of(i))))))]);
}

const floatUnary: Unary[] = [
  'abs',
  'ceil',
  'floor',
  'negate',
  'round_nearest_afz',
  'round_nearest_even',
  'sign',
  'truncate',
];
const floatBinary: Binary[] = ['add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum', 'remainder'];
const integerUnary: Unary[] = ['abs', 'negate', 'not', 'sign', 'popcnt', 'count_leading_zeros'];
const integerBinary: Binary[] = [
  ...(['add', 'subtract', 'multiply', 'divide', 'remainder', 'maximum', 'minimum', 'and', 'or', 'xor'] as const),
  ...(['shift_left', 'shift_right_arithmetic', 'shift_right_logical', 'power'] as const),
];
const booleanBinary: Binary[] = ['add', 'multiply', 'maximum', 'minimum', 'and', 'or', 'xor'];

const unaryOf = (type: ScalarElement): readonly Unary[] =>
  type === 'i1' ? ['not'] : isFloat(type) ? floatUnary : integerUnary;
const binaryOf = (type: ScalarElement): readonly Binary[] =>
  type === 'i1' ? booleanBinary : isFloat(type) ? floatBinary : integerBinary;

for (const type of types) {
  testEmitted(`${type}: unary and binary operations, comparisons, selects`, (machine) => {
    for (const op of unaryOf(type))
      check(
        machine,
        elementwise([type], type, (x) => unary(op, x as Expression)),
      );
    for (const op of binaryOf(type)) {
      // The evaluator's power of large exponents is exact only in 64 bits.
      check(
        machine,
        elementwise([type, type], type, (a, b) => binary(op, a as Expression, b as Expression)),
      );
    }
    for (const op of ['EQ', 'NE', 'LT', 'LE', 'GT', 'GE'] as const) {
      const less = (a: Expression, b: Expression): Expression => ({ kind: 'compare', type: 'i1', op, a, b });
      check(
        machine,
        elementwise([type, type], 'i1', (a, b) => less(a as Expression, b as Expression)),
      );
      check(
        machine,
        elementwise([type, type], type, (a, b) => ({
          kind: 'select',
          type,
          condition: less(a as Expression, b as Expression),
          a: a as Expression,
          b: b as Expression,
        })),
      );
    }
    if (isFloat(type))
      check(
        machine,
        elementwise([type], 'i1', (x) => ({ kind: 'is_finite', type: 'i1', x: x as Expression })),
      );
  });

  testEmitted(`${type}: conversions to every type, bit casts`, (machine) => {
    for (const to of types) {
      check(
        machine,
        elementwise([type], to, (x) => convert(to, x as Expression)),
      );
      if (elementTypes[type].bits === elementTypes[to].bits && type !== to) {
        check(
          machine,
          elementwise([type], to, (x) => ({ kind: 'bitcast', type: to, x: x as Expression })),
        );
      }
    }
  });

  testEmitted(`${type}: strides, broadcasts, masks, folds`, (machine) => {
    const i = axis('i', 'vector', 21);
    const r = axis('r', 'parallel', 3);
    const [a, o] = [buffer('a', type, 200), buffer('o', type, 200, 'update')];
    for (const [from, to] of [
      [1, 1],
      [3, 1],
      [1, 3],
      [0, 2],
      [-1, 1],
      [2, -2],
    ] as const) {
      const at = (stride: number) =>
        plus(times(of(r), index(66)), plus(times(of(i), index(stride)), index(stride < 0 ? 60 : 0)));
      const value = load(a, at(from));
      const zero = constant(type, elementTypes[type].bits === 64 && !isFloat(type) ? 0n : 0);
      const where: Expression = { kind: 'compare', type: 'i1', op: 'NE', a: value, b: zero };
      check(machine, kernel([a, o], [loop(r, loop(i, store(o, at(to), value)))]));
      check(machine, kernel([a, o], [loop(r, loop(i, store(o, at(to), value, where)))]));
    }
    const ops: ReduceOp[] = isFloat(type)
      ? ['add', 'multiply', 'maximum', 'minimum']
      : ['add', 'multiply', 'maximum', 'minimum', 'and', 'or', 'xor'];
    for (const op of ops) {
      for (const n of [0, 1, 7, 16, 40]) {
        const [j, l] = [axis('j', 'serial', n), axis('l', 'serial', 3)];
        const result = local('result', type);
        const init = load(a, index(199));
        const fold = (axes: (typeof j)[], value: Expression): Statement => ({
          ...{ kind: 'reduce', op, axes, body: [], value, init, into: result },
        });
        const row = (step: number) => load(a, plus(times(of(r), index(n)), times(of(j), index(step))));
        const out = buffer('out', type, 3, 'write');
        check(machine, kernel([a, out], [loop(r, fold([j], row(1)), store(out, of(r), get(result)))]));
        const both = load(a, plus(of(r), plus(times(of(j), index(3)), of(l))));
        check(machine, kernel([a, out], [loop(r, fold([j, l], both), store(out, of(r), get(result)))]));
        const columns = axis('c', 'vector', 21);
        const wideOut = buffer('out', type, 21, 'write');
        const down = load(a, plus(times(of(j), index(4)), of(columns)));
        check(
          machine,
          kernel([a, wideOut], [loop(columns, fold([j], down), store(wideOut, of(columns), get(result)))]),
        );
      }
    }
  });
}

testEmitted('more values than registers', (machine) => {
  for (const type of ['f32', 'f64', 'i32', 'i64'] as const) {
    const a = buffer('a', type, 100);
    const out = buffer('out', type, 61, 'write');
    const i = axis('i', 'vector', 61);
    const locals = Array.from({ length: 30 }, (_, at) => local(`v${at}`, type));
    const body: Statement[] = locals.map((one, at) => define(one, load(a, plus(of(i), index(at)))));
    const total = locals.map(get).reduce((x, y) => binary('subtract', y, x));
    const again = locals.map(get).reduce((x, y) => binary('add', x, y));
    check(machine, kernel([a, out], [loop(i, ...body, store(out, of(i), binary('maximum', total, again)))]));
  }
});

/** A random tree over the elements of three inputs of different types, from a list of choices. */
function tree(choices: number[], leaves: readonly Expression[], type: ScalarElement, depth: number): Expression {
  const next = () => choices.pop() ?? 0;
  const kind = depth === 0 ? 0 : next() % 5;
  const sub = (of: ScalarElement) => tree(choices, leaves, of, depth - 1);
  switch (kind) {
    case 1: {
      const ops = unaryOf(type);
      return unary(ops[next() % ops.length] as Unary, sub(type));
    }
    case 2:
    case 3: {
      const ops = binaryOf(type).filter((op) => op !== 'power');
      return binary(ops[next() % ops.length] as Binary, sub(type), sub(type));
    }
    case 4: {
      const other = types[next() % types.length] as ScalarElement;
      const condition: Expression = { kind: 'compare', type: 'i1', op: 'LT', a: sub(other), b: sub(other) };
      return { kind: 'select', type, condition, a: sub(type), b: sub(type) };
    }
    default: {
      const leaf = leaves[next() % leaves.length] as Expression;
      return leaf.type === type ? leaf : convert(type, leaf);
    }
  }
}

testEmitted('random expressions over random extents', (machine) => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(1000), { minLength: 30, maxLength: 60 }),
      fc.nat(67),
      fc.nat(types.length - 1),
      fc.nat(1000),
      (choices, n, which, salt) => {
        const type = types[which] as ScalarElement;
        const ins: Buffer[] = [0, 5, 11].map((shift, i) =>
          buffer(`in${i}`, types[(which + shift) % types.length] as ScalarElement, n),
        );
        const out = buffer('out', type, n, 'write');
        const i = axis('i', 'vector', n);
        const leaves = ins.map((one) => load(one, of(i)));
        check(machine, kernel([...ins, out], [loop(i, store(out, of(i), tree([...choices], leaves, type, 4)))]), salt);
      },
    ),
    { numRuns: 300, seed: 11 },
  );
  assert.ok(true);
});
