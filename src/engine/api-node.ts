/** What programs get: `Engine.load(model)`, and answers to prompts and conversations that are read as they come, or as a whole. */
import { findModel } from '../hub/find-model.ts';
import type { ChatMessage } from '../tokenizer/chat.ts';
import type { Conversation } from '../tokenizer/conversation.ts';
import type {
  Engine as EngineContract,
  EngineFacts,
  EngineStatus,
  GenerateEvent,
  GenerateRequest,
  Prompt,
  ScoreOptions,
  TokenText,
} from './engine.ts';
import { type OpenOptions, openEngine } from './open-node.ts';
import { greedy, type SamplingParameters } from './sampling.ts';

/** How a model is loaded; see `EngineOptions` for its limits. */
export interface LoadOptions extends OpenOptions {
  /** Take `hf:` models from the cache only; also where HF_HUB_OFFLINE says so. */
  readonly offline?: boolean;
  /** Called while a model is fetched from the hub, in bytes. */
  readonly onFetch?: (done: number, total: number) => void;
}

/** How an answer is made. What is not said of sampling is greedy, and without `maxTokens` an answer may fill the context. */
export interface AnswerOptions
  extends Partial<SamplingParameters>,
    Partial<Omit<GenerateRequest, 'prompt' | 'sampling'>> {}

/** An answer while it is made, to be read once: its events, or all of its text. Leaving the loop over its events ends it. */
export interface Answer extends AsyncGenerator<GenerateEvent, void, undefined> {
  /** All of it, when it has ended. */
  text(): Promise<string>;
}

/**
 * A model that answers, in a worker thread of its own. As many answers as it was loaded for (`sequences`) are computed together, others
 * wait. Disposing of it ends all of them.
 */
export class Engine implements EngineContract {
  readonly #engine: EngineContract;

  private constructor(engine: EngineContract) {
    this.#engine = engine;
  }

  /**
   * @param model a GGUF file, a Hugging Face folder, or `hf:org/repo`, which is fetched once; the bundled model if absent.
   * @throws IngotError: whatever the name, the file, its architecture, its vocabulary or the device do wrong; 'Aborted'.
   */
  static async load(model?: string, { offline, onFetch, ...options }: LoadOptions = {}): Promise<Engine> {
    const { signal } = options;
    const path = await findModel(model, {
      ...(signal && { signal }),
      ...(offline !== undefined && { offline }),
      ...(onFetch && { onProgress: onFetch }),
    });
    return new Engine(await openEngine(path, options));
  }

  /**
   * The answer to the last of some messages, in the words of the model's chat template.
   * @throws IngotError when the answer is read: as `generate`, and 'ParseError' of templates.
   */
  chat(conversation: readonly ChatMessage[] | Conversation, options: AnswerOptions = {}): Answer {
    return this.generate('messages' in conversation ? conversation : { messages: conversation }, options);
  }

  /**
   * How a prompt goes on. Ends with one 'end' event unless reading throws.
   * @throws IngotError when the answer is read: 'InvalidArgument', 'ContextOverflow', 'Overloaded', 'DeviceFault', 'DeviceLost'.
   */
  generate(prompt: Prompt | GenerateRequest, options: AnswerOptions = {}): Answer {
    const request = typeof prompt === 'object' && 'prompt' in prompt ? prompt : this.#request(prompt, options);
    const events = this.#engine.generate(request);
    return Object.assign(events, {
      async text() {
        let text = '';
        for await (const event of events) text += event.text;
        return text;
      },
    });
  }

  #request(prompt: Prompt, options: AnswerOptions): GenerateRequest {
    const said = Object.entries(options).filter(([, value]) => value !== undefined);
    const sampling = Object.fromEntries(said.filter(([name]) => name in greedy));
    const others = Object.fromEntries(said.filter(([name]) => !(name in greedy)));
    return { maxTokens: this.contextLength, ...others, prompt, sampling };
  }

  get model(): EngineFacts['model'] {
    return this.#engine.model;
  }

  get device(): EngineFacts['device'] {
    return this.#engine.device;
  }

  get contextLength(): number {
    return this.#engine.contextLength;
  }

  get hasChatTemplate(): boolean {
    return this.#engine.hasChatTemplate;
  }

  get answerFormat(): EngineFacts['answerFormat'] {
    return this.#engine.answerFormat;
  }

  /** The tokens of a prompt. */
  encode(prompt: Prompt): Promise<readonly number[]> {
    return this.#engine.encode(prompt);
  }

  /** The text of tokens; special ones are left out. */
  decode(ids: readonly number[]): Promise<string> {
    return this.#engine.decode(ids);
  }

  /** What each of some tokens stands for by itself. */
  tokenTexts(ids: readonly number[]): Promise<readonly TokenText[]> {
    return this.#engine.tokenTexts(ids);
  }

  /** Natural log-probabilities of the tokens of a text, each given all before it. */
  score(text: Prompt, options?: ScoreOptions): Promise<Float64Array> {
    return this.#engine.score(text, options);
  }

  /** The logits that `score` is computed from: a row of the vocabulary's size for each token that is scored. */
  logits(text: Prompt, options?: ScoreOptions): Promise<Float32Array> {
    return this.#engine.logits(text, options);
  }

  /** The vector of a text, of length 1, by models that embed texts. */
  embed(text: Prompt, signal?: AbortSignal): Promise<Float32Array> {
    return this.#engine.embed(text, signal);
  }

  /** What it is doing, and has done since it was loaded. */
  status(): Promise<EngineStatus> {
    return this.#engine.status();
  }

  /** @throws IngotError 'DeviceFault' if memory of the cache was lost or shared by mistake. Only true when idle. */
  checkIntegrity(): Promise<void> {
    return this.#engine.checkIntegrity();
  }

  /** Ends all that runs, and gives everything back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
  }
}
