/**
 * Cutting text into the pieces that a model encodes one by one. A cut hands its pieces on at once, so cuts in turn make no
 * lists. The behaviours are those of huggingface/tokenizers (`normalizer.rs`).
 */

/** @param atStart the piece begins where the whole text begins. */
export type Emit = (piece: string, atStart: boolean) => void;
export type Cut = (piece: string, atStart: boolean, emit: Emit) => void;

/** Starts and ends of matches in turn. */
export type Find = (text: string) => readonly number[];

export const behaviors = ['Removed', 'Isolated', 'Contiguous', 'MergedWithPrevious', 'MergedWithNext'] as const;
/** What becomes of matches: pieces of their own, nothing, or a part of a piece beside them. */
export type Behavior = (typeof behaviors)[number];

const uncut: Cut = (piece, atStart, emit) => emit(piece, atStart);

export function inTurn(cuts: readonly Cut[]): Cut {
  return cuts.reduceRight<Cut>(
    (later, cut) =>
      later === uncut
        ? cut
        : (piece, atStart, emit) => cut(piece, atStart, (part, partAtStart) => later(part, partAtStart, emit)),
    uncut,
  );
}

/** Cuts at matches. @param invert what lies between the matches is the match. */
export function cutAt(find: Find, behavior: Behavior, invert = false): Cut {
  if (behavior === 'Isolated') return isolate(find);
  return (text, atStart, emit) => {
    const ends: number[] = [];
    const matched: boolean[] = [];
    const add = (end: number, isMatch: boolean) => {
      ends.push(end);
      matched.push(isMatch !== invert);
    };
    let at = 0;
    const found = find(text);
    for (let i = 0; i < found.length; i += 2) {
      const [start = 0, end = 0] = [found[i], found[i + 1]];
      if (start > at) add(start, false);
      add(end, true);
      at = end;
    }
    if (at < text.length) add(text.length, false);
    const joins = joinsBefore(matched, behavior);
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      if (joins[i + 1] === true) continue;
      const end = ends[i] ?? 0;
      const removed = behavior === 'Removed' && matched[i] === true;
      if (!removed && end > start) emit(text.slice(start, end), atStart && start === 0);
      start = end;
    }
  };
}

/** The common case, without lists. */
function isolate(find: Find): Cut {
  return (text, atStart, emit) => {
    let at = 0;
    const found = find(text);
    for (let i = 0; i < found.length; i += 2) {
      const [start = 0, end = 0] = [found[i], found[i + 1]];
      if (start > at) emit(text.slice(at, start), atStart && at === 0);
      if (end > start) emit(text.slice(start, end), atStart && start === 0);
      at = end;
    }
    if (at < text.length) emit(text.slice(at), atStart && at === 0);
  };
}

/** For each stretch, whether it is one piece with the stretch before. */
function joinsBefore(matched: readonly boolean[], behavior: Behavior): boolean[] {
  switch (behavior) {
    case 'Removed':
    case 'Isolated':
      return [];
    case 'Contiguous':
      return matched.map((isMatch, i) => i > 0 && isMatch === matched[i - 1]);
    case 'MergedWithPrevious':
      return matched.map((isMatch, i) => i > 0 && isMatch && matched[i - 1] === false);
    case 'MergedWithNext':
      return matched.map((isMatch, i) => i > 0 && matched[i - 1] === true && !isMatch);
    default:
      return behavior satisfies never;
  }
}
