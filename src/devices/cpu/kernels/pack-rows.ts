/**
 * Packing: rows of a file to the layout of packing.ts, at the speed of memory. A row is read once, block after block, into its
 * lane of the panel. Where the blocks of a format have what a tile has is said in blocks.ts.
 */
import { blockFormat } from '../../../numerics/quant/formats.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  eax,
  ecx,
  indexed,
  type Mem,
  ptr,
  r8,
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
  rcx,
  rip,
  rsi,
  sized,
  type Xmm,
  xmm,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { blocks } from './blocks.ts';
import { buildKernel } from './frame.ts';
import { dBytes, type IntegerFormat, isIntegerFormat, type Levels, layoutOf, levelsOf } from './levels.ts';
import { type PackedFormat, panelBytes, panelRows, tileSize } from './packing.ts';

/** Rows of a run: the argument after the buffers. */
const rows = { sym: 'T', max: 2 ** 31 - 1 } as const;

/**
 * `void pack(source, panels, rows)`: rows of K values, of which one begins `stride` bytes behind the other. Lanes of a last panel that they do not fill
 * stay as they are.
 */
export function packRowsKernel(format: PackedFormat, K: number, stride = bytesOfRow(format, K)): EmittedKernel {
  const rowBytes = bytesOfRow(format, K);
  return buildKernel(
    { name: `pack_${format}_${K}`, buffers: ['source', 'panels'], tokens: rows, stackBytes: 0 },
    ({ a, loadTokens }) => {
      loadTokens(rax);
      a.emit('add', rax, panelRows - 1);
      a.emit('shr', rax, Math.log2(panelRows));
    },
    ({ a, unit, address, loadTokens }) => {
      a.emit('imul', r9, unit, panelRows * stride);
      a.emit('add', r9, address('source'));
      a.emit('imul', r13, unit, panelBytes(format, K));
      a.emit('add', r13, address('panels'));
      // r8: lanes that there are.
      loadTokens(r8);
      a.emit('imul', rax, unit, panelRows);
      a.emit('sub', r8, rax);
      a.emit('mov', rcx, panelRows);
      a.emit('cmp', r8, rcx);
      a.emit('cmova', r8, rcx);
      const { from, to, write, tail } = stepsOf(format);
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
      if (stride !== rowBytes) a.emit('add', r9, stride - rowBytes);
      a.emit('inc', r12);
      a.emit('cmp', r12, r8);
      a.emit('jb', lane);
    },
  );
}

export function bytesOfRow(format: PackedFormat, K: number): number {
  const { blockSize, blockBytes } = blockFormat(format);
  return (K / blockSize) * blockBytes;
}

const source = (at = 0): Mem => ptr(r9, at);
const dword = (at = 0): Mem => ptr(r10, at);
const half = (at = 0): Mem => ptr(r14, at);
const byte = (at: number): Mem => ptr(rsi, at);

interface Steps {
  /** Bytes read and bytes of the panel that one step moves on by. */
  readonly from: number;
  readonly to: number;
  write(a: Assembler): void;
  /** What is left of a row and shorter than a step. */
  tail?(a: Assembler): void;
}

function stepsOf(format: PackedFormat): Steps {
  const to = tileSize(format).bytes;
  if (isIntegerFormat(format)) {
    const { blockSize, blockBytes } = blockFormat(format);
    const tiles = blockSize / levelsOf(format).size;
    return { from: blockBytes, to: tiles * to, write: (a) => writeBlock(a, format) };
  }
  switch (format) {
    case 'bf16':
      return {
        from: 4,
        to,
        write: copyDword,
        tail(a) {
          a.emit('movzx', eax, sized(source(), 16));
          a.emit('mov', dword(), eax);
          a.emit('add', r9, 2);
        },
      };
    case 'f16':
      return { from: 2, to, write: (a) => copyHalf(a, half(), source()) };
    case 'f32':
      return { from: 4, to, write: copyDword };
    case 'e4m3_32':
    case 'e5m2_32':
      return {
        from: blockFormat(format).blockBytes,
        to,
        write(a) {
          copyDword(a);
          for (let k = 0; k < 32; k++) {
            a.emit('movzx', eax, sized(source(4 + k), 8));
            a.emit('mov', byte(64 + 16 * k), r8b(eax));
          }
        },
      };
    default:
      return format satisfies never;
  }
}

function copyDword(a: Assembler): void {
  a.emit('mov', eax, source());
  a.emit('mov', dword(), eax);
}

function copyHalf(a: Assembler, to: Mem, from: Mem): void {
  a.emit('movzx', eax, sized(from, 16));
  a.emit('mov', to, r16w(eax));
}

/** The row's lane of the tiles of the block at r9. */
function writeBlock(a: Assembler, format: IntegerFormat): void {
  const row = levelsOf(format);
  const { size, sub, planes, minima } = row;
  const layout = layoutOf(row);
  const block = blocks[format];
  for (let tile = 0; tile < blockFormat(format).blockSize / size; tile++) {
    const base = tile * layout.bytes;
    for (const [part, at] of layout.d.entries()) {
      writeD(a, format, block.d + dBytes[row.d] * (tile * layout.d.length + part), base + at);
    }
    if (block.minimum !== undefined) {
      a.emit('movzx', eax, sized(source(block.minimum), 16));
      // What a file adds is a minimum of the other sign.
      if (minima === 'tile') a.emit('xor', eax, 0x8000);
      a.emit('mov', half(base + layout.minimum), r16w(eax));
    }
    for (let i = 0; i < size / sub; i++) {
      for (const [from, at] of [
        [block.scale, layout.scales],
        [block.mn, layout.minima],
      ] as const) {
        if (from === undefined) continue;
        from(a, i);
        a.emit('mov', byte(base + at + 16 * i), r8b(eax));
      }
    }
    for (let group = 0; group < size / 32; group++) {
      for (const [plane, bits] of planes.entries()) {
        block.planes[plane]?.(a, (size / 32) * tile + group);
        storePlane(a, bits, base + (layout.planes[plane] as number) + layout.step * group);
      }
    }
  }
}

/** d of a block, which a file has at `from`. */
function writeD(a: Assembler, format: IntegerFormat, from: number, at: number): void {
  const { d } = levelsOf(format);
  switch (d) {
    case 'f16':
      copyHalf(a, half(at), source(from));
      return;
    case 'f32':
      a.emit('movzx', eax, sized(source(from), 16));
      a.emit('vmovd', xmm(0), eax);
      a.emit('vcvtph2ps', xmm(0), xmm(0));
      a.emit('vmulss', xmm(0), xmm(0), rip(a.constant(Float32Array.of(blocks[format].factor ?? 1))));
      a.emit('vmovss', dword(at), xmm(0));
      return;
    case 'e8m0':
      a.emit('movzx', eax, sized(source(from), 8));
      a.emit('mov', byte(at), r8b(eax));
      return;
    case 'e4m3':
      // What would be NaN is zero.
      a.emit('movzx', eax, sized(source(from), 8));
      a.emit('xor', ecx, ecx);
      a.emit('cmp', eax, 0x7f);
      a.emit('cmove', eax, ecx);
      a.emit('and', eax, 0x7f);
      a.emit('mov', byte(at), r8b(eax));
      return;
    default:
      d satisfies never;
  }
}

/** Bits of 32 k, bytes in xmm0 and xmm1, to a plane. */
function storePlane(a: Assembler, bits: Levels['planes'][number], at: number): void {
  const [low, high, turned] = [xmm(0), xmm(1), xmm(2)];
  const shifts = (...counts: readonly number[]) => rip(a.constant(Int32Array.from(counts)));
  /** The dwords of a register in one, side by side as they are shifted. */
  const joined = (x: Xmm) => {
    for (const order of [0b01_00_11_10, 0b10_11_00_01]) {
      a.emit('vpshufd', turned, x, order);
      a.emit('vpor', x, x, turned);
    }
    return x;
  };
  switch (bits) {
    case 8:
      storeQuad(a, low, at);
      storeQuad(a, high, at + 256);
      return;
    case 4:
      a.emit('vpslld', high, high, 4);
      a.emit('vpor', low, low, high);
      storeQuad(a, low, at);
      return;
    case 2:
      for (const [i, x] of [low, high].entries()) {
        a.emit('vpsllvd', x, x, shifts(0, 2, 4, 6));
        a.emit('vmovd', dword(at + 64 * i), joined(x));
      }
      return;
    case 1:
      a.emit('vpsllvd', low, low, shifts(0, 1, 2, 3));
      a.emit('vpsllvd', high, high, shifts(4, 5, 6, 7));
      a.emit('vpor', low, low, high);
      a.emit('vmovd', dword(at), joined(low));
      return;
    default:
      bits satisfies never;
  }
}

/** The four dwords of a register to this lane of four vectors. */
function storeQuad(a: Assembler, x: Xmm, at: number): void {
  a.emit('vmovd', dword(at), x);
  for (let i = 1; i < 4; i++) a.emit('vpextrd', dword(at + 64 * i), x, i);
}
