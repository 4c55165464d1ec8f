/**
 * What an all-reduce of 8 KB costs two ranks with a thread each: `node dist/bench/collectives.js`. Ranks of this process, ranks
 * of Open MPI, and the library's own MPI_Allreduce called from C (compiled here, by mpicc). A step does many, in a loop of the
 * program; what the loop costs without them is taken off. Microseconds, the best and the median of several steps.
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
const turns = 2000;
const steps = 15;
const type = tensor('f32', [2048]);

/** x is summed over both ranks and halved, many times; or only halved. */
function loop(reduces: boolean): Program {
  const built = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => {
    const region = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.add(l, r)]);
    const groups = { replica_groups: [[0, 1]], channel_id: 1, use_global_device_ids: true };
    const [, result] = b.while(
      [b.scalar('i32', 0), x],
      (inner, i) => inner.compare('LT', i, inner.scalar('i32', turns)),
      (inner, i, y) => {
        const sum = reduces ? inner.op('all_reduce', [y], groups, { regions: [region] })[0] : y;
        return [inner.add(i, inner.scalar('i32', 1)), inner.multiply(sum, inner.full('f32', [2048], 0.5))];
      },
    );
    return { result };
  });
  return { ...built, processes: { replicas: 1, partitions: 2 } };
}

/** Microseconds of a turn, step by step, as the slower of the ranks of this process sees it. */
async function measure(ends: readonly Communicator[], reduces: boolean): Promise<number[]> {
  const ranks = await Promise.all(
    ends.map(async (end) => {
      const device = createCpuDevice(system, { threads: 1 });
      const executable = await device.compile(loop(reduces));
      return { device, bound: await device.bind(executable, new Map(), new Map(), end) };
    }),
  );
  const inputs = new Map([['x', new Float32Array(2048).fill(1)]]);
  const times: number[] = [];
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    const tickets = ranks.map(({ device, bound }) => device.submit(bound, inputs, {}));
    await Promise.all(ranks.map(({ device }, i) => device.wait(tickets[i], Number.POSITIVE_INFINITY)));
    times.push(((performance.now() - start) * 1000) / turns);
  }
  for (const { device } of ranks) await device[Symbol.asyncDispose]();
  return times.sort((a, b) => a - b);
}

async function report(name: string, ends: readonly Communicator[]): Promise<void> {
  const [bare] = await measure(ends, false);
  const times = await measure(ends, true);
  const [best, median] = [times[0], times[steps >> 1]].map((time) => (time - bare).toFixed(2));
  console.log(`${name.padEnd(44)} ${best.padStart(8)} ${median.padStart(8)} (the loop alone ${bare.toFixed(2)})`);
}

const inC = `
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  static float x[2048], y[2048];
  int rank;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  double best = 1e9;
  for (int step = 0; step < ${steps}; step++) {
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < ${turns}; i++) MPI_Allreduce(x, y, 2048, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    double time = (MPI_Wtime() - start) * 1e6 / ${turns};
    if (time < best) best = time;
  }
  if (rank == 0) printf("%-44s %8.2f\\n", "MPI_Allreduce called from C, Open MPI", best);
  MPI_Finalize();
}
`;

if (process.env.OMPI_COMM_WORLD_SIZE !== undefined) {
  const world = joinMpi(system, process.env);
  const { communicator } = world;
  // Only the first says what it has measured.
  if (communicator.rank > 0) console.log = () => {};
  await report(`all_reduce of ranks of ${world.library}`, [communicator]);
  world[Symbol.dispose]();
} else {
  const group = createLocalGroup(system, 2);
  await report('all_reduce of ranks of one process', group.ends);
  const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const mpirun = (...command: string[]) => {
    const args = ['--oversubscribe', '-n', '2', ...command];
    const { stdout, error } = spawnSync('mpirun.openmpi', args, { env, encoding: 'utf8' });
    process.stdout.write(error === undefined ? stdout : `not measured: ${error.message}\n`);
  };
  mpirun(process.execPath, fileURLToPath(import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
  try {
    const source = join(folder, 'allreduce.c');
    writeFileSync(source, inC);
    execFileSync('mpicc.openmpi', ['-O2', '-o', join(folder, 'allreduce'), source]);
    mpirun(join(folder, 'allreduce'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
