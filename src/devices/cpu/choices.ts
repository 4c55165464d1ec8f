/** What was chosen on a machine and why, in sentences for people: the instruction set, the threads, and what memory is like. */
import { formatBytes } from '../../base/format-bytes.ts';
import { type CpuFeatures, type Limits, usableThreads } from './os/os.ts';
import { describeVerdict, trustedSet, type Verdict } from './self-test/self-test.ts';
import { missing, setsFor } from './target.ts';

export interface MachineFacts {
  readonly features: CpuFeatures;
  /** Whether the system grants tile registers, where the processor has them. */
  readonly grantsTiles: boolean;
  readonly verdicts: readonly Verdict[];
  readonly limits: Limits;
  /** Of the whole machine. */
  readonly cores: number;
  readonly availableBytes: number;
}

export function explainChoices(machine: MachineFacts): readonly string[] {
  return [...sets(machine), ...threads(machine), ...memory(machine)];
}

function* sets({ features, grantsTiles, verdicts }: MachineFacts): Generator<string> {
  const chosen = trustedSet({ verdicts });
  const sets = setsFor(features);
  if (chosen !== undefined) yield `code for ${chosen}, the best set that passed its self-test`;
  for (const set of sets.slice(chosen === undefined ? 0 : 1 + sets.indexOf(chosen))) {
    const lacks = missing(features, set);
    const verdict = verdicts.find((one) => one.set === set && !one.passed);
    if (verdict !== undefined) yield `none for ${set}: ${describeVerdict(verdict)}`;
    else if (lacks.length > 0) {
      // Those above need as much.
      yield `none for ${set}${set === sets.at(-1) ? '' : ' and better'}: ${whyLacking(features, lacks)}`;
      return;
    } else if (set === 'amx' && !grantsTiles) {
      yield `none for ${set}: the system does not grant tile registers to this process`;
    }
  }
}

function whyLacking({ names, withheld }: CpuFeatures, lacks: readonly string[]): string {
  const kept = lacks.filter((name) => withheld.includes(name));
  if (kept.length === lacks.length)
    return `the processor has ${kept.join(', ')}, but the system keeps no registers for it`;
  const list = lacks.filter((name) => !withheld.includes(name)).join(', ');
  return names.has('hypervisor')
    ? `the processor lacks ${list}, or the hypervisor hides it`
    : `the processor lacks ${list}`;
}

/** From here on memory of several nodes is likely, and JavaScript's share of a step grows. */
const manyThreads = 64;

function* threads({ limits, cores }: MachineFacts): Generator<string> {
  const { cores: own, quota, nodes = 1 } = limits;
  const count = usableThreads(limits);
  const reasons = [
    ...(own.length < cores ? [`this process may run on ${own.length} of ${cores} cores`] : []),
    ...(quota !== undefined && quota < own.length
      ? [`its control group grants the time of ${Number(quota.toFixed(2))}`]
      : []),
  ];
  const why = reasons.length === 0 ? 'one a core' : reasons.join(', ');
  yield `${count} ${count === 1 ? 'thread' : 'threads'}: ${why}`;
  if (count === 1) yield 'JavaScript takes turns with that thread: each token waits for both';
  if (nodes > 1) {
    yield `memory of ${nodes} nodes is used as one: threads read weights that lie in another; a process bound to each node (numactl) avoids that`;
  }
  if (count > manyThreads)
    yield `more than ${manyThreads} threads meet at every barrier: fewer (--threads) may be faster, measure with ingot bench`;
}

function* memory({ limits, availableBytes }: MachineFacts): Generator<string> {
  if (!limits.hugePages) {
    yield 'no pages of 2 MiB: the system refuses them, and weights lie in pages of 4 KiB, which reads slower (on Linux, "madvise" in /sys/kernel/mm/transparent_hugepage/enabled)';
  }
  const group =
    limits.memory === undefined ? '' : `, of ${formatBytes(limits.memory.limit)} that its control group grants`;
  yield `models that need up to ${formatBytes(availableBytes)}${group}; larger ones are refused before anything is read (ingot inspect MODEL says what one needs)`;
}
