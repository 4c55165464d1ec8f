/** `ingot launch COMMAND ...`: a command whose model is on ranks that it starts itself, and starts again when one is lost. */
import type { Command } from 'commander';
import { usageError } from './failure.ts';
import { hostOfEachRank, parseHosts, readHosts } from './hosts.ts';
import { wholeNumber } from './options.ts';
import { launchRanks } from './ranks.ts';

interface LaunchOptions {
  readonly n?: number;
  readonly hosts?: string;
  readonly hostfile?: string;
}

export function addLaunch(program: Command): void {
  program
    .command('launch')
    .summary('run a command on ranks of several processes')
    .description(
      'Starts ranks by mpirun, divides the model of a command among them as its --mesh says, and starts them again when one is lost. ' +
        'The command itself runs here: ingot launch -n 2 serve model.gguf --mesh tensor=2',
    )
    .argument('<command...>', 'run, chat, serve, bench or another one that takes --mesh, with what it takes')
    .option('-n <ranks>', 'how many; as many as the mesh has', wholeNumber(1))
    .option(
      '--hosts <names>',
      'where to start them, such as a,b or a:2,b:2; they have Ingot and the model where they are here',
    )
    .option('--hostfile <file>', 'the same from a file, a line a host: name slots=2')
    .passThroughOptions()
    .allowUnknownOption()
    .action(async (words: readonly string[], { n, hosts, hostfile }: LaunchOptions) => {
      if (hosts !== undefined && hostfile !== undefined) throw usageError('--hosts and --hostfile go not together');
      const [name] = words;
      if (name === 'launch' || !program.commands.some((each) => each.name() === name)) {
        throw usageError(`there is no command ${name} to launch`);
      }
      const named = hosts !== undefined ? parseHosts(hosts) : hostfile !== undefined ? readHosts(hostfile) : [];
      launchRanks({ ranks: n, hostsOf: (ranks) => (named.length === 0 ? [] : hostOfEachRank(named, ranks)) });
      await program.parseAsync([...words], { from: 'user' });
    });
}
