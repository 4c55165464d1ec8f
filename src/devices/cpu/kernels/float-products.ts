/**
 * The `f32` dot numerics (numerics/dot.ts) with AVX2, lanes = rows of the weight: acc = acc + x * w, K ascending, product
 * and sum rounded separately. A row of the table brings the weights of one k into a register.
 */
import { ymm } from '../asm/operands.ts';
import { type Levels, levels } from './levels.ts';
import { type PackedFormat, tiles } from './packing.ts';
import { halves, type Product, type Tile } from './product.ts';

/** ymm0 to ymm7 are accumulators. */
const [VALUE, X, HIGH] = [ymm(8), ymm(9), ymm(10)];
const scaleOf = (half: number) => ymm(11 + half);
const minimumOf = (half: number) => ymm(13 + half);
const CONSTANT = ymm(15);

/** acc = acc + x[k] * VALUE */
function addProducts({ a, tokens, x }: Tile, half: number, k: number): void {
  for (let token = 0; token < tokens; token++) {
    const acc = ymm(2 * token + half);
    a.emit('vbroadcastss', X, x(token, 4 * k));
    a.emit('vmulps', X, X, VALUE);
    a.emit('vaddps', acc, acc, X);
  }
}

function plain(
  unroll: number,
  constants: Product['constants'],
  emitValue: (tile: Tile, half: number, k: number) => void,
): Product {
  return {
    tokens: [4, 2, 1],
    unroll,
    inRegisters: true,
    constants,
    emit(tile) {
      for (let k = 0; k < tile.size; k++) {
        for (const half of halves) {
          emitValue(tile, half, k);
          addProducts(tile, half, k);
        }
      }
    },
  };
}

/** Levels become values as they are needed. */
function dequantizing(size: number, format: Levels): Product {
  const { sub, offset } = format;
  return {
    tokens: [4, 2, 1],
    unroll: 1,
    inRegisters: true,
    constants: [[offset, 0, 0, 0]],
    emit(tile) {
      const { a } = tile;
      for (let start = 0; start < size; start += sub) {
        for (const half of halves) emitScale(tile, format, half, start / sub);
        for (let k = start; k < start + sub; k++) {
          for (const half of halves) {
            emitLevel(tile, format, half, k);
            if (offset > 0) a.emit('vpsubd', VALUE, VALUE, CONSTANT);
            a.emit('vcvtdq2ps', VALUE, VALUE);
            a.emit('vmulps', VALUE, VALUE, scaleOf(half));
            if (format.minima !== undefined) a.emit('vsubps', VALUE, VALUE, minimumOf(half));
            addProducts(tile, half, k);
          }
        }
      }
    },
  };
}

function emitScale({ a, weight }: Tile, { d, scales, minima }: Levels, half: number, index: number): void {
  const scale = scaleOf(half);
  a.emit('vcvtph2ps', scale, weight(d + 16 * half));
  if (scales !== undefined) {
    a.emit(scales.signed ? 'vpmovsxbd' : 'vpmovzxbd', VALUE, weight(scales.at + 16 * index + 8 * half));
    a.emit('vcvtdq2ps', VALUE, VALUE);
    a.emit('vmulps', scale, scale, VALUE);
  }
  if (minima !== undefined) {
    const minimum = minimumOf(half);
    a.emit('vcvtph2ps', minimum, weight(minima.dmin + 16 * half));
    a.emit('vpmovzxbd', VALUE, weight(minima.at + 16 * index + 8 * half));
    a.emit('vcvtdq2ps', VALUE, VALUE);
    a.emit('vmulps', minimum, minimum, VALUE);
  }
}

/** VALUE = level k as i32. */
function emitLevel({ a, weight }: Tile, { bits, quad }: Levels, half: number, k: number): void {
  const { at, shift, high } = quad(k & ~3);
  const bit = 8 * (k & 3);
  a.emit('vmovdqu', VALUE, weight(at + 32 * half));
  a.emit('vpslld', VALUE, VALUE, 32 - bits - bit - shift);
  a.emit('vpsrld', VALUE, VALUE, 32 - bits);
  if (high !== undefined) {
    a.emit('vmovdqu', HIGH, weight(high.at + 32 * half));
    a.emit('vpslld', HIGH, HIGH, 30 - bit - high.shift);
    a.emit('vpsrld', HIGH, HIGH, 30);
    a.emit('vpslld', HIGH, HIGH, bits);
    a.emit('vpor', VALUE, VALUE, HIGH);
  }
}

export const floatProducts: Readonly<Record<PackedFormat, Product>> = {
  f32: plain(8, [], ({ a, weight }, half) => a.emit('vmovups', VALUE, weight(32 * half))),
  f16: plain(8, [], ({ a, weight }, half) => a.emit('vcvtph2ps', VALUE, weight(16 * half))),
  bf16: plain(4, [[0, 0, 255, 255]], ({ a, weight }, half, k) => {
    if (k === 0) {
      a.emit('vmovdqu', VALUE, weight(32 * half));
      a.emit('vpslld', VALUE, VALUE, 16);
    } else {
      a.emit('vpand', VALUE, CONSTANT, weight(32 * half));
    }
  }),
  q8_0: dequantizing(tiles.q8_0.size, levels.q8_0),
  q4_0: dequantizing(tiles.q4_0.size, levels.q4_0),
  q4_K: dequantizing(tiles.q4_K.size, levels.q4_K),
  q6_K: dequantizing(tiles.q6_K.size, levels.q6_K),
};
