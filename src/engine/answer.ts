/** An answer to a conversation: its prompt, and a reader that knows where in the answer the prompt has ended. */
import { plainText, thoughtFormat } from '../tokenizer/answers/formats.ts';
import { AnswerParser } from '../tokenizer/answers/parser.ts';
import { readTools } from '../tokenizer/answers/tools.ts';
import type { Conversation } from '../tokenizer/conversation.ts';
import type { Engine, Prompt, TokenText } from './engine.ts';

export interface BegunAnswer {
  readonly prompt: Prompt;
  /** One for each answer to the prompt: it takes the events' texts and special tokens. */
  parser(): AnswerParser;
}

/** A word that begins thoughts is within so many tokens, with white space after it. */
const tailTokens = 16;

/**
 * @param once whether an answer ends with its first call.
 * @throws IngotError as `encode` does, and 'InvalidArgument' if a call is asked for and the template writes none.
 */
export async function beginAnswer(
  engine: Pick<Engine, 'answerFormat' | 'encode' | 'tokenTexts'>,
  conversation: Conversation,
  once = false,
): Promise<BegunAnswer> {
  const { answerFormat: format } = engine;
  const { call, ...asked } = conversation;
  const tools = readTools(asked.tools ?? []);
  const isPlain = format.kind === 'marked' && format.thoughts === undefined && tools.size === 0;
  if (isPlain) return { prompt: conversation, parser: () => new AnswerParser(plainText) };
  const ids = await engine.encode(asked);
  const prompt = call === undefined ? ids : await engine.encode(conversation);
  const same = call === undefined ? prompt.length : prompt.findIndex((id, i) => id !== ids[i]);
  const begun = await engine.tokenTexts(prompt.slice(same));
  const thoughts = format.kind === 'marked' ? format.thoughts : undefined;
  const tail = thoughts === undefined ? [] : await engine.tokenTexts(ids.slice(-tailTokens));
  const thinking = thoughts !== undefined && endsWith(tail, thoughtFormat(thoughts).open);
  const parser = () => {
    const fresh = new AnswerParser(format, { tools, once, thinking });
    feed(fresh, begun);
    return fresh;
  };
  return { prompt, parser };
}

function endsWith(tokens: readonly TokenText[], word: string): boolean {
  return tokens
    .map(({ text }) => text)
    .join('')
    .trimEnd()
    .endsWith(word);
}

/** What the prompt holds of the answer. */
function feed(parser: AnswerParser, tokens: readonly TokenText[]): void {
  const utf8 = new TextDecoder();
  for (const { text, bytes } of tokens) {
    if (bytes.length === 0) parser.begin('', text);
    else parser.begin(utf8.decode(bytes, { stream: true }));
  }
}
