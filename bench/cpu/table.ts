/** The comparison as the table of docs/results.md: ratios, what they have to be, and how near the machine's limits both are. */
import { formatBytes } from '../../src/base/format-bytes.ts';
import { formatNumber } from '../../src/cli/report.ts';
import type { Comparison, Samples } from './compare.ts';
import type { Peer, Row } from './rows.ts';

/** What the machine was measured to do in the same run, a second. */
export interface Machine {
  readonly bytes: number;
  readonly operations: number;
}

/** Of the weights of a file: what its products read, and what the head is in. */
export interface FileFacts {
  readonly packedBytes: number;
  readonly head: string;
}

export interface Judged {
  /** Tokens a second, bytes, or seconds, at the median and at best. */
  readonly ingot: { readonly median: number; readonly best: number };
  readonly peer: { readonly median: number; readonly best: number; readonly setting: string };
  /** Ingot's over the peer's, at the medians. */
  readonly ratio: number;
  /** Of what memory or arithmetic allow, whichever is less. */
  readonly ofLimit: number | undefined;
  /** The ratio that is asked for, or 95% of the floor where that is less. */
  readonly bar: { readonly ratio: number } | { readonly ofFloor: number };
  readonly met: boolean;
}

const ofFloor = 0.95;

/** Undefined where a side has no samples. */
export function judge(row: Row, { ingot, peer }: Comparison, machine: Machine): Judged | undefined {
  const own = figures(row, ingot);
  const others = peer.flatMap((samples) => figures(row, samples) ?? []);
  if (own === undefined || others.length === 0) return undefined;
  const sign = row.kind === 'speed' ? 1 : -1;
  const other = others.reduce((best, each) => (sign * (each.median - best.median) > 0 ? each : best));
  const ratio = own.median / other.median;
  const pair = { ingot: own, peer: other, ratio };
  if (row.kind !== 'speed') return { ...pair, ofLimit: undefined, bar: { ratio: row.bar }, met: ratio <= row.bar };
  const { seconds = 0, bytes = 0, operations = 0 } = middle(ingot) ?? {};
  const ofLimit =
    seconds === 0 ? undefined : Math.max(bytes / machine.bytes, operations / machine.operations) / seconds;
  // What decode reads at least bounds it; where the bar lies beyond 95% of that, those are the bar.
  const floor = row.test.kind === 'decode' && seconds > 0 ? bytes / machine.bytes / seconds : undefined;
  const needed = floor === undefined ? 0 : (floor * row.bar) / ratio;
  if (floor === undefined || needed <= ofFloor) {
    return { ...pair, ofLimit, bar: { ratio: row.bar }, met: ratio >= row.bar };
  }
  return { ...pair, ofLimit, bar: { ofFloor }, met: floor >= ofFloor };
}

/** The sample at the median of seconds. */
function middle(side: Samples) {
  if ('failed' in side) return undefined;
  return side.samples.toSorted((a, b) => a.seconds - b.seconds)[side.samples.length >> 1];
}

function figures(row: Row, side: Samples): { median: number; best: number; setting: string } | undefined {
  if ('failed' in side || side.samples.length === 0) return undefined;
  const ascending = (values: readonly number[]) => values.toSorted((a, b) => a - b);
  const { setting, samples } = side;
  switch (row.kind) {
    case 'speed': {
      const { test } = row;
      const tokens = test.kind === 'prefill' ? test.tokens : test.tokens * test.sequences;
      const seconds = ascending(samples.map((sample) => sample.seconds));
      return { median: tokens / seconds[seconds.length >> 1], best: tokens / seconds[0], setting };
    }
    case 'memory': {
      const peak = Math.max(...samples.map(({ peakBytes }) => peakBytes));
      return { median: peak, best: peak, setting };
    }
    case 'start': {
      const seconds = ascending(samples.map((sample) => sample.seconds));
      return { median: seconds[seconds.length >> 1], best: seconds[0], setting };
    }
    default:
      return row satisfies never;
  }
}

export const heading = [
  '| work | model | head | packed | KV | Ingot (best) | peer (best) | ratio | bar | of the floor | met |',
  '|---|---|---|--:|---|--:|--:|--:|--:|--:|---|',
] as const;

export function tableLine(row: Row, compared: Comparison | string, machine: Machine, facts: FileFacts): string {
  const { shape, type } = row.model;
  const start = [
    row.work,
    `${shape} ${type}`,
    facts.head,
    formatBytes(facts.packedBytes),
    row.kind === 'speed' ? row.kv : 'bf16',
  ];
  const bar = `${row.bar}x`;
  if (typeof compared === 'string') return line([...start, '', '', '', bar, '', `not measured: ${compared}`]);
  const judged = judge(row, compared, machine);
  if (judged === undefined) {
    const sides = [compared.ingot, ...compared.peer].map((side, i) =>
      'failed' in side ? `${i === 0 ? 'Ingot' : peerOf(row)}: ${side.failed}` : '',
    );
    return line([...start, '', '', '', bar, '', `not measured: ${sides.filter((why) => why !== '').join('; ')}`]);
  }
  const { ingot, peer, ratio, ofLimit, met } = judged;
  const figure = ({ median, best }: { median: number; best: number }) => {
    if (row.kind === 'memory') return formatBytes(median);
    if (row.kind === 'start') return `${median.toFixed(2)} s (${best.toFixed(2)})`;
    return `${formatNumber(median)} (${formatNumber(best)})`;
  };
  return line([
    ...start,
    figure(ingot),
    figure(peer),
    `${ratio.toFixed(2)}x`,
    `${row.kind === 'speed' ? 'at least' : 'at most'} ${'ratio' in judged.bar ? `${judged.bar.ratio}x` : '95% of the floor'}`,
    ofLimit === undefined ? '' : `${(100 * ofLimit).toFixed(0)}%`,
    met ? 'yes' : 'no',
  ]);
}

function peerOf(row: Row): Peer {
  return row.kind === 'speed' ? row.peer : 'llama.cpp';
}

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '/').replaceAll('\n', ' ')).join(' | ')} |`;
}
