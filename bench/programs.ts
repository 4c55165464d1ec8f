/**
 * Elementwise programs, reductions and data movement on arrays larger than the caches, as a program runs on the CPU device: bytes
 * that have to be read and written a second, beside what a loop written by hand gets that reads one array, copies one, or adds two. All take
 * turns, and each figure is the best of the rounds: bandwidth changes from one moment to the next where others use the machine.
 * `node dist/bench/programs.js [THREADS [ROUNDS [NAME]]]`.
 */
import { availableParallelism, loadavg } from 'node:os';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import { addKernel, copyKernel, readKernel } from '../src/devices/cpu/limit-kernels.ts';
import type { Memory } from '../src/devices/cpu/os/os.ts';
import { createTeam, type Team } from '../src/devices/cpu/team.ts';
import type { Device, DeviceBuffer } from '../src/devices/device.ts';
import { type Builder, ProgramBuilder } from '../src/ir/build.ts';
import type { Parameter, Value } from '../src/ir/program.ts';
import { type TensorType, tensor } from '../src/ir/types.ts';
import { elementBytes } from '../src/numerics/element-types.ts';
import { system } from './system.ts';

const threads = Number(process.argv[2] ?? Math.min(2, availableParallelism()));
const rounds = Number(process.argv[3] ?? 12);
const chosen = process.argv[4] ?? '';

const [rows, columns] = [8192, 4096];
const matrix = tensor('f32', [rows, columns]);
const halves = tensor('bf16', [rows, columns]);
const bytes = tensor('i8', [rows, columns]);
const row = tensor('f32', [columns]);
const column = tensor('f32', [rows]);

/** By the streams of a program: what moves bytes alone, from and to arrays as large, and how many arrays it touches. */
const limits = {
  read: { kernel: readKernel, arrays: 1 },
  copy: { kernel: copyKernel, arrays: 2 },
  add: { kernel: addKernel, arrays: 3 },
} as const;
type Limit = keyof typeof limits;

interface Case {
  readonly name: string;
  readonly inputs: readonly TensorType[];
  readonly output: TensorType;
  readonly limit: Limit;
  build(b: Builder, ...inputs: Value[]): Value | Updates;
}

/** New values of the first inputs, which take their memory. */
interface Updates {
  readonly updates: readonly Value[];
}

const cases: readonly Case[] = [
  { name: 'add', inputs: [matrix, matrix], output: matrix, limit: 'add', build: (b, x, y) => b.add(x, y) },
  {
    name: 'a chain of five',
    inputs: [matrix, matrix],
    output: matrix,
    limit: 'add',
    build: (b, x, y) => b.maximum(b.subtract(b.multiply(b.add(x, y), x), y), b.negate(x)),
  },
  {
    name: 'five in place',
    inputs: [matrix, matrix],
    output: matrix,
    limit: 'add',
    build: (b, x, y) => ({ updates: [b.maximum(b.subtract(b.multiply(b.add(x, y), x), y), b.negate(x))] }),
  },
  {
    name: 'broadcast',
    inputs: [matrix, row],
    output: matrix,
    limit: 'copy',
    build: (b, x, y) => b.multiply(x, b.broadcast(y, [rows, columns], [1])),
  },
  {
    name: 'convert to bf16',
    inputs: [matrix],
    output: halves,
    limit: 'copy',
    build: (b, x) => b.convert(x, 'bf16'),
  },
  {
    name: 'transpose',
    inputs: [matrix],
    output: tensor('f32', [columns, rows]),
    limit: 'copy',
    build: (b, x) => b.transpose(x, [1, 0]),
  },
  {
    name: 'transpose of bf16',
    inputs: [halves],
    output: tensor('bf16', [columns, rows]),
    limit: 'copy',
    build: (b, x) => b.transpose(x, [1, 0]),
  },
  {
    name: 'transpose of i8',
    inputs: [bytes],
    output: tensor('i8', [columns, rows]),
    limit: 'copy',
    build: (b, x) => b.transpose(x, [1, 0]),
  },
  {
    name: 'sum of rows',
    inputs: [matrix],
    output: column,
    limit: 'read',
    build: (b, x) => b.reduce('add', x, 0, [1]),
  },
  {
    name: 'sum of columns',
    inputs: [matrix],
    output: row,
    limit: 'read',
    build: (b, x) => b.reduce('add', x, 0, [0]),
  },
  {
    name: 'softmax of rows',
    inputs: [matrix],
    output: matrix,
    limit: 'copy',
    build(b, x) {
      const over = (value: Value) => b.broadcast(value, [rows, columns], [0]);
      const e = b.exponential(b.subtract(x, over(b.reduce('maximum', x, Number.NEGATIVE_INFINITY, [1]))));
      return b.divide(e, over(b.reduce('add', e, 0, [1])));
    },
  },
  {
    name: "Adam's step",
    inputs: [matrix, matrix, matrix, matrix],
    output: tensor('f32', [3, rows, columns]),
    limit: 'add',
    build(b, p, m, v, g) {
      const times = (value: Value, by: number) => b.multiply(value, b.full('f32', [rows, columns], by));
      const first = b.add(times(m, 0.9), times(g, 0.1));
      const second = b.add(times(v, 0.999), times(b.multiply(g, g), 0.001));
      const step = b.divide(first, b.add(b.unary('sqrt', second), b.full('f32', [rows, columns], 1e-8)));
      return { updates: [b.subtract(p, times(step, 0.001)), first, second] };
    },
  },
];

const bytesOf = ({ element, shape }: TensorType) =>
  elementBytes(element) * shape.reduce<number>((product, dim) => product * (dim as number), 1);

/** Returns seconds. */
type Run = () => Promise<number>;

/** The kernels of `limits` by themselves. */
function limitRuns(team: Team, arrays: readonly Memory[], block: Memory): Record<Limit, Run> {
  const words = new BigUint64Array(block.bytes().buffer);
  const runOf = ({ kernel, arrays: count }: (typeof limits)[Limit]): Run => {
    const code = system.mapCode(kernel().assemble().bytes);
    const list = team.list([{ kind: 'kernel', code, offset: 0, argument: { memory: block, offset: 0 } }]);
    return async () => {
      words.set([...arrays.slice(0, count).map(({ address }) => BigInt(address)), BigInt(bytesOf(matrix))]);
      const start = performance.now();
      team.wait(team.submit(list), Number.POSITIVE_INFINITY);
      return (performance.now() - start) / 1000;
    };
  };
  return { read: runOf(limits.read), copy: runOf(limits.copy), add: runOf(limits.add) };
}

/** Programs of one device over the same inputs. */
async function programRun(
  device: Device,
  states: ReadonlyMap<TensorType, readonly DeviceBuffer[]>,
  { inputs, build }: Case,
) {
  const parameters = inputs.map((type, i): Parameter => ({ name: `p${i}`, type, role: 'state' }));
  const aliases: Record<string, string> = {};
  const results = (b: Builder, values: Readonly<Record<string, Value>>) => {
    const built = build(b, ...inputs.map((_, i) => values[`p${i}`] as Value));
    if (!('updates' in built)) return { out: built };
    const names = built.updates.map((_, i) => `p${i}`);
    for (const name of names) aliases[name] = name;
    return Object.fromEntries(names.map((name, i) => [name, built.updates[i] as Value]));
  };
  // Which results there are is known once it has been built.
  new ProgramBuilder().program(parameters, results);
  const program = new ProgramBuilder().program(parameters, results, aliases);
  const executable = await device.compile(program);
  const state = new Map(
    inputs.map((type, i) => {
      const before = inputs.slice(0, i).filter((other) => other === type).length;
      return [`p${i}`, states.get(type)?.[before] as DeviceBuffer];
    }),
  );
  const bound = await device.bind(executable, new Map(), state);
  return async () => {
    await device.wait(device.submit(bound, new Map(), {}), Number.POSITIVE_INFINITY);
    // Not what it takes to hand the results to JavaScript.
    return device.profile().kernels.reduce((sum, kernel) => sum + kernel.seconds, 0);
  };
}

const length = bytesOf(matrix);
using team = createTeam(system, { threads });
const arrays = Array.from({ length: 3 }, () => system.mapMemory(length, { huge: true, prefault: true }));
using block = system.mapMemory(64);
await using device = createCpuDevice(system, { threads, profile: 'sums' });
const states = new Map<TensorType, DeviceBuffer[]>();
for (const type of [matrix, matrix, matrix, matrix, row, halves, bytes]) {
  const buffer = await device.allocate(type, 'state');
  device.write(buffer, new Float32Array(bytesOf(type) / 4).fill(0.7));
  states.set(type, [...(states.get(type) ?? []), buffer]);
}

interface Turn {
  readonly name: string;
  readonly moved: number;
  readonly run: Run;
  readonly limit?: Limit;
  best: number;
}
const turns: Turn[] = Object.entries(limitRuns(team, arrays, block)).map(([name, run]) => {
  return { name, moved: limits[name as Limit].arrays * length, run, best: 0 };
});
for (const one of cases.filter(({ name }) => name.includes(chosen))) {
  const moved = [...one.inputs, one.output].reduce((sum, type) => sum + bytesOf(type), 0);
  turns.push({ name: one.name, moved, run: await programRun(device, states, one), limit: one.limit, best: 0 });
}
for (let round = 0; round < rounds; round++) {
  for (const turn of turns) turn.best = Math.max(turn.best, turn.moved / (await turn.run()));
}

console.log(
  `${system.cpuFeatures().model.trim()}, ${threads} threads, load ${loadavg()[0]?.toFixed(1)}; GB/s, [${rows}, ${columns}] of f32`,
);
for (const { name, best, limit } of turns) {
  const most = turns.find((turn) => turn.name === limit && turn.limit === undefined)?.best;
  const share = most === undefined ? '' : `${((100 * best) / most).toFixed(0)}% of ${limit}`;
  console.log(`${name.padEnd(18)} ${(best / 1e9).toFixed(1).padStart(6)}  ${share}`);
}
