/** What one step may hold, and what the KV cache has room for. */
import type { StepLimits, WindowLimits } from '../composites/step.ts';
import type { Model } from '../models/model.ts';

export const blockSize = 16;

interface CacheSize {
  readonly contextLength: number;
  /** 1 if absent. */
  readonly sequences?: number;
  /** Room for all sequences at their longest if absent; one always has it. */
  readonly cacheTokens?: number | undefined;
  /** Layers with a window keep what they do not see any more, too. */
  readonly keepsAll?: boolean;
}

/**
 * All sequences together may be as long as their contexts, unless the cache has only `cacheTokens`: then as many are computed
 * together as fit, and one always does.
 */
export function stepLimits(
  model: Pick<Model, 'layers' | 'wholeSequences' | 'windowOf'>,
  { contextLength, sequences = 1, cacheTokens = Number.POSITIVE_INFINITY, keepsAll = false }: CacheSize,
): StepLimits {
  const blocksPerSequence = Math.ceil(contextLength / blockSize);
  const cacheBlocks = Math.max(blocksPerSequence, Math.ceil(cacheTokens / blockSize));
  const limits = {
    maxTokens: model.wholeSequences ? contextLength : Math.max(128, sequences),
    maxSequences: sequences,
    maxRows: Math.max(16, sequences),
    blockSize,
    blockCount: Math.min(cacheBlocks, blocksPerSequence * sequences),
    blocksPerSequence,
    maxBias: 512,
  };
  const windows = keepsAll ? [] : windowLimits(model, limits);
  return windows.length === 0 ? limits : { ...limits, windows };
}

/** Of the windows that save something. */
function windowLimits(
  { layers, windowOf }: Pick<Model, 'layers' | 'windowOf'>,
  { maxTokens, maxSequences, blockCount }: StepLimits,
): readonly WindowLimits[] {
  const found = new Set(Array.from({ length: layers }, (_, layer) => windowOf(layer)));
  return [...found].flatMap((window) => {
    if (window === undefined) return [];
    // Neither what is seen nor what is added begins where a block does.
    const blocksPerSequence = Math.ceil((window + maxTokens) / blockSize) + 1;
    // One window more: the beginning of a long answer is known still when it is made again.
    const blocks = maxSequences * blocksPerSequence + Math.ceil(window / blockSize);
    return blocks < blockCount ? [{ window, blockCount: blocks, blocksPerSequence }] : [];
  });
}
