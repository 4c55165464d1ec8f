/** What the tests of file formats share: sinks in memory, bytes by hand, folders that go away. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IngotError } from '../../src/base/errors.ts';
import type { FileLayout, TensorToWrite } from '../../src/formats/tensor-stream.ts';

export async function bytesOf(layout: FileLayout): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await layout.writeTo({ write: async (bytes) => void parts.push(bytes.slice()) });
  return concat(...parts);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export function u64(...values: (number | bigint)[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
}

/** As GGUF writes one. */
export function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return concat(u64(bytes.length), bytes);
}

export function tensor(name: string, format: string, shape: number[], data: Uint8Array): TensorToWrite {
  return { name, format, shape, chunks: () => [data.subarray(0, 5), data.subarray(5)] };
}

export function ramp(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + 3) & 0xff);
}

/** A predicate for `assert.rejects`: this code, and a message that matches. */
export function ingot(code: string, message: RegExp = /./, place: Record<string, unknown> = {}) {
  return (error: unknown): boolean => {
    if (!(error instanceof IngotError)) throw error;
    const found = { code: error.code, message: error.message, place: error.place };
    if (error.code !== code || !message.test(error.message)) throw new Error(`unexpected ${JSON.stringify(found)}`);
    for (const [key, value] of Object.entries(place)) {
      const at = Object.entries(error.place).find(([name]) => name === key)?.[1];
      if (at !== value) throw new Error(`${key} should be ${value}: ${JSON.stringify(found)}`);
    }
    return true;
  };
}

/** A temporary folder with these files, removed when disposed of. */
export async function folderWith(files: Record<string, string | Uint8Array> = {}) {
  const path = await mkdtemp(join(tmpdir(), 'ingot-formats-'));
  for (const [name, contents] of Object.entries(files)) await writeFile(join(path, name), contents);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** mulberry32: a small generator of 32-bit integers below `limit`. */
export function seededRandom(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
}
