/** Measuring the machine for a command: remembered for the next start. */
import { cacheFolder } from '../devices/cpu/cache-folder.ts';
import { type Figure, measureMachine } from '../devices/cpu/measure.ts';
import { type Measurements, rememberMeasurements } from '../devices/cpu/measurements.ts';
import type { OperatingSystem } from '../devices/cpu/os/os.ts';
import { formatNumber } from './report.ts';

/** Says on standard error what it is at. @throws IngotError 'Aborted', 'OutOfMemory'. */
export async function measureAndRemember(system: OperatingSystem, signal: AbortSignal): Promise<Measurements> {
  console.error('Measuring this machine, which takes a few seconds:');
  const measured = await measureMachine(system, ({ name }) => console.error(`  ${name}`), signal);
  const measurements = { ...measured, taken: new Date().toISOString() };
  if (!(await rememberMeasurements(system, measurements))) {
    console.error(`It cannot be remembered: ${cacheFolder()} cannot be written.`);
  }
  return measurements;
}

export function formatFigure({ name, of, one, all }: Figure): string {
  const unit = of === 'read' || of === 'copy' ? 'GB/s' : of === 'f32' || of === 'bf16' ? 'GFLOP/s' : 'GOP/s';
  const rate = (value: number) => `${formatNumber(value / 1e9)} ${unit}`;
  return `${name.padEnd(24)} ${rate(one).padStart(13)} by one thread, ${rate(all).padStart(13)} by all`;
}
