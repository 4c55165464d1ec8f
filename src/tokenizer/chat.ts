/**
 * Chat templates: Jinja programs in model files that turn messages into the one text that the model was trained on. The
 * variables and functions are those of Hugging Face transformers (`chat_template_utils.py`), whose sandbox bounds
 * `range` as well: a template is somebody else's program.
 */
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import type { ByteSource } from '../base/bytes.ts';
import { IngotError, isIngotError } from '../base/errors.ts';
import type { Metadata } from '../formats/checkpoint.ts';
import { JsonView, readJson, readText } from './json-view.ts';

/** Content is text, or parts as in OpenAI's API; what else a message has (tool calls) goes to the template as it is. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [key: string]: unknown;
}

export interface ChatOptions {
  /** End with the beginning of the assistant's turn. */
  readonly addGenerationPrompt?: boolean;
  /** Functions that the model may call, as OpenAI's API describes them. */
  readonly tools?: readonly unknown[];
  /** Texts of these tokens. The rendered text may hold them: encode it with `addSpecial: false, parseSpecial: true`. */
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** Whatever else a template asks for (`enable_thinking`). */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` reads. */
  readonly now?: Date;
}

const MAX_RANGE = 100_000;
/** Jinja's, and Python's spelling of them. */
const constants = { true: true, false: false, none: null, True: true, False: false, None: null };

/**
 * @throws IngotError 'ParseError' if the template is no Jinja, 'InvalidArgument' if it refuses these messages
 * (`raise_exception`) or fails.
 */
export function renderChat(template: string, messages: readonly ChatMessage[], options: ChatOptions = {}): string {
  const { addGenerationPrompt = false, tools, bosToken, eosToken, variables, now = new Date() } = options;
  const program = parse(template);
  const scope = {
    ...constants,
    raise_exception: refuse,
    strftime_now: (format: unknown) => formatTime(now, String(format)),
    range,
    tools: null,
    documents: null,
    ...variables,
    messages,
    add_generation_prompt: addGenerationPrompt,
    ...(tools === undefined ? {} : { tools }),
    ...(bosToken === undefined ? {} : { bos_token: bosToken }),
    ...(eosToken === undefined ? {} : { eos_token: eosToken }),
  };
  try {
    const environment = new Environment();
    for (const [name, value] of Object.entries(scope)) environment.set(name, value);
    return String(new Interpreter(environment).run(program).value);
  } catch (cause) {
    if (isIngotError(cause)) throw cause;
    throw new IngotError('InvalidArgument', `the chat template failed: ${messageOf(cause)}`, { cause });
  }
}

function parse(template: string): Template['parsed'] {
  try {
    return new Template(template).parsed;
  } catch (cause) {
    throw new IngotError('ParseError', `the chat template is not valid: ${messageOf(cause)}`, {
      hint: 'give another template, or prompt with plain text',
      cause,
    });
  }
}

function refuse(message: unknown): never {
  throw new IngotError('InvalidArgument', `the chat template refuses these messages: ${String(message)}`, {
    hint: 'change the messages as it says',
  });
}

/** Python's `range`. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE))
    throw new IngotError('InvalidArgument', `the chat template asks for a range of ${length}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

const months = 'January February March April May June July August September October November December'.split(' ');
const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');
const two = (value: number) => String(value).padStart(2, '0');

/** Directives of C's `strftime` in the C locale, local time. */
const directives: Readonly<Record<string, (time: Date) => string>> = {
  Y: (time) => String(time.getFullYear()),
  y: (time) => two(time.getFullYear() % 100),
  m: (time) => two(time.getMonth() + 1),
  d: (time) => two(time.getDate()),
  H: (time) => two(time.getHours()),
  I: (time) => two(time.getHours() % 12 || 12),
  M: (time) => two(time.getMinutes()),
  S: (time) => two(time.getSeconds()),
  p: (time) => (time.getHours() < 12 ? 'AM' : 'PM'),
  B: (time) => months[time.getMonth()] ?? '',
  b: (time) => (months[time.getMonth()] ?? '').slice(0, 3),
  A: (time) => days[time.getDay()] ?? '',
  a: (time) => (days[time.getDay()] ?? '').slice(0, 3),
  '%': () => '%',
};

function formatTime(time: Date, format: string): string {
  return format.replace(/%([A-Za-z%])/g, (whole, letter: string) => directives[letter]?.(time) ?? whole);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** The template that a GGUF file carries. */
export function ggufChatTemplate(metadata: Metadata): string | undefined {
  const template = metadata.get('tokenizer.chat_template');
  return typeof template === 'string' ? template : undefined;
}

/** The template of a Hugging Face folder: a file of its own, or in `tokenizer_config.json`, where it may be one of several. */
export async function huggingFaceChatTemplate(
  companions: ReadonlyMap<string, ByteSource>,
  name: 'default' | 'tool_use' = 'default',
): Promise<string | undefined> {
  const file = companions.get('chat_template.jinja');
  if (file !== undefined) return readText(file);
  const source = companions.get('tokenizer_config.json');
  const entry = source === undefined ? new JsonView(undefined, name) : (await readJson(source)).get('chat_template');
  if (!Array.isArray(entry.value)) return entry.string();
  const named = new Map(entry.array().map((item) => [item.get('name').string(), item.get('template').string()]));
  return named.get(name) ?? named.get('default');
}
