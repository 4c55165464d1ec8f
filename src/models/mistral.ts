/** Mistral 7B and its kin (https://arxiv.org/abs/2310.06825): Llama with a sliding window. GGUF files of it say 'llama'. */
import { llama } from './llama.ts';
import type { Architecture } from './model.ts';

export const mistral: Architecture = { ...llama, name: 'mistral', gguf: [], huggingface: ['MistralForCausalLM'] };
