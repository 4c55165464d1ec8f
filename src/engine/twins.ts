/**
 * What a text that begins can take over from one that is computed: requests that come together and begin alike, as all choices of
 * one prompt do, compute it once. Whole blocks are shared as soon as they are published; the last one, which another fills no
 * further than this text needs, is copied before either writes into it (copy on write).
 */
import type { BlockManager } from './blocks.ts';
import type { Sequence, StepEntry } from './sequence.ts';

export type Takeover =
  /** Nobody computes what it begins with. */
  | { readonly kind: 'none' }
  /** Somebody does, and it is to wait until that is done. */
  | { readonly kind: 'later' }
  /** A copy of this block holds its tokens as far as `tokens`. */
  | { readonly kind: 'copy'; readonly block: number; readonly tokens: number };

const none: Takeover = { kind: 'none' };

/** `next` has blocks of its first `known` tokens; `entries` are in the step that is planned. */
export function takeover(
  next: Sequence,
  known: number,
  running: readonly Sequence[],
  entries: readonly StepEntry[],
  blocks: BlockManager,
): Takeover {
  const { blockSize } = blocks;
  // The last token is computed in any case: it says what follows.
  const wanted = next.tokens.length - 1;
  const at = known / blockSize;
  let best = none;
  for (const other of running) {
    if (other.cacheOwner !== next.cacheOwner || other.blocks[at - 1] !== next.blocks[at - 1]) continue;
    let end = known;
    while (end < wanted && other.tokens[end] === next.tokens[end]) end++;
    const whole = Math.floor(end / blockSize);
    const isMore = whole > at || (end === wanted && end > known);
    if (!isMore) continue;
    if (whole > Math.max(at, blocks.published(other.blocks))) {
      // Its reader is slow: nobody knows when it goes on.
      if (!other.paused) return { kind: 'later' };
    } else if (end === wanted && whole === at) {
      const entry = entries.find(({ sequence }) => sequence === other);
      const isWhole = !blocks.places(other.blocks[at]).includes(-1);
      if ((entry?.start ?? other.computed) >= end && isWhole)
        best = { kind: 'copy', block: other.blocks[at], tokens: end };
      else if (isWhole && !other.paused) return { kind: 'later' };
    }
  }
  return best;
}
