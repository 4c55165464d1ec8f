/** Coded keys and values (numerics/kv-format.ts): as f32, eight at a time, and as pairs of words. */
import { type CodedKv, kvCodeBits } from '../../../numerics/kv-format.ts';
import { constantAt, type LaneCode } from '../emit/lane-code.ts';
import { type Address, at, type Register, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';

/** What lanes of codes are multiplied with, and what is added. */
export interface Header {
  readonly step: Register;
  readonly minimum: Register;
}

function header(code: LaneCode, words: Register): Header {
  return {
    step: code.op('vpand', 32, words, code.constant(32, 0xffff0000)),
    minimum: code.op('vpslld', 32, words, 16),
  };
}

/** Of one head, in all lanes. */
export function headerAt(code: LaneCode, from: Address): Header {
  return header(code, code.op('vpbroadcastd', 32, from));
}

/** Of eight heads, one a lane. */
export function headersAt(code: LaneCode, from: readonly Address[]): Header {
  const { machine: m } = code;
  const four = (places: readonly Address[]) => {
    const x = m.register('vec');
    places.forEach((place, i) => {
      const word = { ...place, bits: 32 } as const;
      if (i === 0) m.emit('vmovd', view(x, 128), word);
      else m.emit('vpinsrd', view(x, 128), view(x, 128), word, i);
    });
    return x;
  };
  const words = four(from.slice(0, 4));
  return header(code, code.join(words, four(from.slice(4))));
}

/** The codes of a word in each lane, from the first on; each is taken when it is asked for, since registers are few. */
export function* codesOfWords(code: LaneCode, format: CodedKv, words: Register): Generator<Register> {
  const mask = code.constant(32, 2 ** kvCodeBits[format] - 1);
  for (const shift of shifts[format]) {
    const low = shift === 0 ? words : code.op('vpsrld', 32, words, shift);
    yield shift + kvCodeBits[format] === 32 ? low : code.op('vpand', 32, low, mask);
  }
}

/** The codes of a word in pairs of words in each lane: the first and the third, the second and the fourth; so too the next four. */
export function* codePairsOfWords(code: LaneCode, format: CodedKv, words: Register): Generator<Register> {
  const bits = kvCodeBits[format];
  const mask = code.words(32, 0x10001 * (2 ** bits - 1));
  for (const shift of shifts[format].filter((shift) => shift < 16)) {
    const low = shift === 0 ? words : code.op('vpsrlw', 32, words, shift);
    yield shift + bits === 16 ? low : code.op('vpand', 32, low, mask);
  }
}

/** 32 codes from `i` on as bytes. */
export function byteCodesAt(code: LaneCode, format: CodedKv, from: Register, i: number): Register {
  if (format === 'int8') return code.load(32, at(from, i));
  const half = laneCode(code.machine, 4);
  const words = half.load(32, at(from, i / 2));
  const nibbles = half.constant(32, 0x0f0f0f0f);
  const low = half.op('vpand', 32, words, nibbles);
  const high = half.op('vpand', 32, half.op('vpsrlw', 32, words, 4), nibbles);
  return code.join(half.op('vpunpckldq', 32, low, high), half.op('vpunpckhdq', 32, low, high));
}

/** Where the codes of a word begin. */
const shifts: Readonly<Record<CodedKv, readonly number[]>> = {
  int8: [0, 8, 16, 24],
  int4: [0, 8, 16, 24, 4, 12, 20, 28],
};

/** Codes `i` to `i` + 7 of the head at `from`. */
export function codesAt(code: LaneCode, format: CodedKv, from: Register, i: number): Register {
  if (format === 'int8') return code.op('vpmovzxbd', 32, at(from, i));
  const words = code.op('vpbroadcastd', 32, at(from, i / 2));
  const shifted = code.op('vpsrlvd', 32, words, constantAt(code.machine, Int32Array.from(shifts.int4)));
  return code.op('vpand', 32, shifted, code.constant(32, 15));
}

/** The product of a code and a step is exact, so that the sum alone is rounded. */
export function decoded(code: LaneCode, codes: Register, { step, minimum }: Header): Register {
  return code.change('vfmadd213ps', 32, code.op('vcvtdq2ps', 32, codes), step, minimum);
}
