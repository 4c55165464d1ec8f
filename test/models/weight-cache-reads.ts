/** Models whose weights say what is read of them. */
import { type ByteSource, readInto } from '../../src/base/bytes.ts';
import type { OpenedWeights } from '../../src/engine/open-model-node.ts';

/** Of each weight so much is looked at to tell models apart. */
const lookedAt = 64;

/** `onRead` sees what is read beyond that, and holds it up. Nothing reads the files besides. */
export function withReads(source: OpenedWeights, onRead: (bytes: number) => Promise<void>): OpenedWeights {
  const { checkpoint, model } = source;
  const watched = ({ name, length, ...bytes }: ByteSource): ByteSource => ({
    name,
    length,
    async read(offset, count) {
      if (count > lookedAt) await onRead(count);
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
