/** Little matrices transposed in registers of 256 bits, by shuffles. */
import { type Machine, type Register, view } from './machine.ts';

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
