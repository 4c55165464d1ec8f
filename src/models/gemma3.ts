/**
 * Gemma 3, its text part (https://arxiv.org/abs/2503.19786): five layers of six slide and turn by a base of their own;
 * each head of queries and keys is normalized.
 */
import { IngotError } from '../base/errors.ts';
import type { RopeAttributes } from '../composites/rope.ts';
import { selfAttention } from './attention.ts';
import { optionalNumber, type Setting } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { gemmaEnds, gemmaKnown, gemmaLayer, gemmaSettings, queryScaleSetting } from './gemma.ts';
import { huggingFaceRope, ropeSetting } from './rope-setting.ts';
import { plusOne } from './tensor-views.ts';
import { windowSetting } from './window-setting.ts';

/** Of layers that see all, and of those that slide. */
export interface Ropes {
  readonly all: RopeAttributes;
  readonly sliding: RopeAttributes;
}

const { headDim } = gemmaSettings;
const rope = ropeSetting('half', headDim);
const ggufSlidingBase = 'rope.freq_base_swa';

const ropes: Setting<Ropes> = {
  gguf(s, checkpoint) {
    const all = rope.gguf(s, checkpoint);
    return { all, sliding: { ...all, base: s.number(ggufSlidingBase, 10000), scaling: { kind: 'none' } } };
  },
  huggingface(s) {
    const newer = s.section('rope_parameters');
    const dimensions = headDim.huggingface(s);
    const all = huggingFaceRope(s, newer?.section('full_attention'), dimensions, { usualBase: 1e6 });
    const sliding = huggingFaceRope(s, newer?.section('sliding_attention'), dimensions, {
      base: 'rope_local_base_freq',
    });
    return { all, sliding: newer === undefined ? { ...sliding, scaling: { kind: 'none' } } : sliding };
  },
  write({ all, sliding }, keys) {
    if (sliding.scaling.kind !== 'none') {
      throw new IngotError('UnsupportedFile', 'GGUF files of gemma3 cannot say that layers that slide are scaled');
    }
    rope.write(all, keys);
    keys.setFloat(ggufSlidingBase, sliding.base);
  },
};

const settings = {
  ...gemmaSettings,
  ropes,
  windowOf: windowSetting(6),
  queryScale: queryScaleSetting(62),
  logitCap: optionalNumber('final_logit_softcapping', 'final_logit_softcapping'),
};

export const gemma3 = decoderArchitecture(settings, {
  name: 'gemma3',
  huggingface: ['Gemma3ForCausalLM'],
  known: { ...gemmaKnown, attn_logit_softcapping: [null] },
  decoder(config) {
    const { queryScale, ropes, logitCap, normEpsilon } = config;
    return {
      ...gemmaEnds(config, logitCap),
      layer(i) {
        const window = config.windowOf(i);
        const attention = selfAttention({
          ...config,
          rope: window === undefined ? ropes.all : ropes.sliding,
          window,
          scale: queryScale.scale,
          norm: { of: 'head', epsilon: normEpsilon, view: plusOne },
        });
        return gemmaLayer(config, attention);
      },
    };
  },
});
