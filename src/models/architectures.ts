/** Every architecture, one row each, and the choice among them by what a checkpoint says it is. */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint } from '../formats/checkpoint.ts';
import { bert } from './bert.ts';
import { deepseekV2 } from './deepseek-v2.ts';
import { gemma2 } from './gemma2.ts';
import { gemma3 } from './gemma3.ts';
import { gptNeox } from './gpt-neox.ts';
import { gptOss } from './gpt-oss.ts';
import { gpt2 } from './gpt2.ts';
import { granite } from './granite.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { mixtral } from './mixtral.ts';
import type { Architecture, Model } from './model.ts';
import { olmo2 } from './olmo2.ts';
import { olmoe } from './olmoe.ts';
import { phi3 } from './phi3.ts';
import { qwen2 } from './qwen2.ts';
import { qwen2Moe } from './qwen2-moe.ts';
import { qwen3 } from './qwen3.ts';
import { qwen3Moe } from './qwen3-moe.ts';
import { Settings } from './settings.ts';

export const architectures: readonly Architecture[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  phi3,
  gemma2,
  gemma3,
  granite,
  olmo2,
  gpt2,
  gptNeox,
  mixtral,
  qwen2Moe,
  qwen3Moe,
  olmoe,
  gptOss,
  deepseekV2,
  bert,
];

/** @throws IngotError 'UnknownArchitecture' naming what was found and what is known, and whatever `open` throws. */
export function openModel(checkpoint: Checkpoint): Model {
  const said = saidArchitecture(checkpoint);
  const found = architectures.find(({ gguf, huggingface }) =>
    (checkpoint.kind === 'huggingface' ? huggingface : gguf).includes(said),
  );
  if (found === undefined) {
    throw new IngotError('UnknownArchitecture', `this model's architecture is "${said}"`, {
      path: checkpoint.path,
      hint: `Ingot knows ${architectures.map(({ name }) => name).join(', ')}.`,
    });
  }
  return found.open(checkpoint);
}

function saidArchitecture(checkpoint: Checkpoint): string {
  switch (checkpoint.kind) {
    case 'gguf':
      return new Settings(checkpoint).string('general.architecture');
    case 'huggingface':
      return new Settings(checkpoint).strings('architectures')?.[0] ?? 'not said';
    case 'llama2c':
      return 'llama';
    case 'safetensors':
      throw new IngotError('UnsupportedFile', 'a safetensors file alone does not say what model it holds', {
        path: checkpoint.path,
        hint: 'Name the folder that holds it together with its config.json.',
      });
    default:
      return checkpoint.kind satisfies never;
  }
}
