/** The models behind one address: who goes where memory ends, and that no request loses its model. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IngotError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { ApiError } from '../../src/server/failure.ts';
import { type Lease, type Loaded, type ModelSource, Models, whoLeaves } from '../../src/server/models.ts';

interface Log {
  /** Models in memory. */
  readonly open: Set<string>;
  readonly events: string[];
}

/** A model of so many bytes that only opens and closes. */
function source(name: string, bytes: number, log: Log, fail: () => Error | undefined = () => undefined): ModelSource {
  return {
    name,
    bytes,
    async open(signal) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (signal.aborted) throw new IngotError('Aborted', 'the load was stopped');
      const error = fail();
      if (error !== undefined) throw error;
      log.open.add(name);
      log.events.push(`+${name}`);
      const engine: Partial<Engine> = {
        status: async () => ({
          running: 0,
          waiting: 0,
          cache: { capacity: 0, used: 0, known: 0, stored: 0 },
          totals: {
            ...{ steps: 0, stepSeconds: 0, stepRequests: 0, stepTokens: 0, operations: 0, bytes: 0 },
            ...{
              promptTokens: 0,
              reusedTokens: 0,
              prefixHits: 0,
              generatedTokens: 0,
              preemptions: 0,
              evictedTokens: 0,
              storedTokens: 0,
              fetchedTokens: 0,
            },
          },
          memory: { weights: bytes, state: 0, scratch: 0, javascript: 0 },
          machine: undefined,
        }),
        [Symbol.asyncDispose]: async () => {
          assert.ok(log.open.delete(name), `${name} is closed once`);
          log.events.push(`-${name}`);
        },
      };
      return engine as Engine;
    },
  };
}

const never = new AbortController().signal;
const emptyLog = (): Log => ({ open: new Set(), events: [] });
const tick = (milliseconds = 0) => new Promise((resolve) => setTimeout(resolve, milliseconds));

test('the least recently used go, the idle ones first, and no more than have to', () => {
  const loaded = fc.array(
    fc.record({
      model: fc.uuid(),
      bytes: fc.integer({ min: 1, max: 100 }),
      lastUse: fc.integer({ min: 1, max: 1000 }),
      busy: fc.boolean(),
    }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(loaded, fc.nat(200), fc.nat(400), (all: readonly Loaded[], bytes, memory) => {
      const leaving = new Set(whoLeaves(all, bytes, memory));
      const total = (of: readonly Loaded[]) => of.reduce((sum, each) => sum + each.bytes, bytes);
      const staying = all.filter(({ model }) => !leaving.has(model));
      assert.ok(total(staying) <= memory || staying.length === 0);
      const gone = all.filter(({ model }) => leaving.has(model));
      const rank = ({ busy, lastUse }: Loaded) => (busy ? 1e6 : 0) + lastUse;
      for (const each of gone) for (const other of staying) assert.ok(rank(each) <= rank(other));
      const last = gone.toSorted((a, b) => rank(a) - rank(b)).at(-1);
      if (last !== undefined) assert.ok(total([...staying, last]) > memory, 'the last of them had to go');
    }),
    { seed: 1 },
  );
});

test('concurrent first uses load once; a request in flight keeps its model', async () => {
  const log = emptyLog();
  await using models = new Models([source('a', 6, log), source('b', 6, log)], { memory: 10 });
  const leases = await Promise.all(Array.from({ length: 5 }, () => models.acquire('a', never)));
  assert.deepEqual(log.events, ['+a']);
  const waiting = models.acquire('b', never);
  await tick(10);
  assert.deepEqual(log.events, ['+a'], 'b waits for those that have a');
  assert.equal(models.waiting('b'), 1);
  // Who comes now for a waits behind b: else b might wait for ever.
  const later = models.acquire('a', never);
  for (const lease of leases) lease[Symbol.dispose]();
  const b = await waiting;
  assert.deepEqual(log.events, ['+a', '-a', '+b']);
  b[Symbol.dispose]();
  (await later)[Symbol.dispose]();
  assert.deepEqual(log.events, ['+a', '-a', '+b', '-b', '+a']);
});

test('memory stays below its cap, and everybody gets a model, whatever comes', async () => {
  const names = ['a', 'b', 'c', 'd'];
  const uses = fc.array(fc.record({ name: fc.constantFrom(...names), hold: fc.nat(3), leaves: fc.boolean() }), {
    maxLength: 20,
  });
  await fc.assert(
    fc.asyncProperty(uses, async (all) => {
      const log = emptyLog();
      const sizes = { a: 3, b: 4, c: 5, d: 9 };
      const sources = Object.entries(sizes).map(([name, bytes]) => source(name, bytes, log));
      await using models = new Models(sources, { memory: 10 });
      await Promise.all(
        all.map(async ({ name, hold, leaves }) => {
          const controller = new AbortController();
          const asked = models.acquire(name, controller.signal);
          if (leaves) setTimeout(() => controller.abort(), hold);
          let lease: Lease;
          try {
            lease = await asked;
          } catch (error) {
            assert.ok(leaves && error instanceof IngotError && error.code === 'Aborted');
            return;
          }
          const total = [...log.open].reduce((sum, each) => sum + sizes[each as keyof typeof sizes], 0);
          assert.ok(total <= 10, `${[...log.open]} are in memory`);
          await tick(hold);
          assert.ok(log.open.has(name), 'its model is still there');
          lease[Symbol.dispose]();
        }),
      );
    }),
    { seed: 1, numRuns: 40 },
  );
});

test('a model that cannot be loaded is refused and tried again; others do not suffer', async () => {
  const log = emptyLog();
  let broken: Error | undefined = new IngotError('FileNotFound', '/secret/path is gone');
  const failures: unknown[] = [];
  await using models = new Models([source('a', 1, log), source('b', 1, log, () => broken)]);
  models.onEvent((event) => {
    if (event.kind === 'failed') failures.push(event.error);
  });
  await models.preload();
  await assert.rejects(
    models.acquire('b', never),
    (error) => error instanceof ApiError && error.status === 503 && !error.message.includes('secret'),
  );
  assert.deepEqual(failures, [broken], 'the log has the reason');
  assert.equal(models.state, 'ready');
  broken = undefined;
  using _ = await models.acquire('b', never);
  await assert.rejects(models.acquire('c', never), (error) => error instanceof ApiError && error.status === 404);
});

test('where memory ends before its cap, others go until the model fits', async () => {
  const log = emptyLog();
  const full = () => (log.open.size > 1 ? new IngotError('OutOfMemory', 'full') : undefined);
  await using models = new Models([source('a', 1, log), source('b', 1, log), source('c', 1, log, full)]);
  for (const name of ['a', 'b', 'c']) (await models.acquire(name, never))[Symbol.dispose]();
  assert.deepEqual(log.events, ['+a', '+b', '-a', '+c']);
});

test('draining refuses who comes, waits for who is there, and ends them at the deadline', async () => {
  const log = emptyLog();
  const models = new Models([source('a', 1, log)]);
  const lease = await models.acquire('a', never);
  const drained = models.drain(20);
  assert.equal(models.state, 'draining');
  await assert.rejects(models.acquire('a', never), (error) => error instanceof IngotError && error.code === 'Aborted');
  assert.ok(!lease.signal.aborted);
  await new Promise((resolve) => lease.signal.addEventListener('abort', resolve));
  assert.deepEqual(log.events, ['+a'], 'it is not closed under a request');
  lease[Symbol.dispose]();
  await drained;
  assert.deepEqual(log.events, ['+a', '-a']);
});

test('a lease lets go of the signal of its client', async () => {
  const log = emptyLog();
  await using models = new Models([source('a', 1, log)]);
  const controller = new AbortController();
  const lease = await models.acquire('a', controller.signal);
  controller.abort();
  assert.ok(lease.signal.aborted);
  lease[Symbol.dispose]();
  await assert.rejects(
    models.acquire('a', AbortSignal.abort()).then((late) => {
      const { aborted } = late.signal;
      late[Symbol.dispose]();
      if (aborted) throw new Error('aborted');
    }),
    /aborted/,
  );
});
