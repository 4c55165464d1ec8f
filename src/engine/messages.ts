/**
 * What the client of an engine and the host of it say to each other. Everything can be cloned from one thread to another
 * (the structured clone algorithm of the HTML standard); each call has a number, under which its answers come.
 */
import type { ErrorMessage } from '../base/error-message.ts';
import type {
  EngineFacts,
  EngineStatus,
  GenerateEvent,
  GenerateRequest,
  Prompt,
  ScoreOptions,
  TokenText,
} from './engine.ts';

/** One end of a channel between two threads. Messages arrive whole, once, in order. */
export interface Port<In, Out> {
  send(message: Out): void;
  /** Once; from then on messages are taken. */
  listen(receive: (message: In) => void): void;
}

/** What is asked for. `S`: what an engine is loaded from. */
export type Call<S> =
  | { readonly kind: 'load'; readonly settings: S }
  | { readonly kind: 'generate'; readonly request: Omit<GenerateRequest, 'signal'> }
  | { readonly kind: 'encode'; readonly prompt: Prompt }
  | {
      readonly kind: 'score' | 'logits';
      readonly text: Prompt;
      readonly options: Omit<ScoreOptions, 'signal'>;
    }
  | { readonly kind: 'decode' | 'tokenTexts'; readonly ids: readonly number[] }
  | { readonly kind: 'status' }
  | { readonly kind: 'embed'; readonly text: Prompt }
  | { readonly kind: 'checkIntegrity' }
  /** Ends all that runs, and gives everything back. `stays`: another engine may be loaded then. */
  | { readonly kind: 'close'; readonly stays: boolean };

export type ToHost<S> =
  /** `aborted`: its signal was raised before. */
  | { readonly kind: 'call'; readonly id: number; readonly call: Call<S>; readonly aborted: boolean }
  /** So many events of a generation were read: as many more may be sent. */
  | { readonly kind: 'read'; readonly id: number; readonly events: number }
  | { readonly kind: 'abort'; readonly id: number };

export type Answer =
  | { readonly kind: 'loaded'; readonly facts: EngineFacts }
  | { readonly kind: 'encoded'; readonly ids: readonly number[] }
  | { readonly kind: 'decoded'; readonly text: string }
  | { readonly kind: 'tokenTexts'; readonly tokens: readonly TokenText[] }
  | { readonly kind: 'status'; readonly status: EngineStatus }
  | { readonly kind: 'scored'; readonly logprobs: Float64Array }
  | { readonly kind: 'logits'; readonly rows: Float32Array }
  | { readonly kind: 'embedded'; readonly embedding: Float32Array }
  | { readonly kind: 'done' };

/** What one generation says. */
export interface Said {
  readonly id: number;
  readonly events: readonly GenerateEvent[];
}

/** Events of one generation that are sent before any of them was read, at most. */
export const window = 256;

export type ToClient =
  /** What the engine stands on is gone. */
  | { readonly kind: 'lost'; readonly error: ErrorMessage }
  | { readonly kind: 'progress'; readonly id: number; readonly done: number; readonly total: number }
  /** Of one generation or several. */
  | { readonly kind: 'events'; readonly said: readonly Said[] }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer }
  | { readonly kind: 'failed'; readonly id: number; readonly error: ErrorMessage };
