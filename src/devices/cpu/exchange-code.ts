/**
 * The kernels of exchanges with other processes: thread 0 of a team posts all messages of a table, copies what stays here, and
 * polls until every message is through. Meanwhile the other threads wait at the barrier. An exchange of two halves is posted by the one and
 * polled for by the other; between them the team computes. From the first half the other threads go on to the next launch: until one of them is
 * through with its part of that, thread 0 polls, and then takes what is left of it. It polls with PAUSE, after 50 us it
 * lets others have the core between polls, and it never polls for longer than the patience of the transport, which is less while nobody
 * asks whether this rank is alive: then, or when a peer is known to be lost, it takes its messages back, says whom it waited for, and
 * stops the list.
 */
import { Assembler } from './asm/assembler.ts';
import {
  eax,
  edx,
  esi,
  type Gp,
  ptr,
  r8,
  r9,
  r12,
  r13,
  r14,
  r15,
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
import type { Architecture } from './os/os.ts';
import { control } from './team-code.ts';

/**
 * The head of a table, in words of 64 bits: the team's control block; what the transport's functions get, and their
 * addresses; words that are not 0 when a peer is lost, and while this rank is alone; ticks to poll with PAUSE only, at all, and alone;
 * numbers of messages and fills.
 */
export const head = {
  ...{ control: 0, context: 8, isend: 16, irecv: 24, test: 32, cancel: 40, lost: 48 },
  ...{ alone: 56, spin: 64, patience: 72, alonePatience: 80, messages: 88, fills: 96 },
  bytes: 128,
} as const;

/** A message: whether it is received, its peer (-1: whoever uses the channel), what and how much; `open` while it is under way. */
export const message = {
  ...{ received: 0, peer: 8, channel: 16, address: 24, length: 32, open: 40, request: 64 },
  bytes: 128,
} as const;

/** Bytes copied from another place here, or zeroed where that is 0. */
export const fill = { to: 0, from: 8, length: 16, bytes: 32 } as const;

/** What a lost word holds where a peer was given up: `lostPeer` of its rank, and of -1. */
export const lostPeer = (rank: number) => rank + 2;

/** What a kernel does, on the stack: both halves, or one of them. */
const halves = { whole: 0, start: 1, finish: 2 } as const;
const stack = { half: 0, threads: 8, bytes: 24 } as const;

/** Kernels `void (table, u32 thread, u32 threads)`, by their offsets. `yieldTo`: address of what lets another thread have the core. */
export function assembleExchange(yieldTo: number, architecture: Architecture) {
  const a = new Assembler();
  const word = (base: Gp, at: number) => sized(ptr(base, at), 64);
  const kept = [rbx, rbp, r12, r13, r14, r15];
  // rbx the table, rbp the control block, r12 a message, r13 how many are left, r14 the start, r15 messages under way.
  const others = a.label('others');
  const leave = a.label('leave');
  const given = a.label('given_up');
  const stop = a.label('stop');
  const takeBack = a.label('take_back');
  const close = a.label('close');
  const enter = a.label('enter');
  const poll = a.label('poll');
  const half = sized(ptr(rsp, stack.half), 32);

  const eachMessage = (body: (next: ReturnType<typeof a.label>) => void) => {
    const [done, next] = [a.label(), a.label()];
    a.emit('lea', r12, ptr(rbx, head.bytes));
    a.emit('mov', r13, word(rbx, head.messages));
    const again = a.here();
    a.emit('test', r13, r13);
    a.emit('jz', done);
    body(next);
    a.bind(next);
    a.emit('add', r12, message.bytes);
    a.emit('dec', r13);
    a.emit('jmp', again);
    a.bind(done);
  };

  const kernel = (name: keyof typeof halves) => {
    const at = a.entry(name);
    a.emit('mov', eax, halves[name]);
    a.emit('jmp', enter);
    return at;
  };
  const [whole, start, finish] = [kernel('whole'), kernel('start'), kernel('finish')];
  a.bind(enter);
  a.emit('test', esi, esi);
  a.emit('jnz', others);
  for (const register of kept) a.emit('push', register);
  a.emit('sub', rsp, stack.bytes);
  a.emit('mov', half, eax);
  a.emit('mov', sized(ptr(rsp, stack.threads), 32), edx);
  a.emit('mov', rbx, rdi);
  a.emit('mov', rbp, word(rbx, head.control));
  a.emit('xor', r14, r14);
  a.emit('cmp', eax, halves.finish);
  a.emit('je', poll);
  a.emit('mov', rax, word(rbx, head.lost));
  a.emit('cmp', word(rax, 0), 0);
  a.emit('jne', stop);

  a.comment('post');
  eachMessage(() => {
    const [receive, posted] = [a.label(), a.label()];
    a.emit('mov', rdi, word(rbx, head.context));
    a.emit('mov', rsi, word(r12, message.peer));
    a.emit('mov', rdx, word(r12, message.channel));
    a.emit('mov', rcx, word(r12, message.address));
    a.emit('mov', r8, word(r12, message.length));
    a.emit('lea', r9, ptr(r12, message.request));
    a.emit('cmp', word(r12, message.received), 0);
    a.emit('jne', receive);
    a.emit('call', word(rbx, head.isend));
    a.emit('jmp', posted);
    a.bind(receive);
    a.emit('call', word(rbx, head.irecv));
    a.bind(posted);
    a.emit('test', eax, eax);
    a.emit('jnz', given);
    a.emit('mov', word(r12, message.open), 1);
  });

  a.comment('fill');
  const [filled, nextFill, zero, counted] = [a.label(), a.label(), a.label(), a.label()];
  // Behind the messages, where r12 is.
  a.emit('mov', r13, word(rbx, head.fills));
  a.bind(nextFill);
  a.emit('test', r13, r13);
  a.emit('jz', filled);
  a.emit('mov', rdi, word(r12, fill.to));
  a.emit('mov', rsi, word(r12, fill.from));
  a.emit('mov', rcx, word(r12, fill.length));
  a.emit('test', rsi, rsi);
  a.emit('jz', zero);
  a.emit('rep movsb');
  a.emit('jmp', counted);
  a.bind(zero);
  a.emit('xor', eax, eax);
  a.emit('rep stosb');
  a.bind(counted);
  a.emit('add', r12, fill.bytes);
  a.emit('dec', r13);
  a.emit('jmp', nextFill);
  a.bind(filled);
  a.emit('mov', eax, half);
  a.emit('mov', sized(ptr(rbp, control.underWay), 32), eax);

  const now = () => {
    a.emit('rdtsc');
    a.emit('shl', rdx, 32);
    a.emit('or', rax, rdx);
  };
  const [late, patient, politely, early] = [a.label(), a.label(), a.label(), a.label()];
  a.bind(poll);
  a.emit('xor', r15, r15);
  eachMessage((next) => {
    const through = a.label();
    a.emit('cmp', word(r12, message.open), 0);
    a.emit('je', next);
    a.emit('mov', rdi, word(rbx, head.context));
    a.emit('lea', rsi, ptr(r12, message.request));
    a.emit('call', word(rbx, head.test));
    a.emit('test', eax, eax);
    a.emit('js', given);
    a.emit('jnz', through);
    a.emit('inc', r15);
    a.emit('jmp', next);
    a.bind(through);
    a.emit('mov', word(r12, message.open), 0);
  });
  a.emit('test', r15, r15);
  a.emit('jz', close);
  a.emit('cmp', half, halves.start);
  a.emit('je', early);
  // Lists up to this one are to be stopped.
  a.emit('mov', rax, word(rbp, control.done));
  a.emit('cmp', word(rbp, control.abortThrough), rax);
  a.emit('ja', takeBack);
  a.emit('mov', rax, word(rbx, head.lost));
  a.emit('cmp', word(rax, 0), 0);
  a.emit('jne', stop);
  const sinceBegin = () => {
    const known = a.label();
    now();
    a.emit('test', r14, r14);
    a.emit('jnz', known);
    a.emit('mov', r14, rax);
    a.bind(known);
    a.emit('sub', rax, r14);
  };
  sinceBegin();
  a.emit('cmp', rax, word(rbx, head.patience));
  a.emit('ja', late);
  a.emit('cmp', rax, word(rbx, head.alonePatience));
  a.emit('jbe', patient);
  a.emit('mov', rcx, word(rbx, head.alone));
  a.emit('cmp', word(rcx, 0), 0);
  a.emit('je', patient);
  a.bind(late);
  eachMessage((next) => {
    a.emit('cmp', word(r12, message.open), 0);
    a.emit('je', next);
    a.emit('jmp', given);
  });
  a.bind(patient);
  a.emit('cmp', rax, word(rbx, head.spin));
  a.emit('ja', politely);
  a.emit('pause');
  a.emit('jmp', poll);
  a.bind(politely);
  a.emit('mov', rax, BigInt(yieldTo));
  a.emit('call', rax);
  a.emit('jmp', poll);

  a.bind(early);
  a.emit('cmp', sized(ptr(rsp, stack.threads), 32), 1);
  a.emit('je', leave);
  a.emit('cmp', sized(ptr(rbp, control.arrived), 32), 0);
  a.emit('jne', leave);
  sinceBegin();
  a.emit('jmp', patient);

  a.comment('the peer of the message at r12 is given up');
  a.bind(given);
  a.emit('mov', rax, word(r12, message.peer));
  a.emit('add', rax, lostPeer(0));
  a.emit('mov', rcx, word(rbx, head.lost));
  a.emit('mov', word(rcx, 0), rax);
  a.bind(stop);
  a.emit('mov', rax, word(rbp, control.submitted));
  a.emit('mov', word(rbp, control.abortThrough), rax);
  a.bind(takeBack);
  a.emit('mov', sized(ptr(rbp, control.givenUp), 32), 1);
  eachMessage((next) => {
    a.emit('cmp', word(r12, message.open), 0);
    a.emit('je', next);
    a.emit('mov', word(r12, message.open), 0);
    a.emit('mov', rdi, word(rbx, head.context));
    a.emit('lea', rsi, ptr(r12, message.request));
    a.emit('call', word(rbx, head.cancel));
  });
  a.emit('mov', half, halves.finish);
  a.bind(close);
  a.emit('cmp', half, halves.start);
  a.emit('je', leave);
  a.emit('mov', sized(ptr(rbp, control.underWay), 32), 0);
  a.bind(leave);
  a.emit('add', rsp, stack.bytes);
  for (const register of kept.toReversed()) a.emit('pop', register);
  a.bind(others);
  a.emit('ret');
  const code = sharedCode(a, architecture);
  return { code, whole: code.offsetOf(whole), start: code.offsetOf(start), finish: code.offsetOf(finish) };
}
