/** What the thread team records of its launches: how often, how long in the kernel, how long at the barrier. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { MappedCode, Memory, OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { createTeam, type Launch, type Team } from '../../src/devices/cpu/team.ts';
import { testKernels } from './cpu-support.ts';

const found = findSystem();
const skip = process.platform !== 'linux' || process.arch !== 'x64' ? 'needs Linux on x86-64' : false;
const minute = () => performance.now() + 60_000;

function system(): OperatingSystem {
  assert.ok(found.usable, found.usable ? '' : found.reason);
  return found.system;
}

const launch = (code: MappedCode, memory: Memory): Launch => ({
  kind: 'kernel',
  code,
  offset: 0,
  argument: { memory, offset: 0 },
});

function run(team: Team, list: Parameters<Team['submit']>[0]): number {
  const start = performance.now();
  assert.equal(team.wait(team.submit(list), minute()), 'done');
  return (performance.now() - start) / 1000;
}

/** Five turns of a loop, a branch that is not taken, and a kernel after it; `memory` counts from 0. */
function loopAndBranch(code: { count: MappedCode; nothing: MappedCode }, memory: Memory, zero: Memory): Launch[] {
  return [
    launch(code.count, memory),
    { kind: 'jumpUnlessEqual', to: 0, word: { memory, offset: 0 }, value: 5 },
    { kind: 'jumpIfZero', to: 4, word: { memory: zero, offset: 0 } },
    launch(code.nothing, memory),
    launch(code.nothing, memory),
    { kind: 'jump', to: 6 },
    launch(code.nothing, memory),
  ];
}

for (const threads of [1, 2, 3]) {
  test(`${threads} threads: launches are counted through loops and branches`, { skip }, () => {
    using team = createTeam(system(), { threads });
    using count = system().mapCode(testKernels.count);
    using nothing = system().mapCode(testKernels.nothing);
    using memory = system().mapMemory(64);
    using zero = system().mapMemory(4);
    const launches = loopAndBranch({ count, nothing }, memory, zero);
    using list = team.list(launches, [], true);
    const words = new Uint32Array(memory.bytes().buffer);
    let wall = 0;
    for (let i = 0; i < 3; i++) {
      words.fill(0);
      wall += run(team, list);
      assert.deepEqual([...words.subarray(0, threads)], new Array(threads).fill(5));
    }
    const records = list.records();
    assert.deepEqual(
      records.map(({ calls }) => calls),
      [15, 15, 3, 0, 3, 3, 3],
    );
    for (let thread = 0; thread < threads; thread++) {
      const times = records.map(({ busy, waited }) => busy[thread] + waited[thread]);
      const sum = times.reduce((a, b) => a + b, 0);
      assert.ok(times[0] > 0 && times[4] > 0 && times[6] > 0, `${times}`);
      assert.equal(times[3], 0);
      assert.ok(sum > 0 && sum <= 1.01 * wall, `${sum} of ${wall} s`);
      assert.ok(records[6].waited[thread] > 0, 'the end of a list is a barrier');
    }
    assert.deepEqual(
      list.records().map(({ calls }) => calls),
      new Array(7).fill(0),
      'taken once',
    );
  });
}

test('the time of a slow thread is its own, and at the barrier that of the others', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using slow = system().mapCode(testKernels.untilSetOne);
  using nothing = system().mapCode(testKernels.nothing);
  using memory = system().mapMemory(4);
  using list = team.list([launch(slow, memory), launch(nothing, memory)], [], true);
  /** What the slow launch took, open for 50 ms at least. */
  const measure = () => {
    const word = new Uint32Array(memory.bytes().buffer);
    word[0] = 0;
    const ticket = team.submit(list);
    const start = performance.now();
    while (performance.now() - start < 50);
    word[0] = 1;
    assert.equal(team.wait(ticket, minute()), 'done');
    return list.records()[0];
  };
  const near = (seconds: number) => seconds > 0.04 && seconds < 5;
  // Where the machine is busy a thread may begin late.
  const tries = Array.from({ length: 10 }, measure);
  const right = tries.some(
    ({ busy, waited }) => near(busy[0]) && near(waited[1]) && busy[1] < 0.04 && waited[0] < busy[0],
  );
  assert.ok(right, JSON.stringify(tries));
});

test('what is not to be recorded is not', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using nothing = system().mapCode(testKernels.nothing);
  using memory = system().mapMemory(4);
  using plain = team.list([launch(nothing, memory)]);
  using recorded = team.list([launch(nothing, memory)], [], true);
  using empty = team.list([], [], true);
  for (const list of [plain, recorded, plain, empty, plain]) run(team, list);
  assert.deepEqual(plain.records(), []);
  assert.deepEqual(empty.records(), []);
  assert.equal(recorded.records()[0].calls, 1);
});

test('a recorded list that is stopped leaves the team in order', { skip }, () => {
  using team = createTeam(system(), { threads: 2 });
  using untilSet = system().mapCode(testKernels.untilSet);
  using nothing = system().mapCode(testKernels.nothing);
  using gate = system().mapMemory(4);
  using list = team.list([launch(untilSet, gate), launch(nothing, gate)], [], true);
  for (let turn = 0; turn < 10; turn++) {
    const word = new Uint32Array(gate.bytes().buffer);
    word[0] = 0;
    const ticket = team.submit(list);
    team.abort();
    word[0] = 1;
    assert.equal(team.wait(ticket, minute()), 'stopped');
    assert.deepEqual(
      list.records().map(({ calls }) => calls),
      [1, 0],
    );
    run(team, list);
    list.records();
  }
});
