/** Gemma 2 (https://arxiv.org/abs/2408.00118): every other layer slides, scores and logits are capped. */
import { selfAttention } from './attention.ts';
import { optionalNumber } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { gemmaEnds, gemmaKnown, gemmaLayer, gemmaSettings, queryScaleSetting } from './gemma.ts';
import { ropeSetting } from './rope-setting.ts';
import { windowSetting } from './window-setting.ts';

const settings = {
  ...gemmaSettings,
  rope: ropeSetting('half', gemmaSettings.headDim),
  windowOf: windowSetting(2),
  queryScale: queryScaleSetting(46),
  scoreCap: optionalNumber('attn_logit_softcapping', 'attn_logit_softcapping'),
  logitCap: optionalNumber('final_logit_softcapping', 'final_logit_softcapping'),
};

export const gemma2 = decoderArchitecture(settings, {
  name: 'gemma2',
  huggingface: ['Gemma2ForCausalLM'],
  known: gemmaKnown,
  decoder: (config) => ({
    ...gemmaEnds(config, config.logitCap),
    layer(i) {
      const { queryScale, scoreCap, windowOf } = config;
      const options = { scale: queryScale.scale, softCap: scoreCap, window: windowOf(i) };
      return gemmaLayer(config, selfAttention({ ...config, ...options }));
    },
  }),
});
