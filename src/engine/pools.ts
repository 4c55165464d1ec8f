/** The contents of KV blocks: how they leave the device's pools, come back, and go from one block to another. */
import { IngotError } from '../base/errors.ts';
import type { Device, DeviceBuffer } from '../devices/device.ts';

export class Pools {
  readonly #device: Device;
  /** Each with the bytes that it has of a block. */
  readonly #parts: readonly { readonly buffer: DeviceBuffer; readonly bytes: number }[];
  /** Bytes of a block in all pools together. */
  readonly blockBytes: number;

  /** `sizes`: bytes of each pool, which holds the same number of tokens of every block. */
  constructor(
    device: Device,
    pools: readonly { readonly buffer: DeviceBuffer; readonly bytes: number }[],
    blocks: number,
  ) {
    this.#device = device;
    this.#parts = pools.map(({ buffer, bytes }) => ({ buffer, bytes: bytes / blocks }));
    this.blockBytes = this.#parts.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** As they are after what was submitted before, and before what is submitted after the call. */
  async read(block: number): Promise<Uint8Array> {
    const parts = this.#parts.map(({ buffer, bytes }) => this.#device.read(buffer, block * bytes, bytes));
    const contents = new Uint8Array(this.blockBytes);
    let at = 0;
    for (const part of await Promise.all(parts)) {
      contents.set(part, at);
      at += part.length;
    }
    return contents;
  }

  /** After what was submitted before, and at once: nobody has a turn in between. */
  write(block: number, contents: Uint8Array): void {
    if (contents.length !== this.blockBytes) {
      throw new IngotError('InvalidArgument', `a block has ${this.blockBytes} bytes, not ${contents.length}`);
    }
    let at = 0;
    for (const { buffer, bytes } of this.#parts) {
      this.#device.write(buffer, contents.subarray(at, at + bytes), block * bytes);
      at += bytes;
    }
  }

  async copy(from: number, to: number): Promise<void> {
    this.write(to, await this.read(from));
  }
}
