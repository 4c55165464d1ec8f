/**
 * The `i8` dot numerics for many tokens with AVX2: some k of a panel are decoded once into memory that stays in the first
 * cache, as bytes and as what they are scaled with, and multiplied there with all tokens of a unit, four at a time. Which
 * integers are exact, and why, is said at `WordSums` of levels.ts.
 *
 * What limits it, for 16 rows, 32 k and a token of q4_0: 16 VPMADDUBSW, which two of four vector ports take, 16 VPADDW, of which
 * Zen 3 begins three a cycle, and 10 operations for the scales: 12.5 cycles for these alone.
 */
import { type Mem, ptr, r8, rsp, type Vec, ymm } from '../asm/operands.ts';
import type { Schedule } from '../schedule.ts';
import { levelOf, multiplyQuads, productOf, type Quads, scaled, wordsOf, X } from './integer-blocks.ts';
import { WORDS_OF_ONE } from './integer-products.ts';
import { blockOf, codingOf, type IntegerFormat, type Levels, levelsOf } from './levels.ts';
import { emitPrefetch } from './prefetch.ts';
import { constantOf, halves, panelVectors, type Tile, type TokenGroup, type UnpackedProduct } from './product.ts';
import { chainsOf } from './quads.ts';
import { records, smallRecords } from './quantize-activations.ts';
import {
  clearNegatives,
  type Decoded,
  decodeD,
  decodedOf,
  decodeLevels,
  decodeSigns,
  decodeTile,
  levelAt,
  storeNegatives,
} from './unpacked-levels.ts';

/** How levels are multiplied with activations; everything around that is the same. */
export interface Multiplication {
  readonly constants: UnpackedProduct['constants'];
  /** Levels of 32 k to memory. */
  decode(tile: Tile): void;
  /** The sums i32 of a block of a tile of 32 k to `wordsOf`. */
  block(group: TokenGroup, part: number): void;
  /** Adds 32 k of a block of 256 to its sums. */
  sub(group: TokenGroup): void;
  /** Whether those are in `wordsOf`, not at `sumAt`, and begin with `negatives`; and bits by which they are too large. */
  readonly isSigned: boolean;
  readonly shift: number;
}

const large = records[256];
const vectors = panelVectors[256];

const [P, Q] = [ymm(13), ymm(14)];
/** Words of one, where a format has no sub-scales. */
const ONES = constantOf(vectors, 0);

/** Where the sums i32 of a tile, or of 32 k, wait. */
const sumAt = (token: number, half: number) => ptr(rsp, 64 * token + 32 * half);
const sumBytes = 4 * 64;

function quadsAt({ a, tokens, decoded, x, rowBytes }: TokenGroup): Quads {
  return {
    a,
    tokens,
    x: (token, at) => ptr(x, rowBytes * token + at),
    loadLevel: (quad, half) => a.emit('vmovdqa', levelOf(half), ptr(decoded, levelAt(quad, half))),
  };
}

/**
 * sums in registers += values times activations, times a factor, of one quad or two: magnitudes times activations with the sign of the value.
 * Those are complements, not negatives: VPXOR may run on a port that has nothing to multiply, as VPSIGNB may not. Each
 * product of a negative value is too small by its magnitude then, which the sums begin with.
 */
function addSigned(
  { a, tokens, decoded, x, rowBytes }: TokenGroup,
  { masks }: Decoded,
  quads: readonly number[],
  factor: (half: number) => Vec | Mem,
): void {
  const magnitude = (i: number, half: number) => ymm(8 + 2 * i + half);
  const activations = ymm(12);
  const products = [
    [ymm(13), ymm(14)],
    // The last one needs its activations no more.
    [ymm(15), activations],
  ] as const;
  for (const [i, quad] of quads.entries()) {
    for (const half of halves) a.emit('vmovdqa', magnitude(i, half), ptr(decoded, levelAt(quad, half)));
  }
  const factors = halves.map((half) => {
    const from = factor(half);
    const free = ymm(10 + half);
    if (from.kind !== 'mem' || quads.length === 2) return from;
    a.emit('vmovdqa', free, from);
    return free;
  });
  for (let token = 0; token < tokens; token++) {
    for (const [i, quad] of quads.entries()) {
      const product = (half: number) => products[i]?.[half] as Vec;
      a.emit('vpbroadcastd', activations, ptr(x, rowBytes * token + 4 * quad));
      for (const half of halves) {
        a.emit('vpxor', product(half), activations, ptr(decoded, masks + levelAt(quad, half)));
      }
      for (const half of halves) a.emit('vpmaddubsw', product(half), magnitude(i, half), product(half));
    }
    const words = (half: number) => products[0][half] as Vec;
    if (quads.length === 2) {
      for (const half of halves) a.emit('vpaddw', words(half), words(half), products[1][half] as Vec);
    }
    for (const half of halves) a.emit('vpmaddwd', words(half), words(half), factors[half] as Vec | Mem);
    for (const half of halves) a.emit('vpaddd', wordsOf(token, half), wordsOf(token, half), words(half));
  }
}

export function forEachWords(tokens: number, emit: (words: Vec, sum: Mem, half: number) => void): void {
  for (let token = 0; token < tokens; token++) {
    for (const half of halves) emit(wordsOf(token, half), sumAt(token, half), half);
  }
}

/** Where the record of a block of a tile of 32 k is, and what of a record lies before its activations. */
export function placeOf(format: Levels, part: number) {
  const record = smallRecords(blockOf(format));
  return { ...record, at: record.bytes * part, gap: (record.bytes - 16) * part };
}

function multiplyBlock(group: TokenGroup, all: Decoded, part: number): void {
  const { a, tokens, decoded } = group;
  const { format, kind } = all;
  if (kind === 'signs') {
    forEachWords(tokens, (sum, _, half) => a.emit('vmovdqa', sum, ptr(decoded, all.negatives + 32 * half)));
    for (const chain of chainsOf(format)) addSigned(group, all, chain, () => ONES);
    return;
  }
  const { offset } = codingOf(format);
  const { sums, gap, at } = placeOf(format, part);
  const chains = blockOf(format) === 16 ? chainsOf(format).slice(part, part + 1) : chainsOf(format);
  for (const [i, chain] of chains.entries()) {
    multiplyQuads(quadsAt(group), chain, offset > 0 ? { at: at + sums, size: 32, offset } : undefined, gap);
    forEachWords(tokens, (words, sum) => {
      a.emit('vpmaddwd', words, words, ONES);
      if (i > 0) a.emit('vpaddd', words, words, sum);
      if (i < chains.length - 1) a.emit('vmovdqa', sum, words);
    });
  }
}

/** Adds the sums of a block, i32 in `wordsOf`, to the accumulators. */
function accumulate(
  { a, tokens, decoded, x, rowBytes, sums }: TokenGroup,
  { format, scales, minimum }: Decoded,
  part: number,
): void {
  const small = placeOf(format, part);
  for (let token = 0; token < tokens; token++) {
    a.emit('vbroadcastss', X, ptr(x, rowBytes * token + small.at + small.d));
    if (format.minima === 'tile') {
      // -1 times the sum of activations, which comes as two of -8 times that.
      a.emit('vpbroadcastd', P, ptr(x, rowBytes * token + small.at + small.sums));
      a.emit('vpmaddwd', P, P, ONES);
      a.emit('vpsrad', P, P, 3);
      a.emit('vcvtdq2ps', P, P);
    }
    for (const half of halves) {
      const [value, acc] = [productOf(half), ptr(sums, 64 * token + 32 * half)];
      scaled(a, wordsOf(token, half), ptr(decoded, scales + 64 * part + 32 * half), X, value);
      a.emit('vaddps', value, value, acc);
      if (format.minima === 'tile') {
        a.emit('vmulps', Q, X, ptr(decoded, minimum + 32 * half));
        a.emit('vmulps', Q, P, Q);
        a.emit('vaddps', value, value, Q);
      }
      a.emit('vmovaps', acc, value);
    }
  }
}

function multiplySub(group: TokenGroup, all: Decoded): void {
  const { a, tokens, decoded } = group;
  const { format, kind, scales: scalesAt } = all;
  const { sub, scales } = format;
  const { offset } = codingOf(format);
  for (const chain of chainsOf(format)) {
    const part = (chain[0] as number) >> 2;
    const at = scalesAt + (sub === 16 ? 64 * part : 0);
    if (kind === 'signs') {
      addSigned(group, all, chain, (half) => ptr(decoded, at + 32 * half));
      continue;
    }
    multiplyQuads(quadsAt(group), chain, offset > 0 ? { at: large.sums + 4 * part, size: 256, offset } : undefined, 0);
    forEachWords(tokens, (words, sum, half) => {
      a.emit('vpmaddwd', words, words, scales === undefined ? ONES : ptr(decoded, at + 32 * half));
      a.emit('vpaddd', words, words, sum);
      a.emit('vmovdqa', sum, words);
    });
  }
}

/** Adds the sums of a block of 256 to the accumulators; `decoded` and `x` are 256 k further than its beginning. */
function finishBlock(
  { a, tokens, decoded, x, rowBytes, sums }: TokenGroup,
  { format, tile }: Decoded,
  { isSigned, shift }: Multiplication,
): void {
  const { sub, minima } = format;
  for (let token = 0; token < tokens; token++) {
    const record = (at: number) => ptr(x, rowBytes * token + at - 8 * large.step);
    const acc = (half: number) => ptr(sums, 64 * token + 32 * half);
    a.emit('vbroadcastss', X, record(large.d));
    for (const half of halves) {
      const sum = isSigned ? wordsOf(token, half) : levelOf(half);
      if (!isSigned) a.emit('vmovdqa', sum, sumAt(token, half));
      if (shift > 0) a.emit('vpsrad', sum, sum, shift);
      scaled(a, sum, ptr(decoded, tile.d + 32 * half), X, productOf(half));
      a.emit('vaddps', productOf(half), productOf(half), acc(half));
    }
    if (minima === 'sub') {
      const count = sub === 16 ? 16 : 4;
      for (let i = 0; i < count; i++) {
        const at = sub === 16 ? large.step * (i >> 1) + large.sums + 4 * (i & 1) : large.sums32 + 4 * i;
        a.emit('vpbroadcastd', P, record(at));
        for (const half of halves) {
          const product = i === 0 ? levelOf(half) : Q;
          a.emit('vpmaddwd', product, P, ptr(decoded, tile.minima + 64 * i + 32 * half));
          if (i > 0) a.emit('vpaddd', levelOf(half), levelOf(half), product);
        }
      }
      for (const half of halves) {
        // Sums of 16 come as -32 times what they are.
        if (sub === 16) a.emit('vpsrad', levelOf(half), levelOf(half), 5);
        scaled(a, levelOf(half), ptr(decoded, tile.dmin + 32 * half), X, Q);
        a.emit(sub === 16 ? 'vaddps' : 'vsubps', productOf(half), productOf(half), Q);
      }
    }
    for (const half of halves) a.emit('vmovaps', acc(half), productOf(half));
  }
}

const common = {
  vectors,
  panels: 1,
  secondPanel: 0,
  tokens: [4],
  least: 4,
  flushes: false,
  ownBytes: sumBytes,
} as const;

/** Asks for some of the weights that are decoded next, while these are multiplied. */
function emitAhead({ a, ahead }: TokenGroup, { prefetch }: Schedule, bytes: number): void {
  emitPrefetch(a, { prefetch, prefetchBytes: 0 }, (at) => ptr(ahead, at), bytes);
  a.emit('add', ahead, bytes);
}

function ofBlocksOf32(decoded: Decoded, schedule: Schedule, how: Multiplication): UnpackedProduct {
  const { format, layout, bytes } = decoded;
  const xBytes = layout.d.length * smallRecords(blockOf(format)).bytes;
  return {
    ...common,
    step: 32,
    stepBytes: bytes,
    xStepBytes: xBytes,
    constants: how.constants,
    emitDecode(tileOf) {
      const tile = tileOf(0);
      how.decode(tile);
      for (const [part, at] of layout.d.entries()) {
        decodeD(tile, format.d, at, (half) => tile.x(0, decoded.scales + 64 * part + half));
      }
      if (format.minima === 'tile') decodeD(tile, 'f16', layout.minimum, (half) => tile.x(0, decoded.minimum + half));
    },
    emitMultiply(group) {
      const { a, count, decoded: at, x } = group;
      a.align(32);
      const next = a.here();
      emitAhead(group, schedule, layout.bytes);
      for (const part of layout.d.keys()) {
        how.block(group, part);
        accumulate(group, decoded, part);
      }
      a.emit('add', at, bytes);
      a.emit('add', x, xBytes);
      a.emit('dec', count);
      a.emit('jnz', next);
    },
  };
}

function ofBlocksOf256(decoded: Decoded, schedule: Schedule, how: Multiplication): UnpackedProduct {
  const { layout, bytes } = decoded;
  return {
    ...common,
    step: 256,
    stepBytes: 8 * bytes + decoded.tile.bytes,
    xStepBytes: large.bytes,
    constants: how.constants,
    emitDecode(tileOf) {
      const tile = tileOf(0);
      decodeTile(tile, decoded);
      const { isSigned } = how;
      if (isSigned) clearNegatives(tile);
      tile.repeat(8, { weight: layout.step, x: bytes, lagging: 1 }, () => how.decode(tile));
      if (isSigned) storeNegatives(tile, 8 * bytes + decoded.negatives);
    },
    emitMultiply(group) {
      const { a, tokens, count, decoded: at, x } = group;
      const nextBlock = a.here();
      if (how.isSigned) {
        const from = 8 * bytes + decoded.negatives;
        forEachWords(tokens, (sum, _, half) => a.emit('vmovdqa', sum, ptr(at, from + 32 * half)));
      } else {
        a.emit('vpxor', X, X, X);
        forEachWords(tokens, (_, sum) => a.emit('vmovdqa', sum, X));
      }
      a.emit('mov', r8, 8);
      a.align(32);
      const next = a.here();
      emitAhead(group, schedule, layout.bytes / 8);
      how.sub(group);
      a.emit('add', at, bytes);
      a.emit('add', x, large.step);
      a.emit('dec', r8);
      a.emit('jnz', next);
      finishBlock(group, decoded, how);
      a.emit('add', at, decoded.tile.bytes);
      a.emit('add', x, large.bytes - 8 * large.step);
      a.emit('dec', count);
      a.emit('jnz', nextBlock);
    },
  };
}

/** The walk over steps of levels that are decoded and multiplied so. */
export function unpackedProduct(decoded: Decoded, schedule: Schedule, how: Multiplication): UnpackedProduct {
  return decoded.format.size === 32 ? ofBlocksOf32(decoded, schedule, how) : ofBlocksOf256(decoded, schedule, how);
}

function decodeSigned(tile: Tile, decoded: Decoded): void {
  const { format, scales, negatives } = decoded;
  const isSmall = format.size === 32;
  if (isSmall) clearNegatives(tile);
  decodeSigns(tile, decoded, (part, half) => (isSmall ? ONES : tile.x(0, scales + 64 * part + 32 * half)));
  if (isSmall) storeNegatives(tile, negatives);
}

/** @param least see `UnpackedProduct`. */
export function unpackedIntegerProduct(name: IntegerFormat, schedule: Schedule, least: number): UnpackedProduct {
  const decoded = decodedOf(levelsOf(name));
  const { format, kind } = decoded;
  const isSigned = kind === 'signs';
  const how: Multiplication = {
    constants: format.size === 32 || format.scales === undefined ? [WORDS_OF_ONE] : [],
    decode: (tile) => (isSigned ? decodeSigned(tile, decoded) : decodeLevels(tile, decoded)),
    block: (group, part) => multiplyBlock(group, decoded, part),
    sub: (group) => multiplySub(group, decoded),
    isSigned,
    shift: kind === 'codes' ? codingOf(format).shift : 0,
  };
  return { ...unpackedProduct(decoded, schedule, how), least };
}
