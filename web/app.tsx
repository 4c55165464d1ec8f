/** The page: conversations on the left, one of them in the middle, what it is answered with and what the server does on the right. */
import { useEffect } from 'preact/hooks';
import { announcement, isAnswering, stop } from './answering.ts';
import { Composer } from './composer.tsx';
import { titleOf } from './conversation.ts';
import { Header } from './header.tsx';
import { Inspector } from './inspector.tsx';
import { Sidebar } from './sidebar.tsx';
import { full } from './store.ts';
import { Thread } from './thread.tsx';
import { conversation, overlay, toggle } from './view.ts';

function onEscape(event: KeyboardEvent): void {
  if (event.key !== 'Escape' || event.defaultPrevented) return;
  const { value: over } = overlay;
  if (over !== undefined) toggle(over);
  else if (isAnswering(conversation.value.id)) stop(conversation.value.id);
}

export function App() {
  useEffect(() => {
    addEventListener('keydown', onEscape);
    return () => removeEventListener('keydown', onEscape);
  }, []);
  const { value: over } = overlay;
  const { value: shown } = conversation;
  // What tabs, history and screen readers call the page.
  const title = shown.leaf === null ? 'Ingot' : `${titleOf(shown)} – Ingot`;
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <div class="page" data-overlay={over}>
      <button type="button" class="skip" onClick={() => document.getElementById('message')?.focus()}>
        Write a message
      </button>
      <Sidebar covered={over === 'inspector'} />
      <main inert={over !== undefined}>
        <Header />
        {full.value && (
          <p class="banner" role="alert">
            The browser has no more room for conversations. Delete some; until then new messages are gone with this tab.
          </p>
        )}
        <Thread key={shown.id} />
        <Composer />
      </main>
      <Inspector covered={over === 'sidebar'} />
      {over !== undefined && <div class="scrim" onClick={() => toggle(over)} aria-hidden="true" />}
      <p class="unseen" role="status">
        {announcement.value}
      </p>
    </div>
  );
}
