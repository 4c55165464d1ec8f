/**
 * A file of ONNX (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) of a Llama's shape with random weights in 4 bits, as onnxruntime and
 * transformers.js run such models on processors.
 *
 * The operators are those of the model builder of onnxruntime-genai (com.microsoft): MatMulNBits of blocks of 32 with activations in 8 bits
 * (accuracy level 4), GroupQueryAttention with rotary embeddings, SkipSimplifiedLayerNormalization; embeddings are looked up in f32. Only the
 * logits of one token of a step, `last`, are computed, as Ingot and llama.cpp do.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { basename } from 'node:path';

export interface OnnxShape {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly feedForwardSize: number;
}

/** Llama-3.2-1B's. */
export const onnxLlama1b: OnnxShape = {
  vocabularySize: 128256,
  hiddenSize: 2048,
  layers: 16,
  heads: 32,
  kvHeads: 8,
  headDim: 64,
  feedForwardSize: 8192,
};

/** Positions that the tables of angles have. */
const contextLength = 4352;
const block = 32;
const elementTypes = { f32: 1, ui8: 2, i32: 6, i64: 7 } as const;
type Element = keyof typeof elementTypes;
type Dims = readonly (number | string)[];

/** Writes the graph to `path` and the weights to `path`.data, 0.66 and 1.0 GB for the shape of Llama-3.2-1B. */
export function writeOnnxModel(path: string, shape: OnnxShape): void {
  const { vocabularySize, hiddenSize, layers, heads, kvHeads, headDim, feedForwardSize } = shape;
  using graph = new Graph(`${path}.data`);
  const kvSize = kvHeads * headDim;
  const angles = new Float32Array((contextLength * headDim) / 2).map((_, i) => {
    const [position, pair] = [Math.floor((2 * i) / headDim), i % (headDim / 2)];
    return position * 500000 ** ((-2 * pair) / headDim);
  });
  const half = [contextLength, headDim / 2];
  const cos = graph.constant('cos', 'f32', half, [bytesOf(angles.map(Math.cos))]);
  const sin = graph.constant('sin', 'f32', half, [bytesOf(angles.map(Math.sin))]);
  const ones = graph.constant('ones', 'f32', [hiddenSize], [bytesOf(new Float32Array(hiddenSize).fill(1))]);
  const embeddings = graph.constant(
    'embeddings',
    'f32',
    [vocabularySize, hiddenSize],
    smallFloats(vocabularySize * hiddenSize),
  );

  graph.input('input_ids', 'i64', ['batch', 'tokens']);
  graph.input('last', 'i64', [1]);
  graph.input('seqlens_k', 'i32', ['batch']);
  graph.input('total_sequence_length', 'i32', []);
  let hidden = graph.node('Gather', [embeddings, 'input_ids'], ['hidden']);
  let normed = graph.node('SimplifiedLayerNormalization', [hidden, ones], ['normed'], {
    axis: -1,
    epsilon: 1e-5,
    stash_type: 1,
  });
  const addAndNorm = (name: string, more: string) => {
    const outputs = [`${name}.normed`, '', '', `${name}.sum`];
    normed = graph.node('SkipSimplifiedLayerNormalization', [hidden, more, ones], outputs, { epsilon: 1e-5 });
    hidden = outputs[3];
  };
  for (let layer = 0; layer < layers; layer++) {
    const name = (part: string) => `layer${layer}.${part}`;
    const product = (part: string, x: string, k: number, n: number) => graph.product(name(part), x, k, n);
    const q = product('q', normed, hiddenSize, heads * headDim);
    const [k, v] = ['k', 'v'].map((part) => product(part, normed, hiddenSize, kvSize));
    const caches = (time: string) => ['key', 'value'].map((of) => `${time}.${layer}.${of}`);
    const [past, present] = [caches('past_key_values'), caches('present')];
    for (const cache of past) graph.input(cache, 'f32', ['batch', kvHeads, 'past', headDim]);
    for (const cache of present) graph.output(cache, 'f32', ['batch', kvHeads, 'total', headDim]);
    const attended = graph.node(
      'GroupQueryAttention',
      [q, k, v, ...past, 'seqlens_k', 'total_sequence_length', cos, sin],
      [name('attended'), ...present],
      { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, scale: headDim ** -0.5 },
    );
    addAndNorm(name('attention'), product('o', attended, heads * headDim, hiddenSize));
    const gate = product('gate', normed, hiddenSize, feedForwardSize);
    const up = product('up', normed, hiddenSize, feedForwardSize);
    const silu = graph.node('Mul', [gate, graph.node('Sigmoid', [gate], [name('sigmoid')])], [name('silu')]);
    const gated = graph.node('Mul', [silu, up], [name('gated')]);
    addAndNorm(name('feed-forward'), product('down', gated, feedForwardSize, hiddenSize));
  }
  const last = graph.node('Gather', [normed, 'last'], ['last_hidden'], { axis: 1 });
  graph.output(graph.product('logits', last, hiddenSize, vocabularySize), 'f32', ['batch', 1, vocabularySize]);
  writeFileSync(path, graph.model(basename(path)));
}

/** Nodes, inputs and outputs of a graph as messages, and its constants in a file beside it. */
class Graph implements Disposable {
  readonly #dataPath: string;
  readonly #file: number;
  #length = 0;
  readonly #messages: Uint8Array[] = [];

  constructor(dataPath: string) {
    this.#dataPath = dataPath;
    this.#file = openSync(dataPath, 'w');
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  constant(name: string, element: Element, dims: readonly number[], chunks: Iterable<Uint8Array>): string {
    const offset = Math.ceil(this.#length / 4096) * 4096;
    this.#length = offset;
    for (const chunk of chunks) this.#length += writeSync(this.#file, chunk, 0, chunk.length, this.#length);
    const place = { location: basename(this.#dataPath), offset, length: this.#length - offset };
    const external = Object.entries(place).map(([key, value]) => bytes(13, [text(1, key), text(2, String(value))]));
    const tensor = [
      ...dims.map((dim) => number(1, dim)),
      number(2, elementTypes[element]),
      text(8, name),
      ...external,
      number(14, 1),
    ];
    this.#messages.push(bytes(5, tensor));
    return name;
  }

  /** Y = x W, W of random codes, uniform around 8 with a deviation of 4.6. */
  product(name: string, x: string, k: number, n: number): string {
    const blocks = k / block;
    const codes = this.constant(`${name}.codes`, 'ui8', [n, blocks, block / 2], randomBytes((n * k) / 2));
    const scales = this.constant(
      `${name}.scales`,
      'f32',
      [n * blocks],
      [bytesOf(new Float32Array(n * blocks).fill(0.02 / 4.6))],
    );
    const attributes = { K: k, N: n, bits: 4, block_size: block, accuracy_level: 4 };
    return this.node('MatMulNBits', [x, codes, scales], [name], attributes);
  }

  /** The name of its first output. */
  node(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, number>> = {},
  ): string {
    const standard = ['Gather', 'Mul', 'Sigmoid', 'SimplifiedLayerNormalization'].includes(op);
    const settings = Object.entries(attributes).map(([name, value]) =>
      bytes(5, [
        text(1, name),
        ...(Number.isInteger(value) ? [number(3, value), number(20, 2)] : [float(2, value), number(20, 1)]),
      ]),
    );
    const names = [
      ...inputs.map((name) => text(1, name)),
      ...outputs.map((name) => text(2, name)),
      text(3, outputs[0]),
    ];
    this.#messages.push(bytes(1, [...names, text(4, op), ...settings, text(7, standard ? '' : 'com.microsoft')]));
    return outputs[0];
  }

  input(name: string, element: Element, dims: Dims): void {
    this.#messages.push(bytes(11, value(name, element, dims)));
  }

  output(name: string, element: Element, dims: Dims): void {
    this.#messages.push(bytes(12, value(name, element, dims)));
  }

  model(name: string): Uint8Array {
    const opset = (domain: string, version: number) => bytes(8, [text(1, domain), number(2, version)]);
    const graph = bytes(7, [...this.#messages, text(2, name)]);
    return Buffer.concat([number(1, 10), opset('', 20), opset('com.microsoft', 1), graph]);
  }
}

function value(name: string, element: Element, dims: Dims): readonly Uint8Array[] {
  const shape = dims.map((dim) => bytes(1, [typeof dim === 'number' ? number(1, dim) : text(2, dim)]));
  const tensor = bytes(1, [number(1, elementTypes[element]), bytes(2, shape)]);
  return [text(1, name), bytes(2, [tensor])];
}

/** Fields of messages: https://protobuf.dev/programming-guides/encoding. */
function bytes(field: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([varint(field * 8 + 2), varint(length), ...parts]);
}

function text(field: number, content: string): Uint8Array {
  return bytes(field, [new TextEncoder().encode(content)]);
}

function number(field: number, content: number): Uint8Array {
  return Buffer.concat([varint(field * 8), varint(content)]);
}

function float(field: number, content: number): Uint8Array {
  return Buffer.concat([varint(field * 8 + 5), bytesOf(Float32Array.of(content))]);
}

/** Negative ones as 64 bits in two's complement. */
function varint(content: number): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(content));
  const groups: number[] = [];
  do {
    const more = rest >> 7n;
    groups.push(Number(rest & 127n) | (more > 0n ? 128 : 0));
    rest = more;
  } while (rest > 0n);
  return Uint8Array.from(groups);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

const chunkLength = 1 << 20;

function* randomBytes(length: number): Iterable<Uint8Array> {
  for (let done = 0; done < length; done += chunkLength) {
    yield randomFillSync(new Uint8Array(Math.min(chunkLength, length - done)));
  }
}

/** The same chunk again and again, uniform with a deviation of 0.02. */
function* smallFloats(count: number): Iterable<Uint8Array> {
  const chunk = new Float32Array(chunkLength / 4).map(() => 0.02 * Math.sqrt(12) * (Math.random() - 0.5));
  for (let done = 0; done < count; done += chunk.length) yield bytesOf(chunk.subarray(0, count - done));
}
