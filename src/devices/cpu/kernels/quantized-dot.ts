/**
 * `quantized_dot`: y [T, N] = x [T, K] times the rows of a packed weight [N, K] (+ bias [N]), in the numerics of
 * numerics/dot.ts, bit for bit. The generator walks panels of 16 rows and chunks of tokens; a row of the tables of products
 * multiplies one tile.
 *
 * A unit of work is a panel and a chunk of tokens. Chunks of one panel follow each other, so that the panel comes from
 * memory once and then from a cache, and few threads share a panel even where it is the only one.
 */
import { IngotError } from '../../../base/errors.ts';
import type { Dim } from '../../../ir/types.ts';
import type { DotNumerics } from '../../../numerics/dot.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  indexed,
  type Mem,
  ptr,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  rax,
  rcx,
  rdi,
  rdx,
  rip,
  rsi,
  rsp,
  type Vec,
  ymm,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { floatProducts } from './float-products.ts';
import { buildKernel, loadPattern } from './frame.ts';
import { integerProducts } from './integer-products.ts';
import { isIntegerFormat } from './levels.ts';
import { type PackedFormat, packedFormat, panelBytes, panelRows, tiles } from './packing.ts';
import { halves, type Product, type Tile } from './product.ts';
import { type ActivationBlock, records } from './quantize-activations.ts';

export interface DotShape {
  readonly format: string;
  readonly numerics: DotNumerics;
  readonly tokens: Dim;
  readonly N: number;
  readonly K: number;
  readonly bias: boolean;
}

/** Tokens of a unit of work. */
const chunk = 32;
/** How far ahead of the loads weights are asked for, in bytes, and how many may be asked for at a time. */
const ahead = 2048;
const burst = 1024;

/**
 * Buffers: x, weight (packed), bias f32 [N] if there is one, y f32 [T, N]. `x` are the records that
 * `quantizeActivationsKernel` makes for numerics `i8`, else f32 [T, K].
 * @throws IngotError 'UnsupportedOp' for a pair of format and numerics without a kernel.
 */
export function quantizedDotKernel(shape: DotShape): EmittedKernel {
  const { tokens: T, N, K, bias } = shape;
  const format = packedFormat(shape.format);
  const { size, bytes } = tiles[format];
  const { product, xTileBytes } = productOf(format, shape.numerics);
  const tokenBytes = (K * xTileBytes) / size;
  const panels = Math.ceil(N / panelRows);

  // Of the unit: r12 panel, r13 activations of the next token, r10 its results, r9 bias, rsi tokens left, rdx panel's number.
  // Of the loop over k: rax tile, rcx activations, r8 end of the whole rounds. rdi and r11 loops in a tile. r14: chunks.
  return buildKernel(
    {
      name: `quantized_dot_${format}_${shape.numerics}_${N}x${K}`,
      buffers: bias ? ['x', 'weight', 'bias', 'y'] : ['x', 'weight', 'y'],
      tokens: T,
      stackBytes: product.inRegisters ? 0 : 64 * Math.max(...product.tokens),
    },
    ({ a, loadTokens }) => {
      for (const [i, pattern] of product.constants.entries()) loadPattern(a, ymm(15 - i), pattern);
      loadTokens(rax);
      a.emit('add', rax, chunk - 1);
      a.emit('shr', rax, Math.log2(chunk));
      a.emit('mov', r14, rax);
      a.emit('imul', rax, rax, panels);
    },
    ({ a, unit, address, loadTokens }) => {
      a.emit('mov', rax, unit);
      a.emit('xor', rdx, rdx);
      a.emit('div', r14);
      a.emit('shl', rdx, Math.log2(chunk));
      loadTokens(rsi);
      a.emit('sub', rsi, rdx);
      a.emit('mov', rcx, chunk);
      a.emit('cmp', rsi, rcx);
      a.emit('cmova', rsi, rcx);

      a.emit('imul', r12, rax, panelBytes(format, K));
      a.emit('add', r12, address('weight'));
      a.emit('imul', r13, rdx, tokenBytes);
      a.emit('add', r13, address('x'));
      a.emit('imul', r10, rdx, 4 * N);
      a.emit('add', r10, address('y'));
      a.emit('mov', rdx, rax);
      a.emit('shl', rax, 6);
      a.emit('add', r10, rax);
      if (bias) {
        a.emit('mov', r9, address('bias'));
        a.emit('add', r9, rax);
      }
      for (const tokens of product.tokens) {
        const fewer = a.label();
        a.emit('cmp', rsi, tokens);
        a.emit('jb', fewer);
        const more = a.here();
        emitTokens(a, tokens);
        a.emit('add', r13, tokens * tokenBytes);
        a.emit('add', r10, tokens * 4 * N);
        a.emit('sub', rsi, tokens);
        a.emit('cmp', rsi, tokens);
        a.emit('jae', more);
        a.bind(fewer);
      }
    },
  );

  function accumulator(token: number, half: number): Vec | Mem {
    return product.inRegisters ? ymm(2 * token + half) : ptr(rsp, 64 * token + 32 * half);
  }

  /** The results of `tokens` tokens and one panel. */
  function emitTokens(a: Assembler, tokens: number): void {
    const zero = ymm(0);
    a.comment(`${tokens} tokens`);
    a.emit('vpxor', zero, zero, zero);
    forEachResult(tokens, (token, half) => {
      const acc = accumulator(token, half);
      if (acc.kind === 'mem') a.emit('vmovaps', acc, zero);
      else a.emit('vpxor', acc, acc, acc);
    });
    a.emit('mov', rax, r12);
    a.emit('mov', rcx, r13);
    const emitTile = (index: number, k: number) => {
      const tile: Tile = {
        a,
        tokens,
        size: k,
        weight: (at) => ptr(rax, index * bytes + at),
        x: (token, at) => ptr(rcx, token * tokenBytes + index * xTileBytes + at),
        sum: (token, half) => ptr(rsp, 64 * token + 32 * half),
        fixed: (at) => ptr(rdi, index * bytes + at),
        lagging: (at) => indexed(rdi, r11, 1, index * bytes + at),
        repeat(count, steps, emit) {
          a.emit('mov', rdi, rax);
          a.emit('xor', r11, r11);
          a.align(32);
          const next = a.here();
          if (bytes > burst) emitPrefetch(a, steps.weight, steps.pass);
          emit();
          a.emit('add', rax, steps.weight);
          a.emit('add', rcx, steps.x);
          a.emit('add', r11, steps.lagging);
          a.emit('cmp', r11, count * steps.lagging);
          a.emit('jne', next);
          a.emit('mov', rax, rdi);
          a.emit('sub', rcx, count * steps.x);
        },
      };
      product.emit(tile);
    };

    const { unroll } = product;
    const rounds = Math.floor(K / (unroll * size));
    if (rounds > 0) {
      a.emit('lea', r8, ptr(rax, rounds * unroll * bytes));
      a.align(32);
      const next = a.here();
      if (unroll * bytes <= burst) emitPrefetch(a, unroll * bytes, [0, 1]);
      for (let index = 0; index < unroll; index++) emitTile(index, size);
      a.emit('add', rax, unroll * bytes);
      a.emit('add', rcx, unroll * xTileBytes);
      a.emit('cmp', rax, r8);
      a.emit('jb', next);
    }
    const rest = K - rounds * unroll * size;
    for (let k = 0; k < rest; k += size) emitTile(k / size, Math.min(size, rest - k));

    emitResults(a, tokens);
  }

  function emitResults(a: Assembler, tokens: number): void {
    const last = N % panelRows;
    const stored = a.label();
    if (last > 0) {
      const whole = a.label();
      a.emit('cmp', rdx, panels - 1);
      a.emit('jne', whole);
      const masks = halves.map((half) => {
        const lanes = Int32Array.from({ length: 8 }, (_, lane) => (8 * half + lane < last ? -1 : 0));
        return rip(a.constant(lanes));
      });
      // The constants of the product are not needed by masks: these registers hold neither them nor accumulators.
      const [mask, value] = [ymm(9), ymm(8)];
      for (const half of halves.filter((half) => 8 * half < last)) {
        a.emit('vmovdqa', mask, masks[half] as Mem);
        if (bias) a.emit('vmaskmovps', ymm(10), mask, ptr(r9, 32 * half));
        for (let token = 0; token < tokens; token++) {
          a.emit('vmovaps', value, accumulator(token, half));
          if (bias) a.emit('vaddps', value, value, ymm(10));
          a.emit('vmaskmovps', ptr(r10, 4 * N * token + 32 * half), mask, value);
        }
      }
      a.emit('jmp', stored);
      a.bind(whole);
    }
    forEachResult(tokens, (token, half) => {
      const value = ymm(8);
      a.emit('vmovaps', value, accumulator(token, half));
      if (bias) a.emit('vaddps', value, value, ptr(r9, 32 * half));
      a.emit('vmovups', ptr(r10, 4 * N * token + 32 * half), value);
    });
    a.bind(stored);
  }
}

/** Asks for the lines of `bytes` bytes: of `[pass, passes]` those that are this one's share. */
function emitPrefetch(a: Assembler, bytes: number, [pass, passes]: readonly [number, number]): void {
  for (let at = 64 * pass; at < bytes; at += 64 * passes) a.emit('prefetcht0', ptr(rax, ahead + at));
}

function forEachResult(tokens: number, emit: (token: number, half: number) => void): void {
  for (let token = 0; token < tokens; token++) for (const half of halves) emit(token, half);
}

/** Blocks of the records that a product takes its activations from; undefined where it takes them as f32. */
export function activationBlock(format: PackedFormat, numerics: DotNumerics): ActivationBlock | undefined {
  return numerics === 'i8' && isIntegerFormat(format) ? tiles[format].size : undefined;
}

/** A product, and the bytes of activations that go with one of its tiles. */
function productOf(format: PackedFormat, numerics: DotNumerics): { product: Product; xTileBytes: number } {
  if (numerics === 'i8' && isIntegerFormat(format)) {
    return { product: integerProducts[format], xTileBytes: records[tiles[format].size].bytes };
  }
  if (numerics === 'f32') return { product: floatProducts[format], xTileBytes: 4 * tiles[format].size };
  throw new IngotError('UnsupportedOp', `no kernel multiplies weights of ${format} in numerics ${numerics}`, {
    op: 'quantized_dot',
    device: 'cpu',
  });
}
