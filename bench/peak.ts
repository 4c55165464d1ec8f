/** The largest resident memory of this process so far, in bytes, as Linux keeps it: pages of mapped files that were touched count. */
import { readFileSync } from 'node:fs';

export function peakBytes(): number {
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]) * 1024;
}
