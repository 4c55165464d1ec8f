/** The system that measurements of machine code run on; where there is none, the process says why and ends. */
import { findSystem } from '../src/devices/cpu/os/open.ts';

const found = findSystem();
if (!found.usable) {
  console.error(found.reason);
  process.exit(1);
}

export const { system } = found;
