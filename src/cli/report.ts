/** How figures are written for people. */

export { formatBytes } from '../base/format-bytes.ts';

/** Three digits that count, or all before the point: 1.23, 12.3, 1234. */
export function formatNumber(value: number): string {
  return Math.abs(value) < 999.5 ? value.toPrecision(3) : value.toFixed(0);
}

export function formatSeconds(seconds: number): string {
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} us`;
  if (seconds < 1) return `${formatNumber(seconds * 1e3)} ms`;
  return `${formatNumber(seconds)} s`;
}

export function formatCount(count: number): string {
  if (count < 1e4) return String(count);
  if (count < 1e6) return `${formatNumber(count / 1e3)} K`;
  if (count < 1e9) return `${formatNumber(count / 1e6)} M`;
  return `${formatNumber(count / 1e9)} B`;
}

export function formatThreads(count: number): string {
  return `${count} ${count === 1 ? 'thread' : 'threads'}`;
}

/** Rows in columns, the first row a heading; numbers are set to the right. */
export function formatTable(rows: readonly (readonly (string | number)[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (typeof cell === 'number' ? String(cell).padStart(widths[i]) : cell.padEnd(widths[i])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Largest resident memory of this process so far, in bytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}
