/** The ranks of a launcher of MPI seen from the front, which is the first of them, and a part of the first group. */
import { keepAlive } from './pulse.ts';
import type { OwnRank, RankAddress, Ranks } from './rank-group.ts';
import type { RankWorld } from './rank-world.ts';

const once = 'What has started these ranks starts no others in their place; ingot launch does.';

/** Groups of ranks, and what keeps those alive. */
export interface Front extends AsyncDisposable {
  readonly groups: readonly Ranks[];
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
    groups: groups.map((ranks) => ({ once, open: async () => ({ epoch, ranks }) })),
    async [Symbol.asyncDispose]() {
      for (const pulse of pulses) pulse[Symbol.dispose]();
      await world.leave();
    },
  };
}
