/**
 * The `f32` dot numerics (numerics/dot.ts), lanes = rows of the weight: acc = acc + x * w, K ascending, product and sum
 * rounded separately. The same code in vectors of either width.
 */
import { valuesOf } from './float-values.ts';
import type { PackedFormat } from './packing.ts';
import type { PanelVectors, Product } from './product.ts';

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
