/**
 * How kernels go about their work: how far ahead they ask for memory, in which pieces they take and share it. A schedule changes
 * how long a kernel takes and never a bit of its results; which is best depends on the machine, and the tuner finds it.
 */
import type { InstructionSet } from './target.ts';

export interface Schedule {
  /** Products ask for weights so many bytes before they load them, of all panels that they read side by side, by this instruction. */
  readonly prefetch: 'none' | 'prefetcht0' | 'prefetcht1' | 'prefetchnta';
  readonly prefetchBytes: number;
  /** Panels that a thread reads side by side where there is one token and a tile is small. */
  readonly streams: 1 | 2;
  /** Tokens of a unit of work of products that multiply weights as they lie. */
  readonly directTokens: number;
  /** Tokens of a unit of work of products that decode weights first. */
  readonly unpackedTokens: number;
  /** How much of K is decoded at a time, in products of integers and of floats. */
  readonly decodedIntegers: number;
  readonly decodedFloats: number;
  /** Threads take 1 / (1 + sharing * (threads - 1)) of what is left of a product at a time. */
  readonly sharing: number;
  /** Rows of queries of a unit of attention at most, and units that each thread should have. */
  readonly attentionRows: number;
  readonly attentionUnits: number;
  /** Emitted loops: widest vectors in bits. */
  readonly loopBits: 256 | 512;
  /** Vectors of a turn of emitted loops: of those whose turns are long chains of instructions, such as exponentials, and of the others. */
  readonly chainVectors: number;
  readonly loopVectors: number;
  /** Elements of a side of a tile of a transpose, bytes of a row of a strip of columns. */
  readonly tileSide: number;
  readonly stripBytes: number;
  /** What emitted loops write to a buffer at least for its stores to go past the caches. */
  readonly streamedBytes: number;
}

const KiB = 2 ** 10;
const MiB = 2 ** 20;

/** What each may be, in the order in which neighbours are alike: what the tuner tries, and what a remembered schedule may say. */
export const choices: { readonly [K in keyof Schedule]: readonly Schedule[K][] } = {
  prefetch: ['none', 'prefetcht0', 'prefetcht1', 'prefetchnta'],
  prefetchBytes: [512, 1024, 2048, 3072, 4096, 6144, 8192],
  streams: [1, 2],
  directTokens: [8, 16, 32, 64, 128],
  unpackedTokens: [32, 64, 128, 256, 512],
  decodedIntegers: [256, 512, 1024, 2048],
  decodedFloats: [256, 512, 1024, 2048],
  sharing: [1, 2, 3, 4, 6],
  attentionRows: [16, 32, 64, 128],
  attentionUnits: [1, 2, 4, 8, 16],
  loopBits: [256, 512],
  chainVectors: [1, 2, 3, 4],
  loopVectors: [1, 2, 4],
  tileSide: [16, 32, 64, 128],
  stripBytes: [2 * KiB, 4 * KiB, 8 * KiB, 16 * KiB],
  streamedBytes: [4 * MiB, 16 * MiB, 64 * MiB, 256 * MiB],
};

const usual: Schedule = {
  prefetch: 'prefetcht0',
  prefetchBytes: 2048,
  streams: 1,
  directTokens: 32,
  unpackedTokens: 128,
  decodedIntegers: 256,
  decodedFloats: 256,
  sharing: 2,
  attentionRows: 64,
  attentionUnits: 1,
  loopBits: 512,
  chainVectors: 1,
  loopVectors: 1,
  tileSide: 64,
  stripBytes: 8 * KiB,
  // A last-level cache does not hold so much and what is read for it.
  streamedBytes: 64 * MiB,
};

/** Where nothing has been tuned. */
export const schedules: Readonly<Record<InstructionSet, Schedule>> = {
  avx2: { ...usual, streams: 2 },
  avx512: usual,
  vnni: usual,
  amx: { ...usual, unpackedTokens: 256, decodedIntegers: 512, decodedFloats: 2048 },
  neon: usual,
  dotprod: usual,
  i8mm: usual,
  bf16: usual,
};
