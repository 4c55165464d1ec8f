/** The functions of stubs.ts for arm64: waiting on a word, and making new code visible to the processor, as machine code. */
import { Arm64Assembler } from '../asm/arm64/assembler.ts';
import { type General, lsl, place, sp, w, x } from '../asm/arm64/operands.ts';
import { mapCode, type Pages } from './mapping.ts';
import type { Stubs } from './stubs.ts';

/** Bodies of `void wait(address, u32 expected, u32 microseconds)`, `void wake(address)` and `void yield()`, each with its end. */
export interface Arm64SystemCode {
  wait(a: Arm64Assembler): void;
  wake(a: Arm64Assembler): void;
  yield(a: Arm64Assembler): void;
}

/**
 * Lives as long as the thread: other code keeps the addresses. Where the system has no call that makes new code visible, one of
 * these functions does it for all later code; they are visible themselves, because Linux cleans the caches for a page when it first
 * becomes executable.
 */
export function mapArm64Stubs(pages: Pages, calls: Arm64SystemCode): Stubs {
  const a = new Arm64Assembler();
  const waitAt = a.here('wait');
  calls.wait(a);
  const wakeAt = a.here('wake');
  calls.wake(a);
  const yieldAt = a.here('yield');
  calls.yield(a);
  const loadAt = a.here('load');
  a.emit('ldar', x(0), place(x(0)));
  a.emit('ret');
  const synchronizeAt = a.here('synchronize');
  synchronizeCode(a);

  const assembled = a.assemble();
  const code = mapCode(pages, assembled.bytes);
  const [wait, wake, load] = [waitAt, wakeAt, loadAt].map((label) => assembled.offsetOf(label)) as [
    number,
    number,
    number,
  ];
  const synchronize = code.callable(assembled.offsetOf(synchronizeAt), {
    takes: ['address', 'address'],
    returns: 'void',
  });
  pages.synchronize ??= (address, length) => void synchronize(address, address + length);
  return {
    futex: { wait: code.address + wait, wake: code.address + wake },
    yield: code.address + assembled.offsetOf(yieldAt),
    load: code.callable(load, { takes: ['address'], returns: 'i64' }),
    wait: code.callable(wait, { takes: ['address', 'u32', 'u32'], returns: 'void' }),
    wake: code.callable(wake, { takes: ['address'], returns: 'void' }),
  };
}

/** void synchronize(first, end): data to where instructions are fetched from, and those fetched anew. */
function synchronizeCode(a: Arm64Assembler): void {
  const [line, at] = [x(9), x(10)];
  const lines = (shift: number, clean: 'dc cvau' | 'ic ivau') => {
    a.emit('mrs ctr_el0', line);
    a.emit('ubfm', line, line, shift, shift + 3);
    a.emit('movz', at, 4);
    a.emit('lslv', line, at, line);
    a.emit('sub', at, line, 1);
    a.emit('bic', at, x(0), at);
    const next = a.here();
    a.emit(clean, at);
    a.emit('add', at, at, line);
    a.emit('subs', x(31), at, x(1));
    a.emit('b.lo', next);
    a.emit('dsb ish');
  };
  lines(16, 'dc cvau');
  lines(0, 'ic ivau');
  a.emit('isb');
  a.emit('ret');
}

const SYS_FUTEX = 98;
const SYS_SCHED_YIELD = 124;
const FUTEX_WAIT_PRIVATE = 128;
const FUTEX_WAKE_PRIVATE = 129;

function system(a: Arm64Assembler, number: number): void {
  a.emit('movz', x(8), number);
  a.emit('svc', 0);
}

/** futex(2) and sched_yield(2). */
export const linuxArm64Calls: Arm64SystemCode = {
  wait(a) {
    // A struct timespec.
    const [seconds, rest, million] = [x(9), x(10), x(11)];
    a.emit('movz', million, 0xf, lsl(16));
    a.emit('movk', million, 0x4240);
    a.emit('orr', w(2), w(31), w(2));
    a.emit('udiv', seconds, x(2), million);
    a.emit('msub', rest, seconds, million, x(2));
    a.emit('movz', million, 1000);
    a.emit('madd', rest, rest, million, x(31));
    a.emit('sub', sp, sp, 16);
    a.emit('stp', seconds, rest, place(sp));
    a.emit('add', { ...x(3), sp: true }, sp, 0);
    a.emit('orr', w(2), w(31), w(1));
    a.emit('movz', x(1), FUTEX_WAIT_PRIVATE);
    system(a, SYS_FUTEX);
    a.emit('add', sp, sp, 16);
    a.emit('ret');
  },
  wake(a) {
    a.emit('movz', x(1), FUTEX_WAKE_PRIVATE);
    a.emit('movz', x(2), 0x7fff, lsl(16));
    system(a, SYS_FUTEX);
    a.emit('ret');
  },
  yield(a) {
    system(a, SYS_SCHED_YIELD);
    a.emit('ret');
  },
};

/** The address of a function of a library, in the register that such calls go by. */
export function loadTarget(a: Arm64Assembler, address: number): General {
  const target = x(16);
  const parts = [0, 16, 32, 48].map((shift) => Number((BigInt(address) >> BigInt(shift)) & 0xffffn));
  a.emit('movz', target, parts[0] ?? 0);
  for (const [i, part] of parts.entries()) if (i > 0) a.emit('movk', target, part, lsl(16 * i));
  return target;
}

/** Ends in a function of a library, which returns to the caller. */
export function tailCall(a: Arm64Assembler, address: number): void {
  a.emit('br', loadTarget(a, address));
}
