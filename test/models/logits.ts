/** Logits of all tokens of a text, computed in steps of given sizes. */
import type { StepLimits } from '../../src/composites/step.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import type { Runner } from '../../src/engine/runner.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';

/** Of what the fixtures' goldens are of. */
export const limits: StepLimits = {
  maxTokens: 40,
  maxSequences: 1,
  maxRows: 40,
  blockSize: 16,
  blockCount: 16,
  blocksPerSequence: 3,
  maxBias: 8,
};

export async function logitsOf(
  runner: Runner,
  ids: readonly number[],
  pieces: readonly number[],
): Promise<Float32Array> {
  const blocks = new BlockManager(runner.limits);
  const sequence: CachedSequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
  const parts: Float32Array[] = [];
  for (const count of pieces) {
    const start = sequence.computed;
    blocks.advance(sequence.blocks, start);
    blocks.grow(sequence.blocks, start + count);
    const windowTables = blocks.windowTables(sequence.blocks);
    parts.push((await runner.score({ sequence, start, count, samples: false, windowTables })).slice());
    sequence.computed += count;
  }
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
