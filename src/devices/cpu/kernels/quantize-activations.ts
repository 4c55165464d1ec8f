/**
 * Activations f32 [T, K] to the integers that the `i8` dot numerics multiply: `quantizeActivations` of numerics/dot.ts,
 * bit for bit. The result is one record a token and block, rows of them one after another:
 *
 *   blocks of 16 or 32:        i8[16 or 32]; f32 d; i16[2] -8 * sums
 *   blocks of 256:             for each 32 k i8[32] and i16[2][2] -32 * sums of each 16; i16[8] sums of each 32; f32 d
 *   the same for tiles:        i8[256]; i16[8] sums of each 32; i16[16] sums of each 16; f32 d; 12 bytes
 *
 * where "sums" are two: of the k with k mod 4 in {0, 1} and in {2, 3}, the halves of a dword lane. Kernels start their i16
 * chains at them, which makes levels that are stored unsigned (q + 8, q + 32) signed again for no instruction. In records
 * for tiles 64 k lie in a line of the cache, a row of a tile, and sums are one number.
 */
import type { Dim } from '../../../ir/types.ts';
import type { Assembler } from '../asm/assembler.ts';
import { type Gp, lanes, type Mem, offset, ptr, r9, r10, rax, rip, type Vec, xmm, ymm } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel, loadPattern } from './frame.ts';

export const records = {
  16: { bytes: 24, d: 16, sums: 20 },
  32: { bytes: 40, d: 32, sums: 36 },
  /** `step`: from what belongs to 32 k to the same of the next 32. */
  256: { bytes: 340, step: 40, sums: 32, sums32: 320, d: 336 },
  tiles: { bytes: 320, step: 32, sums32: 256, sums16: 272, d: 304 },
} as const;

export type RecordKind = keyof typeof records;

/** Of one block, where that is no tile of 256. */
export const smallRecords = (block: 16 | 32 | 256) => records[block === 16 ? 16 : 32];

/** Activations of a record. */
export const recordSize = (kind: RecordKind): number => (kind === 'tiles' ? 256 : kind);

/** Buffers: x f32 [T, K], activations. A unit of work is a block. */
export function quantizeActivationsKernel(kind: RecordKind, tokens: Dim, K: number): EmittedKernel {
  const { bytes: record, d } = records[kind];
  const block = recordSize(kind);
  return buildKernel(
    { name: `quantize_activations_${kind}_${K}`, buffers: ['x', 'activations'], tokens, stackBytes: 0 },
    ({ a, loadTokens }) => {
      loadTokens(rax);
      a.emit('imul', rax, rax, K / block);
      loadPattern(a, MAGNITUDE, [255, 255, 255, 127]);
      loadPattern(a, ONES, [1]);
      a.emit('vmovdqa', ORDER, rip(a.constant(Uint32Array.of(0, 4, 1, 5, 2, 6, 3, 7))));
    },
    ({ a, unit, address }) => {
      const [x, to] = [r9, r10];
      a.emit('mov', x, unit);
      a.emit('shl', x, Math.log2(4 * block));
      a.emit('add', x, address('x'));
      a.emit('imul', to, unit, record);
      a.emit('add', to, address('activations'));
      emitScale(a, block, x, ptr(to, d));
      if (kind === 16) {
        emitLevels(a, ptr(x), 2);
        a.emit('vmovdqu', ptr(to), xmm(LEVELS.id));
        a.emit('vpmaddubsw', SUMS, ONES, LEVELS);
        emitAcross(a, xmm(SUMS.id));
        emitNegated(a, xmm(SUMS.id), 3);
        a.emit('vmovd', ptr(to, records[16].sums), xmm(SUMS.id));
        return;
      }
      for (let part = 0; part < block / 32; part++) {
        const levels = ptr(to, kind === 32 ? 0 : records[kind].step * part);
        emitLevels(a, ptr(x, 128 * part), 4);
        a.emit('vmovdqu', levels, LEVELS);
        a.emit('vpmaddubsw', SUMS, ONES, LEVELS);
        switch (kind) {
          case 32:
            emitSums32(a, ptr(to, records[32].sums));
            break;
          case 256:
            emitWholeSums(a, ptr(to, records[256].sums32 + 2 * part));
            emitHalfSums(a, offset(levels, records[256].sums));
            break;
          case 'tiles':
            emitWholeSums(a, ptr(to, records.tiles.sums32 + 2 * part), ptr(to, records.tiles.sums16 + 4 * part));
            break;
          default:
            kind satisfies never;
        }
      }
    },
  );
}

const LEVELS = ymm(0);
const SUMS = ymm(1);
const ONES = ymm(11);
const ORDER = ymm(12);
const MAGNITUDE = ymm(13);
/** The factor 1 / d, and a mask that is 0 where all levels are zero. */
const INVERSE = ymm(14);
const SOME = ymm(15);

const float = (a: Assembler, value: number) => rip(a.constant(Float32Array.of(value)));

/** d of `block` floats at `x` to `d`. Magnitudes are compared as integers, among which NaN and infinity are the largest. */
function emitScale(a: Assembler, block: number, x: Gp, d: Mem): void {
  const largest = ymm(0);
  const other = ymm(1);
  a.emit('vandps', largest, MAGNITUDE, ptr(x));
  for (let k = 8; k < block; k += 8) {
    a.emit('vandps', other, MAGNITUDE, ptr(x, 4 * k));
    a.emit('vpmaxsd', largest, largest, other);
  }
  const [low, high] = [xmm(0), xmm(1)];
  a.emit('vextracti128', high, largest, 1);
  for (const order of [undefined, 0x4e, 0xb1]) {
    if (order !== undefined) a.emit('vpshufd', high, low, order);
    a.emit('vpmaxsd', low, low, high);
  }
  const [finite, normal, nan] = [xmm(1), xmm(2), xmm(3)];
  const [LESS, NOT_LESS] = [0x11, 0x0d]; // false for NaN
  a.emit('vdivss', low, low, float(a, 127));
  a.emit('vcmpss', finite, low, float(a, Number.POSITIVE_INFINITY), LESS);
  a.emit('vcmpss', normal, low, float(a, 2 ** -126), NOT_LESS);
  a.emit('vandps', normal, normal, finite);
  a.emit('vmovss', nan, float(a, Number.NaN));
  a.emit('vandnps', nan, finite, nan);
  a.emit('vbroadcastss', SOME, normal);
  a.emit('vandps', normal, normal, low);
  a.emit('vorps', normal, normal, nan);
  a.emit('vmovss', d, normal);
  a.emit('vmovss', normal, float(a, 1));
  a.emit('vdivss', normal, normal, low);
  a.emit('vbroadcastss', INVERSE, normal);
}

/** LEVELS = 8 floats at `x`, so many times, as i8; of two, in the lower half. */
function emitLevels(a: Assembler, x: Mem, count: 2 | 4): void {
  const parts = [LEVELS, ymm(1), ymm(2), ymm(3)] as const;
  parts.slice(0, count).forEach((part, i) => {
    a.emit('vmulps', part, INVERSE, offset(x, 32 * i));
    a.emit('vcvtps2dq', part, part);
    a.emit('vpand', part, part, SOME);
  });
  a.emit('vpackssdw', parts[0], parts[0], parts[1]);
  if (count === 4) a.emit('vpackssdw', parts[2], parts[2], parts[3]);
  a.emit('vpacksswb', parts[0], parts[0], count === 4 ? parts[2] : parts[0]);
  a.emit('vpermd', LEVELS, ORDER, LEVELS);
}

/** Adds the dwords of i16 pairs in each 128 bits of SUMS; all four then hold the total. */
function emitAcross(a: Assembler, sums: Vec): void {
  const other = lanes(ymm(2), sums.bits);
  for (const order of [0x4e, 0xb1]) {
    a.emit('vpshufd', other, sums, order);
    a.emit('vpaddw', sums, sums, other);
  }
}

function emitSums32(a: Assembler, sums: Mem): void {
  const [low, high] = [xmm(SUMS.id), xmm(2)];
  a.emit('vextracti128', high, SUMS, 1);
  a.emit('vpaddw', low, low, high);
  emitAcross(a, low);
  emitNegated(a, low, 3);
  a.emit('vmovd', sums, low);
}

/** The sum of 32 k and, where there is a place, the sums of 16. The dwords of SUMS are then sums in two halves, of 16 k. */
function emitWholeSums(a: Assembler, sums32: Mem, sums16?: Mem): void {
  const [low, high] = [xmm(2), xmm(3)];
  emitAcross(a, SUMS);
  a.emit('vpmaddwd', ymm(2), SUMS, rip(a.constant(new Int16Array(16).fill(1))));
  a.emit('vextracti128', high, ymm(2), 1);
  if (sums16 !== undefined) {
    a.emit('vpextrw', sums16, low, 0);
    a.emit('vpextrw', offset(sums16, 2), high, 0);
  }
  a.emit('vpaddd', low, low, high);
  a.emit('vpextrw', sums32, low, 0);
}

function emitHalfSums(a: Assembler, sums: Mem): void {
  const high = xmm(2);
  emitNegated(a, SUMS, 5);
  a.emit('vmovd', sums, xmm(SUMS.id));
  a.emit('vextracti128', high, SUMS, 1);
  a.emit('vmovd', offset(sums, 4), high);
}

/** sums = -sums * 2^shift */
function emitNegated(a: Assembler, sums: Vec, shift: number): void {
  const zero = lanes(ymm(4), sums.bits);
  a.emit('vpxor', zero, zero, zero);
  a.emit('vpsubw', sums, zero, sums);
  a.emit('vpsllw', sums, sums, shift);
}
