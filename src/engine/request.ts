/** From what is asked to a task: all that can be wrong with a request is found before it waits. */
import { IngotError, type StopSignal } from '../base/errors.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { GenerateRequest } from './engine.ts';
import { checkSampling, greedy } from './sampling.ts';
import type { Sequence } from './sequence.ts';
import { Task } from './task.ts';

export interface RequestContext {
  readonly id: number;
  readonly prompt: readonly number[];
  readonly tokenizer: Tokenizer;
  readonly vocabularySize: number;
  /** Longest sequence, in tokens. */
  readonly contextLength: number;
  readonly maxBias: number;
  /** When the request is refused unless it has begun. */
  readonly deadline: number;
  readonly signal: StopSignal;
  readonly onRead: () => void;
}

/** @throws IngotError 'InvalidArgument' naming what is out of its range. */
export function openTask(request: GenerateRequest, context: RequestContext): Task {
  const { begun = [], maxTokens, minTokens = 0, topLogprobs = 0, priority = 0, owner = '', cacheOwner = '' } = request;
  const { id, prompt, tokenizer, vocabularySize, contextLength, maxBias, deadline, signal, onRead } = context;
  check('maxTokens', maxTokens, Number.POSITIVE_INFINITY, 'a whole number from 0');
  check('begun.length', begun.length, maxTokens, 'from 0 to maxTokens');
  check('minTokens', minTokens, maxTokens, 'from 0 to maxTokens');
  check('topLogprobs', topLogprobs, vocabularySize, "from 0 to the vocabulary's size");
  const sampling = { ...greedy, ...request.sampling };
  const ends = minTokens === 0 || request.ignoreEnd ? [] : [...tokenizer.endOfGeneration];
  // Before an answer is long enough its ends are impossible.
  const never = ends.map((end) => [end, Number.NEGATIVE_INFINITY] as const);
  const early = { ...sampling, logitBias: new Map([...sampling.logitBias, ...never]) };
  checkSampling(early, vocabularySize, maxBias);
  const sequence: Sequence = {
    id,
    since: 0,
    priority,
    owner,
    cacheOwner,
    biases: early.logitBias.size,
    // It has begun already, whatever it waits for now.
    deadline: begun.length > 0 ? Number.POSITIVE_INFINITY : deadline,
    tokens: [...prompt, ...begun],
    pendingStep: undefined,
    complete: false,
    computed: 0,
    blocks: [],
    row: undefined,
    paused: false,
    begun: false,
    fetched: false,
  };
  return new Task({ sequence, request, sampling, early, tokenizer, signal, contextLength, onRead });
}

function check(name: string, value: number, most: number, range: string): void {
  if (Number.isInteger(value) && value >= 0 && value <= most) return;
  throw new IngotError('InvalidArgument', `${name} is ${value}; it must be ${range}`);
}
