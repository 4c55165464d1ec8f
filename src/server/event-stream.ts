/**
 * Answers that come piece by piece, as server-sent events (HTML standard, section 9.2). What is not read is not made: a slow reader
 * slows its own answer, and one that has stopped is ended.
 */

/** Seconds that a reader may take for what it was sent. */
const patience = 30;

export interface StreamHooks {
  /** Nobody reads any more: the work is to end. */
  readonly onGone: () => void;
  /** The reader takes nothing, and nothing tells whether it will: its connection is to end. */
  readonly onStopped: () => void;
  readonly patienceSeconds?: number;
}

/** Each text becomes an event. */
export function eventStream(
  texts: AsyncIterator<string, void, undefined>,
  { onGone, onStopped, patienceSeconds = patience }: StreamHooks,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      clearTimeout(timer);
      const { done, value } = await texts.next();
      if (done) return controller.close();
      controller.enqueue(encoder.encode(`data: ${value}\n\n`));
      timer = setTimeout(onStopped, 1000 * patienceSeconds);
    },
    cancel() {
      clearTimeout(timer);
      onGone();
    },
  });
}
