/**
 * What an all-reduce costs ranks with a thread each: `node dist/bench/collectives.js [RANKS ...]`, two ranks if absent. Ranks of this
 * process, ranks of Open MPI, and the library's own MPI_Allreduce called from C (compiled here, by mpicc), for several sizes. A step does
 * many, in a loop of the program; what the loop costs without them is taken off. Microseconds, the best and the median of several steps.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import { findSystem } from '../src/devices/cpu/os/open.ts';
import type { Communicator } from '../src/devices/device.ts';
import { ProgramBuilder } from '../src/ir/build.ts';
import type { Program } from '../src/ir/program.ts';
import { tensor } from '../src/ir/types.ts';
import { createLocalGroup } from '../src/parallel/local-group.ts';
import { joinMpi } from '../src/parallel/mpi.ts';

const found = findSystem();
if (!found.usable) {
  console.error(found.reason);
  process.exit(1);
}
const { system } = found;
const sizes = [8 << 10, 64 << 10, 1 << 20];
const steps = 9;
const turnsOf = (bytes: number) => Math.max(20, Math.round(1000 * Math.min(1, (8 << 10) / bytes)));

/** x is summed over all ranks and divided by their number, many times; or only divided. */
function loop(bytes: number, ranks: number, reduces: boolean): Program {
  const type = tensor('f32', [bytes / 4]);
  const built = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => {
    const region = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.add(l, r)]);
    const groups = {
      replica_groups: [Array.from({ length: ranks }, (_, rank) => rank)],
      channel_id: 1,
      use_global_device_ids: true,
    };
    const [, result] = b.while(
      [b.scalar('i32', 0), x],
      (inner, i) => inner.compare('LT', i, inner.scalar('i32', turnsOf(bytes))),
      (inner, i, y) => {
        const sum = reduces ? inner.op('all_reduce', [y], groups, { regions: [region] })[0] : y;
        return [inner.add(i, inner.scalar('i32', 1)), inner.multiply(sum, inner.full('f32', type.shape, 1 / ranks))];
      },
    );
    return { result };
  });
  return { ...built, processes: { replicas: 1, partitions: ranks } };
}

/** Microseconds of a turn, step by step, as the slower of the ranks of this process sees it. */
async function measure(ends: readonly Communicator[], bytes: number, reduces: boolean): Promise<number[]> {
  const ranks = await Promise.all(
    ends.map(async (end) => {
      const device = createCpuDevice(system, { threads: 1 });
      const executable = await device.compile(loop(bytes, end.size, reduces));
      return { device, bound: await device.bind(executable, new Map(), new Map(), end) };
    }),
  );
  const inputs = new Map([['x', new Float32Array(bytes / 4).fill(1)]]);
  const times: number[] = [];
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    const tickets = ranks.map(({ device, bound }) => device.submit(bound, inputs, {}));
    await Promise.all(ranks.map(({ device }, i) => device.wait(tickets[i], Number.POSITIVE_INFINITY)));
    times.push(((performance.now() - start) * 1000) / turnsOf(bytes));
  }
  for (const { device } of ranks) await device[Symbol.asyncDispose]();
  return times.sort((a, b) => a - b);
}

async function report(name: string, ends: readonly Communicator[]): Promise<void> {
  for (const bytes of sizes) {
    const [bare] = await measure(ends, bytes, false);
    const times = await measure(ends, bytes, true);
    const [best, median] = [times[0], times[steps >> 1]].map((time) => (time - bare).toFixed(2));
    const what = `${name}, ${ends[0].size} ranks, ${bytes >> 10} KB`;
    console.log(`${what.padEnd(52)} ${best.padStart(9)} ${median.padStart(9)} (the loop alone ${bare.toFixed(2)})`);
  }
}

const inC = `
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  static float x[1 << 18], y[1 << 18];
  int rank, ranks, sizes[] = {${sizes.join()}}, turns[] = {${sizes.map(turnsOf).join()}};
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  for (int size = 0; size < ${sizes.length}; size++) {
    double best = 1e9;
    for (int step = 0; step < ${steps}; step++) {
      MPI_Barrier(MPI_COMM_WORLD);
      double start = MPI_Wtime();
      for (int i = 0; i < turns[size]; i++) MPI_Allreduce(x, y, sizes[size] / 4, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
      double time = (MPI_Wtime() - start) * 1e6 / turns[size];
      if (time < best) best = time;
    }
    if (rank == 0) printf("MPI_Allreduce called from C, %d ranks, %4d KB %18.2f\\n", ranks, sizes[size] >> 10, best);
  }
  MPI_Finalize();
}
`;

if (process.env.OMPI_COMM_WORLD_SIZE !== undefined) {
  const world = joinMpi(system, process.env);
  const { communicator } = world;
  // Only the first says what it has measured.
  if (communicator.rank > 0) console.log = () => {};
  await report(world.library, [communicator]);
  world[Symbol.dispose]();
} else {
  const counts = process.argv.slice(2).map(Number);
  const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const mpirun = (ranks: number, ...command: string[]) => {
    const args = ['--oversubscribe', '-n', String(ranks), ...command];
    const { stdout, error } = spawnSync('mpirun.openmpi', args, { env, encoding: 'utf8' });
    process.stdout.write(error === undefined ? stdout : `not measured: ${error.message}\n`);
  };
  const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
  try {
    const source = join(folder, 'allreduce.c');
    writeFileSync(source, inC);
    execFileSync('mpicc.openmpi', ['-O2', '-o', join(folder, 'allreduce'), source]);
    for (const ranks of counts.length > 0 ? counts : [2]) {
      using group = createLocalGroup(system, ranks);
      await report('ranks of one process', group.ends);
      mpirun(ranks, process.execPath, fileURLToPath(import.meta.url));
      mpirun(ranks, join(folder, 'allreduce'));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}
