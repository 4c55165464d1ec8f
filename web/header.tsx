/** Above the conversation: which model answers, and the buttons of the side columns. */
import { OpenButton } from './column-buttons.tsx';
import { Icon } from './icons.tsx';
import { modelOf, models } from './models.ts';
import { conversation, open, set, show } from './view.ts';

export function Header() {
  const { value: opened } = open;
  return (
    <header class="bar">
      <OpenButton side="sidebar" label="Conversations" />
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
      <OpenButton side="inspector" label="Settings and server" />
    </header>
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
