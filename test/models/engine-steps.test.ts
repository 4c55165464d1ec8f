/** How the engine shares steps between requests, seen through the records of its steps, and what it does when one goes wrong. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import type { Device } from '../../src/devices/device.ts';
import { openDevice } from '../../src/devices/open-node.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { LocalEngine, type LocalEngineOptions } from '../../src/engine/local-engine.ts';
import { openEngine } from '../../src/engine/open-node.ts';
import { openSlots } from '../../src/engine/slots-node.ts';
import type { StepRecord } from '../../src/engine/step-trace.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { repositoryPath } from '../fixtures.ts';
import { generateWith } from './engine-suite.ts';
import { changedDevice, faultyDevice } from './faulty-device.ts';

const path = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
const checkpoint = await openCheckpoint(path);
const model = openModel(checkpoint);
const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, model);
const usable = await openDevice();

after(async () => {
  await usable[Symbol.asyncDispose]();
  await checkpoint[Symbol.asyncDispose]();
});

/** An engine, and the records of its steps. */
async function open(options: LocalEngineOptions = {}, device: Device = usable) {
  const steps: StepRecord[] = [];
  const onStep = (record: StepRecord) => steps.push(record);
  const given = { sequences: 4, contextLength: 300, onStep, ...options };
  return { engine: await LocalEngine.load(device, model, tokenizer, given), steps };
}

const longPrompt = tokenizer
  .encode('Once upon a time there was a little fox who lived in the forest. '.repeat(12))
  .slice(0, 150);
const tokensOf = (steps: readonly StepRecord[]) =>
  steps.flatMap(({ entries }) => entries).reduce((sum, { count }) => sum + count, 0);

test('the trace of an engine in a worker: a prompt and running answers in one submission, and what each step took', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-trace-'));
  try {
    const file = join(folder, 'steps.jsonl');
    {
      await using engine = await openEngine(path, { sequences: 4, traceSteps: file });
      const enough = new AbortController();
      // Longer than what is made ahead of their readers, so that none is over when the prompt comes.
      const running = { maxTokens: 400, ignoreEnd: true, signal: enough.signal };
      const stories = ['The fox', 'Tom'].map((prompt) => generateWith(engine, { ...running, prompt }));
      const events = engine.generate({ ...running, prompt: 'A dog' });
      for (let i = 0; i < 5; i++) await events.next();
      await generateWith(engine, { prompt: longPrompt, maxTokens: 2, ignoreEnd: true });
      enough.abort();
      for await (const _ of events);
      await Promise.all(stories);
    }
    const steps = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as StepRecord);
    const mixed = steps.filter(({ entries }) => {
      return (
        entries.some(({ count }) => count > 1) &&
        entries.filter(({ count, samples }) => count === 1 && samples).length === 3
      );
    });
    assert.ok(mixed.length > 0, 'no step has rows of both kinds');
    assert.deepEqual(
      steps.map(({ step }) => step),
      steps.map((_, i) => i),
    );
    assert.ok(steps.every(({ took, predicted, gap }) => took > 0 && predicted > 0 && gap >= 0));
    await assert.rejects(openEngine(path, { traceSteps: join(folder, 'none', 'file') }), (error) =>
      isIngotError(error, 'FileNotFound'),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('where the device takes two steps, it has the next one while one runs, and answers are the same', async () => {
  const requests = ['The fox', 'Tom'].map((prompt, i) => {
    const sampling = { temperature: 1, seed: BigInt(i), presencePenalty: 0.5 };
    return { prompt, maxTokens: 40, ignoreEnd: true, sampling };
  });
  const alone: (readonly number[])[] = [];
  {
    const { engine } = await open({}, changedDevice(usable, { runsAhead: 1 }));
    await using _ = engine;
    for (const request of requests) alone.push((await generateWith(engine, request)).ids);
  }
  let underWay = 0;
  const seen: number[] = [];
  const submit: Device['submit'] = (...given) => {
    seen.push(++underWay);
    return usable.submit(...given);
  };
  const wait: Device['wait'] = (...given) => usable.wait(...given).finally(() => underWay--);
  const { engine, steps } = await open({}, changedDevice(usable, { submit, wait, runsAhead: 2 }));
  await using _ = engine;
  const answers = await Promise.all(requests.map((request) => generateWith(engine, request)));
  assert.deepEqual(
    answers.map(({ ids }) => ids),
    alone,
  );
  assert.ok(steps.length >= 40 && Math.max(...seen) === 2);
  assert.ok(seen.filter((count) => count === 2).length > 35, String(seen));
  assert.ok(steps.filter(({ gap }) => gap === 0).length > 35, 'the device waits for JavaScript');
});

const logitsTest = 'nothing is compiled after the load, and logits leave the device only where they are asked for';
for (const sequences of [1, 4])
  test(`${logitsTest}: ${sequences} at once`, async () => {
    let compiled = 0;
    const compile: Device['compile'] = (...given) => {
      compiled++;
      return usable.compile(...given);
    };
    const results: string[] = [];
    const wait: Device['wait'] = async (...given) => {
      const made = await usable.wait(...given);
      results.push([...made.keys()].sort().join());
      return made;
    };
    const { engine } = await open({ sequences, compilesAll: true }, changedDevice(usable, { compile, wait }));
    await using _ = engine;
    assert.ok(compiled > 0);
    compiled = 0;
    const asked = { maxTokens: 4, ignoreEnd: true };
    const draw = (seed: bigint) => generateWith(engine, { ...asked, sampling: { temperature: 1, topK: 5, seed } });
    await generateWith(engine, asked);
    await Promise.all([1n, 2n, 3n].map(draw));
    assert.deepEqual([...new Set(results)], ['ids,logprobs']);
    results.length = 0;
    const { tokens } = await generateWith(engine, { ...asked, topLogprobs: 2 });
    assert.equal(tokens[0]?.top?.length, 2);
    assert.ok(results.includes('ids,logits,logprobs'));
    assert.equal(compiled, 0);
  });

test('choices of one prompt compute it once, and say what each says alone', async () => {
  const { engine, steps } = await open();
  await using _ = engine;
  const choice = (seed: number, cacheOwner: string) =>
    generateWith(engine, {
      ...{ prompt: longPrompt, maxTokens: 12, ignoreEnd: true, cacheOwner },
      sampling: { temperature: 3, seed: BigInt(seed) },
    });
  const alone = [];
  for (const seed of [1, 2, 3, 4]) alone.push((await choice(seed, `alone ${seed}`)).ids);
  steps.length = 0;
  const together = await Promise.all([1, 2, 3, 4].map((seed) => choice(seed, 'together')));
  assert.deepEqual(
    together.map(({ ids }) => ids),
    alone,
  );
  assert.equal(new Set(alone.map(String)).size, 4);
  assert.equal(tokensOf(steps), longPrompt.length + 3 + 4 * 11);
  assert.equal(
    steps.reduce((sum, { copied }) => sum + copied, 0),
    3,
  );
  const reused = together.map(({ end }) => end.statistics.reusedTokens);
  assert.deepEqual(reused, [0, ...[1, 2, 3].map(() => longPrompt.length - 1)]);
});

test('an answer is at least as long as it has to be', async () => {
  const { engine } = await open();
  await using _ = engine;
  const end = [...tokenizer.endOfGeneration][0];
  const eager = { sampling: { logitBias: new Map([[end, 1000]]) }, maxTokens: 20 };
  for (const minTokens of [0, 1, 7]) {
    const { ids, end: last } = await generateWith(engine, { ...eager, minTokens });
    assert.deepEqual([ids.length, last.reason], [minTokens, 'end']);
  }
  const { text, tokens } = await generateWith(engine, { maxTokens: 20, ignoreEnd: true });
  const stop = text.slice(1, 3);
  const { ids: stopped, end: last } = await generateWith(engine, {
    maxTokens: 20,
    ignoreEnd: true,
    minTokens: 9,
    stop: [stop, 'e'],
  });
  assert.ok(stopped.length >= 9 && last.reason === 'stop');
  assert.deepEqual(
    stopped,
    tokens.slice(0, stopped.length).map(({ id }) => id),
  );
  await assert.rejects(generateWith(engine, { maxTokens: 3, minTokens: 4 }), (error) =>
    isIngotError(error, 'InvalidArgument'),
  );
});

test('many long lists of biases share steps, and none loses an entry', async () => {
  const { engine } = await open();
  await using _ = engine;
  // More together than a step holds; all but one token are forbidden in each.
  const forced = (id: number) => {
    const others = Array.from({ length: 500 }, (_, i) => [i, -1000] as const).filter(([other]) => other !== id);
    return generateWith(engine, {
      maxTokens: 6,
      ignoreEnd: true,
      sampling: { logitBias: new Map([...others, [id, 1000]]) },
    });
  };
  const answers = await Promise.all([77, 78, 79, 80].map(forced));
  assert.deepEqual(
    answers.map(({ ids }) => [...new Set(ids)]),
    [[77], [78], [79], [80]],
  );
});

test('who waits for longer than the queue allows is refused', async () => {
  const { engine } = await open({ sequences: 1, queueSeconds: 0.02 });
  await using _ = engine;
  const running = engine.generate({ prompt: 'The fox', maxTokens: 200, ignoreEnd: true });
  await running.next();
  await assert.rejects(generateWith(engine), (error) => isIngotError(error, 'DeadlineExceeded'));
  // Also where nothing else happens: the answer waits for its reader.
  const { value } = await running.next();
  assert.equal(value?.kind, 'token');
  await running.return();
  assert.equal((await generateWith(engine)).ids.length, 8);
});

test('a small cache: requests give way and go on, beginnings leave it and come back, and no bit changes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-spill-'));
  try {
    const prompts = [longPrompt, longPrompt.toReversed(), [...longPrompt.slice(75), ...longPrompt.slice(0, 75)]];
    const request = (i: number) => {
      const sampling = { temperature: 1, seed: BigInt(i), presencePenalty: 0.5 };
      return { prompt: prompts[i], maxTokens: 60, ignoreEnd: true, sampling };
    };
    const alone: (readonly number[])[] = [];
    {
      const { engine } = await open();
      await using _ = engine;
      for (let i = 0; i < 3; i++) alone.push((await generateWith(engine, request(i))).ids);
    }
    const slots = (blockBytes: number) => openSlots(folder, 100 * blockBytes, blockBytes);
    const small = { contextLength: 210, cacheTokens: 400 };
    const { engine, steps } = await open({ ...small, slots });
    await using _ = engine;
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all([0, 1, 2].map((i) => generateWith(engine, request(i))));
      assert.deepEqual(
        answers.map(({ ids }) => ids),
        alone,
        `round ${round}`,
      );
      await engine.checkIntegrity();
      // What is damaged is computed.
      const file = join(folder, 'kv', readdirSync(join(folder, 'kv'))[0] ?? '', 'blocks');
      if (round === 1) truncateSync(file, 1000);
    }
    const { totals, cache } = await engine.status();
    assert.ok(totals.evictedTokens > 0);
    assert.ok(totals.preemptions > 0 && steps.some(({ preempted }) => preempted.length > 0));
    assert.ok(totals.storedTokens > 0 && totals.fetchedTokens > 0 && cache.stored > 0, JSON.stringify(totals));
    assert.equal(cache.capacity, 400);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('layers with a window let go what they do not see: less memory, the same bits, and beginnings are found', async () => {
  const metadata = new Map(checkpoint.metadata)
    .set('llama.attention.sliding_window', 24)
    .set('llama.attention.sliding_window_pattern', [true, true, false, true]);
  const sliding = openModel({ ...checkpoint, metadata });
  const folder = mkdtempSync(join(tmpdir(), 'ingot-windows-'));
  try {
    const run = async (options: LocalEngineOptions) => {
      await using device = await openDevice();
      const given = { sequences: 4, contextLength: 500, cacheTokens: 1400, ...options };
      await using engine = await LocalEngine.load(device, sliding, tokenizer, given);
      const request = (i: number) => {
        const sampling = { temperature: 1, seed: BigInt(i) };
        const prompt = [...longPrompt, ...tokenizer.encode(`Once ${i}`)];
        return { prompt, maxTokens: i === 3 ? 300 : 60, ignoreEnd: true, sampling };
      };
      const ids: (readonly number[])[] = [];
      for (const wave of [[0], [1, 2, 3, 4, 5], [0, 3]]) {
        const answers = await Promise.all(wave.map((i) => generateWith(engine, request(i))));
        ids.push(...answers.map((answer) => answer.ids));
        await engine.checkIntegrity();
      }
      const scores = await engine.score([...longPrompt, ...longPrompt.toReversed()]);
      await engine.checkIntegrity();
      const { totals, memory } = await engine.status();
      return { ids, scores, reused: totals.reusedTokens, state: memory.state };
    };
    const [kept, all] = [await run({}), await run({ slots: (bytes) => openSlots(folder, 100 * bytes, bytes) })];
    assert.deepEqual(kept.ids, all.ids);
    assert.deepEqual(kept.scores, all.scores);
    assert.ok(kept.reused > 5 * 144, `${kept.reused} tokens were known`);
    // 88 blocks of one layer, 46 of three; a token has 1024 bytes in a layer; counts of tokens are state, too.
    assert.equal(all.state - kept.state, 3 * (88 - 46) * 16 * 1024);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a request that is cancelled is in no step that is planned afterwards', async () => {
  const { engine, steps } = await open();
  await using _ = engine;
  const controller = new AbortController();
  const other = generateWith(engine, { prompt: 'Tom', maxTokens: 40, ignoreEnd: true });
  let planned = 0;
  for await (const { kind } of engine.generate({
    prompt: 'The fox',
    maxTokens: 100,
    ignoreEnd: true,
    signal: controller.signal,
  })) {
    if (kind === 'end' || steps.length < 6 || controller.signal.aborted) continue;
    controller.abort();
    planned = steps.length + usable.runsAhead;
  }
  await other;
  assert.ok(planned > 0 && steps.length > planned + 5);
  for (const { step, entries } of steps) {
    if (step > planned)
      assert.ok(
        entries.every(({ request }) => request === 0),
        `step ${step}`,
      );
  }
});

test('a step that fails costs the newest request in it; the others say what they say alone', async () => {
  const prompts = ['The fox', longPrompt.slice(0, 20), 'Once upon a time', 'Tom'];
  const requests = prompts.map((prompt, i) => {
    return {
      prompt,
      maxTokens: 60,
      ignoreEnd: true,
      sampling: { temperature: 1, seed: BigInt(i), presencePenalty: 0.5 },
    };
  });
  const { engine: whole } = await open();
  await using _ = whole;
  const alone: (readonly number[])[] = [];
  for (const request of requests) alone.push((await generateWith(whole, request)).ids);
  for (const at of ['submit', 'wait'] as const) {
    for (const code of ['OutOfMemory', 'DeviceFault'] as const) {
      let [seen, failed]: [readonly StepRecord[], boolean] = [[], false];
      const fails = () => {
        // All four answers are in every step then.
        if (failed || !seen.at(-1)?.entries.every(({ samples }, _, all) => samples && all.length === 4))
          return undefined;
        failed = true;
        return code;
      };
      const { engine, steps } = await open({}, faultyDevice(usable, fails, at));
      await using _ = engine;
      seen = steps;
      const answers = await Promise.allSettled(requests.map((request) => generateWith(engine, request)));
      const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
      assert.ok(refused.length === 1 && isIngotError(refused[0], code), `${at} ${code}: ${refused}`);
      assert.deepEqual(
        answers.map(({ status }) => status),
        ['fulfilled', 'fulfilled', 'fulfilled', 'rejected'],
      );
      answers.slice(0, 3).forEach((answer, i) => {
        assert.deepEqual(answer.status === 'fulfilled' && answer.value.ids, alone[i], `${at} ${code}: request ${i}`);
      });
      assert.ok(steps.length > 20);
      await engine.checkIntegrity();
      assert.deepEqual((await generateWith(engine, requests[3])).ids, alone[3], 'and it can be asked again');
    }
  }
});

test('a step that ends with the cancelled work of others is computed again', async () => {
  const request = { prompt: 'The fox', maxTokens: 30, ignoreEnd: true };
  const { engine: whole } = await open();
  await using _whole = whole;
  const { ids: alone } = await generateWith(whole, request);
  for (const run of [0, 1, 7, 8]) {
    let runs = 0;
    const { engine } = await open(
      {},
      faultyDevice(usable, () => (runs++ === run ? 'Aborted' : undefined), 'wait'),
    );
    await using _ = engine;
    assert.deepEqual((await generateWith(engine, request)).ids, alone, `run ${run}`);
    await engine.checkIntegrity();
  }
});

test('a device that is lost, or that fails again and again, ends every request with the reason', async () => {
  for (const code of ['DeviceLost', 'RankLost', 'DeviceFault'] as const) {
    let runs = 0;
    const { engine } = await open(
      {},
      faultyDevice(usable, () => (runs++ >= 5 ? code : undefined), 'wait'),
    );
    await using _ = engine;
    const answers = await Promise.allSettled(
      ['a', 'b', 'c'].map((prompt) => generateWith(engine, { prompt, maxTokens: 30, ignoreEnd: true })),
    );
    for (const answer of answers) assert.ok(answer.status === 'rejected' && isIngotError(answer.reason, code));
    await engine.checkIntegrity();
  }
});

test('blocks are checked whenever nothing is left to do, and an engine that is damaged takes no more requests', async (t) => {
  const check = t.mock.method(BlockManager.prototype, 'checkIntegrity');
  const checked = async () => {
    for (let turn = 0; check.mock.callCount() === 0 && turn < 1000; turn++) await sleep(1);
    assert.equal(check.mock.callCount(), 1);
    check.mock.resetCalls();
  };
  const { engine } = await open();
  await using _ = engine;
  const { ids } = await generateWith(engine);
  await checked();
  check.mock.mockImplementation(() => {
    throw new IngotError('DeviceFault', 'a block was lost');
  });
  // What was answered stays so.
  assert.deepEqual((await generateWith(engine)).ids, ids);
  await checked();
  await assert.rejects(
    generateWith(engine),
    (error) => isIngotError(error, 'DeviceFault') && /block/.test(error.message),
  );
});

test('a request that comes while the one before it ends is computed', async () => {
  const { engine } = await open();
  await using _ = engine;
  for (let i = 0; i < 20; i++) {
    for await (const { kind } of engine.generate({ prompt: [1, 2, i + 3], maxTokens: 1 })) if (kind === 'end') break;
    // At every turn of the microtasks in which the loop of steps may be.
    for (let turn = 0; turn < i; turn++) await undefined;
  }
});
