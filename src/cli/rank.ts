/** `ingot rank`: what `ingot launch` starts, one of several processes that a launcher of MPI makes. Not for people. */
import type { Command } from 'commander';
import { readyLine } from '../parallel/mpi-job.ts';
import { wholeNumber } from './options.ts';
import { factsOf, joinWorld } from './ranks.ts';

interface RankOptions {
  readonly mesh: string;
  readonly epoch: number;
  readonly front: string;
}

export function addRank(program: Command): void {
  program
    .command('rank', { hidden: true })
    .description('Serves as a rank for a front elsewhere.')
    .requiredOption('--mesh <axes>', 'of the group')
    .requiredOption('--epoch <n>', 'of the group', wholeNumber(0))
    .requiredOption('--front <identity>', 'the host of the front')
    .action(async ({ mesh, epoch, front }: RankOptions) => {
      const facts = await factsOf(mesh);
      const { serveRank } = await import('../engine/rank-node.ts');
      const join = () => joinWorld({ epoch, front, facts });
      await serveRank(join, (rank, addresses) => {
        const ranks = addresses.filter((each) => each !== null);
        if (rank === 0) process.stdout.write(readyLine({ version: facts.version, ranks }));
      });
      process.exit();
    });
}
