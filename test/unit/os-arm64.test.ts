/**
 * How code for arm64 asks macOS and Windows to wait, to wake and to yield, in an emulator: in the place of the system's functions stand
 * some that write down what they were given. Oracles: the declarations of __ulock_wait and __ulock_wake (bsd/sys/ulock.h of xnu) and of
 * WaitOnAddress.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arm64Assembler } from '../../src/devices/cpu/asm/arm64/assembler.ts';
import { place, sp, w, x } from '../../src/devices/cpu/asm/arm64/operands.ts';
import { type Arm64SystemCode, loadTarget } from '../../src/devices/cpu/os/arm64-stubs.ts';
import { ulockArm64Code } from '../../src/devices/cpu/os/darwin.ts';
import { waitOnAddressArm64Code } from '../../src/devices/cpu/os/windows.ts';
import { machineOf } from './machine.ts';

const machine = machineOf('neon');
const skip =
  typeof machine === 'string'
    ? `skipped, because ${machine}`
    : !machine.emulated && 'skipped, because it is for emulators';

const WAIT = { address: 0x1234_5678_9abc, expected: 0xffff_fff0, microseconds: 2_500_000 } as const;

interface Seen {
  readonly registers: readonly bigint[];
  readonly stack: bigint;
  /** What lies where the second argument points, if it was asked for. */
  readonly pointed: number;
}

/** Runs one of the functions; what the system's function saw that it ended in. */
function seen(which: keyof Arm64SystemCode, code: (target: number) => Arm64SystemCode, pointed: boolean): Seen {
  if (typeof machine === 'string') throw new Error(machine);
  using record = machine.map(64);
  using library = machine.map(256);
  const recorder = new Arm64Assembler();
  const target = loadTarget(recorder, record.address);
  recorder.emit('stp', x(0), x(1), place(target));
  recorder.emit('stp', x(2), x(3), place(target, 16));
  recorder.emit('add', { ...x(9), sp: true }, sp, 0);
  recorder.emit('str', x(9), place(target, 32));
  if (pointed) {
    recorder.emit('ldr', w(9), place(x(1)));
    recorder.emit('str', w(9), place(target, 40));
  }
  // What a function may change.
  for (let i = 0; i < 18; i++) recorder.emit('movz', x(i), 0xdead);
  recorder.emit('ret');
  library.bytes.set(recorder.assemble().bytes);

  const a = new Arm64Assembler();
  code(library.address)[which](a);
  const bytes = a.assemble().bytes;
  // Upper halves of arguments of 32 bits hold anything.
  const dirt = 2 ** 40;
  machine.call(bytes, [[WAIT.address, dirt + WAIT.expected, dirt + WAIT.microseconds]], [record, library]);
  const words = new BigUint64Array(record.bytes.slice().buffer);
  return {
    registers: [...words.subarray(0, 4)],
    stack: words[4] ?? 0n,
    pointed: Number((words[5] ?? 0n) & 0xffffffffn),
  };
}

const low = (value: bigint | undefined) => Number(BigInt.asUintN(32, value ?? 0n));

test('macOS: a word of 32 bits is compared and waited for, all are woken, and the caller goes on', { skip }, () => {
  const code = (target: number) => ulockArm64Code(target, target, target);
  const wait = seen('wait', code, false);
  // UL_COMPARE_AND_WAIT | ULF_NO_ERRNO; the value has 64 bits, the time 32.
  assert.equal(low(wait.registers[0]), 0x0100_0001);
  assert.equal(wait.registers[1], BigInt(WAIT.address));
  assert.equal(wait.registers[2], BigInt(WAIT.expected));
  assert.equal(low(wait.registers[3]), WAIT.microseconds);
  assert.equal(wait.stack % 16n, 0n);
  const wake = seen('wake', code, false);
  assert.equal(low(wake.registers[0]), 0x0100_0101);
  assert.equal(wake.registers[1], BigInt(WAIT.address));
  assert.equal(wake.registers[2], 0n);
  assert.equal(seen('yield', code, false).stack % 16n, 0n);
});

test('Windows: a copy of the word is compared, in milliseconds, and the caller goes on', { skip }, () => {
  const code = (target: number) => waitOnAddressArm64Code(target, target, target);
  const wait = seen('wait', code, true);
  assert.equal(wait.registers[0], BigInt(WAIT.address));
  assert.equal(wait.pointed, WAIT.expected);
  assert.equal(wait.registers[2], 4n);
  assert.equal(low(wait.registers[3]), WAIT.microseconds / 1000);
  assert.equal(wait.stack % 16n, 0n);
  assert.equal(seen('wake', code, false).registers[0], BigInt(WAIT.address));
  assert.equal(seen('yield', code, false).stack % 16n, 0n);
});
