/** Spaces as SentencePiece writes them: U+2581, with one before the first word so that it is the word it is elsewhere. */
import type { Cut } from './cut.ts';

export const SPACE = '\u2581';

/**
 * Where text gets a space that nobody wrote: at its start, or at the start of each stretch between special tokens.
 * `besideSpace`: even where it starts with a space already.
 */
export type SpacePrefix =
  | { readonly at: 'nowhere' }
  | { readonly at: 'start' | 'stretches'; readonly besideSpace: boolean };

/** As llama.cpp does, and sentencepiece where nothing special stands in a text. */
export const prefixAll: SpacePrefix = { at: 'stretches', besideSpace: true };

export function writeSpaces(prefix: SpacePrefix, written = SPACE): Cut {
  return (piece, atStart, emit) => {
    const text = piece.replaceAll(' ', written);
    emit(wantsSpace(text, prefix, atStart, written) ? written + text : text, atStart);
  };
}

function wantsSpace(text: string, prefix: SpacePrefix, atStart: boolean, written: string): boolean {
  if (prefix.at === 'nowhere' || text === '') return false;
  if (prefix.at === 'start' && !atStart) return false;
  return prefix.besideSpace || !text.startsWith(written);
}
