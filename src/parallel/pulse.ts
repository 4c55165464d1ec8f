/**
 * Whether a rank is alive: it is asked four times a second, and another thread than the one that compiles and computes answers.
 * A rank that has been stopped, or whose link is cut, is silent; the connection of one that has died closes. A rank that nobody asks is cut off
 * from the front, which could not tell it that another one is lost.
 */
import { IngotError } from '../base/errors.ts';
import { giveUp } from './mpi.ts';
import type { OwnRank, RankAddress } from './rank-group.ts';
import { dialRank, type RankLink } from './rank-link.ts';

const period = 250;
/** Questions without an answer, one after another, until a rank is lost: within two seconds of what it did last. */
const patience = 6;

interface Pulse extends Disposable {
  /** Tells the rank that another one is lost. */
  tell(lost: number): void;
}

/** Asks a rank until disposed. `onLost` is called once at most. @throws IngotError 'RankLost' if it cannot be reached. */
export async function watchPulse(
  rank: RankAddress,
  epoch: number,
  onLost: (error: IngotError) => void,
): Promise<Pulse> {
  const link = await dialRank(rank, rank.pulsePort, { purpose: 'pulse', epoch });
  let unanswered = 0;
  let ended = false;
  const end = () => {
    ended = true;
    clearInterval(timer);
    link.drop();
  };
  const lose = (how: string) => {
    end();
    onLost(new IngotError('RankLost', `${rank.name} ${how}`));
  };
  // Counted by turns of this thread: one that has been busy itself blames nobody.
  const timer = setInterval(() => {
    if (unanswered === patience) lose(`has not answered for ${(patience * period) / 1000} s`);
    else {
      unanswered++;
      link.send({ kind: 'ping' });
    }
  }, period);
  timer.unref();
  link.hold(false);
  link.listen(
    () => {
      unanswered = 0;
    },
    () => {
      if (!ended) lose('is gone');
    },
  );
  return { tell: (lost) => link.send({ kind: 'lost', rank: lost }), [Symbol.dispose]: end };
}

interface PulseEvents {
  /** Who of the others is lost. */
  onLost(rank: number): void;
  /** Nobody has asked for as long as would be too long for an answer, or somebody does again. */
  onSilence(isSilent: boolean): void;
}

/** The rank's side: answers each question, of however many that ask. */
export class PulseAnswers implements Disposable {
  readonly #events: PulseEvents;
  readonly #timer: ReturnType<typeof setInterval>;
  /** Periods since the last question. */
  #quiet = 0;

  constructor(events: PulseEvents) {
    this.#events = events;
    this.#timer = setInterval(() => {
      if (++this.#quiet === patience) events.onSilence(true);
    }, period);
    this.#timer.unref();
  }

  answer(link: RankLink, onClose: () => void): void {
    link.listen(({ fields }) => {
      if (this.#quiet >= patience) this.#events.onSilence(false);
      this.#quiet = 0;
      if (fields.kind === 'lost') this.#events.onLost(Number(fields.rank));
      else link.send({ kind: 'pong' });
    }, onClose);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/**
 * Ranks live as long as somebody asks whether they do. When one of a group is lost, the others are told, so that none of their runs
 * waits for it: by threads that are free, whatever those are doing that compute.
 */
export async function keepAlive(group: readonly (RankAddress | OwnRank)[], epoch: number): Promise<Disposable> {
  const pulses = new Map<number, Pulse>();
  const lose = (lost: number) => {
    for (const [rank, pulse] of pulses) if (rank !== lost) pulse.tell(lost);
    for (const each of group) if (each.kind === 'here') giveUp(each.communicator, lost);
  };
  const asked = await Promise.allSettled(
    group.map(async (each, rank) => {
      if (each.kind === 'process') pulses.set(rank, await watchPulse(each, epoch, () => lose(rank)));
    }),
  );
  const end = () => {
    for (const pulse of pulses.values()) pulse[Symbol.dispose]();
  };
  const failed = asked.find((outcome) => outcome.status === 'rejected');
  if (failed === undefined) return { [Symbol.dispose]: end };
  end();
  throw failed.reason;
}
