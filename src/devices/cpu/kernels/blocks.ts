/**
 * Where the blocks of a file have what a tile has (levels.ts): a row for each integer format. The layouts are ggml's,
 * described in numerics/quant/.
 */
import { eax, rax, rcx, sized, xmm } from '../asm/operands.ts';
import {
  aroundZero,
  bitsOf256,
  bitsOfWord,
  byteAt,
  byteIndex,
  bytesAt,
  completeSigns,
  field,
  joinedIndex,
  nibble,
  nibblesOf16,
  nibblesOf32,
  nibblesOf64,
  odd,
  type PlaneSource,
  pairsOf128,
  pointsAndSigns,
  repeated,
  type SubSource,
  seven,
  signedPoints,
  sixBits,
  source,
  ternaryDigits,
  word,
} from './block-sources.ts';
import { type IntegerFormat, levelsOf } from './levels.ts';

export interface BlockParts {
  readonly planes: readonly PlaneSource[];
  /** Where d is: f16, or a byte. */
  readonly d: number;
  /** What d is multiplied by where a tile has it as f32. */
  readonly factor?: number;
  readonly scale?: SubSource;
  /** Where m or dmin is, f16; and mn. */
  readonly minimum?: number;
  readonly mn?: SubSource;
}

export const blocks: Readonly<Record<IntegerFormat, BlockParts>> = {
  q8_0: {
    d: 0,
    planes: [
      (a) => {
        for (const part of [0, 1]) {
          a.emit('vmovdqu', xmm(part), source(2 + 16 * part));
          a.emit('vpxor', xmm(part), xmm(part), repeated(a, [0x80]));
        }
      },
    ],
  },
  q4_0: { d: 0, planes: [nibblesOf32(2)] },
  q4_1: { d: 0, minimum: 2, planes: [nibblesOf32(4)] },
  q5_0: { d: 0, planes: [nibblesOf32(6), bitsOfWord(() => 2)] },
  q5_1: { d: 0, minimum: 2, planes: [nibblesOf32(8), bitsOfWord(() => 4)] },
  q2_K: {
    d: 80,
    minimum: 82,
    scale: nibble((sub) => ({ at: sub, shift: 0 })),
    mn: nibble((sub) => ({ at: sub, shift: 4 })),
    planes: [pairsOf128(16)],
  },
  q3_K: {
    d: 108,
    scale: aroundZero(
      (sub) => ({ at: 96 + (sub & 7), shift: 4 * (sub >> 3) }),
      (sub) => ({ at: 104 + (sub & 3), shift: 2 * (sub >> 2) }),
    ),
    planes: [pairsOf128(32), bitsOf256(0)],
  },
  q4_K: { d: 0, minimum: 2, scale: sixBits(4, false), mn: sixBits(4, true), planes: [nibblesOf64(16)] },
  q5_K: { d: 0, minimum: 2, scale: sixBits(4, false), mn: sixBits(4, true), planes: [nibblesOf64(48), bitsOf256(16)] },
  q6_K: {
    d: 208,
    scale: bytesAt(192),
    planes: [
      field(
        4,
        (group) => 64 * (group >> 2) + 32 * (group & 1),
        (group) => 2 * (group & 2),
      ),
      pairsOf128(128),
    ],
  },
  iq4_nl: { d: 0, planes: [nibblesOf32(2)] },
  iq4_xs: {
    d: 0,
    scale: aroundZero(
      (sub) => ({ at: 4 + (sub >> 1), shift: 4 * (sub & 1) }),
      (sub) => ({ at: 2 + (sub >> 2), shift: 2 * (sub & 3) }),
    ),
    planes: [nibblesOf32(8)],
  },
  mxfp4: { d: 0, planes: [nibblesOf32(1)] },
  nvfp4: { d: 0, planes: [nibblesOf16(4)] },
  tq1_0: { d: 52, planes: [ternaryDigits] },
  tq2_0: { d: 64, planes: [pairsOf128(0)] },
  iq2_xxs: {
    d: 0,
    factor: 1 / 8,
    scale: odd((sub) => ({ at: 9 + 8 * sub, shift: 4 })),
    planes: pointsAndSigns({
      name: 'iq2_xxs',
      size: 8,
      index: (a, group, point) => a.emit('movzx', eax, byteAt(2 + 8 * group + point)),
      signs: seven((group) => 6 + 8 * group),
    }),
  },
  iq2_xs: {
    d: 0,
    factor: 1 / 8,
    scale: odd((sub) => ({ at: 66 + (sub >> 1), shift: 4 * (sub & 1) })),
    planes: pointsAndSigns({
      name: 'iq2_xs',
      size: 8,
      index(a, group, point) {
        a.emit('movzx', eax, sized(source(2 + 8 * group + 2 * point), 16));
        a.emit('and', eax, 511);
      },
      signs(a, group) {
        // The upper 7 bits of each half.
        a.emit('mov', rcx, 0xfe00fe00fe00fe00n);
        a.emit('mov', rax, source(2 + 8 * group));
        a.emit('pext', rax, rax, rcx);
        completeSigns(a);
      },
    }),
  },
  iq2_s: {
    d: 0,
    factor: 1 / 8,
    scale: odd((sub) => ({ at: 74 + (sub >> 1), shift: 4 * (sub & 1) })),
    planes: pointsAndSigns({
      name: 'iq2_s',
      size: 8,
      index: joinedIndex(2, 66, 8),
      signs: word((group) => 34 + 4 * group),
    }),
  },
  iq3_xxs: {
    d: 0,
    factor: 1 / 4,
    scale: odd((sub) => ({ at: 69 + 4 * sub, shift: 4 })),
    planes: signedPoints({
      name: 'iq3_xxs',
      size: 4,
      index: byteIndex(2, 4),
      signs: seven((group) => 66 + 4 * group),
    }),
  },
  iq3_s: {
    d: 0,
    scale: odd((sub) => ({ at: 106 + (sub >> 1), shift: 4 * (sub & 1) })),
    planes: signedPoints({
      name: 'iq3_s',
      size: 4,
      index: joinedIndex(2, 66, 4),
      signs: word((group) => 74 + 4 * group),
    }),
  },
};

/** Makes d, and the scale of minima, of a block a power of two. */
export function writeD(format: IntegerFormat, block: Uint8Array, exponent: number): void {
  const { d, minimum } = blocks[format];
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  if (levelsOf(format).d === 'e4m3') {
    for (let part = 0; part < 4; part++) view.setUint8(d + part, (7 + exponent) << 3);
    return;
  }
  if (levelsOf(format).d === 'e8m0') {
    view.setUint8(d, 127 + exponent);
    return;
  }
  view.setUint16(d, (15 + exponent) << 10, true);
  if (minimum !== undefined) view.setUint16(minimum, (15 + exponent) << 10, true);
}
