/**
 * Packing as machine code: what `packRows` of packing.ts does, for whole panels, at the speed of memory. A row is read once,
 * block after block, into its lane of the panel; 16 bytes become the dwords of four vectors.
 */
import { blockFormat } from '../../../numerics/quant/formats.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  eax,
  ecx,
  edx,
  indexed,
  type Mem,
  ptr,
  r8b,
  r9,
  r10,
  r11,
  r11d,
  r12,
  r12d,
  r13,
  r14,
  r16w,
  rax,
  rip,
  rsi,
  type Xmm,
  xmm,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel } from './frame.ts';
import { type PackedFormat, panelBytes, panelRows, tiles } from './packing.ts';

/** Panels of a run: the argument after the buffers. */
const panels = { sym: 'T', max: 2 ** 31 - 1 } as const;

/** `void pack(source, panels, count)`: rows of K values, 16 for each of `count` panels. */
export function packRowsKernel(format: PackedFormat, K: number): EmittedKernel {
  const { blockSize, blockBytes } = blockFormat(format);
  const rowBytes = (K / blockSize) * blockBytes;
  return buildKernel(
    { name: `pack_${format}_${K}`, buffers: ['source', 'panels'], tokens: panels, stackBytes: 0 },
    ({ loadTokens }) => loadTokens(rax),
    ({ a, unit, address }) => {
      a.emit('imul', r9, unit, panelRows * rowBytes);
      a.emit('add', r9, address('source'));
      a.emit('imul', r13, unit, panelBytes(format, K));
      a.emit('add', r13, address('panels'));
      const { from, to, write, tail } = steps[format];
      a.emit('xor', r12d, r12d);
      const lane = a.here('lane');
      // A dword, a half and a byte of this lane in the first vector.
      a.emit('lea', r10, indexed(r13, r12, 4));
      a.emit('lea', r14, indexed(r13, r12, 2));
      a.emit('lea', rsi, indexed(r13, r12));
      const count = Math.floor(rowBytes / from);
      if (count > 0) {
        a.emit('mov', r11d, count);
        const block = a.here('block');
        write(a);
        a.emit('add', r9, from);
        for (const cursor of [r10, r14, rsi]) a.emit('add', cursor, to);
        a.emit('dec', r11);
        a.emit('jne', block);
      }
      if (rowBytes % from !== 0) tail?.(a);
      a.emit('inc', r12);
      a.emit('cmp', r12, panelRows);
      a.emit('jb', lane);
    },
  );
}

const source = (at = 0): Mem => ptr(r9, at);
const dword = (at = 0): Mem => ptr(r10, at);
const half = (at = 0): Mem => ptr(r14, at);
const byte = (at: number): Mem => ptr(rsi, at);

/** The four dwords of a register to this lane of four vectors. */
function storeQuad(a: Assembler, x: Xmm, at: number): void {
  a.emit('vmovd', dword(at), x);
  for (let i = 1; i < 4; i++) a.emit('vpextrd', dword(at + 64 * i), x, i);
}

function copyHalf(a: Assembler, to: Mem, from: Mem): void {
  a.emit('movzx', eax, { ...from, bits: 16 });
  a.emit('mov', to, r16w(eax));
}

const pattern = (a: Assembler, byteValue: number): Mem => rip(a.constant(new Uint8Array(16).fill(byteValue)));

interface Steps {
  /** Bytes read and bytes of the panel that one step moves on by. */
  readonly from: number;
  readonly to: number;
  write(a: Assembler): void;
  /** What is left of a row and shorter than a step. */
  tail?(a: Assembler): void;
}

const steps: Readonly<Record<PackedFormat, Steps>> = {
  q8_0: {
    from: 34,
    to: tiles.q8_0.bytes,
    write(a) {
      const { levels, d } = tiles.q8_0;
      for (const part of [0, 1]) {
        a.emit('vmovdqu', xmm(0), source(2 + 16 * part));
        a.emit('vpxor', xmm(0), xmm(0), pattern(a, 0x80));
        storeQuad(a, xmm(0), levels + 256 * part);
      }
      copyHalf(a, half(d), source());
    },
  },

  q4_0: {
    from: 18,
    to: tiles.q4_0.bytes,
    write(a) {
      const { levels, d } = tiles.q4_0;
      a.emit('vmovdqu', xmm(0), source(2));
      storeQuad(a, xmm(0), levels);
      copyHalf(a, half(d), source());
    },
  },

  q4_K: {
    from: 144,
    to: tiles.q4_K.bytes,
    write(a) {
      const { levels, d, dmin, scales, minima } = tiles.q4_K;
      copyHalf(a, half(d), source());
      copyHalf(a, half(dmin), source(2));
      for (let sub = 0; sub < 4; sub++) {
        for (const [low, high, at, shift] of [
          [4, 12, scales, 0],
          [8, 12, minima, 4],
        ] as const) {
          a.emit('movzx', eax, { ...source(low + sub), bits: 8 });
          a.emit('mov', ecx, eax);
          a.emit('and', ecx, 63);
          a.emit('mov', byte(at + 16 * sub), r8b(ecx));
          a.emit('shr', eax, 6);
          a.emit('shl', eax, 4);
          a.emit('movzx', edx, { ...source(high + sub), bits: 8 });
          if (shift > 0) a.emit('shr', edx, shift);
          else a.emit('and', edx, 15);
          a.emit('or', eax, edx);
          a.emit('mov', byte(at + 16 * (sub + 4)), r8b(eax));
        }
      }
      // The file pairs k with k + 32.
      a.emit('vmovdqa', xmm(15), pattern(a, 0x0f));
      for (let pair = 0; pair < 4; pair++) {
        a.emit('vmovdqu', xmm(0), source(16 + 32 * pair));
        a.emit('vmovdqu', xmm(1), source(32 + 32 * pair));
        a.emit('vpand', xmm(2), xmm(0), xmm(15));
        a.emit('vpand', xmm(3), xmm(1), xmm(15));
        a.emit('vpslld', xmm(3), xmm(3), 4);
        a.emit('vpor', xmm(2), xmm(2), xmm(3));
        storeQuad(a, xmm(2), levels + 512 * pair);
        a.emit('vpsrld', xmm(0), xmm(0), 4);
        a.emit('vpand', xmm(0), xmm(0), xmm(15));
        a.emit('vpandn', xmm(1), xmm(15), xmm(1));
        a.emit('vpor', xmm(0), xmm(0), xmm(1));
        storeQuad(a, xmm(0), levels + 512 * pair + 256);
      }
    },
  },

  q6_K: {
    from: 210,
    to: tiles.q6_K.bytes,
    write(a) {
      const { levels, high, d, scales, step } = tiles.q6_K;
      copyHalf(a, half(d), source(208));
      a.emit('vmovdqa', xmm(15), pattern(a, 0x0f));
      a.emit('vmovdqa', xmm(14), pattern(a, 0x03));
      a.emit('vmovdqa', xmm(13), rip(a.constant(Int32Array.of(0, 2, 4, 6))));
      for (let group = 0; group < 8; group++) {
        const upper = group >> 2;
        const low = 64 * upper + 32 * (group & 1);
        const nibble = (group & 2) * 2;
        const pair = (group & 3) * 2;
        const part = step * group;
        for (const [register, at] of [
          [xmm(0), low],
          [xmm(1), low + 16],
        ] as const) {
          a.emit('vmovdqu', register, source(at));
          if (nibble > 0) a.emit('vpsrld', register, register, nibble);
          a.emit('vpand', register, register, xmm(15));
        }
        a.emit('vpslld', xmm(1), xmm(1), 4);
        a.emit('vpor', xmm(0), xmm(0), xmm(1));
        storeQuad(a, xmm(0), part + levels);
        for (let sub = 0; sub < 2; sub++) {
          a.emit('vmovdqu', xmm(0), source(128 + 32 * upper + 16 * sub));
          if (pair > 0) a.emit('vpsrld', xmm(0), xmm(0), pair);
          a.emit('vpand', xmm(0), xmm(0), xmm(14));
          // Pairs of four dwords side by side in one.
          a.emit('vpsllvd', xmm(0), xmm(0), xmm(13));
          a.emit('vpshufd', xmm(1), xmm(0), 0b01_00_11_10);
          a.emit('vpor', xmm(0), xmm(0), xmm(1));
          a.emit('vpshufd', xmm(1), xmm(0), 0b10_11_00_01);
          a.emit('vpor', xmm(0), xmm(0), xmm(1));
          a.emit('vmovd', dword(part + high + 64 * sub), xmm(0));
          a.emit('movzx', eax, { ...source(192 + 2 * group + sub), bits: 8 });
          a.emit('mov', byte(part + scales + 16 * sub), r8b(eax));
        }
      }
    },
  },

  bf16: {
    from: 4,
    to: tiles.bf16.bytes,
    write: copyDword,
    tail(a) {
      a.emit('movzx', eax, { ...source(), bits: 16 });
      a.emit('mov', dword(), eax);
      a.emit('add', r9, 2);
    },
  },
  f16: { from: 2, to: tiles.f16.bytes, write: (a) => copyHalf(a, half(), source()) },
  f32: { from: 4, to: tiles.f32.bytes, write: copyDword },
};

function copyDword(a: Assembler): void {
  a.emit('mov', eax, source());
  a.emit('mov', dword(), eax);
}
