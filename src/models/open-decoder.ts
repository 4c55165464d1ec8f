/** Makes a model of a decoder's configuration and the tensors of its checkpoint. */
import type { Checkpoint } from '../formats/checkpoint.ts';
import { buildDecoder } from './decoder.ts';
import type { DecoderConfig } from './decoder-config.ts';
import { decoderWeights } from './decoder-weights.ts';
import { exportDecoder } from './gguf-export.ts';
import type { Model } from './model.ts';

/** @throws IngotError 'InvalidFile', 'UnsupportedFile': see `decoderWeights`. */
export function openDecoder(checkpoint: Checkpoint, config: DecoderConfig): Model {
  const weights = decoderWeights(checkpoint, config);
  let parameterCount = 0;
  for (const { shape } of weights.values()) parameterCount += shape.reduce((product, size) => product * size, 1);
  return {
    architecture: config.architecture,
    vocabularySize: config.vocabularySize,
    contextLength: config.contextLength,
    layers: config.layers,
    kvHeads: config.kvHeads,
    headDim: config.headDim,
    parameterCount,
    weights,
    build: (options) => buildDecoder(config, weights, options),
    toGguf: () => exportDecoder(config, weights),
  };
}
