/**
 * Several engines as one, on engines that are written down: which gets what, that answers go on with the same text wherever and whenever
 * engines are lost, and what is refused.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import { chooseReplica, type ReplicaLoad } from '../../src/engine/choose-replica.ts';
import type { Engine, GenerateEvent, GenerateRequest, LoadHooks, Prompt } from '../../src/engine/engine.ts';
import { chainOf, continued, KnownPrefixes, pieceTokens } from '../../src/engine/known-prefixes.ts';
import type { ReplicaEvent } from '../../src/engine/replica.ts';
import { openReplicas, type ReplicasOptions } from '../../src/engine/replicas.ts';
import { addedStatus } from '../../src/engine/status.ts';
import { FakeEngine } from './fake-engine.ts';

/** An engine whose answers follow from prompt and position, as those of a model do. It dies when it is told to, and then says nothing any more. */
class MortalEngine extends FakeEngine {
  #alive = true;
  readonly #dying: Promise<never>;
  readonly die: () => void;

  constructor(hooks: LoadHooks) {
    super();
    let reject: (why: Error) => void = () => {};
    this.#dying = new Promise((_, no) => {
      reject = no;
    });
    this.#dying.catch(() => {});
    this.die = () => {
      if (!this.#alive) return;
      this.#alive = false;
      const why = new IngotError('DeviceLost', 'killed');
      reject(why);
      hooks.onLost?.(why);
    };
  }

  override async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    this.requests.push(request);
    const { begun = [], maxTokens, signal } = request;
    const prompt = await this.encode(request.prompt);
    this.running++;
    try {
      for (let n = begun.length; n < maxTokens && !signal?.aborted; n++) {
        await Promise.race([this.beforeToken(request), this.#dying]);
        if (!this.#alive) throw new IngotError('DeviceLost', 'killed');
        this.made++;
        const id = answerTo(prompt, n);
        yield { kind: 'token', id, logprob: -id, text: `${id} ` };
      }
      const counts = { promptTokens: prompt.length, reusedTokens: 0, generatedTokens: maxTokens };
      const reason = signal?.aborted ? 'aborted' : 'length';
      yield { kind: 'end', text: '.', reason, statistics: { ...counts, queueSeconds: 0, totalSeconds: 0 } };
    } finally {
      this.running--;
    }
  }

  override async score(): Promise<Float64Array> {
    await Promise.race([this.beforeToken({ prompt: [], maxTokens: 0 }), this.#dying]);
    return Float64Array.of(-1);
  }
}

const answerTo = (prompt: readonly number[], n: number) => (prompt.reduce((sum, id) => 31 * sum + id, 7) + n * n) % 997;
const textOf = (prompt: readonly number[], tokens: number) =>
  `${Array.from({ length: tokens }, (_, n) => `${answerTo(prompt, n)} `).join('')}.`;

/** What `beforeToken` waits for unless it is told otherwise: a turn of the event loop. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

interface Setting extends Partial<ReplicasOptions> {
  readonly count?: number;
  readonly once?: string;
  /** Called for each engine that is opened: may throw. */
  onOpen?(engine: MortalEngine, replica: number, epoch: number): void;
}

/** Engines as one, and those that live now. */
async function open({ count = 2, once, onOpen, ...options }: Setting = {}) {
  const living: (MortalEngine | undefined)[] = [];
  const events: (ReplicaEvent & { readonly replica: number })[] = [];
  const sources = Array.from({ length: count }, (_, replica) => ({
    ...(once !== undefined && { once }),
    async open(epoch: number, hooks: LoadHooks) {
      await turn();
      const engine = new MortalEngine(hooks);
      engine.beforeToken = turn;
      onOpen?.(engine, replica, epoch);
      living[replica] = engine;
      return engine;
    },
  }));
  const engine = await openReplicas(sources, {
    sequences: 4,
    queue: Number.POSITIVE_INFINITY,
    onReplica: (replica, event) => events.push({ replica, ...event }),
    ...options,
  });
  return { engine, living, events, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
}

async function textFrom(engine: Engine, prompt: Prompt, maxTokens: number): Promise<string> {
  let text = '';
  for await (const event of engine.generate({ prompt, maxTokens })) text += event.text;
  return text;
}

const load = (given: Partial<ReplicaLoad> = {}): ReplicaLoad => ({
  ...{ ready: true, requests: 0, places: 4, ahead: 0, known: 0, lastChosen: 0 },
  ...given,
});
const loads = fc.array(
  fc.record({
    ready: fc.boolean(),
    requests: fc.nat(8),
    places: fc.constant(4),
    ahead: fc.nat(2000),
    known: fc.nat(2000),
    lastChosen: fc.nat(1000),
  }),
  { maxLength: 6 },
);

test('the choice: one that works, with a free place, where least is to be computed, and then by turns', () => {
  assert.equal(chooseReplica([], 10), undefined);
  assert.equal(chooseReplica([load({ ahead: 300 }), load({ ahead: 200 })], 10), 1, 'less to do');
  assert.equal(
    chooseReplica([load({ ahead: 300, known: 101 }), load({ ahead: 200 })], 128),
    0,
    'a prompt that is known',
  );
  assert.equal(chooseReplica([load({ ahead: 300, known: 99 }), load({ ahead: 200 })], 128), 1, 'not at any price');
  assert.equal(chooseReplica([load({ ahead: 300, known: 900 }), load({ ahead: 200 })], 64), 1, 'as far as it is asked');
  assert.equal(chooseReplica([load({ requests: 4, known: 900 }), load({ ahead: 5000 })], 900), 1, 'a place is free');
  assert.equal(chooseReplica([load({ lastChosen: 2 }), load({ lastChosen: 1 })], 5), 1, 'by turns');
  fc.assert(
    fc.property(loads, fc.nat(2000), (replicas, tokens) => {
      const chosen = chooseReplica(replicas, tokens);
      if (chosen === undefined) return assert.ok(replicas.every(({ ready }) => !ready));
      const one = replicas[chosen];
      assert.ok(one.ready);
      for (const other of replicas) {
        if (!other.ready) continue;
        const [ownFree, otherFree] = [one.requests < one.places, other.requests < other.places];
        assert.ok(ownFree || !otherFree, 'nobody waits where there is a place');
        if (ownFree === otherFree) {
          assert.ok(one.ahead - other.ahead <= Math.min(one.known, tokens), 'no more than is saved is waited for');
        }
      }
    }),
    { seed: 6, numRuns: 2000 },
  );
});

test('the choice: whatever comes, as much of it is given to each as fits, and none starves', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(500), fc.nat(3)), { minLength: 40, maxLength: 80 }), (requests) => {
      const states = Array.from({ length: 3 }, () => ({ ...load(), prefixes: new Set<number>() }));
      requests.forEach(([tokens, prefix], i) => {
        const chosen = chooseReplica(
          states.map((state) => ({ ...state, known: state.prefixes.has(prefix) ? tokens : 0 })),
          tokens,
        );
        assert.ok(chosen !== undefined);
        const state = states[chosen];
        state.prefixes.add(prefix);
        Object.assign(state, { requests: state.requests + 1, ahead: state.ahead + 128, lastChosen: i + 1 });
      });
      const counts = states.map((state) => state.requests);
      assert.ok(Math.max(...counts) - Math.min(...counts) <= 500 / 128 + 1, `${counts}`);
    }),
    { seed: 6, numRuns: 200 },
  );
});

test('prompts are known as far as they begin alike, of their owner alone, the newest as long as there is room', () => {
  const ids = Array.from({ length: 100 }, (_, i) => i);
  const known = new KnownPrefixes(100);
  known.add(chainOf(ids, 'a'));
  assert.equal(known.known(chainOf(ids, 'a')), 96, 'whole pieces');
  assert.equal(known.known(chainOf([...ids.slice(0, 40), 7, ...ids.slice(41)], 'a')), 32);
  assert.equal(known.known(chainOf(ids, 'b')), 0);
  assert.equal(known.known(chainOf(ids.slice(16), 'a')), 0, 'the same words elsewhere are something else');
  known.add(chainOf(ids.slice(16), 'a'));
  assert.equal(known.known(chainOf(ids, 'a')), 32, 'the end is forgotten first');
  const messages = [{ role: 'user', content: 'x'.repeat(300) }];
  const first = chainOf({ messages }, '');
  const next = continued({ messages }, [], 'an answer');
  assert.ok(typeof next === 'object' && 'messages' in next);
  const chain = chainOf({ messages: [...next.messages, { role: 'user', content: 'more' }] }, '');
  assert.deepEqual(chain.slice(0, first.length), first, 'a conversation goes on');
  assert.notEqual(chainOf({ messages, tools: [1] }, '')[0], first[0], 'tools come before messages');
  assert.equal(chainOf('a text '.repeat(100), '').length, Math.floor(700 / (4 * pieceTokens)));
});

test('requests that begin alike meet, others are spread', async () => {
  await using it = await open({ sequences: 16 });
  const prefix = (n: number) => Array.from({ length: 400 }, (_, i) => n * 1000 + i);
  for (let round = 0; round < 3; round++) {
    await Promise.all([1, 2].map((n) => textFrom(it.engine, [...prefix(n), round], 5)));
  }
  const firsts = it.living.map(
    (engine) => new Set(engine?.requests.map(({ prompt }) => Array.isArray(prompt) && prompt[0])),
  );
  assert.deepEqual(
    firsts.map(({ size }) => size),
    [1, 1],
  );
  const { replicas } = await it.engine.status();
  assert.deepEqual(replicas, Array(2).fill({ ready: true, requests: 0, restarts: 0, replays: 0 }));
});

test('engines that die at any time, again and again, change no answer', async () => {
  let replayed = 0;
  // A few at the same time: they wait for engines to come back.
  for (let seed = 1; seed <= 200; seed += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => play(seed + i)));
  assert.ok(replayed > 200, `${replayed} replays`);

  async function play(seed: number): Promise<void> {
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 16) % below;
    };
    await using it = await open({ count: 1 + (seed % 3), sequences: 2 });
    const { engine, living } = it;
    const asked = Array.from(
      { length: 6 },
      () => [Array.from({ length: 1 + random(40) }, () => random(900)), 1 + random(30)] as const,
    );
    const answers = Promise.all(
      asked.map(async ([prompt, tokens]) => {
        for (let i = random(20); i > 0; i--) await turn();
        const seen: GenerateEvent[] = [];
        for await (const event of engine.generate({ prompt, maxTokens: tokens })) {
          seen.push(event);
          // Some read slowly.
          if (random(4) === 0) await turn();
        }
        return seen;
      }),
    );
    // Three losses are what any request is given.
    for (let kills = 0; kills < 3; kills++) {
      for (let i = random(25); i > 0; i--) await turn();
      living[random(living.length)]?.die();
    }
    for (const [i, events] of (await answers).entries()) {
      const [prompt, tokens] = asked[i];
      const text = events.map((event) => event.text).join('');
      assert.equal(text, textOf(prompt, tokens), `seed ${seed}, request ${i}`);
      const end = events.at(-1);
      assert.ok(end?.kind === 'end' && events.length === tokens + 1);
      assert.equal(end.statistics.generatedTokens, tokens);
      assert.ok(end.statistics.totalSeconds >= 0 && (end.statistics.ttftSeconds ?? 0) >= 0);
    }
    const { replicas = [] } = await engine.status();
    replayed += replicas.reduce((sum, { replays }) => sum + replays, 0);
    assert.ok(replicas.every(({ requests }) => requests === 0));
  }
});

test('a request that ends whatever computes it is refused, and those beside it are not', async () => {
  const poison = [13];
  let deaths = 0;
  await using it = await open({
    onOpen(engine) {
      engine.beforeToken = async (request) => {
        await turn();
        if (request.prompt === poison && (request.begun?.length ?? 0) + engine.made > 2) {
          deaths++;
          engine.die();
        }
      };
    },
  });
  const others = Array.from({ length: 6 }, (_, i) => [i, i + 1]);
  const answers = others.map((prompt) => textFrom(it.engine, prompt, 200));
  await assert.rejects(textFrom(it.engine, poison, 50), (error) => {
    return isIngotError(error, 'RequestFault') && /4 times/.test(error.message) && /killed/.test(error.message);
  });
  assert.equal(deaths, 4);
  const texts = await Promise.all(answers);
  assert.deepEqual(
    texts,
    others.map((prompt) => textOf(prompt, 200)),
  );
});

test('what an engine says after it was lost is heard by nobody', async () => {
  let goOn: () => void = () => {};
  await using it = await open({
    count: 1,
    onOpen(engine, _, epoch) {
      if (epoch > 1) return;
      // It is given up, and says something afterwards.
      engine.textOf = () => 'late';
      engine.generate = async function* (request) {
        this.requests.push(request);
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
        yield { kind: 'token', id: 1, logprob: 0, text: 'late' };
      };
    },
  });
  const answer = textFrom(it.engine, [1, 2], 3);
  while (it.living[0]?.requests.length !== 1) await turn();
  it.living[0].die();
  goOn();
  assert.equal(await answer, textOf([1, 2], 3));
});

test('while none works requests wait, and are told where that is too long or they are left', async (t) => {
  let broken = false;
  await using it = await open({
    count: 2,
    onOpen() {
      if (broken) throw new IngotError('OutOfMemory', 'no room');
    },
  });
  broken = true;
  for (const engine of it.living) engine?.die();
  assert.deepEqual(it.engine.replicas, { all: 2, ready: 0 });
  const controller = new AbortController();
  const left = it.engine.generate({ prompt: [1], maxTokens: 3, signal: controller.signal });
  const leaving = left.next();
  const waiting = textFrom(it.engine, [5], 4);
  controller.abort();
  const { value } = await leaving;
  assert.ok(value?.kind === 'end' && value.reason === 'aborted');
  while (!it.events.some(({ kind }) => kind === 'failed')) await turn();
  broken = false;
  assert.equal(await waiting, textOf([5], 4));
  const status = await it.engine.status();
  assert.ok((status.replicas ?? []).every(({ restarts }) => restarts > 0) && status.totals.generatedTokens > 0);
  broken = true;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  for (const engine of it.living) engine?.die();
  const now = performance.now();
  t.mock.method(performance, 'now', () => now + 61_000);
  await assert.rejects(textFrom(it.engine, [5], 4), (error) => isIngotError(error, 'DeviceLost'));
});

test('where none comes in the place of those that are lost, the others go on, and after the last all hear why', async () => {
  await using it = await open({ count: 2, once: 'start it anew' });
  const [first, second] = it.living;
  const answer = textFrom(it.engine, [5], 4);
  first?.die();
  assert.equal(await answer, textOf([5], 4));
  const last = textFrom(it.engine, [6], 50);
  const over = (error: unknown) => isIngotError(error, 'DeviceLost') && error.hint === 'start it anew';
  await turn();
  second?.die();
  await assert.rejects(last, over);
  await assert.rejects(textFrom(it.engine, [7], 4), over);
  assert.deepEqual(
    it.events.map(({ kind, replica, ...event }) => [kind, replica, 'returns' in event && event.returns]),
    [
      ['lost', 0, false],
      ['lost', 1, false],
    ],
  );
});

test('a queue that is full refuses, those that go on after a loss it does not', async () => {
  await using it = await open({ sequences: 1, queue: 1 });
  const answers = [1, 2, 3].map((id) => textFrom(it.engine, [id], 40));
  await turn();
  await assert.rejects(textFrom(it.engine, [4], 1), (error) => isIngotError(error, 'Overloaded'));
  it.living[0]?.die();
  assert.deepEqual(
    await Promise.all(answers),
    [1, 2, 3].map((id) => textOf([id], 40)),
  );
});

test('questions are asked again, errors of requests are no losses, and closing ends everything', async () => {
  await using it = await open();
  for (const engine of it.living) assert.ok(engine !== undefined);
  const score = it.engine.score([1, 2]);
  it.living.find((engine) => engine !== undefined)?.die();
  assert.deepEqual(await score, Float64Array.of(-1));
  const long = Array(5000).fill(1);
  for (const engine of it.living) {
    if (engine === undefined) continue;
    engine.encode = async (prompt) => {
      if (Array.isArray(prompt) && prompt.length > 4096) throw new IngotError('ContextOverflow', 'too long');
      return [1];
    };
  }
  await assert.rejects(textFrom(it.engine, long, 1), (error) => isIngotError(error, 'ContextOverflow'));
  assert.equal(it.events.filter(({ kind }) => kind === 'lost').length, 1);
  const controller = new AbortController();
  await assert.rejects(it.engine.embed('a', AbortSignal.abort()), (error) => isIngotError(error, 'Aborted'));
  const events = it.engine.generate({ prompt: [1], maxTokens: 100, signal: controller.signal });
  await events.next();
  await events.return();
  await it.engine[Symbol.asyncDispose]();
  assert.ok(it.living.every((engine) => engine?.closed && engine.running === 0));
  await assert.rejects(textFrom(it.engine, [1], 1), (error) => isIngotError(error, 'InvalidArgument'));
});

test('one that cannot be opened at the start closes the others, and says why', async () => {
  const opened: MortalEngine[] = [];
  const onOpen = (engine: MortalEngine, replica: number) => {
    if (replica === 1) throw new IngotError('OutOfMemory', 'no room');
    opened.push(engine);
  };
  await assert.rejects(open({ count: 3, onOpen }), (error) => isIngotError(error, 'OutOfMemory'));
  assert.ok(opened.length > 0 && opened.every((engine) => engine.closed));
});

test('figures of several are those of all', async () => {
  const [a, b] = [new MortalEngine({}), new MortalEngine({})];
  await Promise.all([textFrom(a, [1], 5), textFrom(b, [1], 7)]);
  const { totals, memory, machine } = addedStatus([await a.status(), await b.status()]);
  assert.deepEqual([totals.generatedTokens, memory.weights, machine], [12, 2, undefined]);
});
