/**
 * Kernels that do one thing as fast as the processor can: read memory, copy it, or compute with one kind of instruction.
 * What they reach is the limit that other kernels are held against. In the convention of emit/abi.ts.
 */
import { Assembler } from './asm/assembler.ts';
import {
  edx,
  esi,
  type Gp,
  indexed,
  type Mem,
  offset,
  ptr,
  r8,
  r9,
  r10,
  r11,
  rax,
  rcx,
  rdi,
  rdx,
  rip,
  rsi,
  tmm,
  type Vec,
  type VecBits,
  vec,
  ymm,
} from './asm/operands.ts';
import type { Schedule } from './schedule.ts';

/** Bytes that a thread's part of memory is a multiple of. */
const step = 512;

/** A loop over a thread's part of `arguments[length]` bytes; `emit` gets what moves a step at a time: `arguments[..]` + part. */
function overMemory(pointers: number, emit: (a: Assembler, at: readonly Mem[]) => void): Assembler {
  const a = new Assembler();
  const moving = [rax, r9, r11].slice(0, pointers);
  a.emit('mov', r10, rdx);
  a.emit('mov', esi, esi);
  a.emit('mov', rax, ptr(rdi, 8 * pointers));
  a.emit('shr', rax, Math.log2(step));
  a.emit('xor', edx, edx);
  a.emit('div', r10);
  a.emit('shl', rax, Math.log2(step));
  a.emit('mov', rcx, rax);
  a.emit('imul', rsi, rax);
  for (const [i, register] of moving.entries()) {
    a.emit('mov', register, ptr(rdi, 8 * i));
    a.emit('add', register, rsi);
  }
  a.emit('lea', r8, indexed(rax, rcx));
  for (let i = 0; i < 8; i++) a.emit('vpxor', ymm(i), ymm(i), ymm(i));
  a.align(32);
  const next = a.here();
  emit(
    a,
    moving.map((register) => ptr(register)),
  );
  for (const register of moving) a.emit('add', register, step);
  a.emit('cmp', rax, r8);
  a.emit('jb', next);
  a.emit('sfence');
  a.emit('vzeroupper');
  a.emit('ret');
  return a;
}

const plainReading: Reading = { streams: 1, prefetch: 'none', prefetchBytes: 0 };

/** How memory is read: in so many places of a thread's part in turn, and asked for so many bytes ahead where there is a prefetch. */
export interface Reading {
  readonly streams: 1 | 2 | 4;
  readonly prefetch: Schedule['prefetch'];
  readonly prefetchBytes: number;
}

/** Reads `arguments[1]` bytes at `arguments[0]`: at least 2048 for each thread, less what is no multiple of that. */
export function readKernel({ streams, prefetch, prefetchBytes }: Reading = plainReading): Assembler {
  const a = new Assembler();
  const cursors = [rax, r9, r10, r11].slice(0, streams);
  const each = step / streams;
  a.emit('mov', r8, rdx);
  a.emit('mov', esi, esi);
  a.emit('mov', rax, ptr(rdi, 8));
  a.emit('xor', edx, edx);
  a.emit('imul', r8, r8, step * streams);
  a.emit('div', r8);
  // rcx: bytes of a stream; the part of a thread is so many times that.
  a.emit('imul', rcx, rax, step);
  a.emit('imul', rsi, rsi, streams);
  a.emit('imul', rsi, rcx);
  a.emit('add', rsi, ptr(rdi));
  for (const [i, cursor] of cursors.entries()) {
    a.emit('imul', cursor, rcx, i);
    a.emit('add', cursor, rsi);
  }
  a.emit('lea', r8, indexed(cursors[0] as Gp, rcx, 1, 0));
  for (let i = 0; i < 8; i++) a.emit('vpxor', ymm(i), ymm(i), ymm(i));
  a.align(32);
  const next = a.here();
  for (const [stream, cursor] of cursors.entries()) {
    for (let at = 0; at < each; at += 32) {
      if (prefetch !== 'none' && at % 64 === 0) a.emit(prefetch, ptr(cursor, prefetchBytes + at));
      const sum = ymm((stream * (each / 32) + at / 32) % 8);
      a.emit('vpaddd', sum, sum, ptr(cursor, at));
    }
  }
  for (const cursor of cursors) a.emit('add', cursor, each);
  a.emit('cmp', cursors[0] as Gp, r8);
  a.emit('jb', next);
  a.emit('vzeroupper');
  a.emit('ret');
  return a;
}

/** Copies `arguments[2]` bytes, at least 512 for each thread, to `arguments[0]` from `arguments[1]`, past the caches. */
export function copyKernel(): Assembler {
  return overMemory(2, (a, [to, from]) => {
    for (let i = 0; i < step / 32; i += 8) {
      for (let j = 0; j < 8; j++) a.emit('vmovdqu', ymm(j), offset(from, 32 * (i + j)));
      for (let j = 0; j < 8; j++) a.emit('vmovntdq', offset(to, 32 * (i + j)), ymm(j));
    }
  });
}

/** Adds arrays of f32: `arguments[3]` bytes, at least 512 for each thread, at `arguments[1]` and `[2]`, to `arguments[0]` past the caches. */
export function addKernel(): Assembler {
  return overMemory(3, (a, [to, one, two]) => {
    for (let i = 0; i < step / 32; i += 8) {
      for (let j = 0; j < 8; j++) a.emit('vmovups', ymm(j), offset(one, 32 * (i + j)));
      for (let j = 0; j < 8; j++) a.emit('vaddps', ymm(j), ymm(j), offset(two, 32 * (i + j)));
      for (let j = 0; j < 8; j++) a.emit('vmovntdq', offset(to, 32 * (i + j)), ymm(j));
    }
  });
}

export interface ArithmeticKernel {
  readonly source: Assembler;
  /** Of one turn; `arguments[0]` are the turns of each thread. */
  readonly operations: number;
}

/** Bytes that look like data: what a multiplier does with zeros costs it less. */
function constant(a: Assembler, bytes: number, byte: (i: number) => number): Mem {
  return rip(a.constant(Uint8Array.from({ length: bytes }, (_, i) => byte(i))));
}

/** `emit` writes one turn. */
function overTurns(prepare: (a: Assembler) => void, emit: (a: Assembler) => number, end: (a: Assembler) => void) {
  const a = new Assembler();
  a.emit('mov', rcx, ptr(rdi));
  prepare(a);
  a.align(32);
  const next = a.here();
  const operations = emit(a);
  a.emit('dec', rcx);
  a.emit('jnz', next);
  end(a);
  a.emit('ret');
  return { source: a, operations };
}

/** Sums that do not wait for each other, and what becomes a product. */
const chains = 10;

/** `emit` adds the product of `x` and `y` to `sum`, with a register to spare. */
function inVectors(
  bits: VecBits,
  operations: number,
  emit: (a: Assembler, sum: Vec, x: Vec, y: Vec, spare: Vec) => void,
): ArithmeticKernel {
  return overTurns(
    (a) => {
      for (let i = 0; i < 14; i++) a.emit('vpxor', ymm(i), ymm(i), ymm(i));
      // As integers some of anything, as floats numbers between 1 and 2.
      const data = constant(a, bits / 8, (i) =>
        i % 4 === 3 ? 0x3f : i % 4 === 2 ? 0x80 + ((37 * i) & 0x7f) : 53 * i + 7,
      );
      a.emit('vmovups', vec(14, bits), data);
      a.emit('vmovups', vec(15, bits), data);
    },
    (a) => {
      for (let i = 0; i < chains; i++) emit(a, vec(i, bits), vec(14, bits), vec(15, bits), vec(10 + (i % 4), bits));
      return (operations * chains * bits) / 8;
    },
    (a) => a.emit('vzeroupper'),
  );
}

/** Four sums of products of two tiles each: `emit` multiplies one pair. 16 rows of 64 bytes. */
function inTiles(
  operations: number,
  emit: (a: Assembler, sum: number, x: number, y: number) => void,
): ArithmeticKernel {
  return overTurns(
    (a) => {
      // Palette 1; bytes a row as words from 16 on, rows as bytes from 48 on.
      const setup = constant(a, 64, (i) =>
        i === 0 ? 1 : i >= 16 && i < 32 ? (i % 2 === 0 ? 64 : 0) : i >= 48 && i < 56 ? 16 : 0,
      );
      a.emit('ldtilecfg', setup);
      for (let i = 0; i < 4; i++) a.emit('tilezero', tmm(i));
      const data = constant(a, 1024, (i) => (i % 2 === 1 ? 0x3f : (97 * i + (i >> 6)) & 0x7f));
      a.emit('lea', rax, data);
      a.emit('mov', r8, 64);
      for (let i = 4; i < 8; i++) a.emit('tileloadd', tmm(i), indexed(rax, r8));
    },
    (a) => {
      for (let i = 0; i < 4; i++) emit(a, i, 4 + (i >> 1), 6 + (i & 1));
      return 4 * operations;
    },
    (a) => a.emit('tilerelease'),
  );
}

/** In operations a byte of a register: f32 have a multiplication and an addition for 4 bytes, i8 for each. */
export const arithmeticKernels = {
  multiplyAdd: (bits: VecBits) =>
    inVectors(bits, 2 / 4, (a, sum, x, y, spare) => {
      a.emit('vmulps', spare, x, y);
      a.emit('vaddps', sum, sum, spare);
    }),
  fused: (bits: VecBits) => inVectors(bits, 2 / 4, (a, sum, x, y) => a.emit('vfmadd231ps', sum, x, y)),
  maddubs: (bits: VecBits) =>
    inVectors(bits, 2, (a, sum, x, y, spare) => {
      a.emit('vpmaddubsw', spare, x, y);
      a.emit('vpaddw', sum, sum, spare);
    }),
  dpbusd: (bits: VecBits) => inVectors(bits, 2, (a, sum, x, y) => a.emit('vpdpbusd', sum, x, y)),
  dpbssd: (bits: VecBits) => inVectors(bits, 2, (a, sum, x, y) => a.emit('vpdpbssd', sum, x, y)),
  vexDpbusd: () => inVectors(256, 2, (a, sum, x, y) => a.emit('{vex} vpdpbusd', sum, x, y)),
  tilesI8: () => inTiles(2 * 16 * 16 * 64, (a, sum, x, y) => a.emit('tdpbssd', tmm(sum), tmm(x), tmm(y))),
  tilesBf16: () => inTiles(2 * 16 * 16 * 32, (a, sum, x, y) => a.emit('tdpbf16ps', tmm(sum), tmm(x), tmm(y))),
} as const;
