/**
 * `routed_dot`: every row of the order of experts (expert-order.ts) times the panels of its expert, in the numerics of
 * numerics/dot.ts, bit for bit. A unit of work is a segment and a panel, or as many as a product takes at once: panels of a
 * segment follow one another, so that its activations stay in a cache. Threads share the work by rows, not by units.
 */
import {
  ecx,
  esi,
  indexed,
  ptr,
  r9,
  r10,
  r10d,
  r11,
  r11d,
  r12,
  r13,
  r14,
  rax,
  rbp,
  rcx,
  rdi,
  rdx,
  rsi,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import type { Target } from '../target.ts';
import { type OrderShape, rowsAt, segmentCount, segmentExpert, segmentStart } from './expert-order.ts';
import type { Frame } from './frame.ts';
import { panelBytes } from './packing.ts';
import { numberedRows } from './panel-results.ts';
import { type DotShape, dotKernel, dotLayout, emitPanelOf } from './quantized-dot.ts';

export interface RoutedDotShape extends Pick<DotShape, 'format' | 'numerics' | 'tokens' | 'N' | 'K'> {
  readonly order: OrderShape;
}

/** What a panel costs besides its rows, in rows: it has to come from memory and to be decoded. */
const panelCost = 8;

type Buffer = 'x' | 'weight' | 'order' | 'y';

/**
 * Buffers: x, activations in the order of experts; weight (packed) [E, N, K]; order; y f32 [T, k, N].
 * @throws IngotError 'UnsupportedOp' for a pair of format and numerics without a kernel.
 */
export function routedDotKernel(shape: RoutedDotShape, target: Target): EmittedKernel {
  const { numerics, N, K, order } = shape;
  const { products, layout } = dotLayout(shape, target);
  const { format, tokenBytes, panels, together } = layout;
  const groups = Math.ceil(panels / together);

  /** to = the work of the segments before r10, for the order at r9; `next`: and of r10 itself. Keeps rax. */
  const emitWorkBefore = ({ a }: Frame<Buffer>, next: 0 | 1) => {
    a.emit('mov', r11d, segmentStart(r9, r10, next));
    a.emit('lea', r11, indexed(r11, r10, panelCost, panelCost * next));
    a.emit('imul', r11, r11, groups);
  };
  return dotKernel<Buffer>(shape, products, layout, target.schedule, {
    name: `routed_dot_${format}_${numerics}_${N}x${K}`,
    buffers: ['x', 'weight', 'order', 'y'],
    bias: false,
    rows: (a) => numberedRows(a, N),
    emitStart(frame) {
      const { a, address } = frame;
      a.emit('mov', r9, address('order'));
      a.emit('mov', r10d, segmentCount(r9));
      emitWorkBefore(frame, 0);
      a.emit('mov', rax, r11);
    },
    emitUnitOf(frame) {
      const { a, address } = frame;
      const [found, end] = [a.label(), a.label()];
      a.emit('mov', r9, address('order'));
      a.emit('xor', r10d, r10d);
      const next = a.here();
      a.emit('cmp', r10d, segmentCount(r9));
      a.emit('je', end);
      emitWorkBefore(frame, 1);
      a.emit('cmp', rax, r11);
      a.emit('jb', found);
      a.emit('inc', r10);
      a.emit('jmp', next);
      a.bind(found);
      emitWorkBefore(frame, 0);
      a.emit('sub', rax, r11);
      a.emit('mov', r11d, segmentStart(r9, r10, 1));
      a.emit('sub', r11d, segmentStart(r9, r10));
      a.emit('add', r11, panelCost);
      a.emit('xor', rdx, rdx);
      a.emit('div', r11);
      a.emit('imul', r10, r10, groups);
      a.emit('add', rax, r10);
      const done = a.label();
      a.emit('jmp', done);
      a.bind(end);
      a.emit('imul', rax, r10, groups);
      a.bind(done);
    },
    emitPlace({ a, unit, address }) {
      a.emit('mov', rdi, ptr(rbp));
      a.emit('mov', r9, address('order'));
      a.emit('mov', rax, unit);
      a.emit('xor', rdx, rdx);
      a.emit('mov', ecx, groups);
      a.emit('div', rcx);
      emitPanelOf(a, layout, rdx);
      a.emit('mov', r10d, segmentStart(r9, rax));
      a.emit('mov', esi, segmentStart(r9, rax, 1));
      a.emit('sub', rsi, r10);
      a.emit('mov', r11d, segmentExpert(r9, rax));

      a.emit('imul', r12, r11, panels * panelBytes(format, K));
      a.emit('imul', rax, rdx, panelBytes(format, K));
      a.emit('add', r12, rax);
      a.emit('add', r12, address('weight'));
      a.emit('imul', r13, r10, tokenBytes);
      a.emit('add', r13, address('x'));
      a.emit('mov', r14, rdx);
      a.emit('shl', r14, 6);
      a.emit('add', r14, address('y'));
      a.emit('lea', r10, indexed(r9, r10, 4, rowsAt(order)));
    },
  });
}
