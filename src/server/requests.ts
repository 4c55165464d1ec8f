/**
 * What clients may ask for: OpenAI's API (openapi.yml of openai/openai-openapi), with the sampling parameters that it lacks under the
 * names that vLLM and llama.cpp gave them. What Ingot would have to ignore, and that would change the answer, is refused.
 */
import { z } from 'zod';

const seed = z
  .int()
  .min(-(2 ** 53))
  .max(2 ** 53 - 1);

/** Of both kinds of completion. */
const sampling = {
  model: z.string().optional(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().min(0.01).max(100).nullish(),
  logit_bias: z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)).nullish(),
  seed: seed.nullish(),
  n: z.int().min(1).max(128).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .object({ include_usage: z.boolean().optional(), include_obfuscation: z.boolean().optional() })
    .nullish(),
  ignore_eos: z.boolean().nullish(),
  min_tokens: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .nullish(),
  user: z.string().optional(),
  priority: z.int().min(-1000).max(1000).optional(),
};

const maxTokens = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);

/** Texts, or the ids of their tokens. */
const texts = z.union([
  z.string(),
  z.array(z.int().min(0)).min(1),
  z.array(z.string()).min(1).max(2048),
  z
    .array(z.array(z.int().min(0)).min(1))
    .min(1)
    .max(2048),
]);

const functionName = z
  .string()
  .regex(/^[\w.-]{1,64}$/, 'a name is up to 64 letters, digits, dots, dashes and underscores');

const toolCall = z.looseObject({
  id: z.string().optional(),
  type: z.literal('function').optional(),
  function: z.looseObject({ name: z.string(), arguments: z.string() }),
});

const message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(z.looseObject({ type: z.string() })), z.null()]).optional(),
  reasoning_content: z.string().nullish(),
  tool_calls: z.array(toolCall).nullish(),
  tool_call_id: z.string().optional(),
});

const tool = z.object({
  type: z.literal('function'),
  function: z.looseObject({
    name: functionName,
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    strict: z.boolean().nullish(),
  }),
});

const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.object({ type: z.literal('function'), function: z.object({ name: functionName }) }),
]);

export const chatRequest = z
  .looseObject({
    ...sampling,
    messages: z.array(message).min(1),
    max_tokens: maxTokens.nullish(),
    max_completion_tokens: maxTokens.nullish(),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(20).nullish(),
    tools: z.array(tool).max(1024).nullish(),
    tool_choice: toolChoice.nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    reasoning_effort: z.string().nullish(),
    chat_template_kwargs: z.record(z.string(), z.unknown()).optional(),
  })
  .refine(({ logprobs, top_logprobs: top }) => logprobs === true || !top, {
    path: ['top_logprobs'],
    message: 'it needs logprobs to be true',
  });

export const completionRequest = z
  .looseObject({
    ...sampling,
    prompt: texts,
    max_tokens: maxTokens.nullish(),
    logprobs: z.int().min(0).max(20).nullish(),
    echo: z.boolean().nullish(),
    best_of: z.int().min(1).max(128).nullish(),
  })
  .refine(({ best_of: made, n }) => (made ?? n ?? 1) >= (n ?? 1), { path: ['best_of'], message: 'it is less than n' })
  .refine(({ best_of: made, n, stream }) => !stream || (made ?? 1) <= (n ?? 1), {
    path: ['best_of'],
    message: 'which answers are best is not known before all have ended: they cannot be streamed',
  });

export const embeddingsRequest = z.object({
  model: z.string().optional(),
  input: texts,
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.int().min(1).nullish(),
  user: z.string().optional(),
});

export const tokenizeRequest = z.object({ model: z.string().optional(), content: z.string() });
export const detokenizeRequest = z.object({ model: z.string().optional(), tokens: z.array(z.int().min(0)) });

export type EmbeddingsRequest = z.infer<typeof embeddingsRequest>;
export type ChatRequest = z.infer<typeof chatRequest>;
export type CompletionRequest = z.infer<typeof completionRequest>;
export type SamplingRequest = ChatRequest | CompletionRequest;

const never = () => false;
const only =
  (...harmless: readonly unknown[]) =>
  (value: unknown) =>
    harmless.includes(value);
const none = (value: unknown) => Array.isArray(value) && value.length === 0;

/** Fields that would change the answer, and that Ingot does not have; by the values that change nothing. */
const unsupported: Readonly<Record<string, (value: unknown) => boolean>> = {
  // OpenAI's
  functions: none,
  function_call: only('none', 'auto'),
  response_format: (value) => (value as { type?: unknown } | null)?.type === 'text',
  audio: never,
  moderation: never,
  verbosity: only('medium'),
  web_search_options: never,
  modalities: (value) => Array.isArray(value) && value.every((kind) => kind === 'text'),
  suffix: never,
  echo: only(false),
  // vLLM's
  structured_outputs: never,
  guided_json: never,
  guided_regex: never,
  guided_choice: never,
  guided_grammar: never,
  use_beam_search: only(false),
  length_penalty: only(1),
  stop_token_ids: none,
  include_stop_str_in_output: only(false),
  bad_words: none,
  allowed_token_ids: never,
  skip_special_tokens: only(true),
  prompt_logprobs: never,
  truncate_prompt_tokens: never,
  add_generation_prompt: only(true),
  continue_final_message: only(false),
  chat_template: never,
  documents: none,
  // llama.cpp's
  grammar: only(''),
  json_schema: never,
  n_predict: never,
  repeat_penalty: only(1),
  typical_p: only(1),
  mirostat: only(0),
  dry_multiplier: only(0),
  xtc_probability: only(0),
  dynatemp_range: only(0),
  top_n_sigma: only(-1),
};

/** The first field of a request that cannot be served. */
export function unsupportedField(request: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(unsupported).find((name) => {
    const value = request[name];
    return value !== undefined && value !== null && !unsupported[name](value);
  });
}
