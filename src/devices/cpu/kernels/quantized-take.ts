/**
 * `quantized_take`: rows of a packed weight [N, K] in f32, bit-equal to what the format's `decode` gives. Ids out of range
 * clamp. A unit of work is a row.
 */
import type { Dim } from '../../../ir/types.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  eax,
  ecx,
  indexed,
  type Mem,
  ptr,
  r9,
  r10,
  r11,
  r12,
  r12d,
  r13,
  r14,
  rax,
  rcx,
  rip,
  sized,
  type Xmm,
  xmm,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel, loadPattern } from './frame.ts';
import { blockOf, isIntegerFormat, type Levels, layoutOf, levelsOf } from './levels.ts';
import { type PackedFormat, packedFormat, panelBytes, panelRows, tileSize } from './packing.ts';
import { emitQuads, quadConstants, quadsOf32 } from './quads.ts';
import { emitD } from './scales.ts';

export interface TakeShape {
  readonly format: string;
  readonly tokens: Dim;
  /** Ids of a token. */
  readonly each: number;
  readonly N: number;
  readonly K: number;
}

/**
 * Buffers: ids i32 [T, each], weight (packed), y f32 [T, each, K].
 * @throws IngotError 'UnsupportedOp' for a format without a packed layout.
 */
export function quantizedTakeKernel({ format: name, tokens, each, N, K }: TakeShape): EmittedKernel {
  const format = packedFormat(name);
  const { size, bytes } = tileSize(format);
  // r9 tile, r10 result, r11 end of the whole tiles; r12, r13 and r14: one, two and four times the lane.
  return buildKernel(
    { name: `quantized_take_${format}_${N}x${K}`, buffers: ['ids', 'weight', 'y'], tokens, stackBytes: 0 },
    ({ a, loadTokens }) => {
      loadTokens(rax);
      if (each > 1) a.emit('imul', rax, rax, each);
      if (isIntegerFormat(format)) loadConstants(a, levelsOf(format));
    },
    ({ a, unit, address }) => {
      a.emit('mov', rcx, address('ids'));
      a.emit('mov', eax, indexed(rcx, unit, 4));
      a.emit('xor', ecx, ecx);
      a.emit('test', eax, eax);
      a.emit('cmovs', eax, ecx);
      a.emit('mov', ecx, N - 1);
      a.emit('cmp', eax, ecx);
      a.emit('cmova', eax, ecx);
      a.emit('mov', r12d, eax);
      a.emit('and', r12d, panelRows - 1);
      a.emit('lea', r13, indexed(r12, r12));
      a.emit('lea', r14, indexed(r13, r13));
      a.emit('shr', eax, Math.log2(panelRows));
      a.emit('imul', r9, rax, panelBytes(format, K));
      a.emit('add', r9, address('weight'));
      a.emit('imul', r10, unit, 4 * K);
      a.emit('add', r10, address('y'));

      const whole = Math.floor(K / size);
      if (whole > 0) {
        a.emit('lea', r11, ptr(r9, whole * bytes));
        const next = a.here();
        emitTile(a, format, size);
        a.emit('add', r9, bytes);
        a.emit('add', r10, 4 * size);
        a.emit('cmp', r9, r11);
        a.emit('jb', next);
      }
      if (K % size > 0) emitTile(a, format, K % size);
    },
  );
}

/** The row's bytes, halves and dwords of the tile at r9. */
const byteAt = (at: number): Mem => indexed(r9, r12, 1, at);
const halfAt = (at: number): Mem => indexed(r9, r13, 1, at);
const dwordAt = (at: number): Mem => indexed(r9, r14, 1, at);

/** The first `count` values of the tile at r9 to r10. */
function emitTile(a: Assembler, format: PackedFormat, count: number): void {
  if (isIntegerFormat(format)) {
    emitIntegers(a, levelsOf(format));
    return;
  }
  switch (format) {
    case 'f32':
      a.emit('mov', eax, dwordAt(0));
      a.emit('mov', ptr(r10), eax);
      return;
    case 'f16':
      a.emit('movzx', eax, sized(halfAt(0), 16));
      a.emit('vmovd', VALUES, eax);
      a.emit('vcvtph2ps', VALUES, VALUES);
      a.emit('vmovss', ptr(r10), VALUES);
      return;
    case 'bf16':
      a.emit('mov', eax, dwordAt(0));
      a.emit('mov', ecx, eax);
      a.emit('shl', eax, 16);
      a.emit('mov', ptr(r10), eax);
      if (count < 2) return;
      a.emit('and', ecx, 0xffff0000);
      a.emit('mov', ptr(r10, 4), ecx);
      return;
    case 'e4m3_32':
    case 'e5m2_32':
      emitEightBits(a, format);
      return;
    default:
      format satisfies never;
  }
}

/** As float-values.ts decodes them. */
function emitEightBits(a: Assembler, format: 'e4m3_32' | 'e5m2_32'): void {
  a.emit('vmovss', SCALE, dwordAt(0));
  if (format === 'e4m3_32') a.emit('vmulss', SCALE, SCALE, rip(a.constant(Float32Array.of(256))));
  for (let k = 0; k < 32; k++) {
    a.emit('movsx', eax, sized(byteAt(64 + 16 * k), 8));
    if (format === 'e5m2_32') {
      a.emit('shl', eax, 8);
    } else {
      a.emit('shl', eax, 7);
      a.emit('and', eax, 0xbf80);
      a.emit('mov', ecx, eax);
      a.emit('or', ecx, 0x8000);
      a.emit('cmp', ecx, 0xbf80);
      a.emit('mov', ecx, 0xffff);
      a.emit('cmove', eax, ecx);
    }
    a.emit('vmovd', VALUES, eax);
    a.emit('vcvtph2ps', VALUES, VALUES);
    a.emit('vmulss', VALUES, VALUES, SCALE);
    a.emit('vmovss', ptr(r10, 4 * k), VALUES);
  }
}

const [VALUES, LEVELS, SCALE, MINIMUM, T] = [xmm(0), xmm(1), xmm(2), xmm(3), xmm(4)];
const planes = [xmm(5), xmm(6)];
const constantAt = (i: number) => xmm(7 + i);

function loadConstants(a: Assembler, format: Levels): void {
  for (const [i, pattern] of quadConstants(format, 'value').entries()) loadPattern(a, constantAt(i), pattern);
}

/** A whole tile, four values at a time. */
function emitIntegers(a: Assembler, format: Levels): void {
  const { size, sub, d, scales, minima } = format;
  const layout = layoutOf(format);
  const registers = {
    planes,
    temporary: T,
    constants: quadConstants(format, 'value').map((_, i) => constantAt(i)),
    level: () => LEVELS,
  };
  const quadsOfSub = quadsOf32.slice(0, sub / 4);
  for (let start = 0; start < size; start += Math.min(sub, 32)) {
    const number = Math.floor(start / sub);
    if (start % sub === 0) {
      emitRowD(a, d, layout.d[Math.floor(start / blockOf(format))] as number);
      if (scales !== undefined) emitTimesByte(a, SCALE, layout.scales + 16 * number, scales === 's8');
      if (minima !== undefined) {
        a.emit('vpbroadcastw', T, halfAt(layout.minimum));
        a.emit('vcvtph2ps', MINIMUM, T);
      }
      if (minima === 'sub') emitTimesByte(a, MINIMUM, layout.minima + 16 * number, false);
    }
    const [group, first] = [start >> 5, (start & 31) / 4];
    const quads = quadsOfSub.map((quad) => first + quad);
    emitQuads(
      a,
      format,
      'value',
      quads,
      (at) => dwordAt(at + layout.step * group),
      registers,
      (quad) => {
        a.emit('vpmovsxbd', VALUES, LEVELS);
        a.emit('vcvtdq2ps', VALUES, VALUES);
        a.emit('vmulps', VALUES, VALUES, SCALE);
        if (minima !== undefined) a.emit('vsubps', VALUES, VALUES, MINIMUM);
        a.emit('vmovups', ptr(r10, 128 * group + 16 * quad), VALUES);
      },
    );
  }
}

/** SCALE = the row's d, in all lanes. */
function emitRowD(a: Assembler, d: Levels['d'], at: number): void {
  switch (d) {
    case 'f16':
      a.emit('vpbroadcastw', T, halfAt(at));
      break;
    case 'f32':
      a.emit('vbroadcastss', T, dwordAt(at));
      break;
    case 'e8m0':
    case 'e4m3':
      a.emit('vpbroadcastb', T, byteAt(at));
      break;
    default:
      d satisfies never;
  }
  emitD(a, d, SCALE, T, VALUES);
}

/** register = register * the row's byte at `at`. */
function emitTimesByte(a: Assembler, register: Xmm, at: number, signed: boolean): void {
  a.emit(signed ? 'movsx' : 'movzx', eax, sized(byteAt(at), 8));
  a.emit('vmovd', VALUES, eax);
  a.emit('vpbroadcastd', VALUES, VALUES);
  a.emit('vcvtdq2ps', VALUES, VALUES);
  a.emit('vmulps', register, register, VALUES);
}
