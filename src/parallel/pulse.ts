/**
 * Whether a rank is alive: it is asked four times a second, and another thread than the one that compiles and computes answers.
 * A rank that has been stopped, or whose link is cut, is silent; the connection of one that has died closes.
 */
import { IngotError } from '../base/errors.ts';
import type { OwnRank, RankAddress } from './rank-group.ts';
import { dialRank, type RankLink } from './rank-link.ts';

const period = 250;
/** Questions without an answer, one after another, until a rank is lost: within two seconds of what it did last. */
const patience = 6;

/** Asks a rank until disposed. `onLost` is called once at most. @throws IngotError 'RankLost' if it cannot be reached. */
export async function watchPulse(
  rank: RankAddress,
  epoch: number,
  onLost: (error: IngotError) => void,
): Promise<Disposable> {
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
  return { [Symbol.dispose]: end };
}

/** The rank's side: answers each question. */
export function answerPulse(link: RankLink, onClose: () => void): void {
  link.listen(() => link.send({ kind: 'pong' }), onClose);
}

/** Ranks live as long as somebody asks whether they do. */
export function keepAlive(ranks: readonly (RankAddress | OwnRank)[], epoch: number): Promise<readonly Disposable[]> {
  const others = ranks.filter((rank) => rank.kind === 'process');
  // Whoever uses them finds out for himself that they are lost.
  return Promise.all(others.map((rank) => watchPulse(rank, epoch, () => {})));
}
