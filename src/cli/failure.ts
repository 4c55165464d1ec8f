/** How a command ends when something goes wrong: one message that says what, where and what to do. */

import { type ErrorPlace, IngotError } from '../base/errors.ts';
import { colour } from './colour.ts';

export const exitCodes = { failure: 1, usage: 2, interrupted: 130 } as const;

export function usageError(message: string, hint?: string): IngotError {
  return new IngotError('Usage', message, hint === undefined ? {} : { hint });
}

/** Prints to standard error; the stack only with `debug`. The exit code. */
export function reportFailure(error: unknown, debug: boolean): number {
  if (!(error instanceof IngotError)) {
    const text = error instanceof Error ? (debug ? error.stack : error.message) : String(error);
    console.error(`${colour.red('ingot: this is a defect in Ingot:')} ${text}`);
    if (!debug) console.error('Run it again with --debug to see where.');
    return exitCodes.failure;
  }
  const where = formatPlace(error.place, error.message);
  console.error(`${colour.red(`ingot: ${error.code}:`)} ${error.message}${where && colour.dim(` (${where})`)}`);
  if (error.hint !== undefined) console.error(sentence(error.hint));
  if (debug) console.error(error.stack);
  switch (error.code) {
    case 'Usage':
      return exitCodes.usage;
    case 'Aborted':
      return exitCodes.interrupted;
    default:
      return exitCodes.failure;
  }
}

/** What the message does not say already. */
function formatPlace({ path, offset, line, tensor }: ErrorPlace, message: string): string {
  const parts: string[] = [];
  if (path !== undefined && !message.includes(path)) parts.push(path);
  if (line !== undefined) parts.push(`line ${line}`);
  if (offset !== undefined) parts.push(`offset ${offset}`);
  if (tensor !== undefined && !message.includes(tensor)) parts.push(`tensor ${tensor}`);
  return parts.join(', ');
}

/** What is to be typed keeps its case. */
function sentence(text: string): string {
  const begun = text.replace(/^(?!ingot\b)[a-z]+(?=[\s,:])/, (word) => word[0].toUpperCase() + word.slice(1));
  return `${begun}${text.endsWith('.') ? '' : '.'}`;
}
