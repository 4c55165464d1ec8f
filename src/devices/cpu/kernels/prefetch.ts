/** Asking for weights before they are loaded. */
import type { Assembler } from '../asm/assembler.ts';
import type { Mem } from '../asm/operands.ts';
import type { Schedule } from '../schedule.ts';

/**
 * The lines of `bytes` bytes, `from(0)` being what is loaded now. Calls that follow one another ask for lines in ascending order and leave
 * none out: what the processor prefetches by itself follows no other pattern.
 */
export function emitPrefetch(
  a: Assembler,
  { prefetch, prefetchBytes }: Pick<Schedule, 'prefetch' | 'prefetchBytes'>,
  from: (at: number) => Mem,
  bytes: number,
): void {
  if (prefetch === 'none') return;
  for (let at = 0; at < bytes; at += 64) a.emit(prefetch, from(prefetchBytes + at));
}
