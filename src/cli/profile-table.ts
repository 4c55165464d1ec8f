/** What `ingot profile` prints for people. */
import type { Phase } from './profile.ts';
import type { Gap, ProfiledKernel } from './profile-analysis.ts';
import { formatSeconds, formatTable, formatThreads } from './report.ts';

/** Rows of a table; what is below them is one row more. */
const shown = 24;

export function printPhases(phases: readonly Phase[]): void {
  for (const [i, phase] of phases.entries()) {
    if (i > 0) console.log('');
    printPhase(phase);
  }
}

function printPhase(phase: Phase): void {
  const { test, tokens, seconds, runs, device, threads, model, kernels } = phase;
  console.log(
    `${test}: ${(tokens / seconds).toFixed(1)} tokens/s on ${device}, ${formatThreads(threads)}, ${model}; ` +
      `${runs} ${runs === 1 ? 'run' : 'runs'} in ${formatSeconds(seconds)}`,
  );
  const percent = (part: number) => `${((100 * part) / seconds).toFixed(1)}%`;
  const parts = [
    `kernels ${formatSeconds(phase.kernelSeconds)} (${percent(phase.kernelSeconds)})`,
    `of it at barriers ${formatSeconds(phase.barrierSeconds)} (${percent(phase.barrierSeconds)})`,
    `starting and ending runs ${formatSeconds(phase.wakeSeconds)} (${percent(phase.wakeSeconds)})`,
    `JavaScript between runs ${formatSeconds(phase.javascriptSeconds)} (${percent(phase.javascriptSeconds)})`,
  ];
  console.log(parts.join(', '));
  const rest = kernels.slice(shown);
  const rows = kernels.slice(0, shown).map(row);
  if (rest.length > 0) {
    const total = (of: (kernel: ProfiledKernel) => number) => rest.reduce((sum, each) => sum + of(each), 0);
    const share = total((each) => each.share);
    const [calls, time] = [total((each) => each.calls), total((each) => each.seconds)];
    const barrier = total((each) => each.barrierSeconds);
    rows.push([
      `(${rest.length} more)`,
      calls,
      formatSeconds(time),
      percentOf(share),
      '',
      '',
      '',
      formatSeconds(barrier),
      '',
      '',
    ]);
  }
  console.log(
    formatTable([
      ['kernel', 'calls', 'time', 'share', 'GB/s', 'GFLOP/s', 'roofline', 'barrier', 'spread', 'run as'],
      ...rows,
    ]),
  );
  const interpreted = kernels.filter(({ how }) => how === 'interpreted').length;
  console.log(`${kernels.length - interpreted} kernels in machine code, ${interpreted} interpreted`);
  if (kernels.some(({ roofline = 0 }) => roofline > 1))
    console.log('Above 100% of the roofline: data came from caches.');
  printGaps(phase);
}

/** What a perfect kernel would save: of a prompt, or of each token. */
function printGaps({ gaps, test, tokens, seconds }: Phase): void {
  if (gaps.length === 0) return;
  const [parts, each] = test.startsWith('pp') ? [1, 'of the prompt'] : [tokens, 'a token'];
  console.log('Largest gaps to the roofline, and the speed if that kernel alone were perfect:');
  gaps.forEach((gap: Gap, i) => {
    const [took, lost] = [gap.seconds, gap.lost].map((time) => formatSeconds(time / parts));
    const [now, then] = [tokens / seconds, gap.tokensPerSecond].map((rate) => rate.toFixed(1));
    console.log(
      `${i + 1}. ${gap.kernel}: ${took} ${each}, ${lost} more than ${gap.bound} needs: ${then} tokens/s instead of ${now}`,
    );
  });
}

const percentOf = (share: number) => `${(100 * share).toFixed(1)}%`;

function giga(amount: number, seconds: number): number | string {
  const rate = amount / seconds / 1e9;
  return rate === 0 ? '' : Number(rate.toFixed(rate < 10 ? 2 : rate < 100 ? 1 : 0));
}

/** `spread`: how much longer the slowest thread was in it than the mean of all. */
function row(kernel: ProfiledKernel): (string | number)[] {
  const { cost, seconds, threadSeconds } = kernel;
  const mean = threadSeconds.reduce((sum, each) => sum + each, 0) / threadSeconds.length;
  return [
    kernel.kernel,
    kernel.calls,
    formatSeconds(seconds),
    percentOf(kernel.share),
    giga(cost?.bytes ?? 0, seconds),
    giga(cost?.operations ?? 0, seconds),
    kernel.roofline === undefined ? '' : `${(100 * kernel.roofline).toFixed(0)}%`,
    formatSeconds(kernel.barrierSeconds),
    mean === 0 ? '' : percentOf(Math.max(...threadSeconds) / mean - 1),
    kernel.how,
  ];
}
