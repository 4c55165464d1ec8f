/** The conversations of this browser, the newest first. */
import { signal } from '@preact/signals';
import { isAnswering, stop } from './answering.ts';
import { CloseButton } from './column-buttons.tsx';
import { type Conversation, lastOf, titleOf } from './conversation.ts';
import { Icon, Mark } from './icons.tsx';
import { change, conversations, remove } from './store.ts';
import { conversation, narrow, open, show } from './view.ts';

/** What was deleted last, until something else is done. */
const removed = signal<Conversation | undefined>(undefined);

/** It is covered where the other column lies over the page. */
export function Sidebar({ covered }: { readonly covered: boolean }) {
  const list = [...conversations.value.values()].sort((a, b) => lastOf(b) - lastOf(a));
  return (
    <aside id="sidebar" class="column" aria-label="Conversations" data-open={open.value.sidebar} inert={covered}>
      <div class="bar">
        <Mark />
        <strong class="wordmark">Ingot</strong>
        <button
          type="button"
          class="quiet"
          aria-label="New conversation"
          title="New conversation"
          onClick={() => show()}
        >
          <Icon name="compose" />
        </button>
        {narrow.value.sidebar && <CloseButton side="sidebar" label="Close conversations" />}
      </div>
      <nav aria-label="Conversations">
        {list.length === 0 && <p class="empty">What you talk about is kept here, in this browser.</p>}
        <Groups list={list} />
      </nav>
      {removed.value !== undefined && (
        <p class="undo" role="status">
          Deleted
          <button type="button" class="text" ref={focus} onClick={putBack}>
            Undo
          </button>
        </p>
      )}
    </aside>
  );
}

const day = 24 * 60 * 60 * 1000;
const ages = [
  { name: 'Today', days: 0 },
  { name: 'Yesterday', days: 1 },
  { name: 'Last seven days', days: 7 },
  { name: 'Earlier', days: Number.POSITIVE_INFINITY },
] as const;

function Groups({ list }: { readonly list: readonly Conversation[] }) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const nameOf = (each: Conversation) => ages.find(({ days }) => lastOf(each) >= midnight - days * day)?.name;
  return ages.map(({ name }) => {
    const entries = list.filter((each) => nameOf(each) === name);
    if (entries.length === 0) return null;
    return (
      <section key={name}>
        <h2>{name}</h2>
        <ul>
          {entries.map((each) => (
            <Entry key={each.id} entry={each} />
          ))}
        </ul>
      </section>
    );
  });
}

function Entry({ entry }: { readonly entry: Conversation }) {
  const title = titleOf(entry);
  const open = (event: MouseEvent) => {
    // With a modifier the browser opens another tab or window.
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    removed.value = undefined;
    show(entry.id);
  };
  return (
    <li>
      <a href={`#${entry.id}`} aria-current={entry.id === conversation.value.id ? 'page' : undefined} onClick={open}>
        {title}
        {isAnswering(entry.id) && <span class="busy" role="img" aria-label="is being answered" />}
      </a>
      <button type="button" class="quiet" aria-label={`Delete ${title}`} title="Delete" onClick={() => takeAway(entry)}>
        <Icon name="trash" />
      </button>
    </li>
  );
}

/** How long there is a way back. */
const regret = 20_000;

function takeAway(entry: Conversation): void {
  stop(entry.id);
  if (entry.id === conversation.value.id) show();
  remove(entry.id);
  removed.value = entry;
  setTimeout(() => {
    if (removed.value === entry) removed.value = undefined;
  }, regret);
}

/** The button that was pressed is gone. */
const focus = (button: HTMLButtonElement | null) => button?.focus();

function putBack(): void {
  if (removed.value !== undefined) {
    change(removed.value);
    show(removed.value.id);
  }
  removed.value = undefined;
}
