/** Something that went wrong, with what helps: another try, or the key that the server asks for. */
import { useSignal } from '@preact/signals';
import type { Failure } from './failure.ts';
import { modelsFailure, unlock } from './models.ts';

interface NoticeProps {
  readonly failure: Failure;
  /** Only what was said last can be tried again. */
  readonly onRetry?: (() => void) | undefined;
}

export function Notice({ failure, onRetry }: NoticeProps) {
  const { kind, title, hint } = failure;
  return (
    <section class="notice" role="alert" data-kind={kind}>
      <h2>{title}</h2>
      <p>{hint}</p>
      {onRetry !== undefined && (kind === 'key' ? <KeyForm onUnlocked={onRetry} /> : <RetryButton onRetry={onRetry} />)}
    </section>
  );
}

function RetryButton({ onRetry }: { readonly onRetry: () => void }) {
  return (
    <button type="button" class="plain" onClick={onRetry}>
      Try again
    </button>
  );
}

function KeyForm({ onUnlocked }: { readonly onUnlocked: () => void }) {
  const key = useSignal('');
  const wrong = useSignal(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    await unlock(key.value.trim());
    wrong.value = modelsFailure.value?.kind === 'key';
    if (modelsFailure.value === undefined) onUnlocked();
  };
  return (
    <form onSubmit={submit}>
      <label for="api-key">API key</label>
      <div class="row">
        <input
          id="api-key"
          type="password"
          autoComplete="off"
          spellcheck={false}
          aria-invalid={wrong.value}
          aria-describedby={wrong.value ? 'api-key-wrong' : undefined}
          value={key.value}
          onInput={({ currentTarget }) => {
            key.value = currentTarget.value;
          }}
        />
        <button type="submit" class="filled" disabled={key.value.trim() === ''}>
          Use key
        </button>
      </div>
      {wrong.value && (
        <p class="wrong" id="api-key-wrong">
          The server does not know this key.
        </p>
      )}
    </form>
  );
}
