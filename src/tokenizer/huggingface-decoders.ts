/**
 * The decoders of `tokenizer.json`, one row each; huggingface/tokenizers (`decoders/`) defines what they do. There they see all
 * tokens of a text, here one at a time, so that text can be streamed: what depends on more than that is refused.
 */
import { readSpelling } from './byte-alphabet.ts';
import { fallbackByte } from './decoders.ts';
import { readReplace } from './huggingface-normalizers.ts';
import { metaspacePrefix } from './huggingface-pre-tokenizers.ts';
import type { JsonView } from './json-view.ts';
import { SPACE } from './spaces.ts';
import type { TokenDecoder, Vocabulary } from './vocabulary.ts';

type Piece = string | Uint8Array;

interface Step {
  /** What a token becomes; bytes are not looked at by later steps. @param first it begins the text. */
  readonly decode?: (text: string, first: boolean) => Piece;
  /** The same for what is bytes already. */
  readonly decodeBytes?: (bytes: Uint8Array, first: boolean) => Uint8Array;
  readonly dropsLastSpace?: boolean;
  readonly dropsRepeats?: boolean;
  /** From here on the text is one. */
  readonly fuses?: boolean;
  /** Characters are taken for what they spell, so that tokens of users cannot be. */
  readonly spelled?: boolean;
}

const utf8 = new TextEncoder();

/** @throws IngotError 'UnsupportedFile' for kinds that are not known. */
export function readDecoder(part: JsonView, { texts, kinds }: Vocabulary): TokenDecoder {
  // Without a decoder, tokens stand beside each other with spaces between.
  const steps = part.missing
    ? [{ decode: (text: string, first: boolean) => (first ? text : ` ${text}`) }]
    : readSteps(part);
  const spelled = steps.some((step) => step.spelled === true);
  return {
    bytes(id, first) {
      const text = texts.at(id) ?? '';
      if (spelled && kinds.at(id) === 'userDefined') return utf8.encode(text);
      const piece = steps.reduce<Piece>((so, step) => {
        if (typeof so === 'string') return step.decode?.(so, first) ?? so;
        return step.decodeBytes?.(so, first) ?? so;
      }, text);
      return typeof piece === 'string' ? utf8.encode(piece) : piece;
    },
    dropsLastSpace: steps.some((step) => step.dropsLastSpace === true),
    dropsRepeats: steps.some((step) => step.dropsRepeats === true),
  };
}

function readSteps(part: JsonView): Step[] {
  const steps: Step[] = [];
  for (const one of flatten(part)) {
    const type = one.get('type').string() ?? '';
    const read = Object.hasOwn(decoders, type) ? decoders[type] : undefined;
    if (read === undefined) throw one.unknownType(type, [...Object.keys(decoders), 'Sequence']);
    steps.push(
      read(
        one,
        steps.some((step) => step.fuses === true),
      ),
    );
  }
  return steps;
}

function flatten(part: JsonView): JsonView[] {
  if (part.get('type').string() !== 'Sequence') return [part];
  return part.get('decoders').array().flatMap(flatten);
}

const decoders: Readonly<Record<string, (part: JsonView, fused: boolean) => Step>> = {
  ByteLevel: () => ({ decode: (text) => readSpelling(text) ?? utf8.encode(text), fuses: true, spelled: true }),
  ByteFallback: () => ({
    decode: (text) => {
      const byte = fallbackByte(text);
      return byte === undefined ? text : Uint8Array.of(byte);
    },
  }),
  Fuse: () => ({ fuses: true }),
  Metaspace: (part) => {
    const written = part.get('replacement').string() ?? SPACE;
    const drops = metaspacePrefix(part).at !== 'nowhere';
    return { decode: (text, first) => text.replaceAll(written, first && drops ? '' : ' ') };
  },
  Replace: (part, fused) => {
    const length = part.get('pattern').get('String').string()?.length;
    if (fused && length !== 1) throw part.unsupported('replaces more than a character in a whole text');
    return { decode: readReplace(part) };
  },
  Strip: (part, fused) => {
    const content = part.get('content').string() ?? ' ';
    const [start, stop] = [part.get('start').integer() ?? 0, part.get('stop').integer() ?? 0];
    if (!fused) return { decode: (text) => strip(text, content, start, stop) };
    if (stop > 1 || (stop === 1 && content !== ' ')) throw part.unsupported('strips the end of a whole text');
    const code = content.charCodeAt(0);
    return {
      decode: (text, first) => (first ? strip(text, content, start, 0) : text),
      decodeBytes: (bytes, first) => (first && start > 0 && bytes[0] === code ? bytes.subarray(1) : bytes),
      dropsLastSpace: stop === 1,
    };
  },
  WordPiece: (part) => {
    const prefix = part.get('prefix').string() ?? '##';
    const clean = (part.get('cleanup').boolean() ?? true) ? cleanUp : (text: string) => text;
    return {
      decode: (text, first) => {
        if (first) return clean(text);
        return clean(text.startsWith(prefix) ? text.slice(prefix.length) : ` ${text}`);
      },
    };
  },
  BPEDecoder: (part) => {
    const suffix = part.get('suffix').string() ?? '</w>';
    return { decode: (text) => (suffix === '' ? text : text.replaceAll(suffix, ' ')), dropsLastSpace: true };
  },
  CTC: (part) => {
    const pad = part.get('pad_token').string() ?? '<pad>';
    const delimiter = part.get('word_delimiter_token').string() ?? '|';
    const clean = part.get('cleanup').boolean() ?? true;
    return {
      decode: (text) => {
        const bare = text.replaceAll(pad, '');
        return clean ? cleanUp(bare).replaceAll(delimiter, ' ') : bare;
      },
      dropsRepeats: true,
    };
  },
};

function strip(text: string, content: string, start: number, stop: number): string {
  const letters = Array.from(text);
  let [from, to] = [0, letters.length];
  while (from < Math.min(start, letters.length) && letters[from] === content) from++;
  while (letters.length - to < stop && to > from && letters[to - 1] === content) to--;
  return letters.slice(from, to).join('');
}

/** Spaces that English does not write. */
function cleanUp(text: string): string {
  return [
    [' .', '.'],
    [' ?', '?'],
    [' !', '!'],
    [' ,', ','],
    [" ' ", "'"],
    [" n't", "n't"],
    [" 'm", "'m"],
    [' do not', " don't"],
    [" 's", "'s"],
    [" 've", "'ve"],
    [" 're", "'re"],
  ].reduce((so, [from = '', to = '']) => so.replaceAll(from, to), text);
}
