/**
 * The machine code of the thread team: what each thread runs, and what JavaScript calls to submit and to wait.
 *
 * A team's threads take launch lists from a ring, in order. For each entry they call its kernel, then meet at a barrier. Who arrives last at a barrier decides for all whether the list
 * goes on, so that all leave it at the same place. Everything spins for a while and then sleeps on a futex; who changes a
 * word that others sleep on wakes them only if their count says that there are any.
 *
 * A list that is to be recorded is walked by a second copy of that code, which adds up for each entry what each thread took.
 */
import { Assembler, type Code } from './asm/assembler.ts';
import {
  al,
  eax,
  ebp,
  ecx,
  edx,
  esi,
  indexed,
  type Label,
  ptr,
  r12,
  r13,
  r13d,
  r14,
  r15,
  r15d,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  sized,
} from './asm/operands.ts';
import { sharedCode } from './machine-code.ts';
import type { Architecture, Futex } from './os/os.ts';

/** Lists that may be submitted and not yet done. A power of two. */
export const ringSlots = 16;

/**
 * Bytes of a ring slot: addresses of the first entry and behind the last one; whether the list was stopped; address of the
 * records of the first thread (0: nothing is recorded), and bytes from one thread's to the next one's.
 */
export const slot = { bytes: 64, first: 0, end: 8, stopped: 16, records: 24, recordStride: 32 } as const;

/**
 * Bytes of an entry of a launch list: addresses of the kernel and its arguments, and a value that is not 0 where threads go on without
 * meeting behind it. Small numbers in place of a kernel's
 * address are jumps to the entry at `target`: `jumps`, with the word to look at for the argument, and for `unlessEqual` the
 * value to compare with.
 */
export const entry = { bytes: 32, code: 0, argument: 8, value: 16, target: 24 } as const;

/** Always; if a byte is 0; unless an i32 is a value. */
export const jumps = { always: 0, ifZero: 1, unlessEqual: 2 } as const;

/**
 * What a thread adds up of an entry, as many bytes as the entry has: how often it came to it, ticks of the time stamp counter
 * in the kernel and then at the barrier, and when it last began.
 */
export const record = { bytes: entry.bytes, calls: 0, busy: 8, waited: 16, began: 24 } as const;

/**
 * Bytes of a thread's own block: address of the control block, its index, and the entry that it is at. While it records: what
 * is added to the address of an entry to get that of its record, the latest record, and when the kernel of that ended.
 */
export const threadBlock = { bytes: 128, control: 0, index: 8, at: 16, toRecord: 24, record: 32, ended: 40 } as const;

/**
 * The control block. Words that different threads write are 128 bytes apart: processors fetch cache lines of 64 in pairs.
 * Counters of lists have 64 bits; a futex is the low half of one.
 */
export const control = {
  /** Lists submitted so far, and threads that sleep until there is another one. */
  submitted: 0,
  idle: 8,
  /** Lists done so far, and callers of `wait` that sleep. */
  done: 128,
  waiters: 136,
  /** Threads that have arrived at the barrier. */
  arrived: 256,
  /**
   * Barriers passed, threads that sleep at one, and whether the list ends here. Thread 0 writes the others: whether an exchange is under way,
   * during which no list is left, and whether one was given up.
   */
  phase: 384,
  sleepers: 388,
  stop: 392,
  underWay: 396,
  givenUp: 400,
  /** How much of the work of the kernel that runs has been taken; 0 when it begins (emit/abi.ts). */
  taken: 448,
  /** Lists up to this one are to be stopped. */
  abortThrough: 512,
  /** Turns of a spinning thread before it sleeps; where `clock` puts the time stamp counter. */
  spins: 640,
  clock: 648,
  ring: 768,
  bytes: 768 + ringSlots * slot.bytes,
} as const;

export interface TeamCode {
  readonly code: Code;
  /** `void thread(thread block)`: until it takes a list whose first entry is at address 0. */
  readonly thread: number;
  /** `void submit(control)`: one list more; its slot has been written. */
  readonly submit: number;
  /** `i32 wait(control, i64 lists, u32 microseconds, i32 spins)`: whether so many lists are done; sleeps once at most. */
  readonly wait: number;
  /** `void spin(control, u32 turns)`: what spinning costs. */
  readonly spin: number;
  /** `void clock(address)`: puts the time stamp counter there. */
  readonly clock: number;
}

export function assembleTeam(threads: number, futex: Futex, architecture: Architecture): TeamCode {
  const a = new Assembler();
  const word = (at: number) => sized(ptr(rbx, at), 32);
  const long = (at: number) => sized(ptr(rbx, at), 64);

  const call = (address: number) => {
    a.emit('mov', rax, BigInt(address));
    a.emit('call', rax);
  };
  const wakeIfAny = (sleepers: number, futexWord: number) => {
    const nobody = a.label();
    a.emit('cmp', word(sleepers), 0);
    a.emit('je', nobody);
    a.emit('lea', rdi, ptr(rbx, futexWord));
    call(futex.wake);
    a.bind(nobody);
  };
  /** Spins, then sleeps, until `check` jumps to the label that it is given. */
  const awaitChange = (
    check: (changed: Label) => void,
    sleepers: number,
    futexWord: number,
    loadExpected: () => void,
  ) => {
    const changed = a.label();
    const awake = a.label();
    const asleep = a.label();
    a.emit('mov', ecx, word(control.spins));
    const spinning = a.here();
    check(changed);
    a.emit('dec', ecx);
    a.emit('js', asleep);
    a.emit('pause');
    a.emit('jmp', spinning);
    a.bind(asleep);
    a.emit('lock inc', word(sleepers));
    const again = a.here();
    check(awake);
    a.emit('lea', rdi, ptr(rbx, futexWord));
    loadExpected();
    a.emit('mov', edx, 0xffffffff);
    call(futex.wait);
    a.emit('jmp', again);
    a.bind(awake);
    a.emit('lock dec', word(sleepers));
    a.bind(changed);
  };
  /** All threads meet; `last` is what the last one does before the others go on. */
  const barrier = (last: () => void) => {
    const waits = a.label();
    const passed = a.label();
    a.emit('inc', r15d);
    a.emit('mov', eax, 1);
    a.emit('lock xadd', ptr(rbx, control.arrived), eax);
    a.emit('cmp', eax, threads - 1);
    a.emit('jne', waits);
    a.emit('mov', word(control.arrived), 0);
    a.emit('mov', long(control.taken), 0);
    last();
    a.emit('mov', eax, r15d);
    a.emit('xchg', word(control.phase), eax);
    wakeIfAny(control.sleepers, control.phase);
    a.emit('jmp', passed);
    a.bind(waits);
    awaitChange(
      (changed) => {
        a.emit('cmp', word(control.phase), r15d);
        a.emit('je', changed);
      },
      control.sleepers,
      control.phase,
      () => a.emit('lea', esi, ptr(r15, -1)),
    );
    a.bind(passed);
  };
  /** rax becomes the offset of the slot of list number rbp. */
  const loadSlot = () => {
    a.emit('mov', eax, ebp);
    a.emit('and', eax, ringSlots - 1);
    a.emit('imul', eax, eax, slot.bytes);
  };
  const ofSlot = (at: number) => indexed(rbx, rax, 1, control.ring + at);

  // r12 the entry, r13 the end of the list, r14 the thread's block, r15d barriers passed, rbp lists done.
  const kept = [rbx, rbp, r12, r13, r14, r15];
  const threadAt = a.entry('thread');
  for (const register of kept) a.emit('push', register);
  a.emit('sub', rsp, 8);
  a.emit('mov', r14, rdi);
  a.emit('mov', rbx, ptr(r14, threadBlock.control));
  a.emit('xor', r15d, r15d);
  a.emit('xor', ebp, ebp);

  const nextList = a.here('next_list');
  awaitChange(
    (changed) => {
      a.emit('cmp', long(control.submitted), rbp);
      a.emit('jne', changed);
    },
    control.idle,
    control.submitted,
    () => a.emit('mov', esi, ebp),
  );
  // The code of a list may be new: what was fetched before it was there goes.
  if (architecture === 'arm64') a.emit('lfence');
  loadSlot();
  a.emit('mov', r12, ofSlot(slot.first));
  a.emit('mov', r13, ofSlot(slot.end));
  const exit = a.label('exit');
  a.emit('test', r12, r12);
  a.emit('jz', exit);

  /** rax becomes the time stamp counter, once all before is done; rdx is lost. */
  const stamp = () => {
    a.emit('lfence');
    a.emit('rdtsc');
    a.emit('shl', rdx, 32);
    a.emit('or', rax, rdx);
  };
  const ofThread = (at: number) => sized(ptr(r14, at), 64);
  /** Adds the time since `began` to the record of the entry; rax, rcx and rdx are lost. */
  const addTime = (field: number, loadBegin: () => void) => {
    stamp();
    a.emit('mov', rcx, ofThread(threadBlock.record));
    loadBegin();
    a.emit('sub', rax, rdx);
    a.emit('add', sized(ptr(rcx, field), 64), rax);
  };
  const recordKernel = () => {
    addTime(record.busy, () => {
      a.emit('mov', ofThread(threadBlock.ended), rax);
      a.emit('mov', rdx, sized(ptr(rcx, record.began), 64));
    });
  };
  const recordBarrier = () => addTime(record.waited, () => a.emit('mov', rdx, ofThread(threadBlock.ended)));

  const endOfList = a.label('end_of_list');
  /** From an entry of the list to its end: what runs kernels, and what records them as well. */
  const walk = (nextEntry: Label, recorded: boolean) => {
    const finish = recorded ? a.label('finish') : endOfList;
    a.bind(nextEntry);
    a.emit('cmp', r12, r13);
    a.emit('je', finish);
    const jump = a.label();
    const meet = a.label();
    a.emit('mov', ptr(r14, threadBlock.at), r12);
    if (recorded) {
      stamp();
      a.emit('mov', rcx, ofThread(threadBlock.toRecord));
      a.emit('add', rcx, r12);
      a.emit('mov', ofThread(threadBlock.record), rcx);
      a.emit('mov', sized(ptr(rcx, record.began), 64), rax);
      a.emit('inc', sized(ptr(rcx, record.calls), 64));
    }
    a.emit('mov', rax, ptr(r12, entry.code));
    a.emit('mov', rdi, ptr(r12, entry.argument));
    a.emit('cmp', rax, jumps.unlessEqual);
    a.emit('jbe', jump);
    a.emit('mov', esi, ptr(r14, threadBlock.index));
    a.emit('mov', edx, threads);
    a.emit('lea', rcx, ptr(rbx, control.taken));
    a.emit('call', rax);
    if (recorded) recordKernel();
    a.emit('cmp', sized(ptr(r12, entry.value), 32), 0);
    a.emit('lea', r12, ptr(r12, entry.bytes));
    a.emit('jne', nextEntry);
    a.emit('cmp', r12, r13);
    // The end of the list is a barrier.
    a.emit('je', finish);
    a.emit('jmp', meet);

    // All threads have to have looked before any goes on: what comes next may overwrite the word.
    a.bind(jump);
    const byByte = a.label();
    const decided = a.label();
    a.emit('mov', rdx, ptr(r12, entry.target));
    a.emit('mov', ecx, ptr(r12, entry.value));
    a.emit('lea', rsi, ptr(r12, entry.bytes));
    a.emit('cmp', eax, jumps.ifZero);
    a.emit('mov', r12, rdx);
    a.emit('jb', nextEntry);
    a.emit('je', byByte);
    a.emit('cmp', sized(ptr(rdi, 0), 32), ecx);
    a.emit('cmove', r12, rsi);
    a.emit('jmp', decided);
    a.bind(byByte);
    a.emit('cmp', sized(ptr(rdi, 0), 8), 0);
    a.emit('cmovne', r12, rsi);
    a.bind(decided);
    if (recorded) recordKernel();

    a.bind(meet);
    barrier(() => {
      a.emit('xor', eax, eax);
      a.emit('cmp', long(control.abortThrough), rbp);
      a.emit('seta', al);
      a.emit('cmp', eax, word(control.underWay));
      a.emit('seta', al);
      a.emit('mov', word(control.stop), eax);
    });
    if (recorded) recordBarrier();
    a.emit('cmp', word(control.stop), 0);
    a.emit('je', nextEntry);
    if (!recorded) return;
    a.emit('jmp', endOfList);

    // The wait for the last kernel is recorded before anybody is told that the list is done.
    a.bind(finish);
    stamp();
    a.emit('mov', ofThread(threadBlock.ended), rax);
    barrier(() => {});
    recordBarrier();
    a.emit('jmp', endOfList);
  };

  const recording = a.label('recording');
  a.emit('mov', rcx, ofSlot(slot.records));
  a.emit('test', rcx, rcx);
  a.emit('jnz', recording);
  walk(a.label('next_entry'), false);

  a.bind(endOfList);
  a.emit('mov', sized(ptr(r14, threadBlock.at), 64), 0);
  barrier(() => {
    loadSlot();
    // Nobody has looked since the last launch.
    a.emit('mov', ecx, word(control.stop));
    a.emit('or', ecx, word(control.givenUp));
    a.emit('mov', ofSlot(slot.stopped), ecx);
    a.emit('mov', word(control.stop), 0);
    a.emit('mov', word(control.givenUp), 0);
    a.emit('lea', rsi, ptr(rbp, 1));
    a.emit('xchg', long(control.done), rsi);
    wakeIfAny(control.waiters, control.done);
  });
  a.emit('inc', rbp);
  a.emit('jmp', nextList);

  a.bind(recording);
  a.emit('mov', rdx, ofSlot(slot.recordStride));
  a.emit('mov', esi, ptr(r14, threadBlock.index));
  a.emit('imul', rdx, rsi);
  a.emit('add', rcx, rdx);
  a.emit('mov', ofThread(threadBlock.record), rcx);
  a.emit('sub', rcx, r12);
  a.emit('mov', ofThread(threadBlock.toRecord), rcx);
  // Who was asleep comes later, and who fell asleep at the first barrier later still: that is no time of the first kernel.
  for (let i = 0; i < 2; i++) barrier(() => {});
  walk(a.label('next_recorded'), true);

  a.bind(exit);
  a.emit('add', rsp, 8);
  for (const register of kept.toReversed()) a.emit('pop', register);
  a.emit('ret');

  a.align(16);
  const submitAt = a.entry('submit');
  a.emit('push', rbx);
  a.emit('mov', rbx, rdi);
  a.emit('lock inc', long(control.submitted));
  wakeIfAny(control.idle, control.submitted);
  a.emit('pop', rbx);
  a.emit('ret');

  // r12 the number of lists, r13d how long to sleep.
  a.align(16);
  const waitAt = a.entry('wait');
  const done = a.label('done');
  const asleep = a.label('asleep');
  const awake = a.label('awake');
  for (const register of [rbx, r12, r13]) a.emit('push', register);
  a.emit('mov', rbx, rdi);
  a.emit('mov', r12, rsi);
  a.emit('mov', r13d, edx);
  const spinning = a.here();
  a.emit('cmp', long(control.done), r12);
  a.emit('jae', done);
  // A thread that sleeps still may be waiting for this very core.
  a.emit('cmp', word(control.idle), 0);
  a.emit('jne', asleep);
  a.emit('dec', ecx);
  a.emit('js', asleep);
  a.emit('pause');
  a.emit('jmp', spinning);
  a.bind(asleep);
  a.emit('lock inc', word(control.waiters));
  a.emit('mov', rsi, long(control.done));
  a.emit('cmp', rsi, r12);
  a.emit('jae', awake);
  a.emit('lea', rdi, ptr(rbx, control.done));
  a.emit('mov', edx, r13d);
  call(futex.wait);
  a.bind(awake);
  a.emit('lock dec', word(control.waiters));
  a.bind(done);
  a.emit('xor', eax, eax);
  a.emit('cmp', long(control.done), r12);
  a.emit('setae', al);
  for (const register of [r13, r12, rbx]) a.emit('pop', register);
  a.emit('ret');

  a.align(16);
  const spinAt = a.entry('spin');
  const turn = a.here();
  a.emit('cmp', sized(ptr(rdi, control.submitted), 64), 0);
  a.emit('pause');
  a.emit('dec', esi);
  a.emit('jnz', turn);
  a.emit('ret');

  a.align(16);
  const clockAt = a.entry('clock');
  stamp();
  a.emit('mov', ptr(rdi), rax);
  a.emit('ret');

  const code = sharedCode(a, architecture);
  return {
    code,
    thread: code.offsetOf(threadAt),
    submit: code.offsetOf(submitAt),
    wait: code.offsetOf(waitAt),
    spin: code.offsetOf(spinAt),
    clock: code.offsetOf(clockAt),
  };
}
