/** What a piece of hardware can do, in SI units: measured, or written by hand for planning. */
import type { ElementType } from '../numerics/element-types.ts';

export interface Hardware {
  readonly name: string;
  readonly memoryBytes: number;
  readonly readBytesPerSecond: number;
  readonly operationsPerSecond: Readonly<Partial<Record<ElementType, number>>>;
}
