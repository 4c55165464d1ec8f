/**
 * OpenAI's harmony format (gpt-oss): an answer is several messages, each with a header that names its channel, and the function that
 * it is for: `<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{...}<|call|>`. The prompt ends
 * within the first header.
 */
import type { Incoming, Reading } from './incoming.ts';
import type { Outgoing } from './outgoing.ts';

const inHeader = ['<|channel|>', '<|constrain|>', '<|message|>', '<|start|>'];
const ends = ['<|end|>', '<|call|>', '<|return|>', '<|start|>', '<|channel|>'];
export const harmonyWords: readonly string[] = [...new Set([...inHeader, ...ends])];

/** @param callable whether calls are given out as such. */
export function* harmony(input: Incoming, out: Outgoing, callable: boolean): Reading {
  let head = '';
  let thought = false;
  for (;;) {
    const found = yield* input.until(inHeader, (text) => {
      head += text;
    });
    if (found === undefined) {
      // No header was meant.
      if (!head.includes('<|')) out.text(head);
      return;
    }
    if (found.word !== '<|message|>') {
      head = found.word === '<|start|>' ? '' : head + found.word;
      continue;
    }
    const channel = /<\|channel\|>\s*(\w+)/.exec(head)?.[1];
    const recipient = /\bto=(?:functions\.)?([^\s<]+)/.exec(head)?.[1];
    let end: string | undefined;
    if (recipient !== undefined && callable) {
      out.call(recipient);
      let empty = true;
      end = yield* body(input, (text) => {
        empty = false;
        out.arguments(text);
      });
      if (empty) out.arguments('{}');
    } else if (channel === 'analysis') {
      if (thought) out.thoughts('\n\n');
      thought = true;
      end = yield* body(input, out.thoughts);
    } else {
      if (out.saidText) out.text('\n\n');
      end = yield* body(input, out.text);
    }
    if (end === undefined) return;
    head = end === '<|channel|>' ? end : '';
  }
}

function* body(input: Incoming, out: (text: string) => void): Reading<string | undefined> {
  return (yield* input.until(ends, out))?.word;
}
