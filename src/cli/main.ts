#!/usr/bin/env node
/** The command line. One file a command; each adds itself to the program. */
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { addBench } from './bench.ts';
import { addConvert } from './convert.ts';
import { addDoctor } from './doctor.ts';
import { exitCodes, reportFailure } from './failure.ts';
import { addInspect } from './inspect.ts';
import { addProfile } from './profile.ts';
import { addRun } from './run.ts';

const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string };

const program = new Command('ingot')
  .description('Compiles and runs language models on this machine.')
  .version(version)
  .option('--debug', 'show where in Ingot an error came from')
  .showHelpAfterError('(ingot COMMAND --help shows what it takes)')
  .exitOverride();

addRun(program);
addBench(program);
addProfile(program);
addInspect(program);
addConvert(program);
addDoctor(program);

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
