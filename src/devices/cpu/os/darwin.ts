/**
 * macOS on x86-64. Written from Apple's manual pages (mmap(2), mprotect(2), pthread_create(3), sysctl(3)) and, for waiting on a
 * word, from the ulock calls that libSystem exports. NOT RUN YET: nobody has tried this file on a Mac.
 *
 * Executable memory is made by mprotect, which Node's own signature allows (allow-unsigned-executable-memory). The other
 * way, MAP_JIT with pthread_jit_write_protect_np, switches all such memory of a thread from executable to writable, and so
 * takes V8's compiled code from under the JavaScript that would do the writing.
 */
import { availableParallelism } from 'node:os';
import { IngotError } from '../../../base/errors.ts';
import type { Assembler } from '../asm/assembler.ts';
import { edi, edx, esi, rax, rcx, rdi, rdx, rsi, rsp } from '../asm/operands.ts';
import { decodeFeatures } from './cpuid.ts';
import type { Foreign } from './foreign.ts';
import { mapCode, mapMemory, type PageAccess, type Pages } from './mapping.ts';
import type { OperatingSystem } from './os.ts';
import { mapStubs, type SystemCode } from './stubs.ts';

const PROTECTION: Record<PageAccess, number> = { none: 0, 'read-write': 3, 'read-execute': 5 };
const MAP_PRIVATE = 0x2;
const MAP_FIXED = 0x10;
const MAP_ANON = 0x1000;
const MADV_WILLNEED = 3;
const pageBytes = 4096;
const stackBytes = 8 * 2 ** 20;
/** More than sizeof(pthread_attr_t). */
const threadAttributeBytes = 128;
const UL_COMPARE_AND_WAIT = 1;
const ULF_WAKE_ALL = 0x100;
const ULF_NO_ERRNO = 0x1000000;

export function openDarwin(foreign: Foreign): OperatingSystem {
  const libc = foreign.load('libSystem.B.dylib');
  const mmap = libc.function('mmap', ['address', 'i64', 'i32', 'i32', 'i32', 'i64'], 'address');
  const munmap = libc.function('munmap', ['address', 'i64'], 'i32');
  const mprotect = libc.function('mprotect', ['address', 'i64', 'i32'], 'i32');
  const madvise = libc.function('madvise', ['address', 'i64', 'i32'], 'i32');
  const mlock = libc.function('mlock', ['address', 'i64'], 'i32');
  const initAttributes = libc.function('pthread_attr_init', ['bytes'], 'i32');
  const setStackSize = libc.function('pthread_attr_setstacksize', ['bytes', 'i64'], 'i32');
  const createThread = libc.function('pthread_create', ['bytes', 'bytes', 'address', 'address'], 'i32');
  const joinThread = libc.function('pthread_join', ['address', 'address'], 'i32');

  function refused(what: string): IngotError {
    return new IngotError('OutOfMemory', `macOS refuses ${what} (errno ${foreign.errno()})`, { device: 'cpu' });
  }

  const pages: Pages = {
    pageBytes,
    map(length) {
      const address = mmap(0, length, PROTECTION['read-write'], MAP_PRIVATE | MAP_ANON, -1, 0);
      if (address === -1) throw refused(`memory of ${length} bytes`);
      return address;
    },
    protect(address, length, access) {
      if (mprotect(address, length, PROTECTION[access]) === 0) return;
      if (access !== 'read-execute') throw refused(`to make memory ${access}`);
      throw new IngotError('DeviceLost', `macOS refuses to make memory executable (errno ${foreign.errno()})`, {
        device: 'cpu',
        hint: 'This build of Node is signed without the right to run machine code made at run time; use --device reference.',
      });
    },
    // Fresh pages in the place of the old ones: MADV_DONTNEED keeps contents and memory on this system.
    discard: (address, length) =>
      void mmap(address, length, PROTECTION['read-write'], MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0),
    unmap: (address, length) => void munmap(address, length),
    adviseHuge() {}, // for whole mappings only, by a flag of mmap that needs its own address space rules
    prefault: (address, length) => void madvise(address, length, MADV_WILLNEED),
    view: foreign.view,
    callable: foreign.callable,
  };
  const stubs = mapStubs(
    pages,
    ulockCode(libc.address('__ulock_wait'), libc.address('__ulock_wake'), libc.address('sched_yield')),
  );

  return {
    name: 'darwin',
    architecture: 'x64',
    pageBytes,
    mapMemory: (bytes, options) => mapMemory(pages, bytes, options),
    mapCode: (bytes) => mapCode(pages, bytes),
    // Threads cannot be bound to cores here.
    startThread(entry, argument) {
      const attributes = new Uint8Array(threadAttributeBytes);
      initAttributes(attributes);
      setStackSize(attributes, stackBytes);
      const handle = new BigUint64Array(1);
      const failed = createThread(new Uint8Array(handle.buffer), attributes, entry, argument);
      if (failed !== 0)
        throw new IngotError('OutOfMemory', `macOS gives no thread (error ${failed})`, { device: 'cpu' });
      const thread = Number(handle[0]);
      return { join: () => void joinThread(thread, 0) };
    },
    futex: stubs.futex,
    yield: stubs.yield,
    load: stubs.load,
    wait: stubs.wait,
    wake: stubs.wake,
    lock(memory) {
      if (mlock(memory.address, memory.length) !== 0) throw refused(`to lock ${memory.length} bytes in memory`);
    },
    requestTiles: () => false, // no Mac has AMX of this kind
    cpuFeatures: () => decodeFeatures(stubs.cpuid),
    limits: () => ({ cores: Array.from({ length: availableParallelism() }, (_, core) => core), hugePages: false }),
  };
}

/** int __ulock_wait(u32 operation, void *address, u64 value, u32 microseconds), int __ulock_wake(u32 operation, void *address, u64). */
function ulockCode(wait: number, wake: number, yieldTo: number): SystemCode {
  const call = (a: Assembler, address: number) => {
    a.emit('sub', rsp, 8);
    a.emit('mov', rax, BigInt(address));
    a.emit('call', rax);
    a.emit('add', rsp, 8);
    a.emit('ret');
  };
  return {
    wait(a) {
      a.emit('mov', rcx, rdx);
      a.emit('mov', edx, esi);
      a.emit('mov', rsi, rdi);
      a.emit('mov', edi, UL_COMPARE_AND_WAIT | ULF_NO_ERRNO);
      call(a, wait);
    },
    wake(a) {
      a.emit('mov', rsi, rdi);
      a.emit('mov', edi, UL_COMPARE_AND_WAIT | ULF_WAKE_ALL | ULF_NO_ERRNO);
      a.emit('xor', edx, edx);
      call(a, wake);
    },
    yield: (a) => call(a, yieldTo),
  };
}
