/** The post-processors of `tokenizer.json`, one row each: the special tokens around a text (`processors/` of huggingface/tokenizers). */
import type { JsonView } from './json-view.ts';

export interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const none: Frame = { before: [], after: [] };

/** @throws IngotError 'UnsupportedFile' for kinds that are not known. */
export function readFrame(part: JsonView): Frame {
  if (part.missing) return none;
  const type = part.get('type').string() ?? '';
  const read = Object.hasOwn(postProcessors, type) ? postProcessors[type] : undefined;
  if (read === undefined) throw part.unknownType(type, Object.keys(postProcessors));
  return read(part);
}

const postProcessors: Readonly<Record<string, (part: JsonView) => Frame>> = {
  Sequence: (part) =>
    part
      .get('processors')
      .array()
      .map(readFrame)
      .reduce(
        (inner, outer) => ({
          before: [...outer.before, ...inner.before],
          after: [...inner.after, ...outer.after],
        }),
        none,
      ),
  /** Only corrects offsets. */
  ByteLevel: () => none,
  BertProcessing: readPair,
  RobertaProcessing: readPair,
  TemplateProcessing: (part) => {
    const pieces = part.get('single').array();
    const places = pieces.flatMap((piece, place) => (piece.get('Sequence').missing ? [] : [place]));
    const [text] = places;
    if (text === undefined || places.length > 1) throw part.unsupported('does not hold the text once');
    const ids = (piece: JsonView) => {
      const name = piece.get('SpecialToken').get('id').string() ?? '';
      const tokens = part.get('special_tokens').get(name).get('ids').array();
      if (tokens.length === 0) throw part.wrong(`names '${name}', which is no special token of it`);
      return tokens.map(idOf);
    };
    return { before: pieces.slice(0, text).flatMap(ids), after: pieces.slice(text + 1).flatMap(ids) };
  },
};

/** `cls` before and `sep` behind, each a pair of token and id. */
function readPair(part: JsonView): Frame {
  const id = (key: string) => part.get(key).array().slice(1, 2).map(idOf);
  return { before: id('cls'), after: id('sep') };
}

function idOf(view: JsonView): number {
  const id = view.integer();
  if (id === undefined) throw view.wrong('is no id');
  return id;
}
