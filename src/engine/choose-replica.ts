/**
 * Which of several engines with the same model a request goes to. A prompt that begins as one before is computed faster where that
 * was; an engine that has less to do begins sooner. Both are counted in tokens, so that one can be weighed against the other, as
 * NVIDIA Dynamo's router does (https://docs.nvidia.com/dynamo, "KV cache routing"). Pure: no clock, no engine.
 *
 * - One that is not ready is never chosen.
 * - A request never waits for a place where another replica has one free, whatever is known of its prompt.
 * - Else it goes where least has to be computed until its first token: what is ahead of it, and what of its prompt is not known there.
 *   So a known beginning of n tokens wins over a replica with up to n tokens less to do, and over no other.
 * - Where that is the same, the one that was chosen longest ago is.
 */

export interface ReplicaLoad {
  readonly ready: boolean;
  /** Requests that it has, and how many it computes together at most. */
  readonly requests: number;
  readonly places: number;
  /** Tokens that it has to compute for them. */
  readonly ahead: number;
  /** Tokens of the prompt that it has computed before. */
  readonly known: number;
  /** A count that grows with every choice. */
  readonly lastChosen: number;
}

/** What an answer that is under way slows others like: about as many tokens of a prompt. */
export const answerTokens = 128;

/** The number of the replica; undefined where none is ready. */
export function chooseReplica(replicas: readonly ReplicaLoad[], promptTokens: number): number | undefined {
  const order = (one: ReplicaLoad) => [
    Number(one.requests >= one.places),
    one.ahead + promptTokens - Math.min(one.known, promptTokens),
    one.lastChosen,
  ];
  let best: number | undefined;
  replicas.forEach((replica, i) => {
    if (!replica.ready) return;
    if (best === undefined || isLess(order(replica), order(replicas[best]))) best = i;
  });
  return best;
}

/** By the first number in which they differ. */
function isLess(a: readonly number[], b: readonly number[]): boolean {
  const i = a.findIndex((value, at) => value !== b[at]);
  return i >= 0 && a[i] < b[i];
}
