/**
 * f16, bf16 and f8 in lanes of 32 bits that hold their bit patterns: a value that is only moved keeps its bits, and
 * arithmetic widens to f32, computes, and rounds once back, to nearest even.
 */
import type { SmallFloatType } from '../../../numerics/rounding.ts';
import { FloatCode } from './float-code.ts';
import { f32Bits, type LaneCode } from './lane-code.ts';
import type { Register } from './machine.ts';

interface F8 {
  readonly mantissa: number;
  readonly bias: number;
  readonly max: number;
  /** Bits of what lies beyond `max`, and of NaN. */
  readonly overflow: number;
  readonly nan: number;
}
const F8_TYPES: Readonly<Record<'f8E4M3FN' | 'f8E5M2', F8>> = {
  f8E4M3FN: { mantissa: 3, bias: 7, max: 448, overflow: 0x7f, nan: 0x7f },
  f8E5M2: { mantissa: 2, bias: 15, max: 57344, overflow: 0x7c, nan: 0x7e },
};

/** f32 lanes of the values. */
export function widen(code: LaneCode, type: SmallFloatType, x: Register): Register {
  switch (type) {
    case 'bf16':
      return code.op('vpslld', 32, x, 16);
    case 'f16': {
      const result = code.machine.register('vec');
      code.machine.emit('vcvtph2ps', code.view(result, 32), code.halfView(code.packWords(x)));
      return result;
    }
    case 'f8E4M3FN':
    case 'f8E5M2':
      return widenF8(code, F8_TYPES[type], x);
    default:
      return type satisfies never;
  }
}

/** Bit patterns of the f32 lanes rounded to the type. */
export function narrow(code: LaneCode, type: SmallFloatType, x: Register): Register {
  switch (type) {
    case 'bf16': {
      const f = new FloatCode(code, 32);
      const high = code.op('vpsrld', 32, x, 16);
      const odd = code.op('vpand', 32, high, code.words(32, 1));
      const up = code.op('vpaddd', 32, code.op('vpaddd', 32, x, code.words(32, 0x7fff)), odd);
      const rounded = code.op('vpsrld', 32, up, 16);
      const quiet = code.op('vpor', 32, high, code.words(32, 0x40));
      return f.blend(f.compare('unordered', x, x), quiet, rounded);
    }
    case 'f16': {
      const words = code.machine.register('vec');
      code.machine.emit('vcvtps2ph', code.halfView(words), code.view(x, 32), 0);
      const result = code.machine.register('vec');
      code.machine.emit('vpmovzxwd', code.view(result, 32), code.halfView(words));
      return result;
    }
    case 'f8E4M3FN':
    case 'f8E5M2':
      return narrowF8(code, F8_TYPES[type], x);
    default:
      return type satisfies never;
  }
}

function widenF8(code: LaneCode, { mantissa, bias, nan, overflow }: F8, x: Register): Register {
  const f = new FloatCode(code, 32);
  const magnitude = code.op('vpand', 32, x, code.words(32, 0x7f));
  const sign = code.op('vpslld', 32, code.op('vpxor', 32, x, magnitude), 24);
  // The exponent is moved by a multiplication, which is exact and knows subnormals.
  const shifted = code.op('vpslld', 32, magnitude, 23 - mantissa);
  const value = f.mul(shifted, f.number(2 ** (127 - bias)));
  const special = code.compareIntegers('GE', 32, true, magnitude, code.constant(32, Math.min(nan, overflow)));
  const fraction = overflow === nan ? code.constant(32, 0x7fc00000) : withInfinity(code, shifted);
  return f.or(f.blend(special, fraction, value), sign);
}

const withInfinity = (code: LaneCode, shifted: Register) => code.op('vpor', 32, shifted, code.words(32, 0x7f800000));

/** As `roundSmall` of numerics/rounding.ts: adding and subtracting 1.5 * 2^23 units of the target rounds to them. */
function narrowF8(code: LaneCode, { mantissa, bias, max, overflow, nan }: F8, x: Register): Register {
  const f = new FloatCode(code, 32);
  const magnitude = f.abs(x);
  const smallest = code.words(32, (1 - bias + 127) << 23);
  const largest = code.words(32, (bias + 2 + 127) << 23);
  const exponent = code.op('vpand', 32, magnitude, code.words(32, 0x7f800000));
  const bounded = code.op('vpminud', 32, code.op('vpmaxud', 32, exponent, smallest), largest);
  const magic = code.op('vpaddd', 32, bounded, code.words(32, ((23 - mantissa) << 23) + 0x400000));
  const rounded = f.sub(f.add(magnitude, magic), magic);
  const scaled = f.mul(rounded, f.number(2 ** (bias - 127)));
  const bits = code.op('vpsrld', 32, scaled, 23 - mantissa);
  const over = f.compare('GT', rounded, code.words(32, f32Bits(max)));
  const finite = f.blend(over, code.words(32, overflow), bits);
  const result = f.blend(f.compare('unordered', x, x), code.words(32, nan), finite);
  const sign = code.op('vpsrld', 32, f.sign(x), 24);
  return code.op('vpor', 32, result, sign);
}
