/** Steps, over whatever may happen: nobody is starved, nothing is lost, and the pace is kept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { WindowLimits } from '../../src/composites/step.ts';
import { BlockManager, type Fetch } from '../../src/engine/blocks.ts';
import { type PlannedStep, planStep, type Rules } from '../../src/engine/scheduler.ts';
import { emptyState, enqueue, remove, restart } from '../../src/engine/scheduler-state.ts';
import type { Sequence, StepEntry } from '../../src/engine/sequence.ts';
import type { StepLoad } from '../../src/engine/step-cost.ts';

const seed = 20261127;
const blockSize = 4;

const newSequence = (id: number, tokens: readonly number[], of: Partial<Sequence> = {}): Sequence => ({
  id,
  since: 0,
  priority: 0,
  owner: '',
  cacheOwner: '',
  biases: 0,
  deadline: Number.POSITIVE_INFINITY,
  tokens: [...tokens],
  pendingStep: undefined,
  computed: 0,
  blocks: [],
  row: undefined,
  paused: false,
  complete: false,
  begun: false,
  fetched: false,
  ...of,
});

const fetchCost = (blocks: number) => 20 * blocks;
const cost = ({ tokens, contextTokens }: StepLoad) => 100 + 10 * tokens + contextTokens / 10;

/** Where the blocks of a table have a token. */
const placeIn = (table: readonly number[], at: number) =>
  table[Math.floor(at / blockSize)] * blockSize + (at % blockSize);

/** What the engine does around the scheduler, with answers of given lengths, and steps that end `ahead` steps later. */
class Simulation {
  readonly state = emptyState();
  readonly blocks: BlockManager;
  readonly limits: Rules['limits'];
  readonly answers = new Map<Sequence, number>();
  readonly expired: Sequence[] = [];
  /** Tokens that were computed, and those that were taken over from a copy of a block. */
  computed = 0;
  now = 0;
  pace = 2;
  readonly #flights: PlannedStep[] = [];
  readonly #ahead: number;
  readonly #windows: readonly WindowLimits[];
  /** What each place of the pools holds, of layers that keep all and of each window: the token that was computed there, once that is known. */
  readonly #pools: (() => number)[][];
  /** What left the pools, by slot. */
  readonly #slots = new Map<number, (() => number)[]>();
  readonly #fetches: { readonly fetch: Fetch; turns: number }[] = [];
  /** Blocks that came back. */
  fetched = 0;
  /** Slots whose contents are lost. */
  readonly damaged = new Set<number>();

  constructor(
    limits: Omit<Rules['limits'], 'maxBias'>,
    blockCount: number,
    ahead: number,
    { slotCount = 0, windows = [] }: { slotCount?: number; windows?: readonly WindowLimits[] } = {},
  ) {
    this.blocks = new BlockManager({ blockCount, blockSize, windows }, slotCount);
    this.limits = { maxBias: 8, ...limits };
    this.#ahead = ahead;
    this.#windows = windows;
    const pool = (blocks: number) => new Array<() => number>(blocks * blockSize).fill(() => -1);
    this.#pools = [blockCount, ...windows.map((window) => window.blockCount)].map(pool);
  }

  add(sequence: Sequence, answer: number): void {
    this.answers.set(sequence, answer);
    enqueue(this.state, sequence);
  }

  end(sequence: Sequence): void {
    remove(this.state, sequence, this.blocks);
    this.answers.delete(sequence);
  }

  get idle(): boolean {
    return this.answers.size === 0;
  }

  /** Plans a step, and takes in what an earlier one made. Undefined where nothing could be planned. */
  turn(): PlannedStep | undefined {
    const { limits, blocks, pace, now } = this;
    const planned = planStep(this.state, { limits, blocks, cost, fetchCost, pace, now });
    const { admitted, preempted } = planned;
    assert.ok(!admitted.some(({ sequence }) => preempted.includes(sequence)), 'who made room comes back at once');
    for (const { slot, block } of blocks.takeLeaving()) {
      this.#slots.set(slot, this.#pools[0].slice(block * blockSize, (block + 1) * blockSize));
      this.damaged.delete(slot);
    }
    for (const fetch of planned.fetches) this.#fetches.push({ fetch, turns: 3 });
    this.#fetch();
    for (const sequence of planned.expired) {
      assert.ok(!sequence.begun && sequence.deadline <= now && sequence.blocks.length === 0);
      this.expired.push(sequence);
      this.end(sequence);
    }
    for (const { begun, deadline } of this.state.waiting) assert.ok(begun || deadline > now, 'it waits for too long');
    if (planned.entries.length > 0) {
      this.#check(planned);
      this.#compute(planned);
      let row = 0;
      for (const { sequence, samples } of planned.entries) {
        if (!samples) continue;
        sequence.tokens.push(-++row);
        sequence.pendingStep = planned.number;
        sequence.complete = (this.answers.get(sequence) ?? 0) <= sequence.tokens.filter((token) => token < 0).length;
      }
      this.#flights.push(planned);
    }
    if (this.#flights.length >= this.#ahead || planned.entries.length === 0) this.#finish();
    this.blocks.checkIntegrity([...this.answers.keys()].map((each) => each.blocks));
    return planned.entries.length > 0 ? planned : undefined;
  }

  /** All that was submitted is lost. */
  fail(): void {
    this.#flights.length = 0;
    restart(this.state, this.blocks);
    this.blocks.checkIntegrity([]);
  }

  /** As the device does: blocks are copied, tokens written, and all that came before them read. */
  #compute({ entries, copies }: PlannedStep): void {
    for (const { from, to } of copies) {
      for (const [p, pool] of this.#pools.entries()) {
        for (let i = 0; i < blockSize; i++) pool[to[p] * blockSize + i] = pool[from[p] * blockSize + i];
      }
    }
    for (const { sequence, start, count, windowTables = [] } of entries) {
      for (let at = start; at < start + count; at++) {
        const token = sequence.tokens[at];
        for (const [p, pool] of this.#pools.entries()) {
          const place = placeIn([sequence.blocks, ...windowTables][p], at);
          pool[place] = token >= 0 ? () => token : () => sequence.tokens[at];
        }
      }
      this.computed += count;
    }
    for (const { sequence, start, windowTables = [] } of entries) {
      for (const [p, pool] of this.#pools.entries()) {
        const seen = p === 0 ? 0 : Math.max(0, start - this.#windows[p - 1].window + 1);
        for (let at = seen; at < sequence.computed; at++) {
          const found = pool[placeIn([sequence.blocks, ...windowTables][p], at)]?.();
          const where = `token ${at} of request ${sequence.id} is not in its blocks of pools ${p}`;
          assert.equal(found, sequence.tokens[at], where);
        }
      }
    }
  }

  /** Contents come some turns later, as far as they are not damaged. */
  #fetch(): void {
    for (const each of [...this.#fetches]) {
      if (--each.turns > 0) continue;
      this.#fetches.splice(this.#fetches.indexOf(each), 1);
      let good = 0;
      for (const { slot, block } of each.fetch.transfers) {
        if (this.damaged.has(slot)) break;
        const contents = this.#slots.get(slot) as (() => number)[];
        for (const [i, value] of contents.entries()) this.#pools[0][block * blockSize + i] = value;
        good++;
      }
      this.fetched += good;
      this.blocks.fetched(each.fetch, good);
    }
  }

  #finish(): void {
    const done = this.#flights.shift();
    for (const { sequence, start, count, samples } of done?.entries ?? []) {
      if (sequence.row !== undefined && start + count <= sequence.computed) {
        this.blocks.publish(sequence.blocks, sequence.tokens, start + count, sequence.cacheOwner);
      }
      const answer = this.answers.get(sequence);
      if (!samples || answer === undefined) continue;
      // Answers of one text differ from each other, as those of choices do.
      sequence.tokens[start + count] = 1000 + sequence.id;
      if (sequence.pendingStep === done?.number) sequence.pendingStep = undefined;
      this.answers.set(sequence, answer - 1);
      if (answer === 1) this.end(sequence);
    }
  }

  #check({ entries, admitted, number }: PlannedStep): void {
    const { limits } = this;
    const biases = entries.reduce((sum, { sequence, samples }) => sum + (samples ? sequence.biases : 0), 0);
    assert.ok(biases <= limits.maxBias);
    assert.ok(entries.length <= limits.maxSequences);
    assert.ok(entries.reduce((sum, { count }) => sum + count, 0) <= limits.maxTokens);
    assert.ok(entries.filter(({ samples }) => samples).length <= limits.maxRows);
    assert.equal(new Set(entries.map(({ sequence }) => sequence)).size, entries.length);
    const rows = this.state.running.map(({ row }) => row);
    assert.equal(new Set(rows).size, rows.length);
    for (const { sequence, start, count, samples } of entries) {
      assert.ok(count > 0 && start + count === sequence.computed);
      assert.equal(samples, sequence.computed === sequence.tokens.length);
      assert.ok(sequence.blocks.length * blockSize >= sequence.computed);
      const unknown = sequence.tokens.slice(start, start + count).some((token) => token < 0);
      assert.ok(!unknown || sequence.pendingStep === number - 1, 'a token is used before it is known');
    }
    const load = (some: typeof entries): StepLoad => ({
      tokens: some.reduce((sum, { count }) => sum + count, 0),
      rows: some.filter(({ samples }) => samples).length,
      contextTokens: some.reduce((sum, { start, count }) => sum + count * start + (count * (count + 1)) / 2, 0),
    });
    const begins = new Set(admitted.map(({ sequence }) => sequence));
    const isStream = ({ sequence, count, samples }: StepEntry) => samples && count === 1 && !begins.has(sequence);
    const streams = entries.filter(isStream);
    const prompts = entries.filter((entry) => !isStream(entry));
    if (streams.length === 0 || prompts.length === 0) return;
    const small = prompts.every(({ count }) => count === 1);
    assert.ok(small || cost(load(entries)) <= 2 * cost(load(streams)), 'streams lose their pace');
  }
}

/** Windows with room for one sequence and some blocks. */
function windowsOf(sizes: readonly number[], maxTokens: number, spare: number): readonly WindowLimits[] {
  return sizes.map((window) => {
    const blocksPerSequence = Math.ceil((window + maxTokens) / blockSize) + 1;
    return { window, blockCount: blocksPerSequence + spare, blocksPerSequence };
  });
}

test('whatever comes and goes, steps keep their bounds and everybody is served', () => {
  const arrival = fc.record({
    at: fc.nat(40),
    prompt: fc.integer({ min: 1, max: 40 }),
    answer: fc.integer({ min: 1, max: 20 }),
    priority: fc.nat(2),
    owner: fc.constantFrom('a', 'b', 'c'),
    text: fc.nat(2),
    choices: fc.integer({ min: 1, max: 3 }),
    leaves: fc.option(fc.nat(30)),
    slow: fc.boolean(),
    patience: fc.option(fc.nat(60)),
    biases: fc.nat(8),
  });
  const shape = fc.record({
    failures: fc.uniqueArray(fc.nat(60), { maxLength: 2 }),
    maxTokens: fc.integer({ min: 4, max: 40 }),
    maxSequences: fc.integer({ min: 1, max: 5 }),
    blockCount: fc.integer({ min: 15, max: 40 }),
    outside: fc.oneof(
      fc.record({ slotCount: fc.nat(30) }),
      fc.record({
        sizes: fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 2 }),
        spare: fc.nat(8),
      }),
    ),
    damages: fc.array(fc.tuple(fc.nat(60), fc.nat(29)), { maxLength: 5 }),
    ahead: fc.integer({ min: 1, max: 2 }),
  });
  fc.assert(
    fc.property(
      fc.array(arrival, { maxLength: 12 }),
      shape,
      (arrivals, { blockCount, outside, ahead, failures, damages, ...bounds }) => {
        const maxTokens = Math.max(bounds.maxTokens, bounds.maxSequences);
        const limits = { ...bounds, maxTokens, maxRows: bounds.maxSequences };
        const memory = 'sizes' in outside ? { windows: windowsOf(outside.sizes, maxTokens, outside.spare) } : outside;
        const simulation = new Simulation(limits, blockCount, ahead, memory);
        const requests = arrivals.flatMap((each) => Array.from({ length: each.choices }, () => each));
        const sequences = requests.map(({ at, prompt, text, priority, owner, patience, biases }, id) => {
          const tokens = Array.from({ length: prompt }, (_, k) => (k < 10 ? k + 1 : 100 * text + k));
          const deadline = patience === null ? Number.POSITIVE_INFINITY : at + patience;
          return newSequence(id, tokens, { priority, owner, cacheOwner: owner, deadline, biases });
        });
        let turns = 0;
        for (; turns < 5000; turns++) {
          simulation.now = turns;
          requests.forEach(({ at, answer, leaves, slow }, i) => {
            const sequence = sequences[i] as Sequence;
            if (turns === at) simulation.add(sequence, answer);
            if (leaves !== null && turns === at + leaves && simulation.answers.has(sequence)) simulation.end(sequence);
            sequence.paused = slow && turns % 3 === 0;
          });
          for (const [turn, slot] of damages) if (turn === turns) simulation.damaged.add(slot);
          if (failures.includes(turns)) simulation.fail();
          simulation.turn();
          if (turns > 80 && simulation.idle) break;
        }
        assert.ok(simulation.idle, 'somebody is never served');
        simulation.blocks.checkIntegrity([]);
        assert.equal(simulation.blocks.freeBlocks, blockCount);
      },
    ),
    { seed, numRuns: 400 },
  );
});

test('streams and a prompt share a step, at the pace of the streams', () => {
  const limits = { maxTokens: 128, maxSequences: 8, maxRows: 8 };
  const simulation = new Simulation(limits, 400, 1);
  for (let id = 0; id < 4; id++) simulation.add(newSequence(id, [1, 2, 3, id]), 100);
  for (let i = 0; i < 3; i++) simulation.turn();
  simulation.add(
    newSequence(
      9,
      Array.from({ length: 200 }, (_, i) => i),
    ),
    1,
  );
  const mixed = simulation.turn();
  assert.deepEqual(
    mixed?.entries.slice(0, 4).map(({ count }) => count),
    [1, 1, 1, 1],
  );
  const chunk = mixed?.entries[4]?.count ?? 0;
  assert.ok(chunk > 1 && chunk < 30, `${chunk} tokens of the prompt`);
  let steps = 1;
  while (simulation.answers.size === 5 && steps < 100) {
    const step = simulation.turn();
    assert.equal(step?.entries.filter(({ sequence }) => sequence.id < 4).length, 4, 'every stream moves in every step');
    steps++;
  }
  assert.ok(steps > 5 && steps < 40, `${steps} steps`);
});

test('where the pace leaves nothing for prompts, each of them gets on by a token a step', () => {
  const simulation = new Simulation({ maxTokens: 128, maxSequences: 8, maxRows: 8 }, 400, 1);
  simulation.add(newSequence(0, [1, 2, 3]), 100);
  simulation.turn();
  simulation.pace = 1;
  for (const id of [1, 2]) simulation.add(newSequence(id, [10 * id, 1, 2, 3, 4, 5]), 1);
  const counts = Array.from({ length: 5 }, () => simulation.turn()?.entries.map(({ count }) => count));
  assert.deepEqual(counts, new Array(5).fill([1, 1, 1]));
});

test('owners take turns, however many requests one of them has; a higher priority goes first', () => {
  const simulation = new Simulation({ maxTokens: 64, maxSequences: 1, maxRows: 1 }, 100, 1);
  const order: string[] = [];
  let id = 0;
  const text = () => Array.from({ length: 8 }, () => ++id);
  for (let i = 0; i < 6; i++) simulation.add(newSequence(id, text(), { owner: 'greedy' }), 4);
  for (let i = 0; i < 3; i++) simulation.add(newSequence(id, text(), { owner: 'modest' }), 4);
  simulation.add(newSequence(id, text(), { owner: 'urgent', priority: 1 }), 4);
  while (!simulation.idle) for (const { sequence } of simulation.turn()?.admitted ?? []) order.push(sequence.owner);
  assert.equal(order[0], 'urgent');
  assert.deepEqual(order.slice(1, 7).sort(), ['greedy', 'greedy', 'greedy', 'modest', 'modest', 'modest']);
  assert.deepEqual(order.slice(7), ['greedy', 'greedy', 'greedy']);
});

test('a short prompt passes a long one that is computed; a long one waits for no more than its own length allows', () => {
  const limits = { maxTokens: 16, maxSequences: 4, maxRows: 4 };
  let token = 0;
  const text = (length: number) => Array.from({ length }, () => ++token);
  /** Turns until each of the requests, given by turn and length, has its token. */
  const finished = (arrivals: readonly (readonly [at: number, length: number])[]) => {
    const simulation = new Simulation(limits, 400, 1);
    const turns: number[] = [];
    const sequences = arrivals.map(([, length], id) => newSequence(id, text(length)));
    for (let turn = 0; turn === 0 || !simulation.idle || arrivals.some(([at]) => at >= turn); turn++) {
      arrivals.forEach(([at], i) => {
        if (at === turn) simulation.add(sequences[i], 1);
      });
      simulation.turn();
      sequences.forEach((each, i) => {
        if (turns[i] === undefined && turn >= arrivals[i][0] && !simulation.answers.has(each)) turns[i] = turn;
      });
    }
    return turns;
  };
  const [long, short] = finished([
    [0, 160],
    [3, 16],
  ]);
  assert.ok(short < 6 && long >= 10, `${short} and ${long}`);
  // Of one length each waits for those before it.
  const alike = finished([0, 1, 2, 3].map((at) => [at, 40] as const));
  assert.deepEqual(
    alike,
    alike.toSorted((a, b) => a - b),
  );
  // One of 16 tokens comes with every step, which is all that a step can take.
  const flood = finished([[0, 80], ...Array.from({ length: 60 }, (_, i) => [i, 16] as const)]);
  assert.ok(flood[0] <= 3 * 5 + 2, `after ${flood[0]} turns`);
});

test('where memory ends the youngest gives way, and goes on later with what is still known', () => {
  const simulation = new Simulation({ maxTokens: 64, maxSequences: 4, maxRows: 4 }, 12, 1);
  const old = newSequence(0, [1, 2, 3, 4, 5, 6, 7, 8]);
  const young = newSequence(1, [11, 12, 13, 14, 15, 16, 17, 18]);
  simulation.add(old, 30);
  simulation.add(young, 20);
  const preempted: number[] = [];
  const reused: number[] = [];
  while (!simulation.idle) {
    const step = simulation.turn();
    preempted.push(...(step?.preempted ?? []).map(({ id }) => id));
    reused.push(...(step?.admitted ?? []).map((each) => each.reused));
  }
  assert.ok(preempted.length > 0 && preempted.every((id) => id === 1), `${preempted}`);
  assert.ok(
    reused.slice(2).some((tokens) => tokens > 0),
    `${reused}`,
  );
});

test('nobody who waits passes one that waits for more memory', () => {
  const simulation = new Simulation({ maxTokens: 64, maxSequences: 4, maxRows: 4 }, 12, 1);
  simulation.add(newSequence(0, [1, 2, 3, 4, 5, 6, 7, 8]), 10);
  simulation.turn();
  const large = Array.from({ length: 45 }, (_, i) => 100 + i);
  simulation.add(newSequence(1, large, { priority: 1 }), 1);
  simulation.add(newSequence(2, [200, 201]), 1);
  const begun: number[] = [];
  while (!simulation.idle) begun.push(...(simulation.turn()?.admitted ?? []).map(({ sequence }) => sequence.id));
  assert.deepEqual(begun, [1, 2]);
});

test('choices of one prompt compute it once, and share all of its blocks until they differ', () => {
  for (const ahead of [1, 2]) {
    for (const length of [1, 7, 8, 9, 30, 32]) {
      const simulation = new Simulation({ maxTokens: 12, maxSequences: 8, maxRows: 8 }, 200, ahead);
      const prompt = Array.from({ length }, (_, i) => i + 1);
      const choices = 5;
      for (let id = 0; id < choices; id++) simulation.add(newSequence(id, prompt), 6);
      while (!simulation.idle) simulation.turn();
      // The prompt once, its last token for every other choice, and five tokens of each answer, whose sixth is not computed.
      assert.equal(simulation.computed, length + (choices - 1) + choices * 5, `${length} tokens, ${ahead} ahead`);
    }
  }
});

test('a prompt that begins as one that is computed waits for that, and others do not wait for it', () => {
  const simulation = new Simulation({ maxTokens: 10, maxSequences: 4, maxRows: 4 }, 200, 1);
  const start = Array.from({ length: 24 }, (_, i) => i + 1);
  simulation.add(newSequence(0, [...start, 100]), 1);
  simulation.add(newSequence(1, [...start, 200]), 1);
  const another = Array.from({ length: 26 }, (_, i) => 300 + i);
  simulation.add(newSequence(2, another), 1);
  const begun: number[] = [];
  while (!simulation.idle) for (const { sequence } of simulation.turn()?.admitted ?? []) begun.push(sequence.id);
  assert.deepEqual(begun, [0, 2, 1]);
  assert.equal(simulation.computed, 25 + 1 + 26);
});

test('nobody waits for what a slow reader keeps from being computed', () => {
  // One has computed no whole block of what both begin with, the other all but the end.
  for (const [maxTokens, length] of [
    [2, 20],
    [20, 22],
  ] as const) {
    const simulation = new Simulation({ maxTokens, maxSequences: 8, maxRows: 8 }, 200, 1);
    const prompt = Array.from({ length }, (_, i) => i + 1);
    const slow = newSequence(0, prompt);
    simulation.add(slow, 2);
    simulation.turn();
    slow.paused = true;
    simulation.add(newSequence(1, prompt), 2);
    for (let turns = 0; simulation.answers.size > 1; turns++) {
      assert.ok(turns < 50, `${length} tokens: it waits`);
      simulation.turn();
    }
  }
});

test('who waits for too long is refused, and nobody who has begun', () => {
  const simulation = new Simulation({ maxTokens: 64, maxSequences: 1, maxRows: 1 }, 100, 1);
  const [first, second, third] = [0, 1, 2].map((id) => newSequence(id, [id, 1], { deadline: id < 2 ? 5 : 100 }));
  for (const sequence of [first, second, third]) simulation.add(sequence as Sequence, 10);
  for (; !simulation.idle; simulation.now++) simulation.turn();
  assert.deepEqual(simulation.expired, [second]);
});

test('what had to make room comes back from outside, and is not computed again', () => {
  const count = (slotCount: number, damaged: readonly number[] = []) => {
    const simulation = new Simulation({ maxTokens: 64, maxSequences: 1, maxRows: 1 }, 12, 1, { slotCount });
    const texts = [1, 2, 3].map((text) => Array.from({ length: 33 }, (_, k) => 100 * text + k));
    let id = 0;
    // Two texts do not fit into the pools at the same time.
    for (let round = 0; round < 2; round++) {
      for (const text of texts) {
        simulation.add(newSequence(id++, text), 1);
        while (!simulation.idle) simulation.turn();
      }
      for (const slot of damaged) simulation.damaged.add(slot);
    }
    const { computed, fetched, blocks } = simulation;
    return { computed, fetched, evicted: blocks.evicted };
  };
  const without = count(0);
  assert.deepEqual([without.computed, without.fetched], [6 * 33, 0]);
  // Only the last token, which says what follows, is computed again.
  const within = count(24);
  assert.equal(within.computed, 3 * 33 + 3);
  assert.ok(within.fetched > 12 && within.evicted > 24, `${within.fetched} fetched, ${within.evicted} evicted`);
  // And what cannot be read any more, with all that follows it.
  const damaged = count(24, [5]);
  assert.ok(damaged.computed > within.computed && damaged.fetched < within.fetched, `${damaged.computed} computed`);
});

test('requests that gave their memory to others go on with what left it', () => {
  const count = (slotCount: number) => {
    const simulation = new Simulation({ maxTokens: 64, maxSequences: 4, maxRows: 4 }, 20, 1, { slotCount });
    for (let id = 0; id < 3; id++) {
      simulation.add(
        newSequence(
          id,
          Array.from({ length: 20 }, (_, k) => 100 * id + k),
        ),
        40,
      );
    }
    let preempted = 0;
    while (!simulation.idle) preempted += simulation.turn()?.preempted.length ?? 0;
    assert.ok(preempted > 0);
    return simulation;
  };
  const [without, with20] = [count(0), count(20)];
  assert.ok(with20.fetched > 0 && with20.computed < without.computed, `${with20.computed} and ${without.computed}`);
});

test('layers with a window keep what is seen; a beginning is found while they have what its last tokens see', () => {
  const windows = [{ window: 9, blockCount: 7, blocksPerSequence: 5 }];
  const manager = new BlockManager({ blockCount: 40, blockSize, windows });
  const text = Array.from({ length: 60 }, (_, i) => i);
  const table: number[] = [];
  const write = (tokens: number) => {
    for (let at = 0; at < tokens; at += 8) {
      manager.advance(table, at);
      manager.grow(table, at + 8);
      manager.publish(table, text, at + 8, '');
    }
  };
  write(32);
  // Token 32 sees those from 24 on; seven places hold the last seven of eight blocks.
  manager.advance(table, 32);
  const [places] = manager.windowTables(table);
  assert.deepEqual(
    places.map((place) => place >= 0),
    [false, false, false, false, false, false, true, true],
  );
  const known = (most: number) => {
    const found: number[] = [];
    const tokens = manager.reuse(found, text, most, '');
    manager.release(found);
    return tokens;
  };
  assert.equal(known(32), 32);
  assert.equal(known(16), 16, 'what its last tokens see is there as long as nobody needs the memory');
  assert.equal(known(8), 0, 'its first block has made room');
  // Another text takes what nobody sees.
  const other: number[] = [];
  manager.grow(other, 16);
  assert.equal(known(32), 32);
  assert.equal(known(24), 0);
  manager.release(other);
  manager.release(table);
  manager.checkIntegrity([]);
  // Computed once more, the beginning is found again.
  write(16);
  manager.release(table);
  assert.equal(known(16), 16);
  manager.checkIntegrity([]);
});
