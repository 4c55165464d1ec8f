/** Qwen2 and Qwen2.5 (https://arxiv.org/abs/2407.10671): biases on queries, keys and values; tensors say whether. */
import { readDecoderConfig } from './decoder-config.ts';
import type { Architecture } from './model.ts';
import { openDecoder } from './open-decoder.ts';

export const qwen2: Architecture = {
  name: 'qwen2',
  gguf: ['qwen2'],
  huggingface: ['Qwen2ForCausalLM'],
  open(checkpoint) {
    const special = { architecture: 'qwen2', headNorm: false, ggufRopeLayout: 'half' } as const;
    return openDecoder(checkpoint, readDecoderConfig(checkpoint, special));
  },
};
