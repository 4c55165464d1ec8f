/** Programs of several processes: the devices agree with each other and with arithmetic, and no rank hangs. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { Communicator, Device } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Program } from '../../src/ir/program.ts';
import { type DimValues, tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { agree } from '../../src/parallel/agree.ts';
import { createHostGroup, type GroupOptions } from '../../src/parallel/host-group.ts';
import { setAlone } from '../../src/parallel/mpi.ts';
import { devices, localGroup, noCpu } from '../conformance/devices.ts';
import {
  digests,
  everyCollective,
  type Floats,
  floats,
  forever,
  inputOf,
  programOf,
  runRank,
  sum,
} from './collective-program.ts';

interface Kind {
  readonly name: string;
  create(): Device;
  group(size: number, options?: GroupOptions): readonly Communicator[];
}

const kinds: readonly Kind[] = [
  { name: 'reference', create: devices.reference, group: createHostGroup },
  ...(noCpu === undefined ? [{ name: 'cpu', create: devices.cpu, group: localGroup }] : []),
];

/** Results by rank. Rank r gets the inputs `x(r)`. */
async function run(
  { create, group }: Kind,
  size: number,
  program: Program,
  x: (rank: number) => Float32Array,
  dims: DimValues,
): Promise<readonly Floats[]> {
  const ends = group(size);
  return Promise.all(
    ends.map(async (end, rank) => {
      await using device = create();
      return await runRank(device, end, program, x(rank), dims);
    }),
  );
}

for (const kind of kinds) {
  for (const size of [1, 2, 3, 4]) {
    test(`${kind.name}: collectives of ${size} processes with symbolic rows`, async () => {
      const program = everyCollective(size);
      // So many rows of four ranks are folded in parts.
      for (const tokens of [0, 1, 5, ...(size === 4 ? [2500] : [])]) {
        const x = inputOf(tokens);
        const parts = Array.from({ length: size }, (_, rank) => x(rank));
        const ranks = await run(kind, size, program, x, { T: tokens });
        const total = (scale: number) =>
          parts.map((part) => part.map((v) => v * scale)).reduce((a, b) => a.map((v, i) => v + b[i]));
        const beside = (of: readonly Float32Array[]) =>
          Float32Array.from({ length: tokens * 4 * size }, (_, i) => {
            const [row, column] = [Math.floor(i / (4 * size)), i % (4 * size)];
            return of[Math.floor(column / 4)][row * 4 + (column % 4)];
          });
        ranks.forEach((results, rank) => {
          assert.deepEqual(results.sum, total(1));
          assert.deepEqual(results.gathered, beside(parts));
          assert.deepEqual(results.scattered, total(rank + 1));
          assert.deepEqual(results.swapped, beside(parts.map((part) => part.map((v) => v * (rank + 1)))));
          assert.deepEqual(results.first, parts[0]);
          assert.deepEqual(results.next, parts[(rank + size - 1) % size]);
        });
      }
    });
  }

  test(`${kind.name}: a collective in a loop of a called function, many steps, one submission each`, async () => {
    const type = tensor('f32', [2, 3]);
    const builder = new ProgramBuilder();
    const body = builder.define('turns', [type], (b, x) => {
      const carried = b.while(
        [b.scalar('i32', 0), x],
        (inner, i) => inner.compare('LT', i, inner.scalar('i32', 5)),
        (inner, i, y) => [
          inner.add(i, inner.scalar('i32', 1)),
          inner.multiply(sum(inner, y, 2), inner.full('f32', [2, 3], 0.5)),
        ],
      );
      return [carried[1]];
    });
    const built = builder.program(
      [{ name: 's', type, role: 'state' }],
      (b, { s }) => ({ s: b.add(b.call(body, [s])[0], b.full('f32', [2, 3], 1)) }),
      { s: 's' },
    );
    const program = { ...built, processes: { replicas: 2, partitions: 1 } };
    verify(program);
    const ends = kind.group(2);
    const steps = 50;
    const states = await Promise.all(
      ends.map(async (end, rank) => {
        await using device = kind.create();
        using executable = await device.compile(program);
        using state = await device.allocate(type, 'state');
        device.write(state, new Float32Array(6).fill(rank * 2));
        using bound = await device.bind(executable, new Map(), new Map([['s', state]]), end);
        for (let step = 0; step < steps; step++) await device.wait(device.submit(bound, new Map(), {}), forever);
        const { runs, submissions } = device.profile();
        assert.equal(runs, steps);
        // Native threads meet the other rank by themselves.
        assert.equal(submissions, kind.name === 'cpu' ? steps : undefined);
        return floats(await device.read(state));
      }),
    );
    for (const state of states) assert.deepEqual([...state], new Array(6).fill(1 + steps));
  });

  test(`${kind.name}: who waits for a rank that does not come loses it, and goes on alone`, async () => {
    const program = programOf(3, (b, x) => ({ sum: sum(b, x, 3) }));
    const alone = programOf(1, (b, x) => ({ twice: b.add(x, x) }));
    // Longer than those that come may be late.
    const patienceMilliseconds = 1000;
    const ends = kind.group(3, { patienceMilliseconds });
    const inputs = new Map([['x', inputOf(2)(0)]]);
    let ready = 0;
    await Promise.all(
      ends.slice(0, 2).map(async (end) => {
        await using device = kind.create();
        using executable = await device.compile(program);
        using bound = await device.bind(executable, new Map(), new Map(), end);
        for (ready++; ready < 2; ) await new Promise(setImmediate);
        const start = performance.now();
        const lost = (error: unknown) => isIngotError(error, 'RankLost') && /rank 2/.test(error.message);
        await assert.rejects(device.wait(device.submit(bound, inputs, { T: 2 }), forever), lost);
        const took = performance.now() - start;
        assert.ok(took > 0.9 * patienceMilliseconds, `${took} ms`);
        using other = await device.compile(alone);
        using single = await device.bind(other, new Map(), new Map());
        const results = await device.wait(device.submit(single, inputs, { T: 2 }), forever);
        assert.deepEqual(
          floats(results.get('twice') as ArrayBufferView),
          inputOf(2)(0).map((v) => v * 2),
        );
      }),
    );
  });

  test(`${kind.name}: a run that waits for a rank can be cancelled, and has a deadline`, async () => {
    const program = programOf(2, (b, x) => ({ sum: sum(b, x, 2) }));
    const [end] = kind.group(2, { patienceMilliseconds: 60_000 });
    await using device = kind.create();
    using executable = await device.compile(program);
    using bound = await device.bind(executable, new Map(), new Map(), end);
    const inputs = new Map([['x', inputOf(1)(0)]]);
    const late = device.wait(device.submit(bound, inputs, { T: 1 }), performance.now() + 60);
    await assert.rejects(late, (error) => isIngotError(error, 'DeadlineExceeded'));
  });

  test(`${kind.name}: a run that ends with an exchange ends in time too`, async () => {
    const attributes = { source_target_pairs: [[1, 0] as const], channel_id: 1 };
    const program = programOf(2, (b, x) => ({ moved: b.op('collective_permute', [x], attributes)[0] }));
    await using device = kind.create();
    using executable = await device.compile(program);
    const inputs = new Map([['x', inputOf(1)(0)]]);
    using late = await device.bind(executable, new Map(), new Map(), kind.group(2)[0]);
    const run = device.wait(device.submit(late, inputs, { T: 1 }), performance.now() + 60);
    await assert.rejects(run, (error) => isIngotError(error, 'DeadlineExceeded'));
    using lone = await device.bind(executable, new Map(), new Map(), kind.group(2, { patienceMilliseconds: 60 })[0]);
    const lost = device.wait(device.submit(lone, inputs, { T: 1 }), forever);
    await assert.rejects(lost, (error) => isIngotError(error, 'RankLost'));
  });

  test(`${kind.name}: programs and communicators that do not fit are refused`, async () => {
    const program = programOf(2, (b, x) => ({ sum: sum(b, x, 2) }));
    await using device = kind.create();
    using executable = await device.compile(program);
    const refused = (end: Communicator | undefined) =>
      assert.rejects(device.bind(executable, new Map(), new Map(), end), (error) => {
        return error instanceof IngotError && error.code === 'InvalidArgument' && /2 processes/.test(error.message);
      });
    await refused(undefined);
    await refused(kind.group(3)[0]);
  });
}

test('a rank that nobody asks whether it is alive waits for two seconds, not for its patience', {
  skip: noCpu,
}, async () => {
  const program = programOf(2, (b, x) => ({ sum: sum(b, x, 2) }));
  const inputs = new Map([['x', inputOf(1)(0)]]);
  const took = async (isAlone: boolean) => {
    const [end] = localGroup(2, { patienceMilliseconds: 3000 });
    setAlone(end, isAlone);
    await using device = devices.cpu();
    using executable = await device.compile(program);
    using bound = await device.bind(executable, new Map(), new Map(), end);
    const start = performance.now();
    const run = device.wait(device.submit(bound, inputs, { T: 1 }), forever);
    await assert.rejects(run, (error) => isIngotError(error, 'RankLost') && /rank 1/.test(error.message));
    return performance.now() - start;
  };
  const [alone, asked] = await Promise.all([took(true), took(false)]);
  assert.ok(alone > 1800 && asked > 2700 && alone < asked, `${alone} and ${asked} ms`);
});

test('ranks that run different programs lose each other', { skip: noCpu }, async () => {
  const [first, second] = localGroup(2, { patienceMilliseconds: 300 });
  const wide = tensor('f32', [8]);
  const programs = [tensor('f32', [4]), wide].map((type) => {
    const built = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => ({
      sum: sum(b, x, 2),
    }));
    return { ...built, processes: { replicas: 2, partitions: 1 } };
  });
  const outcomes = await Promise.allSettled(
    [first, second].map(async (end, rank) => {
      await using device = devices.cpu();
      using executable = await device.compile(programs[rank]);
      using bound = await device.bind(executable, new Map(), new Map(), end);
      return device.wait(device.submit(bound, new Map([['x', new Float32Array(4 + 4 * rank)]]), {}), forever);
    }),
  );
  for (const outcome of outcomes) {
    assert.ok(outcome.status === 'rejected' && isIngotError(outcome.reason, 'RankLost'), JSON.stringify(outcome));
  }
});

test('ranks agree, or say which of them differs in what, before anything runs', { skip: noCpu }, async () => {
  const system = findSystem();
  if (!system.usable) return;
  const meet = (facts: readonly Record<string, string>[], size = facts.length, milliseconds = 60_000) => {
    const ends = localGroup(size);
    const soon = performance.now() + milliseconds;
    return Promise.allSettled(facts.map((own, rank) => agree(system.system, ends[rank], own, soon)));
  };
  const same = { version: '1', program: 'abc', mesh: 'tensor=3' };
  for (const { status } of await meet([same, same, same])) assert.equal(status, 'fulfilled');
  const refused = (outcome: PromiseSettledResult<void>, code: string, message: RegExp) => {
    assert.ok(outcome.status === 'rejected' && isIngotError(outcome.reason) && outcome.reason.code === code);
    assert.match(outcome.reason.message, message);
  };
  const [first, second] = await meet([same, { ...same, program: 'abd' }]);
  refused(first, 'InvalidArgument', /rank 1 differs from rank 0 in its program: abd, not abc/);
  refused(second, 'InvalidArgument', /rank 0 differs from rank 1 in its program: abc, not abd/);
  const [alone] = await meet([same], 2, 100);
  refused(alone, 'RankLost', /rank 1 does not say/);
});

test('ranks on JavaScript threads of their own have the bits of ranks on one', { skip: noCpu }, async () => {
  const cpu = kinds.find(({ name }) => name === 'cpu');
  assert.ok(cpu !== undefined);
  const expected = await run(cpu, 2, everyCollective(2), inputOf(3), { T: 3 });
  const theirs = await Promise.all(
    localGroup(2).map(async (end) => {
      const worker = new Worker(new URL('collective-worker.js', import.meta.url), { workerData: end });
      // On a busy machine a worker has ended before its message is read.
      const ended = once(worker, 'exit');
      const [message] = await once(worker, 'message');
      await ended;
      return message as unknown;
    }),
  );
  assert.deepEqual(theirs, expected.map(digests));
});
