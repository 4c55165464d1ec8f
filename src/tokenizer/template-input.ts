/**
 * What a template takes, of messages as OpenAI's API has them. Templates were written for transformers, where arguments are objects
 * and contents texts; what one of them expects is read from its text.
 */
import { parseJson } from './answers/json.ts';
import { record } from './answers/tools.ts';
import type { ChatMessage } from './chat.ts';

/** Messages of roles and with fields that the template knows. */
export function templateMessages(messages: readonly ChatMessage[], template: string): readonly ChatMessage[] {
  return messages.map((message) => {
    const { role, content, reasoning_content: thoughts, tool_calls: calls, tool_call_id: id, ...others } = message;
    return {
      // Absent and null are the same for the API, and not for a template that asks whether a field is there.
      ...Object.fromEntries(Object.entries(others).filter(([, value]) => value !== null && value !== undefined)),
      role: role === 'developer' && !template.includes('developer') ? 'system' : role,
      content: contentFor(template, content),
      ...(typeof thoughts === 'string' && { reasoning_content: thoughts }),
      ...(typeof thoughts === 'string' && /\bmessage\.thinking\b/.test(template) && { thinking: thoughts }),
      ...(Array.isArray(calls) && calls.length > 0 && { tool_calls: calls.map((call) => callFor(template, call)) }),
      ...(typeof id === 'string' && { tool_call_id: idFor(template, id) }),
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

function contentFor(template: string, content: unknown): unknown {
  if (content === null || content === undefined)
    return /(?<!\w)content['"]?\]? is (not )?none/.test(template) ? null : '';
  const readsParts = /== ?['"]text['"]/.test(template);
  if (readsParts || !Array.isArray(content)) return content;
  const texts = content.map((part) => record(part).text);
  return texts.every((text) => typeof text === 'string') ? texts.join('\n') : content;
}

function callFor(template: string, call: unknown): unknown {
  const { id, function: called, ...others } = record(call);
  if (called === undefined) return call;
  const { name, arguments: written, ...more } = record(called);
  // What is read with a filter, or asked for its type, is no text.
  const takesObject = /\b(arguments|function)['"]?\]?\s*(\||is\b)|\barguments\.items\(\)/.test(template);
  return {
    ...others,
    ...(typeof id === 'string' && { id: idFor(template, id) }),
    function: { name, arguments: takesObject ? parsed(written) : written, ...more },
  };
}

/** Mistral's templates take ids of nine letters and digits, as its models write them. */
function idFor(template: string, id: string): string {
  return template.includes('length != 9') ? id.slice(-9) : id;
}

function parsed(text: unknown): unknown {
  const value = typeof text === 'string' ? parseJson(text) : undefined;
  return typeof value === 'object' && value !== null ? value : text;
}
