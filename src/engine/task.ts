/** One request while it is answered: tokens come in as steps make them, events go out as they are read. */
import type { StopSignal } from '../base/errors.ts';
import type { Tokenizer, TokenStream } from '../tokenizer/tokenizer.ts';
import type { FinishReason, GenerateEvent, GenerateRequest, TokenLogprob } from './engine.ts';
import type { SamplingParameters } from './sampling.ts';
import type { Sequence } from './sequence.ts';
import { StatisticsClock } from './statistics.ts';
import { StopStrings } from './stop-strings.ts';

/** Events that wait to be read; with more of them the sequence is not computed any further. */
const fullAt = 256;

export interface TaskOptions {
  readonly sequence: Sequence;
  readonly request: GenerateRequest;
  readonly sampling: SamplingParameters;
  /** Instead of them before the request's `minTokens`. */
  readonly early: SamplingParameters;
  readonly tokenizer: Tokenizer;
  /** Ends the text where it is. */
  readonly signal: StopSignal;
  /** Longest sequence, in tokens. */
  readonly contextLength: number;
  /** Called when a reader makes room, or leaves. */
  readonly onRead: () => void;
}

export class Task {
  readonly sequence: Sequence;
  readonly request: GenerateRequest;
  readonly #options: TaskOptions;
  readonly promptTokens: number;
  readonly #clock: StatisticsClock;
  readonly #stops: StopStrings;
  readonly #stream: TokenStream;
  readonly #events: GenerateEvent[] = [];
  #accepted = 0;
  #left = false;
  #ended = false;
  #error: { readonly error: unknown } | undefined;
  #wake: () => void = () => {};

  constructor(options: TaskOptions) {
    const { sequence, request, tokenizer } = options;
    this.sequence = sequence;
    this.request = request;
    this.#options = options;
    const { begun = [] } = request;
    this.promptTokens = sequence.tokens.length - begun.length;
    this.#clock = new StatisticsClock(this.promptTokens, begun.length);
    this.#stops = new StopStrings(request.stop ?? []);
    // A text that begins here has no space before its first word.
    const continuation = tokenizer.decode(sequence.tokens.slice(0, this.promptTokens)) !== '';
    this.#stream = tokenizer.stream({ continuation });
    const stopped = begun.map((id) => this.#read(id).stopped).findLast((stop) => stop !== undefined);
    if (stopped !== undefined) this.#end('stop', '');
    else if (begun.length > 0 && !this.wantsMore) this.end('length');
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether nobody waits for more. */
  get aborted(): boolean {
    return this.#left || this.#options.signal.aborted;
  }

  /** Whether the answer may have another token after those that are on their way. */
  get wantsMore(): boolean {
    const { tokens } = this.sequence;
    return tokens.length - this.promptTokens < this.request.maxTokens && tokens.length < this.#options.contextLength;
  }

  /** For the token after those that the sequence has. */
  get sampling(): SamplingParameters {
    const { early, sampling } = this.#options;
    return this.sequence.tokens.length - this.promptTokens < this.#minTokens ? early : sampling;
  }

  get #minTokens(): number {
    return this.request.minTokens ?? 0;
  }

  /** Whether it begins for the first time. */
  begin(reusedTokens: number): boolean {
    return this.#clock.begin(reusedTokens);
  }

  /** A token was sampled, which `tell` says. Nothing more after the end. */
  accept(id: number, logprob: number, top: readonly TokenLogprob[] | undefined): void {
    if (this.#ended) return;
    this.#clock.token();
    const { tokenizer } = this.#options;
    if (!(this.request.ignoreEnd ?? false) && tokenizer.endOfGeneration.has(id)) {
      this.end('end');
      return;
    }
    const { text, special, stopped } = this.#read(id);
    this.#add({ kind: 'token', id, logprob, text, ...(special !== '' && { special }), ...(top && { top }) });
    if (stopped !== undefined) this.#end('stop', '');
    else if (!this.wantsMore && this.sequence.pendingStep === undefined) this.end('length');
  }

  /** What becomes certain with a token of the answer. */
  #read(id: number): { readonly text: string; readonly special: string; readonly stopped?: string | undefined } {
    const { tokenizer } = this.#options;
    const piece = this.#stream.push(id);
    // A stop string that ends too early is text like any other.
    const isEarly = ++this.#accepted < this.#minTokens;
    const { text, stopped } = isEarly ? { text: piece, stopped: undefined } : this.#stops.push(piece);
    const special = piece === '' && tokenizer.tokenBytes(id).length === 0 ? tokenizer.tokenText(id) : '';
    // No stop string goes on across a special token.
    return { text: special === '' ? text : text + this.#stops.end(), special, stopped };
  }

  /** The answer is over; what was held back of it is said. */
  end(reason: FinishReason): void {
    if (this.#ended) return;
    const { text, stopped } = this.#stops.push(this.#stream.end());
    this.#end(reason, stopped === undefined ? text + this.#stops.end() : text);
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = { error };
    this.#wake();
  }

  #end(reason: FinishReason, text: string): void {
    this.#ended = true;
    this.#say({ kind: 'end', reason, text, statistics: this.#clock.read() });
  }

  #say(event: GenerateEvent): void {
    this.#add(event);
    this.#wake();
  }

  #add(event: GenerateEvent): void {
    this.#events.push(event);
    this.sequence.paused = this.#events.length >= fullAt;
  }

  /** Whoever reads goes on. */
  tell(): void {
    this.#wake();
  }

  /** What is said, as it comes. A reader that leaves ends the work. */
  async *events(): AsyncGenerator<GenerateEvent, void, undefined> {
    const { onRead } = this.#options;
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event === undefined) {
          if (this.#error !== undefined) throw this.#error.error;
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        if (this.sequence.paused && this.#events.length < fullAt / 2) {
          this.sequence.paused = false;
          onRead();
        }
        yield event;
        if (event.kind === 'end') return;
      }
    } finally {
      this.#left = true;
      onRead();
    }
  }
}
