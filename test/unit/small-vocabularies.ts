/** Small vocabularies for tests, in the shapes that files have. */
import type { Metadata, MetadataValue } from '../../src/formats/checkpoint.ts';
import { spellBytes } from '../../src/tokenizer/byte-alphabet.ts';

const merges = ['Ġ t', 'h e', 'Ġt he', 'i n', 'a a', 'aa aa', 'l l', 'he ll', 'hell o', 'Ã ¤', '\u010a \u010a'];

export const byteTokens = Array.from({ length: 256 }, (_, byte) => spellBytes(Uint8Array.of(byte)));
export const byteLevel = {
  tokens: [
    ...byteTokens,
    ...merges.map((merge) => merge.replace(' ', '')),
    '<|endoftext|>',
    '<|im_end|>',
    '<tool>',
    '<|x|>',
  ],
  merges,
  id: (text: string) => byteLevel.tokens.indexOf(text),
};

export function byteLevelKeys(changes: Readonly<Record<string, MetadataValue | undefined>> = {}): Metadata {
  const { tokens } = byteLevel;
  const types = tokens.map((_, id) => (id < tokens.length - 4 ? 1 : id === tokens.length - 2 ? 4 : 3));
  return keys({
    model: 'gpt2',
    pre: 'gpt-2',
    tokens,
    token_type: Int32Array.from(types),
    merges,
    bos_token_id: tokens.length - 4,
    eos_token_id: tokens.length - 4,
    ...changes,
  });
}

const words = [
  '\u2581',
  't',
  'h',
  'e',
  'a',
  'b',
  'l',
  'o',
  '\u2581t',
  'he',
  '\u2581the',
  'aa',
  'aaa',
  'll',
  'lo',
  '\u2581\u2581',
  'xyz',
];
const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;

/** '<unk>', '<s>', '</s>', 256 bytes, then words; the user-defined '<tool>' last. */
export const sentencePiece = {
  tokens: ['<unk>', '<s>', '</s>', ...Array.from({ length: 256 }, (_, byte) => hex(byte)), ...words, '<tool>'],
  id: (text: string) => sentencePiece.tokens.indexOf(text),
};

export function sentencePieceKeys(changes: Readonly<Record<string, MetadataValue | undefined>> = {}): Metadata {
  const { tokens } = sentencePiece;
  const type = (id: number) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : id === tokens.length - 1 ? 4 : 1);
  return keys({
    model: 'llama',
    tokens,
    scores: Float32Array.from(tokens, (_, id) => (id < 259 ? 0 : 259 - id)),
    token_type: Int32Array.from(tokens, (_, id) => type(id)),
    bos_token_id: 1,
    eos_token_id: 2,
    unknown_token_id: 0,
    ...changes,
  });
}

function keys(values: Readonly<Record<string, MetadataValue | undefined>>): Metadata {
  const metadata = new Map<string, MetadataValue>();
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined) metadata.set(`tokenizer.ggml.${key}`, value);
  }
  return metadata;
}
