/**
 * The `f32` dot numerics (numerics/dot.ts) with AVX2, lanes = rows of the weight: acc = acc + x * w, K ascending, product
 * and sum rounded separately. A row of the table brings the weights of one k into a register.
 */
import { ymm } from '../asm/operands.ts';
import { type Levels, levels } from './levels.ts';
import { type PackedFormat, tiles } from './packing.ts';
import { halves, type Product, type Steps, type Tile } from './product.ts';

/** ymm0 to ymm7 are accumulators. Formats have either minima or a constant. */
const weightsOf = (half: number) => ymm(8 + half);
const [X, T] = [ymm(10), ymm(11)];
const scaleOf = (half: number) => ymm(12 + half);
const minimumOf = (half: number) => ymm(14 + half);
const CONSTANT = ymm(15);

/** acc = acc + x[k] * value, of all rows and tokens. */
function addProducts({ a, tokens, x }: Tile, k: number): void {
  for (let token = 0; token < tokens; token++) {
    a.emit('vbroadcastss', X, x(token, 4 * k));
    for (const half of halves) {
      const acc = ymm(2 * token + half);
      a.emit('vmulps', T, X, weightsOf(half));
      a.emit('vaddps', acc, acc, T);
    }
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
        for (const half of halves) emitValue(tile, half, k);
        addProducts(tile, k);
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
    constants: format.offset > 0 ? [[format.offset, 0, 0, 0]] : [],
    emit(tile) {
      const steps: Steps = {
        weight: quad(32).at - quad(0).at,
        x: 4 * 32,
        lagging: scale === undefined ? 1 : scale.at(32) - scale.at(0),
        pass: [0, 1],
      };
      tile.repeat(size / 32, steps, () => {
        for (let k = 0; k < 32; k++) {
          if (k % sub === 0) for (const half of halves) emitScale(tile, format, half, k);
          for (const half of halves) emitValue(tile, format, half, k);
          addProducts(tile, k);
        }
      });
    },
  };
}

/** The scale of value k, and its minimum. */
function emitScale({ a, fixed, lagging }: Tile, { d, scale, minimum }: Levels, half: number, k: number): void {
  const parts = [
    { register: scaleOf(half), d, factor: scale },
    { register: minimumOf(half), d: minimum?.dmin, factor: minimum && { ...minimum, signed: false } },
  ];
  for (const { register, d, factor } of parts) {
    if (d === undefined) continue;
    a.emit('vcvtph2ps', register, fixed(d + 16 * half));
    if (factor === undefined) continue;
    a.emit(factor.signed ? 'vpmovsxbd' : 'vpmovzxbd', T, lagging(factor.at(k) + 8 * half));
    a.emit('vcvtdq2ps', T, T);
    a.emit('vmulps', register, register, T);
  }
}

/** Value k of each row. */
function emitValue({ a, weight }: Tile, { bits, offset, minimum, quad }: Levels, half: number, k: number): void {
  const value = weightsOf(half);
  const { at, shift, high } = quad(k & ~3);
  const bit = 8 * (k & 3);
  a.emit('vmovdqu', value, weight(at + 32 * half));
  a.emit('vpslld', value, value, 32 - bits - bit - shift);
  a.emit('vpsrld', value, value, 32 - bits);
  if (high !== undefined) {
    a.emit('vmovdqu', T, weight(high.at + 32 * half));
    a.emit('vpslld', T, T, 30 - bit - high.shift);
    a.emit('vpsrld', T, T, 30);
    a.emit('vpslld', T, T, bits);
    a.emit('vpor', value, value, T);
  }
  if (offset > 0) a.emit('vpsubd', value, value, CONSTANT);
  a.emit('vcvtdq2ps', value, value);
  a.emit('vmulps', value, value, scaleOf(half));
  if (minimum !== undefined) a.emit('vsubps', value, value, minimumOf(half));
}

export const floatProducts: Readonly<Record<PackedFormat, Product>> = {
  f32: plain(8, [], ({ a, weight }, half) => a.emit('vmovups', weightsOf(half), weight(32 * half))),
  f16: plain(8, [], ({ a, weight }, half) => a.emit('vcvtph2ps', weightsOf(half), weight(16 * half))),
  bf16: plain(4, [[0, 0, 255, 255]], ({ a, weight }, half, k) => {
    if (k === 0) {
      a.emit('vmovdqu', weightsOf(half), weight(32 * half));
      a.emit('vpslld', weightsOf(half), weightsOf(half), 16);
    } else {
      a.emit('vpand', weightsOf(half), CONSTANT, weight(32 * half));
    }
  }),
  q8_0: dequantizing(tiles.q8_0.size, levels.q8_0),
  q4_0: dequantizing(tiles.q4_0.size, levels.q4_0),
  q4_K: dequantizing(tiles.q4_K.size, levels.q4_K),
  q6_K: dequantizing(tiles.q6_K.size, levels.q6_K),
};
