/**
 * Builds the program of a decoder for one step: embedding, layers of attention and gated feed-forward, head, sampling.
 * All layers that look alike share one function. The flow follows the Llama papers; what differs between architectures
 * is in the configuration.
 */
import { gatedActivation } from '../composites/gated_activation.ts';
import { pagedAttention } from '../composites/paged_attention.ts';
import { type DotNumerics, quantizedDot } from '../composites/quantized_dot.ts';
import { quantizedTake } from '../composites/quantized_take.ts';
import { rmsNorm } from '../composites/rms_norm.ts';
import { rope } from '../composites/rope.ts';
import { sample } from '../composites/sample.ts';
import { samplingInputs, samplingState, stepDims, stepInputs } from '../composites/step.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import { type Builder, ProgramBuilder } from '../ir/build.ts';
import type { Parameter, Program, Value } from '../ir/program.ts';
import { tensor } from '../ir/types.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import type { DecoderConfig } from './decoder-config.ts';
import type { BuildOptions } from './model.ts';

type Weights = ReadonlyMap<string, StoredTensor>;
type Values = Readonly<Record<string, Value>>;

/** What a layer needs of the step, besides its own weights and pools. */
const layerInputs = ['positions', 'sequence', 'slots', 'ctxLen', 'blockTable'] as const;

export function buildDecoder(config: DecoderConfig, weights: Weights, options: BuildOptions): Program {
  const { limits, results, kv } = options;
  const module = new ProgramBuilder();
  const pools = Array.from({ length: config.layers }, (_, layer) =>
    ['k', 'v'].map((part): Parameter => {
      const type = tensor(kv, [limits.blockCount * limits.blockSize, config.kvHeads, config.headDim]);
      return { name: `kv.${layer}.${part}`, type, role: 'state' };
    }),
  ).flat();
  const sampling = results.includes('sample');
  const parameters: readonly Parameter[] = [
    ...stepInputs(limits),
    ...(sampling ? samplingInputs(limits) : []),
    ...[...weights].map(([name, { format, shape }]): Parameter => {
      return { name, type: tensor('f32', shape), role: 'weight', format };
    }),
    ...samplingState(limits, config.vocabularySize).filter(({ name }) => sampling || name === 'sampled'),
    ...pools,
  ];
  const updated = [...pools.map(({ name }) => name), ...(sampling ? ['sampled', 'counts'] : [])];
  return module.program(
    parameters,
    (b, values) => step(b, config, weights, options, values),
    Object.fromEntries(updated.map((name) => [name, name])),
  );
}

function step(b: Builder, config: DecoderConfig, weights: Weights, options: BuildOptions, values: Values) {
  const { T } = stepDims(options.limits);
  const ids = resolveTokens(b, values.tokens, values.sampled, T);
  const results: Record<string, Value> = {};
  let x = quantizedTake(b, values['token_embd.weight'], ids, { format: formatOf(weights, 'token_embd.weight') });
  for (let layer = 0; layer < config.layers; layer++) {
    const [k, v] = [`kv.${layer}.k`, `kv.${layer}.v`];
    [x, results[k], results[v]] = callLayer(b, config, weights, options, layer, x, values);
  }
  const rows = rmsNorm(b, b.take(x, values.logitRows), values['output_norm.weight'], config.normEpsilon);
  const head = weights.has('output.weight') ? 'output.weight' : 'token_embd.weight';
  const logits = quantizedDot(b, rows, values[head], dotOptions(formatOf(weights, head), options.numerics));
  if (options.results.includes('logits')) results.logits = logits;
  if (!options.results.includes('sample')) return results;
  const { ids: sampledIds, logprobs, counts } = sample(b, logits, values);
  const sampled = b.op('dynamic_update_slice', [values.sampled, sampledIds, b.scalar('i32', 0)], {})[0];
  return { ...results, ids: sampledIds, logprobs, sampled, counts };
}

/** A negative token stands for what a row of the previous step sampled. */
function resolveTokens(b: Builder, tokens: Value, sampled: Value, T: ReturnType<typeof stepDims>['T']): Value {
  const row = b.subtract(b.full('i32', [T], -1), tokens);
  return b.select(b.compare('LT', tokens, b.full('i32', [T], 0)), b.take(sampled, row), tokens);
}

/** Calls the function of this layer's kind: same formats, same tensors, same window. */
function callLayer(
  b: Builder,
  config: DecoderConfig,
  weights: Weights,
  options: BuildOptions,
  layer: number,
  x: Value,
  values: Values,
): readonly Value[] {
  const prefix = `blk.${layer}.`;
  const names = [...weights.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const window = config.slidingWindow(layer);
  const rowOf = new Map(names.map((name) => [name, formatOf(weights, prefix + name)]));
  const extra = weights.has('rope_freqs.weight') ? ['rope_freqs.weight'] : [];
  const operands = [
    x,
    ...layerInputs.map((name) => values[name]),
    ...names.map((name) => values[prefix + name]),
    ...extra.map((name) => values[name]),
    values[`kv.${layer}.k`],
    values[`kv.${layer}.v`],
  ];
  const func = b.program.defineOnce(
    JSON.stringify([...rowOf, window]),
    'layer',
    operands.map((value) => value.type),
    (inner, ...parameters) => {
      const keys = ['x', ...layerInputs, ...names, ...extra, 'k', 'v'];
      const named: Values = Object.fromEntries(keys.map((key, i) => [key, parameters[i]]));
      return layerBody(inner, config, options, rowOf, window, named);
    },
  );
  return b.call(func, operands);
}

function layerBody(
  b: Builder,
  config: DecoderConfig,
  options: BuildOptions,
  formats: ReadonlyMap<string, string>,
  window: number | undefined,
  p: Values,
): readonly Value[] {
  const { heads, kvHeads, headDim, hiddenSize, normEpsilon } = config;
  const { limits, kv, numerics } = options;
  const { T } = stepDims(limits);
  const linear = (x: Value, name: string) => project(b, x, p, name, formats, numerics);
  const rotate = (x: Value) => rope(b, x, p.positions, config.rope, p['rope_freqs.weight']);
  const headNorm = (x: Value, name: string) => (config.headNorm ? rmsNorm(b, x, p[name], normEpsilon) : x);

  const attentionIn = rmsNorm(b, p.x, p['attn_norm.weight'], normEpsilon);
  const q = headNorm(b.reshape(linear(attentionIn, 'attn_q'), [T, heads, headDim]), 'attn_q_norm.weight');
  const k = headNorm(b.reshape(linear(attentionIn, 'attn_k'), [T, kvHeads, headDim]), 'attn_k_norm.weight');
  const v = b.reshape(linear(attentionIn, 'attn_v'), [T, kvHeads, headDim]);
  // Attention reads this step's keys and values back from the pools too: what it sees never depends on the chunk.
  const kPool = b.put(p.k, p.slots, b.convert(rotate(k), kv));
  const vPool = b.put(p.v, p.slots, b.convert(v, kv));
  const attended = pagedAttention(
    b,
    {
      q: rotate(q),
      kPool,
      vPool,
      positions: p.positions,
      sequence: p.sequence,
      ctxLen: p.ctxLen,
      blockTable: p.blockTable,
    },
    { scale: 1 / Math.sqrt(headDim), blockSize: limits.blockSize, ...(window !== undefined && { window }) },
  );
  const afterAttention = b.add(p.x, linear(b.reshape(attended, [T, heads * headDim]), 'attn_output'));

  const forwardIn = rmsNorm(b, afterAttention, p['ffn_norm.weight'], normEpsilon);
  const gated = gatedActivation(b, linear(forwardIn, 'ffn_gate'), linear(forwardIn, 'ffn_up'), 'silu');
  const out = b.add(afterAttention, linear(gated, 'ffn_down'));
  return [b.reshape(out, [T, hiddenSize]), kPool, vPool];
}

/** `x @ weight^T`, plus the bias where the model has one. */
function project(
  b: Builder,
  x: Value,
  p: Values,
  name: string,
  formats: ReadonlyMap<string, string>,
  numerics: DotNumerics,
): Value {
  const options = dotOptions(formats.get(`${name}.weight`) ?? 'f32', numerics);
  const bias = p[`${name}.bias`] as Value | undefined;
  return quantizedDot(b, x, p[`${name}.weight`], { ...options, ...(bias !== undefined && { bias }) });
}

/** Weights that are floats as they stand have no integers to multiply. */
function dotOptions(format: string, numerics: DotNumerics) {
  const exact = numerics === 'i8' && blockFormat(format).integers === undefined;
  return { format, numerics: exact ? ('f32' as const) : numerics };
}

function formatOf(weights: Weights, name: string): string {
  return weights.get(name)?.format ?? 'f32';
}
