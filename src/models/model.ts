/**
 * What the rest of Ingot knows of a model: its dimensions, where its weights lie, and a function that builds its
 * program for one step. An architecture is one file that makes this from a checkpoint.
 */

import type { DotNumerics } from '../composites/quantized_dot.ts';
import type { StepLimits } from '../composites/step.ts';
import type { Checkpoint, Metadata, StoredTensor } from '../formats/checkpoint.ts';
import type { Program } from '../ir/program.ts';
import type { KvFormat } from '../numerics/kv-format.ts';

/**
 * 'sample': `ids` i32[R] and `logprobs` f32[R] (of the raw logits), sampled as `samplingInputs` say.
 * 'logits': `logits` f32[R, V].
 * 'embedding': `embedding` f32[S, H], one vector of length 1 for the tokens of each sequence in this step.
 */
export type ModelResult = 'sample' | 'logits' | 'embedding';

/** What of a sequence its embedding is made of: its first token, all in equal parts, its last one. */
export type Pooling = 'cls' | 'mean' | 'last';

export interface BuildOptions {
  readonly limits: StepLimits;
  /** Of those that the model has. Without 'sample' the program has no sampling inputs. */
  readonly results: readonly ModelResult[];
  /** Of the KV pools, states `kv.<layer>.<name>` of [blockCount * blockSize, heads, length], as `kvRow` says; `blockCount` of a layer whose window is in `limits` is that window's. */
  readonly kv: KvFormat;
  readonly numerics: DotNumerics;
}

/** An architecture with its settings and weights, which builds programs. */
export interface Model {
  /** 'llama', 'qwen3' ... */
  readonly architecture: string;
  readonly vocabularySize: number;
  /** Longest context that the model was made for, in tokens. */
  readonly contextLength: number;
  readonly layers: number;
  /** What a program of it can compute. */
  readonly results: readonly ModelResult[];
  /** All tokens of a sequence must be in one step: they see each other, or its embedding is made of all of them. */
  readonly wholeSequences: boolean;
  /**
   * Its embeddings may be cut: the first of their numbers say most (Matryoshka representation learning,
   * https://arxiv.org/abs/2205.13147).
   */
  readonly matryoshka: boolean;
  readonly parameterCount: number;
  /** Experts of each mixture that a token uses; absent where there are none. */
  readonly expertsOfToken?: number;
  /** Weight parameters of the program, by name, and the tensors that hold them. */
  readonly weights: ReadonlyMap<string, StoredTensor>;
  /** Tokens that a layer sees back, where it does not see all. */
  windowOf(layer: number): number | undefined;
  /** What the KV pools of all layers take. @throws IngotError 'UnsupportedOp' as `kvRow`. */
  kvBytes(kv: KvFormat, limits: Pick<StepLimits, 'blockCount' | 'blockSize' | 'windows'>): number;
  /** The program of a step. */
  build(options: BuildOptions): Program;
  /** The model in GGUF's terms. @throws IngotError 'UnsupportedFile' for what GGUF cannot say. */
  toGguf(): GgufDescription;
}

/** A model as a GGUF file says it: everything but a name, a vocabulary, and the formats of the weights. */
export interface GgufDescription {
  readonly metadata: Metadata;
  /** Keys whose values are floats, even where they are whole. */
  readonly floats: ReadonlySet<string>;
  readonly weights: readonly {
    readonly name: string;
    readonly stored: StoredTensor;
    /** Is f32 in every such file, whatever its matrices are. */
    readonly exact?: boolean;
  }[];
}

export interface Architecture {
  readonly name: string;
  /** Values of GGUF's `general.architecture`. */
  readonly gguf: readonly string[];
  /** Values of `architectures` in a Hugging Face `config.json`. */
  readonly huggingface: readonly string[];
  /** @throws IngotError 'InvalidFile' for settings or tensors that are missing or do not fit, 'UnsupportedFile' for what Ingot does not know. */
  open(checkpoint: Checkpoint): Model;
}
