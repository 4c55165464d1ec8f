/**
 * What arm64 has instead of stubs.ts: waiting on a word, and making new code visible to the processor, as machine code; and what
 * the processor can do, from the bits that Linux hands to programs (arch/arm64/include/uapi/asm/hwcap.h).
 */
import { Arm64Assembler } from '../asm/arm64/assembler.ts';
import { lsl, place, sp, w, x } from '../asm/arm64/operands.ts';
import { mapCode, type Pages } from './mapping.ts';
import type { CpuFeatures } from './os.ts';
import type { Stubs } from './stubs.ts';

const SYS_FUTEX = 98;
const SYS_SCHED_YIELD = 124;
const FUTEX_WAIT_PRIVATE = 128;
const FUTEX_WAKE_PRIVATE = 129;

/**
 * Lives as long as the thread: other code keeps the addresses. Until its `synchronize` is set, mapped code is visible because Linux
 * cleans the caches for a page when it first becomes executable.
 */
export function mapArm64Stubs(pages: Pages): Stubs {
  const a = new Arm64Assembler();
  const system = (number: number) => {
    a.emit('movz', x(8), number);
    a.emit('svc', 0);
  };

  const waitAt = a.here('wait');
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
  system(SYS_FUTEX);
  a.emit('add', sp, sp, 16);
  a.emit('ret');

  const wakeAt = a.here('wake');
  a.emit('movz', x(1), FUTEX_WAKE_PRIVATE);
  a.emit('movz', x(2), 0x7fff, lsl(16));
  system(SYS_FUTEX);
  a.emit('ret');

  const yieldAt = a.here('yield');
  system(SYS_SCHED_YIELD);
  a.emit('ret');

  const loadAt = a.here('load');
  a.emit('ldar', x(0), place(x(0)));
  a.emit('ret');

  // void synchronize(first, end): data to where instructions are fetched from, and those fetched anew.
  const synchronizeAt = a.here('synchronize');
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
  pages.synchronize = (address, length) => void synchronize(address, address + length);
  return {
    futex: { wait: code.address + wait, wake: code.address + wake },
    yield: code.address + assembled.offsetOf(yieldAt),
    load: code.callable(load, { takes: ['address'], returns: 'i64' }),
    wait: code.callable(wait, { takes: ['address', 'u32', 'u32'], returns: 'void' }),
    wake: code.callable(wake, { takes: ['address'], returns: 'void' }),
  };
}

/** Bits of AT_HWCAP and AT_HWCAP2, with the names that /proc/cpuinfo has for them. */
const HWCAP: readonly (readonly [bit: number, name: string])[] = [
  [0, 'fp'],
  [1, 'asimd'],
  [8, 'atomics'],
  [9, 'fphp'],
  [10, 'asimdhp'],
  [20, 'asimddp'],
  [22, 'sve'],
];
const HWCAP2: readonly (readonly [bit: number, name: string])[] = [
  [1, 'sve2'],
  [13, 'i8mm'],
  [14, 'bf16'],
];

/** @param cpuinfo the text of /proc/cpuinfo, whose processors have numbers instead of names. */
export function arm64Features(hwcap: number, hwcap2: number, cpuinfo: string): CpuFeatures {
  const has = (word: number, bit: number) => Math.floor(word / 2 ** bit) % 2 === 1;
  const names = [...HWCAP.filter(([bit]) => has(hwcap, bit)), ...HWCAP2.filter(([bit]) => has(hwcap2, bit))].map(
    ([, name]) => name,
  );
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(\\S+)$`, 'm').exec(cpuinfo)?.[1];
  const [implementer, part] = [field('CPU implementer'), field('CPU part')];
  const known = implementer !== undefined && part !== undefined;
  return {
    model: known ? `arm64 processor ${implementer}:${part}` : 'arm64 processor',
    names: new Set(names),
    withheld: [],
  };
}
