/** What a model wrote: its thoughts folded away, its text, what it cost, and what one may do with it. */
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { answer as ask, isAnswering } from './answering.ts';
import type { Answer, Conversation, Cost } from './conversation.ts';
import { CopyButton } from './copy-button.tsx';
import { decimal, seconds, whole } from './figures.ts';
import { Icon } from './icons.tsx';
import { markdown } from './markdown.tsx';
import { Notice } from './notice.tsx';
import { Versions } from './versions.tsx';
import { focusMessage } from './view.ts';

/** An answer that another tab writes changes more often than this; one that does not was left behind by a tab that died. */
const silence = 10_000;

interface AnswerProps {
  readonly shown: Conversation;
  readonly answer: Answer;
  readonly last: boolean;
}

export function AnswerView({ shown, answer, last }: AnswerProps) {
  const here = isAnswering(shown.id);
  const left = useLeftBehind(answer, here);
  const writing = answer.state === 'writing' && !left;
  const body = useMemo(() => markdown(answer.text), [answer.text]);
  const again = () => {
    if (answer.parent !== null) ask(shown, answer.parent);
    focusMessage();
  };
  const retry = answer.failure !== undefined && last && !here ? again : undefined;
  return (
    <article class="answer" aria-busy={writing}>
      <h2 class="unseen">{answer.model === '' ? 'The model' : answer.model}</h2>
      <Reasoning answer={answer} writing={writing} />
      <div class="prose" dir="auto">
        {body}
      </div>
      {writing && answer.text === '' && answer.reasoning === '' && <Waiting />}
      {answer.failure !== undefined && <Notice failure={answer.failure} onRetry={retry} />}
      {!writing && (
        <div class="tools">
          <Versions shown={shown} message={answer} />
          {answer.text !== '' && <CopyButton text={answer.text} label="Copy answer" />}
          {!here && retry === undefined && (
            <button type="button" class="quiet" aria-label="Answer again" title="Answer again" onClick={again}>
              <Icon name="again" />
            </button>
          )}
          <Figures cost={answer.cost} ending={left ? 'stopped' : answer.state} />
        </div>
      )}
    </article>
  );
}

function useLeftBehind({ state, changed }: Answer, here: boolean): boolean {
  const [, look] = useState(0);
  const wait = state === 'writing' && !here ? changed + silence - Date.now() : 0;
  useEffect(() => {
    if (wait <= 0) return;
    const timer = setTimeout(() => look((times) => times + 1), wait);
    return () => clearTimeout(timer);
  }, [wait]);
  return state === 'writing' && !here && wait <= 0;
}

function Waiting() {
  return (
    <div class="waiting" role="img" aria-label="Waiting for the first word">
      <span />
      <span />
      <span />
    </div>
  );
}

function Reasoning({ answer, writing }: { readonly answer: Answer; readonly writing: boolean }) {
  const { reasoning, reasoningSeconds, text } = answer;
  const body = useMemo(() => markdown(reasoning), [reasoning]);
  if (reasoning === '') return null;
  const thinking = writing && text === '';
  const took = reasoningSeconds === undefined || reasoningSeconds < 1 ? '' : ` for ${seconds(reasoningSeconds)}`;
  return (
    <details class="reasoning">
      <summary>
        <span class={thinking ? 'shimmer' : ''}>{thinking ? 'Thinking' : `Thought${took}`}</span>
        <Icon name="right" />
      </summary>
      <div class="prose" dir="auto">
        {body}
      </div>
    </details>
  );
}

const endings: Partial<Record<Answer['state'], string>> = { stopped: 'Stopped', full: 'Longest length reached' };

function Figures({ cost, ending }: { readonly cost: Cost | undefined; readonly ending: Answer['state'] }) {
  const parts: ComponentChildren[] = [];
  if (endings[ending] !== undefined) parts.push(endings[ending]);
  if (cost !== undefined && cost.tokens > 0) {
    const { tokens, firstSeconds, tokensPerSecond, prompt } = cost;
    if (tokensPerSecond !== undefined) parts.push(`${decimal(tokensPerSecond)} tokens/s`);
    parts.push(`first after ${seconds(firstSeconds)}`);
    parts.push(`${whole(tokens)} ${tokens === 1 ? 'token' : 'tokens'}`);
    if (prompt !== undefined) parts.push(`${whole(prompt.cached)} of ${whole(prompt.tokens)} prompt tokens from cache`);
  }
  if (parts.length === 0) return null;
  return (
    <ul class="figures" aria-label="What this answer took">
      {parts.map((part) => (
        <li>{part}</li>
      ))}
    </ul>
  );
}
