/**
 * How an answer begins that calls a function, in the words of a chat template: what it writes for a call that was made is what the
 * model was taught to write.
 */
import { IngotError } from '../base/errors.ts';
import { thoughtFormatOf } from './answers/formats.ts';
import type { ChatMessage } from './chat.ts';

/** A name and an id that no template writes by itself; Mistral's want an id of nine. */
const [name, id] = ['ingot_function', 'ingotcall'];

/**
 * The text from the end of the prompt up to the name of the function, or up to its arguments.
 * @param prompt as the template writes it, up to where an answer begins.
 * @param render the prompt with one more message, which is complete.
 * @throws IngotError 'InvalidArgument' if the template writes no calls.
 */
export function callOpening(
  template: string,
  prompt: string,
  render: (message: ChatMessage) => string,
  called: string | undefined,
): string {
  const call = (text: string) =>
    render({
      role: 'assistant',
      content: null,
      tool_calls: [{ id, type: 'function', function: { name, arguments: text } }],
    });
  const [bare, full] = [call('{}'), call('{"x": 1}')];
  const thoughts = thoughtFormatOf(template);
  const trimmed = prompt.trimEnd();
  // Thoughts that the prompt begins are closed at once; a template that writes calls without any leaves them out.
  const thinks = thoughts !== undefined && !full.startsWith(prompt) && trimmed.endsWith(thoughts.open);
  const start = thinks ? trimmed.length - thoughts.open.length : prompt.length;
  const nameAt = full.indexOf(name, start);
  if (nameAt < 0 || !full.startsWith(prompt.slice(0, start))) {
    throw new IngotError('InvalidArgument', 'the chat template does not show how an answer begins that is a call');
  }
  const before = thinks ? `${thoughts.close}\n\n` : '';
  if (called === undefined) return before + full.slice(start, nameAt);
  const end = Math.max(nameAt + name.length, commonLength(bare, full));
  // Where arguments begin is for the model to write: a brace and what follows may be one token.
  return (
    before +
    full
      .slice(start, end)
      .replace(/[{<]$/, '')
      .replace(name, () => called)
  );
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}
