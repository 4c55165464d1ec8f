/** What running a model takes of a device's memory, known before any weight is read; and the refusal where that is more than there is. */
import { IngotError } from '../base/errors.ts';
import { formatBytes } from '../base/format-bytes.ts';
import type { StepLimits } from '../composites/step.ts';
import type { Device, Executable } from '../devices/device.ts';
import { maxBytes } from '../ir/types.ts';
import type { Model } from '../models/model.ts';

/** In bytes. */
export interface MemoryNeed {
  /** As the device lays them out. */
  readonly weights: number;
  /** KV pools, and what sampling remembers. */
  readonly state: number;
  /** Temporaries, inputs and results of the steps that are under way at the same time. */
  readonly scratch: number;
}

export function memoryNeed(device: Device, model: Model, { program, scratchBytes }: Executable): MemoryNeed {
  const states = program.parameters.filter(({ role }) => role === 'state');
  return {
    weights: [...model.weights.values()].reduce((sum, weight) => sum + device.packedBytes(weight), 0),
    state: states.reduce((sum, { type }) => sum + maxBytes(type), 0),
    scratch: scratchBytes * device.runsAhead,
  };
}

/** @throws IngotError 'OutOfMemory' with the figures if the device has less. */
export function refuseTooLarge(device: Device, need: MemoryNeed, { blockCount, blockSize }: StepLimits): void {
  const { memoryBytes } = device.hardware;
  const all = need.weights + need.state + need.scratch;
  if (all <= memoryBytes) return;
  throw new IngotError(
    'OutOfMemory',
    `the model needs ${formatBytes(all)}: ${formatBytes(need.weights)} for weights, ${formatBytes(need.state)} for the KV cache of ` +
      `${blockCount * blockSize} tokens and ${formatBytes(need.scratch)} to compute in; the ${device.name} device has ${formatBytes(memoryBytes)}`,
    { device: device.name, hint: 'use a smaller model or a shorter context; ingot inspect shows what would fit' },
  );
}
