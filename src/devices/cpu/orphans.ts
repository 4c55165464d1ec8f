/**
 * Ends the teams that a JavaScript thread has left behind, and frees its memory, once it is gone (os/estate.ts): as `dispose` of a team would,
 * but nobody is blocked meanwhile. What still runs a list is waited for, as long as that may take.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { possessions } from './os/estate.ts';
import { openForeign } from './os/foreign.ts';
import { findSystem } from './os/open.ts';
import { control, ringSlots, slot, threadBlock } from './team-code.ts';

/** Milliseconds: a step that waits for a rank in vain is longer than any other. */
const patience = 60_000;
const look = 20;

/** False where a thread never ended, or nothing can be done here: all stays as it is then. */
export async function freeOrphans(estate: SharedArrayBuffer): Promise<boolean> {
  const found = findSystem();
  const orphans = found.usable ? found.system.orphans : undefined;
  if (!found.usable || orphans === undefined) return false;
  const { mappings, threads } = possessions(estate);
  const foreign = openForeign();
  const { load, wake } = found.system;
  for (const team of new Set(threads.map(({ argument }) => load(argument + threadBlock.control)))) {
    const submitted = load(team + control.submitted);
    foreign.store(team + control.abortThrough, submitted);
    // A list without a first entry ends the threads.
    foreign.store(team + control.ring + (submitted % ringSlots) * slot.bytes + slot.first, 0);
    foreign.store(team + control.submitted, submitted + 1);
    wake(team + control.submitted);
  }
  const running = new Set(threads.map(({ handle }) => handle));
  for (const end = performance.now() + patience; running.size > 0; ) {
    for (const handle of running) if (orphans.ended(handle)) running.delete(handle);
    if (running.size === 0) break;
    if (performance.now() > end) return false;
    await sleep(look, undefined, { ref: false });
  }
  for (const { address, length } of mappings) orphans.unmap(address, length);
  return true;
}
