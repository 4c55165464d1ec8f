/**
 * From messages to token ids. What spells a token in the template is that token; in what somebody wrote it is text, so that
 * nobody ends their turn, or begins another's, by typing how that is spelled.
 */
import { callOpening } from './call-opening.ts';
import { type ChatMessage, renderChat } from './chat.ts';
import { templateMessages, templateTools } from './template-input.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Messages to be answered, with what the model's chat template makes of them. */
export interface Conversation {
  /** Their roles go to the template as they are: they are for a program to choose, not for whoever writes. */
  readonly messages: readonly ChatMessage[];
  /** Functions that the model may call, as OpenAI's API describes them. */
  readonly tools?: readonly unknown[];
  /** Whatever else a template asks for (`enable_thinking`). */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** The answer begins with a call, of this function or of any: the template's words for that are the end of the prompt. */
  readonly call?: { readonly name?: string };
}

/**
 * Ids up to where the answer begins. Without a template the texts of the messages, a line each.
 * @throws IngotError as `renderChat`.
 */
export function encodeConversation(
  { messages, tools, variables, call }: Conversation,
  tokenizer: Tokenizer,
  template: string | undefined,
): number[] {
  if (template === undefined) {
    const texts = messages.map(({ content }) => content).filter((content) => typeof content === 'string');
    return tokenizer.encode(texts.join('\n'));
  }
  const shield = (value: unknown): unknown => shielded(value, tokenizer);
  const render = (given: readonly ChatMessage[], addGenerationPrompt: boolean) =>
    renderChat(
      template,
      templateMessages(given, template).map(({ role, ...rest }) => ({
        role,
        ...Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, shield(value)])),
      })),
      {
        addGenerationPrompt,
        ...(tools !== undefined && { tools: templateTools(tools).map(shield) }),
        ...(variables !== undefined && { variables }),
        ...(tokenizer.bos !== undefined && { bosToken: tokenizer.tokenText(tokenizer.bos) }),
        ...(tokenizer.eos !== undefined && { eosToken: tokenizer.tokenText(tokenizer.eos) }),
      },
    );
  const prompt = render(messages, true);
  const name = call?.name === undefined ? undefined : tokenizer.shield(call.name);
  const opening =
    call === undefined ? '' : callOpening(template, prompt, (message) => render([...messages, message], false), name);
  return tokenizer.encode(prompt + opening, { addSpecial: false, parseSpecial: true, shielded: true });
}

/** Every string of a value of JSON; keys too. */
function shielded(value: unknown, tokenizer: Tokenizer): unknown {
  if (typeof value === 'string') return tokenizer.shield(value);
  if (Array.isArray(value)) return value.map((item: unknown) => shielded(item, tokenizer));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [tokenizer.shield(key), shielded(item, tokenizer)]),
  );
}
