/** The weights of a model in a device's layout: read once, side by side as far as the device and the source allow. */
import { type ByteSource, readInto } from '../base/bytes.ts';
import { throwIfAborted } from '../base/errors.ts';
import type { Device, DeviceBuffer } from '../devices/device.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import type { Model } from '../models/model.ts';

export type Weights = ReadonlyMap<string, DeviceBuffer>;

export interface PackOptions {
  readonly signal?: AbortSignal;
  /** Called as weights are packed, in bytes of the file. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Whatever fails leaves nothing allocated. */
export async function packWeights(
  device: Pick<Device, 'pack' | 'readsFiles'>,
  { weights }: Pick<Model, 'weights'>,
  { signal, onProgress }: PackOptions = {},
): Promise<Weights> {
  const total = [...weights.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  let done = 0;
  const count = (length: number) => {
    done += length;
    onProgress?.(done, total);
  };
  const watched = (bytes: ByteSource): ByteSource => {
    const { name, length, file } = bytes;
    return {
      name,
      length,
      read: async (offset, length) => {
        throwIfAborted(signal);
        const read = await bytes.read(offset, length);
        count(length);
        return read;
      },
      readInto: async (target, offset) => {
        throwIfAborted(signal);
        await readInto(bytes, target, offset);
        count(target.length);
      },
      ...(file && {
        file: {
          ...file,
          check: async (offset, length) => {
            throwIfAborted(signal);
            await file.check(offset, length);
            count(length);
          },
        },
      }),
    };
  };
  const packed = new Map<string, DeviceBuffer>();
  let failed = false;
  const pack = async (some: Iterable<readonly [string, StoredTensor]>) => {
    for (const [name, stored] of some) {
      if (failed) return;
      try {
        packed.set(name, await device.pack({ ...stored, parameter: name, bytes: watched(stored.bytes) }));
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const [alone, others]: [string, StoredTensor][][] = [[], []];
  for (const entry of weights) (device.readsFiles && entry[1].bytes.file !== undefined ? alone : others).push(entry);
  // Of the others each takes the next that is left, so that one is read while another is finished.
  const left = others.values();
  const outcomes = await Promise.allSettled([...alone.map((entry) => pack([entry])), pack(left), pack(left)]);
  for (const outcome of outcomes) {
    if (outcome.status !== 'rejected') continue;
    for (const buffer of packed.values()) buffer[Symbol.dispose]();
    throw outcome.reason;
  }
  return packed;
}
