/** What the levels of packed integers are scaled with (levels.ts), as f32. */
import type { Assembler } from '../asm/assembler.ts';
import { lanes, type Mem, rip, type Vec } from '../asm/operands.ts';
import type { Levels } from './levels.ts';

/** scale = d of as many rows as it has lanes, exactly, subnormals too. */
export function emitD(a: Assembler, d: Levels['d'], scale: Vec, from: Mem | Vec, temporary: Vec): void {
  switch (d) {
    case 'f16':
      a.emit('vcvtph2ps', scale, from);
      return;
    case 'f32':
      a.emit('vmovups', scale, from);
      return;
    case 'e8m0': {
      // 2^(e - 128) has the bits (e - 1) << 23 for e > 1, and (e + 1) << 21, which is less there, for the subnormal 0 and 1.
      const words = (word: number) => rip(a.constant(new Uint32Array(scale.bits / 32).fill(word)));
      a.emit('vpmovzxbd', temporary, from);
      a.emit('vpslld', scale, temporary, 23);
      a.emit('vpsubd', scale, scale, words(1 << 23));
      a.emit('vpslld', temporary, temporary, 21);
      a.emit('vpaddd', temporary, temporary, words(1 << 21));
      a.emit('vpmaxsd', scale, scale, temporary);
      return;
    }
    case 'e4m3': {
      // As f16 it is 2^8 times too small.
      const half = lanes(temporary, scale.bits === 512 ? 256 : 128);
      a.emit('vpmovzxbw', half, from);
      a.emit('vpsllw', half, half, 7);
      a.emit('vcvtph2ps', scale, half);
      a.emit('vmulps', scale, scale, rip(a.constant(new Float32Array(scale.bits / 32).fill(128))));
      return;
    }
    default:
      d satisfies never;
  }
}

/** The two powers of two whose product is 2^(e - 128): normal numbers, also where that is not. */
export function emitPowers(a: Assembler, [one, two]: readonly [Vec, Vec], from: Mem): void {
  const bias = rip(a.constant(new Uint32Array(one.bits / 32).fill(63)));
  a.emit('vpmovzxbd', two, from);
  a.emit('vpsrld', one, two, 1);
  a.emit('vpsubd', two, two, one);
  for (const power of [one, two]) {
    a.emit('vpaddd', power, power, bias);
    a.emit('vpslld', power, power, 23);
  }
}
