/** Short sums over ranks that become one: which do, that every rank does the same, and that bits stay. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { exchangeOf, lowerCollectives } from '../../src/compiler/exchange.ts';
import { joinSums } from '../../src/compiler/partition/join-sums.ts';
import type { Device } from '../../src/devices/device.ts';
import type { Builder } from '../../src/ir/build.ts';
import type { Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { walk } from '../../src/ir/walk.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import { devices, localGroup, noCpu, openCpu } from '../conformance/devices.ts';
import { programOf, sum } from './collective-program.ts';
import { drawn, runOn, square, stateful } from './drawn-exchanges.ts';

function joined(program: Program): Program {
  const made = joinSums(program);
  verify(made);
  return made;
}

/** Of main, with what stands in its regions. */
const sums = ({ main }: Program) =>
  [...walk(main)].flatMap((op) => (op.name === 'all_reduce' ? [op.operands.length] : []));
const messages = (program: Program) =>
  [...walk(lowerCollectives(program).main)].filter(
    (op) => op.name === 'custom_call' && ['move', 'gather', 'swap'].includes(exchangeOf(op)?.kind ?? ''),
  ).length;

function largest(b: Builder, x: Value): Value {
  const region = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.maximum(l, r)]);
  const groups = { replica_groups: [[0, 1]], channel_id: 1, use_global_device_ids: true };
  return b.op('all_reduce', [x], groups, { regions: [region] })[0];
}

test('what does not wait for another sum is summed with it, of any width, in one message', () => {
  const program = joined(
    programOf(2, (b, x) => {
      const whole = sum(b, x, 2);
      const rows = sum(b, b.reduce('add', b.multiply(x, x), 0, [1]), 2);
      const last = sum(b, b.slice(b.negate(x), 1, 3, 4), 2);
      return { whole, rows, last, waits: sum(b, b.concatenate([whole, last], 1), 2) };
    }),
  );
  // 4096 rows of 4 are more than is copied.
  assert.deepEqual(sums(program), [1, 2, 1]);
  assert.equal(messages(program), 3);
  const short = joined(
    stateful(2, (b, x, s) => {
      const [one, other] = [sum(b, x, 2), sum(b, b.negate(x), 2)];
      return { one, other, waits: sum(b, b.add(one, other), 2), s: b.add(s, x) };
    }),
  );
  assert.deepEqual(sums(short), [2, 1]);
  assert.equal(messages(short), 2);
});

test('nothing else than sums of one kind is joined, and nothing that updates a state is moved', () => {
  const apart = joined(
    stateful(2, (b, x, s) => {
      const one = sum(b, x, 2);
      const most = largest(b, b.negate(x));
      const updated = b.add(s, x);
      // Made of the state as it is now, behind what reads it as it was.
      const late = sum(b, b.unary('abs', updated), 2);
      return { one, most, before: b.dot(s, x, { contract: [[1, 0]] }), late, s: updated };
    }),
  );
  assert.deepEqual(sums(apart), [1, 1, 1]);
  const seen = joined(
    stateful(2, (b, x, s) => {
      const one = sum(b, x, 2);
      const call = { call_target_name: 'shown', has_side_effect: true, extra: {} };
      const [shown] = b.op('custom_call', [x], call, { types: [square] });
      return { one, shown, other: sum(b, b.negate(x), 2), s: b.add(s, x) };
    }),
  );
  assert.deepEqual(sums(seen), [1, 1]);
});

test('a sum passes a branch in which ranks meet, and those within a branch are joined there', () => {
  const program = joined(
    stateful(2, (b, x, s) => {
      const most = largest(b, x);
      const [chosen] = b.if(
        b.compare('GT', b.scalar('f32', 2), b.scalar('f32', 1)),
        (yes) => [yes.add(sum(yes, x, 2), sum(yes, yes.negate(x), 2))],
        () => [x],
      );
      return { most, chosen, least: largest(b, b.negate(x)), s: b.add(s, x) };
    }),
  );
  assert.deepEqual(sums(program), [2, 2]);
});

test('drawn programs keep every bit, with fewer sums', { skip: noCpu ?? false }, async () => {
  const decisions = fc.array(fc.nat(0xffff), { minLength: 6, maxLength: 20 });
  let saved = 0;
  await fc.assert(
    fc.asyncProperty(decisions, fc.constantFrom(2, 3), async (list, size) => {
      const program = drawn(list, size);
      const made = joined(program);
      saved += sums(program).length - sums(made).length;
      const on = async (each: Program, ends: Parameters<typeof runOn>[2][], open: () => Device) =>
        Promise.all(
          ends.map(async (end, rank) => {
            await using device = open();
            return await runOn(device, each, end, rank);
          }),
        );
      const expected = await on(program, [...createHostGroup(size)], () => devices.reference());
      assert.deepEqual(await on(made, [...createHostGroup(size)], () => devices.reference()), expected);
      assert.deepEqual(await on(made, [...localGroup(size)], () => openCpu(1)), expected);
    }),
    { numRuns: 5, seed: 9 },
  );
  assert.ok(saved > 1, `${saved} sums fewer`);
});
