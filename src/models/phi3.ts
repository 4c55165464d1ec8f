/**
 * Phi-3 and Phi-4 (https://arxiv.org/abs/2404.14219, https://arxiv.org/abs/2412.08905): queries, keys and values come of
 * one matrix, gate and up of another; a part of each head may turn, and LongRoPE stretches it.
 */
import type { RopeAttributes } from '../composites/rope.ts';
import { selfAttention } from './attention.ts';
import { decoderSizes, rmsEpsilon, type Setting } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { fusedFeedForward } from './feed-forward.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { longFactors } from './rope-factors.ts';
import { ggufTurns, huggingFaceTurns } from './rope-setting.ts';
import type { Settings } from './settings.ts';
import { windowSetting } from './window-setting.ts';

export interface LongRope {
  readonly attributes: RopeAttributes;
  readonly originalContextLength: number;
  /** Of folders; in GGUF files they are tensors. */
  readonly factors?: { readonly short: readonly number[]; readonly long: readonly number[] };
}

const { headDim, contextLength } = decoderSizes;
const originalKey = { gguf: 'rope.scaling.original_context_length', huggingface: 'original_max_position_embeddings' };
const attentionFactorKey = 'rope.scaling.attn_factor';

const longRope: Setting<LongRope> = {
  gguf: (s, checkpoint) => ({
    attributes: {
      ...ggufTurns(s, headDim.gguf(s, checkpoint)),
      layout: 'half',
      scaling: { kind: 'longrope', attentionFactor: s.number(attentionFactorKey, 1) },
    },
    originalContextLength: s.count(originalKey.gguf, contextLength.gguf(s, checkpoint)),
  }),
  huggingface(s) {
    const parameters = s.section('rope_parameters') ?? s.section('rope_scaling');
    const { base, share } = huggingFaceTurns(s, parameters, {});
    const dimensions = Math.trunc(headDim.huggingface(s) * share);
    const length = contextLength.huggingface(s);
    const original = s.count(originalKey.huggingface, parameters?.count(originalKey.huggingface, length) ?? length);
    const factors = parameters && readFactors(parameters, dimensions / 2);
    const attentionFactor =
      factors === undefined
        ? 1
        : (parameters?.number('attention_factor', usualFactor(length / original, original)) ?? 1);
    return {
      attributes: { base, dimensions, layout: 'half', scaling: { kind: 'longrope', attentionFactor } },
      originalContextLength: original,
      ...(factors !== undefined && { factors }),
    };
  },
  write({ attributes: { base, dimensions, scaling }, originalContextLength }, keys) {
    keys.set('rope.dimension_count', dimensions);
    keys.setFloat('rope.freq_base', base);
    keys.set(originalKey.gguf, originalContextLength);
    if (scaling.kind === 'longrope') keys.setFloat(attentionFactorKey, scaling.attentionFactor);
  },
};

/** On cos and sin, where a file does not say it. */
function usualFactor(stretch: number, originalContextLength: number): number {
  return stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(originalContextLength));
}

/** Older files call LongRoPE 'su' and 'yarn'. */
function readFactors(s: Settings, pairs: number): LongRope['factors'] {
  const key = s.has('rope_type') ? 'rope_type' : 'type';
  const kind = s.string(key, 'default');
  if (kind === 'default') return undefined;
  if (!['longrope', 'su', 'yarn'].includes(kind)) s.unsupported(key, 'default and longrope');
  return { short: s.numbers('short_factor', pairs), long: s.numbers('long_factor', pairs) };
}

const settings = {
  ...decoderSizes,
  normEpsilon: rmsEpsilon,
  longRope,
  windowOf: windowSetting(),
};

export const phi3 = decoderArchitecture(settings, {
  name: 'phi3',
  huggingface: ['Phi3ForCausalLM'],
  known: siluOnly,
  decoder(config) {
    const { attributes: rope, originalContextLength, factors } = config.longRope;
    return {
      ...plainEnds(config),
      layer: (i) =>
        preNormLayer(
          config,
          selfAttention({
            ...config,
            names: { qkv: 'self_attn.qkv_proj', output: 'self_attn.o_proj' },
            rope,
            ropeFactors: longFactors(rope.dimensions, originalContextLength, factors),
            window: config.windowOf(i),
          }),
          fusedFeedForward(config, 'silu'),
        ),
    };
  },
});
