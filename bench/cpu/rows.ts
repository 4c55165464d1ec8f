/** What is compared, and by how much Ingot has to be ahead: a row a line of the table in docs/results.md. */

import type { InstructionSet } from '../../src/devices/cpu/target.ts';
import type { EngineNumerics } from '../../src/engine/engine.ts';
import type { KvFormat } from '../../src/numerics/kv-format.ts';
import type { Work } from '../llama-work.ts';
import type { ShapeName, WeightType } from '../random-model.ts';

export interface ModelFile {
  /** 'drawn': a shape that the benchmark draws. */
  readonly shape: ShapeName | 'drawn';
  readonly type: WeightType;
}

interface Common {
  readonly work: string;
  readonly model: ModelFile;
}

/** Who is beside Ingot. */
export type Peer = 'llama.cpp' | 'onnxruntime-node';

/** Speed: at least so many times the peer's. */
export interface SpeedRow extends Common {
  readonly kind: 'speed';
  readonly test: Work;
  readonly numerics: EngineNumerics;
  readonly kv: KvFormat;
  readonly bar: number;
  readonly peer: Peer;
  /** Both sides use no more than this set, where they can be told to. */
  readonly set?: InstructionSet;
}

/** The memory of the processes that computed the model's prompt: at most so many times llama.cpp's. */
interface MemoryRow extends Common {
  readonly kind: 'memory';
  readonly bar: number;
}

/** Seconds from the start of a process to its first token: at most so many times llama.cpp's. */
interface StartRow extends Common {
  readonly kind: 'start';
  readonly bar: number;
}

export type Row = SpeedRow | MemoryRow | StartRow;

const kv = 'bf16';
const prompt: Work = { kind: 'prefill', tokens: 512 };
const answer: Work = { kind: 'decode', tokens: 24, depth: 0, sequences: 1 };
const deep: Work = { kind: 'decode', tokens: 16, depth: 4096, sequences: 1 };
const many: Work = { kind: 'decode', tokens: 8, depth: 0, sequences: 16 };

const big = (type: WeightType): ModelFile => ({ shape: 'llama-3.2-1b', type });
const small: ModelFile = { shape: 'qwen3-0.6b', type: 'q4_0' };
const mixture: ModelFile = { shape: 'qwen3-moe-0.8b', type: 'q4_0' };
const drawn: ModelFile = { shape: 'drawn', type: 'q4_0' };

function speed(work: string, model: ModelFile, test: Work, bar: number, more: Partial<SpeedRow> = {}): SpeedRow {
  return { kind: 'speed', work, model, test, numerics: 'exact', kv, bar, peer: 'llama.cpp', ...more };
}

const fast = { numerics: 'fast' } as const;
const onnx = { peer: 'onnxruntime-node', kv: 'f32' } as const;

/** The usual four of a model. */
function usual(model: ModelFile, bars: { fast?: number; exact?: number; decode: number }): readonly Row[] {
  return [
    ...(bars.fast === undefined ? [] : [speed('prefill 512, fast', model, prompt, bars.fast, fast)]),
    ...(bars.exact === undefined ? [] : [speed('prefill 512, i8', model, prompt, bars.exact)]),
    speed('decode', model, answer, bars.decode),
  ];
}

function forced(set: InstructionSet, name: string): readonly Row[] {
  return [
    speed(`prefill 512, i8, ${name}`, big('q4_0'), prompt, 1.2, { set }),
    speed(`decode, ${name}`, big('q4_0'), answer, 1.2, { set }),
  ];
}

export const rows: readonly Row[] = [
  ...usual(big('q4_0'), { fast: 5, exact: 2.4, decode: 1.3 }),
  speed('decode at depth 4096', big('q4_0'), deep, 1.7),
  speed('decode at depth 4096', big('q4_0'), deep, 1.9, { kv: 'int8' }),
  speed('decode of 16 sequences', big('q4_0'), many, 3.4),
  { kind: 'memory', work: 'peak memory', model: big('q4_0'), bar: 0.65 },
  { kind: 'start', work: 'start to first token', model: big('q4_0'), bar: 1 },
  ...forced('avx2', 'AVX2 only'),
  ...forced('vnni', 'AVX-512 without AMX'),
  ...usual(big('q8_0'), { fast: 4.5, exact: 2.2, decode: 1.06 }),
  speed('decode of 16 sequences', big('q8_0'), many, 3),
  { kind: 'memory', work: 'peak memory', model: big('q8_0'), bar: 0.65 },
  ...usual(big('q4_K_M'), { fast: 4.5, exact: 3, decode: 1.5 }),
  { kind: 'memory', work: 'peak memory', model: big('q4_K_M'), bar: 0.65 },
  ...usual(big('f16'), { fast: 8, decode: 1.1 }),
  { kind: 'memory', work: 'peak memory', model: big('f16'), bar: 0.65 },
  ...usual(small, { fast: 5, exact: 2.4, decode: 1.3 }),
  ...usual(mixture, { exact: 3, decode: 1.3 }),
  ...usual(drawn, { fast: 5, exact: 2.4, decode: 1.3 }),
  speed('prefill 512, i8, beside onnxruntime-node', big('q4_0'), prompt, 5, onnx),
  speed('decode, beside onnxruntime-node', big('q4_0'), answer, 1.8, onnx),
];
