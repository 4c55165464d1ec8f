/** Remembers the ids of frequent pieces of text; bounded to some 10 MB. */
const MOST_PIECES = 2 ** 16;
const LONGEST_PIECE = 48;

export class PieceCache {
  readonly #encode: (piece: string) => readonly number[];
  readonly #known = new Map<string, readonly number[]>();

  constructor(encode: (piece: string) => readonly number[]) {
    this.#encode = encode;
  }

  get(piece: string): readonly number[] {
    if (piece.length > LONGEST_PIECE) return this.#encode(piece);
    let ids = this.#known.get(piece);
    if (ids === undefined) {
      ids = this.#encode(piece);
      if (this.#known.size >= MOST_PIECES) this.#known.clear();
      this.#known.set(piece, ids);
    }
    return ids;
  }
}
