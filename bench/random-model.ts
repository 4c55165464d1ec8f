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
import type { DecoderConfig } from '../src/models/decoder-config.ts';
import { decoderShapes } from '../src/models/decoder-weights.ts';
import { decoderMetadata, ropeFactors } from '../src/models/gguf-export.ts';
import type { EncodableFormat } from '../src/numerics/quant/format.ts';
import { encodableFormat } from '../src/numerics/quant/formats.ts';
import { spellBytes } from '../src/tokenizer/byte-alphabet.ts';
import { tokenKinds } from '../src/tokenizer/vocabulary.ts';

interface Shape {
  readonly config: DecoderConfig;
  /** How the vocabulary of such models cuts text. */
  readonly pre: string;
}

const common = { normEpsilon: 1e-5, slidingWindow: () => undefined } as const;
const llama = { ...common, architecture: 'llama', headNorm: false, ggufRopeLayout: 'interleaved' } as const;
const qwen3 = { ...common, architecture: 'qwen3', headNorm: true, ggufRopeLayout: 'half', normEpsilon: 1e-6 } as const;

export const shapes = {
  'llama-3.2-1b': {
    pre: 'llama-bpe',
    config: {
      ...llama,
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
    },
  },
  'qwen3-0.6b': {
    pre: 'qwen2',
    config: {
      ...qwen3,
      vocabularySize: 151936,
      hiddenSize: 1024,
      layers: 28,
      heads: 16,
      kvHeads: 8,
      headDim: 128,
      feedForwardSize: 3072,
      contextLength: 40960,
      rope: { base: 1e6, dimensions: 128, layout: 'half', scaling: { kind: 'none' } },
    },
  },
  tiny: {
    pre: 'llama-bpe',
    config: {
      ...llama,
      vocabularySize: 512,
      hiddenSize: 256,
      layers: 2,
      heads: 4,
      kvHeads: 2,
      headDim: 64,
      feedForwardSize: 512,
      contextLength: 256,
      rope: { base: 10000, dimensions: 64, layout: 'interleaved', scaling: { kind: 'none' } },
    },
  },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;
export const weightTypes = ['f16', 'q8_0', 'q4_0', 'q4_K'] as const;

const unitValues = 256;
const poolUnits = 1024;
const deviation = 0.02;
const chunkBytes = 1 << 20;

/** The same seed gives the same file. The head is the embedding, as in the models themselves. */
export function randomModel(name: ShapeName, type: (typeof weightTypes)[number], seed: number): GgufContents {
  const { config, pre }: Shape = shapes[name];
  const format = encodableFormat(type);
  const random = new Random(seed);
  const pool = encodedPool(format, random);
  const tensors = [...decoderShapes(config)].map(([tensor, shape]): TensorToWrite => {
    if (shape.length === 1) return ones(tensor, shape);
    return { name: tensor, format: type, shape, chunks: () => drawn(shape, pool, random) };
  });
  tensors.push(...ropeFactors(config).map(copyTensor));
  return ggufContents(decoderMetadata(config), tensors, [
    ['general.name', `${name} with random weights, seed ${seed}`],
    ...vocabulary(config.vocabularySize, pre),
  ]);
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
