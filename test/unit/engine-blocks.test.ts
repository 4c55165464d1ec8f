/** Blocks, over whatever may happen: nothing is lost, shared by mistake or found by another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { BlockManager } from '../../src/engine/blocks.ts';

const seed = 20261127;
const blockSize = 4;

test('blocks are never lost and never shared by mistake, whatever grows, is published and ends', () => {
  const action = fc.record({
    table: fc.nat(3),
    kind: fc.constantFrom('grow', 'publish', 'release', 'begin', 'advance'),
    tokens: fc.nat(60),
    owner: fc.constantFrom('a', 'b'),
  });
  const window = fc.integer({ min: 1, max: 20 }).chain((length) =>
    fc.record({
      window: fc.constant(length),
      blockCount: fc.integer({ min: 6, max: 16 }),
      blocksPerSequence: fc.constant(16),
    }),
  );
  const windowLists = fc.uniqueArray(window, { maxLength: 2, selector: ({ window }) => window });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), windowLists, (actions, windows) => {
      const manager = new BlockManager({ blockCount: 16, blockSize, windows });
      // Texts that are alike for a while.
      const texts = [0, 1, 2, 3].map((i) => Array.from({ length: 64 }, (_, k) => (k < 12 ? k : k * 10 + i)));
      const tables = texts.map((): number[] => []);
      const owners = texts.map(() => 'a');
      for (const { table: i, kind, tokens, owner } of actions) {
        const table = tables[i] as number[];
        const before = [...table];
        switch (kind) {
          case 'begin': {
            manager.release(table);
            owners[i] = owner;
            const reused = manager.reuse(table, texts[i] as number[], tokens, owner);
            assert.ok(reused <= tokens && reused === table.length * blockSize);
            break;
          }
          case 'grow': {
            const possible = manager.fits(table, tokens);
            try {
              manager.grow(table, tokens);
              assert.ok(possible && table.length * blockSize >= tokens);
            } catch (error) {
              assert.ok(isIngotError(error, 'OutOfMemory') && !possible);
              assert.deepEqual(table, before);
            }
            break;
          }
          case 'publish':
            manager.publish(
              table,
              texts[i] as number[],
              Math.min(tokens, table.length * blockSize),
              owners[i] as string,
            );
            break;
          case 'advance':
            manager.advance(table, tokens);
            break;
          case 'release':
            manager.release(table);
        }
        manager.checkIntegrity(tables);
      }
      for (const table of tables) manager.release(table);
      manager.checkIntegrity([]);
      assert.equal(manager.freeBlocks, 16);
    }),
    { seed, numRuns: 500 },
  );
});

test('whole blocks are found by what they hold, by their owner alone, until their memory is needed', () => {
  const manager = new BlockManager({ blockCount: 4, blockSize });
  const text = Array.from({ length: 16 }, (_, i) => i);
  const table: number[] = [];
  manager.grow(table, 11);
  manager.publish(table, text, 11, 'a');
  const [first, second] = table;
  const find = (tokens: readonly number[], most: number, owner: string) => {
    const found: number[] = [];
    manager.reuse(found, tokens, most, owner);
    const blocks = [...found];
    manager.release(found);
    return blocks;
  };
  assert.deepEqual(find(text, 16, 'a'), [first, second]);
  assert.deepEqual(find(text, 7, 'a'), [first], 'at most so many tokens');
  assert.deepEqual(find([...text.slice(0, 4), 99, ...text.slice(5)], 16, 'a'), [first], 'another text');
  assert.deepEqual(find([99, ...text.slice(1)], 16, 'a'), []);
  assert.deepEqual(find(text, 16, 'b'), [], 'another owner');
  manager.release(table);
  assert.equal(manager.freeBlocks, 4);
  assert.deepEqual(find(text, 16, 'a'), [first, second], 'after its end');
  const other: number[] = [];
  manager.grow(other, 12);
  assert.deepEqual(find(text, 16, 'a'), [first], 'the later block goes first');
  manager.grow(other, 16);
  assert.deepEqual(find(text, 16, 'a'), []);
  manager.release(other);
  manager.checkIntegrity([]);
});

test('a text that began before its owner was forgotten is found when it is computed', () => {
  const manager = new BlockManager({ blockCount: 2, blockSize });
  const [first, second] = [
    [1, 2, 3, 4, 5],
    [6, 7, 8, 9, 10],
  ];
  const waiting: number[] = [];
  assert.equal(manager.reuse(waiting, second, 4, 'a'), 0);
  const done: number[] = [];
  manager.grow(done, 4);
  manager.publish(done, first, 4, 'a');
  manager.release(done);
  const other: number[] = [];
  manager.grow(other, 8);
  manager.release(other);
  manager.grow(waiting, 4);
  manager.publish(waiting, second, 4, 'a');
  manager.release(waiting);
  const again: number[] = [];
  assert.equal(manager.reuse(again, second, 4, 'a'), 4);
  manager.release(again);
  manager.checkIntegrity([]);
});

test('an integrity check finds what is lost and what is shared', () => {
  const manager = new BlockManager({ blockCount: 4, blockSize: 4 });
  const table: number[] = [];
  manager.grow(table, 8);
  assert.throws(() => manager.checkIntegrity([]), /0 users, not 1/);
  assert.throws(() => manager.checkIntegrity([table, table]), /2 users, not 1/);
  assert.throws(() => manager.release([3]), /released twice/);
});
