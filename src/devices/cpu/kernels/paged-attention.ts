/**
 * `paged_attention` (composites/paged_attention.ts), with the bits of its decomposition. Consecutive tokens of one sequence
 * make a block; a unit of work is a block and some heads of the pools, and threads share the units by the number of scores in
 * them. Steps of few tokens are divided by partitions too, and their results merged by a second kernel, in the same order. How the
 * work is divided changes no bits.
 */
import type { EmittedKernel } from '../emit/abi.ts';
import { at, type Register } from '../emit/machine.ts';
import type { Target } from '../target.ts';
import { Bf16AttentionUnit } from './attention-bf16-unit.ts';
import {
  type AttentionWriter,
  attentionBuffers,
  blockAt,
  divided,
  forEachBlock,
  partialOf,
  spanOf,
} from './attention-blocks.ts';
import { FloatAttentionUnit } from './attention-float-unit.ts';
import { IntegerAttentionUnit } from './attention-integer-unit.ts';
import { type AttentionShape, canSplit, type Frame, frameOf, splitTokens } from './attention-shape.ts';
import { emitEmpty, emitMerge, emitResult, stateAt } from './attention-softmax.ts';
import type { AttentionUnit } from './attention-unit.ts';
import { KernelWriter } from './writer.ts';

/** The kernels of one attention: they run one after the other. */
export function attentionKernels(
  shape: AttentionShape,
  target: Target,
): readonly { name: string; make(): EmittedKernel }[] {
  const attention = { name: 'paged_attention', make: () => attend(shape, target) };
  const merging = { name: 'paged_attention_merge', make: () => merge(shape, target) };
  return canSplit(shape) ? [attention, merging] : [attention];
}

function writerOf(name: string, shape: AttentionShape, { vectorBits }: Target): AttentionWriter {
  return new KernelWriter(name, attentionBuffers(shape), [shape.tokens, shape.sequences], vectorBits);
}

function unitOf(shape: AttentionShape, frame: Frame, target: Target): AttentionUnit {
  switch (shape.numerics) {
    case undefined:
      return new FloatAttentionUnit(shape, frame);
    case 'bf16':
      return new Bf16AttentionUnit(shape, frame, target);
    case 'i16':
      return new IntegerAttentionUnit(shape, frame);
    default:
      return shape.numerics satisfies never;
  }
}

function attend(shape: AttentionShape, target: Target): EmittedKernel {
  const { attentionRows, attentionUnits } = target.schedule;
  const { kvHeads } = shape;
  const frame = frameOf(shape, attentionRows);
  const work = unitOf(shape, frame, target);
  const w = writerOf('paged_attention', shape, target);
  work.emitStart(w);
  const total = w.value(1);
  /** Passes over the blocks: one, or one for each partition. */
  const passes = w.value(1);
  const split = isSplit(w, shape);
  forEachBlock(w, shape, frame.rows, ({ first, last, rows, to }) => {
    w.change('add', total, w.product(w.difference(last, first), w.product(rows, kvHeads)));
    if (split !== undefined) w.when(split, 'ne', 0, () => w.bound(passes, 'max', to));
  });
  // Some units a thread, so that all end at about the same time.
  const wanted = divided(w, total, w.product(w.threadCount, attentionUnits));
  const unit = w.value(0);
  const mine = w.gp();
  w.take(mine);
  // Partition by partition: sequences that begin alike find what they share in the caches, one after the other.
  w.forEach(0, passes, 1, (pass) => {
    forEachBlock(w, shape, frame.rows, (block) => {
      const from = w.value(block.from);
      const to = w.value(block.to);
      const isHere = w.value(1);
      if (split !== undefined) {
        w.when(split, 'ne', 0, () => {
          w.bound(from, 'max', pass);
          w.bound(to, 'min', w.sum(pass, 1));
          w.when(to, 'le', from, () => w.set(isHere, 0));
        });
      }
      const span = spanOf(w, shape, block, from, to);
      // Neighbouring heads lie side by side: the more of them, the longer the runs in memory.
      const perHead = w.product(span, block.rows);
      const heads = divided(w, w.sum(wanted, w.shift(perHead, 'shr', 1)), w.sum(perHead, 1));
      w.bound(heads, 'min', divided(w, w.value(frame.rows), block.rows));
      w.bound(heads, 'max', 1);
      w.when(isHere, 'ne', 0, () =>
        w.forEach(0, kvHeads, heads, (head) => {
          const some = w.difference(kvHeads, head);
          w.bound(some, 'min', heads);
          w.when(unit, 'e', mine, () => {
            work.emit(w, { block, from, to, head, heads: some }, split);
            w.take(mine);
          });
          w.change('add', unit, 1);
        }),
      );
    });
  });
  work.emitEnd(w);
  return w.finish();
}

/** Merges the partitions of every row. */
function merge(shape: AttentionShape, target: Target): EmittedKernel {
  const { tokens, heads, valueDim, sinks } = shape;
  const w = writerOf('paged_attention_merge', shape, target);
  const { code } = w;
  const all = w.dim(tokens);
  const { running, runningStatistics } = frameOf(shape, target.schedule.attentionRows);
  const row = w.product(all, heads);
  const [from, to] = [0, 1].map((next) => divided(w, w.product(row, w.sum(w.threadIndex, next)), w.threadCount)) as [
    Register,
    Register,
  ];
  const split = isSplit(w, shape);
  if (split !== undefined) w.when(split, 'e', 0, () => w.set(to, 0));
  w.forEach(from, to, 1, (row) => {
    const token = divided(w, row, w.value(heads));
    const head = w.difference(row, w.product(token, heads));
    const block = blockAt(w, shape, token, w.value(1));
    const state = stateAt(w, runningStatistics, running, valueDim, w.value(0));
    emitEmpty(w, code, valueDim, state);
    w.forEach(block.from, block.to, 1, (p) => emitMerge(w, code, valueDim, state, partialOf(w, shape, row, p)));
    const result = w.sum(w.buffer('y'), w.product(row, 4 * valueDim));
    emitResult(w, code, valueDim, state, sinks ? at(w.buffer('sinks'), 0, head, 4) : undefined, result);
  });
  return w.finish();
}

/** 1 where partitions are units of their own, else 0; undefined where they never are. */
function isSplit(w: AttentionWriter, shape: AttentionShape): Register | undefined {
  if (!canSplit(shape)) return undefined;
  const split = w.value(1);
  const tokens = w.dim(shape.tokens);
  w.when(typeof tokens === 'number' ? w.value(tokens) : tokens, 'g', splitTokens, () => w.set(split, 0));
  return split;
}
