/**
 * The values of a packed weight as f32, lanes = rows, one k after another: what the products of numerics `f32` and `bf16`
 * multiply. Every value has the bits of the format's `decode` (numerics/quant/).
 */
import type { Vec } from '../asm/operands.ts';
import { isIntegerFormat, type Levels, levels } from './levels.ts';
import type { PackedFormat } from './packing.ts';
import { constantOf, type PanelVectors, type Product, type Steps, type Tile } from './product.ts';

/** Registers 8 to 15 are used, 10 and 11 may be changed between values; formats have either minima or a constant. */
export interface Values {
  readonly constants: Product['constants'];
  /**
   * Calls `use` for each k of the tile, ascending, when its values are in `valueIn`. In a loop, what `x` gives moves on by
   * `xBytes` with each 32 k.
   */
  emit(tile: Tile, xBytes: number, use: (k: number) => void): void;
  valueIn(part: number): Vec;
}

const ids = { value: 8, temporary: 11, scale: 12, minimum: 14 };

export function valuesOf(format: PackedFormat, vectors: PanelVectors): Values {
  const valueIn = (part: number) => vectors.register(ids.value + part);
  const constant = constantOf(vectors, 0);
  const { parts } = vectors;
  const plain = (constants: Values['constants'], emitValue: (tile: Tile, part: number, k: number) => void): Values => ({
    constants,
    valueIn,
    emit(tile, _, use) {
      for (let k = 0; k < tile.size; k++) {
        for (const part of parts) emitValue(tile, part, k);
        use(k);
      }
    },
  });
  if (isIntegerFormat(format)) return dequantized(levels[format], vectors);
  switch (format) {
    case 'f32':
      return plain([], ({ a, weight }, part) => a.emit('vmovups', valueIn(part), weight(32 * part)));
    case 'f16':
      return plain([], ({ a, weight }, part) => a.emit('vcvtph2ps', valueIn(part), weight(16 * part)));
    case 'bf16':
      return plain([[0, 0, 255, 255]], ({ a, weight }, part, k) => {
        if (k === 0) {
          a.emit('vmovups', valueIn(part), weight(32 * part));
          a.emit('vpslld', valueIn(part), valueIn(part), 16);
        } else {
          a.emit('vandps', valueIn(part), constant, weight(32 * part));
        }
      });
    default:
      return format satisfies never;
  }
}

/** Levels become values as they are needed. */
function dequantized(format: Levels, vectors: PanelVectors): Values {
  const { sub, quad, scale } = format;
  const { parts, register } = vectors;
  const constant = hasTable(format, vectors)
    ? [...new Uint8Array(Float32Array.from({ length: 16 }, (_, level) => level - format.offset).buffer)]
    : [format.offset, 0, 0, 0];
  return {
    constants: format.offset > 0 || hasTable(format, vectors) ? [constant] : [],
    valueIn: (part) => register(ids.value + part),
    emit(tile, xBytes, use) {
      const steps: Steps = {
        weight: quad(32).at - quad(0).at,
        x: xBytes,
        lagging: scale === undefined ? 1 : scale.at(32) - scale.at(0),
        pass: [0, 1],
      };
      tile.repeat(tile.size / 32, steps, () => {
        for (let k = 0; k < 32; k++) {
          if (k % sub === 0) for (const part of parts) emitScale(tile, format, vectors, part, k);
          for (const part of parts) emitValue(tile, format, vectors, part, k);
          use(k);
        }
      });
    },
  };
}

/** The scale of value k, and its minimum. */
function emitScale(
  tile: Tile,
  { d, scale, minimum }: Levels,
  { register }: PanelVectors,
  part: number,
  k: number,
): void {
  const { a, fixed, lagging } = tile;
  const T = register(ids.temporary);
  const factors = [
    { factored: register(ids.scale + part), d, factor: scale },
    { factored: register(ids.minimum + part), d: minimum?.dmin, factor: minimum && { ...minimum, signed: false } },
  ];
  for (const { factored, d, factor } of factors) {
    if (d === undefined) continue;
    a.emit('vcvtph2ps', factored, fixed(d + 16 * part));
    if (factor === undefined) continue;
    a.emit(factor.signed ? 'vpmovsxbd' : 'vpmovzxbd', T, lagging(factor.at(k) + 8 * part));
    a.emit('vcvtdq2ps', T, T);
    a.emit('vmulps', factored, factored, T);
  }
}

/** Value k of each row. */
function emitValue(tile: Tile, format: Levels, vectors: PanelVectors, part: number, k: number): void {
  const { a, weight } = tile;
  const { bits, offset, minimum, quad } = format;
  const { register } = vectors;
  const [value, T] = [register(ids.value + part), register(ids.temporary)];
  const { at, shift, high } = quad(k & ~3);
  const bit = 8 * (k & 3);
  if (hasTable(format, vectors)) {
    a.emit('vpsrld', value, weight(at), bit + shift);
    a.emit('vpermps', value, value, constantOf(vectors, 0));
    emitScaled();
    return;
  }
  a.emit('vmovups', value, weight(at + 32 * part));
  a.emit('vpslld', value, value, 32 - bits - bit - shift);
  a.emit('vpsrld', value, value, 32 - bits);
  if (high !== undefined) {
    a.emit('vmovups', T, weight(high.at + 32 * part));
    a.emit('vpslld', T, T, 30 - bit - high.shift);
    a.emit('vpsrld', T, T, 30);
    a.emit('vpslld', T, T, bits);
    a.emit('vorps', value, value, T);
  }
  if (offset > 0) a.emit('vpsubd', value, value, constantOf(vectors, 0));
  a.emit('vcvtdq2ps', value, value);
  emitScaled();

  function emitScaled(): void {
    a.emit('vmulps', value, value, register(ids.scale + part));
    if (minimum !== undefined) a.emit('vsubps', value, value, register(ids.minimum + part));
  }
}

/** 16 levels are a table of one register: VPERMPS looks at the low 4 bits of an index alone. */
function hasTable({ bits, quad }: Levels, vectors: PanelVectors): boolean {
  return vectors.bits === 512 && bits === 4 && quad(0).high === undefined;
}
