/**
 * Tiles of keys and values from the pools as f32, as pairs of bf16 (bf16-pairs.ts), or as pairs of codes in words of 16 bits: keys with
 * positions as lanes and pairs of dimensions, values as they lie and pairs of positions.
 */
import { type CodedKv, isCoded, type KvFormat, kvCodeBits, kvHeaderBytes } from '../../../numerics/kv-format.ts';
import { constantAt, type LaneCode } from '../emit/lane-code.ts';
import { type Address, at, d, type Register, view } from '../emit/machine.ts';
import { transposed } from '../emit/transposed.ts';
import { laneCode, lanesBelow, masksMemory } from '../emit/vector-sets.ts';
import {
  byteCodesAt,
  codePairsOfWords,
  codesAt,
  codesOfWords,
  decoded,
  headerAt,
  headersAt,
} from './attention-codes.ts';
import { headBytes, TILE } from './attention-shape.ts';
import { bf16Bits, joinPair, pairsOf } from './bf16-pairs.ts';
import type { KernelWriter } from './writer.ts';

export interface PanelSource {
  readonly format: KvFormat;
  /** Of one head. */
  readonly dim: number;
  /** From a position to the next. */
  readonly rowBytes: number;
  /** The first element of the tile. */
  readonly from: Register;
}

/** Where minimum and step of a head lie. */
export const headerOffset = ({ format, dim }: PanelSource) => headBytes(format, dim) - kvHeaderBytes;

/** [TILE, dim] at `from` to f32 [dim, TILE] or pairs [dim / 2, TILE] at `to`; pairs of codes are of the dimensions that `codePairsOfWords` says. */
export function emitKeyPanel<B extends string>(
  w: KernelWriter<B>,
  keys: PanelSource,
  to: Register,
  as: 'f32' | 'pairs' | 'codes',
): void {
  const { m } = w;
  const { format, dim, rowBytes, from } = keys;
  const code = laneCode(m, 8);
  const positions = Array.from({ length: TILE }, (_, i) => i);
  const halves = [positions.slice(0, 8), positions.slice(8)];
  const partsOf = halves.map((half) => {
    if (as === 'codes' && isCoded(format)) return (words: Register) => codePairsOfWords(code, format, words);
    return valuesOfWords(code, keys, (offset) => half.map((position) => at(from, position * rowBytes + offset)));
  });
  // Four words of each of eight positions at a time, which are taken apart behind the transposition; f16 is widened before it.
  const perWord = 32 / (kvCodeBits[format] ?? (format === 'bf16' ? 16 : 32));
  const stored = (half: number, columns: readonly Register[]): Iterable<Register> => {
    if (as === 'pairs' && format === 'bf16') return columns;
    const each = eachOf(columns, partsOf[half]);
    return as === 'pairs' ? pairsOf(code, each) : each;
  };
  const wordBytes = (as === 'f32' ? 4 : 2) * TILE * perWord;
  const source = w.value(from);
  const target = w.value(to);
  const four = laneCode(m, 4);
  const turn = (words: number) => {
    const quad =
      format === 'f16'
        ? (address: Address) => four.op('vcvtph2ps', 32, address)
        : words < 4
          ? firstWords(w, words)
          : undefined;
    for (const [i, half] of halves.entries()) {
      const rows = [0, 1, 2, 3].map((row) => {
        const [low, high] = [at(source, half[row] * rowBytes), at(source, half[row + 4] * rowBytes)];
        return quad === undefined ? code.join(four.load(32, low), high) : code.join(quad(low), quad(high));
      });
      let to = 32 * i;
      for (const value of stored(i, transposed(m, rows, 32).slice(0, words))) {
        m.emit('vmovups', at(target, to), view(value, 256));
        to += 4 * TILE;
      }
    }
  };
  const words = dim / perWord;
  const whole = w.sum(to, wordBytes * (words - (words % 4)));
  w.whileBelow(target, whole, 4 * wordBytes, () => {
    turn(4);
    w.change('add', source, format === 'f16' ? 8 : 16);
  });
  if (words % 4 > 0) turn(words % 4);
}

function* eachOf(columns: readonly Register[], parts: (words: Register) => Iterable<Register>): Generator<Register> {
  for (const column of columns) yield* parts(column);
}

/** Loads the first of four words, and zeros. */
function firstWords<B extends string>({ m }: KernelWriter<B>, words: number): (from: Address) => Register {
  if (masksMemory(m)) {
    const count = m.register('gp');
    m.emit('mov', d(count), words);
    const some = laneCode(m, 4, lanesBelow(m, 4, count));
    return (from) => some.fromMemory('vmovups', 32, from);
  }
  const four = laneCode(m, 4);
  const mask = four.load(32, constantAt(m, Int32Array.from([-1, -1, -1, 0].slice(3 - words))));
  return (from) => four.op('vmaskmovps', 32, mask, from);
}

/** What eight words hold, one after another; `places` of their heads at an offset. */
function valuesOfWords(
  code: LaneCode,
  keys: PanelSource,
  places: (offset: number) => readonly Address[],
): (words: Register) => Iterable<Register> {
  const { format } = keys;
  if (isCoded(format)) {
    const header = headersAt(code, places(headerOffset(keys)));
    return function* (words) {
      for (const codes of codesOfWords(code, format, words)) yield decoded(code, codes, header);
    };
  }
  switch (format) {
    case 'f32':
    case 'f16':
      return (words) => [words];
    case 'bf16': {
      const highHalf = code.constant(32, 0xffff0000);
      return (words) => [code.op('vpslld', 32, words, 16), code.op('vpand', 32, words, highHalf)];
    }
    default:
      return format satisfies never;
  }
}

/** `valid` positions of [TILE, dim] at `from` to f32 at `to`, zeros for the others: what lies there may be no number. */
export function emitValuePanel<B extends string>(
  w: KernelWriter<B>,
  values: PanelSource,
  to: Register,
  valid: Register,
): void {
  const { m } = w;
  const { dim, rowBytes, from } = values;
  const code = laneCode(m, 8);
  const source = w.value(from);
  const target = w.value(to);
  const validEnd = w.sum(to, w.product(valid, 4 * dim));
  const end = w.sum(to, 4 * dim * TILE);
  const each = (write: (i: number, to: Address) => void) => {
    for (let i = 0; i < dim; i += 8) write(i, at(target, 4 * i));
  };
  w.whileBelow(target, validEnd, 4 * dim, () => {
    const eight = valuesOfRow(code, values, source);
    each((i, to) => m.emit('vmovups', to, view(eight(i), 256)));
    w.change('add', source, rowBytes);
  });
  const zero = code.zero();
  w.whileBelow(target, end, 4 * dim, () => each((_, to) => m.emit('vmovups', to, view(zero, 256))));
}

/** The same to pairs [TILE / 2, dim] at `to`, `pairBytes` from a pair of positions to the next. */
export function emitValuePairs<B extends string>(
  w: KernelWriter<B>,
  values: PanelSource,
  to: Register,
  pairBytes: number,
  valid: Register,
): void {
  const { m } = w;
  const { dim, rowBytes, from } = values;
  const widest = isCoded(values.format) ? laneCode(m, 8) : w.code;
  const source = w.value(from);
  const target = w.value(to);
  const each = (vector: (code: LaneCode) => (i: number) => Register) => {
    const whole = dim - (dim % widest.lanes);
    const store = (code: LaneCode, from: number, end: number) => {
      const at_ = vector(code);
      for (let i = from; i < end; i += code.lanes) m.emit('vmovups', at(target, 4 * i), code.view(at_(i), 32));
    };
    store(widest, 0, whole);
    if (whole < dim) store(laneCode(m, 8), whole, dim);
  };
  const end = w.sum(to, (TILE / 2) * pairBytes);
  w.whileBelow(target, w.sum(to, w.product(w.shift(valid, 'shr', 1), pairBytes)), pairBytes, () => {
    const second = w.sum(source, rowBytes);
    each((code) => {
      const [low, high] = [bitsOfRow(code, values, source), bitsOfRow(code, values, second)];
      return (i) => joinPair(code, low(i), high(i));
    });
    w.change('add', source, 2 * rowBytes);
  });
  const odd = w.value(valid);
  w.change('and', odd, 1);
  w.when(odd, 'ne', 0, () => {
    each((code) => bitsOfRow(code, values, source));
    w.change('add', target, pairBytes);
  });
  w.whileBelow(target, end, pairBytes, () =>
    each((code) => {
      const zero = code.zero();
      return () => zero;
    }),
  );
}

/** Dimensions whose codes are taken apart together. */
const RUN = 32;

/**
 * [TILE, dim] codes to pairs of words [TILE / 2, dim] at `to`, of two positions each. Whole runs of 32 dimensions are in the order that
 * shuffles within 128 bits leave: `inOrder` undoes it.
 */
export function emitCodePairs<B extends string>(
  w: KernelWriter<B>,
  { dim, rowBytes, from }: PanelSource,
  format: CodedKv,
  to: Register,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const source = w.value(from);
  const target = w.value(to);
  const end = w.sum(to, 2 * TILE * dim);
  const runs = dim - (dim % RUN);
  const zero = code.zero();
  w.whileBelow(target, end, 4 * dim, () => {
    const second = w.sum(source, rowBytes);
    const store = (i: number, pairs: Register) => m.emit('vmovups', at(target, 4 * i), view(pairs, 256));
    for (let i = 0; i < runs; i += RUN) {
      const [a, b] = [byteCodesAt(code, format, source, i), byteCodesAt(code, format, second, i)];
      for (const [half, bytes] of UNPACK_BYTES.map((mnemonic) => code.op(mnemonic, 32, a, b)).entries()) {
        for (const [quarter, mnemonic] of UNPACK_BYTES.entries()) {
          store(i + 16 * half + 8 * quarter, code.op(mnemonic, 32, bytes, zero));
        }
      }
    }
    for (let i = runs; i < dim; i += 8) {
      store(i, joinPair(code, codesAt(code, format, source, i), codesAt(code, format, second, i)));
    }
    w.change('add', source, 2 * rowBytes);
  });
}
const UNPACK_BYTES = ['vpunpcklbw', 'vpunpckhbw'] as const;

/** Eight values each of `dim` at `from`, one vector after another, whose columns are those of `emitCodePairs`. */
export function* inOrder(code: LaneCode, from: Register, dim: number): Generator<Register> {
  const runs = dim - (dim % RUN);
  const load = (i: number) => code.load(32, at(from, 4 * i));
  for (let i = 0; i < runs; i += RUN) {
    const [a, b, c, d] = [load(i), load(i + 8), load(i + 16), load(i + 24)];
    const upper = (x: Register) => code.upper(32, x, 4);
    const [first, third] = [code.join(a, b), code.join(c, d)];
    yield first;
    yield third;
    yield code.join(upper(a), upper(b));
    yield code.join(upper(c), upper(d));
  }
  for (let i = runs; i < dim; i += 8) yield load(i);
}

/** As bf16, in the low halves of the lanes. */
function bitsOfRow(code: LaneCode, values: PanelSource, from: Register): (i: number) => Register {
  if (values.format === 'bf16') return (i) => code.op('vpmovzxwd', 32, at(from, 2 * i));
  const exact = valuesOfRow(code, values, from);
  return (i) => bf16Bits(code, exact(i));
}

/** Values `i`, `i` + 1 ... of the head at `from`, a vector of them; coded ones in eight lanes. */
function valuesOfRow(code: LaneCode, values: PanelSource, from: Register): (i: number) => Register {
  const { format } = values;
  if (isCoded(format)) {
    const header = headerAt(code, at(from, headerOffset(values)));
    return (i) => decoded(code, codesAt(code, format, from, i), header);
  }
  switch (format) {
    case 'f32':
      return (i) => code.load(32, at(from, 4 * i));
    case 'f16':
      return (i) => code.op('vcvtph2ps', 32, at(from, 2 * i));
    case 'bf16':
      return (i) => code.op('vpslld', 32, code.op('vpmovzxwd', 32, at(from, 2 * i)), 16);
    default:
      return format satisfies never;
  }
}
