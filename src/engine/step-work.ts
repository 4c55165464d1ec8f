/**
 * What a step asks of the machine, by the sizes of the model: for how much of what the machine can do its steps make use of.
 * Only products with weights are counted, and every weight and every key and value that a step needs once; of a mixture as many
 * experts as one token uses, since tokens may choose the same. What was achieved is that at least.
 */
import type { Device } from '../devices/device.ts';
import type { Model } from '../models/model.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import type { EngineStatus } from './engine.ts';
import type { CachedSequence, StepEntry } from './sequence.ts';

export interface Work {
  /** A multiplication and an addition are two. */
  readonly operations: number;
  /** Read. */
  readonly bytes: number;
}

interface Size {
  elements: number;
  /** As the device has packed them. */
  bytes: number;
}

export class StepWork {
  /** Of all layers, which every token meets; and of the head, which meets those that are sampled. */
  readonly layers: Readonly<Size>;
  readonly head: Readonly<Size>;
  readonly #kvBytesPerToken: number;
  /** What the machine can do a second; undefined where that was not measured, or the work is not known. */
  readonly limits: EngineStatus['machine'];

  constructor(device: Device, model: Model, kvBytesPerToken: number) {
    this.#kvBytesPerToken = kvBytesPerToken;
    const head = model.weights.has('output.weight') ? 'output.weight' : 'token_embd.weight';
    const bytesOf = { float: 0, integer: 0 };
    const layers: Size = { elements: 0, bytes: 0 };
    const ofHead: Size = { elements: 0, bytes: 0 };
    for (const [name, weight] of model.weights) {
      const size = name.startsWith('blk.') ? layers : name === head ? ofHead : undefined;
      if (size === undefined) continue;
      const used = name.includes('_exps.') ? (model.expertsOfToken ?? 1) / weight.shape[0] : 1;
      const bytes = used * device.packedBytes(weight);
      size.bytes += bytes;
      if (weight.shape.length > 1) size.elements += weight.shape.reduce((product, extent) => product * extent, used);
      bytesOf[blockFormat(weight.format).blockSize === 1 ? 'float' : 'integer'] += bytes;
    }
    this.layers = layers;
    this.head = ofHead;
    const { measured = false, readBytesPerSecond, operationsPerSecond } = device.hardware;
    const operations = operationsPerSecond[bytesOf.integer > bytesOf.float ? 'i8' : 'f32'];
    this.limits = measured && operations !== undefined ? { operations, bytes: readBytesPerSecond } : undefined;
  }

  of(entries: readonly StepEntry<CachedSequence>[]): Work {
    let [tokens, rows, context] = [0, 0, 0];
    for (const { start, count, samples } of entries) {
      tokens += count;
      context += start + count;
      if (samples) rows++;
    }
    return {
      operations: 2 * (this.layers.elements * tokens + this.head.elements * rows),
      bytes: this.layers.bytes + (rows > 0 ? this.head.bytes : 0) + this.#kvBytesPerToken * context,
    };
  }
}
