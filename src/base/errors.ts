/**
 * Every failure that Ingot itself reports. A typed error says what went wrong, where, and what to do; the command line
 * prints it without a stack, a program switches on `code`. Anything else that escapes is a defect in Ingot.
 */

export type ErrorCode =
  // what the user asked for
  | 'Usage'
  | 'FileNotFound'
  | 'FileExists'
  // the system refused: permission, full disk, a failing device
  | 'FileAccess'
  // a server cannot be reached, or answers what it should not
  | 'Network'
  | 'ContextOverflow'
  // files and text
  | 'InvalidFile'
  | 'FileChanged'
  | 'UnsupportedFile'
  | 'ParseError'
  | 'TokenizerMismatch'
  | 'UnknownArchitecture'
  // programs and compilation
  | 'InvalidProgram'
  | 'StateWouldCopy'
  | 'UnsupportedOp'
  // more is asked for than is served
  | 'Overloaded'
  // it ended whatever computed it, again and again
  | 'RequestFault'
  // devices at run time
  | 'OutOfMemory'
  | 'InvalidArgument'
  | 'DeadlineExceeded'
  | 'RankLost'
  | 'DeviceLost'
  | 'DeviceFault'
  | 'Aborted';

/** Where a failure was found. Only what is known is set. */
export interface ErrorPlace {
  readonly path?: string;
  /** Byte offset in `path`. */
  readonly offset?: number;
  /** 1-based line and column of a text. */
  readonly line?: number;
  readonly column?: number;
  readonly tensor?: string;
  readonly op?: string;
  readonly device?: string;
}

export class IngotError extends Error {
  override readonly name = 'IngotError';
  readonly code: ErrorCode;
  readonly place: ErrorPlace;
  /** What the user can do about it; one sentence. */
  readonly hint?: string;

  constructor(code: ErrorCode, message: string, options: ErrorPlace & { hint?: string; cause?: unknown } = {}) {
    const { hint, cause, ...place } = options;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.place = place;
    if (hint !== undefined) this.hint = hint;
  }
}

export function isIngotError(error: unknown, code?: ErrorCode): error is IngotError {
  return error instanceof IngotError && (code === undefined || error.code === code);
}

/** As much of an AbortSignal as work looks at that asks now and then. */
export interface StopSignal {
  readonly aborted: boolean;
  readonly reason?: unknown;
}

/** @throws IngotError 'Aborted' when the signal was raised. Called between steps of long work. */
export function throwIfAborted(signal: StopSignal | undefined): void {
  if (signal?.aborted) throw new IngotError('Aborted', 'the work was cancelled', { cause: signal.reason });
}
