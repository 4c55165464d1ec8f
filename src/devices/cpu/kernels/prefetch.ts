/** Asking for weights before they are loaded. */
import type { Assembler } from '../asm/assembler.ts';
import type { Mem } from '../asm/operands.ts';
import type { Schedule } from '../schedule.ts';

/** The lines of `bytes` bytes, `from(0)` being what is loaded now: of `[pass, passes]` those that are this one's share. */
export function emitPrefetch(
  a: Assembler,
  { prefetch, prefetchBytes }: Schedule,
  from: (at: number) => Mem,
  bytes: number,
  [pass, passes]: readonly [number, number] = [0, 1],
): void {
  if (prefetch === 'none') return;
  for (let at = 64 * pass; at < bytes; at += 64 * passes) a.emit(prefetch, from(prefetchBytes + at));
}
