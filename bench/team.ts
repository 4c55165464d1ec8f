/**
 * What the thread team of the CPU device costs: `node dist/bench/team.js`. Barriers, runs, waking, idling, and how long the main thread's
 * event loop stands still while a worker waits for its team. Each figure is the best of several tries and their median.
 */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { createTeam, type Launch } from '../src/devices/cpu/team.ts';
import { testKernels } from '../test/unit/cpu-support.ts';
import { system } from './system.ts';

const nothing = system.mapCode(testKernels.nothing);
const clock = system.mapCode(testKernels.clock);
const memory = system.mapMemory(1024 * 8);
const clocks = new BigUint64Array(memory.bytes().buffer);
const argument = { memory, offset: 0 };
const readClock = clock.callable(0, { takes: ['address', 'u32', 'u32'], returns: 'void' });
/** The time stamp counter, read by the same kernel that the team runs. */
const ticks = () => {
  readClock(memory.address, 1023, 0);
  return Number(clocks[1023]);
};
const never = Number.POSITIVE_INFINITY;

function print(what: string, samples: readonly number[], unit: string): void {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(2);
  console.log(`${what.padEnd(58)} ${at(0).padStart(9)} ${at(0.5).padStart(9)} ${at(0.9).padStart(9)} ${unit}`);
}

/** Ticks of the time stamp counter in a microsecond. */
function clockRate(): number {
  const [start, startTicks] = [performance.now(), ticks()];
  while (performance.now() - start < 20);
  return (ticks() - startTicks) / (performance.now() - start) / 1000;
}

async function measureTeam(threads: number, rate: number): Promise<void> {
  using team = createTeam(system, { threads });
  const launch: Launch = { kind: 'kernel', code: nothing, offset: 0, argument };
  const count = 1000;
  using many = team.list(new Array(count).fill(launch));
  using one = team.list([{ kind: 'kernel', code: clock, offset: 0, argument }]);
  const microseconds = (list: typeof one) => {
    const start = performance.now();
    team.wait(team.submit(list), never);
    return (performance.now() - start) * 1000;
  };
  const times = (runs: number, measure: () => number) => Array.from({ length: runs }, measure);

  print(
    `${threads} threads: a launch and a barrier`,
    times(30, () => microseconds(many) / count),
    'us',
  );
  print(
    `${threads} threads: submit and wait, threads spinning`,
    times(300, () => microseconds(one)),
    'us',
  );
  const starts = async (pause: number, runs: number) => {
    const all: number[] = [];
    for (let run = 0; run < runs; run++) {
      if (pause > 0) await sleep(pause);
      const before = ticks();
      team.wait(team.submit(one), never);
      all.push((Math.max(...Array.from(clocks.subarray(0, threads), Number)) - before) / rate);
    }
    return all;
  };
  print(`${threads} threads: submit to start of the last, spinning`, await starts(0, 300), 'us');
  print(`${threads} threads: submit to start of the last, asleep`, await starts(2, 50), 'us');
  await sleep(20);
  const before = process.cpuUsage();
  await sleep(1000);
  const { user, system: kernel } = process.cpuUsage(before);
  print(`${threads} threads: processor time of an idle second`, [(user + kernel) / 1000], 'ms');
}

async function measureEventLoop(): Promise<void> {
  const worker = new Worker(new URL('../test/unit/cpu-team-worker.js', import.meta.url), { workerData: 1000 });
  const gaps: number[] = [];
  let last = performance.now();
  let waits = false;
  const timer = setInterval(() => {
    const now = performance.now();
    if (waits) gaps.push(now - last);
    last = now;
  }, 1);
  worker.on('message', (message) => {
    waits = message === 'waits';
  });
  await new Promise((resolve, reject) => worker.on('error', reject).on('exit', resolve));
  clearInterval(timer);
  print('event loop of the main thread, a timer of 1 ms', gaps, 'ms');
  print('  the longest gap', [Math.max(...gaps)], 'ms');
}

console.log(
  `${system.cpuFeatures().model} (${cpus()[0]?.speed} MHz), ${availableParallelism()} cores, load ${loadavg()[0].toFixed(1)}`,
);
console.log(`${''.padEnd(58)}      best    median       90%`);
const rate = clockRate();
for (const threads of new Set([1, 2, availableParallelism()])) await measureTeam(threads, rate);
await measureEventLoop();
