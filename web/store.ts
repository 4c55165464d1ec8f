/**
 * Conversations in the browser's localStorage, one entry each. Every tab has all of them in memory; it writes only those that it changed,
 * merged with what lies there, and takes over what other tabs write. Two tabs that write the same one at the same moment see each
 * other's text, and whoever then knows more than the entry says writes again: so both end with everything.
 */
import { signal } from '@preact/signals';
import { type Conversation, merge, readConversation } from './conversation.ts';
import { readSettings, type Settings } from './settings.ts';

const prefix = 'ingot.conversation.';
const settingsKey = 'ingot.settings';
const apiKeyKey = 'ingot.api-key';
/** Between two writes of an answer that grows. */
const pause = 500;

/** Undefined where the browser is told to keep nothing of pages. */
const storage = ((): Storage | undefined => {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
})();

const read = (key: string): string => storage?.getItem(key) ?? '';

export const conversations = signal<ReadonlyMap<string, Conversation>>(new Map());
/** The browser keeps no more: what is said from now on is gone with the tab. */
export const full = signal(false);

const due = new Map<string, ReturnType<typeof setTimeout>>();

/** Reads everything, and keeps up with the other tabs. */
export function keepStored(): void {
  const found = new Map<string, Conversation>();
  for (const key of Object.keys(storage ?? {}).filter((key) => key.startsWith(prefix))) {
    const conversation = readConversation(key.slice(prefix.length), read(key));
    if (conversation !== undefined) found.set(conversation.id, conversation);
  }
  conversations.value = found;
  addEventListener('storage', ({ key, newValue }) => {
    if (key === null) conversations.value = new Map();
    else if (key === apiKeyKey) apiKey.value = newValue ?? '';
    else if (key.startsWith(prefix)) takeOver(key.slice(prefix.length), newValue);
  });
  addEventListener('pagehide', () => {
    for (const id of due.keys()) write(id);
  });
}

function takeOver(id: string, stored: string | null): void {
  if (stored === null) forget(id);
  const theirs = stored === null ? undefined : readConversation(id, stored);
  if (theirs === undefined) return;
  const ours = conversations.value.get(id);
  const both = ours === undefined ? theirs : merge(ours, theirs);
  set(both);
  if (merge(theirs, both) !== theirs) soon(id);
}

const set = (conversation: Conversation) => {
  conversations.value = new Map(conversations.value).set(conversation.id, conversation);
};

function forget(id: string): void {
  clearTimeout(due.get(id));
  due.delete(id);
  const rest = new Map(conversations.value);
  rest.delete(id);
  conversations.value = rest;
}

/** In memory at once, in storage soon. */
export function change(conversation: Conversation): void {
  const known = conversations.value.get(conversation.id);
  set(known === undefined ? conversation : merge(conversation, known));
  soon(conversation.id);
}

function soon(id: string): void {
  if (!due.has(id)) due.set(id, setTimeout(write, pause, id));
}

function write(id: string): void {
  clearTimeout(due.get(id));
  due.delete(id);
  const ours = conversations.value.get(id);
  if (ours === undefined) return;
  const theirs = readConversation(id, read(prefix + id));
  const both = theirs === undefined ? ours : merge(ours, theirs);
  if (both !== ours) set(both);
  store(prefix + id, JSON.stringify(both));
}

export function remove(id: string): void {
  forget(id);
  storage?.removeItem(prefix + id);
  full.value = false;
}

function store(key: string, text: string): void {
  try {
    if (storage === undefined) throw new Error('nothing is kept here');
    storage.setItem(key, text);
    full.value = false;
  } catch {
    full.value = true;
  }
}

/** What a new conversation begins with: what was set last. */
export function lastSettings(): Settings {
  try {
    return readSettings(JSON.parse(read(settingsKey)));
  } catch {
    return readSettings(undefined);
  }
}

export const keepSettings = (settings: Settings): void => store(settingsKey, JSON.stringify(settings));

export const apiKey = signal(read(apiKeyKey));

export function keepKey(key: string): void {
  apiKey.value = key;
  if (key === '') storage?.removeItem(apiKeyKey);
  else store(apiKeyKey, key);
}
