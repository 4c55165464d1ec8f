/** Models whose weights say what is read of them. */
import { type ByteSource, readInto } from '../../src/base/bytes.ts';
import type { OpenedWeights } from '../../src/engine/open-model-node.ts';

/** `onRead` sees what is read of weights, and holds it up. */
export function withReads(source: OpenedWeights, onRead: (bytes: number) => Promise<void>): OpenedWeights {
  const { checkpoint, model } = source;
  const watched = ({ name, length, ...bytes }: ByteSource): ByteSource => ({
    name,
    length,
    async read(offset, count) {
      await onRead(count);
      return bytes.read(offset, count);
    },
    async readInto(target, offset) {
      await onRead(target.length);
      await readInto({ name, length, ...bytes }, target, offset);
    },
  });
  const weights = new Map(
    [...model.weights].map(([name, stored]) => [name, { ...stored, bytes: watched(stored.bytes) }]),
  );
  return { checkpoint, model: { ...model, weights }, [Symbol.asyncDispose]: () => source[Symbol.asyncDispose]() };
}
