/**
 * Whether a rank is alive: it is asked four times a second, and another thread than the one that compiles and computes answers.
 * A rank that has been stopped, or whose link is cut, is silent; the connection of one that has died closes.
 */
import { IngotError } from '../base/errors.ts';
import type { RankAddress } from './rank-group.ts';
import { dialRank, type RankLink } from './rank-link.ts';

const period = 250;
/** Questions without an answer, one after another, until a rank is lost: within two seconds of what it did last. */
const patience = 5;

/** Asks a rank until disposed. `onLost` is called once at most. @throws IngotError 'RankLost' if it cannot be reached. */
export async function watchPulse(
  rank: RankAddress,
  epoch: number,
  onLost: (error: IngotError) => void,
): Promise<Disposable> {
  const link = await dialRank(rank, rank.pulsePort, { purpose: 'pulse', epoch });
  let unanswered = 0;
  const end = () => {
    clearInterval(timer);
    link.drop();
  };
  const lose = (how: string) => {
    end();
    onLost(new IngotError('RankLost', `${rank.name} ${how}`));
  };
  // Counted by turns of this thread: one that has been busy itself blames nobody.
  const timer = setInterval(() => {
    if (unanswered++ >= patience) lose(`has not answered for ${(patience * period) / 1000} s`);
    else link.send({ kind: 'ping' });
  }, period);
  timer.unref();
  link.hold(false);
  let disposed = false;
  link.listen(
    () => {
      unanswered = 0;
    },
    () => {
      if (!disposed && unanswered <= patience) lose('is gone');
    },
  );
  return {
    [Symbol.dispose]() {
      disposed = true;
      end();
    },
  };
}

/** The rank's side: answers each question. */
export function answerPulse(link: RankLink, onClose: () => void): void {
  link.listen(() => link.send({ kind: 'pong' }), onClose);
}
