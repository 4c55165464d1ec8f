/** Mixtral: Llama with experts (`llama.ts`), under a name of its own in Hugging Face's folders. */
import { llama } from './llama.ts';
import type { Architecture } from './model.ts';

export const mixtral: Architecture = { ...llama, name: 'mixtral', gguf: [], huggingface: ['MixtralForCausalLM'] };
