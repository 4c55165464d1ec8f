/**
 * Chat templates: Jinja programs in model files that turn messages into the one text that the model was trained on. The
 * variables and functions are those of Hugging Face transformers (`chat_template_utils.py`). A template is somebody else's
 * program: it has a budget of work that grows with what it is given, and reaches nothing else.
 */
import type { ByteSource } from '../base/bytes.ts';
import { IngotError, isIngotError } from '../base/errors.ts';
import type { Metadata } from '../formats/checkpoint.ts';
import { JsonView, readJson, readText } from './json-view.ts';
import { integerArgument, stringArgument } from './template/methods.ts';
import { entriesOf, renderTemplate } from './template/render.ts';
import { parseTemplate } from './template/syntax.ts';
import { type Arguments, Budget, Callable, fail, fromJson, Namespace, text, type Value } from './template/values.ts';

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

/** Steps, characters and elements that a template may take for nothing, and for each character that it is given. */
const FREE_WORK = 1 << 22;
const WORK_PER_CHARACTER = 64;
const MAX_INPUT = 1 << 26;
/** As in the sandbox of Jinja. */
const MAX_RANGE = 100_000;

/**
 * @throws IngotError 'ParseError' if the template is no Jinja, 'InvalidArgument' if it refuses these messages
 * (`raise_exception`), fails, asks for what Ingot does not know, or for too much.
 */
export function renderChat(template: string, messages: readonly ChatMessage[], options: ChatOptions = {}): string {
  const { addGenerationPrompt = false, tools, bosToken, eosToken, variables, now = new Date() } = options;
  try {
    const body = parseTemplate(template);
    const input = new Budget(MAX_INPUT);
    const given = Object.entries({
      tools: null,
      documents: null,
      ...variables,
      messages,
      add_generation_prompt: addGenerationPrompt,
      ...(tools === undefined ? {} : { tools }),
      ...(bosToken === undefined ? {} : { bos_token: bosToken }),
      ...(eosToken === undefined ? {} : { eos_token: eosToken }),
    }).map(([name, value]) => [name, fromJson(value, input)] as const);
    const budget = new Budget(FREE_WORK + WORK_PER_CHARACTER * input.spent);
    return renderTemplate(body, new Map([...constants, ...functions(now, budget), ...given]), budget);
  } catch (cause) {
    if (isIngotError(cause) || !(cause instanceof RangeError)) throw cause;
    throw new IngotError('InvalidArgument', `the chat template nests too deeply: ${cause.message}`, { cause });
  }
}

/** Jinja's, and Python's spelling of them. */
const constants: readonly (readonly [string, Value])[] = [
  ['true', true],
  ['false', false],
  ['none', null],
  ['True', true],
  ['False', false],
  ['None', null],
];

function functions(now: Date, budget: Budget): readonly (readonly [string, Value])[] {
  const named: Readonly<Record<string, (args: Arguments) => Value>> = {
    raise_exception: ({ positional }) => refuse(text(positional[0], budget)),
    strftime_now: (args) => budget.made(formatTime(now, stringArgument(args, 0, 'format'))),
    range: (args) => range(args, budget),
    namespace: (args) => new Namespace(entriesOf(args, budget)),
    dict: (args) => entriesOf(args, budget),
    cycler: () => fail('cycler is not known'),
    joiner: () => fail('joiner is not known'),
    lipsum: () => fail('lipsum is not known'),
  };
  return Object.entries(named).map(([name, call]) => [name, new Callable(name, call)]);
}

function refuse(message: string): never {
  throw new IngotError('InvalidArgument', `the chat template refuses these messages: ${message}`, {
    hint: 'change the messages as it says',
  });
}

/** Python's `range`. */
function range(args: Arguments, budget: Budget): Value {
  const first = integerArgument(args, 0, 'start', 0);
  const second = integerArgument(args, 1, 'stop', 0);
  const step = integerArgument(args, 2, 'step', 1);
  const [start, stop] = args.positional.length < 2 ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE))
    throw new IngotError('InvalidArgument', `the chat template asks for a range of ${length}`);
  budget.spend(length);
  return Array.from({ length }, (_, i) => start + i * step);
}

const months = 'January February March April May June July August September October November December'.split(' ');
const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Directives of C's `strftime` in the C locale, local time: numbers with the width that they are filled to. */
const numbers: Readonly<Record<string, (time: Date) => readonly [value: number, width: number]>> = {
  Y: (time) => [time.getFullYear(), 4],
  y: (time) => [time.getFullYear() % 100, 2],
  m: (time) => [time.getMonth() + 1, 2],
  d: (time) => [time.getDate(), 2],
  H: (time) => [time.getHours(), 2],
  I: (time) => [time.getHours() % 12 || 12, 2],
  M: (time) => [time.getMinutes(), 2],
  S: (time) => [time.getSeconds(), 2],
  j: (time) => [dayOfYear(time), 3],
};
const names: Readonly<Record<string, (time: Date) => string>> = {
  p: (time) => (time.getHours() < 12 ? 'AM' : 'PM'),
  B: (time) => months[time.getMonth()],
  b: (time) => months[time.getMonth()].slice(0, 3),
  A: (time) => days[time.getDay()],
  a: (time) => days[time.getDay()].slice(0, 3),
  F: (time) => formatTime(time, '%Y-%m-%d'),
  T: (time) => formatTime(time, '%H:%M:%S'),
  '%': () => '%',
};

function dayOfYear(time: Date): number {
  const midnight = (day: Date) => Date.UTC(day.getFullYear(), day.getMonth(), day.getDate());
  return (midnight(time) - Date.UTC(time.getFullYear(), 0, 0)) / 86_400_000;
}

function formatTime(time: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (whole, plain: string, letter: string) => {
    if (Object.hasOwn(names, letter)) return names[letter](time);
    if (!Object.hasOwn(numbers, letter)) return fail(`strftime_now is given ${whole}`);
    const [value, width] = numbers[letter](time);
    return plain === '' ? String(value).padStart(width, '0') : String(value);
  });
}

/** A model may have a template for conversations with tools besides the one for all. */
type TemplateName = 'default' | 'tool_use';

/** The template that a GGUF file carries. */
export function ggufChatTemplate(metadata: Metadata, name: TemplateName = 'default'): string | undefined {
  const template = metadata.get(`tokenizer.chat_template.${name}`) ?? metadata.get('tokenizer.chat_template');
  return typeof template === 'string' ? template : undefined;
}

/** The template of a Hugging Face folder: a file of its own, or in `tokenizer_config.json`, where it may be one of several. */
export async function huggingFaceChatTemplate(
  companions: ReadonlyMap<string, ByteSource>,
  name: TemplateName = 'default',
): Promise<string | undefined> {
  const file = companions.get('chat_template.jinja');
  if (file !== undefined) return readText(file);
  const source = companions.get('tokenizer_config.json');
  const entry = source === undefined ? new JsonView(undefined, name) : (await readJson(source)).get('chat_template');
  if (!Array.isArray(entry.value)) return entry.string();
  const named = new Map(entry.array().map((item) => [item.get('name').string(), item.get('template').string()]));
  return named.get(name) ?? named.get('default');
}
