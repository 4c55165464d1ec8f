/**
 * The `bf16` dot numerics (numerics/dot.ts) without bf16 instructions, lanes = rows of the weight: for 32 k a chain of fused
 * multiply-adds over the even and one over the odd k, then acc = acc + (even + odd). (VDPBF16PS has another order.) The
 * weights are decoded to f32 that are rounded to bf16, [k][16].
 */
import { ptr } from '../asm/operands.ts';
import { bf16Constants, emitRoundToBf16 } from './bf16.ts';
import { emitValues, valuesOf } from './float-values.ts';
import { type PackedFormat, tileSize } from './packing.ts';
import type { PanelVectors, TokenGroup, UnpackedProduct } from './product.ts';

export function bf16Product(format: PackedFormat, vectors: PanelVectors): UnpackedProduct {
  const values = valuesOf(format, vectors);
  const { parts, register } = vectors;
  const { size } = tileSize(format);
  const step = Math.max(32, size);
  return {
    vectors,
    panels: 1,
    step,
    stepBytes: 64 * step,
    secondPanel: 0,
    xStepBytes: 4 * step,
    tokens: parts.length === 1 ? [8, 4, 2, 1] : [2, 1],
    least: 1,
    flushes: true,
    constants: values.constants,
    ownBytes: 0,
    emitDecode(tileOf, count) {
      const { a, x } = tileOf(0);
      const constants = bf16Constants(a, vectors);
      emitValues(values, vectors, size, tileOf, count, (part) => {
        if (format === 'bf16') return;
        emitRoundToBf16(a, vectors, constants, values.valueIn(part), [register(10), register(11)]);
      });
      if (count === step) return;
      for (const part of parts) a.emit('vxorps', values.valueIn(part), values.valueIn(part), values.valueIn(part));
      for (let k = count; k < step; k++) {
        for (const part of parts) a.emit('vmovups', x(0, 64 * k + 32 * part), values.valueIn(part));
      }
    },
    emitMultiply: (group) => emitMultiply(vectors, step / 32, group),
  };
}

/** Registers from 0 on are the even and odd chains of a token and part, then its sums, then weights. */
function emitMultiply({ parts, register }: PanelVectors, stepsOf32: number, group: TokenGroup): void {
  const { a, tokens, count, decoded, x, rowBytes, sums } = group;
  const results = Array.from({ length: tokens }, (_, token) => parts.map((part) => ({ token, part }))).flat();
  const chain = (i: number, k: number) => register(2 * i + (k & 1));
  const sum = (i: number) => register(2 * results.length + i);
  const weight = (part: number) => register(3 * results.length + part);
  const X = register(3 * results.length + parts.length);
  for (const [i, { token, part }] of results.entries()) a.emit('vmovaps', sum(i), ptr(sums, 64 * token + 32 * part));
  if (stepsOf32 > 1) a.emit('imul', count, count, stepsOf32);
  a.align(32);
  const next = a.here();
  for (const i of results.keys()) for (const k of [0, 1]) a.emit('vxorps', chain(i, k), chain(i, k), chain(i, k));
  for (let k = 0; k < 32; k++) {
    for (const part of parts) a.emit('vmovaps', weight(part), ptr(decoded, 64 * k + 32 * part));
    for (const [i, { token, part }] of results.entries()) {
      if (part === 0) a.emit('vbroadcastss', X, ptr(x, rowBytes * token + 4 * k));
      a.emit('vfmadd231ps', chain(i, k), X, weight(part));
    }
  }
  for (const i of results.keys()) {
    a.emit('vaddps', chain(i, 0), chain(i, 0), chain(i, 1));
    a.emit('vaddps', sum(i), sum(i), chain(i, 0));
  }
  a.emit('add', decoded, 64 * 32);
  a.emit('add', x, 4 * 32);
  a.emit('dec', count);
  a.emit('jnz', next);
  for (const [i, { token, part }] of results.entries()) a.emit('vmovaps', ptr(sums, 64 * token + 32 * part), sum(i));
}
