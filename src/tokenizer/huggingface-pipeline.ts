/**
 * The parts of a `tokenizer.json` pipeline that Ingot's own encoders follow exactly: how text is cut for byte-level BPE,
 * and how SentencePiece's spaces are written. Whatever is not recognized gives undefined, never a guess.
 */
import type { JsonView } from './json-view.ts';
import { translatePattern } from './pre-tokenizers.ts';
import type { SpacePrefix } from './sentencepiece.ts';

const SPACE = '\u2581';

/** Elements of a `Sequence`, or the part itself; nothing for null. */
function steps(part: JsonView, key: string): JsonView[] {
  if (part.missing) return [];
  return part.get('type').string() === 'Sequence'
    ? part
        .get(key)
        .array()
        .flatMap((step) => steps(step, key))
    : [part];
}

const typeOf = (part: JsonView | undefined) => part?.get('type').string();

/** Patterns of a byte-level pre-tokenizer, for `preTokenize`. */
export function byteLevelPatterns(preTokenizer: JsonView): RegExp[] | undefined {
  const parts = steps(preTokenizer, 'pretokenizers');
  const last = parts.pop();
  if (typeOf(last) !== 'ByteLevel' || (last?.get('add_prefix_space').boolean() ?? true)) return undefined;
  const patterns = parts.map(pattern);
  if (last?.get('use_regex').boolean() ?? true) patterns.push(gpt2());
  return patterns.every((found) => found !== undefined) ? patterns : undefined;
}

const gpt2 = () =>
  translatePattern("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+");

function pattern(part: JsonView): RegExp | undefined {
  switch (typeOf(part)) {
    case 'Split': {
      const regex = part.get('pattern').get('Regex').string();
      const isolated = part.get('behavior').string() === 'Isolated' && part.get('invert').boolean() !== true;
      return regex !== undefined && isolated ? translatePattern(regex) : undefined;
    }
    case 'Digits':
      return translatePattern(part.get('individual_digits').boolean() === true ? '\\p{N}' : '\\p{N}+');
    default:
      return undefined;
  }
}

/** The Unicode normalization that comes first; undefined if something else does. */
export function normalization(normalizer: JsonView): 'NFC' | 'none' | undefined {
  const parts = steps(normalizer, 'normalizers');
  if (parts.length === 0) return 'none';
  return parts.length === 1 && typeOf(parts[0]) === 'NFC' ? 'NFC' : undefined;
}

/** Where SentencePiece's space goes, by the normalizers of older files or the pre-tokenizer of newer ones. */
export function sentencePieceSpaces(normalizer: JsonView, preTokenizer: JsonView): SpacePrefix | undefined {
  const before = steps(normalizer, 'normalizers');
  const [cut, ...more] = steps(preTokenizer, 'pretokenizers');
  if (more.length > 0) return undefined;
  const prepend = typeOf(before[0]) === 'Prepend' ? before.shift() : undefined;
  if (prepend !== undefined && prepend.get('prepend').string() !== SPACE) return undefined;
  if (before.length === 1 && replacesSpaces(before[0])) {
    // Gemma's files also split at spaces, of which there are none left.
    const splitsNothing =
      cut === undefined || (typeOf(cut) === 'Split' && cut.get('pattern').get('String').string() === ' ');
    if (!splitsNothing) return undefined;
    return prepend === undefined ? { at: 'nowhere' } : { at: 'stretches', besideSpace: true };
  }
  if (before.length > 0 || prepend !== undefined || typeOf(cut) !== 'Metaspace') return undefined;
  if (cut?.get('replacement').string() !== SPACE || cut.get('split').boolean() !== false) return undefined;
  switch (cut.get('prepend_scheme').string()) {
    case 'always':
      return { at: 'stretches', besideSpace: false };
    case 'first':
      return { at: 'start', besideSpace: false };
    case 'never':
      return { at: 'nowhere' };
    default:
      return undefined;
  }
}

function replacesSpaces(part: JsonView | undefined): boolean {
  if (typeOf(part) !== 'Replace') return false;
  return part?.get('pattern').get('String').string() === ' ' && part.get('content').string() === SPACE;
}

/** How tokens become bytes: bytes spelled as characters, or SentencePiece's spaces with one to take away or none. */
export function decoding(decoder: JsonView): 'byteLevel' | 'spaces' | 'spacesAfterFirst' | undefined {
  const types = new Set(steps(decoder, 'decoders').map(typeOf));
  if (types.has('ByteLevel') && types.size === 1) return 'byteLevel';
  if (types.has('Metaspace') && types.size === 1) {
    const scheme =
      decoder.get('prepend_scheme').string() ??
      (decoder.get('add_prefix_space').boolean() === false ? 'never' : 'always');
    return scheme === 'never' ? 'spaces' : 'spacesAfterFirst';
  }
  const known = ['Replace', 'ByteFallback', 'Fuse', 'Strip'];
  if (!types.has('Replace') || ![...types].every((type) => type !== undefined && known.includes(type)))
    return undefined;
  return types.has('Strip') ? 'spacesAfterFirst' : 'spaces';
}
