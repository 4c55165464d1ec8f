/** A conversation from its first message to its last. It keeps to its end while an answer grows, unless somebody reads further up. */
import { signal, useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { AnswerView } from './answer.tsx';
import { send } from './answering.ts';
import { type Conversation, lineOf, type Message } from './conversation.ts';
import { Icon, Mark } from './icons.tsx';
import { loadModels, modelsFailure } from './models.ts';
import { Notice } from './notice.tsx';
import { QuestionView } from './question.tsx';
import { conversation } from './view.ts';

/** The question that is being edited. */
export const editing = signal<string | undefined>(undefined);

/** Nearer than this to its end, somebody is at its end. */
const near = 48;

export function Thread() {
  const { value: shown } = conversation;
  const line = lineOf(shown);
  const scroller = useRef<HTMLElement>(null);
  const following = useSignal(true);
  const last = line.at(-1);

  const toEnd = () => {
    following.value = true;
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  };
  const onScroll = () => {
    const { current: at } = scroller;
    if (at !== null) following.value = at.scrollHeight - at.scrollTop - at.clientHeight < near;
  };
  useLayoutEffect(() => {
    if (following.peek()) toEnd();
  });
  useEffect(toEnd, [last?.role === 'user' ? last.id : last?.parent]);

  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section class="thread" ref={scroller} onScroll={onScroll} tabIndex={0} aria-label="Conversation">
      <div class="line">
        {line.length === 0 ? <Welcome /> : line.map((message) => view(shown, message, message === last))}
      </div>
      {!following.value && (
        <button type="button" class="to-end" aria-label="To the end" onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
    </section>
  );
}

function view(shown: Conversation, message: Message, last: boolean) {
  if (message.role === 'assistant') return <AnswerView key={message.id} shown={shown} answer={message} last={last} />;
  return (
    <QuestionView
      key={message.id}
      shown={shown}
      question={message}
      editing={editing.value === message.id}
      onEdit={(edit) => {
        editing.value = edit ? message.id : undefined;
      }}
      onSend={(text) => {
        editing.value = undefined;
        send(shown, message.parent, text);
      }}
    />
  );
}

function Welcome() {
  const { value: failure } = modelsFailure;
  if (failure !== undefined) return <Notice failure={failure} onRetry={loadModels} />;
  return (
    <div class="welcome">
      <Mark />
      <h2>What shall we talk about?</h2>
      <p>The model runs on this server. What you write goes there and nowhere else.</p>
    </div>
  );
}
