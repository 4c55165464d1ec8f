/** The right column: what the server does now, and how this conversation is answered. */
import { CloseButton } from './column-buttons.tsx';
import { LivePanel } from './live-panel.tsx';
import { loadModels } from './models.ts';
import { defaultSettings, ranges, type Settings } from './settings.ts';
import { apiKey, keepKey } from './store.ts';
import { conversation, narrow, open, set } from './view.ts';

/** It is covered where the other column lies over the page. */
export function Inspector({ covered }: { readonly covered: boolean }) {
  const opened = open.value.inspector;
  return (
    <aside id="inspector" class="column" aria-label="Settings and server" data-open={opened} inert={covered}>
      {narrow.value.inspector && (
        <div class="bar">
          <strong class="wordmark">Details</strong>
          <CloseButton side="inspector" label="Close settings and server" />
        </div>
      )}
      {opened && <LivePanel />}
      <SettingsForm settings={conversation.value.settings} />
      <KeySection />
    </aside>
  );
}

function SettingsForm({ settings }: { readonly settings: Settings }) {
  return (
    <section class="group" aria-labelledby="answers">
      <div class="title">
        <h2 id="answers">Answers</h2>
        <button type="button" class="text" onClick={() => set({ ...defaultSettings, model: settings.model })}>
          Reset
        </button>
      </div>
      <label class="setting">
        <span>System prompt</span>
        <textarea
          rows={3}
          placeholder="How the model should behave"
          value={settings.system}
          onInput={({ currentTarget }) => set({ system: currentTarget.value })}
        />
      </label>
      {ranges.map(({ name, label, hint, high, step }) => (
        <div class="setting" key={name}>
          <label for={name}>
            {label}
            <output for={name}>{settings[name]}</output>
          </label>
          <input
            id={name}
            type="range"
            min={0}
            max={high}
            step={step}
            value={settings[name]}
            aria-describedby={`${name}-hint`}
            onInput={({ currentTarget }) => set({ [name]: currentTarget.valueAsNumber })}
          />
          <small id={`${name}-hint`}>{hint}</small>
        </div>
      ))}
      <div class="pair">
        <CountField name="maxTokens" label="Longest answer" none="any" low={1} value={settings.maxTokens} />
        <CountField name="seed" label="Seed" none="random" low={0} value={settings.seed} />
      </div>
    </section>
  );
}

interface CountFieldProps {
  readonly name: 'maxTokens' | 'seed';
  readonly label: string;
  readonly none: string;
  readonly low: number;
  readonly value: number | null;
}

function CountField({ name, label, none, low, value }: CountFieldProps) {
  return (
    <label class="setting">
      <span>{label}</span>
      <input
        type="number"
        inputMode="numeric"
        min={low}
        step={1}
        placeholder={none}
        value={value ?? ''}
        onInput={({ currentTarget: { valueAsNumber } }) => {
          set({ [name]: Number.isSafeInteger(valueAsNumber) && valueAsNumber >= low ? valueAsNumber : null });
        }}
      />
    </label>
  );
}

/** A key that is kept can be taken back. */
function KeySection() {
  if (apiKey.value === '') return null;
  const forgetKey = () => {
    keepKey('');
    loadModels();
  };
  return (
    <section class="group">
      <div class="title">
        <h2>API key</h2>
        <button type="button" class="text" onClick={forgetKey}>
          Forget
        </button>
      </div>
      <small>It is kept in this browser.</small>
    </section>
  );
}
