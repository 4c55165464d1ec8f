/**
 * How long the shape of Llama-3.2-1B in Q4_0 takes to compile, without a cache of code: `node dist/bench/compile.js [-n TIMES]`. Its
 * program is built, passes change it, and kernels become code. The first line is what a fresh process takes; no weights are needed.
 */
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/options.ts';
import { compile } from '../src/compiler/compile.ts';
import { chooseTarget } from '../src/devices/cpu/device.ts';
import { unoptimizedOnce } from '../src/devices/cpu/first-program.ts';
import { makeImage } from '../src/devices/cpu/make-image.ts';
import { stepOf } from '../test/replay/programs.ts';
import { system } from './system.ts';

const { n } = new Command('compile').option('-n <times>', 'how often', wholeNumber(1), 5).parse().opts<{ n: number }>();
const target = chooseTarget(system);
for (let time = 0; time < n; time++) {
  const start = performance.now();
  const built = stepOf('llama-3.2-1b', 'q4_0');
  const begun = performance.now();
  let passed = begun;
  const { code, layout } = await unoptimizedOnce(async () => {
    const program = compile(built);
    passed = performance.now();
    return (await makeImage(program, target, undefined)).image;
  });
  const made = performance.now();
  const parts = { built: begun - start, passes: passed - begun, code: made - passed, 'passes and code': made - begun };
  const told = Object.entries(parts).map(([what, milliseconds]) => `${what} ${milliseconds.toFixed(0)} ms`);
  const launches = layout.entries.filter(({ kind }) => kind === 'kernel').length;
  console.log(`${time === 0 ? 'fresh' : 'warm '}  ${told.join(', ')}; ${code.length} bytes, ${launches} launches`);
}
