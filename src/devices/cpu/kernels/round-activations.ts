/**
 * Activations f32 [T, K] as the `bf16` dot numerics multiply them (numerics/dot.ts): rounded to bf16, subnormals zero, rows
 * filled with zeros to whole steps of 32 k. They are stored as f32 for code that has no bf16, else as bf16.
 */
import type { Dim } from '../../../ir/types.ts';
import type { Assembler } from '../asm/assembler.ts';
import { type Mem, ptr, r9, r10, r11, rax, rip, type Vec, ymm } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { bf16Constants, emitRoundToBf16, flushSubnormals, keepSubnormals } from './bf16.ts';
import { activationBuffers, emitSourceRow, type OrderedRows } from './expert-order.ts';
import { buildKernel } from './frame.ts';
import { panelVectors } from './product.ts';

export type RoundedElement = 'f32' | 'bf16';

/**
 * Bytes from a row of K values to the next. Rows of bf16 are an odd number of lines, so that the 16 rows of a tile lie in
 * different sets of the cache.
 */
export function roundedRowBytes(element: RoundedElement, K: number): number {
  const lines = Math.ceil(K / 32) * (element === 'f32' ? 2 : 1);
  return 64 * (element === 'f32' ? lines : lines | 1);
}

/** Buffers: x f32 [T, K], order if there is one, activations. A unit of work is a row. */
export function roundActivationsKernel(
  element: RoundedElement,
  tokens: Dim,
  K: number,
  rows?: OrderedRows,
): EmittedKernel {
  const [x, to, left] = [r9, r10, r11];
  const step = element === 'f32' ? 128 : 64;
  return buildKernel(
    { name: `round_activations_${element}_${K}`, buffers: activationBuffers(rows), tokens, stackBytes: 0 },
    ({ a, loadTokens }) => {
      loadTokens(rax);
      if (rows !== undefined) a.emit('imul', rax, rax, rows.order.chosen);
      flushSubnormals(a);
    },
    ({ a, unit, address }) => {
      if (rows !== undefined) emitSourceRow(a, rows, address('order'), unit, x);
      a.emit('imul', x, rows === undefined ? unit : x, 4 * K);
      a.emit('add', x, address('x'));
      a.emit('imul', to, unit, roundedRowBytes(element, K));
      a.emit('add', to, address('activations'));
      if (K >= 32) {
        a.emit('mov', left, Math.floor(K / 32));
        const next = a.here();
        emitStep(a, element, 32, x, to);
        a.emit('add', x, 128);
        a.emit('add', to, step);
        a.emit('dec', left);
        a.emit('jnz', next);
      }
      if (K % 32 > 0) emitStep(a, element, K % 32, x, to);
    },
    ({ a }) => keepSubnormals(a),
  );
}

/** `count` of 32 values, the rest zeros. */
function emitStep(a: Assembler, element: RoundedElement, count: number, x: typeof r9, to: typeof r10): void {
  const constants = bf16Constants(a, panelVectors[256]);
  const parts = [ymm(0), ymm(1), ymm(2), ymm(3)] as const;
  const temporary = ymm(4);
  for (const [i, part] of parts.entries()) {
    const there = Math.min(8, count - 8 * i);
    if (there <= 0) {
      a.emit('vxorps', part, part, part);
      continue;
    }
    if (there < 8) {
      const mask = Int32Array.from({ length: 8 }, (_, lane) => (lane < there ? -1 : 0));
      a.emit('vmovdqa', temporary, rip(a.constant(mask)));
      a.emit('vmaskmovps', part, temporary, ptr(x, 32 * i));
    } else {
      a.emit('vmovups', part, ptr(x, 32 * i));
    }
    emitRoundToBf16(a, panelVectors[256], constants, part, [temporary, ymm(5)]);
  }
  if (element === 'f32') {
    for (const [i, part] of parts.entries()) a.emit('vmovups', ptr(to, 32 * i), part);
    return;
  }
  emitHighHalves(a, parts[0], parts[1], ptr(to));
  emitHighHalves(a, parts[2], parts[3], ptr(to, 32));
}

/** The upper 16 bits of two registers of dwords. */
function emitHighHalves(a: Assembler, low: Vec, high: Vec, to: Mem): void {
  a.emit('vpsrld', low, low, 16);
  a.emit('vpsrld', high, high, 16);
  a.emit('vpackusdw', low, low, high);
  a.emit('vpermq', low, low, 0xd8);
  a.emit('vmovdqu', to, low);
}
