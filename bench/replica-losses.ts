/**
 * What streams of a server see when engines are killed under them: `node dist/bench/replica-losses.js [--times N] [--device NAME]`. Eight streams
 * at a time, two replicas in one process; a worker is killed in the middle each time (test/models/replica-losses.ts). It fails where a text
 * is not the undisturbed one.
 */
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/options.ts';
import { chosenDevice } from '../src/devices/open-node.ts';
import { loseReplicas } from '../test/models/replica-losses.ts';

const { times, device } = new Command()
  .option('--times <n>', 'engines that are killed', wholeNumber(1), 50)
  .option('--device <name>', 'where to compute', chosenDevice())
  .parse()
  .opts<{ times: number; device: string }>();
const begin = performance.now();
const before = process.memoryUsage.rss();
const report = await loseReplicas(times, device);
const [seconds, grown] = [(performance.now() - begin) / 1000, process.memoryUsage.rss() - before];
console.log(JSON.stringify({ ...report, seconds, grown }, undefined, 2));
