/**
 * A conversation is a tree: an edited question and a second answer stand beside the first. So nothing that was said is lost, and what
 * two tabs did to the same conversation merges by taking both.
 */
import type { Failure } from './failure.ts';
import { readSettings, type Settings } from './settings.ts';

/** What an answer took. Tokens per second are those after the first. */
export interface Cost {
  readonly tokens: number;
  readonly firstSeconds: number;
  readonly tokensPerSecond?: number;
  /** Only the end of an answer says these. */
  readonly prompt?: { readonly tokens: number; readonly cached: number };
}

interface Place {
  readonly id: string;
  readonly parent: string | null;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface Question extends Place {
  readonly role: 'user';
  readonly text: string;
}

export interface Answer extends Place {
  readonly role: 'assistant';
  readonly model: string;
  readonly text: string;
  readonly reasoning: string;
  /** How long it reasoned before it answered. */
  readonly reasoningSeconds?: number;
  readonly state: 'writing' | 'done' | 'full' | 'stopped' | 'failed';
  /** When it was last written to. */
  readonly changed: number;
  readonly cost?: Cost;
  readonly failure?: Failure;
}

export type Message = Question | Answer;

export interface Conversation {
  readonly id: string;
  readonly messages: Readonly<Record<string, Message>>;
  /** The message whose line of ancestors is shown. */
  readonly leaf: string | null;
  readonly settings: Settings;
  /** When leaf or settings were last set. */
  readonly changed: number;
}

export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, '0')).join('');
}

/** From the first message to the one that is shown last. */
export function lineOf({ messages, leaf }: Conversation): readonly Message[] {
  const line: Message[] = [];
  const seen = new Set<string>();
  for (let id = leaf; id !== null && !seen.has(id); ) {
    seen.add(id);
    const message = messages[id];
    if (message === undefined) break;
    line.unshift(message);
    id = message.parent;
  }
  return line;
}

const byAge = (a: Message, b: Message) => a.at - b.at || (a.id < b.id ? -1 : 1);

/** Messages in the same place, this one too, the oldest first. */
export function versionsOf({ messages }: Conversation, { parent, role }: Message): readonly Message[] {
  const siblings = Object.values(messages).filter((each) => each.parent === parent && each.role === role);
  return siblings.sort(byAge);
}

/** Shows another version, with the newest of what follows it. */
export function show(conversation: Conversation, id: string): Conversation {
  let leaf = id;
  for (;;) {
    const below = Object.values(conversation.messages).filter(({ parent }) => parent === leaf);
    const newest = below.sort(byAge).at(-1);
    if (newest === undefined) return { ...conversation, leaf, changed: Date.now() };
    leaf = newest.id;
  }
}

/** With a message that is new or has changed. */
export function put(conversation: Conversation, message: Message): Conversation {
  return { ...conversation, messages: { ...conversation.messages, [message.id]: message } };
}

/** With a new message, which is shown from now on. */
export function append(conversation: Conversation, message: Message): Conversation {
  return { ...put(conversation, message), leaf: message.id, changed: Date.now() };
}

/** The last time that something was said. */
export function lastOf({ messages }: Conversation): number {
  return Math.max(0, ...Object.values(messages).map(({ at }) => at));
}

export function titleOf(conversation: Conversation): string {
  const first = lineOf(conversation)[0]?.text.trim().replace(/\s+/g, ' ') ?? '';
  return first === '' ? 'New conversation' : Array.from(first).slice(0, 80).join('');
}

/** What is sent. Some templates refuse two messages of one role in a row, as a question without an answer leaves them. */
export function promptOf({ settings }: Conversation, line: readonly Message[]): readonly object[] {
  const turns: { role: string; content: string }[] = [];
  if (settings.system.trim() !== '') turns.push({ role: 'system', content: settings.system });
  for (const { role, text } of line) {
    if (text === '') continue;
    const last = turns.at(-1);
    if (last?.role === role) last.content += `\n\n${text}`;
    else turns.push({ role, content: text });
  }
  return turns;
}

const changeOf = (message: Message) => (message.role === 'assistant' ? message.changed : message.at);

/** Both together; `a` itself if `b` knows nothing more. Each message is written by one tab, so the newer is the truth. */
export function merge(a: Conversation, b: Conversation): Conversation {
  const news = Object.values(b.messages).filter((message) => {
    const known = a.messages[message.id];
    return known === undefined || changeOf(message) > changeOf(known);
  });
  if (news.length === 0 && b.changed <= a.changed) return a;
  const { leaf, settings, changed } = b.changed > a.changed ? b : a;
  return { id: a.id, messages: news.reduce(put, a).messages, leaf, settings, changed };
}

const isText = (value: unknown): value is string => typeof value === 'string';

function isMessage(value: unknown): value is Message {
  if (typeof value !== 'object' || value === null) return false;
  const { id, parent, at, role, text, ...rest } = value as Readonly<Record<string, unknown>>;
  if (!isText(id) || !(parent === null || isText(parent)) || typeof at !== 'number' || !isText(text)) return false;
  if (role === 'user') return true;
  return role === 'assistant' && isText(rest.reasoning) && isText(rest.state) && typeof rest.changed === 'number';
}

/** A conversation out of storage; undefined for what is none. */
export function readConversation(id: string, stored: string): Conversation | undefined {
  try {
    const { messages, leaf, settings, changed } = JSON.parse(stored) as Readonly<Record<string, unknown>>;
    if (typeof messages !== 'object' || messages === null) return undefined;
    const known = Object.values(messages).filter(isMessage);
    return {
      id,
      messages: Object.fromEntries(known.map((message) => [message.id, message])),
      leaf: isText(leaf) ? leaf : null,
      settings: readSettings(settings),
      changed: typeof changed === 'number' ? changed : 0,
    };
  } catch {
    return undefined; // another program's, or cut off
  }
}
