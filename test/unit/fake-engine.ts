/** An engine without a model: it says numbers, as many and as fast as a test wants. */
import { IngotError } from '../../src/base/errors.ts';
import type {
  Engine,
  EngineStatus,
  GenerateEvent,
  GenerateRequest,
  Prompt,
  TokenText,
} from '../../src/engine/engine.ts';
import { type AnswerFormat, plainText } from '../../src/tokenizer/answers/formats.ts';

export class FakeEngine implements Engine {
  readonly model = {
    architecture: 'fake',
    vocabularySize: 1000,
    contextLength: 4096,
    layers: 1,
    parameterCount: 1,
    matryoshka: false,
  };
  readonly device = { name: 'reference' as const, threads: 1 };
  readonly contextLength = 4096;
  readonly hasChatTemplate: boolean = true;
  readonly answerFormat: AnswerFormat = plainText;
  /** Requests as they came. */
  readonly requests: GenerateRequest[] = [];
  /** Tokens that were made, of all requests. */
  made = 0;
  running = 0;
  closed = false;
  /** What token number `n` of an answer says. */
  textOf = (n: number): string => `${n} `;
  /** Called before each token: may wait, and may throw. */
  beforeToken: (request: GenerateRequest) => Promise<void> | void = () => {};

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    this.requests.push(request);
    const promptTokens = (await this.encode(request.prompt)).length;
    if (promptTokens > this.contextLength) throw new IngotError('ContextOverflow', 'the prompt is too long');
    this.running++;
    let generatedTokens = request.begun?.length ?? 0;
    try {
      while (generatedTokens < request.maxTokens && !request.signal?.aborted) {
        await this.beforeToken(request);
        if (request.signal?.aborted) break;
        this.made++;
        const text = this.textOf(generatedTokens);
        yield { kind: 'token', id: generatedTokens++ % 1000, logprob: -1, text };
      }
      const aborted = request.signal?.aborted ?? false;
      const statistics = { promptTokens, reusedTokens: 0, generatedTokens, queueSeconds: 0, totalSeconds: 1 };
      yield { kind: 'end', text: '', reason: aborted ? 'aborted' : 'length', statistics };
    } finally {
      this.running--;
    }
  }

  /** A token a word. */
  async encode(prompt: Prompt): Promise<readonly number[]> {
    if (typeof prompt === 'string') return prompt.split(/\s+/).map((_, i) => i);
    return 'messages' in prompt ? this.encode(JSON.stringify(prompt.messages)) : prompt;
  }

  async decode(ids: readonly number[]): Promise<string> {
    return ids.join(' ');
  }

  async tokenTexts(ids: readonly number[]): Promise<readonly TokenText[]> {
    return ids.map((id) => ({ text: `${id}`, bytes: new TextEncoder().encode(`${id}`) }));
  }

  async status(): Promise<EngineStatus> {
    return {
      running: this.running,
      waiting: 0,
      cache: { capacity: 0, used: 0, known: 0, stored: 0 },
      totals: {
        steps: this.made,
        stepSeconds: 0,
        stepRequests: this.made,
        stepTokens: this.made,
        operations: 0,
        bytes: 0,
        prefixHits: 0,
        promptTokens: 0,
        reusedTokens: 0,
        generatedTokens: this.made,
        preemptions: 0,
        evictedTokens: 0,
        storedTokens: 0,
        fetchedTokens: 0,
      },
      memory: { weights: 1, state: 0, scratch: 0, javascript: 1 },
      machine: undefined,
    };
  }

  async embed(): Promise<Float32Array> {
    return Float32Array.of(0.6, 0.8);
  }

  score(): Promise<Float64Array> {
    return Promise.reject(new Error('nobody asks for it'));
  }

  logits(): Promise<Float32Array> {
    return Promise.reject(new Error('nobody asks for it'));
  }

  async checkIntegrity(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
  }
}
