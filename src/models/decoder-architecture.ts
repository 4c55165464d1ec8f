/**
 * Makes an architecture of what its file says: a table of settings, and the blocks that a configuration of them means.
 */
import type { Checkpoint } from '../formats/checkpoint.ts';
import { maxBytes } from '../ir/types.ts';
import { type KnownValues, readConfig, type SettingTable, writeConfig } from './config.ts';
import { buildDecoder, type Decoder, decoderRows, layerPools } from './decoder.ts';
import type { Architecture, GgufDescription, Model, ModelResult } from './model.ts';
import { Settings } from './settings.ts';
import { takeTensors, type Weights } from './tensors.ts';

/** What every configuration says; `pooling` where the model embeds texts. */
type Sizes = Pick<Decoder, 'vocabularySize' | 'contextLength' | 'layers' | 'pooling'>;

interface Description<Config> {
  /** GGUF's name. */
  readonly name: string;
  /** Values of `architectures` in a Hugging Face `config.json`. */
  readonly huggingface: readonly string[];
  readonly known: KnownValues;
  /** The configuration of a llama2.c checkpoint, where the architecture is that of such. */
  readonly llama2c?: (s: Settings) => Config;
  readonly decoder: (config: Config) => Omit<Decoder, keyof Sizes | 'architecture' | 'gguf'>;
}

export interface DecoderArchitecture<Config> extends Architecture {
  decoder(config: Config): Decoder;
}

export function decoderArchitecture<Config extends Sizes>(
  settings: SettingTable<Config>,
  { name, huggingface, known, llama2c, decoder }: Description<Config>,
): DecoderArchitecture<Config> {
  const whole = (config: Config): Decoder => {
    const { vocabularySize, contextLength, layers, pooling } = config;
    const gguf = () => writeConfig(name, settings, config);
    return { architecture: name, vocabularySize, contextLength, layers, pooling, gguf, ...decoder(config) };
  };
  const read = (checkpoint: Checkpoint) =>
    checkpoint.kind === 'llama2c' && llama2c !== undefined
      ? llama2c(new Settings(checkpoint))
      : readConfig(checkpoint, name, settings, known);
  return {
    name,
    gguf: [name],
    huggingface,
    decoder: whole,
    open: (checkpoint) => openDecoder(checkpoint, whole(read(checkpoint))),
  };
}

/** @throws IngotError 'InvalidFile', 'UnsupportedFile': see `takeTensors`. */
function openDecoder(checkpoint: Checkpoint, decoder: Decoder): Model {
  const {
    architecture,
    vocabularySize,
    contextLength,
    layers,
    head,
    pooling,
    bidirectional = false,
    matryoshka = false,
  } = decoder;
  const weights = takeTensors(checkpoint, architecture, decoderRows(decoder));
  const expertsOfToken = [...decoderRows(decoder)].find(({ chosen }) => chosen !== undefined)?.chosen;
  let parameterCount = 0;
  for (const { shape } of weights.values()) parameterCount += shape.reduce((product, size) => product * size, 1);
  const results: readonly ModelResult[] = [
    ...(head === undefined ? [] : (['sample', 'logits'] as const)),
    ...(pooling === undefined ? [] : (['embedding'] as const)),
  ];
  return {
    architecture,
    vocabularySize,
    contextLength,
    layers,
    results,
    matryoshka: pooling !== undefined && matryoshka,
    wholeSequences: bidirectional || (pooling !== undefined && pooling !== 'last'),
    parameterCount,
    ...(expertsOfToken !== undefined && { expertsOfToken }),
    weights,
    // What is embedded is in the cache only while it is computed.
    windowOf: (layer) => (pooling === undefined ? decoder.layer(layer).window : undefined),
    kvBytes(kv, limits) {
      let bytes = 0;
      for (let layer = 0; layer < layers; layer++) {
        for (const [, type] of layerPools(decoder.layer(layer), limits, kv)) bytes += maxBytes(type);
      }
      return bytes;
    },
    build: (options) => buildDecoder(decoder, weights, options),
    toGguf: () => toGguf(decoder, weights, checkpoint.kind === 'huggingface'),
  };
}

function toGguf(decoder: Decoder, weights: Weights, fromFolder: boolean): GgufDescription {
  const described: GgufDescription['weights'][number][] = [];
  for (const { gguf, ggufView, exact } of decoderRows(decoder)) {
    const stored = weights.get(gguf);
    if (stored === undefined) continue;
    const inFile = fromFolder && ggufView !== undefined ? ggufView(stored) : stored;
    described.push({ name: gguf, stored: inFile, ...(exact && { exact }) });
  }
  return { ...decoder.gguf(), weights: described };
}
