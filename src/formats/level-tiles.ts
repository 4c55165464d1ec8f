/**
 * Levels of packed integers from where the output lies last to blocks where it lies first: a transposition. It goes by tiles of 128 outputs, which
 * of AWQ are a line of a cache, and some blocks, so that neither a line that is read nor one that is written is fetched twice; and four
 * levels at once, each in a byte of a word.
 */

/** Outputs of a tile at most. */
export const tileOutputs = 128;
/** Blocks of each output of a tile at most. */
export const tileBlocks = 4;
export const blockLength = 32;
/** Words that hold the levels of a block, four in each, ascending. */
const blockWords = blockLength / 4;
/** From the levels of one output to those of the next. */
const outputWords = tileBlocks * blockWords;

/** What blocks are made of: their levels by output and block, and by block and output the scale and what is added to the levels. */
export interface Tile {
  readonly levels: Int32Array;
  readonly scales: Uint16Array;
  readonly adds: Int32Array;
}

export function makeTile(): Tile {
  return {
    levels: new Int32Array(tileOutputs * outputWords),
    scales: new Uint16Array(tileBlocks * tileOutputs),
    adds: new Int32Array(tileBlocks * tileOutputs),
  };
}

/**
 * The levels of block `block` of all outputs of which words `first` to `end` of a row hold something. Rows have `across` words; that of the
 * block's first level is `row`.
 */
type Fill = (
  { levels }: Tile,
  block: number,
  words: Int32Array,
  across: number,
  row: number,
  first: number,
  end: number,
) => void;

/** A word has eight outputs of one k, 0 2 4 6 1 3 5 7 from the lowest nibble on. */
export const fillAwq: Fill = ({ levels }, block, words, across, row, first, end) => {
  for (let quad = 0; quad < blockWords; quad++) {
    const from = (row + 4 * quad) * across;
    for (let word = first, to = block * blockWords + quad; word < end; word++, to += 8 * outputWords) {
      const at = from + word;
      const a = words[at] as number;
      const b = words[at + across] as number;
      const c = words[at + 2 * across] as number;
      const d = words[at + 3 * across] as number;
      // Of two k each: the nibbles i and i + 4, side by side.
      let ab = (a & 0x000f000f) | ((b & 0x000f000f) << 8);
      let cd = (c & 0x000f000f) | ((d & 0x000f000f) << 8);
      levels[to] = (ab & 0xffff) | (cd << 16);
      levels[to + outputWords] = (ab >>> 16) | ((cd >>> 16) << 16);
      ab = ((a >>> 4) & 0x000f000f) | ((b & 0x00f000f0) << 4);
      cd = ((c >>> 4) & 0x000f000f) | ((d & 0x00f000f0) << 4);
      levels[to + 2 * outputWords] = (ab & 0xffff) | (cd << 16);
      levels[to + 3 * outputWords] = (ab >>> 16) | ((cd >>> 16) << 16);
      ab = ((a >>> 8) & 0x000f000f) | (b & 0x0f000f00);
      cd = ((c >>> 8) & 0x000f000f) | (d & 0x0f000f00);
      levels[to + 4 * outputWords] = (ab & 0xffff) | (cd << 16);
      levels[to + 5 * outputWords] = (ab >>> 16) | ((cd >>> 16) << 16);
      ab = ((a >>> 12) & 0x000f000f) | ((b >>> 4) & 0x0f000f00);
      cd = ((c >>> 12) & 0x000f000f) | ((d >>> 4) & 0x0f000f00);
      levels[to + 6 * outputWords] = (ab & 0xffff) | (cd << 16);
      levels[to + 7 * outputWords] = (ab >>> 16) | ((cd >>> 16) << 16);
    }
  }
};

/** By bits. A word has consecutive k of one output. */
export const fillGptq = {
  2({ levels }, block, words, across, row, first, end) {
    for (let i = 0; i < 2; i++) {
      const from = (row / 16 + i) * across;
      for (let word = first, to = block * blockWords + 4 * i; word < end; word++, to += outputWords) {
        const some = words[from + word] as number;
        levels[to] = spreadPairs(some);
        levels[to + 1] = spreadPairs(some >>> 8);
        levels[to + 2] = spreadPairs(some >>> 16);
        levels[to + 3] = spreadPairs(some >>> 24);
      }
    }
  },
  4({ levels }, block, words, across, row, first, end) {
    for (let i = 0; i < 4; i++) {
      const from = (row / 8 + i) * across;
      for (let word = first, to = block * blockWords + 2 * i; word < end; word++, to += outputWords) {
        const some = words[from + word] as number;
        levels[to] = spreadNibbles(some);
        levels[to + 1] = spreadNibbles(some >>> 16);
      }
    }
  },
  8({ levels }, block, words, across, row, first, end) {
    for (let i = 0; i < blockWords; i++) {
      const from = (row / 4 + i) * across;
      for (let word = first, to = block * blockWords + i; word < end; word++, to += outputWords) {
        levels[to] = words[from + word] as number;
      }
    }
  },
} as const satisfies Readonly<Record<number, Fill>>;

/** The lowest four pairs of bits, each in a byte. */
function spreadPairs(some: number): number {
  const two = (some & 0xf) | ((some & 0xf0) << 12);
  return (two & 0x00030003) | ((two & 0x000c000c) << 6);
}

function spreadNibbles(some: number): number {
  const two = (some & 0xff) | ((some & 0xff00) << 8);
  return (two & 0x000f000f) | ((two & 0x00f000f0) << 4);
}

/** `count` blocks of each of the outputs `from` to `end`, to `at` of `out` and then every `stride`, counted as scales are: in 16 bits. */
type Write = (
  tile: Tile,
  count: number,
  from: number,
  end: number,
  out: Uint16Array,
  at: number,
  stride: number,
) => void;

/** By format. No sum of a level and what is added leaves its byte. */
export const writeBlocks = {
  q4_0({ levels, scales, adds }, count, from, end, out, at, stride) {
    for (let n = from, row = at; n < end; n++, row += stride) {
      for (let block = 0, to = row; block < count; block++, to += 9) {
        out[to] = scales[block * tileOutputs + n] as number;
        const add = (adds[block * tileOutputs + n] as number) * 0x01010101;
        const word = n * outputWords + block * blockWords;
        for (let i = 0; i < 4; i++) {
          const four = ((levels[word + i] as number) + add) | (((levels[word + i + 4] as number) + add) << 4);
          out[to + 1 + 2 * i] = four;
          out[to + 2 + 2 * i] = four >>> 16;
        }
      }
    }
  },
  q5_0({ levels, scales, adds }, count, from, end, out, at, stride) {
    for (let n = from, row = at; n < end; n++, row += stride) {
      for (let block = 0, to = row; block < count; block++, to += 11) {
        out[to] = scales[block * tileOutputs + n] as number;
        const add = (adds[block * tileOutputs + n] as number) * 0x01010101;
        const word = n * outputWords + block * blockWords;
        let [low, high] = [0, 0];
        for (let i = 0; i < 4; i++) {
          const one = (levels[word + i] as number) + add;
          const two = (levels[word + i + 4] as number) + add;
          low |= fifthBits(one) << (4 * i);
          high |= fifthBits(two) << (4 * i);
          const four = (one & 0x0f0f0f0f) | ((two & 0x0f0f0f0f) << 4);
          out[to + 3 + 2 * i] = four;
          out[to + 4 + 2 * i] = four >>> 16;
        }
        out[to + 1] = low;
        out[to + 2] = high;
      }
    }
  },
  q8_0({ levels, scales }, count, from, end, out, at, stride) {
    for (let n = from, row = at; n < end; n++, row += stride) {
      for (let block = 0, to = row; block < count; block++, to += 17) {
        out[to] = scales[block * tileOutputs + n] as number;
        const word = n * outputWords + block * blockWords;
        // Zeros are in the middle, so there is nothing to add, and signed values are 128 less.
        for (let i = 0; i < blockWords; i++) {
          const four = (levels[word + i] as number) ^ 0x80808080;
          out[to + 1 + 2 * i] = four;
          out[to + 2 + 2 * i] = four >>> 16;
        }
      }
    }
  },
} as const satisfies Readonly<Record<string, Write>>;

/** Of the four bytes of a word the bits of value 16, one beside the other. */
function fifthBits(four: number): number {
  return Math.imul((four >>> 4) & 0x01010101, 0x10204080) >>> 28;
}
