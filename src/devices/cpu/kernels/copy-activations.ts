/** Activations f32 as they are, their rows in the order of experts (expert-order.ts). */
import type { Dim } from '../../../ir/types.ts';
import { eax, ptr, r9, r10, r11, rax, ymm } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { activationBuffers, emitSourceRow, type OrderedRows } from './expert-order.ts';
import { buildKernel } from './frame.ts';

/** Buffers: x f32, order, activations f32 [T * k, K]. A unit of work is a row. */
export function copyActivationsKernel(tokens: Dim, K: number, rows: OrderedRows): EmittedKernel {
  const [x, to, left] = [r9, r10, r11];
  return buildKernel(
    { name: `copy_activations_${K}`, buffers: activationBuffers(rows), tokens, stackBytes: 0 },
    ({ a, loadTokens }) => {
      loadTokens(rax);
      a.emit('imul', rax, rax, rows.order.chosen);
    },
    ({ a, unit, address }) => {
      emitSourceRow(a, rows, address('order'), unit, x);
      a.emit('imul', x, x, 4 * K);
      a.emit('add', x, address('x'));
      a.emit('imul', to, unit, 4 * K);
      a.emit('add', to, address('activations'));
      if (K >= 8) {
        a.emit('mov', left, Math.floor(K / 8));
        const next = a.here();
        a.emit('vmovups', ymm(0), ptr(x));
        a.emit('vmovups', ptr(to), ymm(0));
        a.emit('add', x, 32);
        a.emit('add', to, 32);
        a.emit('dec', left);
        a.emit('jnz', next);
      }
      for (let k = 0; k < K % 8; k++) {
        a.emit('mov', eax, ptr(x, 4 * k));
        a.emit('mov', ptr(to, 4 * k), eax);
      }
    },
  );
}
