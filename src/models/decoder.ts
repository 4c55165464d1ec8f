/**
 * Builds the program of a decoder for one step: embedding, layers, head, sampling. What those are made of says its
 * architecture; all layers that look alike share one function.
 */
import { sample } from '../composites/sample.ts';
import {
  type StepLimits,
  samplingInputs,
  samplingState,
  stepInputs,
  type WindowLimits,
  windowInput,
  windowInputs,
} from '../composites/step.ts';
import { type Builder, ProgramBuilder } from '../ir/build.ts';
import type { Parameter, Program, Value } from '../ir/program.ts';
import { formatType, type TensorType, tensor } from '../ir/types.ts';
import { type KvFormat, kvRow } from '../numerics/kv-format.ts';
import type { Block } from './block.ts';
import type { BuildOptions, GgufDescription, Pooling } from './model.ts';
import { embedSequences } from './pooling.ts';
import { Scope } from './scope.ts';
import type { TensorRow, Weights } from './tensors.ts';

/** What an architecture says of a model: one file makes this of a configuration. */
export interface Decoder {
  /** GGUF's name. */
  readonly architecture: string;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly layers: number;
  /** [T, hidden] of ids i32 [T]. */
  readonly embedding: Block;
  /** Its tensors are named below `blk.<layer>.` in GGUF files and below `<huggingfaceLayers>.<layer>.` in folders. */
  layer(layer: number): Block;
  /** 'model.layers' if absent. */
  readonly huggingfaceLayers?: string;
  /** Behind the last layer, of any rows; absent where layers end with a norm. */
  readonly norm?: Block;
  /** [R, vocabulary] of normalized rows; absent in encoders, which generate nothing. */
  readonly head?: Block;
  /** Tokens see those after them too. */
  readonly bidirectional?: boolean;
  /** Of models that embed texts. */
  readonly pooling?: Pooling | undefined;
  /** Where it embeds texts, it was trained so that its vectors may be cut. */
  readonly matryoshka?: boolean;
  /** The keys of a GGUF file of it. */
  gguf(): Pick<GgufDescription, 'metadata' | 'floats'>;
}

/** All rows under whole names. Lazy: the number of layers is what a file says, and only its tensors prove it. */
export function* decoderRows(decoder: Decoder): Generator<TensorRow, void, undefined> {
  const { embedding, norm, head, layers, huggingfaceLayers = 'model.layers' } = decoder;
  for (const block of [embedding, norm, head]) yield* block?.rows ?? [];
  const shared = new Set<string>();
  for (let layer = 0; layer < layers; layer++) {
    for (const entry of decoder.layer(layer).rows) {
      const { gguf, huggingface, sources } = entry;
      if (entry.shared) {
        if (!shared.has(gguf)) yield entry;
        shared.add(gguf);
      } else {
        const whole = (name: string) => `${huggingfaceLayers}.${layer}.${name}`;
        yield {
          ...entry,
          gguf: `blk.${layer}.${gguf}`,
          ...(huggingface !== undefined && { huggingface: whole(huggingface) }),
          ...(sources && { sources: sources.map(({ names, view }) => ({ names: names.map(whole), view })) }),
        };
      }
    }
  }
}

/** What layers need of the step, besides their own weights and pools. */
const layerInputs = ['positions', 'sequence', 'slots', 'ctxLen', 'blockTable'] as const;

export function buildDecoder(decoder: Decoder, weights: Weights, options: BuildOptions): Program {
  const { limits, results, kv } = options;
  const module = new ProgramBuilder();
  const pools = Array.from({ length: decoder.layers }, (_, layer) =>
    layerPools(decoder.layer(layer), limits, kv).map(([name, type]): Parameter => {
      return { name: poolName(layer, name), type, role: 'state' };
    }),
  ).flat();
  const sampling = results.includes('sample');
  const parameters: readonly Parameter[] = [
    ...stepInputs(limits),
    ...windowInputs(limits),
    ...(sampling ? samplingInputs(limits) : []),
    ...[...weights].map(([name, { format, shape }]): Parameter => {
      return { name, type: tensor('f32', shape), role: 'weight', format };
    }),
    ...samplingState(limits, decoder.vocabularySize).filter(({ name }) => sampling || name === 'sampled'),
    ...pools,
  ];
  const updated = [...pools.map(({ name }) => name), ...(sampling ? ['sampled', 'counts'] : [])];
  return module.program(
    parameters,
    (b, values: Readonly<Record<string, Value>>) => step(b, decoder, weights, options, values),
    Object.fromEntries(updated.map((name) => [name, name])),
  );
}

/** The limits of the window that a layer keeps; undefined where it keeps all. */
function keptWindow({ window }: Block, { windows = [] }: Pick<StepLimits, 'windows'>): WindowLimits | undefined {
  return windows.find((each) => each.window === window);
}

/** Names and types of what a layer keeps. @throws IngotError 'UnsupportedOp' as `kvRow`. */
export function layerPools(
  block: Block,
  limits: Pick<StepLimits, 'blockCount' | 'blockSize' | 'windows'>,
  kv: KvFormat,
): readonly (readonly [string, TensorType])[] {
  const { blockCount } = keptWindow(block, limits) ?? limits;
  return Object.entries(block.pools).map(([name, [heads, dimensions]]) => {
    const { element, length } = kvRow(kv, dimensions);
    return [name, tensor(element, [blockCount * limits.blockSize, heads, length])];
  });
}

const poolName = (layer: number, name: string) => `kv.${layer}.${name}`;

function step(
  b: Builder,
  decoder: Decoder,
  weights: Weights,
  options: BuildOptions,
  values: Readonly<Record<string, Value>>,
): Readonly<Record<string, Value>> {
  const formats = new Map([...weights].map(([name, { format }]) => [name, format]));
  const main = new Scope(b, options, new Map(Object.entries(values)), formats);
  const results: Record<string, Value> = {};
  let x = decoder.embedding.build(main, resolveTokens(main));
  for (let layer = 0; layer < decoder.layers; layer++) {
    const block = decoder.layer(layer);
    const [out, ...updated] = callLayer(main, block, weights, layer, x);
    Object.keys(block.pools).forEach((name, i) => {
      results[poolName(layer, name)] = updated[i];
    });
    x = out;
  }
  const normed = (rows: Value) => decoder.norm?.build(main, rows) ?? rows;
  if (decoder.pooling !== undefined && options.results.includes('embedding')) {
    results.embedding = embedSequences(main, decoder.pooling, x, normed);
  }
  if (decoder.head === undefined || !options.results.some((result) => result !== 'embedding')) return results;
  const logits = decoder.head.build(main, normed(b.take(x, values.logitRows)));
  if (options.results.includes('logits')) results.logits = logits;
  if (!options.results.includes('sample')) return results;
  const { ids, logprobs, counts } = sample(b, logits, values);
  const sampled = b.op('dynamic_update_slice', [values.sampled, ids, b.scalar('i32', 0)], {})[0];
  return { ...results, ids, logprobs, sampled, counts };
}

/** A negative token stands for what a row of the previous step sampled. */
function resolveTokens(main: Scope): Value {
  const { b, T } = main;
  const [tokens, sampled] = [main.value('tokens'), main.value('sampled')];
  const row = b.subtract(b.full('i32', [T], -1), tokens);
  return b.select(b.compare('LT', tokens, b.full('i32', [T], 0)), b.take(sampled, row), tokens);
}

/** Calls the function of such layers. Its results: x, then its pools. */
function callLayer(main: Scope, block: Block, weights: Weights, layer: number, x: Value): readonly Value[] {
  const { b, options } = main;
  // Name in the layer, name in the program.
  const names = (rows: readonly string[], whole: (name: string) => string) =>
    rows.map((name): [string, string] => [name, whole(name)]);
  const tensors = block.rows
    .map(({ gguf, shared }): [string, string] => [gguf, shared ? gguf : `blk.${layer}.${gguf}`])
    .filter(([, name]) => weights.has(name));
  const pools = Object.keys(block.pools);
  const kept = keptWindow(block, options.limits);
  const inputs = layerInputs.map((name): [string, string] => {
    const hasOwn = kept !== undefined && (name === 'slots' || name === 'blockTable');
    return [name, hasOwn ? windowInput(name, kept.window) : name];
  });
  const given = [...inputs, ...tensors, ...names(pools, (name) => poolName(layer, name))];
  const formats = new Map(tensors.map(([name, whole]) => [name, main.formatOf(whole)]));
  const operands = [x, ...given.map(([, name]) => main.value(name))];
  const types = operands.map((value) => value.type);
  const func = b.program.defineOnce(
    [block.key, ...[...formats].flat(), ...types.map(formatType)].join(' '),
    'layer',
    types,
    (inner, input, ...parameters) => {
      const l = new Scope(inner, options, new Map(given.map(([name], i) => [name, parameters[i]])), formats);
      const out = block.build(l, input);
      return [out, ...pools.map((name) => l.value(name))];
    },
  );
  return b.call(func, operands);
}
