/** Where a message is written: Enter sends it, Shift and Enter begin a new line, Escape stops the answer. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { isAnswering, send, stop } from './answering.ts';
import { lineOf } from './conversation.ts';
import { Icon } from './icons.tsx';
import { TextArea } from './text-area.tsx';
import { editing } from './thread.tsx';
import { conversation, focusMessage, settle } from './view.ts';

export function Composer() {
  const text = useSignal('');
  const area = useRef<HTMLTextAreaElement>(null);
  const { value: shown } = conversation;
  const answering = isAnswering(shown.id);
  useEffect(focusMessage, [shown.id]);

  const submit = () => {
    if (text.value.trim() === '' || answering) return;
    send(shown, shown.leaf, text.value.trim());
    settle(shown.id);
    text.value = '';
  };
  const halt = () => {
    stop(shown.id);
    focusMessage();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const last = lineOf(shown).findLast(({ role }) => role === 'user');
    if (event.key !== 'ArrowUp' || text.value !== '' || last === undefined || answering) return;
    event.preventDefault();
    editing.value = last.id;
  };
  return (
    <form
      class="composer"
      aria-label="Message"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <div class="field">
        <TextArea
          id="message"
          label="Message"
          placeholder="Write a message"
          area={area}
          value={text.value}
          onInput={(value) => {
            text.value = value;
          }}
          onEnter={submit}
          onKeyDown={onKeyDown}
        />
        {answering ? (
          <button type="button" class="round" aria-label="Stop" title="Stop (Escape)" onClick={halt}>
            <span class="square" />
          </button>
        ) : (
          <button
            type="submit"
            class="round"
            aria-label="Send"
            title="Send (Enter)"
            disabled={text.value.trim() === ''}
          >
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  );
}
