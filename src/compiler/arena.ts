/**
 * Offsets for buffers that share one arena: the largest first, each into the tightest gap among those alive at the same
 * time (greedy by size, as in Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
 * arXiv 2001.03288).
 */

export interface Lifetime {
  readonly bytes: number;
  /** First and last step at which it holds something, both included. */
  readonly from: number;
  readonly to: number;
}

export interface Arena {
  readonly bytes: number;
  /** One a buffer, in the order given. */
  readonly offsets: readonly number[];
}

const alignment = 64;

export function align(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

export function packArena(buffers: readonly Lifetime[]): Arena {
  const offsets = new Array<number>(buffers.length).fill(0);
  const order = buffers.map((_, i) => i).filter((i) => buffers[i].bytes > 0);
  order.sort((a, b) => buffers[b].bytes - buffers[a].bytes || a - b);
  const placed: number[] = []; // by offset
  let total = 0;
  for (const index of order) {
    const buffer = buffers[index];
    const size = align(buffer.bytes);
    let [best, tightest, end] = [-1, Infinity, 0];
    for (const other of placed) {
      const { from, to, bytes } = buffers[other];
      if (from > buffer.to || to < buffer.from) continue;
      const gap = offsets[other] - end;
      if (gap >= size && gap < tightest) [best, tightest] = [end, gap];
      end = Math.max(end, offsets[other] + align(bytes));
    }
    offsets[index] = best >= 0 ? best : end;
    total = Math.max(total, offsets[index] + size);
    const at = placed.findIndex((other) => offsets[other] > offsets[index]);
    placed.splice(at < 0 ? placed.length : at, 0, index);
  }
  return { bytes: total, offsets };
}
