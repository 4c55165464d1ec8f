/** What this tab shows: which conversation, by the address (so that reload, history and links work), and which of the side columns. */
import { computed, signal } from '@preact/signals';
import { type Conversation, newId } from './conversation.ts';
import type { Settings } from './settings.ts';
import { change, conversations, keepSettings, lastSettings } from './store.ts';

/** Ids need no escapes; what else somebody writes there names nothing. */
const named = () => location.hash.slice(1);
const wide = matchMedia('(min-width: 1180px)');
const medium = matchMedia('(min-width: 820px)');

const address = signal(named());
/** A conversation in which nothing has been said is kept nowhere. */
const draft = signal<Conversation>(emptyConversation());

export const conversation = computed(() => conversations.value.get(address.value) ?? draft.value);
/** Side columns that lie over the conversation instead of beside it. */
export const narrow = signal({ sidebar: !medium.matches, inspector: !wide.matches });
export const open = signal({ sidebar: medium.matches, inspector: wide.matches });

addEventListener('hashchange', () => {
  address.value = named();
});
for (const query of [wide, medium]) {
  query.addEventListener('change', () => {
    narrow.value = { sidebar: !medium.matches, inspector: !wide.matches };
    open.value = { sidebar: medium.matches, inspector: wide.matches };
  });
}

function emptyConversation(): Conversation {
  return { id: newId(), messages: {}, leaf: null, settings: lastSettings(), changed: Date.now() };
}

/** Shows a conversation; without one, a new one. */
export function show(id?: string): void {
  if (id === undefined) draft.value = emptyConversation();
  address.value = id ?? '';
  history.pushState(null, '', `#${address.value}`);
  if (overlay.value === 'sidebar') toggle('sidebar');
}

/** The address of what was new until something was said in it. */
export function settle(id: string): void {
  if (address.value === id) return;
  address.value = id;
  draft.value = emptyConversation();
  history.replaceState(null, '', `#${id}`);
}

export function set(changes: Partial<Settings>): void {
  const { value: shown } = conversation;
  const settings = { ...shown.settings, ...changes };
  const changed = { ...shown, settings, changed: Date.now() };
  keepSettings(settings);
  if (conversations.value.has(shown.id)) change(changed);
  else draft.value = changed;
}

type Side = 'sidebar' | 'inspector';

/** A column that lies over the page takes the focus, and gives it back to the button that opened it. */
export function toggle(side: Side): void {
  const opened = !open.value[side];
  open.value = { ...open.value, [side]: opened };
  if (!narrow.value[side]) return;
  requestAnimationFrame(() =>
    document.querySelector<HTMLElement>(`[data-${opened ? 'closes' : 'opens'}=${side}]`)?.focus(),
  );
}

/** To the field for messages, where there is a keyboard: on a phone it would cover what one came to read. */
export function focusMessage(): void {
  if (matchMedia('(pointer: fine)').matches) document.getElementById('message')?.focus();
}

/** The column that covers the conversation now. */
export const overlay = computed(() =>
  (['inspector', 'sidebar'] as const).find((side) => open.value[side] && narrow.value[side]),
);
