/**
 * What a template takes, of messages as OpenAI's API has them. Templates were written for transformers, where arguments are objects
 * and contents texts; what one of them expects is read from its text.
 */
import { parseJson } from './answers/json.ts';
import { record } from './answers/tools.ts';
import type { ChatMessage } from './chat.ts';

/** What a template's text says of the messages that it takes. */
interface Wishes {
  readonly developer: boolean;
  /** The field for thoughts that gpt-oss has. */
  readonly thinking: boolean;
  /** It asks whether a content is null. */
  readonly nullContent: boolean;
  /** It reads contents that are lists of parts. */
  readonly parts: boolean;
  /** It reads arguments with a filter, or asks for their type: they are no text. */
  readonly objects: boolean;
  /** Mistral's take ids of nine letters and digits, as its models write them. */
  readonly shortIds: boolean;
}

function wishesOf(template: string): Wishes {
  return {
    developer: template.includes('developer'),
    thinking: /\bmessage\.thinking\b/.test(template),
    nullContent: /(?<!\w)content['"]?\]? is (not )?none/.test(template),
    parts: /== ?['"]text['"]/.test(template),
    objects: /\b(arguments|function)['"]?\]?\s*(\||is\b)|\barguments\.items\(\)/.test(template),
    shortIds: template.includes('length != 9'),
  };
}

/** Messages of roles and with fields that the template knows. */
export function templateMessages(messages: readonly ChatMessage[], template: string): readonly ChatMessage[] {
  const wishes = wishesOf(template);
  return messages.map((message) => {
    const { role, content, reasoning_content: thoughts, tool_calls: calls, tool_call_id: id, ...others } = message;
    return {
      // Absent and null are the same for the API, and not for a template that asks whether a field is there.
      ...Object.fromEntries(Object.entries(others).filter(([, value]) => value !== null && value !== undefined)),
      role: role === 'developer' && !wishes.developer ? 'system' : role,
      content: contentFor(wishes, content),
      ...(typeof thoughts === 'string' && { reasoning_content: thoughts }),
      ...(typeof thoughts === 'string' && wishes.thinking && { thinking: thoughts }),
      ...(Array.isArray(calls) && calls.length > 0 && { tool_calls: calls.map((call) => callFor(wishes, call)) }),
      ...(typeof id === 'string' && { tool_call_id: idFor(wishes, id) }),
    };
  });
}

/** Descriptions and parameters may be left out, and templates read them all the same. What is there stays in its order. */
export function templateTools(tools: readonly unknown[]): readonly unknown[] {
  return tools.map((tool) => {
    const { type, function: described } = record(tool);
    if (described === undefined) return tool;
    const { strict: _, ...given } = record(described);
    const schema = record(given.parameters);
    const parameters = schema.properties === undefined ? { type: 'object', ...schema, properties: {} } : schema;
    return { type, function: { ...given, description: given.description ?? '', parameters } };
  });
}

function contentFor({ nullContent, parts }: Wishes, content: unknown): unknown {
  if (content === null || content === undefined) return nullContent ? null : '';
  if (parts || !Array.isArray(content)) return content;
  const texts = content.map((part) => record(part).text);
  return texts.every((text) => typeof text === 'string') ? texts.join('\n') : content;
}

function callFor(wishes: Wishes, call: unknown): unknown {
  const { id, function: called, ...others } = record(call);
  if (called === undefined) return call;
  const { name, arguments: written, ...more } = record(called);
  return {
    ...others,
    ...(typeof id === 'string' && { id: idFor(wishes, id) }),
    function: { name, arguments: wishes.objects ? parsed(written) : written, ...more },
  };
}

function idFor({ shortIds }: Wishes, id: string): string {
  return shortIds ? id.slice(-9) : id;
}

function parsed(text: unknown): unknown {
  const value = typeof text === 'string' ? parseJson(text) : undefined;
  return typeof value === 'object' && value !== null ? value : text;
}
