/**
 * What is saved by computing during exchanges: `node dist/bench/overlap.js [THREADS]`. Two ranks of this process, with a thread each if absent. A step sums
 * over the ranks and multiplies matrices, many times in a loop of the program: a product beside the sum, which the compiler puts between the halves of
 * the exchange, against one that takes what the sum brings. Microseconds of a turn, the best and the median of several steps done in turn.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import { ProgramBuilder } from '../src/ir/build.ts';
import type { Program } from '../src/ir/program.ts';
import { tensor } from '../src/ir/types.ts';
import { createLocalGroup } from '../src/parallel/local-group.ts';
import { system } from './system.ts';

const threads = Number(process.argv[2] ?? 1);
const [rows, depth, turns, steps] = [16, 256, 200, 15];

/** x, whose sum over the ranks has so many KB, and a product of 16 x 256 x 256. */
function loop(kilobytes: number, beside: boolean): Program {
  const x = tensor('f32', [rows, kilobytes * 16]);
  const built = new ProgramBuilder().program(
    [
      { name: 'x', type: x, role: 'input' },
      { name: 'y', type: tensor('f32', [rows, depth]), role: 'input' },
      { name: 'w', type: tensor('f32', [depth, depth]), role: 'input' },
    ],
    (b, { x, y, w }) => {
      const region = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.add(l, r)]);
      const groups = { replica_groups: [[0, 1]], channel_id: 1, use_global_device_ids: true };
      const [, sum, product] = b.while(
        [b.scalar('i32', 0), x, y],
        (inner, i) => inner.compare('LT', i, inner.scalar('i32', turns)),
        (inner, i, total, factor) => {
          const [all] = inner.op('all_reduce', [total], groups, { regions: [region] });
          const half = inner.multiply(all, inner.full('f32', [rows, kilobytes * 16], 0.5));
          const first = inner.slice(beside ? total : half, 1, 0, 1);
          const taken = inner.add(factor, inner.broadcast(inner.reshape(first, [rows]), [rows, depth], [0]));
          const made = inner.dot(taken, w, { contract: [[1, 0]] });
          return [inner.add(i, inner.scalar('i32', 1)), half, made];
        },
      );
      return { sum, product };
    },
  );
  return { ...built, processes: { replicas: 1, partitions: 2 } };
}

for (const kilobytes of [1, 8, 64, 1024]) {
  using group = createLocalGroup(system, 2);
  const inputs = new Map([
    ['x', new Float32Array(rows * kilobytes * 16)],
    ['y', new Float32Array(rows * depth)],
    ['w', new Float32Array(depth * depth)],
  ]);
  const times: Record<'beside' | 'behind', number[]> = { beside: [], behind: [] };
  const ranks = await Promise.all(
    group.ends.map(async (end) => {
      const device = createCpuDevice(system, { threads });
      const bind = async (beside: boolean) => {
        return device.bind(await device.compile(loop(kilobytes, beside)), new Map(), new Map(), end);
      };
      return { device, beside: await bind(true), behind: await bind(false) };
    }),
  );
  for (let i = 0; i < steps; i++) {
    for (const kind of ['beside', 'behind'] as const) {
      await sleep(2);
      const start = performance.now();
      const tickets = ranks.map((rank) => rank.device.submit(rank[kind], inputs, {}));
      await Promise.all(ranks.map(({ device }, rank) => device.wait(tickets[rank], Number.POSITIVE_INFINITY)));
      times[kind].push(((performance.now() - start) * 1000) / turns);
    }
  }
  for (const { device } of ranks) await device[Symbol.asyncDispose]();
  const [beside, behind] = [times.beside, times.behind].map((all) => all.sort((a, b) => a - b));
  const at = (all: readonly number[]) => `${all[0].toFixed(1)} / ${all[steps >> 1].toFixed(1)} us`;
  console.log(`a sum of ${kilobytes} KB: product beside it ${at(beside)}, behind it ${at(behind)}`);
}
