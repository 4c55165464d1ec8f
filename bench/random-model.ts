/**
 * GGUF files of real models' shapes with random weights, for tests and measurements where the real ones are not at hand.
 *
 * Weights are normal with the deviation that transformers initializes with. Encoding a billion of them would take
 * minutes, so a pool of `poolUnits` units of 256 values is encoded once and every unit of every matrix is drawn from it:
 * each value is normally distributed, rows of a matrix all differ and have full rank, and only runs of 256 values, at
 * multiples of 256, occur again.
 */
import { ggufContents } from '../src/cli/gguf-file.ts';
import type { Metadata, MetadataValue } from '../src/formats/checkpoint.ts';
import type { GgufContents } from '../src/formats/gguf-write.ts';
import { copyTensor, type TensorToWrite } from '../src/formats/tensor-stream.ts';
import { type Decoder, decoderRows } from '../src/models/decoder.ts';
import { chooseFormats } from '../src/models/file-types.ts';
import { llama } from '../src/models/llama.ts';
import { qwen3 } from '../src/models/qwen3.ts';
import { qwen3Moe } from '../src/models/qwen3-moe.ts';
import type { TensorRow } from '../src/models/tensors.ts';
import type { EncodableFormat } from '../src/numerics/quant/format.ts';
import { encodableFormat } from '../src/numerics/quant/formats.ts';
import { spellBytes } from '../src/tokenizer/byte-alphabet.ts';
import { tokenKinds } from '../src/tokenizer/vocabulary.ts';

export interface Shape {
  readonly decoder: Decoder;
  /** How the vocabulary of such models cuts text. */
  readonly pre: string;
}

const common = { normEpsilon: 1e-5, windowOf: () => undefined, experts: undefined, pooling: undefined } as const;

export const shapes = {
  'llama-3.2-1b': {
    pre: 'llama-bpe',
    decoder: llama.decoder({
      ...common,
      vocabularySize: 128256,
      hiddenSize: 2048,
      layers: 16,
      heads: 32,
      kvHeads: 8,
      headDim: 64,
      feedForwardSize: 8192,
      contextLength: 131072,
      rope: {
        base: 500000,
        dimensions: 64,
        layout: 'interleaved',
        scaling: {
          kind: 'llama3',
          factor: 32,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalContextLength: 8192,
        },
      },
    }),
  },
  'qwen3-0.6b': {
    pre: 'qwen2',
    decoder: qwen3.decoder({
      ...common,
      normEpsilon: 1e-6,
      vocabularySize: 151936,
      hiddenSize: 1024,
      layers: 28,
      heads: 16,
      kvHeads: 8,
      headDim: 128,
      feedForwardSize: 3072,
      contextLength: 40960,
      rope: { base: 1e6, dimensions: 128, layout: 'half', scaling: { kind: 'none' } },
    }),
  },
  /** Proportions of Qwen3-30B-A3B at 0.76 billion weights, of which a token uses 0.3. */
  'qwen3-moe-0.8b': {
    pre: 'qwen2',
    decoder: qwen3Moe.decoder({
      ...common,
      normEpsilon: 1e-6,
      vocabularySize: 151936,
      hiddenSize: 1024,
      layers: 16,
      heads: 16,
      kvHeads: 8,
      headDim: 128,
      feedForwardSize: 3072,
      sizes: { experts: 32, chosen: 4, expertSize: 320 },
      normalized: true,
      contextLength: 40960,
      rope: { base: 1e6, dimensions: 128, layout: 'half', scaling: { kind: 'none' } },
    }),
  },
  tiny: {
    pre: 'llama-bpe',
    decoder: llama.decoder({
      ...common,
      vocabularySize: 512,
      hiddenSize: 256,
      layers: 2,
      heads: 4,
      kvHeads: 2,
      headDim: 64,
      feedForwardSize: 512,
      contextLength: 256,
      rope: { base: 10000, dimensions: 64, layout: 'interleaved', scaling: { kind: 'none' } },
    }),
  },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;
/** File types of `ingot quantize`; 'q4_K' are matrices that are all in that format. */
export const weightTypes = ['f16', 'q8_0', 'q4_0', 'q4_K', 'q4_K_M'] as const;
export type WeightType = (typeof weightTypes)[number];

/** A shape that nobody has chosen: of some 0.3 to 0.8 billion weights, and sizes that published models could have. */
export function drawnShape(seed: number): Shape & { readonly name: string } {
  const random = new Random(seed);
  const between = (low: number, high: number, step: number) =>
    low + step * Math.floor(random.uniform() * ((high - low) / step + 1));
  const headDim = random.uniform() < 0.5 ? 64 : 128;
  const kvHeads = between(2, 8, 2);
  const sizes = {
    hiddenSize: between(1024, 2048, 256),
    layers: between(10, 20, 1),
    heads: kvHeads * between(1, 4, 1),
    kvHeads,
    headDim,
    feedForwardSize: between(2560, 5632, 256),
    vocabularySize: between(32000, 96000, 64),
  };
  const { hiddenSize, layers, heads, feedForwardSize, vocabularySize } = sizes;
  const name = `drawn-${seed}: ${layers} layers of ${hiddenSize}, ${heads} heads of ${headDim} on ${kvHeads}, feed-forward ${feedForwardSize}, vocabulary ${vocabularySize}`;
  const rope = { base: 10000, dimensions: headDim, layout: 'interleaved', scaling: { kind: 'none' } } as const;
  const decoder = llama.decoder({ ...common, ...sizes, contextLength: 8192, rope });
  return { name, pre: 'llama-bpe', decoder };
}

const unitValues = 256;
const poolUnits = 1024;
const deviation = 0.02;
const chunkBytes = 1 << 20;

/** The same seed gives the same file. The head is the embedding, as in the models themselves. */
export function randomModel(name: ShapeName, type: WeightType, seed: number): GgufContents {
  return randomModelOf({ name, ...shapes[name] }, type, seed);
}

export function randomModelOf(
  { name, decoder, pre }: Shape & { readonly name: string },
  type: WeightType,
  seed: number,
): GgufContents {
  const random = new Random(seed);
  const rows = [...decoderRows(decoder)].filter(({ optional, made }) => !optional || made !== undefined);
  const formats = formatsOf(decoder, rows, type);
  const pools = new Map<string, Uint8Array>();
  const poolOf = (format: string) => {
    const pool = pools.get(format) ?? encodedPool(encodableFormat(format), new Random(seed));
    pools.set(format, pool);
    return pool;
  };
  const tensors = rows.map(({ gguf, shape, made, exact }): TensorToWrite => {
    if (made !== undefined) return copyTensor(made);
    if (shape.length === 1) return ones(gguf, shape);
    const format = exact ? 'f32' : formats(gguf);
    return { name: gguf, format, shape, chunks: () => drawn(shape, poolOf(format), random) };
  });
  return ggufContents(decoder.gguf(), tensors, [
    ['general.name', `${name} with random weights, seed ${seed}`],
    ...vocabulary(decoder.vocabularySize, pre),
  ]);
}

/** One format, or those that `ingot quantize` chooses. */
function formatsOf(decoder: Decoder, rows: readonly TensorRow[], type: WeightType): (name: string) => string {
  if (type !== 'q4_K_M') return () => type;
  const tensors = rows.map(({ gguf, shape }) => ({ name: gguf, shape }));
  const choice = { type, metadata: decoder.gguf().metadata, hasImportance: false, overrides: [] };
  const chosen = chooseFormats(tensors, choice);
  return (name) => chosen.get(name) ?? 'f32';
}

function encodedPool(format: EncodableFormat, random: Random): Uint8Array {
  const values = Float32Array.from({ length: poolUnits * unitValues }, () => deviation * random.normal());
  const bytes = new Uint8Array((values.length / format.blockSize) * format.blockBytes);
  format.encode(values, bytes);
  return bytes;
}

function ones(name: string, shape: readonly number[]): TensorToWrite {
  return { name, format: 'f32', shape, chunks: () => [new Uint8Array(new Float32Array(shape[0] ?? 0).fill(1).buffer)] };
}

function* drawn(shape: readonly number[], pool: Uint8Array, random: Random): Iterable<Uint8Array> {
  const unitBytes = pool.length / poolUnits;
  const units = shape.reduce((product, size) => product * size, 1 / unitValues);
  const step = Math.floor(chunkBytes / unitBytes);
  for (let done = 0; done < units; done += step) {
    const chunk = new Uint8Array(Math.min(step, units - done) * unitBytes);
    for (let at = 0; at < chunk.length; at += unitBytes) {
      const unit = random.below(poolUnits) * unitBytes;
      chunk.set(pool.subarray(unit, unit + unitBytes), at);
    }
    yield chunk;
  }
}

/** A token for every byte, fillers, and two that begin and end a text; nothing merges, so any text can be encoded. */
function vocabulary(size: number, pre: string): Metadata {
  const bytes = Array.from({ length: 256 }, (_, byte) => spellBytes(Uint8Array.of(byte)));
  const fillers = Array.from({ length: size - bytes.length - 2 }, (_, i) => `<filler_${i}>`);
  const types = new Int32Array(size).fill(1 + tokenKinds.indexOf('normal'));
  types.fill(1 + tokenKinds.indexOf('control'), size - 2);
  return new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', pre],
    ['tokenizer.ggml.tokens', [...bytes, ...fillers, '<|begin_of_text|>', '<|end_of_text|>']],
    ['tokenizer.ggml.token_type', types],
    ['tokenizer.ggml.merges', []],
    ['tokenizer.ggml.bos_token_id', size - 2],
    ['tokenizer.ggml.eos_token_id', size - 1],
  ]);
}

/** xorshift32 (Marsaglia, https://doi.org/10.18637/jss.v008.i14): enough for weights that mean nothing. */
class Random {
  #state: number;

  constructor(seed: number) {
    // Far apart for seeds that are near, and never zero.
    this.#state = Math.imul(seed + 1, 0x9e3779b9);
    for (let i = 0; i < 8; i++) this.#next();
  }

  #next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** From 0 to below 1. */
  uniform(): number {
    return this.#next() / 2 ** 32;
  }

  /** `limit`: a power of two. */
  below(limit: number): number {
    return this.#next() & (limit - 1);
  }

  /** Box and Muller's. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log((this.#next() + 1) / 2 ** 32));
    return radius * Math.cos((2 * Math.PI * this.#next()) / 2 ** 32);
  }
}
