/**
 * Elementwise programs, reductions and data movement on arrays larger than the caches, as a program runs on the CPU device: bytes
 * that have to be read and written a second, beside what a copy, or for reductions a loop that only reads, gets in the
 * same run. `node dist/bench/programs.js [THREADS]`. Each figure is the best of several rounds.
 */
import { availableParallelism, loadavg } from 'node:os';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import { copyKernel, readKernel } from '../src/devices/cpu/limit-kernels.ts';
import { findSystem } from '../src/devices/cpu/os/open.ts';
import { createTeam, type Launch } from '../src/devices/cpu/team.ts';
import { type Builder, ProgramBuilder } from '../src/ir/build.ts';
import type { Parameter, Value } from '../src/ir/program.ts';
import { type TensorType, tensor } from '../src/ir/types.ts';
import { elementBytes } from '../src/numerics/element-types.ts';

const found = findSystem();
if (!found.usable) {
  console.error(found.reason);
  process.exit(1);
}
const { system } = found;
const threads = Number(process.argv[2] ?? Math.min(2, availableParallelism()));
const milliseconds = 400;

const [rows, columns] = [8192, 4096];
const matrix = tensor('f32', [rows, columns]);
const row = tensor('f32', [columns]);
const column = tensor('f32', [rows]);

interface Case {
  readonly name: string;
  readonly inputs: readonly TensorType[];
  readonly output: TensorType;
  readonly limit: 'copy' | 'read';
  build(b: Builder, ...inputs: Value[]): Value;
}

const cases: readonly Case[] = [
  { name: 'add', inputs: [matrix, matrix], output: matrix, limit: 'copy', build: (b, x, y) => b.add(x, y) },
  {
    name: 'a chain of five',
    inputs: [matrix, matrix],
    output: matrix,
    limit: 'copy',
    build: (b, x, y) => b.maximum(b.subtract(b.multiply(b.add(x, y), x), y), b.negate(x)),
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
    output: tensor('bf16', [rows, columns]),
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
];

const bytesOf = ({ element, shape }: TensorType) =>
  elementBytes(element) * shape.reduce<number>((product, dim) => product * (dim as number), 1);

/** Of a work that says how many seconds it took. */
async function best(work: () => Promise<number> | number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  const end = performance.now() + milliseconds;
  for (let round = 0; round < 3 || performance.now() < end; round++) least = Math.min(least, await work());
  return least;
}

/** Bytes moved a second: of a copy what is read and what is written. */
async function limits(): Promise<{ readonly copy: number; readonly read: number }> {
  const bytes = bytesOf(matrix);
  using team = createTeam(system, { threads });
  using from = system.mapMemory(bytes, { huge: true, prefault: true });
  using to = system.mapMemory(bytes, { huge: true, prefault: true });
  using block = system.mapMemory(64);
  const words = new BigUint64Array(block.bytes().buffer);
  const rate = async (text: Uint8Array, args: readonly number[], moved: number) => {
    using code = system.mapCode(text);
    words.set(args.map(BigInt));
    const launch: Launch = { kind: 'kernel', code, offset: 0, argument: { memory: block, offset: 0 }, barrier: true };
    using list = team.list([launch]);
    const run = () => {
      const start = performance.now();
      team.wait(team.submit(list), Number.POSITIVE_INFINITY);
      return (performance.now() - start) / 1000;
    };
    return moved / (await best(run));
  };
  return {
    copy: await rate(copyKernel(), [to.address, from.address, bytes], 2 * bytes),
    read: await rate(readKernel(), [from.address, bytes], bytes),
  };
}

async function measure({ inputs, output, build }: Case): Promise<number> {
  await using device = createCpuDevice(system, { threads, profile: true });
  const parameters = inputs.map((type, i): Parameter => ({ name: `p${i}`, type, role: 'state' }));
  const program = new ProgramBuilder().program(
    parameters,
    (b, values) => ({ out: build(b, ...inputs.map((_, i) => values[`p${i}`] as Value)) }),
    {},
  );
  using executable = await device.compile(program);
  const state = new Map(
    await Promise.all(parameters.map(async ({ name, type }) => [name, await device.allocate(type, 'state')] as const)),
  );
  for (const buffer of state.values()) device.write(buffer, new Float32Array(bytesOf(buffer.type) / 4).fill(0.7));
  using bound = await device.bind(executable, new Map(), state);
  const seconds = await best(async () => {
    await device.wait(device.submit(bound, new Map(), {}), Number.POSITIVE_INFINITY);
    // Not what it takes to hand the results to JavaScript.
    return device.profile().kernels.reduce((sum, kernel) => sum + kernel.seconds, 0);
  });
  for (const buffer of state.values()) buffer[Symbol.dispose]();
  return [...inputs, output].reduce((sum, type) => sum + bytesOf(type), 0) / seconds;
}

const limit = await limits();
const gigabytes = (rate: number) => (rate / 1e9).toFixed(1).padStart(6);
console.log(
  `${system.cpuFeatures().model.trim()}, ${threads} threads, load ${loadavg()[0]?.toFixed(1)}; GB/s, [${rows}, ${columns}] of f32`,
);
console.log(`copy ${gigabytes(limit.copy)}   read ${gigabytes(limit.read)}`);
for (const one of cases) {
  const rate = await measure(one);
  const share = `${((100 * rate) / limit[one.limit]).toFixed(0)}%`;
  console.log(`${one.name.padEnd(18)} ${gigabytes(rate)} ${share.padStart(6)} of ${one.limit}`);
}
