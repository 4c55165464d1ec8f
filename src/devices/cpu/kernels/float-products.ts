/**
 * The `f32` dot numerics (numerics/dot.ts), lanes = rows of the weight: acc = acc + x * w, K ascending, product and sum
 * rounded separately. The same code in vectors of either width. For few tokens values are multiplied as they come from the
 * weight, for many they are f32 in memory first: then nothing but multiplications and additions is left for the ports of vectors,
 * and more tokens fit into the registers.
 */
import { ptr } from '../asm/operands.ts';
import { emitValues, valuesOf } from './float-values.ts';
import { loadPattern } from './frame.ts';
import { type PackedFormat, tileSize } from './packing.ts';
import { constantOf, type PanelVectors, type Product, type TokenGroup, type UnpackedProduct } from './product.ts';

/** Tiles of one and two k in one round of the loop over k. */
const unrolled: Partial<Record<PackedFormat, number>> = { f32: 8, f16: 8, bf16: 4 };

/** Registers 0 to 7 are accumulators, those from 8 on of the values. */
export function floatProduct(format: PackedFormat, vectors: PanelVectors): Product {
  const values = valuesOf(format, vectors);
  const { parts, register } = vectors;
  const [X, T] = [register(10), register(11)];
  return {
    vectors,
    tokens: parts.length === 1 ? [8, 4, 2, 1] : [4, 2, 1],
    unroll: unrolled[format] ?? 1,
    inRegisters: true,
    constants: values.constants,
    emit(tile) {
      const { a, tokens, x, place } = tile;
      values.emit(tile, 4 * 32, (k) => {
        for (let token = 0; token < tokens; token++) {
          a.emit('vbroadcastss', X, x(token, 4 * k));
          for (const part of parts) {
            const acc = register(parts.length * place(token) + part);
            a.emit('vmulps', T, X, values.valueIn(part));
            a.emit('vaddps', acc, acc, T);
          }
        }
      });
    },
  };
}

/** k in one round of the loop over what is decoded. */
const decodedRound = 8;

/** Undefined where K is no whole number of steps. */
export function unpackedFloatProduct(
  format: PackedFormat,
  vectors: PanelVectors,
  K: number,
): UnpackedProduct | undefined {
  const { size } = tileSize(format);
  const step = Math.max(decodedRound, size);
  if (K % step > 0) return undefined;
  const values = valuesOf(format, vectors);
  const { parts } = vectors;
  return {
    vectors,
    panels: 1,
    step,
    stepBytes: 64 * step,
    secondPanel: 0,
    xStepBytes: 4 * step,
    tokens: parts.length === 1 ? [16, 4, 2] : [6, 4, 2],
    least: 16,
    flushes: false,
    // Six tokens need all 16 registers: what decodes fetches its constants anew.
    constants: [],
    ownBytes: 0,
    emitDecode(tileOf, count) {
      for (const [i, pattern] of values.constants.entries()) {
        loadPattern(tileOf(0).a, constantOf(vectors, i), pattern);
      }
      emitValues(values, vectors, size, tileOf, count);
    },
    emitMultiply: (group) => multiplyDecoded(vectors, step / decodedRound, group),
  };
}

/** Registers from 0 on are the sums of a token and part, then weights. */
function multiplyDecoded({ parts, register }: PanelVectors, rounds: number, group: TokenGroup): void {
  const { a, tokens, count, decoded, x, rowBytes, sums } = group;
  const results = Array.from({ length: tokens }, (_, token) => parts.map((part) => ({ token, part }))).flat();
  const weight = (part: number) => register(results.length + part);
  const X = register(results.length + parts.length);
  const T = register(results.length + parts.length + 1);
  for (const [i, { token, part }] of results.entries())
    a.emit('vmovaps', register(i), ptr(sums, 64 * token + 32 * part));
  if (rounds > 1) a.emit('imul', count, count, rounds);
  a.align(32);
  const next = a.here();
  for (let k = 0; k < decodedRound; k++) {
    for (const part of parts) a.emit('vmovaps', weight(part), ptr(decoded, 64 * k + 32 * part));
    for (const [i, { token, part }] of results.entries()) {
      if (part === 0) a.emit('vbroadcastss', X, ptr(x, rowBytes * token + 4 * k));
      a.emit('vmulps', T, X, weight(part));
      a.emit('vaddps', register(i), register(i), T);
    }
  }
  a.emit('add', decoded, 64 * decodedRound);
  a.emit('add', x, 4 * decodedRound);
  a.emit('dec', count);
  a.emit('jnz', next);
  for (const [i, { token, part }] of results.entries())
    a.emit('vmovaps', ptr(sums, 64 * token + 32 * part), register(i));
}
