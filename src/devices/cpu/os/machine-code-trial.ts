/** The program behind try-machine-code.ts: runs a function and a thread, and prints what came of it as JSON. */
import { Assembler } from '../asm/assembler.ts';
import { indexed, ptr, rax, rdi, rsi } from '../asm/operands.ts';
import { sharedCode } from '../machine-code.ts';
import { findSystem } from './open.ts';
import { type OperatingSystem, usableThreads } from './os.ts';
import type { MachineCodeTrial } from './try-machine-code.ts';

function attempt(system: OperatingSystem): MachineCodeTrial {
  const a = new Assembler();
  a.emit('lea', rax, indexed(rdi, rsi));
  a.emit('ret');
  const thread = a.entry();
  a.emit('mov', ptr(rdi), rdi);
  a.emit('ret');
  const assembled = sharedCode(a, system.architecture);
  using code = system.mapCode(assembled.bytes);
  const sum = code.callable(0, { takes: ['i64', 'i64'], returns: 'i64' })(20, 22);
  if (sum !== 42) return { runs: false, reason: `assembled code adds 20 and 22 to ${sum}` };
  using memory = system.mapMemory(8);
  system.startThread(code.address + assembled.offsetOf(thread), memory.address).join();
  const [written] = new BigUint64Array(memory.bytes().buffer);
  if (Number(written) !== memory.address) return { runs: false, reason: 'a thread of assembled code writes nothing' };
  const limits = system.limits();
  const features = [...system.cpuFeatures().names].sort();
  return { runs: true, features, limits, threads: usableThreads(limits) };
}

function report(): MachineCodeTrial {
  const found = findSystem();
  if (!found.usable) return { runs: false, reason: found.reason };
  try {
    return attempt(found.system);
  } catch (error) {
    return { runs: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

console.log(JSON.stringify(report()));
