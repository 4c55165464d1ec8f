/** What a model will take before it is loaded: for whoever has to choose among several. Loaded only where there are several. */
import { stepLimits } from '../engine/step-limits.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { openModel } from '../models/architectures.ts';
import type { ServedOptions } from './served-models.ts';

/** Weights as they lie in the file, and the KV cache. */
export async function expectedBytes(path: string, options: ServedOptions): Promise<number> {
  const { contextLength, sequences, cacheTokens, kvDisk, kv = 'f32' } = options;
  await using checkpoint = await openCheckpoint(path);
  const model = openModel(checkpoint);
  const weights = [...model.weights.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  const context = Math.min(contextLength, model.contextLength);
  const keepsAll = kvDisk !== undefined;
  const limits = stepLimits(model, { contextLength: context, sequences, cacheTokens, keepsAll });
  return weights + model.kvBytes(kv, limits);
}
