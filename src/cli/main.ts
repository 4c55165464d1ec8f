#!/usr/bin/env node
/** The command line. One file a command; each adds itself to the program, and is loaded only if it is asked for. */
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { exitCodes, reportFailure } from './failure.ts';

const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string };

const commands: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  run: async () => (await import('./run.ts')).addRun,
  bench: async () => (await import('./bench.ts')).addBench,
  inspect: async () => (await import('./inspect.ts')).addInspect,
  convert: async () => (await import('./convert.ts')).addConvert,
  doctor: async () => (await import('./doctor.ts')).addDoctor,
};

const program = new Command('ingot')
  .description('Compiles and runs language models on this machine.')
  .version(version)
  .option('--debug', 'show where in Ingot an error came from')
  .showHelpAfterError('(ingot COMMAND --help shows what it takes)')
  .exitOverride();

// Without a command's name all of them are listed.
const named = process.argv.slice(2).find((word) => Object.hasOwn(commands, word));
for (const [name, load] of Object.entries(commands)) {
  if (named === undefined || named === name) (await load())(program);
}

// A reader that stops listening (`ingot run ... | head`) ends the work, and is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : exitCodes.failure);
});

try {
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : exitCodes.usage;
  else process.exitCode = reportFailure(error, program.opts<{ debug?: boolean }>().debug ?? false);
}
