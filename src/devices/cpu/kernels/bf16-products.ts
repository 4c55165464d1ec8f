/**
 * The `bf16` dot numerics (numerics/dot.ts) without tiles, lanes = rows of the weight: for 32 k a chain of fused
 * multiply-adds over the even and one over the odd k, then acc = acc + (even + odd). (VDPBF16PS and arm64's BFDOT and BFMMLA have
 * other orders.) The weights are decoded and rounded to bf16: as f32, [k][16], or as pairs of k, [k / 2][16][2], of which arm64's BFMLALB
 * multiplies the even and BFMLALT the odd.
 */
import { ptr } from '../asm/operands.ts';
import { bf16Constants, emitRoundToBf16 } from './bf16.ts';
import { valuesOf } from './float-values.ts';
import { type PackedFormat, tileSize } from './packing.ts';
import type { PanelVectors, TokenGroup, UnpackedProduct } from './product.ts';
import type { RoundedElement } from './round-activations.ts';

/** `element`: what is multiplied, activations too (round-activations.ts). */
export function bf16Product(format: PackedFormat, vectors: PanelVectors, element: RoundedElement): UnpackedProduct {
  const values = valuesOf(format, vectors);
  const { parts, register } = vectors;
  const pairs = element === 'bf16';
  const rowBytes = pairs ? 32 : 64;
  const { size } = tileSize(format);
  const step = Math.max(32, size);
  return {
    vectors,
    panels: 1,
    step,
    stepBytes: rowBytes * step,
    secondPanel: 0,
    xStepBytes: (pairs ? 2 : 4) * step,
    tokens: parts.length === 1 ? [8, 4, 2, 1] : [2, 1],
    least: 1,
    flushes: true,
    constants: values.constants,
    ownBytes: 0,
    emitDecode(tileOf, count) {
      const { a, x } = tileOf(0);
      const constants = bf16Constants(a, vectors);
      const round = (part: number) => {
        if (format === 'bf16') return;
        emitRoundToBf16(a, vectors, constants, values.valueIn(part), [register(10), register(11)]);
      };
      const put = (k: number, part: number) => {
        const value = values.valueIn(part);
        if (!pairs) {
          a.emit('vmovups', x(0, 64 * k + 32 * part), value);
        } else if (k % 2 === 0) {
          a.emit('vpsrld', register(part), value, 16);
        } else {
          // What is no number has more bits than bf16 has.
          a.emit('vandps', value, value, constants.mask);
          a.emit('vorps', value, value, register(part));
          a.emit('vmovups', x(0, 32 * (k - 1) + 32 * part), value);
        }
      };
      for (let start = 0; start < count; start += size) {
        values.emit(tileOf(start / size), 32 * rowBytes, (k) => {
          for (const part of parts) {
            round(part);
            put(start + k, part);
          }
        });
      }
      if (count === step) return;
      for (const part of parts) a.emit('vxorps', values.valueIn(part), values.valueIn(part), values.valueIn(part));
      for (let k = count; k < step; k++) for (const part of parts) put(k, part);
    },
    emitMultiply: (group) => emitMultiply(vectors, element, step / 32, group),
  };
}

/** Registers from 0 on are the even and odd chains of a token and part, then its sums, then weights. */
function emitMultiply(
  { parts, register }: PanelVectors,
  element: RoundedElement,
  stepsOf32: number,
  group: TokenGroup,
): void {
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
  const pairs = element === 'bf16';
  const lines = pairs ? 16 : 32;
  for (let line = 0; line < lines; line++) {
    for (const part of parts) a.emit('vmovaps', weight(part), ptr(decoded, 64 * line + 32 * part));
    for (const [i, { token, part }] of results.entries()) {
      if (part === 0) a.emit('vbroadcastss', X, ptr(x, rowBytes * token + 4 * line));
      if (pairs) {
        a.emitForeign('bfmlalb', chain(i, 0), weight(part), X);
        a.emitForeign('bfmlalt', chain(i, 1), weight(part), X);
      } else {
        a.emit('vfmadd231ps', chain(i, line), X, weight(part));
      }
    }
  }
  for (const i of results.keys()) {
    a.emit('vaddps', chain(i, 0), chain(i, 0), chain(i, 1));
    a.emit('vaddps', sum(i), sum(i), chain(i, 0));
  }
  a.emit('add', decoded, 64 * lines);
  a.emit('add', x, 4 * lines);
  a.emit('dec', count);
  a.emit('jnz', next);
  for (const [i, { token, part }] of results.entries()) a.emit('vmovaps', ptr(sums, 64 * token + 32 * part), sum(i));
}
