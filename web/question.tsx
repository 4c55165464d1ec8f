/** What somebody wrote, which may be edited: the new version is asked beside the old one. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { isAnswering } from './answering.ts';
import type { Conversation, Question } from './conversation.ts';
import { CopyButton } from './copy-button.tsx';
import { Icon } from './icons.tsx';
import { TextArea } from './text-area.tsx';
import { Versions } from './versions.tsx';
import { focusMessage } from './view.ts';

interface QuestionProps {
  readonly shown: Conversation;
  readonly question: Question;
  readonly editing: boolean;
  readonly onEdit: (edit: boolean) => void;
  readonly onSend: (text: string) => void;
}

export function QuestionView({ shown, question, editing, onEdit, onSend }: QuestionProps) {
  if (editing) return <Editor text={question.text} onEnd={() => onEdit(false)} onSend={onSend} />;
  return (
    <article class="question">
      <h2 class="unseen">You</h2>
      <p class="bubble" dir="auto">
        {question.text}
      </p>
      <div class="tools">
        <Versions shown={shown} message={question} />
        <CopyButton text={question.text} label="Copy message" />
        {!isAnswering(shown.id) && (
          <button type="button" class="quiet" aria-label="Edit message" title="Edit" onClick={() => onEdit(true)}>
            <Icon name="edit" />
          </button>
        )}
      </div>
    </article>
  );
}

interface EditorProps {
  readonly text: string;
  readonly onEnd: () => void;
  readonly onSend: (text: string) => void;
}

function Editor({ text, onEnd, onSend }: EditorProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const now = useSignal(text);
  useEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, [text]);
  const end = () => {
    onEnd();
    focusMessage();
  };
  const submit = () => {
    if (now.value.trim() === '') return;
    onSend(now.value.trim());
    focusMessage();
  };
  return (
    <article class="question editor">
      <TextArea
        label="Edit message"
        area={area}
        value={now.value}
        onInput={(value) => {
          now.value = value;
        }}
        onEnter={submit}
        onKeyDown={(event) => {
          if (event.key !== 'Escape') return;
          event.preventDefault();
          end();
        }}
      />
      <div class="actions">
        <button type="button" class="plain" onClick={end}>
          Cancel
        </button>
        <button type="button" class="filled" onClick={submit} disabled={now.value.trim() === ''}>
          Send
        </button>
      </div>
    </article>
  );
}
