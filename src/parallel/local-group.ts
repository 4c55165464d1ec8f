/**
 * Ranks of one process: each a device with a team of its own, on any JavaScript threads. A mailbox for every ordered pair of
 * ranks lies in native memory. A sender puts the address of its bytes there; the receiver copies them out of the sender's
 * memory, and says so. Nothing else is shared, and the ends are plain numbers, so that they can be sent to workers.
 */
import { IngotError } from '../base/errors.ts';
import { Assembler } from '../devices/cpu/asm/assembler.ts';
import {
  eax,
  ecx,
  type Gp,
  type Label,
  ptr,
  r8,
  r9,
  rax,
  rcx,
  rdi,
  rdx,
  rsi,
  sized,
} from '../devices/cpu/asm/operands.ts';
import { sharedCode } from '../devices/cpu/machine-code.ts';
import { type Architecture, type OperatingSystem, usableThreads } from '../devices/cpu/os/os.ts';
import type { Communicator } from '../devices/device.ts';
import { defaultPatience, type GroupOptions } from './host-group.ts';

/** The ends of a group, by rank, and what they share: to be disposed when no device uses an end any more. */
export interface LocalGroup extends Disposable {
  readonly ends: readonly Communicator[];
}

/** Channels that `send` and `recv` may use without naming a peer. */
const openChannels = 64;
/** What an end is, in words of 64 bits: the mailboxes, its rank, how many ranks there are, whom it has lost, whether it is alone. */
const end = { mailboxes: 0, rank: 8, size: 16, lost: 24, alone: 32, bytes: 128 } as const;
/** Who writes a word last is not who wrote it first, so each mailbox has cache lines of its own. */
const mailbox = { state: 0, address: 8, length: 16, channel: 24, bytes: 128 } as const;
const states = { empty: 0, full: 1, taking: 2 } as const;
/** What the caller keeps of a message: its mailbox, and if it is received, where to. */
const request = { mailbox: 0, received: 8, address: 16, length: 24, channel: 32 } as const;

/** A rank that hears nothing for so long has lost its peer. */
export function createLocalGroup(system: OperatingSystem, size: number, options: GroupOptions = {}): LocalGroup {
  if (!Number.isInteger(size) || size < 1 || size > 64) {
    throw new IngotError('InvalidArgument', `a group of ${size} ranks in one process`, { hint: 'It has 1 to 64.' });
  }
  const { epoch = 0, patienceMilliseconds = defaultPatience } = options;
  const crowded = size > usableThreads(system.limits());
  const { bytes, offsets } = assembleEnds(system.architecture);
  const code = system.mapCode(bytes);
  const boxes = size * end.bytes;
  const memory = system.mapMemory(boxes + (size * size + openChannels) * mailbox.bytes, { alignment: 128 });
  const longs = new BigUint64Array(memory.bytes().buffer as ArrayBuffer);
  const ends = Array.from({ length: size }, (_, rank): Communicator => {
    const at = rank * end.bytes;
    const set = (offset: number, value: number) => {
      longs[(at + offset) / 8] = BigInt(value);
    };
    set(end.mailboxes, memory.address + boxes);
    set(end.rank, rank);
    set(end.size, size);
    const context = memory.address + at;
    const address = (name: keyof typeof offsets) => code.address + offsets[name];
    return {
      rank,
      size,
      epoch,
      transport: {
        kind: 'native',
        context,
        isend: address('isend'),
        irecv: address('irecv'),
        test: address('test'),
        cancel: address('cancel'),
        lost: context + end.lost,
        alone: context + end.alone,
        crowded,
        patienceMilliseconds,
      },
    };
  });
  return {
    ends,
    [Symbol.dispose]() {
      code[Symbol.dispose]();
      memory[Symbol.dispose]();
    },
  };
}

function assembleEnds(architecture: Architecture) {
  const a = new Assembler();
  const word = (base: Gp, at: number) => sized(ptr(base, at), 64);
  const state = (base: Gp) => sized(ptr(base, mailbox.state), 32);
  /** rax = the mailbox from `from` to `to` of the end rdi, or that of channel rdx where the peer, rsi, is -1. */
  const findMailbox = (loadFrom: () => void, addTo: () => void, none: Label) => {
    const [open, found] = [a.label(), a.label()];
    a.emit('test', rsi, rsi);
    a.emit('js', open);
    a.emit('cmp', rsi, word(rdi, end.size));
    a.emit('jae', none);
    loadFrom();
    a.emit('imul', rax, word(rdi, end.size));
    addTo();
    a.emit('jmp', found);
    a.bind(open);
    a.emit('cmp', rdx, openChannels);
    a.emit('jae', none);
    a.emit('mov', rax, word(rdi, end.size));
    a.emit('imul', rax, rax);
    a.emit('add', rax, rdx);
    a.bind(found);
    a.emit('shl', rax, Math.log2(mailbox.bytes));
    a.emit('add', rax, word(rdi, end.mailboxes));
  };
  const answer = (value: number) => {
    a.emit('mov', eax, value);
    a.emit('ret');
  };

  const isend = a.entry('isend');
  const notSent = a.label();
  findMailbox(
    () => a.emit('mov', rax, word(rdi, end.rank)),
    () => a.emit('add', rax, rsi),
    notSent,
  );
  a.emit('cmp', state(rax), states.empty);
  a.emit('jne', notSent);
  a.emit('mov', word(rax, mailbox.address), rcx);
  a.emit('mov', word(rax, mailbox.length), r8);
  a.emit('mov', word(rax, mailbox.channel), rdx);
  a.emit('mov', word(r9, request.mailbox), rax);
  a.emit('mov', word(r9, request.received), 0);
  // Stores are seen in their order.
  a.emit('mov', state(rax), states.full);
  answer(0);
  a.bind(notSent);
  answer(1);

  a.align(16);
  const irecv = a.entry('irecv');
  const notPosted = a.label();
  findMailbox(
    () => a.emit('mov', rax, rsi),
    () => a.emit('add', rax, word(rdi, end.rank)),
    notPosted,
  );
  a.emit('mov', word(r9, request.mailbox), rax);
  a.emit('mov', word(r9, request.received), 1);
  a.emit('mov', word(r9, request.address), rcx);
  a.emit('mov', word(r9, request.length), r8);
  a.emit('mov', word(r9, request.channel), rdx);
  answer(0);
  a.bind(notPosted);
  answer(1);

  a.align(16);
  const test = a.entry('test');
  const [receive, later, wrong] = [a.label(), a.label(), a.label()];
  a.emit('mov', rdx, word(rsi, request.mailbox));
  a.emit('cmp', word(rsi, request.received), 0);
  a.emit('jne', receive);
  a.emit('cmp', state(rdx), states.empty);
  a.emit('jne', later);
  answer(1);
  a.bind(receive);
  a.emit('cmp', state(rdx), states.full);
  a.emit('jne', later);
  a.emit('mov', eax, states.full);
  a.emit('mov', ecx, states.taking);
  a.emit('lock cmpxchg', state(rdx), ecx);
  a.emit('jne', later);
  a.emit('mov', rcx, word(rsi, request.length));
  a.emit('cmp', word(rdx, mailbox.length), rcx);
  a.emit('jne', wrong);
  a.emit('mov', rax, word(rsi, request.channel));
  a.emit('cmp', word(rdx, mailbox.channel), rax);
  a.emit('jne', wrong);
  a.emit('mov', rdi, word(rsi, request.address));
  a.emit('mov', rsi, word(rdx, mailbox.address));
  a.emit('rep movsb');
  a.emit('mov', state(rdx), states.empty);
  answer(1);
  a.bind(later);
  answer(0);
  // Another message than the program has here: the ranks do not run the same thing.
  a.bind(wrong);
  a.emit('mov', state(rdx), states.empty);
  answer(-1);

  a.align(16);
  const cancel = a.entry('cancel');
  const [done, again] = [a.label(), a.label()];
  a.emit('cmp', word(rsi, request.received), 0);
  a.emit('jne', done);
  a.emit('mov', rdx, word(rsi, request.mailbox));
  a.bind(again);
  a.emit('mov', eax, states.full);
  a.emit('mov', ecx, states.empty);
  a.emit('lock cmpxchg', state(rdx), ecx);
  // It is being copied at this moment: its memory must last until that is done.
  a.emit('cmp', state(rdx), states.taking);
  a.emit('pause');
  a.emit('je', again);
  a.bind(done);
  a.emit('ret');
  const code = sharedCode(a, architecture);
  const labels = { isend, irecv, test, cancel };
  const at = (name: keyof typeof labels) => code.offsetOf(labels[name]);
  return {
    bytes: code.bytes,
    offsets: { isend: at('isend'), irecv: at('irecv'), test: at('test'), cancel: at('cancel') },
  };
}
