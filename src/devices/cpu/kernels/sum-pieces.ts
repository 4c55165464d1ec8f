/**
 * Sums that tell whether memory holds what it held before, as fast as it can be read. A piece of 1 MiB becomes 64 words of 32 bits: word l is
 * s = (s ^ s >> 15) * odd + value, over the values that lie 64 apart, which is one to one in s and in the value. So a piece in which one
 * word differs always has another sum, and one in which more do has the same once in 2^32 for each of the sums that they are in.
 */
import { ptr, r9, r10, r11, rax, ymm } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel, loadPattern } from './frame.ts';

export const pieceBytes = 1 << 20;
export const sumBytes = 256;

const vectors = sumBytes / 32;
const shift = 15;
/** Of MurmurHash3, which mixes the same way. */
const odd = 0x85ebca6b;

const wordBytes = (word: number) => [word, word >>> 8, word >>> 16, word >>> 24].map((byte) => byte & 0xff);

/** `void sum(from, to, count)`: the sums of whole pieces, one after another. */
export function sumPiecesKernel(): EmittedKernel {
  const [factor, mixed] = [ymm(vectors), ymm(vectors + 1)];
  return buildKernel(
    { name: 'sum_pieces', buffers: ['from', 'to'], tokens: { sym: 'T', max: 2 ** 31 - 1 }, stackBytes: 0 },
    ({ a, loadTokens }) => {
      loadPattern(a, factor, wordBytes(odd));
      loadTokens(rax);
    },
    ({ a, unit, address }) => {
      a.emit('imul', r9, unit, pieceBytes);
      a.emit('add', r9, address('from'));
      a.emit('imul', r11, unit, sumBytes);
      a.emit('add', r11, address('to'));
      a.emit('mov', r10, r9);
      a.emit('add', r10, pieceBytes);
      for (let i = 0; i < vectors; i++) a.emit('vpxor', ymm(i), ymm(i), ymm(i));
      a.align(16);
      const next = a.here('next');
      for (let i = 0; i < vectors; i++) {
        a.emit('vpsrld', mixed, ymm(i), shift);
        a.emit('vpxor', ymm(i), ymm(i), mixed);
        a.emit('vpmulld', ymm(i), ymm(i), factor);
        a.emit('vpaddd', ymm(i), ymm(i), ptr(r9, 32 * i));
      }
      a.emit('add', r9, sumBytes);
      a.emit('cmp', r9, r10);
      a.emit('jb', next);
      for (let i = 0; i < vectors; i++) a.emit('vmovdqu', ptr(r11, 32 * i), ymm(i));
    },
  );
}
