/** Llama 1, 2 and 3.x (https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2407.21783). GGUF files interleave the pairs of the rotary embedding. */
import { readDecoderConfig } from './decoder-config.ts';
import type { Architecture } from './model.ts';
import { openDecoder } from './open-decoder.ts';

export const llama: Architecture = {
  name: 'llama',
  gguf: ['llama'],
  huggingface: ['LlamaForCausalLM'],
  open(checkpoint) {
    const special = { architecture: 'llama', headNorm: false, ggufRopeLayout: 'interleaved' } as const;
    return openDecoder(checkpoint, readDecoderConfig(checkpoint, special));
  },
};
