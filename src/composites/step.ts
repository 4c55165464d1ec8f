/**
 * The step descriptor: all that one step of a language model needs, the same for one prompt and for a mixed batch of T
 * tokens of S sequences with R rows of logits. Tokens of sequence s are qStart[s] .. qStart[s] + qLen[s]; its keys and
 * values lie in the blocks of row s of blockTable. Models take these inputs, the engine's runner fills them.
 */
import type { Parameter } from '../ir/program.ts';
import { type SymbolicDim, tensor } from '../ir/types.ts';

/** Upper bounds, fixed when a model's program is built. */
export interface StepLimits {
  /** T: tokens in one step. */
  readonly maxTokens: number;
  /** S: sequences in one step. */
  readonly maxSequences: number;
  /** R: rows whose logits are wanted. */
  readonly maxRows: number;
  /** Tokens a block of the KV pools holds. */
  readonly blockSize: number;
  /** Blocks of the KV pools. */
  readonly blockCount: number;
  /** B: entries of a row of the block table; blockSize * B is the longest context. */
  readonly blocksPerSequence: number;
  /** Entries of the logit bias list. */
  readonly maxBias: number;
  /** Layers with these windows keep no more than they see, in pools of their own; if absent, all layers keep all. */
  readonly windows?: readonly WindowLimits[];
}

/** Pools of the layers that see the last `window` tokens. */
export interface WindowLimits {
  readonly window: number;
  readonly blockCount: number;
  /** That one sequence sees during a step, at most. */
  readonly blocksPerSequence: number;
}

export interface StepDims {
  readonly T: SymbolicDim;
  readonly S: SymbolicDim;
  readonly R: SymbolicDim;
}

export function stepDims(limits: StepLimits): StepDims {
  return {
    T: { sym: 'T', max: limits.maxTokens },
    S: { sym: 'S', max: limits.maxSequences },
    R: { sym: 'R', max: limits.maxRows },
  };
}

/** Stands among `tokens` for what row `row` of the previous step sampled (state `sampled`). */
export const previouslySampled = (row: number): number => -(row + 1);

/** The inputs of every step, in order, named as the runner fills them. */
export function stepInputs(limits: StepLimits) {
  const { T, S, R } = stepDims(limits);
  const input = <N extends string>(name: N, type: Parameter['type']) => ({ name, type, role: 'input' }) as const;
  return [
    /** Token ids, or `previouslySampled`. */
    input('tokens', tensor('i32', [T])),
    /** Position of each token in its sequence. */
    input('positions', tensor('i32', [T])),
    /** The sequence (0..S) that each token belongs to. */
    input('sequence', tensor('i32', [T])),
    /** Where its key and value go: block * blockSize + offset; negative = nowhere. */
    input('slots', tensor('i32', [T])),
    /** First token, number of tokens, length of the context including this step's tokens. */
    input('qStart', tensor('i32', [S])),
    input('qLen', tensor('i32', [S])),
    input('ctxLen', tensor('i32', [S])),
    /** Unused entries are -1. */
    input('blockTable', tensor('i32', [S, limits.blocksPerSequence])),
    /** Tokens (0..T) whose logits are sampled. */
    input('logitRows', tensor('i32', [R])),
  ] as const;
}

/** The name of `slots` or `blockTable` for the pools of a window. */
export const windowInput = (name: 'slots' | 'blockTable', window: number): string => `${name}.window${window}`;

/** For each window what `slots` and `blockTable` are for the layers that keep all. */
export function windowInputs({ windows = [], ...limits }: StepLimits): readonly Parameter[] {
  const { T, S } = stepDims(limits);
  return windows.flatMap(({ window }): readonly Parameter[] => [
    { name: windowInput('slots', window), type: tensor('i32', [T]), role: 'input' },
    { name: windowInput('blockTable', window), type: tensor('i32', [S, limits.blocksPerSequence]), role: 'input' },
  ]);
}

/** Per row of R. Randomness is a function of (seed, position, draw): no generator state between steps. */
export function samplingInputs(limits: StepLimits) {
  const { R } = stepDims(limits);
  const input = <N extends string>(name: N, type: Parameter['type']) => ({ name, type, role: 'input' }) as const;
  return [
    /** 0 = greedy. */
    input('temperature', tensor('f32', [R])),
    /** 0 = off. */
    input('topK', tensor('i32', [R])),
    /** 1 = off. */
    input('topP', tensor('f32', [R])),
    /** 0 = off. */
    input('minP', tensor('f32', [R])),
    /** Low and high half. */
    input('seed', tensor('ui32', [R, 2])),
    /** Position that the sampled token will have: the counter of its random number. */
    input('drawPosition', tensor('i32', [R])),
    /** Row of state `counts` that belongs to this row's sequence. */
    input('countRow', tensor('i32', [R])),
    /** Repetition (1 = off, over prompt and answer), frequency and presence (0 = off, over the answer). */
    input('penalties', tensor('f32', [R, 3])),
    /** Logit bias as (row, token, value) triples; a row outside 0..R is no entry. */
    input('biasRow', tensor('i32', [limits.maxBias])),
    input('biasToken', tensor('i32', [limits.maxBias])),
    input('biasValue', tensor('f32', [limits.maxBias])),
  ] as const;
}

/** State of sampling: last sampled ids, and how often each token occurred in prompt ([s, 0]) and answer ([s, 1]). */
export function samplingState(limits: StepLimits, vocabularySize: number) {
  return [
    { name: 'sampled', type: tensor('i32', [limits.maxRows]), role: 'state' },
    { name: 'counts', type: tensor('i32', [limits.maxSequences, 2, vocabularySize]), role: 'state' },
  ] as const satisfies readonly Parameter[];
}
