/**
 * An engine that says what was written down for it, with a real chat template and a vocabulary of characters: what comes before and
 * after a model, without one.
 */

import type { Engine, GenerateEvent, GenerateRequest, Prompt } from '../../src/engine/engine.ts';
import { encodePrompt } from '../../src/engine/prompt.ts';
import { AddedTokens, unshield } from '../../src/tokenizer/added-tokens.ts';
import { answerFormat } from '../../src/tokenizer/answers/formats.ts';
import type { EncodeOptions, Tokenizer } from '../../src/tokenizer/tokenizer.ts';

const firstSpecial = 0x110000;

/** A token a character. @param specials the first begins a text, the second ends it. */
export function characterTokenizer(specials: readonly string[]): Tokenizer {
  const added = new AddedTokens(specials.map((text, i) => ({ id: firstSpecial + i, text, special: true })));
  const isSpecial = (id: number) => id >= firstSpecial;
  const text = (id: number) => (isSpecial(id) ? (specials[id - firstSpecial] ?? '') : String.fromCodePoint(id));
  const decode = (ids: readonly number[], special = false) =>
    ids
      .filter((id) => special || !isSpecial(id))
      .map(text)
      .join('');
  return {
    vocabularySize: firstSpecial + specials.length,
    bos: firstSpecial,
    eos: firstSpecial + 1,
    endOfGeneration: new Set([firstSpecial + 1]),
    encode: (written, { parseSpecial = false, shielded = false }: EncodeOptions = {}) =>
      added
        .split(written, parseSpecial)
        .flatMap((part) =>
          typeof part === 'number'
            ? [part]
            : Array.from(shielded ? unshield(part) : part, (c) => c.codePointAt(0) ?? 0),
        ),
    shield: (written) => added.shield(written),
    decode: (ids, options) => decode(ids, options?.special),
    tokenBytes: (id) => (isSpecial(id) ? new Uint8Array() : new TextEncoder().encode(text(id))),
    tokenText: text,
    stream: () => ({ push: (id) => decode([id]), end: () => '' }),
  };
}

export interface ScriptedEngine extends Engine {
  /** Prompts as the model saw them, special tokens spelled. */
  readonly prompts: readonly string[];
}

/** @param answers one for each generation, in turn. */
export function scriptedEngine(
  template: string | undefined,
  answers: readonly string[],
  specials: readonly string[] = ['<s>', '</s>'],
): ScriptedEngine {
  const tokenizer = characterTokenizer(specials);
  const prompts: string[] = [];
  const encode = (prompt: Prompt) =>
    encodePrompt(prompt, tokenizer, { ...(template !== undefined && { chatTemplate: template }) });
  async function* generate({
    prompt,
    maxTokens,
    signal,
  }: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const asked = encode(prompt);
    const answer = answers[prompts.length % answers.length] ?? '';
    prompts.push(tokenizer.decode(asked, { special: true }));
    const ids = tokenizer.encode(answer, { parseSpecial: true });
    let generatedTokens = 0;
    let reason: 'end' | 'length' = 'end';
    for (const id of ids) {
      if (signal?.aborted) break;
      if (generatedTokens === maxTokens) {
        reason = 'length';
        break;
      }
      generatedTokens++;
      if (tokenizer.endOfGeneration.has(id)) break;
      const special = tokenizer.tokenBytes(id).length === 0;
      const top = [{ id, logprob: -0.5 }];
      const text = special ? '' : tokenizer.tokenText(id);
      yield { kind: 'token', id, logprob: -0.5, text, top, ...(special && { special: tokenizer.tokenText(id) }) };
    }
    const statistics = {
      promptTokens: asked.length,
      reusedTokens: 0,
      generatedTokens,
      queueSeconds: 0,
      totalSeconds: 0,
    };
    yield { kind: 'end', text: '', reason, statistics };
  }
  const unasked = (): never => {
    throw new Error('not asked for');
  };
  return {
    prompts,
    model: {
      architecture: 'none',
      vocabularySize: tokenizer.vocabularySize,
      contextLength: 9999,
      layers: 1,
      parameterCount: 1,
    },
    device: { name: 'null', threads: 1 },
    contextLength: 9999,
    hasChatTemplate: template !== undefined,
    answerFormat: answerFormat(template ?? '', tokenizer),
    generate,
    encode: async (prompt) => encode(prompt),
    decode: async (ids) => tokenizer.decode(ids),
    tokenTexts: async (ids) => ids.map((id) => ({ text: tokenizer.tokenText(id), bytes: tokenizer.tokenBytes(id) })),
    status: async () => ({
      running: 0,
      waiting: 0,
      cache: { capacity: 0, used: 0, known: 0 },
      totals: { steps: 0, stepSeconds: 0, promptTokens: 0, reusedTokens: 0, generatedTokens: 0, preemptions: 0 },
      memory: { weights: 0, state: 0, scratch: 0 },
    }),
    score: unasked,
    logits: unasked,
    embed: unasked,
    checkIntegrity: unasked,
    async [Symbol.asyncDispose]() {},
  };
}
