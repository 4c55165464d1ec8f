/** Little matrices transposed in registers of 256 bits. */
import type { Mnemonic } from '../asm/tables.ts';
import { type Machine, type Register, view } from './machine.ts';

/** The columns of four rows of four words, or of two rows of two words of 64 bits, in each 128 bits. */
export function transposed(m: Machine, rows: readonly Register[]): readonly Register[] {
  const op = (mnemonic: Mnemonic, x: Register, y: Register) => {
    const result = m.register('vec');
    m.emit(mnemonic, view(result, 256), view(x, 256), view(y, 256));
    return result;
  };
  const pairs = (x: Register, y: Register) => [op('vunpcklpd', x, y), op('vunpckhpd', x, y)];
  const [a, b, c, d] = rows as readonly [Register, Register, ...Register[]];
  if (c === undefined || d === undefined) return pairs(a, b);
  const [low, lowNext] = [op('vunpcklps', a, b), op('vunpcklps', c, d)];
  const [high, highNext] = [op('vunpckhps', a, b), op('vunpckhps', c, d)];
  return [...pairs(low, lowNext), ...pairs(high, highNext)];
}
