/** Little matrices transposed in registers of 256 bits, by shuffles. */
import { type Address, type Machine, type Register, view } from './machine.ts';

const UNPACK = {
  8: ['vpunpcklbw', 'vpunpckhbw'],
  16: ['vpunpcklwd', 'vpunpckhwd'],
  32: ['vpunpckldq', 'vpunpckhdq'],
  64: ['vpunpcklqdq', 'vpunpckhqdq'],
} as const;

/**
 * The columns of square matrices of words of `bits`, one in each 128 bits, of which a register holds a row. To shuffle rows i and
 * i + half together turns the bits of (register, place in it) round by one, so that in the end they have changed sides.
 * Bytes have two rows a register, of half as many columns: row 2i before row 2i + 1.
 */
export function transposed(m: Machine, rows: readonly Register[], bits: keyof typeof UNPACK): readonly Register[] {
  let all = rows;
  for (let words = 128 / bits; words > 1; words /= 2) {
    const half = all.length / 2;
    all = all.slice(0, half).flatMap((row, i) =>
      UNPACK[bits].map((mnemonic) => {
        const result = m.register('vec');
        m.emit(mnemonic, view(result, 256), view(row, 256), view(all[i + half] as Register, 256));
        return result;
      }),
    );
  }
  return all;
}

export type ElementAt = (row: number, column: number) => Address;

/** 128 bits from each of two places. */
export function halves(m: Machine, low: Address, high: Address): Register {
  const x = m.register('vec');
  m.emit('vmovups', view(x, 128), low);
  m.emit('vinsertf128', view(x, 256), view(x, 256), high, 1);
  return x;
}

/** Of a square of words with as many rows and columns as a register holds: half of the rows come from each half of a register. */
export function squareColumns(
  m: Machine,
  bytes: 2 | 4 | 8,
  element: ElementAt,
  use: (column: number, x: Register) => void,
): void {
  const half = 16 / bytes;
  for (const first of [0, half]) {
    const rows = Array.from({ length: half }, (_, i) => halves(m, element(i, first), element(i + half, first)));
    transposed(m, rows, (8 * bytes) as 16 | 32 | 64).forEach((column, i) => {
      use(first + i, column);
    });
  }
}
