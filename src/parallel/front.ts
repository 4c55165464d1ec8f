/** The ranks of a launcher of MPI seen from the front, which is the first of them, and a part of the first group. */
import { IngotError } from '../base/errors.ts';
import { keepAlive } from './pulse.ts';
import type { OpenRanks, OwnRank, RankAddress } from './rank-group.ts';
import type { RankWorld } from './rank-world.ts';

/** Groups of ranks, and what keeps those alive. */
export interface Front extends AsyncDisposable {
  readonly groups: readonly OpenRanks[];
}

/** The ranks end with it. @throws IngotError 'RankLost'. */
export async function openFront(world: RankWorld): Promise<Front> {
  const { communicator, threads, host } = world;
  const { epoch, size } = communicator;
  const all = (await world.introduce(null)).map((each): RankAddress | OwnRank => {
    return each ?? { kind: 'here', communicator, host, threads };
  });
  const groups = Array.from({ length: all.length / size }, (_, i) => all.slice(i * size, (i + 1) * size));
  const pulses = await Promise.all(groups.map((group) => keepAlive(group, epoch)));
  return {
    groups: groups.map((ranks) => {
      let opened = false;
      return async () => {
        if (opened) {
          const hint = 'ingot launch starts ranks anew';
          throw new IngotError('RankLost', 'ranks of a launcher of MPI cannot be started again', { hint });
        }
        opened = true;
        return { epoch, ranks };
      };
    }),
    async [Symbol.asyncDispose]() {
      for (const pulse of pulses) pulse[Symbol.dispose]();
      await world.leave();
    },
  };
}
