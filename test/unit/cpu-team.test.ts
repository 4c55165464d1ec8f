/** The thread team: barriers, aborting, deadlines, idleness, several teams, ending. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { MappedCode, Memory, OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { createTeam, type KernelLaunch } from '../../src/devices/cpu/team.ts';
import { accessAt, processStatus, testKernels } from './cpu-support.ts';

const found = findSystem();
const skip =
  process.platform !== 'linux' || !/^(x64|arm64)$/.test(process.arch) ? 'needs Linux on x86-64 or arm64' : false;
const invalid = { name: 'IngotError', code: 'InvalidArgument' };
const minute = () => performance.now() + 60_000;

function system(): OperatingSystem {
  assert.ok(found.usable, found.usable ? '' : found.reason);
  return found.system;
}

const launch = (code: MappedCode, memory: Memory): KernelLaunch => ({
  kind: 'kernel',
  code,
  offset: 0,
  argument: { memory, offset: 0 },
});
const wordsOf = (memory: Memory) => new Uint32Array(memory.bytes().buffer);

// As many as a server has: nearly all of them asleep wherever there are fewer cores.
for (const [threads, rounds] of [
  [1, 300],
  [2, 300],
  [3, 300],
  [4, 300],
  [80, 3],
] as const) {
  test(`${threads} threads: after a barrier every thread sees what all wrote before it`, { skip }, () => {
    using team = createTeam(system(), { threads });
    using count = system().mapCode(testKernels.count);
    using sum = system().mapCode(testKernels.sum);
    using memory = system().mapMemory(1024);
    using list = team.list(Array.from({ length: rounds }, () => [launch(count, memory), launch(sum, memory)]).flat());
    const words = wordsOf(memory);
    const runs = 5;
    for (let run = 0; run < runs; run++) assert.equal(team.wait(team.submit(list), minute()), 'done');
    // In round r each thread has counted r times, and adds threads * r.
    const expected = (threads * (runs * rounds) * (runs * rounds + 1)) / 2;
    for (let index = 0; index < threads; index++) {
      assert.equal(words[index], runs * rounds);
      assert.equal(words[128 + index], expected);
    }
  });
}

test('no thread begins a launch before all have ended the one before', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using untilSetOne = system().mapCode(testKernels.untilSetOne);
  using set = system().mapCode(testKernels.set);
  using memory = system().mapMemory(4);
  const words = wordsOf(memory);
  // Thread 0 waits in the first launch for what thread 1 would do in the second.
  using apart = team.list([launch(untilSetOne, memory), launch(set, memory)]);
  const ticket = team.submit(apart);
  const start = performance.now();
  while (performance.now() - start < 30);
  assert.ok(!team.ended(ticket));
  assert.equal(words[0], 0);
  words[0] = 1;
  assert.equal(team.wait(ticket, minute()), 'done');
});

test('a thousand submissions, one at a time and queued', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using count = system().mapCode(testKernels.count);
  using memory = system().mapMemory(64);
  using list = team.list([launch(count, memory)]);
  for (let run = 0; run < 1000; run++) assert.equal(team.wait(team.submit(list), minute()), 'done');
  for (let run = 0; run < 100; run++) {
    const tickets = Array.from({ length: 10 }, () => team.submit(list));
    for (const ticket of tickets) assert.equal(team.wait(ticket, minute()), 'done');
  }
  assert.deepEqual([...wordsOf(memory).subarray(0, 3)], [2000, 2000, 0]);
});

test('a list without launches ends; more than 16 runs that are not done are refused', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using empty = team.list([]);
  assert.equal(team.wait(team.submit(empty), minute()), 'done');
  using untilSet = system().mapCode(testKernels.untilSet);
  using memory = system().mapMemory(4);
  using list = team.list([launch(untilSet, memory)]);
  const first = team.submit(list);
  const more = Array.from({ length: 15 }, () => team.submit(empty));
  assert.throws(() => team.submit(empty), invalid);
  assert.ok(!team.ended(first));
  wordsOf(memory)[0] = 1;
  for (const ticket of more) assert.equal(team.wait(ticket, minute()), 'done');
  assert.equal(team.wait(team.submit(empty), minute()), 'done');
  assert.throws(() => team.wait(first, minute()), invalid, 'too long ago');
  assert.throws(() => team.wait(first + 100, minute()), invalid, 'not submitted');
});

test('an abort ends lists at their next barrier, and the team goes on', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using untilSet = system().mapCode(testKernels.untilSet);
  using count = system().mapCode(testKernels.count);
  using gate = system().mapMemory(4);
  using memory = system().mapMemory(64);
  using list = team.list([launch(untilSet, gate), launch(count, memory)]);
  for (let run = 0; run < 20; run++) {
    wordsOf(gate)[0] = 0;
    const running = team.submit(list);
    const queued = team.submit(list);
    team.abort();
    wordsOf(gate)[0] = 1;
    assert.equal(team.wait(running, minute()), 'stopped');
    assert.equal(team.wait(queued, minute()), 'stopped');
    assert.equal(wordsOf(memory)[0], run);
    assert.equal(team.wait(team.submit(list), minute()), 'done');
    assert.deepEqual([...wordsOf(memory).subarray(0, 2)], [run + 1, run + 1]);
  }
});

test('a deadline ends a list, and the team goes on', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using spin = system().mapCode(testKernels.spin);
  using memory = system().mapMemory(64);
  wordsOf(memory)[0] = 3e6; // about 1 ms
  using long = team.list(Array.from({ length: 10_000 }, () => launch(spin, memory)));
  using short = team.list([launch(spin, memory)]);
  for (let run = 0; run < 3; run++) {
    const start = performance.now();
    assert.equal(team.wait(team.submit(long), start + 30), 'timeout');
    assert.ok(performance.now() - start >= 30);
    assert.equal(team.wait(team.submit(short), minute()), 'done');
  }
  // A run that is done is done, however late one asks.
  const ticket = team.submit(short);
  while (!team.ended(ticket));
  assert.equal(team.wait(ticket, 0), 'done');
});

test('a kernel that does not return is told of, and takes nothing else down', { skip }, () => {
  const team = createTeam(system(), { threads: 2, graceMilliseconds: 50 });
  using untilSet = system().mapCode(testKernels.untilSet);
  using memory = system().mapMemory(4);
  const view = wordsOf(memory);
  const list = team.list([launch(untilSet, memory)]);
  const ticket = team.submit(list);
  assert.throws(() => team.wait(ticket, performance.now() + 10), {
    name: 'IngotError',
    code: 'DeviceLost',
    message: /threads 0, 1 of 2/,
  });
  assert.throws(() => team.submit(list), invalid);
  list[Symbol.dispose]();
  team[Symbol.dispose]();
  memory[Symbol.dispose]();
  // The threads still run on this memory: it was held, not freed.
  assert.equal(view[0], 0);
  view[0] = 1;
});

test('idle threads take no processor time', { skip }, async () => {
  using team = createTeam(system(), { threads: 4 });
  using nothing = system().mapCode(testKernels.nothing);
  using memory = system().mapMemory(4);
  using list = team.list([launch(nothing, memory)]);
  team.wait(team.submit(list), minute());
  const used: number[] = [];
  // What V8 does in the background may fall into some of the times.
  while (used.length < 20 && !used.some((microseconds) => microseconds < 20_000)) {
    await sleep(200);
    const before = process.cpuUsage();
    await sleep(200);
    const { user, system: kernel } = process.cpuUsage(before);
    used.push(user + kernel);
  }
  assert.ok(
    used.some((microseconds) => microseconds < 20_000),
    `${used} microseconds`,
  );
});

test('two teams work at once', { skip }, () => {
  using one = createTeam(system(), { threads: 2 });
  using two = createTeam(system(), { threads: 3 });
  using count = system().mapCode(testKernels.count);
  using sum = system().mapCode(testKernels.sum);
  using a = system().mapMemory(1024);
  using b = system().mapMemory(1024);
  const rounds = (memory: Memory) =>
    Array.from({ length: 50 }, () => [launch(count, memory), launch(sum, memory)]).flat();
  using listOne = one.list(rounds(a));
  using listTwo = two.list(rounds(b));
  for (let run = 0; run < 20; run++) {
    const tickets = [one.submit(listOne), two.submit(listTwo)] as const;
    assert.deepEqual([one.wait(tickets[0], minute()), two.wait(tickets[1], minute())], ['done', 'done']);
  }
  assert.deepEqual([wordsOf(a)[0], wordsOf(b)[2]], [1000, 1000]);
  assert.equal(wordsOf(a)[129], (2 * 1000 * 1001) / 2);
  assert.throws(() => one.submit(listTwo), invalid);
});

test('a team ends while idle, while asleep and while busy, and leaves no thread', { skip }, async () => {
  const before = processStatus('Threads');
  using spin = system().mapCode(testKernels.spin);
  using memory = system().mapMemory(64);
  wordsOf(memory)[0] = 3e6;
  for (const state of ['idle', 'asleep', 'busy']) {
    const team = createTeam(system(), { threads: 3 });
    const list = team.list(Array.from({ length: 1000 }, () => launch(spin, memory)));
    if (state === 'asleep') await sleep(20);
    if (state === 'busy') team.submit(list);
    team[Symbol.dispose]();
    // A thread that was joined is counted until the system has put it away.
    for (const end = minute(); processStatus('Threads') > before && performance.now() < end; ) await sleep(1);
    assert.equal(processStatus('Threads'), before, state);
    team[Symbol.dispose]();
    assert.throws(() => team.submit(list), invalid);
    list[Symbol.dispose]();
  }
});

test('a list that is running keeps its code and memory until it has ended', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  const spin = system().mapCode(testKernels.spin);
  const memory = system().mapMemory(64);
  const kept = system().mapMemory(64);
  wordsOf(memory)[0] = 3e6;
  const list = team.list(
    Array.from({ length: 20 }, () => launch(spin, memory)),
    [kept],
  );
  const ticket = team.submit(list);
  for (const one of [spin, memory, kept]) one[Symbol.dispose]();
  assert.equal(accessAt(spin.address), 'r-xp');
  list[Symbol.dispose]();
  assert.ok(team.ended(ticket));
  assert.notEqual(accessAt(spin.address), 'r-xp');
  assert.throws(() => team.submit(list), invalid);
});

test('wrong launches are refused', { skip }, () => {
  using team = createTeam(system(), { threads: 1 });
  using code = system().mapCode(testKernels.nothing);
  using memory = system().mapMemory(4);
  const freed = system().mapMemory(4);
  freed[Symbol.dispose]();
  assert.throws(() => team.list([{ ...launch(code, memory), offset: code.length }]), invalid);
  assert.throws(() => team.list([{ ...launch(code, memory), argument: { memory, offset: 4 } }]), invalid);
  assert.throws(() => team.list([launch(code, freed)]), invalid);
  assert.throws(() => team.list([launch(code, memory)], [freed]), invalid);
  for (const threads of [0, 1.5, 1e6]) assert.throws(() => createTeam(system(), { threads }), invalid);
});

test('while a worker waits for its team, the main thread goes on', { skip }, async () => {
  const worker = new Worker(new URL('./cpu-team-worker.js', import.meta.url), { workerData: 1000 });
  const messages: unknown[] = [];
  let ticks = 0;
  const timer = setInterval(() => {
    // A thread that stands still while the worker waits has none between its two messages.
    if (messages.length === 1) ticks++;
  }, 2);
  worker.on('message', (message) => messages.push(message));
  await new Promise((resolve, reject) => worker.on('error', reject).on('exit', resolve));
  clearInterval(timer);
  assert.deepEqual(messages, ['waits', ['timeout', true]]);
  assert.ok(ticks > 20, `${ticks} ticks`);
});

test('a worker that is ended while its team works leaves the process alive', { skip }, async () => {
  const worker = new Worker(new URL('./cpu-team-worker.js', import.meta.url), { workerData: 60_000 });
  await new Promise((resolve, reject) => worker.on('error', reject).once('message', resolve));
  await sleep(30);
  // Its calls into native code are short.
  await worker.terminate();
  // The team cannot be told: its threads work on, in memory that is still theirs, until their list ends.
  using team = createTeam(system(), { threads: 1 });
  using nothing = team.list([]);
  assert.equal(team.wait(team.submit(nothing), minute()), 'done');
});

test('threads of a team have cores of their own, as far as there are enough', { skip }, () => {
  const allowed = system().limits().cores.length;
  for (const threads of [1, 2, 3].filter((threads) => threads <= allowed)) {
    const before = new Set(readdirSync('/proc/self/task'));
    using _team = createTeam(system(), { threads });
    const masks = readdirSync('/proc/self/task')
      .filter((task) => !before.has(task))
      .map((task) => /^Cpus_allowed_list:\s+(.*)$/m.exec(readFileSync(`/proc/self/task/${task}/status`, 'utf8'))?.[1]);
    assert.equal(masks.length, threads);
    assert.equal(new Set(masks).size, threads);
  }
});
