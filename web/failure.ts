/** What went wrong, in the words of somebody who wants to go on: what happened, and what helps. */

export interface Failure {
  readonly kind: 'unreachable' | 'key' | 'busy' | 'too long' | 'model' | 'refused' | 'server' | 'cut off';
  readonly title: string;
  readonly hint: string;
}

/** An answer other than 200, or an `error` in the middle of a stream, which has no status any more. */
interface Refusal {
  readonly status?: number;
  readonly message: string;
  readonly type?: string | null;
  readonly code?: string | null;
  /** Seconds. */
  readonly retryAfter?: number;
}

const unreachable: Failure = {
  kind: 'unreachable',
  title: 'The server cannot be reached',
  hint: 'Look whether it still runs and whether this device is connected, then try again.',
};

const cutOff: Failure = {
  kind: 'cut off',
  title: 'The answer was cut off',
  hint: 'The connection ended in the middle. What had come is above.',
};

/** Thrown by everything that asks the server. */
export class ServerFailure extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.title);
    this.failure = failure;
  }
}

export function failureOf(error: unknown, begun: boolean): Failure {
  if (error instanceof ServerFailure) return error.failure;
  // What fetch and its body throw when there is no network, no server, or no more of it.
  return begun ? cutOff : unreachable;
}

/** A stream that stopped without saying that it was the end. */
export const endedEarly = () => new ServerFailure(cutOff);

export function refusalOf({ status = 500, message, type, code, retryAfter = 0 }: Refusal): Failure {
  const said = sentence(message);
  if (status === 401 || type === 'authentication_error') {
    return { kind: 'key', title: 'This server asks for an API key', hint: 'Whoever runs it can give you one.' };
  }
  if (status === 429 || type === 'rate_limit_error') {
    const moment = retryAfter > 2 ? `${retryAfter} seconds` : 'a moment';
    return { kind: 'busy', title: 'The server is busy', hint: `${said} Try again in ${moment}.` };
  }
  if (code === 'context_length_exceeded') {
    const hint = `${said} Begin a new conversation, or edit an earlier message and make it shorter.`;
    return { kind: 'too long', title: 'This is more than the model can read', hint };
  }
  if (code === 'model_not_found') {
    return { kind: 'model', title: 'This model is not here any more', hint: `${said} Choose another one above.` };
  }
  if (status === 503) return { kind: 'server', title: 'The server takes no requests now', hint: said };
  if (status >= 500) return { kind: 'server', title: 'Something went wrong on the server', hint: said };
  return { kind: 'refused', title: 'The server could not do that', hint: said };
}

/** Messages of the API begin small and end without a full stop. */
function sentence(message: string): string {
  const text = message.trim().slice(0, 400);
  if (text === '') return 'It did not say why.';
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
