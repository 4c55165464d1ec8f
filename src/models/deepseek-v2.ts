/**
 * DeepSeek-V2 (https://arxiv.org/abs/2405.04434): latent attention; the first layers are dense, the others have experts of
 * which some serve every token.
 */
import { IngotError } from '../base/errors.ts';
import type { RopeAttributes } from '../composites/rope.ts';
import { sum } from './block.ts';
import { count, decoderSizes, type KnownValues, number, rmsEpsilon, type Setting } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { expertSizes } from './expert-setting.ts';
import { routedExperts, sharedExpert } from './experts.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { latentAttention } from './latent-attention.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { ropeSetting } from './rope-setting.ts';

/** Experts in groups, of which a token uses the best; without them any experts. */
interface Groups {
  readonly groups: number;
  readonly kept: number;
}

/** GGUF's number of the function that makes weights of experts out of scores. */
const softmax = 1;

/** Files of DeepSeek-V3 and its kin have the same architecture and route otherwise. */
const groups: Setting<Groups | undefined> = {
  gguf(s) {
    if (s.number('expert_gating_func', softmax) !== softmax) s.unsupported('expert_gating_func', `${softmax}, softmax`);
    if (s.boolean('expert_weights_norm', false)) s.unsupported('expert_weights_norm', 'false');
    return s.number('expert_group_count', 1) === 1
      ? undefined
      : { groups: s.count('expert_group_count'), kept: s.count('expert_group_used_count') };
  },
  huggingface: (s) =>
    s.string('topk_method', 'greedy') === 'greedy'
      ? undefined
      : { groups: s.count('n_group'), kept: s.count('topk_group') },
  write(value, keys) {
    if (value === undefined) return;
    keys.set('expert_group_count', value.groups);
    keys.set('expert_group_used_count', value.kept);
  },
};

/** Absent in the Lite models. */
const queryRank: Setting<number | undefined> = {
  gguf: (s) => (s.has('attention.q_lora_rank') ? s.count('attention.q_lora_rank') : undefined),
  huggingface: (s) => (s.has('q_lora_rank') ? s.count('q_lora_rank') : undefined),
  write: (value, keys) => value !== undefined && keys.set('attention.q_lora_rank', value),
};

/** The first of so many layers have no experts; it may be none. */
const denseLayers: Setting<number> = {
  gguf: (s) => s.number('leading_dense_block_count', 0),
  huggingface: (s) => s.number('first_k_dense_replace', 0),
  write: (value, keys) => keys.set('leading_dense_block_count', value),
};

/** Of heads, and of the vector that keys and values come from. */
interface LatentSizes {
  readonly kvRank: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Dimensions of a key that turn. */
  readonly turning: number;
  /** The file has what makes keys and values as attention over that vector needs it: see `latentAttention`. */
  readonly absorbed: boolean;
}

/**
 * What a head's queries and keys have that does not turn is said by Hugging Face, the whole of it by GGUF. The sizes of heads
 * in absorbed files are those of what is kept; those of the heads themselves have keys of their own.
 */
const latentSizes: Setting<LatentSizes> = {
  gguf(s) {
    const absorbed = s.has('attention.key_length_mla');
    const suffix = absorbed ? '_mla' : '';
    const kvRank = s.count('attention.kv_lora_rank');
    const turning = s.count('rope.dimension_count');
    const keyDim = s.count(`attention.key_length${suffix}`);
    if (keyDim <= turning) s.unsupported(`attention.key_length${suffix}`, `more than the ${turning} that turn`);
    if (absorbed) {
      for (const [key, size] of keptSizes(kvRank, turning)) if (s.count(key) !== size) s.unsupported(key, `${size}`);
    }
    return { kvRank, keyDim, valueDim: s.count(`attention.value_length${suffix}`), turning, absorbed };
  },
  huggingface(s) {
    const turning = s.count('qk_rope_head_dim');
    const keyDim = s.count('qk_nope_head_dim') + turning;
    return { kvRank: s.count('kv_lora_rank'), keyDim, valueDim: s.count('v_head_dim'), turning, absorbed: false };
  },
  write({ kvRank, keyDim, valueDim, turning, absorbed }, keys) {
    const suffix = absorbed ? '_mla' : '';
    keys.set('attention.kv_lora_rank', kvRank);
    if (absorbed) for (const [key, size] of keptSizes(kvRank, turning)) keys.set(key, size);
    keys.set(`attention.key_length${suffix}`, keyDim);
    keys.set(`attention.value_length${suffix}`, valueDim);
  },
};

/** Of each token, for all heads together. */
function keptSizes(kvRank: number, turning: number): readonly (readonly [key: string, size: number])[] {
  return [
    ['attention.key_length', kvRank + turning],
    ['attention.value_length', kvRank],
  ];
}

const plainRope = ropeSetting('interleaved', count('rope.dimension_count', 'qk_rope_head_dim'));
/** A tenth of `mscale_all_dim`. llama.cpp takes `mscale` for the same, so that cos and sin keep their size. */
const logMultiplier = 'rope.scaling.yarn_log_multiplier';

const rope: Setting<RopeAttributes> = {
  gguf(s, checkpoint) {
    const read = plainRope.gguf(s, checkpoint);
    if (read.scaling.kind !== 'yarn') return read;
    const mscale = 10 * s.number(logMultiplier, 0);
    const factors = mscale === 0 ? { attentionFactor: 1 } : { mscale, mscaleAllDimensions: mscale };
    return { ...read, scaling: { ...read.scaling, ...factors } };
  },
  // Pairs are neighbours in folders too.
  huggingface: (s) => ({ ...plainRope.huggingface(s), layout: 'interleaved' }),
  write({ scaling, ...value }, keys) {
    if (scaling.kind !== 'yarn') {
      plainRope.write({ ...value, scaling }, keys);
      return;
    }
    const { mscale, mscaleAllDimensions, ...yarn } = scaling;
    if (mscale === undefined || mscale !== mscaleAllDimensions) {
      throw new IngotError('UnsupportedFile', 'GGUF files of deepseek2 have one mscale for all dimensions');
    }
    plainRope.write({ ...value, scaling: yarn }, keys);
    keys.setFloat(logMultiplier, 0.1 * mscale);
  },
};

const settings = {
  vocabularySize: decoderSizes.vocabularySize,
  contextLength: decoderSizes.contextLength,
  hiddenSize: decoderSizes.hiddenSize,
  layers: decoderSizes.layers,
  feedForwardSize: decoderSizes.feedForwardSize,
  heads: decoderSizes.heads,
  kvHeads: decoderSizes.kvHeads,
  latent: latentSizes,
  queryRank,
  sizes: expertSizes,
  sharedExperts: count('expert_shared_count', 'n_shared_experts'),
  denseLayers,
  weightsScale: number('expert_weights_scale', 'routed_scaling_factor', 1),
  groups,
  normEpsilon: rmsEpsilon,
  rope,
};

const known: KnownValues = {
  ...siluOnly,
  topk_method: ['greedy', 'group_limited_greedy'],
  scoring_func: ['softmax'],
  norm_topk_prob: [false],
  moe_layer_freq: [1],
};

/** YaRN's factor on queries and keys, once for each. */
function attentionScale({ keyDim }: LatentSizes, { scaling }: RopeAttributes) {
  const all = scaling.kind === 'yarn' ? (scaling.mscaleAllDimensions ?? 0) : 0;
  const mscale = scaling.kind === 'yarn' && scaling.factor > 1 ? 0.1 * all * Math.log(scaling.factor) + 1 : 1;
  return mscale ** 2 / Math.sqrt(keyDim);
}

export const deepseekV2 = decoderArchitecture(settings, {
  name: 'deepseek2',
  huggingface: ['DeepseekV2ForCausalLM'],
  known,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      preNormLayer(
        config,
        latentAttention({ ...config, ...config.latent, scale: attentionScale(config.latent, config.rope) }),
        i < config.denseLayers
          ? gatedFeedForward(config, 'silu')
          : sum(
              routedExperts(
                { ...config, ...config.sizes },
                { weights: 'softmax', scale: config.weightsScale, ...config.groups },
              ),
              sharedExpert(
                { hiddenSize: config.hiddenSize, feedForwardSize: config.sharedExperts * config.sizes.expertSize },
                'mlp.shared_experts',
              ),
            ),
      ),
  }),
});
