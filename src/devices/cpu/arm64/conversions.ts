/** Conversions of vectors between widths, and between integers and floats, of x86-64 as arm64 instructions: a row a mnemonic. */
import { general, lane, type Shape, v } from '../asm/arm64/operands.ts';
import { isGp, isMem, isVec } from '../asm/operands.ts';
import { unsupported } from './context.ts';
import { ELEMENT, type Row, scalar, vector } from './vector-row.ts';

const STEPS: readonly (readonly [8 | 16 | 32, Shape, Shape, Shape])[] = [
  [8, '8b', '16b', '8h'],
  [16, '4h', '8h', '4s'],
  [32, '2s', '4s', '2d'],
];

/** Elements of a few bits to wider ones. */
const widened =
  (signed: boolean, from: 8 | 16 | 32, to: 16 | 32 | 64): Row =>
  (t, [result, operand]) => {
    const own = vector(result);
    const ids = t.halves(own, true);
    const bits = (own.bits * from) / to;
    const [source = 0] = isMem(operand) ? t.source(operand, bits) : t.halves(vector(operand));
    const [lower, upper] = signed ? (['sshll', 'sshll2'] as const) : (['ushll', 'ushll2'] as const);
    /** From elements of `at` bits, those of the low or high half of a register. */
    const step = (into: number, register: number, at: number, high: boolean) => {
      const row = STEPS.find(([width]) => width === at);
      if (row === undefined) throw unsupported('widening beyond 64 bits');
      t.emit(high ? upper : lower, v(into, row[3]), v(register, high ? row[2] : row[1]), 0);
    };
    const [low = 0, high] = ids;
    const middle = from * 2 === to ? source : t.vector();
    if (from * 2 !== to) step(middle, source, from, false);
    const at = from * 2 === to ? from : from * 2;
    // The high half first: the low one may lie where the source does.
    if (high !== undefined) step(high, middle, at, true);
    step(low, middle, at, false);
    t.clearUpper(own);
  };

/** An integer of a general register to the first element; the rest is that of the second operand. */
const fromInteger =
  (bits: 32 | 64): Row =>
  (t, [to, base, from]) => {
    if (!isGp(from)) throw unsupported('conversions from memory');
    const own = vector(to);
    const [id = 0] = t.halves(own, true);
    const [rest = 0] = t.halves(vector(base));
    const value = t.vector();
    t.emit('scvtf', scalar(value, bits), t.gp(from));
    t.copy(id, rest);
    t.emit('ins', lane(id, ELEMENT[bits], 0), lane(value, ELEMENT[bits], 0));
    t.clearUpper(own);
  };

/** To i64; what has none is the least of them. */
const toInteger =
  (bits: 32 | 64): Row =>
  (t, [to, from]) => {
    if (!isGp(to) || to.bits !== 64) throw unsupported('conversions to 32 bits');
    const [id = 0] = isVec(from) ? t.halves(from) : t.source(from, bits);
    const own = t.gp(to);
    const ordered = t.vector();
    const [result, rest] = [t.temporary(), t.temporary()];
    t.emit('fcvtzs', result, scalar(id, bits));
    // The greatest is what too much becomes: one more is the least.
    t.emit('eor', rest, result, 0x7fffffffffffffffn);
    t.emit('clz', rest, rest);
    t.emit('add', result, result, rest, { kind: 'shift', op: 'lsr', amount: 6 });
    t.emit('fcmeq', scalar(ordered, bits), scalar(id, bits), scalar(id, bits));
    t.emit('fmov', general(rest.id, bits), scalar(ordered, bits));
    if (bits === 32) t.emit('sbfm', rest, rest, 0, 31);
    const least = t.number(0x8000000000000000n);
    t.emit('bic', least, least, rest);
    t.emit('orr', own, result, least);
  };

/** f64 to i32 in half as many bits. */
const narrowedIntegers: Row = (t, [to, from]) => {
  const own = vector(to);
  const [id = 0] = t.halves(own, true);
  const result = t.vector();
  t.emit('movi', v(result, '16b'), 0);
  t.halves(vector(from)).forEach((half, index) => {
    t.part(() => {
      const [wide, narrow, back, ordered] = [t.vector(), t.vector(), t.vector(), t.vector()];
      t.emit('fcvtzs', v(wide, '2d'), v(half, '2d'));
      t.emit('xtn', v(narrow, '2s'), v(wide, '2d'));
      t.emit('sshll', v(back, '2d'), v(narrow, '2s'), 0);
      t.emit('cmeq', v(back, '2d'), v(back, '2d'), v(wide, '2d'));
      t.emit('fcmeq', v(ordered, '2d'), v(half, '2d'), v(half, '2d'));
      t.emit('and', v(back, '16b'), v(back, '16b'), v(ordered, '16b'));
      t.emit('xtn', v(back, '2s'), v(back, '2d'));
      const least = t.constant([0x80000000]);
      t.emit('bsl', v(back, '16b'), v(narrow, '16b'), v(least, '16b'));
      t.emit('ins', lane(result, 'd', index), lane(back, 'd', 0));
    });
  });
  t.copy(id, result);
  t.clearUpper(own);
};

/** Between floats of two widths: FCVTL widens a lower or upper half, FCVTN narrows into one. */
const widenedFloats =
  (from: 16 | 32): Row =>
  (t, [to, operand]) => {
    const own = vector(to);
    const [low = 0, high] = t.halves(own, true);
    const [source = 0] = isMem(operand) ? t.source(operand, own.bits / 2) : t.halves(vector(operand));
    const [wide, half, whole] = from === 16 ? (['4s', '4h', '8h'] as const) : (['2d', '2s', '4s'] as const);
    if (high !== undefined) t.emit('fcvtl2', v(high, wide), v(source, whole));
    t.emit('fcvtl', v(low, wide), v(source, half));
    t.clearUpper(own);
  };

const narrowedFloats =
  (to: 16 | 32): Row =>
  (t, [result, from]) => {
    const [first = 0, second] = t.halves(vector(from));
    const [wide, half, whole] = to === 16 ? (['4s', '4h', '8h'] as const) : (['2d', '2s', '4s'] as const);
    const value = t.vector();
    t.emit('fcvtn', v(value, half), v(first, wide));
    if (second !== undefined) t.emit('fcvtn2', v(value, whole), v(second, wide));
    if (isMem(result)) {
      t.emit('str', v(value, second === undefined ? 'd' : 'q'), t.place(result, second === undefined ? 8 : 16));
      return;
    }
    const own = vector(result);
    t.copy(t.halves(own, true)[0] as number, value);
    t.clearUpper(own);
  };

const integersToDoubles: Row = (t, [to, from]) => {
  const own = vector(to);
  const [low = 0, high] = t.halves(own, true);
  const [source = 0] = isMem(from) ? t.source(from, own.bits / 2) : t.halves(vector(from));
  if (high !== undefined) {
    t.emit('sshll2', v(high, '2d'), v(source, '4s'), 0);
    t.emit('scvtf', v(high, '2d'), v(high, '2d'));
  }
  t.emit('sshll', v(low, '2d'), v(source, '2s'), 0);
  t.emit('scvtf', v(low, '2d'), v(low, '2d'));
  t.clearUpper(own);
};

export const CONVERSIONS: Readonly<Record<string, Row>> = {
  ...Object.fromEntries(
    (
      [
        ['bw', 8, 16],
        ['bd', 8, 32],
        ['wd', 16, 32],
        ['dq', 32, 64],
      ] as const
    ).flatMap(([name, from, to]) => [
      [`vpmovsx${name}`, widened(true, from, to)],
      [`vpmovzx${name}`, widened(false, from, to)],
    ]),
  ),
  ...{ vcvtsi2ss: fromInteger(32), vcvtsi2sd: fromInteger(64), vcvttss2si: toInteger(32), vcvttsd2si: toInteger(64) },
  vcvttpd2dq: narrowedIntegers,
  ...{ vcvtph2ps: widenedFloats(16), vcvtps2pd: widenedFloats(32) },
  ...{ vcvtps2ph: narrowedFloats(16), vcvtpd2ps: narrowedFloats(32) },
  vcvtdq2pd: integersToDoubles,
};
