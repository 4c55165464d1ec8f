import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { checkSampling, greedy } from '../../src/engine/sampling.ts';
import { planStep, type Sequence } from '../../src/engine/scheduler.ts';
import { StopStrings } from '../../src/engine/stop-strings.ts';

const seed = 20261123;

test('blocks are never lost and never shared, whatever grows and ends', () => {
  const step = fc.record({ table: fc.nat(3), tokens: fc.nat(60), release: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const manager = new BlockManager(16, 4);
      const tables: number[][] = [[], [], [], []];
      for (const { table, tokens, release } of steps) {
        if (release) manager.release(tables[table]);
        else {
          const before = [...tables[table]];
          const possible = Math.ceil(tokens / 4) - before.length <= manager.freeBlocks;
          try {
            manager.grow(tables[table], tokens);
            assert.ok(possible && tables[table].length * 4 >= tokens);
          } catch (error) {
            assert.ok(isIngotError(error, 'OutOfMemory') && !possible);
            assert.deepEqual(tables[table], before);
          }
        }
        manager.checkIntegrity(tables);
      }
    }),
    { seed },
  );
});

test('an integrity check finds a lost and a shared block', () => {
  const manager = new BlockManager(4, 4);
  const table: number[] = [];
  manager.grow(table, 8);
  assert.throws(() => manager.checkIntegrity([]), /2 blocks have no owner/);
  assert.throws(() => manager.checkIntegrity([table, table]), /two owners/);
  assert.throws(() => manager.release([3]), /released twice/);
});

test('a step keeps its bounds, takes every sequence that fits, and samples only whole sequences', () => {
  const lengths = fc.array(fc.record({ tokens: fc.integer({ min: 1, max: 50 }), computed: fc.nat(50) }), {
    maxLength: 6,
  });
  const bounds = fc.record({
    maxTokens: fc.integer({ min: 1, max: 64 }),
    maxSequences: fc.integer({ min: 1, max: 4 }),
    maxRows: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(
    fc.property(lengths, bounds, (parts, limits) => {
      const sequences = parts.map(({ tokens, computed }, row): Sequence => {
        return { row, tokens: new Array(tokens).fill(0), computed: Math.min(computed, tokens), blocks: [] };
      });
      const entries = planStep(sequences, limits);
      const waiting = sequences.filter(({ tokens, computed }) => tokens.length > computed);
      assert.equal(entries.length > 0, waiting.length > 0);
      assert.ok(entries.length <= limits.maxSequences);
      assert.ok(entries.reduce((sum, { count }) => sum + count, 0) <= limits.maxTokens);
      assert.ok(entries.filter(({ samples }) => samples).length <= limits.maxRows);
      assert.equal(new Set(entries.map(({ sequence }) => sequence)).size, entries.length);
      for (const { sequence, start, count, samples } of entries) {
        assert.ok(count > 0 && start === sequence.computed);
        assert.equal(samples, start + count === sequence.tokens.length);
      }
    }),
    { seed },
  );
});

test('text is shown up to the first stop string, however it is cut into pieces', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  });
  fc.assert(
    fc.property(letters, stops, fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 30 }), (text, stopList, cuts) => {
      const positions = stopList.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      // A stop string that ends first wins over one that would begin earlier but has not ended yet.
      const ends = stopList.flatMap((stop) => (text.includes(stop) ? [text.indexOf(stop) + stop.length] : []));
      const stream = new StopStrings(stopList);
      let shown = '';
      let stopped = false;
      for (let at = 0, i = 0; at < text.length && !stopped; i++) {
        const piece = text.slice(at, at + (cuts[i] ?? 1));
        at += piece.length;
        const result = stream.push(piece);
        shown += result.text;
        stopped = result.stopped !== undefined;
      }
      if (!stopped) shown += stream.end();
      assert.equal(stopped, positions.length > 0);
      if (!stopped) assert.equal(shown, text);
      else {
        assert.ok(text.startsWith(shown) && shown.length <= Math.min(...ends));
        for (const stop of stopList) assert.ok(!shown.includes(stop), 'a stop string was shown');
      }
    }),
    { seed, numRuns: 500 },
  );
});

test('sampling parameters outside their range are named', () => {
  const wrong = [
    { temperature: -1 },
    { temperature: Number.NaN },
    { topK: 1.5 },
    { topP: 1.1 },
    { minP: -0.1 },
    { repetitionPenalty: 0 },
    { seed: 1n << 64n },
    { logitBias: new Map([[100, 1]]) },
  ];
  for (const part of wrong) {
    const [name] = Object.keys(part);
    assert.throws(
      () => checkSampling({ ...greedy, ...part }, 100, 8),
      (error) => isIngotError(error, 'InvalidArgument') && error.message.includes(name),
      name,
    );
  }
  checkSampling(greedy, 100, 8);
});
