/** Exchanges in two halves: what is computed between them, that order and bits stay, and that runs end there too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { exchangeOf, isFinish, isStart, lowerCollectives } from '../../src/compiler/exchange.ts';
import { overlapExchanges } from '../../src/compiler/overlap.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { Program, Region } from '../../src/ir/program.ts';
import { verify } from '../../src/ir/verify.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import { devices, localGroup, noCpu, openCpu } from '../conformance/devices.ts';
import { forever, sum } from './collective-program.ts';
import { dot, drawn, inputOf, runOn, square, stateful } from './drawn-exchanges.ts';

const skip = noCpu ?? false;

/** Ops of a region by what they are for an exchange. */
function orderOf(region: Region): readonly string[] {
  return region.body.map((op) => {
    if (op.name !== 'custom_call') return op.name;
    if (isFinish(op)) return 'finish';
    return isStart(op) ? 'start' : (exchangeOf(op)?.kind ?? op.name);
  });
}

function overlapped(program: Program): Program {
  const made = overlapExchanges(lowerCollectives(program));
  verify(made);
  return made;
}

test('work of before and after stands between the halves, with what it makes and what it alone needs', () => {
  const { main } = overlapped(
    stateful(2, (b, x, s) => {
      const early = b.negate(dot(b, b.unary('abs', x), x));
      const total = sum(b, b.unary('floor', x), 2);
      const late = dot(b, s, x);
      const waits = dot(b, total, x);
      return { early, late, waits, s: b.add(s, waits) };
    }),
  );
  assert.deepEqual(orderOf(main), [
    ...['floor', 'start', 'abs', 'dot_general', 'negate', 'dot_general', 'finish'],
    ...['add', 'dot_general', 'add'],
  ]);
});

test('nothing moves across an update of state, another exchange, or where there is no work', () => {
  const { main } = overlapped(
    stateful(2, (b, x, s) => {
      const total = sum(b, x, 2);
      const updated = b.add(s, total);
      const again = sum(b, b.unary('floor', x), 2);
      return { again: b.unary('abs', again), late: dot(b, x, x), s: updated };
    }),
  );
  // The update stands after its reader, before the second exchange.
  assert.deepEqual(
    orderOf(main).filter((name) => !/reshape|constant/.test(name)),
    [...['move', 'add', 'add', 'floor', 'start', 'dot_general', 'finish', 'add', 'abs']],
  );
});

test('the body of a loop has halves of its own', () => {
  const { main } = overlapped(
    stateful(2, (b, x, s) => {
      const [, y] = b.while(
        [b.scalar('i32', 0), x],
        (inner, i) => inner.compare('LT', i, inner.scalar('i32', 3)),
        (inner, i, y) => [inner.add(i, inner.scalar('i32', 1)), inner.multiply(sum(inner, y, 2), dot(inner, y, y))],
      );
      return { y, s: b.add(s, x) };
    }),
  );
  const loop = main.body.find(({ name }) => name === 'while');
  const order = orderOf(loop?.regions[1] ?? main);
  const [start, finish] = [order.indexOf('start'), order.indexOf('finish')];
  assert.ok(start >= 0 && order.slice(start, finish).includes('dot_general'), order.join(' '));
});

test('drawn programs keep the order of exchanges, one under way at a time, and every bit', { skip }, async () => {
  const decisions = fc.array(fc.nat(0xffff), { minLength: 4, maxLength: 30 });
  let divided = 0;
  await fc.assert(
    fc.asyncProperty(decisions, fc.constantFrom(2, 3), async (list, size) => {
      const program = drawn(list, size);
      const order = orderOf(overlapped(program).main);
      let open = false;
      for (const what of order) {
        if (what === 'start') assert.ok(!open);
        if (what === 'gather' || what === 'move') assert.ok(!open);
        if (what === 'finish') assert.ok(open);
        if (what === 'start' || what === 'finish') open = what === 'start';
      }
      assert.ok(!open);
      const exchanges = (names: readonly string[]) =>
        names.filter((name) => /start|gather|move|swap/.test(name)).length;
      assert.equal(exchanges(order), exchanges(orderOf(lowerCollectives(program).main)));
      if (order.includes('start')) divided++;
      const [host, local] = [createHostGroup(size), localGroup(size)];
      const expected = await Promise.all(
        host.map(async (end, rank) => {
          await using device = devices.reference();
          return await runOn(device, program, end, rank);
        }),
      );
      const actual = await Promise.all(
        local.map(async (end, rank) => {
          await using device = openCpu(1 + (rank % 2));
          return await runOn(device, program, end, rank);
        }),
      );
      assert.deepEqual(actual, expected);
    }),
    { numRuns: 12, seed: 5 },
  );
  assert.ok(divided > 2, `${divided} programs`);
});

for (const threads of [1, 2]) {
  test(`${threads} threads compute while a rank does not come, and the run ends all the same`, { skip }, async () => {
    const found = findSystem();
    assert.ok(found.usable);
    const program = stateful(2, (b, x, s) => ({ beside: dot(b, x, s), s: b.add(s, sum(b, x, 2)) }));
    await using device = createCpuDevice(found.system, { threads, profile: 'sums' });
    using executable = await device.compile(program);
    using state = await device.allocate(square, 'state');
    const states = new Map([['s', state]]);
    const inputs = new Map([['x', inputOf(0)]]);
    const [end] = localGroup(2, { patienceMilliseconds: 60_000 });
    using late = await device.bind(executable, new Map(), states, end);
    const run = device.wait(device.submit(late, inputs, {}), performance.now() + 60);
    await assert.rejects(run, (error) => isIngotError(error, 'DeadlineExceeded'));
    const calls = new Map(device.profile().kernels.map((each) => [each.kernel.replace(/ \[.*/, ''), each.calls]));
    assert.equal(calls.get('exchange (move, start)'), 1);
    assert.ok(
      [...calls.keys()].some((name) => /dot/.test(name)),
      [...calls.keys()].join(),
    );
    assert.ok(![...calls.keys()].some((name) => /add/.test(name)), 'what waits for the other is not computed');
    // Who does not come at all is lost; the device goes on.
    const [lone] = localGroup(2, { patienceMilliseconds: 60 });
    using lost = await device.bind(executable, new Map(), states, lone);
    const given = device.wait(device.submit(lost, inputs, {}), forever);
    await assert.rejects(given, (error) => isIngotError(error, 'RankLost'));
    const ends = localGroup(2);
    const both = await Promise.all(
      ends.map(async (each, rank) => {
        await using other = openCpu(1);
        return await runOn(other, program, each, rank);
      }),
    );
    const one = inputOf(0).map((v, i) => v + inputOf(1)[i]);
    both.forEach(([, updated], rank) => {
      assert.deepEqual(
        updated,
        inputOf(rank + 3).map((v, i) => v + one[i]),
      );
    });
  });
}
