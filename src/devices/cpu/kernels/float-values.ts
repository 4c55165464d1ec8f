/**
 * The values of a packed weight as f32, lanes = rows, one k after another: what the products of numerics `f32` and `bf16`
 * multiply. Every value has the bits of the format's `decode` (numerics/quant/).
 */
import { rip, type Vec, vec } from '../asm/operands.ts';
import {
  blockOf,
  dBytes,
  isIntegerFormat,
  type Levels,
  layoutOf,
  levelsOf,
  quadPlace,
  valuesOfLevels,
} from './levels.ts';
import type { PackedFormat } from './packing.ts';
import { constantOf, type PanelVectors, type Product, type Steps, type Tile } from './product.ts';
import { emitD, emitPowers } from './scales.ts';

/** Registers 8 to 15 are used, 10 and 11 may be changed between values, and a constant. */
export interface Values {
  readonly constants: Product['constants'];
  /**
   * Calls `use` for each k of the tile, ascending, when its values are in `valueIn`. In a loop, what `x` gives moves on by
   * `xBytes` with each 32 k.
   */
  emit(tile: Tile, xBytes: number, use: (k: number) => void): void;
  valueIn(part: number): Vec;
}

/** Writes the first `count` k of a step of tiles as f32 [k][16] to where `x(0, at)` of the first tile is. */
export function emitValues(
  values: Values,
  { parts }: PanelVectors,
  tileSize: number,
  tileOf: (index: number) => Tile,
  count: number,
): void {
  const { a, x } = tileOf(0);
  for (let start = 0; start < count; start += tileSize) {
    values.emit(tileOf(start / tileSize), 64 * 32, (k) => {
      for (const part of parts) a.emit('vmovups', x(0, 64 * (start + k) + 32 * part), values.valueIn(part));
    });
  }
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
  if (isIntegerFormat(format)) return dequantized(levelsOf(format), vectors);
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
    case 'e4m3_32':
    case 'e5m2_32':
      return eightBits(format, vectors);
    default:
      return format satisfies never;
  }
}

/**
 * By way of f16, whose exponents are e5m2's and 8 more than e4m3's: the factor for that is in the scale, which has to be below
 * 2^120.
 */
function eightBits(format: 'e4m3_32' | 'e5m2_32', vectors: PanelVectors): Values {
  const { parts, register, bits } = vectors;
  const valueIn = (part: number) => register(ids.value + part);
  const halves = (id: number) => vec(id, (bits / 2) as 128 | 256);
  return {
    constants: [],
    valueIn,
    emit({ a, weight, size }, _, use) {
      const words = (word: number) => rip(a.constant(Uint16Array.from({ length: bits / 32 }, () => word)));
      for (const part of parts) {
        const scale = register(ids.scale + part);
        a.emit('vmovups', scale, weight(32 * part));
        if (format === 'e4m3_32') {
          a.emit('vmulps', scale, scale, rip(a.constant(Float32Array.from({ length: bits / 32 }, () => 256))));
        }
      }
      for (let k = 0; k < size; k++) {
        for (const part of parts) {
          const [V, T] = [halves(ids.value + part), halves(ids.temporary)];
          a.emit('vpmovsxbw', V, weight(64 + 16 * k + 8 * part));
          if (format === 'e5m2_32') {
            a.emit('vpsllw', V, V, 8);
          } else {
            a.emit('vpsllw', V, V, 7);
            a.emit('vpand', V, V, words(0xbf80));
            // All ones but the sign is NaN.
            a.emit('vpor', T, V, words(0x8000));
            a.emit('vpcmpeqw', T, T, words(0xbf80));
            a.emit('vpor', V, V, T);
          }
          a.emit('vcvtph2ps', valueIn(part), V);
          a.emit('vmulps', valueIn(part), valueIn(part), register(ids.scale + part));
        }
        use(k);
      }
    },
  };
}

/** Levels become values as they are needed. */
function dequantized(format: Levels, vectors: PanelVectors): Values {
  const { size, sub, scales } = format;
  const { parts, register } = vectors;
  const steps: Omit<Steps, 'x'> = {
    weight: layoutOf(format).step,
    lagging: scales === undefined ? 1 : (16 * 32) / sub,
  };
  return {
    constants: hasTable(format, vectors) ? [floatTable(format)] : [],
    valueIn: (part) => register(ids.value + part),
    emit(tile, xBytes, use) {
      tile.repeat(size / 32, { ...steps, x: xBytes }, () => {
        for (let k = 0; k < 32; k++) {
          if (k % sub === 0) for (const part of parts) emitScale(tile, format, vectors, part, k);
          for (const part of parts) emitValue(tile, format, vectors, part, k);
          use(k);
        }
      });
    },
  };
}

/** The scale of value k, and its minimum or the second factor of its scale. */
function emitScale(tile: Tile, format: Levels, { register }: PanelVectors, part: number, k: number): void {
  const { a, fixed, lagging } = tile;
  const { d, sub, scales, minima } = format;
  const layout = layoutOf(format);
  const [scale, minimum, T] = [register(ids.scale + part), register(ids.minimum + part), register(ids.temporary)];
  const from = fixed((layout.d[Math.floor(k / blockOf(format))] as number) + 8 * part * dBytes[d]);
  if (d === 'e8m0') emitPowers(a, [scale, minimum], from);
  else emitD(a, d, scale, from, T);
  const times = (factored: Vec, extend: 'vpmovsxbd' | 'vpmovzxbd', at: number) => {
    a.emit(extend, T, lagging(at + 16 * Math.floor(k / sub) + 8 * part));
    a.emit('vcvtdq2ps', T, T);
    a.emit('vmulps', factored, factored, T);
  };
  if (scales !== undefined) times(scale, scales === 's8' ? 'vpmovsxbd' : 'vpmovzxbd', layout.scales);
  if (minima === undefined) return;
  a.emit('vcvtph2ps', minimum, fixed(layout.minimum + 16 * part));
  if (minima === 'sub') times(minimum, 'vpmovzxbd', layout.minima);
}

/** Value k of each row. */
function emitValue(tile: Tile, format: Levels, vectors: PanelVectors, part: number, k: number): void {
  const { a } = tile;
  const { d, offset, table, minima } = format;
  const { register, bits: width } = vectors;
  const [value, T] = [register(ids.value + part), register(ids.temporary)];
  const repeated = (pattern: readonly number[]) =>
    rip(a.constant(Uint8Array.from({ length: width / 8 }, (_, i) => pattern[i % pattern.length] as number)));
  emitLevel(tile, format, vectors, part, k);
  if (hasTable(format, vectors)) {
    a.emit('vpermps', value, value, constantOf(vectors, 0));
  } else {
    if (table !== undefined) {
      a.emit('vmovups', T, repeated(Array.from({ length: 16 }, (_, level) => (table[level] ?? 0) & 255)));
      a.emit('vpshufb', value, T, value);
      a.emit('vpslld', value, value, 24);
      a.emit('vpsrad', value, value, 24);
    } else if (offset > 0) {
      a.emit('vpsubd', value, value, repeated([offset, 0, 0, 0]));
    }
    a.emit('vcvtdq2ps', value, value);
  }
  a.emit('vmulps', value, value, register(ids.scale + part));
  if (d === 'e8m0') a.emit('vmulps', value, value, register(ids.minimum + part));
  if (minima !== undefined) a.emit('vsubps', value, value, register(ids.minimum + part));
}

/** The level of value k of each row; above 4 bits of a whole plane there may be others, which VPERMPS does not see. */
function emitLevel(tile: Tile, format: Levels, vectors: PanelVectors, part: number, k: number): void {
  const { a, weight } = tile;
  const { register } = vectors;
  const layout = layoutOf(format);
  let position = 0;
  for (const [plane, bits] of format.planes.entries()) {
    const into = register(plane === 0 ? ids.value + part : ids.temporary);
    const { vector, shift } = quadPlace(bits, k >> 2);
    const source = weight((layout.planes[plane] as number) + 64 * vector + 32 * part);
    const bit = 8 * (k & 3) + shift;
    if (bits === 4 && hasTable(format, vectors)) {
      a.emit('vpsrld', into, source, bit);
      return;
    }
    a.emit('vmovups', into, source);
    a.emit('vpslld', into, into, 32 - bits - bit);
    a.emit('vpsrld', into, into, 32 - bits);
    if (plane > 0) {
      a.emit('vpslld', into, into, position);
      a.emit('vorps', register(ids.value + part), register(ids.value + part), into);
    }
    position += bits;
  }
}

/** 16 values are a table of one register: VPERMPS looks at the low 4 bits of an index alone. */
function hasTable({ planes }: Levels, vectors: PanelVectors): boolean {
  return vectors.bits === 512 && planes.reduce<number>((sum, bits) => sum + bits, 0) <= 4;
}

function floatTable(format: Levels): readonly number[] {
  const values = valuesOfLevels(format);
  return [...new Uint8Array(Float32Array.from({ length: 16 }, (_, level) => values[level] ?? 0).buffer)];
}
