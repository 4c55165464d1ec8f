/**
 * What a run of a model will take of this machine, and what would fit. Weights, caches and temporaries follow from the compiled
 * program; what JavaScript takes besides, the vocabulary for the most part, is measured: this process has opened the model as a
 * run does.
 */
import { largestFitting } from '../base/largest-fitting.ts';
import { compile } from '../compiler/compile.ts';
import type { Device } from '../devices/device.ts';
import { availableMemory } from '../devices/open-node.ts';
import { openDeviceFor } from '../engine/load-node.ts';
import { memoryNeed } from '../engine/memory-need.ts';
import { openTokenizer } from '../engine/open-model-node.ts';
import { stepLimits } from '../engine/step-limits.ts';
import { packedFileBytes } from '../engine/weight-cache-node.ts';
import type { Checkpoint } from '../formats/checkpoint.ts';
import type { Model } from '../models/model.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import { encodableFormats } from '../numerics/quant/formats.ts';
import { formatBytes, peakMemory } from './report.ts';

export interface MemoryPrediction {
  readonly device: string;
  readonly contextLength: number;
  /** As they lie on the device. */
  readonly weightBytes: number;
  /** On disk, where the device maps packed weights (`--weight-cache`). */
  readonly packedFileBytes?: number;
  /** For `contextLength` tokens. */
  readonly kvBytes: number;
  readonly kvBytesPerThousandTokens: number;
  readonly scratchBytes: number;
  /** Of JavaScript, with the vocabulary, and code. */
  readonly processBytes: number;
  readonly totalBytes: number;
  readonly availableBytes: number;
  /** Tokens for which there is room, as far as the model goes; 0 if not even for one. */
  readonly longestContext: number;
  /** Where the model does not fit: formats in which its matrices would, with the context, the best first. */
  readonly fittingFormats: readonly { readonly format: string; readonly totalBytes: number }[];
}

/**
 * What the engine's thread takes beside what this one has taken for the same model: a second heap with the code of compiler and device,
 * and machine code. Runs took 12 to 18 MiB and benches 18 to 23 where the program was kept from an earlier start; the first
 * one, which compiles, takes 5 to 25 MiB more.
 */
const engineBytes = 15 << 20;

/** @throws IngotError as compiling does. */
export async function predictMemory(
  checkpoint: Checkpoint,
  model: Model,
  kv: KvFormat,
  context = model.contextLength,
  availableBytes = availableMemory(),
): Promise<MemoryPrediction> {
  // A model without a vocabulary does not run, but its figures are still of use.
  await openTokenizer(checkpoint, model.vocabularySize).catch(() => {});
  const processBytes = peakMemory() + engineBytes;
  await using device = await openDeviceFor(model);
  const contextLength = Math.min(context, model.contextLength);
  // Temporaries for more rows of logits than one have their places, but nothing touches them.
  const limits = { ...stepLimits(model, { contextLength }), maxRows: 1 };
  const result = model.results.includes('sample') ? 'sample' : 'embedding';
  const program = model.build({ limits, kv, numerics: 'i8', results: [result] });
  using executable = await device.compile(program, compile);
  const need = memoryNeed(device, model, executable);
  const totalBytes = need.weights + need.state + need.scratch + processBytes;
  const kvBytesOf = (length: number) => model.kvBytes(kv, stepLimits(model, { contextLength: length }));
  // This process's own memory is not available any more, nor is it needed again.
  const left = availableBytes - (need.weights + need.scratch);
  const fits = need.state <= left;
  const formats = fits
    ? []
    : formatBytesOf(device, model).filter(({ bytes }) => bytes - need.weights + need.state <= left);
  return {
    device: device.name,
    contextLength,
    weightBytes: need.weights,
    ...(device.weightFiles && { packedFileBytes: packedFileBytes(device.weightFiles, model) }),
    kvBytes: need.state,
    kvBytesPerThousandTokens: (1000 * kvBytesOf(contextLength)) / contextLength,
    scratchBytes: need.scratch,
    processBytes,
    totalBytes,
    availableBytes,
    longestContext: largestFitting(model.contextLength, (length) => kvBytesOf(length) <= left),
    fittingFormats: formats.map(({ format, bytes }) => ({ format, totalBytes: totalBytes - need.weights + bytes })),
  };
}

/** What the weights would take with all matrices in one format; of those that the device multiplies by as they are. */
function formatBytesOf(device: Device, model: Model): readonly { readonly format: string; readonly bytes: number }[] {
  const weights = [...model.weights.values()];
  const all = encodableFormats.flatMap(({ name: format, blockSize }) => {
    const matrices = weights.filter(({ shape }) => shape.length > 1);
    if (matrices.some(({ shape }) => (shape.at(-1) ?? 1) % blockSize !== 0)) return [];
    const bytes = weights.reduce(
      (sum, { shape, format: own }) => sum + device.packedBytes({ shape, format: shape.length > 1 ? format : own }),
      0,
    );
    return [{ format, bytes }];
  });
  return all.sort((a, b) => b.bytes - a.bytes);
}

export function formatPrediction(memory: MemoryPrediction): string {
  const { weightBytes, kvBytes, scratchBytes, processBytes, contextLength, longestContext, fittingFormats } = memory;
  const lines = [
    `Memory of a run on the ${memory.device} device: ${formatBytes(memory.totalBytes)} (${formatBytes(memory.availableBytes)} available)`,
    `  ${formatBytes(weightBytes)} weights`,
    `  ${formatBytes(kvBytes)} KV cache of ${contextLength} tokens, ${formatBytes(memory.kvBytesPerThousandTokens)} per 1000 tokens`,
    `  ${formatBytes(scratchBytes)} to compute in`,
    `  ${formatBytes(processBytes)} vocabulary, code and JavaScript`,
  ];
  if (memory.packedFileBytes !== undefined) {
    lines.push(`Packed weights on disk (--weight-cache): ${formatBytes(memory.packedFileBytes)}`);
  }
  if (longestContext >= contextLength) return lines.join('\n');
  if (longestContext > 0) lines.push(`There is room for a context of ${longestContext} tokens.`);
  else lines.push('There is not enough room for this model.');
  const best = fittingFormats.slice(0, 3).map(({ format, totalBytes }) => `${format} (${formatBytes(totalBytes)})`);
  if (best.length > 0) lines.push(`With its matrices in another format it would fit: ${best.join(', ')}.`);
  return lines.join('\n');
}
