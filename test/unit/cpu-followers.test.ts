/** Products with what follows them in their launch: the bits of the product, and then of the kernels. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import type { CanFollow } from '../../src/compiler/follow.ts';
import { type Memory, type Plan, planProgram } from '../../src/compiler/kernel/plan.ts';
import { simplify } from '../../src/compiler/simplify.ts';
import { joinedDot } from '../../src/composites/joined_dot.ts';
import { putKv } from '../../src/composites/kv_cache.ts';
import { emitKernel } from '../../src/devices/cpu/emit/emit.ts';
import { activationBytes, activationsKernel, activationsOf } from '../../src/devices/cpu/kernels/activations.ts';
import { groupsOf, namedBuffers } from '../../src/devices/cpu/kernels/followers.ts';
import { packedBytes, packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import { quantizedDotKernel } from '../../src/devices/cpu/kernels/quantized-dot.ts';
import { targets } from '../../src/devices/cpu/target.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { asTensor, type Dim, maxBytes, tensor } from '../../src/ir/types.ts';
import type { DotNumerics } from '../../src/numerics/dot.ts';
import { type KvFormat, kvRow } from '../../src/numerics/kv-format.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { generator, normals, randomWeight, teams, testSets } from './cpu-products-harness.ts';
import { withDrawnSchedule } from './drawn-schedule.ts';
import type { Machine } from './machine.ts';
import { callKernel, Guarded, packed } from './native-kernel.ts';

const T = { sym: 'T', max: 130 } as const;
const slotCount = 160;

/** What a program does with a product, beside which weights of so many rows lie. */
interface Case {
  readonly matrices: readonly number[];
  readonly bias: boolean;
  /** What pools hold. */
  readonly kv: KvFormat;
  /** Launches without followers, and how many groups of panels there are. */
  readonly launches: number;
  readonly groups: number;
  body(b: Builder, y: Value, v: Readonly<Record<string, Value>>): Readonly<Record<string, Value>>;
}

const halfPairs = 16;
const headDim = 2 * halfPairs;
const [queryHeads, keyHeads] = [6, 2];
const keyColumns = keyHeads * headDim;

function heads(b: Builder, y: Value, from: number, count: number): Value {
  return b.reshape(b.slice(y, 1, from, from + count * headDim), [T, count, headDim]);
}

/** Pairs of which the members lie half a head apart, or side by side. */
function turned(b: Builder, x: Value, { cos, sin }: Readonly<Record<string, Value>>, half: boolean): Value {
  const [, count] = asTensor(x.type).shape as readonly [Dim, number, number];
  const member = half ? [T, count, halfPairs] : [T, count, halfPairs, 1];
  const [axis, size] = half ? [2, halfPairs] : [3, 1];
  const paired = half ? x : b.reshape(x, [T, count, halfPairs, 2]);
  const [first, second] = [0, size].map((at) => b.slice(paired, axis, at, at + size)) as [Value, Value];
  const wide = (value: Value) => b.broadcast(value, member, [0, 2]);
  const pairs = [
    b.subtract(b.multiply(first, wide(cos)), b.multiply(second, wide(sin))),
    b.add(b.multiply(second, wide(cos)), b.multiply(first, wide(sin))),
  ];
  return b.reshape(b.concatenate(pairs, axis), [T, count, headDim]);
}

function normed(b: Builder, x: Value, { norm }: Readonly<Record<string, Value>>): Value {
  const { shape } = asTensor(x.type);
  const sum = b.reduce('add', b.multiply(x, x), 0, [2]);
  const scale = b.broadcast(b.unary('rsqrt', b.add(sum, b.full('f32', shape.slice(0, 2), 1e-5))), shape, [0, 1]);
  return b.multiply(b.multiply(x, scale), b.broadcast(norm, shape, [2]));
}

function attended(
  b: Builder,
  y: Value,
  v: Readonly<Record<string, Value>>,
  half: boolean,
  kv: KvFormat,
  change: (b: Builder, x: Value, v: Readonly<Record<string, Value>>) => Value = (_, x) => x,
) {
  const [q, k, value] = [
    heads(b, y, 0, queryHeads),
    heads(b, y, queryHeads * headDim, keyHeads),
    heads(b, y, (queryHeads + keyHeads) * headDim, keyHeads),
  ];
  return {
    keys: putKv(b, v.keys, v.slots, turned(b, change(b, k, v), v, half), kv),
    values: putKv(b, v.values, v.slots, value, kv),
    q: turned(b, change(b, q, v), v, half),
  };
}

const unwritten = ({ keys, values }: Readonly<Record<string, Value>>) => ({ keys, values });

const cases: Readonly<Record<string, Case>> = {
  gate: {
    ...{ matrices: [160, 160], bias: false, kv: 'f32', launches: 1, groups: 5 },
    body(b, y, v) {
      const [gate, up] = [b.slice(y, 1, 0, 160), b.slice(y, 1, 160, 320)];
      return { ...unwritten(v), out: b.multiply(b.multiply(gate, b.unary('logistic', gate)), up) };
    },
  },
  'one matrix with a bias': {
    ...{ matrices: [96], bias: true, kv: 'f32', launches: 1, groups: 3 },
    body: (b, y, v) => ({ ...unwritten(v), out: b.unary('tanh', b.convert(b.convert(y, 'bf16'), 'f32')) }),
  },
  'queries, keys and values': {
    matrices: [queryHeads * headDim, keyColumns, keyColumns],
    ...{ bias: true, kv: 'bf16', launches: 3, groups: queryHeads + keyHeads },
    body: (b, y, v) => attended(b, y, v, false, 'bf16'),
  },
  'queries, keys and values with norms': {
    matrices: [queryHeads * headDim, keyColumns, keyColumns],
    ...{ bias: false, kv: 'f32', launches: 5, groups: queryHeads + keyHeads },
    body: (b, y, v) => attended(b, y, v, true, 'f32', normed),
  },
  'keys and values in int8': {
    matrices: [queryHeads * headDim, keyColumns, keyColumns],
    ...{ bias: false, kv: 'int8', launches: 13, groups: queryHeads + keyHeads },
    body: (b, y, v) => attended(b, y, v, true, 'int8'),
  },
  'keys and values in int4': {
    matrices: [queryHeads * headDim, keyColumns, keyColumns],
    ...{ bias: true, kv: 'int4', launches: 15, groups: queryHeads + keyHeads },
    body: (b, y, v) => attended(b, y, v, false, 'int4'),
  },
};

function programOf({ matrices, bias, kv, body }: Case, format: string, numerics: DotNumerics, K: number) {
  const input = (name: string, type: Parameter['type']) => ({ name, type, role: 'input' }) satisfies Parameter;
  const pool = (name: string) =>
    ({ name, type: tensor(row.element, [slotCount, keyHeads, row.length]), role: 'state' }) satisfies Parameter;
  const row = kvRow(kv, headDim);
  const parameters: readonly Parameter[] = [
    input('x', tensor('f32', [T, K])),
    input('slots', tensor('i32', [T])),
    ...['cos', 'sin'].map((name) => input(name, tensor('f32', [T, halfPairs]))),
    { name: 'norm', type: tensor('f32', [headDim]), role: 'weight' },
    pool('keys'),
    pool('values'),
    ...matrices.map(
      (rows, i) => ({ name: `w${i}`, type: tensor('f32', [rows, K]), role: 'weight', format }) satisfies Parameter,
    ),
    ...matrices.map((rows, i) => ({ name: `b${i}`, type: tensor('f32', [rows]), role: 'weight' }) satisfies Parameter),
  ];
  const program = new ProgramBuilder().program(
    parameters,
    (b, v) => {
      const all = (letter: string) => matrices.map((_, i) => v[`${letter}${i}`] as Value);
      const operands = { x: v.x as Value, weights: all('w'), biases: bias ? all('b') : [] };
      return body(b, joinedDot(b, operands, { format, numerics }), v);
    },
    { keys: 'keys', values: 'values' },
  );
  return { program: simplify(program), parameters };
}

const isProduct = (name: string) => name === 'ingot.joined_dot';

/** Runs a plan on given bytes of parameters: the bytes of its results. */
function run(
  plan: Plan,
  { program, parameters }: ReturnType<typeof programOf>,
  c: Case,
  setting: { readonly format: string; readonly numerics: DotNumerics; readonly K: number },
  data: ReadonlyMap<string, Uint8Array>,
  tokens: number,
  threads: number,
  machine: Machine,
): ReadonlyMap<string, Uint8Array> {
  const { target } = machine;
  const { format, numerics, K } = setting;
  const team = teams[threads] ?? assert.fail();
  using frame = machine.map(Math.max(64, plan.main.frameBytes));
  frame.bytes.fill(0xcb);
  const guarded = parameters.map(({ name }) => Guarded.of(data.get(name) ?? assert.fail(), machine));
  const N = c.matrices.reduce((sum, rows) => sum + rows);
  const activations = activationsOf(packedFormat(format), numerics, target);
  using made = new Guarded(activations.kind === 'plain' ? 0 : activationBytes(activations, T.max, K), machine);
  const placeOf = (memory: Memory | undefined) => {
    if (memory?.kind === 'frame')
      return { address: frame.address + memory.offset, bytes: frame.bytes.subarray(memory.offset) };
    if (memory?.kind === 'parameter') return guarded[memory.index] ?? assert.fail();
    return assert.fail(`memory of kind ${memory?.kind}`);
  };
  plan.main.parameters.forEach((memory, i) => {
    if (memory?.kind === 'frame') placeOf(memory).bytes.set(guarded[i]?.bytes ?? assert.fail());
  });
  const places = [frame, made.place, ...guarded.map(({ place }) => place)];
  for (const step of plan.main.steps) {
    switch (step.kind) {
      case 'launch': {
        const words = [...step.memory.map((memory) => placeOf(memory).address), ...step.kernel.dims.map(() => tokens)];
        callKernel(emitKernel(step.kernel, target), words, team, machine, places);
        break;
      }
      case 'composite': {
        const { memory, followers, op } = step;
        const [x, ...others] = op.operands.map((value) => placeOf(memory.get(value)).address);
        if (activations.kind !== 'plain') {
          callKernel(activationsKernel(activations, T, K), [x ?? 0, made.address, tokens], team, machine, places);
        }
        const shape = { format, numerics, tokens: T, N, K, bias: c.bias, matrices: c.matrices };
        const kernel = quantizedDotKernel({ ...shape, ...(followers.length > 0 && { followers }) }, target);
        const results =
          followers.length > 0
            ? namedBuffers(followers).map(({ follower, i }) => followers[follower]?.memory[i])
            : [memory.get(op.results[0])];
        const from = activations.kind === 'plain' ? (x ?? 0) : made.address;
        const words = [from, ...others, ...results.map((place) => placeOf(place).address), tokens];
        callKernel(kernel, words, team, machine, places);
        break;
      }
      default:
        assert.fail(`a step of kind ${step.kind}`);
    }
  }
  for (const buffer of guarded) buffer.checkCanaries();
  const results = new Map(
    program.results.map(({ name, type }, i) => {
      const { element, shape } = asTensor(type);
      const rows = shape[0] === T ? tokens : (shape[0] as number);
      const bytes = maxBytes({ ...asTensor(type), element, shape: [rows, ...shape.slice(1)] });
      return [name, placeOf(plan.main.results[i]).bytes.slice(0, bytes)];
    }),
  );
  for (const buffer of guarded) buffer[Symbol.dispose]();
  return results;
}

const canFollow: CanFollow = (op, followers) => {
  const [, N] = asTensor(op.results[0].type).shape;
  return groupsOf(N as number, T.sym, followers) !== undefined;
};

for (const [index, [format, numerics]] of (
  [
    ['q4_0', 'i8'],
    ['q8_0', 'i8'],
    ['q4_K', 'i8'],
    ['q6_K', 'i8'],
    ['q4_0', 'bf16'],
    ['bf16', 'bf16'],
    ['q8_0', 'f32'],
    ['f16', 'f32'],
    ['f32', 'f32'],
  ] as const
).entries()) {
  testSets(
    `${format} in ${numerics} numerics and what follows, piece by piece, have the bits of all in turn`,
    (machine) => {
      const next = generator(70 + index);
      const K = 2 * Math.max(32, blockFormat(format).blockSize);
      let round = 0;
      for (const [name, c] of Object.entries(cases)) {
        const made = programOf(c, format, numerics, K);
        const apart = planProgram(made.program, isProduct);
        const together = planProgram(made.program, isProduct, canFollow);
        assert.equal(apart.main.steps.length, 1 + c.launches, name);
        assert.deepEqual(
          together.main.steps.map((step) => step.kind),
          ['composite'],
        );
        const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        for (const tokens of machine.emulated ? [1, 5] : [1, 2, 3, 7, 16, 33, 40, 130]) {
          const slots = Int32Array.from({ length: tokens }, (_, i) => (i % 5 === 4 ? -1 : (i * 7) % slotCount));
          const data = new Map<string, Uint8Array>();
          for (const { name, type, role } of made.parameters) {
            const [rows, ...others] = asTensor(type).shape;
            const count =
              (typeof rows === 'number' ? rows : tokens) * others.reduce<number>((n, d) => n * (d as number), 1);
            if (name === 'slots') data.set(name, bytesOf(slots));
            else if (role === 'state') data.set(name, new Uint8Array(maxBytes(type)).fill(0xa7));
            else if (/^w/.test(name)) {
              const weight = randomWeight(format, count, next);
              const of = [rows as number, K] as const;
              const panels = packed(packedFormat(format), weight, of, machine);
              assert.equal(panels.length, packedBytes(packedFormat(format), of));
              data.set(name, panels);
            } else data.set(name, bytesOf(normals(count, next)));
          }
          const threads = 1 + (round % 3);
          const on = round % 4 === 3 ? withDrawnSchedule(machine, next) : machine;
          const setting = { format, numerics, K };
          const [expected, actual] = [apart, together].map((plan) =>
            run(plan, made, c, setting, data, tokens, threads, on),
          ) as [ReadonlyMap<string, Uint8Array>, ReadonlyMap<string, Uint8Array>];
          for (const [result, bytes] of expected) {
            const same = Buffer.compare(actual.get(result) ?? assert.fail(), bytes) === 0;
            assert.ok(same, `${name}: ${result} of ${tokens} tokens, ${threads} threads`);
          }
          round++;
        }
      }
    },
  );
}

test('products: what follows comes in groups of panels that have all columns', () => {
  const made = Object.entries(cases).map(([name, c]) => {
    const { program } = programOf(c, 'q8_0', 'i8', 64);
    const N = c.matrices.reduce((sum, rows) => sum + rows);
    const [step] = planProgram(program, isProduct, canFollow).main.steps;
    const followers = step?.kind === 'composite' ? step.followers : assert.fail(JSON.stringify(step));
    const groups = groupsOf(N, 'T', followers) ?? assert.fail();
    assert.equal(
      groups.reduce((sum, { count }) => sum + count, 0),
      c.groups,
      name,
    );
    return { N, followers };
  });
  for (const { N, followers } of made) {
    assert.equal(groupsOf(N + 32, 'T', followers), undefined);
    assert.equal(groupsOf(N, 'R', followers), undefined);
    assert.throws(
      () =>
        quantizedDotKernel(
          { format: 'q8_0', numerics: 'i8', tokens: T, N: N + 32, K: 64, bias: false, followers },
          targets.avx2,
        ),
      (error) => isIngotError(error, 'InvalidArgument'),
    );
  }
});
