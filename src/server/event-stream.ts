/**
 * Answers that come piece by piece, as server-sent events (HTML standard, section 9.2). What is not read is not made: a slow reader
 * slows its own answer, and one that has stopped is ended.
 */

export interface StreamHooks {
  /** The reader takes nothing, and nothing tells whether it will: its connection is to end. */
  readonly onStopped: () => void;
  /** Nothing more will be read: all of it was, or nobody is there any more. */
  readonly onEnd: () => void;
  /** Seconds that a reader may take for what it was sent. */
  readonly patience: number;
}

/** Each text becomes an event. */
export function eventStream(
  texts: AsyncIterator<string, void, undefined>,
  { onStopped, onEnd, patience }: StreamHooks,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  /** Whether it is the reader that is waited for. */
  let isRead = true;
  const timer = setTimeout(() => !isRead && onStopped(), 1000 * patience);
  const end = () => {
    clearTimeout(timer);
    onEnd();
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      isRead = true;
      const { done, value } = await texts.next();
      if (done) {
        controller.close();
        return end();
      }
      controller.enqueue(encoder.encode(`data: ${value}\n\n`));
      isRead = false;
      timer.refresh();
    },
    cancel: end,
  });
}
