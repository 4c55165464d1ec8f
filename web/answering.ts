/** Asks for answers and writes them into their conversation as they come; several conversations may be answered at once. */
import { signal } from '@preact/signals';
import { chat } from './api.ts';
import { type Answer, append, type Conversation, lineOf, newId, promptOf, put, type Question } from './conversation.ts';
import { failureOf } from './failure.ts';
import { loadModels, modelOf } from './models.ts';
import { samplingOf } from './settings.ts';
import { change, conversations } from './store.ts';

/** By conversation: how to end the answer that is being written. */
const writing = signal<ReadonlyMap<string, AbortController>>(new Map());
/** What a screen reader says of it. */
export const announcement = signal('');

/** Between two looks at an answer that grows: faster than an eye, slower than a fast model. */
const frame = 40;

export const isAnswering = (id: string): boolean => writing.value.has(id);

export function stop(id: string): void {
  writing.value.get(id)?.abort();
}

/** A new question after `parent`, and its answer. */
export function send(conversation: Conversation, parent: string | null, text: string): void {
  if (isAnswering(conversation.id)) return;
  const question: Question = { id: newId(), parent, at: Date.now(), role: 'user', text };
  answer(append(conversation, question), question.id);
}

/** An answer to a question, beside those that it has. */
export async function answer(conversation: Conversation, question: string): Promise<void> {
  const { id, settings } = conversation;
  if (isAnswering(id)) return;
  const controller = new AbortController();
  writing.value = new Map(writing.value).set(id, controller);
  const model = modelOf(settings.model);
  const now = Date.now();
  const first: Answer = {
    ...{ id: newId(), parent: question, at: now, role: 'assistant', model },
    ...{ text: '', reasoning: '', state: 'writing', changed: now },
  };
  const asked = { ...conversation, leaf: question };
  change(append(asked, first));
  announcement.value = 'The answer is being written.';
  const request = {
    ...(model !== '' && { model }),
    ...samplingOf(settings),
    messages: promptOf(conversation, lineOf(asked)),
  };
  const last = await write(first, request, id, controller);
  writing.value = new Map([...writing.value].filter(([each]) => each !== id));
  announcement.value = endings[last.state];
  if (last.failure?.kind === 'model' || last.failure?.kind === 'key') loadModels();
}

const endings: Readonly<Record<Answer['state'], string>> = {
  writing: '',
  done: 'The answer is finished.',
  full: 'The answer ended at its longest.',
  stopped: 'The answer was stopped.',
  failed: '', // the failure itself is read aloud
};

/** Reads an answer to its end, however that comes. */
async function write(first: Answer, request: object, id: string, controller: AbortController): Promise<Answer> {
  const clock = new AnswerClock();
  let now = first;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    clearTimeout(timer);
    timer = undefined;
    now = { ...now, changed: Date.now() };
    const conversation = conversations.value.get(id);
    // Somebody removed it, here or in another tab.
    if (conversation === undefined) return controller.abort();
    change(put(conversation, now));
  };
  try {
    for await (const part of chat(request, controller.signal)) {
      switch (part.kind) {
        case 'reasoning':
          clock.token();
          now = { ...now, reasoning: now.reasoning + part.text, cost: clock.cost() };
          break;
        case 'text':
          if (now.text === '' && now.reasoning !== '') now = { ...now, reasoningSeconds: clock.sinceFirst() };
          clock.token();
          now = { ...now, text: now.text + part.text, cost: clock.cost() };
          break;
        case 'finish':
          now = { ...now, state: part.reason === 'length' ? 'full' : 'done' };
          break;
        case 'usage':
          now = { ...now, cost: { ...clock.cost(part.tokens), prompt: part.prompt } };
          break;
        default:
          part satisfies never;
      }
      timer ??= setTimeout(show, frame);
    }
    if (now.state === 'writing') now = { ...now, state: 'done' };
  } catch (error) {
    if (controller.signal.aborted) now = { ...now, state: 'stopped' };
    else now = { ...now, state: 'failed', failure: failureOf(error, now.text !== '' || now.reasoning !== '') };
  }
  show();
  return now;
}

/** Times an answer where it is read: from asking to its first text, and between that and its last. */
class AnswerClock {
  readonly #start = performance.now();
  #first: number | undefined;
  #last = 0;
  #parts = 0;

  token(): void {
    this.#last = performance.now();
    this.#first ??= this.#last;
    this.#parts++;
  }

  sinceFirst = (): number => (performance.now() - (this.#first ?? performance.now())) / 1000;

  /** Until the server has said how many tokens there were, each part counts as one. */
  cost(tokens = this.#parts) {
    const first = this.#first ?? performance.now();
    const seconds = (this.#last - first) / 1000;
    return {
      tokens,
      firstSeconds: (first - this.#start) / 1000,
      ...(tokens > 1 && seconds > 0.001 && { tokensPerSecond: (tokens - 1) / seconds }),
    };
  }
}

// A tab that goes takes its streams along; what had come is kept. Before store.ts writes what is due.
addEventListener('pagehide', () => {
  for (const [id, controller] of writing.value) {
    controller.abort();
    const conversation = conversations.value.get(id);
    if (conversation === undefined) continue;
    for (const message of lineOf(conversation)) {
      if (message.role !== 'assistant' || message.state !== 'writing') continue;
      change(put(conversation, { ...message, state: 'stopped', changed: Date.now() }));
    }
  }
});
