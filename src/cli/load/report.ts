/** A measured load as a table for people. */
import { formatNumber, formatSeconds, formatTable } from '../report.ts';
import type { Distribution, Slo, Summary } from './statistics.ts';

/** What measuring took: where it is much, figures are the client's and not the server's. */
export interface ClientCost {
  /** Of one core. */
  readonly cpuShare: number;
  /** By which its event loop was late, in 99 of 100 moments at most. */
  readonly lateSeconds: number;
}

export interface LoadReport {
  readonly server: string;
  readonly model: string;
  readonly api: string;
  readonly summary: Summary;
  readonly slo: Slo;
  readonly client: ClientCost;
  /** Different ones. */
  readonly failures: readonly string[];
}

/** From here on the client may have been what was measured. */
const busyShare = 0.7;

export function formatLoad({ server, model, api, summary, slo, client, failures }: LoadReport): string {
  const { requests, failed, seconds, promptTokens, cachedTokens, outputTokens, goodput } = summary;
  const rows = [
    ['server', `${server}, model ${model}, ${api}`],
    [
      'requests',
      `${requests - failed} of ${requests} answered in ${formatSeconds(seconds)}: ${formatNumber(summary.requestsPerSecond)}/s, at most ${summary.peakConcurrency} at once`,
    ],
    ['prompts', `${promptTokens} tokens, ${cachedTokens} of them known to the server`],
    [
      'answers',
      `${outputTokens} tokens: ${formatNumber(summary.outputTokensPerSecond)}/s; with prompts ${formatNumber(summary.totalTokensPerSecond)}/s`,
    ],
    ...(goodput === undefined
      ? []
      : [
          [
            'goodput',
            `${formatNumber(goodput.requestsPerSecond)} requests/s, ${(100 * goodput.share).toFixed(0)}% of all (${limits(slo)})`,
          ],
        ]),
    [
      'client',
      `${(100 * client.cpuShare).toFixed(0)}% of one core, late by ${formatSeconds(client.lateSeconds)} (p99)${client.cpuShare > busyShare ? ': TOO BUSY, figures are its own; load the server from another machine' : ''}`,
    ],
  ];
  const times = formatTable([
    ['', 'mean', 'p50', 'p90', 'p95', 'p99', 'max'],
    ...timesRow('TTFT', summary.ttft),
    ...timesRow('TBOT', summary.tbot),
    ...timesRow('end to end', summary.total),
    ...timesRow('queueing', summary.queue),
  ]);
  const errors = failures.slice(0, 5).map((failure) => `failed: ${failure}`);
  return [formatTable(rows), '', times, ...errors].join('\n');
}

function timesRow(name: string, times: Distribution | undefined): readonly string[][] {
  if (times === undefined) return [];
  const { mean, p50, p90, p95, p99, max } = times;
  return [[name, ...[mean, p50, p90, p95, p99, max].map(formatSeconds)]];
}

function limits({ ttft, tbot }: Slo): string {
  return [
    ...(ttft === undefined ? [] : [`TTFT at most ${formatSeconds(ttft)}`]),
    ...(tbot === undefined ? [] : [`TBOT at most ${formatSeconds(tbot)}`]),
  ].join(', ');
}
