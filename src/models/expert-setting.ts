/** Sizes of a mixture of experts as a setting: how many there are, how many a token uses, and how large each is. */
import { IngotError } from '../base/errors.ts';
import type { Setting } from './config.ts';
import type { Settings } from './settings.ts';

export interface ExpertSizes {
  readonly experts: number;
  /** Experts of a token. */
  readonly chosen: number;
  /** Of the hidden part of each. */
  readonly expertSize: number;
}

/** Undefined for a model without experts. Hugging Face's name of their number depends on age and architecture. */
export const optionalExperts: Setting<ExpertSizes | undefined> = {
  gguf(s) {
    if (!s.has('expert_count') || s.get('expert_count') === 0) return undefined;
    return checked(s, {
      experts: s.count('expert_count'),
      chosen: s.count('expert_used_count'),
      expertSize: s.count(
        'expert_feed_forward_length',
        s.has('feed_forward_length') ? s.count('feed_forward_length') : undefined,
      ),
    });
  },
  huggingface(s) {
    const key = ['num_experts', 'num_local_experts', 'n_routed_experts'].find((name) => s.has(name));
    if (key === undefined) return undefined;
    // Qwen's files can have dense layers in between; GGUF cannot say so, and no published model has any.
    for (const [name, plain] of [
      ['decoder_sparse_step', '1'],
      ['mlp_only_layers', '[]'],
    ] as const) {
      if (s.has(name) && JSON.stringify(s.get(name)) !== plain) s.unsupported(name, plain);
    }
    return checked(s, {
      experts: s.count(key),
      chosen: s.count('num_experts_per_tok'),
      expertSize: s.has('moe_intermediate_size') ? s.count('moe_intermediate_size') : s.count('intermediate_size'),
    });
  },
  write(value, keys) {
    if (value === undefined) return;
    keys.set('expert_count', value.experts);
    keys.set('expert_used_count', value.chosen);
    keys.set('expert_feed_forward_length', value.expertSize);
  },
};

/** Of architectures that always have them. */
export const expertSizes: Setting<ExpertSizes> = {
  gguf: (s, checkpoint) => optionalExperts.gguf(s, checkpoint) ?? missing(),
  huggingface: (s) => optionalExperts.huggingface(s) ?? missing(),
  write: optionalExperts.write,
};

/**
 * Whether the weights of the chosen experts are divided by their sum. GGUF's architectures imply it; a folder says so, and
 * false is what its silence means.
 */
export function normalizedWeights(implied: boolean): Setting<boolean> {
  return {
    gguf: (s) => s.boolean('expert_weights_norm', implied),
    huggingface: (s) => s.boolean('norm_topk_prob', false),
    write(value, { architecture }) {
      if (value === implied) return;
      const message = `GGUF files of ${architecture} imply that the weights of experts are ${implied ? '' : 'not '}normalized`;
      throw new IngotError('UnsupportedFile', message);
    },
  };
}

function missing(): never {
  throw new IngotError('InvalidFile', 'the model has no setting that says how many experts it has');
}

/** Routers compare all scores of a token with each other. */
const mostExperts = 4096;

function checked(s: Settings, sizes: ExpertSizes): ExpertSizes {
  const { chosen, experts } = sizes;
  if (chosen <= experts && experts <= mostExperts) return sizes;
  const message = `the model's settings choose ${chosen} of ${experts} experts, of which there may be ${mostExperts}`;
  throw new IngotError('InvalidFile', message, { path: s.path });
}
