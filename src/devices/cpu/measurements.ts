/** What was measured of this machine, remembered between starts: by processor, number of threads and version of Ingot. */
import { createRequire } from 'node:module';
import type { Hardware } from '../../compiler/cost.ts';
import type { ElementType } from '../../numerics/element-types.ts';
import { recall, remember } from './cache-folder.ts';
import type { Figure, Measured } from './measure.ts';
import type { OperatingSystem } from './os/os.ts';
import { usableThreads } from './os/os.ts';

export interface Measurements extends Measured {
  /** When they were taken, as ISO 8601 says it. */
  readonly taken: string;
}

const { version } = createRequire(import.meta.url)('ingot/package.json') as { version: string };
const file = 'measurements';

function keyOf(system: OperatingSystem): string {
  const { model } = system.cpuFeatures();
  return `${model.trim()}, ${usableThreads(system.limits())} threads, ingot ${version}`;
}

/** undefined where nothing is remembered of a machine like this. */
export function recallMeasurements(system: OperatingSystem): Measurements | undefined {
  const found = (recall(file) as Partial<Record<string, unknown>> | null | undefined)?.[keyOf(system)];
  return isMeasurements(found) ? found : undefined;
}

/** False where they cannot be kept. */
export function rememberMeasurements(system: OperatingSystem, measurements: Measurements): Promise<boolean> {
  const before = recall(file);
  return remember(file, { ...(typeof before === 'object' ? before : {}), [keyOf(system)]: measurements });
}

function isMeasurements(value: unknown): value is Measurements {
  const { taken, threads, figures } = (value ?? {}) as Partial<Measurements>;
  if (typeof taken !== 'string' || typeof threads !== 'number' || !Array.isArray(figures)) return false;
  return figures.every(isFigure) && figures.some(({ of }) => of === 'read');
}

function isFigure(value: unknown): value is Figure {
  const { name, of, one, all } = (value ?? {}) as Partial<Figure>;
  return typeof name === 'string' && typeof of === 'string' && Number(one) > 0 && Number(all) > 0;
}

/** The limits of so many threads: what one reaches so many times, but not more than all reach together. */
export function limitsOf(
  { figures }: Measured,
  threads: number,
): Pick<Hardware, 'readBytesPerSecond' | 'operationsPerSecond'> {
  const best = (wanted: Figure['of']) =>
    figures
      .filter(({ of }) => of === wanted)
      .reduce((most, { one, all }) => Math.max(most, Math.min(threads * one, Math.max(one, all))), 0);
  const operationsPerSecond: Partial<Record<ElementType, number>> = {};
  for (const { of } of figures) if (of !== 'read' && of !== 'copy') operationsPerSecond[of] = best(of);
  return { readBytesPerSecond: best('read'), operationsPerSecond };
}
