#!/usr/bin/env node
/** The command line. One file a command; each adds itself to the program, and is loaded only when it is asked for. */
import { createRequire } from 'node:module';
import type { Command as CommandType } from 'commander';
import { IngotError } from '../base/errors.ts';
import { startAhead } from '../engine/workers-node.ts';
import { launchedRank } from '../parallel/mpi-abi.ts';
import { exitCodes, reportFailure } from './failure.ts';
import { leaveRanks } from './ranks.ts';

type Add = (program: CommandType) => void;

/** In the order in which help lists them. */
const commands: Readonly<Record<string, () => Promise<Add>>> = {
  run: async () => (await import('./run.ts')).addRun,
  serve: async () => (await import('./serve.ts')).addServe,
  chat: async () => (await import('./chat.ts')).addChat,
  embed: async () => (await import('./embed.ts')).addEmbed,
  bench: async () => (await import('./bench.ts')).addBench,
  eval: async () => (await import('./eval.ts')).addEval,
  profile: async () => (await import('./profile.ts')).addProfile,
  inspect: async () => (await import('./inspect.ts')).addInspect,
  tokenize: async () => (await import('./tokenize.ts')).addTokenize,
  convert: async () => (await import('./convert.ts')).addConvert,
  quantize: async () => (await import('./quantize.ts')).addQuantize,
  pull: async () => (await import('./pull.ts')).addPull,
  list: async () => (await import('./list.ts')).addList,
  rm: async () => (await import('./rm.ts')).addRm,
  launch: async () => (await import('./launch.ts')).addLaunch,
  rank: async () => (await import('./rank.ts')).addRank,
  tune: async () => (await import('./tune.ts')).addTune,
  doctor: async () => (await import('./doctor.ts')).addDoctor,
};

const named = process.argv.find((word, i) => i >= 2 && !word.startsWith('-'));
// Somebody waits for the first word: the worker comes up while the command line is read, which takes as long. Ranks that are not the front have no engine.
const isFront = (launchedRank(process.env)?.rank ?? 0) === 0;
if (isFront && (named === 'run' || named === 'chat')) startAhead();

const { Command, CommanderError } = await import('commander');
const { version } = createRequire(import.meta.url)('ingot/package.json') as { version: string };

const program = new Command('ingot')
  .description('Compiles and runs language models on this machine.')
  .version(version)
  .option('--debug', 'show where in Ingot an error came from')
  .option('--offline', 'use only models that are on this machine (also HF_HUB_OFFLINE=1)')
  .addHelpText(
    'after',
    '\nA model may also be named as on huggingface.co: hf:org/repo, hf:org/repo:file or hf:org/repo:Q4_K_M.',
  )
  .showHelpAfterError('(ingot COMMAND --help shows what it takes)')
  // What stands behind the name of a command is that command's.
  .enablePositionalOptions()
  .exitOverride();

// Wherever a command takes a model, it may be one of the hub. Loaded only when one is named so.
program.hook('preAction', async (_, command) => {
  if (!process.argv.some((word) => word.includes('hf:'))) return;
  const { resolveHubNames } = await import('./hub-arguments.ts');
  await resolveHubNames(command, program.opts<{ offline?: boolean }>().offline ?? false);
});

// Without the name of one, help is shown or a name is corrected: that takes all, and so does a command that starts others.
const loads =
  named !== undefined && named !== 'launch' && Object.hasOwn(commands, named)
    ? [commands[named]]
    : Object.values(commands);
for (const add of await Promise.all(loads.map((load) => load()))) add(program);

// A reader that stops listening (`ingot run ... | head`) ends the work, and is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  const message = `standard output cannot be written: ${error.message}`;
  process.exit(reportFailure(new IngotError('FileAccess', message, { cause: error }), false));
});

try {
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync(globalsFirst(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : exitCodes.usage;
  else process.exitCode = reportFailure(error, program.opts<{ debug?: boolean }>().debug ?? false);
} finally {
  await leaveRanks();
}

/** The program's own options may stand anywhere; commander looks for them before the command. */
function globalsFirst(words: readonly string[]): readonly string[] {
  const end = words.includes('--') ? words.indexOf('--') : words.length;
  const isGlobal = (word: string, i: number) => i < end && (word === '--debug' || word === '--offline');
  return [...words.filter(isGlobal), ...words.filter((word, i) => !isGlobal(word, i))];
}
