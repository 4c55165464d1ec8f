/** A random number for a row, by Philox4x32-10 (composites/philox.ts). */
import { FloatCode } from '../emit/float-code.ts';
import { at, d, q, type Register, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import type { KernelWriter } from './writer.ts';

/** The first word of `philox` with counter (position, 0, 0, 0) as a number in (0, 1), in the first lane. */
export function emitUniform<B extends string>(w: KernelWriter<B>, seed: Register, position: Register): Register {
  const { m } = w;
  const word = (from: ReturnType<typeof at>) => {
    const result = w.gp();
    m.emit('mov', d(result), from);
    return result;
  };
  let x: Register[] = [word(at(position)), w.value(0), w.value(0), w.value(0)];
  const key = [word(at(seed)), word(at(seed, 4))];
  const [multipliers, weyl] = [
    [0xd2511f53, 0xcd9e8d57],
    [0x9e3779b9, 0xbb67ae85],
  ];
  for (let round = 0; round < 10; round++) {
    const products = [0, 2].map((i, side) => w.product(x[i], w.value(multipliers[side])));
    const [left, right] = products.map((product) => w.shift(product, 'shr', 32));
    const xor = (a: Register, b: Register, c: Register) => {
      const result = w.value(a);
      m.emit('xor', d(result), d(b));
      m.emit('xor', d(result), d(c));
      return result;
    };
    const low = products.map((product) => {
      const result = w.gp();
      m.emit('mov', d(result), d(product));
      return result;
    });
    x = [xor(right, x[1], key[0]), low[1], xor(left, x[3], key[1]), low[0]];
    for (const side of [0, 1]) m.emit('add', d(key[side]), d(w.value(weyl[side])));
  }
  const [random] = x;
  m.emit('shr', d(random), 8);
  m.emit('or', d(random), 1);
  const float = m.register('vec');
  m.emit('vcvtsi2ss', view(float, 128), view(laneCode(m, 4).zero(), 128), q(random));
  m.emit('vmulss', view(float, 128), view(float, 128), new FloatCode(laneCode(m, 4), 32).number(2 ** -24));
  return float;
}
