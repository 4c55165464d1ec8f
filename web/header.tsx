/** Above the conversation: which model answers, and the buttons of the side columns. */
import { Icon } from './icons.tsx';
import { modelOf, models } from './models.ts';
import { conversation, open, set, show, toggle } from './view.ts';

export function Header() {
  const { value: opened } = open;
  return (
    <header class="bar">
      <ColumnButton side="sidebar" label="Conversations" />
      {!opened.sidebar && (
        <button
          type="button"
          class="quiet"
          aria-label="New conversation"
          title="New conversation"
          onClick={() => show()}
        >
          <Icon name="compose" />
        </button>
      )}
      <ModelChoice />
      <ColumnButton side="inspector" label="Settings and server" />
    </header>
  );
}

function ColumnButton({ side, label }: { readonly side: 'sidebar' | 'inspector'; readonly label: string }) {
  return (
    <button
      type="button"
      class="quiet"
      aria-label={label}
      title={label}
      aria-expanded={open.value[side]}
      aria-controls={side}
      data-toggles={side}
      onClick={() => toggle(side)}
    >
      <Icon name={side} />
    </button>
  );
}

function ModelChoice() {
  const { value: names } = models;
  const chosen = modelOf(conversation.value.settings.model);
  if (names.length < 2) return <h1 class="model">{chosen === '' ? 'Ingot' : chosen}</h1>;
  return (
    <h1 class="model">
      <select aria-label="Model" value={chosen} onChange={({ currentTarget }) => set({ model: currentTarget.value })}>
        {names.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </h1>
  );
}
