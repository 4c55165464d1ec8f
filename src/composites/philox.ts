/**
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four random words that are a
 * pure function of a counter and a key. All in ui32, since not every device has wider integers.
 */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
/** Added to the key after each round: golden ratio and sqrt(3) - 1, as fractions of 2^32. */
const weyl = [0x9e3779b9, 0xbb67ae85] as const;
const rounds = 10;

export type PhiloxCounter = readonly [Value, Value, Value, Value];

/** Counter and key words: ui32, all of one shape. */
export function philox(b: Builder, counter: PhiloxCounter, key: readonly [Value, Value]): PhiloxCounter {
  const { shape } = asTensor(counter[0].type);
  const full = (value: number) => b.full('ui32', shape, value);
  const xor = (x: Value, y: Value) => b.binary('xor', x, y);
  let [x0, x1, x2, x3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < rounds; round++) {
    const left = multiplyHigh(b, x0, multipliers[0]);
    const right = multiplyHigh(b, x2, multipliers[1]);
    [x0, x1, x2, x3] = [
      xor(xor(right, x1), k0),
      b.multiply(x2, full(multipliers[1])),
      xor(xor(left, x3), k1),
      b.multiply(x0, full(multipliers[0])),
    ];
    k0 = b.add(k0, full(weyl[0]));
    k1 = b.add(k1, full(weyl[1]));
  }
  return [x0, x1, x2, x3];
}

/** Upper word of a 32 by 32 bit product, from its four 16 by 16 bit products. */
function multiplyHigh(b: Builder, x: Value, factor: number): Value {
  const { shape } = asTensor(x.type);
  const full = (value: number) => b.full('ui32', shape, value);
  const low = (value: Value) => b.and(value, full(0xffff));
  const high = (value: Value) => b.binary('shift_right_logical', value, full(16));
  const [factorLow, factorHigh] = [full(factor & 0xffff), full(factor >>> 16)];
  const [xLow, xHigh] = [low(x), high(x)];
  const middle = b.add(b.multiply(xHigh, factorLow), high(b.multiply(xLow, factorLow)));
  const carry = b.add(b.multiply(xLow, factorHigh), low(middle));
  return b.add(b.add(b.multiply(xHigh, factorHigh), high(middle)), high(carry));
}

/** A random word to f32 in (0, 1): an odd multiple of 2^-24 made of its upper bits, so never 0 or 1. */
export function uniform(b: Builder, word: Value): Value {
  const { shape } = asTensor(word.type);
  const top = b.binary('shift_right_logical', word, b.full('ui32', shape, 8));
  const odd = b.or(top, b.full('ui32', shape, 1));
  return b.multiply(b.convert(odd, 'f32'), b.full('f32', shape, 2 ** -24));
}
