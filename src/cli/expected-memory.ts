/** What a model will take before it is loaded: for whoever has to choose among several. Loaded only where there are several. */
import { stepLimits } from '../engine/step-limits.ts';
import { sharesWeights } from '../engine/weight-shelf-node.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { parseMesh, replicaCount } from '../ir/mesh.ts';
import { openModel } from '../models/architectures.ts';
import type { ServedOptions } from './served-models.ts';

/** Weights as they lie in the file, and the KV cache, of which each replica has its own. */
export async function expectedBytes(path: string, options: ServedOptions): Promise<number> {
  const { contextLength, sequences, cacheTokens, kvDisk, kv = 'f32', mesh } = options;
  const replicas = mesh === undefined ? 1 : replicaCount(parseMesh(mesh));
  await using checkpoint = await openCheckpoint(path);
  const model = openModel(checkpoint);
  const weights = [...model.weights.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  const limits = stepLimits(model, {
    contextLength: Math.min(contextLength, model.contextLength),
    sequences: Math.ceil(sequences / replicas),
    cacheTokens: cacheTokens === undefined ? undefined : Math.ceil(cacheTokens / replicas),
    keepsAll: kvDisk !== undefined,
  });
  return (sharesWeights ? 1 : replicas) * weights + replicas * model.kvBytes(kv, limits);
}
