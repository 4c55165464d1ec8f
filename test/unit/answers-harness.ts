/** Answers taken apart: what a parser makes of a text, cut into tokens in one way or another. */
import type { AnswerFormat, callFormats, thoughtFormats } from '../../src/tokenizer/answers/formats.ts';
import { type AnswerOptions, AnswerParser } from '../../src/tokenizer/answers/parser.ts';
import { readTools } from '../../src/tokenizer/answers/tools.ts';

export interface Answer {
  readonly text: string;
  readonly thoughts: string;
  /** Arguments as they were written. */
  readonly calls: readonly { readonly name: string; readonly arguments: string }[];
}

/** A token, or as much of a text. */
export interface Piece {
  readonly text: string;
  readonly special?: string;
}

/** The whole between special tokens at once. */
export function piecesOf(text: string, specials: readonly string[]): readonly Piece[] {
  if (specials.length === 0) return [{ text }];
  const escaped = specials.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return text
    .split(new RegExp(`(${escaped.join('|')})`))
    .filter((part) => part !== '')
    .map((part) => (specials.includes(part) ? { text: '', special: part } : { text: part }));
}

/** Cut after so many characters each, in turn; no character is cut. */
export function cut(pieces: readonly Piece[], sizes: readonly number[]): readonly Piece[] {
  let turn = 0;
  return pieces.flatMap((piece) => {
    if (piece.special !== undefined) return [piece];
    const characters = Array.from(piece.text);
    const parts: Piece[] = [];
    for (let at = 0; at < characters.length; ) {
      const size = sizes[turn++ % sizes.length] ?? 1;
      parts.push({ text: characters.slice(at, at + size).join('') });
      at += size;
    }
    return parts;
  });
}

export function parse(format: AnswerFormat, pieces: readonly Piece[], options: AnswerOptions = {}): Answer {
  const parser = new AnswerParser(format, options);
  const answer = { text: '', thoughts: '', calls: [] as { name: string; arguments: string }[] };
  for (const part of [...pieces.flatMap(({ text, special }) => parser.push(text, special)), ...parser.end()]) {
    if (part.kind === 'call') answer.calls[part.index] = { name: part.name, arguments: '' };
    else if (part.kind === 'arguments') answer.calls[part.index].arguments += part.text;
    else answer[part.kind] += part.text;
  }
  return answer;
}

export function marked(
  calls?: keyof typeof callFormats,
  thoughts?: keyof typeof thoughtFormats,
  specials: readonly string[] = [],
): AnswerFormat {
  return { kind: 'marked', specials, ...(calls && { calls }), ...(thoughts && { thoughts }) };
}

const schema = (properties: Readonly<Record<string, unknown>>) => ({ type: 'object', properties });
export const toolList = [
  ['get_weather', schema({ town: { type: 'string' }, days: { type: 'integer' }, exact: { type: 'boolean' } })],
  [
    'area',
    schema({
      shape: { type: 'string' },
      size: { type: 'object' },
      digits: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
    }),
  ],
  ['now', undefined],
].map(([name, parameters]) => ({ type: 'function', function: { name, parameters } }));
export const tools = readTools(toolList);
