/**
 * How models mark thoughts and calls in what they write: a row a format. Which one a model has is read from its chat template, never
 * from its name.
 */
import type { Tokenizer } from '../tokenizer.ts';
import { functionTags } from './function-tags.ts';
import { harmonyWords } from './harmony.ts';
import type { Incoming, Reading } from './incoming.ts';
import { jsonCall, jsonCalls } from './json-calls.ts';
import { deepSeek, deepSeekCalls, mistralCalls } from './named-calls.ts';
import type { Outgoing } from './outgoing.ts';
import type { Tools } from './tools.ts';

interface ThoughtFormat {
  readonly open: string;
  readonly close: string;
  /** Words around the rest of the answer, which say nothing. */
  readonly around?: readonly string[];
}

/** By the first whose closing word the template knows. */
export const thoughtFormats = {
  /** Granite 3.3. */
  response: { open: '<think>', close: '</think>', around: ['<response>', '</response>'] },
  think: { open: '<think>', close: '</think>' },
  /** Magistral. */
  mistral: { open: '[THINK]', close: '[/THINK]' },
  seed: { open: '<seed:think>', close: '</seed:think>' },
  /** Granite 3.2. */
  granite: { open: 'Here is my thought process:', close: 'Here is my response:' },
} as const satisfies Readonly<Record<string, ThoughtFormat>>;

interface CallFormat {
  /** Words that begin a call, or several. */
  readonly opens: readonly string[];
  /** Words that may follow, and say nothing. */
  readonly closes: readonly string[];
  /** Words within. */
  readonly inner?: readonly string[];
  /** Whether a template writes calls so. */
  isOf(template: string): boolean;
  /** What follows a word of `opens`. @returns whether it was a call; from the first that is given out on it is. */
  read(input: Incoming, out: Outgoing, opener: string, tools: Tools): Reading<boolean>;
}

const has =
  (...words: readonly string[]) =>
  (template: string) =>
    words.every((word) => template.includes(word));

/** By the first that the template has. */
export const callFormats = {
  /** Qwen3-Coder; Functionary 3.1. */
  functions: {
    opens: ['<tool_call>', '<function='],
    closes: ['</tool_call>', '</function>'],
    isOf: has('<function='),
    read: functionTags,
  },
  /** Hermes, Qwen2.5, Qwen3, Granite 4. */
  hermes: {
    opens: ['<tool_call>'],
    closes: ['</tool_call>'],
    isOf: has('<tool_call>'),
    read: jsonCalls,
  },
  /** Phi-4-mini. */
  phi: {
    opens: ['<|tool_call|>', 'functools'],
    closes: ['<|/tool_call|>'],
    isOf: (template) => template.includes('<|/tool|>') || template.includes('functools'),
    read: jsonCalls,
  },
  /** Granite 3. */
  granite: {
    opens: ['<|tool_call|>', '<tool_call>'],
    closes: [],
    isOf: has('<|tool_call|>'),
    read: jsonCalls,
  },
  mistral: {
    opens: ['[TOOL_CALLS]'],
    closes: [],
    inner: ['[CALL_ID]', '[ARGS]'],
    isOf: has('[TOOL_CALLS]'),
    read: mistralCalls,
  },
  /** V3, V3.1, R1 and its distillates. */
  deepSeek: {
    opens: [deepSeek.calls, deepSeek.call],
    closes: [deepSeek.allEnd, deepSeek.end],
    inner: [deepSeek.separator],
    isOf: has(deepSeek.call),
    read: deepSeekCalls,
  },
  /** Llama 3: nothing but an object. It counts if it names one of the tools. */
  llama: {
    opens: ['<|python_tag|>', '{'],
    closes: [],
    isOf: has('{"name": ', '"parameters": '),
    *read(input, out, opener, tools) {
      if (opener !== '{') yield* input.spaces();
      if (opener !== '{' && !(yield* input.take('{'))) return false;
      if (!(yield* jsonCall(input, out, tools))) return false;
      yield* input.spaces();
      yield* input.take(';', ',');
      return true;
    },
  },
} as const satisfies Readonly<Record<string, CallFormat>>;

/** How one model marks what is not text in its answers. Plain data, for other threads. */
export type AnswerFormat = {
  /** Words that are special tokens of the vocabulary. */
  readonly specials: readonly string[];
} & (
  | { readonly kind: 'harmony' }
  | {
      readonly kind: 'marked';
      readonly thoughts?: keyof typeof thoughtFormats;
      readonly calls?: keyof typeof callFormats;
    }
);

export const plainText: AnswerFormat = { kind: 'marked', specials: [] };

export function thoughtFormatOf(template: string): ThoughtFormat | undefined {
  const name = thoughtsOf(template);
  return name && thoughtFormat(name);
}

function thoughtsOf(template: string): keyof typeof thoughtFormats | undefined {
  return keysOf(thoughtFormats).find((name) => {
    const { close, around = [] } = thoughtFormat(name);
    return has(close, ...around)(template);
  });
}

/** The row as its interface, which all rows have in common. */
export function thoughtFormat(name: keyof typeof thoughtFormats): ThoughtFormat {
  return thoughtFormats[name];
}

export function callFormat(name: keyof typeof callFormats): CallFormat {
  return callFormats[name];
}

export function answerFormat(template: string, tokenizer: Tokenizer): AnswerFormat {
  const isSpecial = (word: string) => {
    const ids = tokenizer.encode(word, { addSpecial: false, parseSpecial: true });
    return ids.length === 1 && tokenizer.tokenBytes(ids[0]).length === 0;
  };
  if (has('<|channel|>', '<|message|>')(template)) return { kind: 'harmony', specials: harmonyWords.filter(isSpecial) };
  const thoughts = thoughtsOf(template);
  const calls = keysOf(callFormats).find((name) => callFormat(name).isOf(template));
  const words = [
    ...(thoughts === undefined ? [] : [thoughtFormats[thoughts].open, thoughtFormats[thoughts].close]),
    ...(calls === undefined ? [] : wordsOf(callFormat(calls))),
  ];
  return {
    kind: 'marked',
    specials: words.filter(isSpecial),
    ...(thoughts !== undefined && { thoughts }),
    ...(calls !== undefined && { calls }),
  };
}

function wordsOf({ opens, closes, inner = [] }: CallFormat): readonly string[] {
  return [...opens, ...closes, ...inner];
}

function keysOf<T extends object>(table: T): readonly (keyof T)[] {
  return Object.keys(table) as (keyof T)[];
}
