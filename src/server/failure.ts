/** Failures in the form of OpenAI's API: `{ error: { message, type, param, code } }` and a status. */
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { type ErrorCode, isIngotError } from '../base/errors.ts';

interface ApiErrorOptions {
  readonly param?: string | null;
  readonly code?: string | null;
  readonly retryAfter?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

export class ApiError extends Error {
  readonly status: ContentfulStatusCode;
  readonly param: string | null;
  readonly code: string | null;
  /** Seconds until it may be tried again. */
  readonly retryAfter: number | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: ContentfulStatusCode,
    message: string,
    { param = null, code = null, retryAfter, headers = {}, cause }: ApiErrorOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.param = param;
    this.code = code;
    this.retryAfter = retryAfter;
    this.headers = headers;
  }
}

/** What the client can mend; anything else is the server's fault. */
const statuses: Partial<Record<ErrorCode, ContentfulStatusCode>> = {
  InvalidArgument: 400,
  ContextOverflow: 400,
  ParseError: 400,
  Overloaded: 429,
  DeadlineExceeded: 503,
  OutOfMemory: 503,
  DeviceLost: 503,
  RankLost: 503,
  Aborted: 503,
};

/** The server's fault, and nothing that its log needs to tell. */
const sayable: ReadonlySet<ErrorCode> = new Set(['Aborted', 'OutOfMemory', 'DeadlineExceeded', 'RequestFault']);

const codes: Partial<Record<ErrorCode, string>> = {
  ContextOverflow: 'context_length_exceeded',
  Overloaded: 'rate_limit_exceeded',
};

export interface Failure {
  readonly status: ContentfulStatusCode;
  readonly body: { readonly error: { message: string; type: string; param: string | null; code: string | null } };
  /** Not for the client: an unexpected error, to be logged. */
  readonly unexpected?: unknown;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof ApiError) return failure(error.status, error.message, error.param, error.code);
  if (error instanceof HTTPException) return failure(error.status as ContentfulStatusCode, error.message, null, null);
  if (isIngotError(error)) {
    const status = statuses[error.code] ?? 500;
    if (status < 500 || sayable.has(error.code)) {
      return failure(status, error.message, null, codes[error.code] ?? null);
    }
    return { ...failure(status, 'the model cannot be run now', null, null), unexpected: error };
  }
  return {
    ...failure(500, 'something went wrong here; it is in the log of the server', null, null),
    unexpected: error,
  };
}

/** The same of a prompt that is too long, with the field of the request that holds it. */
export function withPrompt(error: unknown, field: string): unknown {
  if (!isIngotError(error, 'ContextOverflow')) return error;
  return new ApiError(400, error.message, { param: field, code: codes.ContextOverflow ?? null, cause: error });
}

function failure(status: ContentfulStatusCode, message: string, param: string | null, code: string | null): Failure {
  return { status, body: { error: { message, type: typeOf(status), param, code } } };
}

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return 'authentication_error';
    case 403:
      return 'permission_error';
    case 429:
      return 'rate_limit_error';
    default:
      return status < 500 ? 'invalid_request_error' : 'server_error';
  }
}

export function respond(c: Context, error: unknown): Response {
  const { status, body } = failureOf(error);
  const { retryAfter = 1, headers = {} } = error instanceof ApiError ? error : {};
  if (status === 429 || status === 503) c.header('Retry-After', String(Math.max(1, Math.ceil(retryAfter))));
  for (const [name, value] of Object.entries(headers)) c.header(name, value);
  return c.json(body, status);
}

/**
 * An error as a log may have it. What others throw can hold words of a request: of that only where it came from is kept.
 */
export function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { name: typeof error };
  const { name, message, stack = '' } = error;
  if (isIngotError(error)) return { name, code: error.code, message, ...error.place };
  const frames = stack.slice(stack.indexOf(message) + message.length).split('\n');
  return {
    name,
    at: frames
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .slice(0, 12),
  };
}
