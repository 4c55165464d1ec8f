/**
 * The levels of packed integers (levels.ts) as bytes in registers: quad by quad, 4 consecutive k of each row in the lanes of
 * dwords, as the codes of a format or as its values.
 */
import type { Assembler } from '../asm/assembler.ts';
import type { Mem, Vec, VecBits } from '../asm/operands.ts';
import { codingOf, type Levels, layoutOf, quadPlace, wordSumsOf } from './levels.ts';

/** `code`: unsigned (levels.ts); `value`: signed. */
export type QuadBytes = 'code' | 'value';

/** Bytes that the code for quads finds repeated in registers: a mask of each plane, then what becomes of levels. */
export function quadConstants(format: Levels, as: QuadBytes): readonly (readonly number[])[] {
  const { planes, table } = format;
  const masks = planes.flatMap((bits, plane) =>
    bits === 8 ? [] : [[(2 ** bits - 1) << positionOf(format, as, plane)]],
  );
  if (table !== undefined) {
    const { shift, offset } = as === 'code' ? codingOf(format) : { shift: 0, offset: 0 };
    return [...masks, Array.from({ length: 16 }, (_, level) => (((table[level] ?? 0) << shift) + offset) & 255)];
  }
  // Levels with an offset are codes as they are.
  return as === 'code' || format.offset === 0 ? masks : [...masks, [format.offset]];
}

/** The bit of a byte where a plane's begin. */
function positionOf(format: Levels, as: QuadBytes, plane: number): number {
  const shift = as === 'code' && format.table === undefined ? codingOf(format).shift : 0;
  return format.planes.slice(0, plane).reduce<number>((sum, bits) => sum + bits, shift);
}

export interface QuadRegisters {
  /** A vector of each plane. */
  readonly planes: readonly Vec[];
  readonly temporary: Vec;
  /** Of `quadConstants`. */
  readonly constants: readonly Vec[];
  readonly level: (quad: number) => Vec;
}

export const quadsOf32: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7];
/** An order in which the two quads of a vector of nibbles follow one another. */
export const pairedQuads: readonly number[] = [0, 4, 1, 5, 2, 6, 3, 7];

/** Quads of 32 k by chains of `WordSums`; where any order will do, the two halves of a vector of nibbles follow one another. */
export function chainsOf(format: Levels): readonly (readonly number[])[] {
  const { kind, chain } = wordSumsOf(format);
  const startsAt = kind === 'unsigned' && codingOf(format).offset > 0;
  const anyOrder = chain === 8 || (format.sub > 16 && !startsAt);
  const order = anyOrder && format.planes[0] === 4 ? pairedQuads : quadsOf32;
  return Array.from({ length: 8 / chain }, (_, i) => order.slice(chain * i, chain * (i + 1)));
}

/**
 * Writes some quads of 32 k, in order, and calls `use` with each when its bytes are in its register. `from`: what lies at an
 * offset of the tile. Registers of 128 bits take a dword, one row.
 */
export function emitQuads(
  a: Assembler,
  format: Levels,
  as: QuadBytes,
  quads: readonly number[],
  from: (at: number) => Mem,
  registers: QuadRegisters,
  use: (quad: number) => void = () => {},
): void {
  const { planes, table, offset } = format;
  const layout = layoutOf(format);
  const { temporary, constants } = registers;
  const isNarrow = planes.every((bits) => bits < 8);
  const changed = constants[isNarrow ? planes.length : 0];
  const loaded: (number | undefined)[] = [];
  for (const [index, quad] of quads.entries()) {
    const level = registers.level(quad);
    const { load, and, or } = mnemonics[level.bits];
    for (const [plane, bits] of planes.entries()) {
      const { vector, shift } = quadPlace(bits, quad);
      const source = from((layout.planes[plane] as number) + 64 * vector);
      const into = plane === 0 ? level : temporary;
      if (bits === 8) {
        a.emit(load, into, source);
        continue;
      }
      const [mask, raw] = [constants[plane] as Vec, registers.planes[plane] as Vec];
      const up = positionOf(format, as, plane) - shift;
      const next = quads[index + 1];
      const isShared = next !== undefined && quadPlace(bits, next).vector === vector;
      if (up === 0 && !isShared && loaded[plane] !== vector && level.bits > 128) {
        a.emit(and, into, mask, source);
      } else {
        if (loaded[plane] !== vector) a.emit(load, raw, source);
        loaded[plane] = vector;
        if (up > 0) a.emit('vpsllw', into, raw, up);
        else if (up < 0) a.emit('vpsrlw', into, raw, -up);
        a.emit(and, into, mask, up === 0 ? raw : into);
      }
      if (plane > 0) a.emit(or, level, level, temporary);
    }
    if (table !== undefined) a.emit('vpshufb', level, changed as Vec, level);
    else if (as === 'value' && offset > 0) a.emit('vpsubb', level, level, changed as Vec);
    use(quad);
  }
}

const mnemonics = {
  128: { load: 'vmovd', and: 'vpand', or: 'vpor' },
  256: { load: 'vmovdqu', and: 'vpand', or: 'vpor' },
  512: { load: 'vmovdqu32', and: 'vpandd', or: 'vpord' },
} as const satisfies Readonly<Record<VecBits, object>>;
