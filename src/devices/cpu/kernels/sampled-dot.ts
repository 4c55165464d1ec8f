/**
 * The product of `sampled_dot` (composites/sampled_dot.ts), which leaves to `sample` (sample.ts) the segments of every row and those logits
 * that it may need. Panels of a segment follow one another, by one thread; their results lie in memory of its own, from where the
 * segment is summed (sample-segments.ts) and, where its row may need it (needed-segments.ts), written. A unit of work is a panel, or as many as a
 * product takes at once, and a chunk of tokens.
 */
import { segmentsOf } from '../../../composites/sample.ts';
import { maxDim } from '../../../ir/types.ts';
import { alignUp } from '../align.ts';
import { indexed, offset, ptr, r9, r10, r11, r12, r13, rax, rbp, rcx, rdi, rdx, rsi, rsp } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import type { Register } from '../emit/machine.ts';
import type { Target } from '../target.ts';
import type { Frame } from './frame.ts';
import { emitIncluded, includedBytes } from './included.ts';
import { emitIfNeeded, neededBuffers, neededBytes, neededKernel } from './needed-segments.ts';
import { panelBytes, panelRows } from './packing.ts';
import { emitPrefetch } from './prefetch.ts';
import { type DotShape, dotKernel, dotLayout } from './quantized-dot.ts';
import { emitCopy, tailSlot } from './sample-logits.ts';
import { emitGreatest, emitSum, segmentBytes } from './sample-segments.ts';
import { KernelWriter } from './writer.ts';

export interface SampledDotShape extends Pick<DotShape, 'format' | 'numerics' | 'tokens' | 'N' | 'K' | 'bias'> {
  /** Entries of the list of biases of logits. */
  readonly biases: number;
}

export const sampledDotBuffers = (bias: boolean) => [
  ...(['x', 'weight'] as const),
  ...(bias ? (['bias'] as const) : []),
  ...(['temperature', 'topK', 'penalties', 'biasRow', 'logits', 'segments'] as const),
];
type Buffer = ReturnType<typeof sampledDotBuffers>[number];

/**
 * Buffers: x, weight (packed), a bias f32 [N] if there is one, inputs of `sample`, logits f32 [T, N], segments. `x` are the activations that
 * `activationsOf` says; N is several whole segments.
 * @throws IngotError 'UnsupportedOp' for a pair of format and numerics without a kernel.
 */
export function sampledDotKernel(shape: SampledDotShape, target: Target): EmittedKernel {
  const { numerics, tokens, N, K, bias, biases } = shape;
  const { products, layout } = dotLayout(shape, target);
  const { format, tokenBytes, together, chunk, streams } = layout;
  const { count, size } = segmentsOf(N);
  const panels = size / panelRows;
  const units = panels / together;
  const buffers = sampledDotBuffers(bias);
  const [needed, sum] = [neededKernel(tokens, biases), segmentKernel(N)];

  // A thread's own: results of a chunk for a segment, what its rows need, arguments of the kernels within.
  const rowBytes = 4 * size;
  const neededAt = chunk * rowBytes;
  const argumentsAt = neededAt + maxDim(tokens) * neededBytes;
  const ownBytes = alignUp(argumentsAt + Math.max(includedBytes(needed), includedBytes(sum)), 64);

  /** Segment to rax, first token to rdx, their number to rsi, of the unit the place in the segment to rcx. Changes rdi and r11. */
  const emitPart = ({ a, unit, loadTokens }: Frame<Buffer>) => {
    a.emit('mov', rdi, ptr(rbp));
    loadTokens(rsi);
    a.emit('lea', r11, ptr(rsi, chunk - 1));
    a.emit('shr', r11, Math.log2(chunk));
    a.emit('mov', rax, unit);
    a.emit('shr', rax, Math.log2(units));
    a.emit('xor', rdx, rdx);
    a.emit('div', r11);
    a.emit('shl', rdx, Math.log2(chunk));
    a.emit('sub', rsi, rdx);
    a.emit('mov', rcx, chunk);
    a.emit('cmp', rsi, rcx);
    a.emit('cmova', rsi, rcx);
    a.emit('mov', rcx, unit);
    a.emit('and', rcx, units - 1);
  };

  return dotKernel<Buffer>(shape, products, layout, target.schedule, {
    name: `sampled_dot_${format}_${numerics}_${N}x${K}`,
    buffers,
    bias,
    ownBytes,
    rows: (a, own) => ({
      to: (token) => indexed(rsp, r10, 1, own.disp + rowBytes * token),
      emitNext(tokens) {
        if (typeof tokens === 'number') {
          a.emit('add', r10, rowBytes * tokens);
          return;
        }
        a.emit('imul', rax, tokens, rowBytes);
        a.emit('add', r10, rax);
      },
    }),
    emitStart({ a, address, loadTokens }, own) {
      emitIncluded(a, needed, offset(own, argumentsAt), (i) => {
        const name = neededBuffers[i];
        a.emit('mov', rdi, ptr(rbp));
        if (name === undefined) loadTokens(rax);
        else if (name === 'needed') a.emit('lea', rax, offset(own, neededAt));
        else a.emit('mov', rax, address(name));
      });
      a.emit('mov', rdi, ptr(rbp));
      loadTokens(rax);
      a.emit('add', rax, chunk - 1);
      a.emit('shr', rax, Math.log2(chunk));
      a.emit('imul', rax, rax, count * units);
    },
    // Threads take whole segments, so two panels at once are always of one: there are an even number of them.
    emitUnitOf: ({ a }) => a.emit('and', rax, -units),
    emitPlace(frame) {
      const { a, address } = frame;
      emitPart(frame);
      a.emit('imul', r13, rdx, tokenBytes);
      a.emit('add', r13, address('x'));
      a.emit('imul', r10, rcx, 4 * panelRows * together);
      a.emit('imul', rdx, rax, panels);
      a.emit('imul', rcx, rcx, together);
      a.emit('add', rdx, rcx);
      a.emit('imul', r12, rdx, panelBytes(format, K));
      a.emit('add', r12, address('weight'));
      if (bias) {
        a.emit('mov', r9, rdx);
        a.emit('shl', r9, 6);
        a.emit('add', r9, address('bias'));
      }
    },
    emitAfter(frame, own) {
      const { a, unit, address } = frame;
      const more = a.label();
      a.emit('mov', rax, unit);
      a.emit('and', rax, units - 1);
      a.emit('cmp', rax, units - 1);
      a.emit('jne', more);
      emitPart(frame);
      a.emit('mov', r12, rax);
      a.emit('mov', r13, rdx);
      // What the next panels' first tiles would have been asked for by those before them; memory has something to do meanwhile.
      a.emit('imul', r11, rax, panels * panelBytes(format, K));
      a.emit('add', r11, address('weight'));
      for (let stream = 0; stream < streams; stream++) {
        const next = (panels + stream) * panelBytes(format, K);
        const { schedule } = target;
        emitPrefetch(
          a,
          { ...schedule, prefetchBytes: 0 },
          (at) => ptr(r11, next + at),
          schedule.prefetchBytes / streams,
        );
      }
      const words: Readonly<Record<(typeof segmentWords)[number], () => void>> = {
        results: () => a.emit('lea', rax, own),
        needed: () => a.emit('lea', rax, offset(own, neededAt)),
        logits: () => a.emit('mov', rax, address('logits')),
        segments: () => a.emit('mov', rax, address('segments')),
        segment: () => a.emit('mov', rax, r12),
        first: () => a.emit('mov', rax, r13),
        rows: () => a.emit('mov', rax, rsi),
      };
      emitIncluded(a, sum, offset(own, argumentsAt), (i) => words[segmentWords[i]]());
      a.bind(more);
    },
  });
}

const segmentWords = ['results', 'needed', 'logits', 'segments', 'segment', 'first', 'rows'] as const;

/** The `segment`-th segment of `rows` rows from `first` on, whose logits are at `results`. */
function segmentKernel(N: number): EmittedKernel {
  const { size } = segmentsOf(N);
  const w = new KernelWriter('segment', segmentWords, []);
  const tail = tailSlot();
  const [first, number] = [w.buffer('first'), w.buffer('segment')];
  const forEachRow = (body: (logits: Register, row: Register) => void) => {
    const results = w.buffer('results');
    w.forEach(first, w.sum(first, w.buffer('rows')), 1, (row) => {
      body(results, row);
      w.change('add', results, 4 * size);
    });
  };
  const ofRow = (name: 'needed' | 'logits' | 'segments', row: Register, bytes: number) =>
    w.sum(w.buffer(name), w.product(row, bytes));
  // One row's greatest is looked for while that of another is folded, and so are sums.
  forEachRow((logits, row) => {
    const greatest = emitGreatest(w, tail, logits, N, ofRow('segments', row, segmentBytes(N)), number);
    emitIfNeeded(w, tail, ofRow('needed', row, neededBytes), greatest, () => {
      const to = w.sum(ofRow('logits', row, 4 * N), w.product(number, 4 * size));
      emitCopy(w, logits, to, size);
    });
  });
  forEachRow((logits, row) => emitSum(w, tail, logits, N, ofRow('segments', row, segmentBytes(N)), number));
  return w.finish();
}
