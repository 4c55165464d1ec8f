/**
 * Vector instructions of x86-64 that do the same in each 128 bits: a row a mnemonic, which writes the instructions for one such
 * half from the registers of its sources.
 */
import type { Mnemonic } from '../asm/arm64/forms.ts';
import { lane, type Shape, tableOf, v } from '../asm/arm64/operands.ts';
import { type Context, unsupported } from './context.ts';

/** `to` may be the register of a source: it is written last. `immediate`: the last operand, where that is a number. */
type Half = (t: Context, to: number, sources: readonly number[], immediate: number) => void;

export interface LaneRow {
  readonly write: Half;
  /** The first operand is a source too. */
  readonly updates?: true;
  /** Bits of one element, where it computes with that alone and keeps the rest of its first source. */
  readonly element?: 32 | 64;
}

/** One instruction for two sources, or one. */
const simple = (name: Mnemonic, shape: Shape): LaneRow => ({
  write: (t, to, sources) => t.emit(name, v(to, shape), ...sources.map((id) => v(id, shape))),
});
const swapped = (name: Mnemonic, shape: Shape): LaneRow => ({
  write: (t, to, [a = 0, b = 0]) => t.emit(name, v(to, shape), v(b, shape), v(a, shape)),
});

const SHAPES = { b: '16b', w: '8h', d: '4s', q: '2d' } as const;
const FLOATS = { ps: '4s', pd: '2d' } as const;
const rows = (entries: readonly (readonly [string, LaneRow])[]) => Object.fromEntries(entries);
const each = <K extends string, S>(
  shapes: Readonly<Record<K, S>>,
  row: (shape: S, suffix: K) => readonly (readonly [string, LaneRow])[],
) => rows((Object.entries(shapes) as [K, S][]).flatMap(([suffix, shape]) => row(shape, suffix)));

/** a < b ? a : b, where nothing is less than what is no number: then it is b. */
const lesser = (shape: Shape, greater: boolean): LaneRow => ({
  write(t, to, [a = 0, b = 0]) {
    const mask = t.vector();
    const [left, right] = greater ? [a, b] : [b, a];
    t.emit('fcmgt', v(mask, shape), v(left, shape), v(right, shape));
    t.emit('bsl', v(mask, '16b'), v(a, '16b'), v(b, '16b'));
    t.copy(to, mask);
  },
});

/** Predicates of VCMPPS: what is compared, whether operands change places, and whether the answer is the contrary. */
const PREDICATES: Readonly<Record<number, readonly [name: 'fcmeq' | 'fcmgt' | 'fcmge', swap: boolean, not: boolean]>> =
  {
    ...{ 0: ['fcmeq', false, false], 4: ['fcmeq', false, true] },
    ...{ 1: ['fcmgt', true, false], 17: ['fcmgt', true, false], 2: ['fcmge', true, false], 18: ['fcmge', true, false] },
    ...{
      13: ['fcmge', false, false],
      29: ['fcmge', false, false],
      14: ['fcmgt', false, false],
      30: ['fcmgt', false, false],
    },
    ...{ 5: ['fcmgt', true, true], 6: ['fcmge', true, true], 21: ['fcmgt', true, true], 22: ['fcmge', true, true] },
  };

const comparison = (shape: Shape): LaneRow => ({
  write(t, to, [a = 0, b = 0], predicate) {
    if (predicate === 3 || predicate === 7) {
      // Unordered: what differs from itself.
      const [one, two] = [t.vector(), t.vector()];
      t.emit('fcmeq', v(one, shape), v(a, shape), v(a, shape));
      t.emit('fcmeq', v(two, shape), v(b, shape), v(b, shape));
      t.emit('and', v(to, '16b'), v(one, '16b'), v(two, '16b'));
      if (predicate === 3) t.emit('not', v(to, '16b'), v(to, '16b'));
      return;
    }
    const row = PREDICATES[predicate];
    if (row === undefined) throw unsupported(`predicate ${predicate} of a comparison`);
    const [name, swap, not] = row;
    const [left, right] = swap ? [b, a] : [a, b];
    t.emit(name, v(to, shape), v(left, shape), v(right, shape));
    if (not) t.emit('not', v(to, '16b'), v(to, '16b'));
  },
});

/** Products with one rounding: which of the first, second and third operand are multiplied, and what is added. */
const fused = (order: '213' | '231' | '132', negated: boolean, subtracts: boolean, shape: Shape): LaneRow => ({
  updates: true,
  write(t, to, [first = 0, second = 0, third = 0]) {
    const [a, b, addend] =
      order === '213' ? [second, first, third] : order === '231' ? [second, third, first] : [first, third, second];
    const name = negated ? 'fmls' : 'fmla';
    if (addend === to && !subtracts) {
      t.emit(name, v(to, shape), v(a, shape), v(b, shape));
      return;
    }
    const sum = t.vector();
    if (subtracts) t.emit('fneg', v(sum, shape), v(addend, shape));
    else t.copy(sum, addend);
    t.emit(name, v(sum, shape), v(a, shape), v(b, shape));
    t.copy(to, sum);
  },
});

/** Shifts by a constant, which may be as large as it likes. */
const shifted = (name: 'shl' | 'ushr' | 'sshr', shape: Shape, bits: number): LaneRow => ({
  write(t, to, [x = 0], amount) {
    const by = name === 'sshr' ? Math.min(amount, bits) : amount;
    if (by === 0) t.copy(to, x);
    else if (by > bits || (by === bits && name === 'shl')) t.emit('movi', v(to, '16b'), 0);
    else t.emit(name, v(to, shape), v(x, shape), by);
  },
});

/** Shifts by amounts of lanes; from the width of a lane on nothing is left but the sign. */
const variable = (shape: '4s' | '2d', left: boolean, signed: boolean): LaneRow => ({
  write(t, to, [x = 0, by = 0]) {
    const amount = t.vector();
    const name = signed ? 'sshl' : 'ushl';
    if (shape === '4s') {
      const limit = t.constant([32]);
      t.emit('umin', v(amount, shape), v(by, shape), v(limit, shape));
      if (!left) t.emit('neg', v(amount, shape), v(amount, shape));
      t.emit(name, v(to, shape), v(x, shape), v(amount, shape));
      return;
    }
    const within = t.constant([64, 0]);
    t.emit('cmhi', v(within, shape), v(within, shape), v(by, shape));
    if (left) t.copy(amount, by);
    else t.emit('neg', v(amount, shape), v(by, shape));
    t.emit(name, v(amount, shape), v(x, shape), v(amount, shape));
    t.emit('and', v(to, '16b'), v(amount, '16b'), v(within, '16b'));
  },
});

const narrowed = (name: 'sqxtn' | 'sqxtun', wide: Shape, narrow: '8b' | '4h', whole: '16b' | '8h'): LaneRow => ({
  write(t, to, [a = 0, b = 0]) {
    const result = t.vector();
    t.emit(name, v(result, narrow), v(a, wide));
    t.emit(`${name}2`, v(result, whole), v(b, wide));
    t.copy(to, result);
  },
});

/** f32 to i32: what has no i32 is the least of them. */
const toIntegers = (name: 'fcvtzs' | 'fcvtns'): LaneRow => ({
  write(t, to, [x = 0]) {
    const [limit, least] = [t.constant([0x4f000000]), t.constant([0x80000000])];
    const result = t.vector();
    t.emit('fcmgt', v(limit, '4s'), v(limit, '4s'), v(x, '4s'));
    t.emit(name, v(result, '4s'), v(x, '4s'));
    t.emit('bsl', v(limit, '16b'), v(result, '16b'), v(least, '16b'));
    t.copy(to, limit);
  },
});

const ROUNDINGS: Readonly<Record<number, 'frintn' | 'frintm' | 'frintp' | 'frintz'>> = {
  ...{ 8: 'frintn', 9: 'frintm', 10: 'frintp', 11: 'frintz' },
};

/** Elements of 32 bits chosen by an immediate: the first two from `a`, the others from `b`. */
const chosen: Half = (t, to, [a = 0, b = a], choice) => {
  const at = (i: number) => (choice >> (2 * i)) & 3;
  const [even, odd] = [0x88, 0xdd];
  if (choice === even || choice === odd) {
    t.emit(choice === even ? 'uzp1' : 'uzp2', v(to, '4s'), v(a, '4s'), v(b, '4s'));
    return;
  }
  if (a === b && choice === 0x4e) {
    t.emit('ext', v(to, '16b'), v(a, '16b'), v(a, '16b'), 8);
    return;
  }
  if (a === b && choice === 0xb1) {
    t.emit('rev64', v(to, '4s'), v(a, '4s'));
    return;
  }
  if (a === b && choice % 0x55 === 0) {
    t.emit('dup', v(to, '4s'), lane(a, 's', at(0)));
    return;
  }
  if (a === b && choice === 0xee) {
    t.emit('dup', v(to, '2d'), lane(a, 'd', 1));
    return;
  }
  const result = t.vector();
  for (let i = 0; i < 4; i++) {
    t.emit('ins', lane(result, 's', i), lane(i < 2 ? a : b, 's', at(i)));
  }
  t.copy(to, result);
};

/** u8 times s8, neighbours added and held in 16 bits. */
const byteProducts: Half = (t, to, [a = 0, b = 0]) => {
  const [low, high, x, y] = [t.vector(), t.vector(), t.vector(), t.vector()];
  for (const [product, suffix, half] of [
    [low, '', '8b'],
    [high, '2', '16b'],
  ] as const) {
    t.emit(`ushll${suffix}`, v(x, '8h'), v(a, half), 0);
    t.emit(`sshll${suffix}`, v(y, '8h'), v(b, half), 0);
    t.emit('mul', v(product, '8h'), v(x, '8h'), v(y, '8h'));
  }
  t.emit('uzp1', v(x, '8h'), v(low, '8h'), v(high, '8h'));
  t.emit('uzp2', v(y, '8h'), v(low, '8h'), v(high, '8h'));
  t.emit('sqadd', v(to, '8h'), v(x, '8h'), v(y, '8h'));
};

/** s16 times s16, neighbours added. */
const wordProducts: Half = (t, to, [a = 0, b = 0]) => {
  const [low, high] = [t.vector(), t.vector()];
  t.emit('smull', v(low, '4s'), v(a, '4h'), v(b, '4h'));
  t.emit('smull2', v(high, '4s'), v(a, '8h'), v(b, '8h'));
  t.emit('addp', v(to, '4s'), v(low, '4s'), v(high, '4s'));
};

/** to += sums of four products of u8 and s8. */
const dotProducts: Half = (t, to, [sum = 0, a = 0, b = 0]) => {
  const { i8mm, dotprod } = t.extensions;
  if (sum !== to) throw unsupported('a sum in two places');
  if (i8mm) {
    t.emit('usdot', v(to, '4s'), v(a, '16b'), v(b, '16b'));
    return;
  }
  if (dotprod) {
    // a - 128 is signed, and 128 times the sum of b is put back in two halves, since 64 is the most that a signed byte has of it.
    const [flipped, part] = [t.vector(), t.vector()];
    t.emit('movi', v(part, '16b'), 128);
    t.emit('eor', v(flipped, '16b'), v(a, '16b'), v(part, '16b'));
    t.emit('sdot', v(to, '4s'), v(flipped, '16b'), v(b, '16b'));
    t.emit('movi', v(part, '16b'), 64);
    t.emit('sdot', v(to, '4s'), v(part, '16b'), v(b, '16b'));
    t.emit('sdot', v(to, '4s'), v(part, '16b'), v(b, '16b'));
    return;
  }
  const [low, high, x, y] = [t.vector(), t.vector(), t.vector(), t.vector()];
  for (const [product, suffix, half] of [
    [low, '', '8b'],
    [high, '2', '16b'],
  ] as const) {
    t.emit(`ushll${suffix}`, v(x, '8h'), v(a, half), 0);
    t.emit(`sshll${suffix}`, v(y, '8h'), v(b, half), 0);
    t.emit('mul', v(product, '8h'), v(x, '8h'), v(y, '8h'));
    t.emit('saddlp', v(product, '4s'), v(product, '8h'));
  }
  t.emit('addp', v(low, '4s'), v(low, '4s'), v(high, '4s'));
  t.emit('add', v(to, '4s'), v(to, '4s'), v(low, '4s'));
};

/** to += sums of four products of s8. */
const signedDotProducts: Half = (t, to, [sum = 0, a = 0, b = 0]) => {
  if (sum !== to) throw unsupported('a sum in two places');
  if (t.extensions.dotprod) {
    t.emit('sdot', v(to, '4s'), v(a, '16b'), v(b, '16b'));
    return;
  }
  const [low, high] = [t.vector(), t.vector()];
  t.emit('smull', v(low, '8h'), v(a, '8b'), v(b, '8b'));
  t.emit('smull2', v(high, '8h'), v(a, '16b'), v(b, '16b'));
  t.emit('saddlp', v(low, '4s'), v(low, '8h'));
  t.emit('saddlp', v(high, '4s'), v(high, '8h'));
  t.emit('addp', v(low, '4s'), v(low, '4s'), v(high, '4s'));
  t.emit('add', v(to, '4s'), v(to, '4s'), v(low, '4s'));
};

/** to += the product of two rows of 8 s8 and two columns of them. */
const matrixProducts: Half = (t, to, [sum = 0, a = 0, b = 0]) => {
  if (sum !== to || !t.extensions.i8mm) throw unsupported('products of matrices');
  t.emit('smmla', v(to, '4s'), v(a, '16b'), v(b, '16b'));
};

/** to += products of the lower or upper bf16 of each lane. */
const bf16Products =
  (mnemonic: 'bfmlalb' | 'bfmlalt'): Half =>
  (t, to, [sum = 0, a = 0, b = 0]) => {
    if (sum !== to || !t.extensions.bf16) throw unsupported('products of bf16');
    t.emit(mnemonic, v(to, '4s'), v(a, '8h'), v(b, '8h'));
  };

/** Bytes of the first by the low four bits of the second; 0 where that has its sign bit. */
const shuffled: Half = (t, to, [x = 0, by = 0]) => {
  const index = t.vector();
  t.emit('movi', v(index, '16b'), 0x8f);
  t.emit('and', v(index, '16b'), v(index, '16b'), v(by, '16b'));
  t.emit('tbl', v(to, '16b'), tableOf(x, 1), v(index, '16b'));
};

/** The first with the sign of the second, 0 where that is 0. */
const signed: Half = (t, to, [x = 0, by = 0]) => {
  const [negative, mask, some] = [t.vector(), t.vector(), t.vector()];
  t.emit('neg', v(negative, '16b'), v(x, '16b'));
  t.emit('cmlt', v(mask, '16b'), v(by, '16b'), 0);
  t.emit('cmtst', v(some, '16b'), v(by, '16b'), v(by, '16b'));
  t.emit('bsl', v(mask, '16b'), v(negative, '16b'), v(x, '16b'));
  t.emit('and', v(to, '16b'), v(mask, '16b'), v(some, '16b'));
};

/** One element of a vector operation; the rest is that of the first source. */
function scalars(): Readonly<Record<string, LaneRow>> {
  const found: Record<string, LaneRow> = {};
  for (const [suffix, of, element] of [
    ['ss', 'ps', 32],
    ['sd', 'pd', 64],
  ] as const) {
    for (const name of ['vadd', 'vsub', 'vmul', 'vdiv', 'vmin', 'vmax', 'vcmp', 'vsqrt']) {
      const row = WHOLE[`${name}${of}`];
      if (row !== undefined) found[`${name}${suffix}`] = { write: row.write, element };
    }
  }
  return found;
}

const WHOLE: Readonly<Record<string, LaneRow>> = {
  ...each(FLOATS, (shape, p) => [
    [`vadd${p}`, simple('fadd', shape)],
    [`vsub${p}`, simple('fsub', shape)],
    [`vmul${p}`, simple('fmul', shape)],
    [`vdiv${p}`, simple('fdiv', shape)],
    [`vsqrt${p}`, simple('fsqrt', shape)],
    [`vmin${p}`, lesser(shape, false)],
    [`vmax${p}`, lesser(shape, true)],
    [`vcmp${p}`, comparison(shape)],
    [`vand${p}`, simple('and', '16b')],
    [`vor${p}`, simple('orr', '16b')],
    [`vxor${p}`, simple('eor', '16b')],
    [`vandn${p}`, swapped('bic', '16b')],
    [
      `vround${p}`,
      {
        write(t, to, [x = 0], mode) {
          const name = ROUNDINGS[mode];
          if (name === undefined) throw unsupported(`rounding mode ${mode}`);
          t.emit(name, v(to, shape), v(x, shape));
        },
      },
    ],
    // The sign of the mask chooses.
    [
      `vblendv${p}`,
      {
        write(t, to, [a = 0, b = 0, by = 0]) {
          const mask = t.vector();
          t.emit('cmlt', v(mask, shape), v(by, shape), 0);
          t.emit('bsl', v(mask, '16b'), v(b, '16b'), v(a, '16b'));
          t.copy(to, mask);
        },
      },
    ],
    [`vunpckl${p}`, simple('zip1', shape)],
    [`vunpckh${p}`, simple('zip2', shape)],
    ...(['213', '231', '132'] as const).flatMap((order): [string, LaneRow][] => [
      [`vfmadd${order}${p}`, fused(order, false, false, shape)],
      [`vfmsub${order}${p}`, fused(order, false, true, shape)],
      [`vfnmadd${order}${p}`, fused(order, true, false, shape)],
    ]),
  ]),
  ...each(SHAPES, (shape, s) => [
    [`vpadd${s}`, simple('add', shape)],
    [`vpsub${s}`, simple('sub', shape)],
    [`vpcmpeq${s}`, simple('cmeq', shape)],
    [`vpcmpgt${s}`, simple('cmgt', shape)],
    [`vpabs${s}`, simple('abs', shape)],
    [`vpmaxs${s}`, simple('smax', shape)],
    [`vpmins${s}`, simple('smin', shape)],
    [`vpmaxu${s}`, simple('umax', shape)],
    [`vpminu${s}`, simple('umin', shape)],
  ]),
  ...each({ w: ['8h', 16], d: ['4s', 32], q: ['2d', 64] } as const, ([shape, bits], s) => [
    [`vpsll${s}`, shifted('shl', shape, bits)],
    [`vpsrl${s}`, shifted('ushr', shape, bits)],
    [`vpsra${s}`, shifted('sshr', shape, bits)],
  ]),
  ...each({ d: '4s', q: '2d' } as const, (shape, s) => [
    [`vpsllv${s}`, variable(shape, true, false)],
    [`vpsrlv${s}`, variable(shape, false, false)],
  ]),
  ...each({ bw: '16b', wd: '8h', dq: '4s', qdq: '2d' } as const, (shape, s) => [
    [`vpunpckl${s}`, simple('zip1', shape)],
    [`vpunpckh${s}`, simple('zip2', shape)],
  ]),
  vpsravd: variable('4s', false, true),
  vpmulld: simple('mul', '4s'),
  vpmullw: simple('mul', '8h'),
  vpand: simple('and', '16b'),
  vpor: simple('orr', '16b'),
  vpxor: simple('eor', '16b'),
  vpandn: swapped('bic', '16b'),
  vcvtdq2ps: simple('scvtf', '4s'),
  vcvttps2dq: toIntegers('fcvtzs'),
  vcvtps2dq: toIntegers('fcvtns'),
  vpackssdw: narrowed('sqxtn', '4s', '4h', '8h'),
  vpackusdw: narrowed('sqxtun', '4s', '4h', '8h'),
  vpacksswb: narrowed('sqxtn', '8h', '8b', '16b'),
  vpackuswb: narrowed('sqxtun', '8h', '8b', '16b'),
  vpshufd: { write: chosen },
  vshufps: { write: chosen },
  vpshufb: { write: shuffled },
  vpsignb: { write: signed },
  vpmaddubsw: { write: byteProducts },
  vpmaddwd: { write: wordProducts },
  '{vex} vpdpbusd': { updates: true, write: dotProducts },
  vpdpbssd: { updates: true, write: signedDotProducts },
  smmla: { updates: true, write: matrixProducts },
  bfmlalb: { updates: true, write: bf16Products('bfmlalb') },
  bfmlalt: { updates: true, write: bf16Products('bfmlalt') },
};

export const LANES: Readonly<Record<string, LaneRow>> = { ...WHOLE, ...scalars() };
