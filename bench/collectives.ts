/**
 * What an all-reduce costs ranks with a thread each: `node dist/bench/collectives.js [RANKS ...]`, two ranks if absent. Ranks of this
 * process, ranks of Open MPI, and the library's own MPI_Allreduce called from C (compiled here, by mpicc) in the same processes, step by
 * step in turn with ours, for several sizes. A step does many, in a loop of the program; what the loop costs without them is taken off.
 * Microseconds, the best and the median of several steps.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import { openForeign } from '../src/devices/cpu/os/foreign.ts';
import type { Communicator } from '../src/devices/device.ts';
import { ProgramBuilder } from '../src/ir/build.ts';
import type { Program } from '../src/ir/program.ts';
import { tensor } from '../src/ir/types.ts';
import { createLocalGroup } from '../src/parallel/local-group.ts';
import { joinMpi } from '../src/parallel/mpi.ts';
import { system } from './system.ts';

const sizes = [8 << 10, 64 << 10, 1 << 20];
const steps = 25;
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

/** Does the work of a step, and says how many microseconds a turn of it has taken. */
type Step = () => Promise<number>;

interface Steps extends AsyncDisposable {
  readonly step: Step;
}

/** Steps of a program on all ranks that are here, as the slowest of them sees it. */
async function stepsOf(ends: readonly Communicator[], bytes: number, reduces: boolean): Promise<Steps> {
  const ranks = await Promise.all(
    ends.map(async (end) => {
      const device = createCpuDevice(system, { threads: 1 });
      const executable = await device.compile(loop(bytes, end.size, reduces));
      return { device, bound: await device.bind(executable, new Map(), new Map(), end) };
    }),
  );
  const inputs = new Map([['x', new Float32Array(bytes / 4).fill(1)]]);
  return {
    async step() {
      const start = performance.now();
      const tickets = ranks.map(({ device, bound }) => device.submit(bound, inputs, {}));
      await Promise.all(ranks.map(({ device }, i) => device.wait(tickets[i], Number.POSITIVE_INFINITY)));
      return ((performance.now() - start) * 1000) / turnsOf(bytes);
    },
    async [Symbol.asyncDispose]() {
      for (const { device } of ranks) await device[Symbol.asyncDispose]();
    },
  };
}

/** The best and the median of several steps of each, done in turn. */
async function measure(kinds: readonly Step[]): Promise<readonly { readonly best: number; readonly median: number }[]> {
  const times = kinds.map((): number[] => []);
  for (let i = 0; i < steps; i++) {
    for (const [kind, step] of kinds.entries()) {
      // Threads that have polled after the step before are asleep then.
      await sleep(2);
      times[kind].push(await step());
    }
  }
  return times.map((all) => {
    all.sort((a, b) => a - b);
    return { best: all[0], median: all[steps >> 1] };
  });
}

/** `theirs`: steps of another kind beside them. */
async function report(
  name: string,
  ends: readonly Communicator[],
  theirs?: { readonly name: string; step(bytes: number): Step },
): Promise<void> {
  for (const bytes of sizes) {
    await using bare = await stepsOf(ends, bytes, false);
    await using own = await stepsOf(ends, bytes, true);
    const kinds = [bare.step, own.step, ...(theirs === undefined ? [] : [theirs.step(bytes)])];
    const [alone, ours, other] = await measure(kinds);
    const line = (who: string, best: number, median: number, more: string) => {
      const what = `${who}, ${ends[0].size} ranks, ${bytes >> 10} KB`;
      console.log(`${what.padEnd(52)} ${best.toFixed(2).padStart(9)} ${median.toFixed(2).padStart(9)}${more}`);
    };
    const { best } = alone;
    line(name, ours.best - best, ours.median - best, ` (the loop alone ${best.toFixed(2)})`);
    if (theirs !== undefined) line(theirs.name, other.best, other.median, '');
  }
}

const inC = `
#include <mpi.h>
void reduce_all(int count, int turns) {
  static float x[1 << 18], y[1 << 18];
  for (int i = 0; i < turns; i++) MPI_Allreduce(x, y, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}
`;

function stepsInC(library: string) {
  const reduceAll = openForeign().load(library).function('reduce_all', ['i32', 'i32'], 'void');
  return {
    name: 'MPI_Allreduce called from C',
    step: (bytes: number) => async () => {
      const start = performance.now();
      reduceAll(bytes / 4, turnsOf(bytes));
      return ((performance.now() - start) * 1000) / turnsOf(bytes);
    },
  };
}

if (process.env.OMPI_COMM_WORLD_SIZE !== undefined) {
  const world = joinMpi(system, process.env);
  const { communicator } = world;
  // Only the first says what it has measured.
  if (communicator.rank > 0) console.log = () => {};
  await report(world.library, [communicator], stepsInC(process.argv[2]));
  world[Symbol.dispose]();
} else {
  const counts = process.argv.slice(2).map(Number);
  const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
  try {
    const [source, library] = ['allreduce.c', 'liballreduce.so'].map((name) => join(folder, name));
    writeFileSync(source, inC);
    execFileSync('mpicc.openmpi', ['-O2', '-shared', '-fPIC', '-o', library, source]);
    for (const ranks of counts.length > 0 ? counts : [2]) {
      using group = createLocalGroup(system, ranks);
      await report('ranks of one process', group.ends);
      const command = [process.execPath, fileURLToPath(import.meta.url), library];
      const args = ['--oversubscribe', '-n', String(ranks), ...command];
      const { stdout, error } = spawnSync('mpirun.openmpi', args, { env, encoding: 'utf8' });
      process.stdout.write(error === undefined ? stdout : `not measured: ${error.message}\n`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}
