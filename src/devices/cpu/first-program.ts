/**
 * What makes the first program of a process is run once: optimized code of it comes when most is done, takes a processor's time from
 * what else there is to do at a start, and is thrown away again as types that it did not expect come. So V8 optimizes nothing meanwhile.
 */
import { setFlagsFromString } from 'node:v8';

/** Whoever says by an option of Node what V8 may optimize is left alone. */
const isOthers = () => /opt|turbofan|jitless|maglev|sparkplug/.test(`${process.execArgv} ${process.env.NODE_OPTIONS}`);

let isFirst = true;

export async function unoptimizedOnce<T>(work: () => Promise<T>): Promise<T> {
  if (!isFirst || isOthers()) return work();
  isFirst = false;
  setFlagsFromString('--no-opt');
  try {
    return await work();
  } finally {
    setFlagsFromString('--opt');
  }
}
