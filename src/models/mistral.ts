/** Mistral 7B and its kin (https://arxiv.org/abs/2310.06825): Llama with a sliding window. GGUF files of it say 'llama'. */
import { readDecoderConfig } from './decoder-config.ts';
import type { Architecture } from './model.ts';
import { openDecoder } from './open-decoder.ts';

export const mistral: Architecture = {
  name: 'mistral',
  gguf: [],
  huggingface: ['MistralForCausalLM'],
  open(checkpoint) {
    const special = { architecture: 'llama', headNorm: false, ggufRopeLayout: 'interleaved' } as const;
    return openDecoder(checkpoint, readDecoderConfig(checkpoint, special));
  },
};
