/**
 * Stores past the caches ("non-temporal": Intel SDM, volume 1, 10.4.6.2). A plain store reads its line before it changes it, so
 * a result too large for the caches costs its bytes twice. Such stores fault unless they are aligned, are slow where what
 * they write is read soon, and need a fence before another thread may read.
 */
import type { Buffer } from '../../../compiler/kernel/language.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { type Linear, linearOf } from './index-form.ts';
import type { Level } from './scope.ts';

/** What addresses of streamed buffers are multiples of: a cache line, and every width of a vector. */
export const STREAM_ALIGNMENT = 64;

/** Chooses stores for code that runs only where all `buffers` are aligned. */
export class Streams {
  readonly #leastBytes: number;
  readonly buffers = new Set<Buffer>();

  constructor(leastBytes: number) {
    this.#leastBytes = leastBytes;
  }

  /**
   * Whether a store of `vectorBytes` at a time, without a mask and along the axis of `level`, is streamed. The counter of that
   * axis is a multiple of the lanes.
   */
  take(buffer: Buffer, index: Linear, vectorBytes: number, level: Level): boolean {
    const size = elementBytes(buffer.element);
    if (buffer.access !== 'write' || vectorBytes < 16 || turnsAround(level) * size < this.#leastBytes) return false;
    const aligned = (elements: number) => (elements * size) % vectorBytes === 0;
    const rest = index.terms.filter(({ expression: e }) => e.kind !== 'axis' || e.axis !== level.axis);
    if (!aligned(index.constant) || !rest.every(({ coefficient }) => aligned(coefficient))) return false;
    this.buffers.add(buffer);
    return true;
  }
}

/** Turns of the loops around a place if they are independent, so that each writes its own elements, and their number is known; else 0. */
function turnsAround(innermost: Level): number {
  let turns = 1;
  for (let level = innermost; level.parent !== undefined; level = level.parent) {
    if (level.counters.size === 0) return 0;
    for (const { kind, extent } of level.counters.keys()) {
      const { constant, terms } = linearOf(extent, () => undefined);
      if (kind === 'serial' || terms.length > 0) return 0;
      turns *= constant;
    }
  }
  return turns;
}
