/** What a load did as one page of HTML: plots in SVG, no scripts, nothing from elsewhere. */
import { formatSeconds } from '../report.ts';
import { type Sample, type Slo, tbotOf, ttftOf, underWay } from './statistics.ts';

const width = 900;
const left = 70;
const plotWidth = width - left - 20;
const colours = { queue: '#b0b0b0', prefill: '#e69f00', decode: '#0072b2', limit: '#d55e00' } as const;

/** `table` is the report as text. */
export function loadPage(title: string, table: string, samples: readonly Sample[], slo: Slo): string {
  const answered = samples.filter(({ error }) => error === undefined);
  const seconds = Math.max(...samples.map(({ end }) => end), 1e-3);
  const tbots = answered.map(tbotOf).filter((value) => value !== undefined);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escaped(title)}</title>
<style>body{font:15px system-ui,sans-serif;margin:2em auto;max-width:${width}px}pre{overflow:auto}h2{font-size:1.1em;margin:1.5em 0 .3em}
text{font:11px system-ui,sans-serif;fill:currentColor}:root{color-scheme:light dark}</style></head>
<body><h1>${escaped(title)}</h1><pre>${escaped(table)}</pre>
<h2>Requests: <span style="color:${colours.queue}">waiting here</span>, <span style="color:${colours.prefill}">until the first text</span>, <span style="color:${colours.decode}">until the end</span>; red: no answer</h2>
${timeline(samples, seconds)}
<h2>Requests under way</h2>
${concurrency(samples, seconds)}
<h2>Time to first token: share of requests that took at most so long</h2>
${shares(answered.map(ttftOf), slo.ttft)}
<h2>Time between output tokens: share of requests that took at most so long</h2>
${shares(tbots, slo.tbot)}
</body></html>
`;
}

/** One line a request, as many as can be told apart. */
function timeline(samples: readonly Sample[], seconds: number): string {
  const shown = samples.slice(0, 400);
  const row = Math.max(1.5, Math.min(12, 400 / shown.length));
  const height = row * shown.length;
  const x = (at: number) => left + (at / seconds) * plotWidth;
  const bar = (i: number, from: number, to: number, colour: string) =>
    `<rect x="${fixed(x(from))}" y="${fixed(i * row)}" width="${fixed(Math.max(0.5, x(to) - x(from)))}" height="${fixed(row * 0.8)}" fill="${colour}"/>`;
  const bars = shown.map(({ arrival, sent, first, end, error }, i) => {
    if (error !== undefined) return bar(i, arrival, end, colours.limit);
    const begun = first ?? end;
    return [
      bar(i, arrival, sent, colours.queue),
      bar(i, sent, begun, colours.prefill),
      bar(i, begun, end, colours.decode),
    ].join('');
  });
  return svg(height, `${bars.join('\n')}${timeAxis(seconds, height)}`);
}

function concurrency(samples: readonly Sample[], seconds: number): string {
  const height = 120;
  const steps = underWay(samples);
  const most = Math.max(1, ...steps.map(({ count }) => count));
  const x = (at: number) => fixed(left + (at / seconds) * plotWidth);
  const y = (count: number) => fixed(height - (count / most) * height);
  const path = steps.map(({ at, count }) => `H${x(at)}V${y(count)}`).join('');
  return svg(
    height,
    `<path d="M${left} ${height}${path}" fill="none" stroke="${colours.decode}"/>
<text x="${left - 8}" y="10" text-anchor="end">${most}</text><text x="${left - 8}" y="${height}" text-anchor="end">0</text>${timeAxis(seconds, height)}`,
  );
}

/** The distribution function of some durations, and a limit on them. */
function shares(values: readonly number[], limit: number | undefined): string {
  if (values.length === 0) return '<p>None.</p>';
  const height = 160;
  const sorted = values.toSorted((a, b) => a - b);
  const most = Math.max(sorted[sorted.length - 1], limit ?? 0, 1e-6);
  const x = (value: number) => fixed(left + (value / most) * plotWidth);
  const path = sorted.map((value, i) => `H${x(value)}V${fixed(height - ((i + 1) / sorted.length) * height)}`).join('');
  const mark =
    limit === undefined
      ? ''
      : `<line x1="${x(limit)}" x2="${x(limit)}" y1="0" y2="${height}" stroke="${colours.limit}" stroke-dasharray="4"/>`;
  return svg(
    height,
    `<path d="M${left} ${height}${path}H${left + plotWidth}" fill="none" stroke="${colours.decode}"/>${mark}
<text x="${left - 8}" y="10" text-anchor="end">100%</text><text x="${left - 8}" y="${height}" text-anchor="end">0%</text>${timeAxis(most, height)}`,
  );
}

function timeAxis(seconds: number, y: number): string {
  const ticks = Array.from({ length: 6 }, (_, i) => (i * seconds) / 5);
  const labels = ticks.map((at) => {
    const x = fixed(left + (at / seconds) * plotWidth);
    return `<line x1="${x}" x2="${x}" y1="0" y2="${fixed(y)}" stroke="currentColor" opacity=".15"/><text x="${x}" y="${fixed(y + 14)}" text-anchor="middle">${at === 0 ? '0' : formatSeconds(at)}</text>`;
  });
  return labels.join('');
}

function svg(height: number, content: string): string {
  return `<svg viewBox="0 0 ${width} ${fixed(height + 20)}" width="100%" role="img">${content}</svg>`;
}

const fixed = (value: number) => String(Math.round(value * 100) / 100);

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
