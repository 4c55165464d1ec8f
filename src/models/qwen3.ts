/** Qwen3 (https://arxiv.org/abs/2505.09388): each head of queries and keys is normalized before the rotation. */
import { readDecoderConfig } from './decoder-config.ts';
import type { Architecture } from './model.ts';
import { openDecoder } from './open-decoder.ts';

export const qwen3: Architecture = {
  name: 'qwen3',
  gguf: ['qwen3'],
  huggingface: ['Qwen3ForCausalLM'],
  open(checkpoint) {
    const special = { architecture: 'qwen3', headNorm: true, ggufRopeLayout: 'half' } as const;
    return openDecoder(checkpoint, readDecoderConfig(checkpoint, special));
  },
};
