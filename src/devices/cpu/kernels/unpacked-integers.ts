/**
 * The `i8` dot numerics for many tokens with AVX2: 256 k of a panel are decoded once into memory that stays in the first
 * cache, as bytes and as what they are scaled with, and multiplied there with all tokens of a unit, four at a time. Which
 * integers are exact, and why, is said in integer-products.ts.
 *
 * What limits it, for 16 rows, 32 k and a token of q4_0: 16 VPMADDUBSW, which two of four vector ports take, 16 VPADDW and
 * 10 operations for the scales, which together fill all four for 10.5 cycles. Zen 3 takes 12.5 for these alone.
 */
import type { Assembler } from '../asm/assembler.ts';
import { lanes, type Mem, ptr, r8, rsp, type Vec, ymm } from '../asm/operands.ts';
import type { IntegerFormat } from './levels.ts';
import { tiles } from './packing.ts';
import { constantOf, halves, panelVectors, type Tile, type TokenGroup, type UnpackedProduct } from './product.ts';
import { records } from './quantize-activations.ts';

const small = records[32];
const large = records[256];
const vectors = panelVectors[256];

/** Words of up to 4 tokens in registers 0 to 7, levels of both halves in 8 and 9; the last three may be constants. */
const wordsOf = (token: number, half: number) => ymm(2 * token + half);
const levelOf = (half: number) => ymm(8 + half);
const X = ymm(10);
const productOf = (half: number) => ymm(11 + half);
const [C0, C1, C2] = [0, 1, 2].map((i) => constantOf(vectors, i)) as [Vec, Vec, Vec];

const NIBBLES = [15];
const WORDS_OF_ONE = [1, 0];
/** For VPSHUFB: the low i16 of each dword, twice. */
const LOW_WORDS = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];

/**
 * Decoded are 32 k after another: their levels, as bytes of k = 4 * quad .. for both halves (of q8_0 the low nibbles, then
 * the high ones), then their scales, and behind 256 k what a tile of those has once.
 */
const levelAt = (quad: number, half: number) => 64 * quad + 32 * half;
const decoded = {
  q8_0: { bytes: 1088, high: 512, scales: 1024 },
  q4_0: { bytes: 576, scales: 512 },
  q4_K: { bytes: 576, scales: 512, d: 0, dmin: 64, minima: 128, tileBytes: 384 },
  q6_K: { bytes: 640, scales: 512, d: 0, tileBytes: 64 },
} as const;

/** Where the sums i32 of a tile, or of 32 k, wait. */
const sumAt = (token: number, half: number) => ptr(rsp, 64 * token + 32 * half);
const sumBytes = 4 * 64;

/** 32 k while they are decoded. */
type Step = Pick<Tile, 'a' | 'weight'> & { readonly to: (at: number) => Mem };

const stepOf = ({ a, weight, x }: Tile): Step => ({ a, weight, to: (at) => x(0, at) });

/** Asks for what is decoded some time later. */
function emitPrefetch({ a, weight }: Step, bytes: number): void {
  for (let at = 0; at < bytes; at += 64) a.emit('prefetcht0', weight(2048 + at));
}

/** Nibbles of bytes at `from` to `low` and `high`. */
function splitNibbles({ a, weight, to }: Step, from: number, nibbles: Vec, low: number, high: number): void {
  for (const half of halves) {
    const [one, two] = [ymm(2 * half), ymm(2 * half + 1)];
    a.emit('vmovdqu', two, weight(from + 32 * half));
    a.emit('vpand', one, nibbles, two);
    a.emit('vpsrlw', two, two, 4);
    a.emit('vpand', two, two, nibbles);
    a.emit('vmovdqa', to(low + 32 * half), one);
    a.emit('vmovdqa', to(high + 32 * half), two);
  }
}

/** 16 numbers of f16 to f32. */
function convertScales({ a, weight, to }: Step, from: number, at: number): void {
  for (const half of halves) {
    a.emit('vcvtph2ps', X, weight(from + 16 * half));
    a.emit('vmovaps', to(at + 32 * half), X);
  }
}

/** words = levels at `at` * activations, of some quads and each token; `bias`, if any, is where a token's words start. */
function multiplyQuads(
  { a, tokens, decoded, x, rowBytes }: TokenGroup,
  at: number,
  [from, end]: readonly [number, number],
  bias: number | undefined,
): void {
  for (let quad = from; quad < end; quad++) {
    for (const half of halves) a.emit('vmovdqa', levelOf(half), ptr(decoded, at + levelAt(quad, half)));
    for (let token = 0; token < tokens; token++) {
      const isFirst = quad === from;
      a.emit('vpbroadcastd', X, ptr(x, rowBytes * token + 4 * quad));
      for (const half of halves) {
        a.emit('vpmaddubsw', isFirst ? wordsOf(token, half) : productOf(half), levelOf(half), X);
      }
      if (isFirst && bias === undefined) continue;
      if (isFirst) a.emit('vpbroadcastd', X, ptr(x, rowBytes * token + (bias as number)));
      for (const half of halves) {
        a.emit('vpaddw', wordsOf(token, half), wordsOf(token, half), isFirst ? X : productOf(half));
      }
    }
  }
}

function forEachWords(tokens: number, emit: (words: Vec, sum: Mem, half: number) => void): void {
  for (let token = 0; token < tokens; token++) {
    for (const half of halves) emit(wordsOf(token, half), sumAt(token, half), half);
  }
}

/** value = f32(sum) * (scale * dx) */
function scaled(a: Assembler, sum: Vec, scale: Mem, dx: Vec, value: Vec): void {
  a.emit('vmulps', value, dx, scale);
  a.emit('vcvtdq2ps', sum, sum);
  a.emit('vmulps', value, sum, value);
}

/** Adds the sums of 32 k, i32 in `wordsOf`, to the accumulators. */
function accumulate({ a, tokens, decoded, x, rowBytes, sums }: TokenGroup, scales: number): void {
  for (let token = 0; token < tokens; token++) {
    a.emit('vbroadcastss', X, ptr(x, rowBytes * token + small.d));
    for (const half of halves) {
      const [value, acc] = [productOf(half), ptr(sums, 64 * token + 32 * half)];
      scaled(a, wordsOf(token, half), ptr(decoded, scales + 32 * half), X, value);
      a.emit('vaddps', value, value, acc);
      a.emit('vmovaps', acc, value);
    }
  }
}

/** sum += words * the pairs of i16 at `scales`. */
function addScaledWords({ a, tokens, decoded }: TokenGroup, scales: number): void {
  forEachWords(tokens, (words, sum, half) => {
    a.emit('vpmaddwd', words, words, ptr(decoded, scales + 32 * half));
    a.emit('vpaddd', words, words, sum);
    a.emit('vmovdqa', sum, words);
  });
}

/** A format with a tile of 32 k. */
function ofSmallTiles(
  format: 'q8_0' | 'q4_0',
  constants: UnpackedProduct['constants'],
  decode: (step: Step) => void,
  multiply: (group: TokenGroup) => void,
): UnpackedProduct {
  const { bytes } = decoded[format];
  return {
    ...common,
    step: 32,
    stepBytes: bytes,
    xStepBytes: small.bytes,
    steps: 8,
    constants,
    emitDecode(tileOf) {
      const step = stepOf(tileOf(0));
      emitPrefetch(step, tiles[format].bytes);
      decode(step);
    },
    emitMultiply(group) {
      const { a, count, decoded, x } = group;
      a.align(32);
      const next = a.here();
      multiply(group);
      a.emit('add', decoded, bytes);
      a.emit('add', x, small.bytes);
      a.emit('dec', count);
      a.emit('jnz', next);
    },
  };
}

interface LargeTile {
  readonly constants: UnpackedProduct['constants'];
  /** What a tile has once; `to` is behind what has been decoded of its 256 k, `first` its beginning. */
  decodeTile(step: Step, first: (at: number) => Mem): void;
  decode(step: Step): void;
  /** Adds 32 k to the sums. */
  multiply(group: TokenGroup): void;
  /** Adds the sums to the accumulators; `decoded` and `x` are 256 k further than before. */
  finish(group: TokenGroup): void;
}

/** A format with a tile of 256 k. */
function ofLargeTiles(format: 'q4_K' | 'q6_K', { constants, ...tile }: LargeTile): UnpackedProduct {
  const { bytes, tileBytes } = decoded[format];
  const packed = tiles[format];
  return {
    ...common,
    step: 256,
    stepBytes: 8 * bytes + tileBytes,
    xStepBytes: large.bytes,
    steps: 1,
    constants,
    emitDecode(tileOf) {
      const whole = tileOf(0);
      const { a, weight, x } = whole;
      tile.decodeTile({ a, weight, to: (at) => x(0, 8 * bytes + at) }, (at) => x(0, at));
      const steps = { weight: packed.step, x: bytes, lagging: 1, pass: [0, 1] } as const;
      whole.repeat(8, steps, () => {
        const step = stepOf(whole);
        emitPrefetch(step, packed.step);
        tile.decode(step);
      });
    },
    emitMultiply(group) {
      const { a, tokens, decoded, x } = group;
      const zero = ymm(0);
      a.emit('vpxor', zero, zero, zero);
      forEachWords(tokens, (_, sum) => a.emit('vmovdqa', sum, zero));
      a.emit('mov', r8, 8);
      a.align(32);
      const next = a.here();
      tile.multiply(group);
      a.emit('add', decoded, bytes);
      a.emit('add', x, large.step);
      a.emit('dec', r8);
      a.emit('jnz', next);
      tile.finish(group);
    },
  };
}

const common = {
  vectors,
  panels: 1,
  secondPanel: 0,
  chunk: 128,
  tokens: [4],
  flushes: false,
  ownBytes: sumBytes,
} as const;

/** value = acc + f32(sum) * (d * dx), with the sum over a tile. */
function addTile({ a, decoded, sums }: TokenGroup, token: number, half: number, d: number): void {
  const [sum, value] = [levelOf(half), productOf(half)];
  a.emit('vmovdqa', sum, sumAt(token, half));
  scaled(a, sum, ptr(decoded, d + 32 * half), X, value);
  a.emit('vaddps', value, value, ptr(sums, 64 * token + 32 * half));
}

export const unpackedIntegers: Readonly<Record<IntegerFormat, UnpackedProduct>> = {
  /** q = 16 * (high - 8) + low: each a chain like those of q4_0, where whole levels would need sums of 32 bits for every product. */
  q8_0: ofSmallTiles(
    'q8_0',
    [NIBBLES, WORDS_OF_ONE],
    (step) => {
      const { levels, d } = tiles.q8_0;
      for (let quad = 0; quad < 8; quad++) {
        const at = levelAt(quad, 0);
        splitNibbles(step, levels + 64 * quad, C0, at, decoded.q8_0.high + at);
      }
      convertScales(step, d, decoded.q8_0.scales);
    },
    (group) => {
      const { a, tokens } = group;
      multiplyQuads(group, decoded.q8_0.high, [0, 8], small.sums);
      forEachWords(tokens, (words, sum) => {
        a.emit('vpmaddwd', words, words, C1);
        a.emit('vpslld', words, words, 4);
        a.emit('vmovdqa', sum, words);
      });
      multiplyQuads(group, 0, [0, 8], undefined);
      forEachWords(tokens, (words, sum) => {
        a.emit('vpmaddwd', words, words, C1);
        a.emit('vpaddd', words, words, sum);
      });
      accumulate(group, decoded.q8_0.scales);
    },
  ),

  q4_0: ofSmallTiles(
    'q4_0',
    [NIBBLES, WORDS_OF_ONE],
    (step) => {
      const { levels, d } = tiles.q4_0;
      for (let g = 0; g < 4; g++) splitNibbles(step, levels + 64 * g, C0, levelAt(g, 0), levelAt(g + 4, 0));
      convertScales(step, d, decoded.q4_0.scales);
    },
    (group) => {
      const { a, tokens } = group;
      multiplyQuads(group, 0, [0, 8], small.sums);
      forEachWords(tokens, (words) => a.emit('vpmaddwd', words, words, C1));
      accumulate(group, decoded.q4_0.scales);
    },
  ),

  q4_K: ofLargeTiles('q4_K', {
    constants: [NIBBLES, LOW_WORDS],
    decodeTile(step, first) {
      const { a, weight, to } = step;
      const { d, dmin, scales, minima } = tiles.q4_K;
      const at = decoded.q4_K;
      convertScales(step, d, at.d);
      convertScales(step, dmin, at.dmin);
      for (const half of halves) {
        for (let sub = 0; sub < 8; sub++) {
          a.emit('vpmovzxbd', X, weight(scales + 16 * sub + 8 * half));
          a.emit('vpshufb', X, X, C1);
          a.emit('vmovdqa', first(at.bytes * sub + at.scales + 32 * half), X);
        }
        for (let sub = 0; sub < 8; sub += 2) {
          // i16 pairs of the minima of two sub-blocks.
          const [one, two] = [lanes(X, 128), lanes(productOf(0), 128)];
          a.emit('vmovq', one, weight(minima + 16 * sub + 8 * half));
          a.emit('vmovq', two, weight(minima + 16 * (sub + 1) + 8 * half));
          a.emit('vpunpcklbw', one, one, two);
          a.emit('vpmovzxbw', X, one);
          a.emit('vmovdqa', to(at.minima + 32 * sub + 32 * half), X);
        }
      }
    },
    decode(step) {
      const { levels } = tiles.q4_K;
      for (let g = 0; g < 4; g++) splitNibbles(step, levels + 64 * g, C0, levelAt(g, 0), levelAt(g + 4, 0));
    },
    multiply(group) {
      multiplyQuads(group, 0, [0, 8], undefined);
      addScaledWords(group, decoded.q4_K.scales);
    },
    finish(group) {
      const { a, tokens, decoded: tile, x, rowBytes, sums } = group;
      const { d, dmin, minima } = decoded.q4_K;
      const ofRecord = (token: number, at: number) => ptr(x, rowBytes * token + at - 8 * large.step);
      for (let token = 0; token < tokens; token++) {
        a.emit('vbroadcastss', X, ofRecord(token, large.d));
        for (const half of halves) addTile(group, token, half, d);
        for (let sub = 0; sub < 8; sub += 2) {
          a.emit('vpbroadcastd', ymm(0), ofRecord(token, large.sums32 + 2 * sub));
          for (const half of halves) {
            const sum = levelOf(half);
            const product = sub === 0 ? sum : ymm(1);
            a.emit('vpmaddwd', product, ymm(0), ptr(tile, minima + 32 * sub + 32 * half));
            if (sub > 0) a.emit('vpaddd', sum, sum, product);
          }
        }
        for (const half of halves) {
          const value = productOf(half);
          scaled(a, levelOf(half), ptr(tile, dmin + 32 * half), X, ymm(0));
          a.emit('vsubps', value, value, ymm(0));
          a.emit('vmovaps', ptr(sums, 64 * token + 32 * half), value);
        }
      }
    },
  }),

  q6_K: ofLargeTiles('q6_K', {
    constants: [NIBBLES, LOW_WORDS, [0x30]],
    decodeTile: (step) => convertScales(step, tiles.q6_K.d, decoded.q6_K.d),
    decode({ a, weight, to }) {
      const { levels, high, scales } = tiles.q6_K;
      const [pairs, level, bits] = [ymm(0), ymm(1), ymm(2)];
      for (const half of halves) {
        for (const sub of [0, 1]) {
          a.emit('vmovdqu', pairs, weight(high + 64 * sub + 32 * half));
          for (let g = 0; g < 4; g++) {
            // Bits 2g and 2g + 1 of each byte become bits 4 and 5.
            if (g < 2) a.emit('vpsllw', bits, pairs, 4 - 2 * g);
            else if (g > 2) a.emit('vpsrlw', bits, pairs, 2 * g - 4);
            a.emit('vpand', bits, C2, g === 2 ? pairs : bits);
            a.emit('vmovdqu', level, weight(levels + 64 * g + 32 * half));
            if (sub === 1) a.emit('vpsrlw', level, level, 4);
            a.emit('vpand', level, level, C0);
            a.emit('vpor', level, level, bits);
            a.emit('vmovdqa', to(levelAt(4 * sub + g, half)), level);
          }
          a.emit('vpmovsxbd', level, weight(scales + 16 * sub + 8 * half));
          a.emit('vpshufb', level, level, C1);
          a.emit('vmovdqa', to(decoded.q6_K.scales + 64 * sub + 32 * half), level);
        }
      }
    },
    multiply(group) {
      for (const sub of [0, 1]) {
        multiplyQuads(group, 0, [4 * sub, 4 * sub + 4], large.sums + 4 * sub);
        addScaledWords(group, decoded.q6_K.scales + 64 * sub);
      }
    },
    finish(group) {
      const { a, tokens, x, rowBytes, sums } = group;
      for (let token = 0; token < tokens; token++) {
        a.emit('vbroadcastss', X, ptr(x, rowBytes * token + large.d - 8 * large.step));
        for (const half of halves) {
          addTile(group, token, half, decoded.q6_K.d);
          a.emit('vmovaps', ptr(sums, 64 * token + 32 * half), productOf(half));
        }
      }
    },
  }),
};
