/**
 * Text to token ids and back. One interface; encoders live in their own files and are chosen in `load.ts`.
 */

export interface EncodeOptions {
  /** Recognize special tokens written out in the text ('<|im_start|>'). Off: such text is plain text. */
  readonly parseSpecial?: boolean;
  /** Add the beginning-of-sequence (and, where the model wants it, end-of-sequence) token. Default: as the model says. */
  readonly addSpecial?: boolean;
  /** The text holds parts that `shield` made: they are the text that they were, and no special token. */
  readonly shielded?: boolean;
}

/** Text to token ids and back. */
export interface Tokenizer {
  readonly vocabularySize: number;
  readonly bos?: number;
  /** The end of a text; chat templates ask for its spelling. */
  readonly eos?: number;
  /** Ids that end a generation (end of text, end of turn). */
  readonly endOfGeneration: ReadonlySet<number>;
  /** The tokens of a text. */
  encode(text: string, options?: EncodeOptions): number[];
  /** A text in which special tokens that are written out cannot be recognized; `encode` with `shielded` undoes it. */
  shield(text: string): string;
  /** Special tokens are left out unless asked for; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: readonly number[], options?: { readonly special?: boolean }): string;
  /** The bytes that a token stands for; empty for special tokens. */
  tokenBytes(id: number): Uint8Array;
  /** The token as its vocabulary spells it, for listings. */
  tokenText(id: number): string;
  /**
   * A decoder that never emits half a character. `continuation`: the ids go on from other text (a prompt), so that a
   * space at their start is a space; at the start of a text, SentencePiece's is not.
   */
  stream(options?: { readonly continuation?: boolean }): TokenStream;
}

export interface TokenStream {
  /** The text that became certain with this token; possibly empty. */
  push(id: number): string;
  /** What is left when the sequence ends: incomplete characters become U+FFFD. */
  end(): string;
}
