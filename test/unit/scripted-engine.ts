/**
 * An engine that says what was written down for it, with a real chat template and a vocabulary of characters: what comes before and
 * after a model, without one.
 */
import type { GenerateEvent, GenerateRequest, Prompt, TokenText } from '../../src/engine/engine.ts';
import { type ChatTemplates, encodePrompt } from '../../src/engine/prompt.ts';
import { AddedTokens, unshield } from '../../src/tokenizer/added-tokens.ts';
import { type AnswerFormat, answerFormat } from '../../src/tokenizer/answers/formats.ts';
import type { EncodeOptions, Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { FakeEngine } from './fake-engine.ts';

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

export class ScriptedEngine extends FakeEngine {
  override readonly hasChatTemplate: boolean;
  override readonly answerFormat: AnswerFormat;
  /** Prompts as the model saw them, special tokens spelled. */
  readonly prompts: string[] = [];
  readonly #tokenizer: Tokenizer;
  readonly #templates: ChatTemplates;
  readonly #answers: readonly string[];

  /** @param answers one for each generation, in turn. */
  constructor(
    chatTemplate: string | undefined,
    answers: readonly string[],
    specials: readonly string[] = ['<s>', '</s>'],
  ) {
    super();
    this.#tokenizer = characterTokenizer(specials);
    this.#templates = chatTemplate === undefined ? {} : { chatTemplate };
    this.#answers = answers;
    this.hasChatTemplate = chatTemplate !== undefined;
    this.answerFormat = answerFormat(chatTemplate ?? '', this.#tokenizer);
  }

  override async *generate({
    prompt,
    maxTokens,
    signal,
  }: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const tokenizer = this.#tokenizer;
    const asked = await this.encode(prompt);
    const answer = this.#answers[this.prompts.length % this.#answers.length] ?? '';
    this.prompts.push(tokenizer.decode(asked, { special: true }));
    let generatedTokens = 0;
    let reason: 'end' | 'length' = 'end';
    for (const id of tokenizer.encode(answer, { parseSpecial: true })) {
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
    const counts = { promptTokens: asked.length, reusedTokens: 0, generatedTokens };
    yield { kind: 'end', text: '', reason, statistics: { ...counts, queueSeconds: 0, totalSeconds: 0 } };
  }

  override async encode(prompt: Prompt): Promise<readonly number[]> {
    return encodePrompt(prompt, this.#tokenizer, this.#templates);
  }

  override async decode(ids: readonly number[]): Promise<string> {
    return this.#tokenizer.decode(ids);
  }

  override async tokenTexts(ids: readonly number[]): Promise<readonly TokenText[]> {
    return ids.map((id) => ({ text: this.#tokenizer.tokenText(id), bytes: this.#tokenizer.tokenBytes(id) }));
  }
}
