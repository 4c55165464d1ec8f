/** Goes through the versions of a message: edited questions, answers that were made again. */
import { type Conversation, type Message, show, versionsOf } from './conversation.ts';
import { Icon } from './icons.tsx';
import { change } from './store.ts';

export function Versions({ shown, message }: { readonly shown: Conversation; readonly message: Message }) {
  const versions = versionsOf(shown, message);
  const at = versions.findIndex(({ id }) => id === message.id);
  if (versions.length < 2) return null;
  const step = (by: number, label: string, icon: 'left' | 'right') => {
    const other = versions[at + by];
    return (
      <button
        type="button"
        class="quiet"
        aria-label={label}
        disabled={other === undefined}
        onClick={() => other && change(show(shown, other.id))}
      >
        <Icon name={icon} />
      </button>
    );
  };
  return (
    <span class="versions">
      {step(-1, 'Previous version', 'left')}
      <span>
        <span class="unseen">Version </span>
        {at + 1} <span aria-hidden="true">/</span>
        <span class="unseen"> of </span> {versions.length}
      </span>
      {step(1, 'Next version', 'right')}
    </span>
  );
}
