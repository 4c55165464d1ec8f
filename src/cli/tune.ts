/** `ingot tune`: which schedule of the kernels is the quickest on this machine, remembered for the next start. */
import type { Command } from 'commander';
import { IngotError, throwIfAborted } from '../base/errors.ts';
import { cacheFolder } from '../devices/cpu/cache-folder.ts';
import { chooseTarget } from '../devices/cpu/device.ts';
import { anyModel, matrixShapes, modelClass } from '../devices/cpu/matrix-shapes.ts';
import { findSystem } from '../devices/cpu/os/open.ts';
import { usableThreads } from '../devices/cpu/os/os.ts';
import { type Tuned, tuneMachine } from '../devices/cpu/tune.ts';
import { type Choice, describeChanges, rememberTuning } from '../devices/cpu/tunings.ts';
import { openForRunning } from '../engine/open-model-node.ts';
import { withInterrupt } from './interrupt.ts';
import { showProgress } from './progress.ts';

const seconds = 45;

/** Where no model is named: the matrices of one of a billion parameters. */
const commonShapes = [
  { format: 'q4_0', N: 8192, K: 2048 },
  { format: 'q8_0', N: 8192, K: 2048 },
  { format: 'q4_K', N: 8192, K: 2048 },
] as const;

export function addTune(program: Command): void {
  program
    .command('tune')
    .summary('find how kernels are fastest on this machine')
    .description(
      `Measures kernels with other schedules (prefetches, blocks, shares of threads) and with fewer threads for ${seconds} seconds and remembers the best; results keep their bits. Ctrl-C keeps what was found.`,
    )
    .argument('[model]', 'tune for its matrices, and models like it; without one for any model')
    .option('--json', 'print one JSON object')
    .action(async (path: string | undefined, { json = false }: { readonly json?: boolean }) => {
      await withInterrupt((signal) => tune(path, json, signal));
    });
}

async function tune(path: string | undefined, json: boolean, signal: AbortSignal): Promise<void> {
  const found = findSystem();
  if (!found.usable) throw new IngotError('DeviceLost', `there is nothing to tune: ${found.reason}`);
  const { system } = found;
  const target = chooseTarget(system);
  const shapes = path === undefined ? [] : await shapesOf(path);
  const of = modelClass(shapes);
  const usual = { schedule: target.schedule, threads: usableThreads(system.limits()) };
  const deadline = performance.now() + 1000 * seconds;
  const tuned = await (async () => {
    using progress = showProgress('Tuning', 'seconds');
    const onTrial = () => progress.update(Math.round(seconds - (deadline - performance.now()) / 1000), seconds);
    return tuneMachine(system, target, shapes.length === 0 ? commonShapes : shapes, { deadline, signal, onTrial });
  })();
  // Given up before anything was found: what is remembered stays.
  if (tuned.gains.length === 0) throwIfAborted(signal);
  const kept = await rememberTuning(system, usual.threads, target, of, tuned);
  if (json) console.log(JSON.stringify({ class: of, ...tuned }, undefined, 2));
  else print(of, usual, tuned);
  if (!kept) console.error(`It cannot be remembered: ${cacheFolder()} cannot be written.`);
}

async function shapesOf(path: string) {
  await using source = await openForRunning(path);
  return matrixShapes(source.model.weights.values());
}

function print(of: string, usual: Choice, tuned: Tuned): void {
  const changes = describeChanges(usual, tuned);
  console.log(
    `For ${of === anyModel ? 'any model' : `models of ${of}`}: ${changes === '' ? 'nothing is faster than what is usual' : changes}`,
  );
  for (const { work, gain } of tuned.gains) console.log(`  ${work.padEnd(40)} ${gain.toFixed(3)} times as fast`);
}
