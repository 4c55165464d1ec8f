/** Errors between threads and processes: clones of errors lose what makes an IngotError of them, and JSON loses all. */
import { type ErrorCode, type ErrorPlace, IngotError } from './errors.ts';

/** An error as plain data. */
export interface ErrorMessage {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Of an IngotError. */
  readonly code?: ErrorCode;
  readonly place?: ErrorPlace;
  readonly hint?: string;
  readonly cause?: ErrorMessage;
}

export function errorMessage(error: unknown): ErrorMessage {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  return {
    name,
    message,
    ...(stack !== undefined && { stack }),
    ...(error instanceof IngotError && { code: error.code, place: error.place, hint: error.hint }),
    ...(cause !== undefined && { cause: errorMessage(cause) }),
  };
}

/** The error that was sent; its stack is that of where it was thrown. */
export function receivedError({ name, message, stack, code, place, hint, cause }: ErrorMessage): Error {
  const options = cause === undefined ? {} : { cause: receivedError(cause) };
  const error =
    code === undefined
      ? Object.assign(new Error(message, options), { name })
      : new IngotError(code, message, { ...place, ...options, ...(hint !== undefined && { hint }) });
  if (stack !== undefined) error.stack = stack;
  return error;
}
