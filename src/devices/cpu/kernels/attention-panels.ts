/** Tiles of keys and values from the pools as f32: keys with positions as lanes, values as they lie. */
import { isCoded, type KvFormat, kvCodeBits, kvHeaderBytes } from '../../../numerics/kv-format.ts';
import { constantAt, type LaneCode } from '../emit/lane-code.ts';
import { type Address, at, d, type Register, view } from '../emit/machine.ts';
import { transposed } from '../emit/transposed.ts';
import { laneCode, lanesBelow, masksMemory } from '../emit/vector-sets.ts';
import { codesAt, codesOfWords, decoded, headerAt, headersAt } from './attention-codes.ts';
import { headBytes, TILE } from './attention-shape.ts';
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
const headerOffset = ({ format, dim }: PanelSource) => headBytes(format, dim) - kvHeaderBytes;

/** [TILE, dim] at `from` to f32 [dim, TILE] at `to`. */
export function emitKeyPanel<B extends string>(w: KernelWriter<B>, keys: PanelSource, to: Register): void {
  const { m } = w;
  const { format, dim, rowBytes, from } = keys;
  const code = laneCode(m, 8);
  const positions = Array.from({ length: TILE }, (_, i) => i);
  const halves = [positions.slice(0, 8), positions.slice(8)];
  const values = halves.map((half) => {
    return valuesOfWords(code, keys, (offset) => half.map((position) => at(from, position * rowBytes + offset)));
  });
  // Four words of each of eight positions at a time, which are taken apart behind the transposition; f16 is widened before it.
  const perWord = 32 / (kvCodeBits[format] ?? (format === 'bf16' ? 16 : 32));
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
      for (const column of transposed(m, rows, 32).slice(0, words)) {
        for (const value of values[i](column)) {
          m.emit('vmovups', at(target, to), view(value, 256));
          to += 4 * TILE;
        }
      }
    }
  };
  const words = dim / perWord;
  const whole = w.sum(to, 4 * TILE * perWord * (words - (words % 4)));
  w.whileBelow(target, whole, 4 * TILE * perWord * 4, () => {
    turn(4);
    w.change('add', source, format === 'f16' ? 8 : 16);
  });
  if (words % 4 > 0) turn(words % 4);
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

/** Values `i` to `i` + 7 of the head at `from`. */
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
