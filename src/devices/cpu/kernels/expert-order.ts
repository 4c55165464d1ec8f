/**
 * The tokens of a step in the order of their experts, for `routed_dot`: a counting sort of i32 ids [T, k], so that a
 * matrix is read once for all tokens that were routed to it. What it leaves, in u32:
 *
 *   [0]                      segments S
 *   [16 + 2s], [17 + 2s]     segment s: its expert, its first row; rows end where the next segment's begin, S has the end of all
 *   [rows + r]               row r is x of the pair of token and rank with this number, token * k + rank; ascending in an expert
 *
 * An expert with more rows than `chunk` has several segments, one without rows none. Ids out of range clamp.
 */
import { type Dim, maxDim } from '../../../ir/types.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  eax,
  ecx,
  edx,
  esi,
  type Gp,
  indexed,
  type Mem,
  ptr,
  r9,
  r10,
  r11,
  r11d,
  r12,
  r13,
  r13d,
  r14,
  r14d,
  rax,
  rcx,
  rdx,
  rsp,
  sized,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel } from './frame.ts';

export interface OrderShape {
  readonly tokens: Dim;
  /** k. */
  readonly chosen: number;
  readonly experts: number;
  /** Rows of a segment at most. */
  readonly chunk: number;
}

/** Their counts lie on a thread's stack. */
export const mostExperts = 1 << 16;

const segmentsAt = 64;

function maxSegments({ tokens, chosen, experts, chunk }: OrderShape): number {
  const rows = maxDim(tokens) * chosen;
  return Math.min(experts, rows) + Math.floor(rows / chunk);
}

/** Where the numbers of rows begin, in bytes. */
export function rowsAt(shape: OrderShape): number {
  return segmentsAt + 8 * (maxSegments(shape) + 1);
}

export function orderBytes(shape: OrderShape): number {
  return rowsAt(shape) + 4 * maxDim(shape.tokens) * shape.chosen;
}

/** Words of the order at `base`: of segment `segment`, and of the one `next` after it. */
export const segmentCount = (base: Gp): Mem => sized(ptr(base), 32);
export const segmentExpert = (base: Gp, segment: Gp): Mem => sized(indexed(base, segment, 8, segmentsAt), 32);
export const segmentStart = (base: Gp, segment: Gp, next = 0): Mem =>
  sized(indexed(base, segment, 8, segmentsAt + 4 + 8 * next), 32);

/** Buffers: ids i32 [T, k], order. One thread does it. */
export function expertOrderKernel(shape: OrderShape): EmittedKernel {
  const { tokens, chosen, experts, chunk } = shape;
  const [ids, order, rows, segment, i] = [r9, r10, r12, r13, r11];
  return buildKernel(
    { name: `expert_order_${chosen}_of_${experts}`, buffers: ['ids', 'order'], tokens, stackBytes: 4 * experts },
    ({ a }) => a.emit('mov', rax, 1),
    ({ a, address, loadTokens }) => {
      a.emit('mov', ids, address('ids'));
      a.emit('mov', order, address('order'));
      loadTokens(rows);
      a.emit('imul', rows, rows, chosen);

      a.comment('count');
      a.emit('xor', eax, eax);
      a.emit('xor', r11d, r11d);
      const clear = a.here();
      a.emit('mov', indexed(rsp, i, 4), eax);
      a.emit('inc', i);
      a.emit('cmp', i, experts);
      a.emit('jb', clear);
      forEachRow(() => a.emit('inc', sized(indexed(rsp, rax, 4), 32)));

      a.comment('segments');
      // rax expert, rdx first row, rcx rows left of it, r14 rows of the segment.
      a.emit('xor', eax, eax);
      a.emit('xor', edx, edx);
      a.emit('xor', r13d, r13d);
      const nextExpert = a.here();
      const [done, more] = [a.label(), a.label()];
      a.emit('mov', ecx, indexed(rsp, rax, 4));
      a.emit('mov', indexed(rsp, rax, 4), edx);
      a.bind(more);
      a.emit('test', ecx, ecx);
      a.emit('jz', done);
      a.emit('mov', segmentExpert(order, segment), eax);
      a.emit('mov', segmentStart(order, segment), edx);
      a.emit('inc', segment);
      a.emit('mov', r14d, chunk);
      a.emit('cmp', ecx, r14d);
      a.emit('cmovb', r14d, ecx);
      a.emit('add', rdx, r14);
      a.emit('sub', rcx, r14);
      a.emit('jmp', more);
      a.bind(done);
      a.emit('inc', rax);
      a.emit('cmp', rax, experts);
      a.emit('jb', nextExpert);
      a.emit('mov', segmentCount(order), r13d);
      a.emit('mov', segmentStart(order, segment), edx);

      a.comment('rows');
      forEachRow(() => {
        a.emit('mov', ecx, indexed(rsp, rax, 4));
        a.emit('inc', sized(indexed(rsp, rax, 4), 32));
        a.emit('mov', indexed(order, rcx, 4, rowsAt(shape)), r11d);
      });

      /** With the expert of row i in rax. */
      function forEachRow(emit: () => void): void {
        const [end, next] = [a.label(), a.label()];
        a.emit('xor', r11d, r11d);
        a.bind(next);
        a.emit('cmp', i, rows);
        a.emit('jae', end);
        a.emit('mov', eax, indexed(ids, i, 4));
        a.emit('xor', esi, esi);
        a.emit('test', eax, eax);
        a.emit('cmovs', eax, esi);
        a.emit('mov', esi, experts - 1);
        a.emit('cmp', eax, esi);
        a.emit('cmova', eax, esi);
        emit();
        a.emit('inc', i);
        a.emit('jmp', next);
        a.bind(end);
      }
    },
  );
}

/** Which row of x, f32 [T, K] or [T, k, K], an ordered row is. */
export interface OrderedRows {
  readonly order: OrderShape;
  /** All pairs of a token have one row of x. */
  readonly shared: boolean;
}

/** Of kernels that make activations of x. */
export function activationBuffers(rows: OrderedRows | undefined): readonly ('x' | 'order' | 'activations')[] {
  return rows === undefined ? ['x', 'activations'] : ['x', 'order', 'activations'];
}

/** `to` = the row of x for row `row` of the order at `base`. Changes rax, rcx and rdx. */
export function emitSourceRow(a: Assembler, { order, shared }: OrderedRows, base: Mem, row: Gp, to: Gp): void {
  a.emit('mov', rax, base);
  a.emit('mov', eax, indexed(rax, row, 4, rowsAt(order)));
  if (shared) {
    a.emit('xor', edx, edx);
    a.emit('mov', ecx, order.chosen);
    a.emit('div', ecx);
  }
  a.emit('mov', to, rax);
}
