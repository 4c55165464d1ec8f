/** Special tokens on their way through an engine, and where in an answer a prompt has ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginAnswer } from '../../src/engine/answer.ts';
import type { GenerateRequest } from '../../src/engine/engine.ts';
import { encodePrompt } from '../../src/engine/prompt.ts';
import { greedy } from '../../src/engine/sampling.ts';
import { Task } from '../../src/engine/task.ts';
import { toolList } from './answers-harness.ts';
import { characterTokenizer, ScriptedEngine } from './scripted-engine.ts';

const tokenizer = characterTokenizer(['<s>', '</s>', '<call>']);

function newTask(request: Partial<GenerateRequest>, onRead = () => {}): Task {
  const prompt = tokenizer.encode('Hi');
  const sequence = {
    ...{ id: 1, priority: 0, owner: '', cacheOwner: '', tokens: prompt, pendingStep: undefined, complete: false },
    ...{ computed: 0, blocks: [], row: undefined, paused: false },
  };
  return new Task({
    sequence: sequence as unknown as Task['sequence'],
    request: { prompt, maxTokens: 999, ...request },
    sampling: greedy,
    early: greedy,
    tokenizer,
    signal: new AbortController().signal,
    contextLength: 999,
    onRead,
  });
}

/** What a reader sees of a request whose answer is `said`. */
async function eventsOf(said: string, request: Partial<GenerateRequest>): Promise<string[]> {
  const task = newTask(request);
  for (const id of tokenizer.encode(said, { parseSpecial: true })) task.accept(id, 0, undefined);
  const events: string[] = [];
  for await (const event of task.events()) {
    events.push(event.kind === 'end' ? `end ${event.reason}` : `${event.text}|${event.special ?? ''}`);
  }
  return events;
}

test('an answer pauses with 256 events that nobody has read, and goes on when half of them are', async () => {
  let calls = 0;
  const task = newTask({}, () => calls++);
  const [a = 0] = tokenizer.encode('a');
  for (let i = 1; i <= 256; i++) {
    assert.equal(task.sequence.paused, false, `${i - 1} events`);
    task.accept(a, 0, undefined);
  }
  assert.equal(task.sequence.paused, true);
  const events = task.events();
  for (let read = 1; read <= 128; read++) await events.next();
  assert.deepEqual([task.sequence.paused, calls], [true, 0]);
  await events.next();
  assert.deepEqual([task.sequence.paused, calls], [false, 1]);
  await events.return();
  assert.equal(task.aborted, true);
});

test('a special token is told apart from text, after the text that was held back before it', async () => {
  const events = await eventsOf('xab<call>!ab?', { stop: ['ab!', '?'] });
  assert.deepEqual(events, ['x|', '|', '|', 'ab|<call>', '!|', '|', '|', 'ab|', 'end stop']);
});

test('a stop string counts if it ends with the last of the least tokens or later, and is text before that', async () => {
  assert.deepEqual(await eventsOf('ab.cd.', { stop: ['.'], minTokens: 3 }), ['a|', 'b|', '|', 'end stop']);
  assert.deepEqual(await eventsOf('ab.cd.', { stop: ['.'], minTokens: 4 }), [
    'a|',
    'b|',
    '.|',
    'c|',
    'd|',
    '|',
    'end stop',
  ]);
});

test('conversations with tools have a template of their own, where the model has one', () => {
  const templates = { chatTemplate: 'plain', toolTemplate: 'tools' };
  const text = (conversation: object, given: object) =>
    tokenizer.decode(encodePrompt({ messages: [], ...conversation }, tokenizer, given));
  assert.equal(text({}, templates), 'plain');
  assert.equal(text({ tools: toolList }, templates), 'tools');
  assert.equal(text({ tools: toolList }, { chatTemplate: 'plain' }), 'plain');
});

test('an answer that a prompt began is read from its beginning', async () => {
  const template =
    '{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<call>[TOOL_CALLS][{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}]{% endfor %}{% endfor %}{% if thinking %}[THINK] \n{% endif %}{# [/THINK] #}';
  const engine = new ScriptedEngine(template, [], ['<s>', '</s>', '<call>', '[TOOL_CALLS]']);
  const messages = [{ role: 'user', content: 'Ä?' }];
  const read = async (conversation: object, said: string) => {
    const { parser } = await beginAnswer(engine, { messages, ...conversation });
    const [first, second] = [parser(), parser()];
    assert.deepEqual(
      [...first.push(said), ...first.end()],
      [...second.push(said), ...second.end()],
      'each answer has a reader of its own',
    );
    const third = parser();
    return [...third.push(said), ...third.end()].map((part) =>
      'text' in part ? `${part.kind} ${part.text}` : part.name,
    );
  };
  assert.deepEqual(await read({}, 'Hm.[/THINK]'), ['text Hm.[/THINK]']);
  assert.deepEqual(await read({ variables: { thinking: true } }, 'Hm.[/THINK] Yes.'), ['thoughts Hm.', 'text Yes.']);
  const forced = { tools: toolList, call: { name: 'now' } };
  assert.deepEqual(await read(forced, '{}}]'), ['now', 'arguments {}']);
  assert.deepEqual(await read({ ...forced, variables: { thinking: true } }, '{}}]'), ['now', 'arguments {}']);
  assert.deepEqual(await read({ tools: toolList, call: {} }, 'now", "arguments": {}}]'), ['now', 'arguments {}']);
});
