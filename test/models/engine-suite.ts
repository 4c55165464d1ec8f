/** What `engine/engine.ts` promises, as tests that every engine must pass, on the bundled model. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import type { Engine, EngineOptions, GenerateEvent, GenerateRequest } from '../../src/engine/engine.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';

type End = Extract<GenerateEvent, { kind: 'end' }>;
type Token = Extract<GenerateEvent, { kind: 'token' }>;

/** All that an engine says to a request. */
export async function generateWith(engine: Engine, request: Partial<GenerateRequest> = {}) {
  const tokens: Token[] = [];
  let text = '';
  let end: End | undefined;
  for await (const event of engine.generate({ prompt: 'The fox', maxTokens: 8, ...request })) {
    text += event.text;
    if (event.kind === 'end') end = event;
    else tokens.push(event);
  }
  assert.ok(end !== undefined);
  return { tokens, ids: tokens.map(({ id }) => id), text, end };
}

export function testEngine(
  name: string,
  open: (options?: EngineOptions) => Promise<Engine>,
  tokenizer: Tokenizer,
): void {
  let engine: Engine;
  /** So that every request computes all of its prompt. */
  let owners = 0;
  before(async () => {
    engine = await open({ sequences: 4 });
  });
  after(async () => {
    await engine.checkIntegrity();
    await engine[Symbol.asyncDispose]();
  });
  const generate = (request: Partial<GenerateRequest> = {}) => generateWith(engine, request);
  const contract = (what: string, body: () => Promise<void>) => test(`${name}: ${what}`, body);

  contract(
    'a prompt longer than a step is computed in chunks and continues as the token-by-token text does',
    async () => {
      const { ids } = await generate({ maxTokens: 150, ignoreEnd: true });
      const prompt = [...tokenizer.encode('The fox'), ...ids];
      const { ids: next, end } = await generate({ prompt, maxTokens: 4, ignoreEnd: true });
      const { ids: whole } = await generate({ maxTokens: 154, ignoreEnd: true });
      assert.deepEqual(next, whole.slice(150));
      assert.equal(end.statistics.promptTokens, prompt.length);
      assert.equal(end.statistics.generatedTokens, 4);
    },
  );

  contract('sampling parameters do what they say', async () => {
    const hot = { temperature: 5, seed: 3n };
    const { ids: greedy } = await generate({});
    assert.deepEqual((await generate({ sampling: { ...hot, topK: 1 } })).ids, greedy, 'top-k 1');
    assert.deepEqual((await generate({ sampling: { ...hot, topP: 1e-9 } })).ids, greedy, 'top-p 0');
    assert.deepEqual((await generate({ sampling: { ...hot, minP: 1 } })).ids, greedy, 'min-p 1');
    const { ids: wild } = await generate({ sampling: hot });
    assert.notDeepEqual(wild, greedy);
    assert.deepEqual((await generate({ sampling: hot })).ids, wild, 'the same seed');
    assert.notDeepEqual((await generate({ sampling: { ...hot, seed: 4n } })).ids, wild, 'another seed');

    const forced = await generate({ sampling: { logitBias: new Map([[77, 1000]]) }, ignoreEnd: true });
    assert.ok(forced.ids.every((id) => id === 77));
    const banned = await generate({ sampling: { logitBias: new Map([[greedy[0], -1000]]) } });
    assert.ok(!banned.ids.includes(greedy[0]));

    const once = await generate({ maxTokens: 40, ignoreEnd: true, sampling: { presencePenalty: 100 } });
    assert.equal(new Set(once.ids).size, 40, 'presence penalty');
    const fresh = await generate({ maxTokens: 40, ignoreEnd: true, sampling: { frequencyPenalty: 100 } });
    assert.equal(new Set(fresh.ids).size, 40, 'frequency penalty');
    const prompt = tokenizer.encode('The fox. The fox.');
    const repelled = await generate({ prompt, maxTokens: 30, ignoreEnd: true, sampling: { repetitionPenalty: 100 } });
    assert.ok(
      repelled.ids.every((id) => !prompt.includes(id)),
      'repetition penalty counts the prompt',
    );
  });

  contract('log-probabilities are a distribution, and the chosen token is in it', async () => {
    const { tokens } = await generate({ maxTokens: 3, topLogprobs: engine.model.vocabularySize });
    for (const { id, logprob, top = [] } of tokens) {
      assert.ok(Math.abs(top.reduce((sum, entry) => sum + Math.exp(entry.logprob), 0) - 1) < 1e-4);
      assert.equal(top[0].id, id);
      assert.ok(Math.abs(top[0].logprob - logprob) < 1e-4);
      assert.ok(top.every((entry, i) => i === 0 || entry.logprob <= top[i - 1].logprob));
    }
    const ids = [...tokenizer.encode('The fox'), ...tokens.map(({ id }) => id)];
    const scored = await engine.score(ids);
    tokens.forEach(({ logprob }, i) => {
      assert.ok(Math.abs(scored[scored.length - tokens.length + i] - logprob) < 1e-4);
    });
  });

  contract('a text may be scored from a token on; logits are what scores are made of', async () => {
    const ids = tokenizer.encode('The fox saw a small red ball. He wanted to play with it all day.');
    const all = await engine.score(ids);
    for (const first of [1, 2, 9, ids.length - 1]) {
      const some = await engine.score(ids, { first });
      assert.deepEqual(some, all.subarray(first - 1), `from token ${first}`);
    }
    assert.equal((await engine.score(ids, { first: ids.length })).length, 0);
    await assert.rejects(engine.score(ids, { first: 0 }), (error) => isIngotError(error, 'InvalidArgument'));
    const { vocabularySize } = engine.model;
    const first = ids.length - 3;
    const rows = await engine.logits(ids, { first });
    assert.equal(rows.length, 3 * vocabularySize);
    for (let i = 0; i < 3; i++) {
      const row = rows.subarray(i * vocabularySize, (i + 1) * vocabularySize);
      const sum = row.reduce((total, logit) => total + Math.exp(logit), 0);
      assert.ok(Math.abs(row[ids[first + i]] - Math.log(sum) - all[first - 1 + i]) < 1e-5);
    }
    await engine.checkIntegrity();
  });

  contract('what earlier requests computed is not computed again, and changes no bit', async () => {
    const start = tokenizer.encode('Once upon a time there was a fox. The fox was very');
    const alone = (request: Partial<GenerateRequest>) =>
      generate({ maxTokens: 40, ignoreEnd: true, cacheOwner: `nobody else ${owners++}`, ...request });
    const fresh = await alone({ prompt: start });
    assert.equal(fresh.end.statistics.reusedTokens, 0);
    const mine = { maxTokens: 20, ignoreEnd: true, cacheOwner: 'a conversation' };
    const first = await generate({ ...mine, prompt: start });
    assert.deepEqual([first.ids, first.end.statistics.reusedTokens], [fresh.ids.slice(0, 20), 0]);
    const longer = [...start, ...first.ids];
    const next = await generate({ ...mine, prompt: longer });
    assert.deepEqual(next.ids, fresh.ids.slice(20), 'the answer goes on as if it had never stopped');
    // Whole blocks of 16; the last token was sampled and never read.
    assert.equal(next.end.statistics.reusedTokens, 16 * Math.floor((longer.length - 1) / 16));
    const branch = [...start, ...tokenizer.encode(' hungry', { addSpecial: false })];
    const aside = await generate({ ...mine, prompt: branch });
    assert.equal(aside.end.statistics.reusedTokens, 16 * Math.floor(start.length / 16));
    assert.deepEqual(aside.ids, (await alone({ prompt: branch, maxTokens: 20 })).ids, 'another branch');
    const controller = new AbortController();
    const request = { prompt: branch, maxTokens: 50, cacheOwner: 'a conversation', signal: controller.signal };
    for await (const event of engine.generate(request)) {
      if (event.kind === 'token') controller.abort();
    }
    await engine.checkIntegrity();
    assert.deepEqual((await generate({ ...mine, prompt: branch })).ids, aside.ids, 'after an abort');
  });

  contract('requests that come together say what each says alone', async () => {
    const prompts = ['The fox', 'Once upon a time there was a girl', 'Tom', 'A big dog and a small cat were friends'];
    const requests = prompts.map((prompt, i) => {
      const sampling = { temperature: i % 2, topK: 40, seed: BigInt(i) };
      return { prompt, sampling, maxTokens: 20 + 7 * i, ignoreEnd: true, cacheOwner: `nobody else ${owners++}` };
    });
    const apart = [];
    for (const request of requests) apart.push((await generate(request)).ids);
    const again = requests.map((request) => ({ ...request, cacheOwner: `nobody else ${owners++}` }));
    const together = await Promise.all(again.map(async (request) => (await generate(request)).ids));
    assert.deepEqual(together, apart);
    await engine.checkIntegrity();
  });

  contract('an answer that was begun elsewhere goes on as if it had been made here', async () => {
    const end = [...tokenizer.endOfGeneration][0];
    const cases: Partial<GenerateRequest>[] = [
      { sampling: { temperature: 1, seed: 5n, presencePenalty: 0.7, repetitionPenalty: 1.2 }, topLogprobs: 2 },
      { minTokens: 6, sampling: { logitBias: new Map([[end, 3]]) } },
      { ignoreEnd: true, maxTokens: 9 },
      { prompt: [3], sampling: { temperature: 3, seed: 8n } },
    ];
    const { text } = await generate({ maxTokens: 20, ignoreEnd: true });
    // Ends in the middle of a token, some tokens after it began.
    cases.push({ stop: [text.slice(7, 19), 'never'], maxTokens: 20 });
    for (const [i, one] of cases.entries()) {
      const request = { prompt: 'The fox', maxTokens: 12, ...one };
      const alone = () => ({ ...request, cacheOwner: `nobody else ${owners++}` });
      const whole = await generate(alone());
      let said = '';
      for (let count = 0; count <= whole.ids.length; count++) {
        const rest = await generate({ ...alone(), begun: whole.ids.slice(0, count) });
        assert.equal(said + rest.text, whole.text, `case ${i}: text after ${count}`);
        assert.deepEqual(rest.tokens, whole.tokens.slice(count), `case ${i}: tokens after ${count}`);
        assert.equal(rest.end.reason, whole.end.reason, `case ${i}: reason after ${count}`);
        const { promptTokens, generatedTokens } = rest.end.statistics;
        assert.deepEqual(
          [promptTokens, generatedTokens],
          [whole.end.statistics.promptTokens, whole.end.statistics.generatedTokens],
        );
        said += whole.tokens[count]?.text ?? '';
      }
    }
    for (const begun of [[-1], [engine.model.vocabularySize], Array(9).fill(1)]) {
      await assert.rejects(generate({ begun }), (error) => isIngotError(error, 'InvalidArgument'));
    }
    await engine.checkIntegrity();
  });

  contract('who reads slowly or leaves delays nobody', async () => {
    const slow = engine.generate({ prompt: 'Tom', maxTokens: 10, ignoreEnd: true });
    await slow.next();
    const left = engine.generate({ prompt: 'The cat', maxTokens: 10, ignoreEnd: true });
    await left.next();
    await left.return();
    assert.equal((await generate({ maxTokens: 5, ignoreEnd: true })).ids.length, 5);
    let rest = 0;
    for await (const event of slow) if (event.kind === 'token') rest++;
    assert.equal(rest, 9);
    await engine.checkIntegrity();
  });

  contract('a text ends at its end token, at a stop string, at the limit, or at the end of the context', async () => {
    const end = [...tokenizer.endOfGeneration][0];
    const ended = await generate({ sampling: { logitBias: new Map([[end, 1000]]) } });
    assert.deepEqual([ended.end.reason, ended.ids, ended.text], ['end', [], '']);
    const { text } = await generate({});
    const stop = text.slice(6, 9);
    const stopped = await generate({ stop: ['', 'not there', stop] });
    assert.deepEqual([stopped.end.reason, stopped.text], ['stop', text.slice(0, text.indexOf(stop))]);
    assert.equal((await generate({})).end.reason, 'length');
    await using short = await open({ contextLength: 10 });
    let count = 0;
    for await (const event of short.generate({ prompt: [1, 2, 3], maxTokens: 100, ignoreEnd: true })) {
      if (event.kind === 'token') count++;
      else assert.equal(event.reason, 'length');
    }
    assert.equal(count, 7);
    await short.checkIntegrity();
  });

  contract(
    'a stop string that begins in one token and ends in another is found, and nothing of it is shown',
    async () => {
      const { tokens, text } = await generate({ maxTokens: 12, ignoreEnd: true });
      const ends = tokens.map(
        (_, i) =>
          tokens
            .slice(0, i + 1)
            .map((token) => token.text)
            .join('').length,
      );
      const stops = ends.slice(0, -1).map((end) => text.slice(end - 2, end + 2));
      const answers = await Promise.all(
        stops.map((stop) => generate({ maxTokens: 12, ignoreEnd: true, stop: [stop] })),
      );
      answers.forEach((answer, i) => {
        assert.deepEqual([answer.end.reason, answer.text], ['stop', text.slice(0, text.indexOf(stops[i]))], stops[i]);
      });
    },
  );

  contract('an abort ends the text soon; leaving the loop frees the cache; requests wait their turn', async () => {
    const controller = new AbortController();
    let count = 0;
    for await (const event of engine.generate({
      prompt: [5],
      maxTokens: 400,
      ignoreEnd: true,
      signal: controller.signal,
    })) {
      if (event.kind === 'token' && ++count === 3) controller.abort();
      if (event.kind === 'end') assert.equal(event.reason, 'aborted');
    }
    // What was on its way still comes: 256 events at most, however late this thread is.
    assert.ok(count >= 3 && count < 300, `${count} tokens`);
    for await (const _ of engine.generate({ prompt: [5], maxTokens: 100 })) break;
    await engine.checkIntegrity();
    const alone = (await generate({})).ids;
    const together = await Promise.all([
      generate({}),
      generate({ sampling: { temperature: 2, seed: 9n } }),
      generate({}),
    ]);
    assert.deepEqual(together[0].ids, alone);
    assert.deepEqual(together[2].ids, alone);
  });

  contract('requests that cannot be are refused by name, and nothing is lost', async () => {
    const wrong: readonly (readonly [Partial<GenerateRequest>, string])[] = [
      [{ prompt: [] }, 'InvalidArgument'],
      [{ prompt: [engine.model.vocabularySize] }, 'InvalidArgument'],
      [{ prompt: [1.5] }, 'InvalidArgument'],
      [{ maxTokens: -1 }, 'InvalidArgument'],
      [{ topLogprobs: -1 }, 'InvalidArgument'],
      [{ sampling: { topP: 2 } }, 'InvalidArgument'],
      [{ sampling: { logitBias: new Map([[-1, 0]]) } }, 'InvalidArgument'],
      [{ prompt: new Array(engine.model.contextLength + 1).fill(1) }, 'ContextOverflow'],
    ];
    for (const [request, code] of wrong) {
      await assert.rejects(
        generate(request),
        (error) => isIngotError(error) && error.code === code,
        JSON.stringify(request),
      );
    }
    await engine.checkIntegrity();
    assert.equal((await generate({})).ids.length, 8);
  });

  contract('a text is a prompt as its tokens are; a request may say how long the context has to be', async () => {
    const request = { prompt: 'The fox', maxTokens: 6 };
    const ids = tokenizer.encode(request.prompt);
    const byText = await generate({ ...request, ignoreEnd: true });
    assert.deepEqual((await generate({ ...request, prompt: ids, ignoreEnd: true })).ids, byText.ids);
    assert.deepEqual(await engine.score('The fox'), await engine.score(ids));
    await using fitting = await open({ contextLength: request });
    assert.equal(fitting.contextLength, ids.length + request.maxTokens);
    assert.deepEqual((await generateWith(fitting, { ...request, ignoreEnd: true })).ids, byText.ids);
    const tooLong = { prompt: 'word '.repeat(engine.model.contextLength), maxTokens: 1 };
    for (const contextLength of [engine.model.contextLength + 1, tooLong]) {
      await assert.rejects(open({ contextLength }), (error) => isIngotError(error, 'ContextOverflow'));
    }
  });

  contract('a signal that was raised before leaves nothing to do', async () => {
    const { ids, end } = await generate({ signal: AbortSignal.abort() });
    assert.deepEqual([ids, end.reason], [[], 'aborted']);
    await assert.rejects(engine.score([1, 2, 3], { signal: AbortSignal.abort() }), (error) =>
      isIngotError(error, 'Aborted'),
    );
  });

  contract(
    'closing ends what runs and what waits, whether or not it is read, and later requests are refused',
    async () => {
      // Answers longer than what is made ahead of their readers, so that none is whole.
      const closing = await open();
      const read = closing.generate({ prompt: [5], maxTokens: 400, ignoreEnd: true });
      await read.next();
      const waiting = generateWith(closing, { maxTokens: 400, ignoreEnd: true });
      await closing[Symbol.asyncDispose]();
      let last: GenerateEvent | undefined;
      for await (const event of read) last = event;
      assert.ok(last?.kind === 'end' && last.reason === 'aborted');
      assert.equal((await waiting).end.reason, 'aborted');
      await assert.rejects(generateWith(closing), (error) => isIngotError(error, 'InvalidArgument'));
      await closing[Symbol.asyncDispose]();
    },
  );
}
