/**
 * What fetches the parts of a tile (levels.ts) from a block of a file, as code: bits of planes and numbers of sub-blocks. Code
 * here may use rax, rcx, rdx and registers xmm0 to xmm9; a block begins at r9.
 */
import { type GridName, iqGrid } from '../../../numerics/quant/iq-grids.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  eax,
  ecx,
  edx,
  indexed,
  lanes,
  type Mem,
  offset,
  ptr,
  r9,
  rax,
  rcx,
  rdx,
  rip,
  sized,
  type Xmm,
  xmm,
  ymm,
} from '../asm/operands.ts';

/** The bits that a plane has of 32 k, a byte each: k 0 to 15 in xmm0, 16 to 31 in xmm1. */
export type PlaneSource = (a: Assembler, group: number) => void;
/** A number of a sub-block to eax. */
export type SubSource = (a: Assembler, sub: number) => void;

export const source = (at: number): Mem => ptr(r9, at);
export const byteAt = (at: number): Mem => sized(source(at), 8);
export const repeated = (a: Assembler, bytes: readonly number[]): Mem =>
  rip(a.constant(Uint8Array.from({ length: 16 }, (_, i) => bytes[i % bytes.length] as number)));

/** `bits` bits from `shift` on of each of 32 bytes, or, of 16 bytes, from `shift` on and from `shift` + 4 on. */
export function field(
  bits: number,
  at: (group: number) => number,
  shift: (group: number) => number,
  bytes: 16 | 32 = 32,
): PlaneSource {
  return (a, group) => {
    const parts: readonly (readonly [Xmm, number, number])[] = [
      [xmm(0), at(group), shift(group)],
      [xmm(1), at(group) + bytes - 16, shift(group) + (bytes === 16 ? 4 : 0)],
    ];
    for (const [register, from, first] of parts) {
      a.emit('vmovdqu', register, source(from));
      if (first > 0) a.emit('vpsrlw', register, register, first);
      a.emit('vpand', register, register, repeated(a, [2 ** bits - 1]));
    }
  };
}

/** 16 bytes for each 32 k: k in the low nibble of byte k, k + 16 in the high one. */
export const nibblesOf32 = (at: number) =>
  field(
    4,
    (group) => at + 16 * group,
    () => 0,
    16,
  );
/** 8 bytes for each 16 k: k in the low nibble of byte k, k + 8 in the high one. */
export const nibblesOf16 =
  (at: number): PlaneSource =>
  (a, group) => {
    const [low, high] = [xmm(2), xmm(3)];
    a.emit('vmovdqu', high, source(at + 16 * group));
    a.emit('vpand', low, high, repeated(a, [15]));
    a.emit('vpsrlw', high, high, 4);
    a.emit('vpand', high, high, repeated(a, [15]));
    a.emit('vpunpcklqdq', xmm(0), low, high);
    a.emit('vpunpckhqdq', xmm(1), low, high);
  };
/** 32 bytes for each 64 k: k in the low nibbles, k + 32 in the high ones. */
export const nibblesOf64 = (at: number) =>
  field(
    4,
    (group) => at + 32 * (group >> 1),
    (group) => 4 * (group & 1),
  );
/** 32 bytes for each 128 k: 32 k after another at bits 0, 2, 4 and 6. */
export const pairsOf128 = (at: number) =>
  field(
    2,
    (group) => at + 32 * (group >> 2),
    (group) => 2 * (group & 3),
  );
/** 32 bytes for 256 k: 32 k after another at bits 0 to 7. */
export const bitsOf256 = (at: number) =>
  field(
    1,
    () => at,
    (group) => group,
  );

/** The scales and minima of Q4_K and Q5_K, 6 bits each, in 12 bytes: of sub-blocks 0-3 whole in bytes 0-3 and 4-7, of 4-7 in bytes 8-11 and on top of those. */
export function sixBits(at: number, isMinimum: boolean): SubSource {
  return (a, sub) => {
    const first = at + (isMinimum ? 4 : 0) + (sub & 3);
    a.emit('movzx', eax, byteAt(first));
    if (sub < 4) {
      a.emit('and', eax, 63);
      return;
    }
    a.emit('shr', eax, 6);
    a.emit('shl', eax, 4);
    a.emit('movzx', ecx, byteAt(at + 4 + sub));
    if (isMinimum) a.emit('shr', ecx, 4);
    else a.emit('and', ecx, 15);
    a.emit('or', eax, ecx);
  };
}

export const bytesAt =
  (at: number): SubSource =>
  (a, sub) =>
    a.emit('movzx', eax, byteAt(at + sub));

/** `bits` bits from `shift` on of a byte. */
type Bits = (sub: number) => { readonly at: number; readonly shift: number };

function fetchBits(a: Assembler, register: typeof eax, { at, shift }: ReturnType<Bits>, bits: 2 | 4): void {
  a.emit('movzx', register, byteAt(at));
  if (shift > 0) a.emit('shr', register, shift);
  a.emit('and', register, 2 ** bits - 1);
}

export const nibble =
  (bits: Bits): SubSource =>
  (a, sub) =>
    fetchBits(a, eax, bits(sub), 4);

/** 4 bits and above them 2, less 32. */
export const aroundZero =
  (low: Bits, high: Bits): SubSource =>
  (a, sub) => {
    fetchBits(a, eax, low(sub), 4);
    fetchBits(a, ecx, high(sub), 2);
    a.emit('shl', ecx, 4);
    a.emit('lea', eax, offset(indexed(rax, rcx), -32));
  };

/** 4 bits, which mean an odd number. */
export const odd =
  (bits: Bits): SubSource =>
  (a, sub) => {
    fetchBits(a, eax, bits(sub), 4);
    a.emit('lea', eax, offset(indexed(rax, rax), 1));
  };

/** xmm0 and xmm1: a byte 1 for each bit of eax. */
function spreadBits(a: Assembler): void {
  a.emit('vmovd', xmm(1), eax);
  const bytesOf = (first: number) => [0, 1].flatMap((byte) => new Array<number>(8).fill(first + byte));
  for (const [i, register] of [xmm(0), xmm(1)].entries()) {
    a.emit('vpshufb', register, xmm(1), repeated(a, bytesOf(2 * i)));
    a.emit('vpand', register, register, repeated(a, [1, 2, 4, 8, 16, 32, 64, 128]));
    a.emit('vpcmpeqb', register, register, repeated(a, [1, 2, 4, 8, 16, 32, 64, 128]));
    a.emit('vpand', register, register, repeated(a, [1]));
  }
}

/** Bit k of a word belongs to value k. */
export const bitsOfWord =
  (at: (group: number) => number): PlaneSource =>
  (a, group) => {
    a.emit('mov', eax, source(at(group)));
    spreadBits(a);
  };

/** Digits of bytes in base 3, as ggml's TQ1_0 has them: value 32 * g + k of the first 160 is digit g of byte k, and so on. */
export const ternaryDigits: PlaneSource = (a, group) => {
  const powers = [1, 3, 9, 27, 81];
  const words = (counts: readonly number[]) =>
    rip(a.constant(Int16Array.from({ length: 16 }, (_, i) => counts[i % counts.length] as number)));
  for (const part of [0, 1]) {
    const [wide, result] = [ymm(4), xmm(part)];
    const isLast = group === 7 && part === 1;
    const digit = group < 5 ? group : 2 * (group - 5) + part;
    if (isLast) {
      a.emit('vpbroadcastd', xmm(4), source(48));
      a.emit('vpmovzxbw', wide, xmm(4));
    } else {
      a.emit('vpmovzxbw', wide, source(group < 5 ? 16 * part : 32));
    }
    const factors = isLast
      ? powers.slice(0, 4).flatMap((power) => [power, power, power, power])
      : [powers[digit] as number];
    a.emit('vpmullw', wide, wide, words(factors));
    a.emit('vpand', wide, wide, words([255]));
    a.emit('vpmullw', wide, wide, words([3]));
    a.emit('vpsrlw', wide, wide, 8);
    a.emit('vextracti128', result, wide, 1);
    a.emit('vpackuswb', result, lanes(wide, 128), result);
  }
};

/** eax: the low 28 bits of it as 4 bytes of 7 signs, each with the sign that makes the number of them even. Changes ecx. */
export function completeSigns(a: Assembler): void {
  a.emit('mov', ecx, 0x7f7f7f7f);
  a.emit('pdep', eax, eax, ecx);
  a.emit('mov', ecx, eax);
  for (const shift of [4, 2, 1]) {
    a.emit('mov', edx, ecx);
    a.emit('shr', edx, shift);
    a.emit('xor', ecx, edx);
  }
  a.emit('and', ecx, 0x01010101);
  a.emit('shl', ecx, 7);
  a.emit('or', eax, ecx);
}

interface Grid {
  readonly name: GridName;
  /** Values of a point. */
  readonly size: 4 | 8;
  /** The number of a point of 32 k to eax. */
  index(a: Assembler, group: number, point: number): void;
  /** 32 signs to eax. */
  signs(a: Assembler, group: number): void;
}

/** Numbers of magnitudes, ascending, in xmm0 and xmm1: 32 k of points. */
function fetchPoints(a: Assembler, { name, size, index }: Grid, group: number): void {
  const grid = iqGrid(name);
  const magnitudes = [...new Set(grid)].sort((one, two) => one - two);
  const numbers = rip(
    a.constant(
      grid.map((magnitude) => magnitudes.indexOf(magnitude)),
      64,
    ),
  );
  a.emit('lea', rdx, numbers);
  for (let point = 0; point < 32 / size; point++) {
    index(a, group, point);
    const register = xmm((size * point) >> 4);
    const from = indexed(rdx, rax, size);
    const at = point % (16 / size);
    if (at > 0) a.emit(size === 8 ? 'vpinsrq' : 'vpinsrd', register, register, from, at);
    else a.emit(size === 8 ? 'vmovq' : 'vmovd', register, from);
  }
}

/** Two bits of magnitudes, and signs. */
export const pointsAndSigns = (grid: Grid): readonly PlaneSource[] => [
  (a, group) => fetchPoints(a, grid, group),
  (a, group) => {
    grid.signs(a, group);
    spreadBits(a);
  },
];

/** Three bits of magnitudes below the sign. */
export const signedPoints = (grid: Grid): readonly PlaneSource[] => [
  (a, group) => {
    grid.signs(a, group);
    spreadBits(a);
    for (const part of [0, 1]) a.emit('vpsllw', xmm(2 + part), xmm(part), 3);
    fetchPoints(a, grid, group);
    for (const part of [0, 1]) a.emit('vpor', xmm(part), xmm(part), xmm(2 + part));
  },
];

export const byteIndex = (at: number, size: 4 | 8) => (a: Assembler, group: number, point: number) =>
  a.emit('movzx', eax, byteAt(at + (32 / size) * group + point));

export const word = (at: (group: number) => number) => (a: Assembler, group: number) =>
  a.emit('mov', eax, source(at(group)));

/** A byte, with `bits` bits of another above it. */
export const joinedIndex =
  (at: number, highAt: number, size: 4 | 8) => (a: Assembler, group: number, point: number) => {
    const bits = size / 4;
    a.emit('movzx', ecx, byteAt(highAt + group));
    if (point > 0) a.emit('shr', ecx, bits * point);
    a.emit('and', ecx, 2 ** bits - 1);
    a.emit('shl', ecx, 8);
    byteIndex(at, size)(a, group, point);
    a.emit('or', eax, ecx);
  };

export const seven = (at: (group: number) => number) => (a: Assembler, group: number) => {
  word(at)(a, group);
  completeSigns(a);
};
