/**
 * macOS on x86-64 and arm64. Written from Apple's manual pages (mmap(2), mprotect(2), pthread_create(3), sysctl(3),
 * sys_icache_invalidate(3)) and, for waiting on a word, from the ulock calls that libSystem exports. NOT RUN YET: nobody has tried this
 * file on a Mac; its code for arm64 was run in an emulator, with other functions in the place of the system's.
 *
 * Executable memory is made by mprotect, which Node's own signature allows (allow-unsigned-executable-memory). The other
 * way, MAP_JIT with pthread_jit_write_protect_np, switches all such memory of a thread from executable to writable, and so
 * takes V8's compiled code from under the JavaScript that would do the writing.
 */
import { availableParallelism, cpus } from 'node:os';
import { IngotError } from '../../../base/errors.ts';
import { lsl, w, x } from '../asm/arm64/operands.ts';
import type { Assembler } from '../asm/assembler.ts';
import { edi, edx, esi, rax, rcx, rdi, rdx, rsi, rsp } from '../asm/operands.ts';
import { type Arm64SystemCode, mapArm64Stubs, tailCall } from './arm64-stubs.ts';
import { decodeFeatures } from './cpuid.ts';
import type { Foreign } from './foreign.ts';
import { mapCode, mapMemory, type PageAccess, type Pages } from './mapping.ts';
import type { Architecture, CpuFeatures, OperatingSystem } from './os.ts';
import { mapStubs, type Stubs, type SystemCode } from './stubs.ts';

const PROTECTION: Record<PageAccess, number> = { none: 0, 'read-write': 3, 'read-execute': 5 };
const MAP_PRIVATE = 0x2;
const MAP_FIXED = 0x10;
const MAP_ANON = 0x1000;
const MADV_WILLNEED = 3;
const SC_PAGESIZE = 29;
const stackBytes = 8 * 2 ** 20;
/** More than sizeof(pthread_attr_t). */
const threadAttributeBytes = 128;
const UL_COMPARE_AND_WAIT = 1;
const ULF_WAKE_ALL = 0x100;
const ULF_NO_ERRNO = 0x1000000;

/** What sysctl(3) says of Apple's processors, by the names that Linux has for it. */
const FEATURES: readonly (readonly [sysctl: string, names: readonly string[]])[] = [
  ['hw.optional.arm.FEAT_LSE', ['atomics']],
  ['hw.optional.arm.FEAT_FP16', ['fphp', 'asimdhp']],
  ['hw.optional.arm.FEAT_DotProd', ['asimddp']],
  ['hw.optional.arm.FEAT_I8MM', ['i8mm']],
  ['hw.optional.arm.FEAT_BF16', ['bf16']],
];

export function openDarwin(foreign: Foreign, architecture: Architecture): OperatingSystem {
  const libc = foreign.load('libSystem.B.dylib');
  const pageBytes = libc.function('sysconf', ['i32'], 'i64')(SC_PAGESIZE);
  const mmap = libc.function('mmap', ['address', 'i64', 'i32', 'i32', 'i32', 'i64'], 'address');
  const munmap = libc.function('munmap', ['address', 'i64'], 'i32');
  const mprotect = libc.function('mprotect', ['address', 'i64', 'i32'], 'i32');
  const madvise = libc.function('madvise', ['address', 'i64', 'i32'], 'i32');
  const mlock = libc.function('mlock', ['address', 'i64'], 'i32');
  const initAttributes = libc.function('pthread_attr_init', ['bytes'], 'i32');
  const setStackSize = libc.function('pthread_attr_setstacksize', ['bytes', 'i64'], 'i32');
  const createThread = libc.function('pthread_create', ['bytes', 'bytes', 'address', 'address'], 'i32');
  const joinThread = libc.function('pthread_join', ['address', 'address'], 'i32');
  const sysctl = libc.function('sysctlbyname', ['bytes', 'bytes', 'bytes', 'address', 'i64'], 'i32');

  /** A number of 32 bits; undefined where the system does not know the name. */
  function setting(name: string): number | undefined {
    const value = new Int32Array(1);
    const length = BigUint64Array.of(BigInt(value.byteLength));
    const bytes = new Uint8Array(value.buffer);
    return sysctl(new TextEncoder().encode(`${name}\0`), bytes, new Uint8Array(length.buffer), 0, 0) === 0
      ? value[0]
      : undefined;
  }

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
  if (architecture === 'arm64') {
    const invalidate = libc.function('sys_icache_invalidate', ['address', 'i64'], 'void');
    pages.synchronize = (address, length) => void invalidate(address, length);
  }
  const { stubs, features } = processor();
  function processor(): { readonly stubs: Stubs; features(): CpuFeatures } {
    const wait = libc.address('__ulock_wait');
    const wake = libc.address('__ulock_wake');
    const yieldTo = libc.address('sched_yield');
    if (architecture === 'x64') {
      const stubs = mapStubs(pages, ulockCode(wait, wake, yieldTo));
      return { stubs, features: () => decodeFeatures(stubs.cpuid) };
    }
    return {
      stubs: mapArm64Stubs(pages, ulockArm64Code(wait, wake, yieldTo)),
      features: () => ({
        model: cpus()[0]?.model ?? 'arm64 processor',
        names: new Set(['fp', 'asimd', ...FEATURES.flatMap(([name, names]) => (setting(name) === 1 ? names : []))]),
        withheld: [],
      }),
    };
  }
  /** Those of the fast kind: work that is shared by all waits for the slow ones. */
  const cores = () => setting('hw.perflevel0.logicalcpu') ?? availableParallelism();

  return {
    name: 'darwin',
    architecture,
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
    cpuFeatures: features,
    limits: () => ({ cores: Array.from({ length: cores() }, (_, core) => core), hugePages: false }),
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

/** The same; the system's functions return to who waits. */
export function ulockArm64Code(wait: number, wake: number, yieldTo: number): Arm64SystemCode {
  const operation = (flags: number) => [flags & 0xffff, flags >>> 16] as const;
  const [waitLow, waitHigh] = operation(UL_COMPARE_AND_WAIT | ULF_NO_ERRNO);
  const [wakeLow, wakeHigh] = operation(UL_COMPARE_AND_WAIT | ULF_WAKE_ALL | ULF_NO_ERRNO);
  return {
    wait(a) {
      a.emit('orr', w(3), w(31), w(2));
      a.emit('orr', w(2), w(31), w(1));
      a.emit('orr', x(1), x(31), x(0));
      a.emit('movz', w(0), waitLow);
      a.emit('movk', w(0), waitHigh, lsl(16));
      tailCall(a, wait);
    },
    wake(a) {
      a.emit('orr', x(1), x(31), x(0));
      a.emit('movz', x(2), 0);
      a.emit('movz', w(0), wakeLow);
      a.emit('movk', w(0), wakeHigh, lsl(16));
      tailCall(a, wake);
    },
    yield: (a) => tailCall(a, yieldTo),
  };
}
