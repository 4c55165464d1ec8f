/**
 * The `bf16` dot numerics (numerics/dot.ts) with AMX: TDPBF16PS is that order, 32 k at a time. 32 tokens times the rows of
 * two panels, so that each tile is loaded for two products. Weights are decoded to bf16 pairs of k, [k / 2][16][2].
 */
import { indexed, r8, rdi, zmm } from '../asm/operands.ts';
import { valuesOf } from './float-values.ts';
import { type PackedFormat, tileSize } from './packing.ts';
import { constantOf, panelVectors, type TokenGroup, type UnpackedProduct } from './product.ts';
import { configureTiles, leftTile, releaseTiles, rightTile, sumTile } from './tile-registers.ts';

const vectors = panelVectors[512];
const tileBytes = 1024;

export function tileBf16Product(format: PackedFormat, panels: 1 | 2): UnpackedProduct {
  const values = valuesOf(format, vectors);
  const { size } = tileSize(format);
  const step = Math.max(32, size);
  const order = constantOf(vectors, values.constants.length);
  return {
    vectors,
    panels,
    step,
    stepBytes: (step / 32) * panels * tileBytes,
    secondPanel: tileBytes,
    xStepBytes: 2 * step,
    tokens: [32, 16],
    least: 1,
    flushes: false,
    constants: [...values.constants, interleaved],
    ownBytes: 0,
    emitStart: (a) => configureTiles(a, 64),
    emitEnd: releaseTiles,
    emitDecode(tileOf, count) {
      const { a, x } = tileOf(0);
      const [even, pair] = [zmm(0), zmm(1)];
      const value = values.valueIn(0);
      const take = (k: number) => {
        if (k % 2 === 0) {
          a.emit('vmovaps', even, value);
          return;
        }
        a.emit('vcvtne2ps2bf16', pair, value, even);
        a.emit('vpermw', pair, order, pair);
        a.emit('vmovaps', x(0, 32 * (k - 1)), pair);
      };
      for (let start = 0; start < count; start += size) {
        values.emit(tileOf(start / size), panels * tileBytes, (k) => take(start + k));
      }
      if (count < step) a.emit('vpxord', value, value, value);
      for (let k = count; k < step; k++) take(k);
    },
    emitMultiply: (group) => emitMultiply(panels, step / 32, group),
  };
}

/** For VPERMW: word i of the lower half, then word i of the upper, i ascending. */
const interleaved = Array.from({ length: 32 }, (_, i) => [(i >> 1) + 16 * (i & 1), 0]).flat();

function emitMultiply(panels: 1 | 2, stepsOf32: number, group: TokenGroup): void {
  const { a, tokens, count, decoded, x, rowBytes, sums, panelBytes } = group;
  const lefts = Array.from({ length: tokens / 16 }, (_, left) => left);
  const rights = Array.from({ length: panels }, (_, right) => right);
  const products = rights.flatMap((right) => lefts.map((left) => ({ left, right, sum: sumTile(2 * right + left) })));
  const sumAt = ({ left, right }: { left: number; right: number }) =>
    indexed(sums, r8, 1, panelBytes * right + tileBytes * left);
  if (stepsOf32 > 1) a.emit('imul', count, count, stepsOf32);
  a.emit('mov', rdi, rowBytes);
  a.emit('mov', r8, 64);
  for (const product of products) a.emit('tileloadd', product.sum, sumAt(product));
  a.align(32);
  const next = a.here();
  // Each tile is loaded just before its first product.
  const loaded = new Set<string>();
  for (const { left, right, sum } of products) {
    if (!loaded.has(`left ${left}`)) a.emit('tileloadd', leftTile(left), indexed(x, rdi, 1, 16 * rowBytes * left));
    if (!loaded.has(`right ${right}`))
      a.emit('tileloadd', rightTile(right), indexed(decoded, r8, 1, tileBytes * right));
    loaded.add(`left ${left}`).add(`right ${right}`);
    a.emit('tdpbf16ps', sum, leftTile(left), rightTile(right));
  }
  a.emit('add', x, 64);
  a.emit('add', decoded, panels * tileBytes);
  a.emit('dec', count);
  a.emit('jnz', next);
  for (const product of products) a.emit('tilestored', sumAt(product), product.sum);
}
