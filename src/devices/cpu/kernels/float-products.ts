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
  const { sub, quad, scale } = format;
  return {
    tokens: [4, 2, 1],
    unroll: 1,
    inRegisters: true,
    constants: [[format.offset, 0, 0, 0]],
    emit(tile) {
      const steps = {
        weight: quad(32).at - quad(0).at,
        x: 4 * 32,
        lagging: scale === undefined ? 1 : scale.at(32) - scale.at(0),
      };
      tile.repeat(size / 32, steps, () => {
        for (let k = 0; k < 32; k++) {
          if (k % sub === 0) for (const half of halves) emitScale(tile, format, half, k);
          for (const half of halves) {
            emitValue(tile, format, half, k);
            addProducts(tile, half, k);
          }
        }
      });
    },
  };
}

/** The scale of value k, and its minimum. */
function emitScale({ a, fixed, lagging }: Tile, { d, scale: sc, minimum: mn }: Levels, half: number, k: number): void {
  const [scale, minimum] = [scaleOf(half), minimumOf(half)];
  a.emit('vcvtph2ps', scale, fixed(d + 16 * half));
  if (sc !== undefined) {
    a.emit(sc.signed ? 'vpmovsxbd' : 'vpmovzxbd', VALUE, lagging(sc.at(k) + 8 * half));
    a.emit('vcvtdq2ps', VALUE, VALUE);
    a.emit('vmulps', scale, scale, VALUE);
  }
  if (mn !== undefined) {
    a.emit('vcvtph2ps', minimum, fixed(mn.dmin + 16 * half));
    a.emit('vpmovzxbd', VALUE, lagging(mn.at(k) + 8 * half));
    a.emit('vcvtdq2ps', VALUE, VALUE);
    a.emit('vmulps', minimum, minimum, VALUE);
  }
}

/** VALUE = value k of each row. */
function emitValue(tile: Tile, format: Levels, half: number, k: number): void {
  const { a } = tile;
  emitLevel(tile, format, half, k);
  if (format.offset > 0) a.emit('vpsubd', VALUE, VALUE, CONSTANT);
  a.emit('vcvtdq2ps', VALUE, VALUE);
  a.emit('vmulps', VALUE, VALUE, scaleOf(half));
  if (format.minimum !== undefined) a.emit('vsubps', VALUE, VALUE, minimumOf(half));
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
