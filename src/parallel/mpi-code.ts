/** The functions of a `NativeTransport` over those of MPI: non-blocking calls only, with arguments in their places. */
import { Assembler } from '../devices/cpu/asm/assembler.ts';
import {
  al,
  eax,
  type Gp,
  ptr,
  r8,
  r9,
  r10,
  rax,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  sized,
} from '../devices/cpu/asm/operands.ts';
import { sharedCode } from '../devices/cpu/machine-code.ts';
import type { Architecture } from '../devices/cpu/os/os.ts';

/**
 * What the functions get, in words of 64 bits: handles, the first tag of the epoch, addresses of MPI's functions, the words of a
 * `NativeTransport`, a status.
 */
export const end = {
  ...{
    comm: 0,
    byte: 8,
    tag: 16,
    isend: 24,
    irecv: 32,
    test: 40,
    cancel: 48,
    free: 56,
    lost: 64,
    alone: 72,
    status: 80,
  },
  bytes: 256,
} as const;

/** Channels of an epoch; tags go to 32767 at least. */
export const channels = 1024;
/** A message is counted in an i32. */
const mostBytes = 0x7fffffff;

export function assembleMpiEnds(architecture: Architecture) {
  const a = new Assembler();
  const word = (base: Gp, at: number) => sized(ptr(base, at), 64);

  /** `i32 post(end, i64 peer, i64 channel, address, i64 bytes, request)` by the MPI function at `of`. */
  const post = (of: number) => {
    const refused = a.label();
    a.align(16);
    const at = a.entry();
    a.emit('test', rsi, rsi);
    a.emit('js', refused);
    a.emit('cmp', rdx, channels);
    a.emit('jae', refused);
    a.emit('cmp', r8, mostBytes);
    a.emit('ja', refused);
    a.emit('mov', r10, rdi);
    a.emit('sub', rsp, 24);
    // The seventh argument lies on the stack, by AAPCS64 in x6, which rax is there (arm64/context.ts).
    a.emit('mov', ptr(rsp), r9);
    a.emit('mov', rax, r9);
    a.emit('mov', rdi, rcx);
    a.emit('mov', rcx, rsi);
    a.emit('mov', rsi, r8);
    a.emit('mov', r8, word(r10, end.tag));
    a.emit('add', r8, rdx);
    a.emit('mov', rdx, word(r10, end.byte));
    a.emit('mov', r9, word(r10, end.comm));
    a.emit('call', word(r10, of));
    a.emit('add', rsp, 24);
    a.emit('ret'); // MPI_SUCCESS is 0
    a.bind(refused);
    a.emit('mov', eax, 1);
    a.emit('ret');
    return at;
  };
  const isend = post(end.isend);
  const irecv = post(end.irecv);

  a.align(16);
  const test = a.entry();
  const failed = a.label();
  a.emit('sub', rsp, 24);
  a.emit('mov', sized(ptr(rsp), 32), 0);
  a.emit('lea', rdx, ptr(rdi, end.status));
  a.emit('mov', rax, word(rdi, end.test));
  a.emit('mov', rdi, rsi);
  a.emit('lea', rsi, ptr(rsp));
  a.emit('call', rax);
  a.emit('test', eax, eax);
  a.emit('jnz', failed);
  a.emit('cmp', sized(ptr(rsp), 32), 0);
  a.emit('setne', al);
  a.emit('movzx', eax, al);
  a.emit('add', rsp, 24);
  a.emit('ret');
  a.bind(failed);
  a.emit('mov', eax, -1);
  a.emit('add', rsp, 24);
  a.emit('ret');

  // The request is let go: what is under way ends when MPI does, or never.
  a.align(16);
  const cancel = a.entry();
  a.emit('sub', rsp, 24);
  a.emit('mov', ptr(rsp), rdi);
  a.emit('mov', ptr(rsp, 8), rsi);
  a.emit('mov', rax, word(rdi, end.cancel));
  a.emit('mov', rdi, rsi);
  a.emit('call', rax);
  a.emit('mov', rax, ptr(rsp));
  a.emit('mov', rdi, ptr(rsp, 8));
  a.emit('call', word(rax, end.free));
  a.emit('add', rsp, 24);
  a.emit('ret');

  const code = sharedCode(a, architecture);
  return {
    bytes: code.bytes,
    isend: code.offsetOf(isend),
    irecv: code.offsetOf(irecv),
    test: code.offsetOf(test),
    cancel: code.offsetOf(cancel),
  };
}
