/**
 * Where a test runs the code of a target: on the processor, if it has the target's instructions, or in an emulator, which
 * is some hundred times slower. Both give memory that ends at an inaccessible page.
 */

import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { type InstructionSet, missing, type Target, targets } from '../../src/devices/cpu/target.ts';
import { noArm64 } from './arm64-processor.ts';
import { emulatedMachine, noEmulator } from './emulated.ts';

export interface Place extends Disposable {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** As emit/abi.ts has them; the last may be left out for code that takes no work. */
export type Call = readonly [args: number, index: number, count: number, taken?: number];

export interface Machine {
  readonly target: Target;
  readonly emulated: boolean;
  /** Memory that ends at an inaccessible page; so its address is aligned as its length is. */
  map(length: number): Place;
  /** Calls the function at the first byte once for every list of arguments. @param places what it may touch. */
  call(code: Uint8Array, calls: readonly Call[], places: readonly Place[]): void;
}

const found = findSystem();

export function system(): OperatingSystem {
  if (!found.usable) throw new Error(found.reason);
  return found.system;
}

function lacks(set: InstructionSet): string | false {
  const { architecture } = targets[set];
  if (process.platform !== 'linux' || process.arch !== architecture) return `needs Linux on ${architecture}`;
  const names = missing(system().cpuFeatures(), set);
  return names.length > 0 && `the processor lacks ${names.join(', ')}`;
}

function nativeMachine(set: InstructionSet): Machine {
  if (set === 'amx') system().requestTiles();
  return {
    target: targets[set],
    emulated: false,
    map(length) {
      const memory = system().mapMemory(length, { guarded: true, alignment: 1 });
      return { address: memory.address, bytes: memory.bytes(), [Symbol.dispose]: () => memory[Symbol.dispose]() };
    },
    call(code, calls) {
      using mapped = system().mapCode(code);
      const call = mapped.callable(0, { takes: ['address', 'i64', 'i64', 'address'], returns: 'void' });
      for (const [args, index, count, taken = 0] of calls) call(args, index, count, taken);
    },
  };
}

const machines = new Map<InstructionSet, Machine>();

/** The machine of an instruction set, or why there is none. */
export function machineOf(set: InstructionSet): Machine | string {
  const known = machines.get(set);
  if (known !== undefined) return known;
  const reason = lacks(set);
  const absent = reason && (targets[set].architecture === 'arm64' ? noArm64() : noEmulator());
  if (absent) return `${reason}; ${absent}`;
  const machine = reason ? emulatedMachine(set) : nativeMachine(set);
  machines.set(set, machine);
  return machine;
}
