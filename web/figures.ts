/** Numbers as people read them. */

const grouped = new Intl.NumberFormat('en');

export const whole = (value: number): string => grouped.format(Math.round(value));

/** Three digits, no more. */
export const decimal = (value: number): string => (value === 0 || value >= 100 ? whole(value) : value.toFixed(1));

export function seconds(value: number): string {
  if (value < 1) return `${Math.max(1, Math.round(value * 1000))} ms`;
  return value < 100
    ? `${value.toFixed(value < 10 ? 2 : 1)} s`
    : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}
