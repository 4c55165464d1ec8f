/** The contents of KV blocks: how they leave the device's pools, come back, and go from one block to another. */
import { IngotError } from '../base/errors.ts';
import type { Device, DeviceBuffer } from '../devices/device.ts';

export interface Pool {
  readonly buffer: DeviceBuffer;
  /** That it has of a block. */
  readonly bytes: number;
  /** Which of a block's places (`BlockManager.places`) is in it. */
  readonly place: number;
}

export class Pools {
  readonly #device: Device;
  readonly #parts: readonly Pool[];
  /** Bytes of a block in all pools together. */
  readonly blockBytes: number;

  constructor(device: Device, pools: readonly Pool[]) {
    this.#device = device;
    this.#parts = pools;
    this.blockBytes = this.#parts.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** As they are after what was submitted before, and before what is submitted after the call. */
  async read(places: readonly number[]): Promise<Uint8Array> {
    const parts = this.#parts.map(({ buffer, bytes, place }) => {
      return this.#device.read(buffer, places[place] * bytes, bytes);
    });
    const contents = new Uint8Array(this.blockBytes);
    let at = 0;
    for (const part of await Promise.all(parts)) {
      contents.set(part, at);
      at += part.length;
    }
    return contents;
  }

  /** After what was submitted before, and at once: nobody has a turn in between. */
  write(places: readonly number[], contents: Uint8Array): void {
    if (contents.length !== this.blockBytes) {
      throw new IngotError('InvalidArgument', `a block has ${this.blockBytes} bytes, not ${contents.length}`);
    }
    let at = 0;
    for (const { buffer, bytes, place } of this.#parts) {
      this.#device.write(buffer, contents.subarray(at, at + bytes), places[place] * bytes);
      at += bytes;
    }
  }

  async copy(from: readonly number[], to: readonly number[]): Promise<void> {
    this.write(to, await this.read(from));
  }
}
