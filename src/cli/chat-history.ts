/**
 * The messages of a chat: what was said, what of it fits into the model's context, and its file. The file is what OpenAI's API
 * takes: an object whose `messages` have a role and a text.
 */
import { IngotError } from '../base/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { createFile } from '../formats/atomic-write-node.ts';
import { openFile } from '../formats/file-node.ts';
import { isJsonObject, type JsonValue, readJsonObject } from '../formats/json.ts';

export type TextMessage = {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
  /** What the model thought before it said so. Whether it is told of that again is for its template to say. */
  readonly reasoning_content?: string;
};

/** What becomes of a conversation that the context cannot hold. */
export const overflowRules = ['truncate-middle', 'slide', 'error'] as const;
export type OverflowRule = (typeof overflowRules)[number];

/**
 * The messages to send, the system message first: as many as leave room for `answer` tokens. If they do not fit, turns are left
 * out until half of the context is free, so that not every turn has to leave out another.
 * @throws IngotError 'ContextOverflow' as the rule says, and whatever the chat template says.
 */
export async function fitMessages(
  engine: Engine,
  messages: readonly TextMessage[],
  answer: number,
  rule: OverflowRule,
): Promise<readonly TextMessage[]> {
  const limit = engine.contextLength - Math.min(answer, Math.floor(engine.contextLength / 4));
  const count = async (some: readonly TextMessage[]) => (await engine.encode({ messages: some })).length;
  const tokens = await count(messages);
  if (tokens <= limit) return messages;
  if (rule === 'error')
    throw tooLong(tokens, limit, 'begin anew with /reset, or choose --overflow truncate-middle or slide');
  const system = messages.filter(({ role }) => role === 'system');
  const turns = turnsOf(messages);
  // The first turn says what it is all about.
  const first = rule === 'truncate-middle' && turns.length > 2 ? turns.splice(0, 1) : [];
  const kept = () => [...system, ...[...first, ...turns].flat()];
  while (turns.length > 1 && (await count(kept())) > engine.contextLength / 2) turns.shift();
  if ((await count(kept())) <= limit) return kept();
  first.length = 0;
  const left = await count(kept());
  if (left <= limit) return kept();
  if (rule === 'slide') throw tooLong(left, limit, 'say it in fewer words, or choose --overflow truncate-middle');
  return cutMiddle(kept(), limit, count);
}

function tooLong(tokens: number, limit: number, hint: string): IngotError {
  return new IngotError(
    'ContextOverflow',
    `the conversation has ${tokens} tokens, and ${limit} leave room for an answer`,
    {
      hint,
    },
  );
}

/** A question with its answer each. */
function turnsOf(messages: readonly TextMessage[]): TextMessage[][] {
  const turns: TextMessage[][] = [];
  for (const message of messages) {
    if (message.role === 'system') continue;
    if (message.role === 'user' || turns.length === 0) turns.push([]);
    turns[turns.length - 1].push(message);
  }
  return turns;
}

/** Leaves out the middle of the last message, as little of it as is enough. */
async function cutMiddle(
  messages: readonly TextMessage[],
  limit: number,
  count: (some: readonly TextMessage[]) => Promise<number>,
): Promise<readonly TextMessage[]> {
  const before = messages.slice(0, -1);
  const characters = Array.from(messages[messages.length - 1].content);
  const cut = (kept: number): readonly TextMessage[] => {
    const head = characters.slice(0, Math.ceil(kept / 2)).join('');
    const tail = characters.slice(characters.length - Math.floor(kept / 2)).join('');
    return [...before, { role: 'user', content: `${head} ... ${tail}` }];
  };
  let [fits, over] = [0, characters.length];
  while (over - fits > 1) {
    const middle = (fits + over) >> 1;
    if ((await count(cut(middle))) <= limit) fits = middle;
    else over = middle;
  }
  if (fits > 0) return cut(fits);
  throw tooLong(await count(cut(0)), limit, 'ask for a longer context with --context, or shorten the system message');
}

/** @throws IngotError 'FileExists' unless `overwrite`, 'FileNotFound', 'FileAccess'. */
export async function saveMessages(path: string, messages: readonly TextMessage[], overwrite: boolean): Promise<void> {
  await using file = await createFile(path, { overwrite });
  await file.write(new TextEncoder().encode(`${JSON.stringify({ messages }, undefined, 2)}\n`));
  await file.commit();
}

/** @throws IngotError 'InvalidFile' with the message that is wrong, and whatever opening says. */
export async function loadMessages(path: string): Promise<readonly TextMessage[]> {
  await using file = await openFile(path);
  const { messages } = await readJsonObject(file);
  if (!Array.isArray(messages)) throw new IngotError('InvalidFile', 'the file holds no list "messages"', { path });
  return messages.map((message: JsonValue, i: number) => {
    const wrong = (what: string) => new IngotError('InvalidFile', `message ${i + 1} ${what}`, { path });
    if (!isJsonObject(message)) throw wrong('is no object');
    const { role, content, reasoning_content: thoughts } = message;
    if (role !== 'system' && role !== 'user' && role !== 'assistant')
      throw wrong('has no role of system, user or assistant');
    if (typeof content !== 'string') throw wrong('has no text as its content');
    if (role === 'system' && i > 0) throw wrong('is from the system and not the first');
    return { role, content, ...(typeof thoughts === 'string' && { reasoning_content: thoughts }) };
  });
}
