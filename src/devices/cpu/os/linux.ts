/** Linux on x86-64 and arm64, glibc or musl. Numbers and flags are those of the kernel's headers, the same for both where not said. */
import { readFileSync } from 'node:fs';
import { IngotError } from '../../../base/errors.ts';
import { arm64Features } from './arm64-features.ts';
import { linuxArm64Calls, mapArm64Stubs } from './arm64-stubs.ts';
import { controlGroupLimits, type ReadText } from './cgroup.ts';
import { decodeFeatures } from './cpuid.ts';
import { given, taken } from './estate.ts';
import type { Foreign } from './foreign.ts';
import { mapCode, mapFile, mapMemory, type PageAccess, type Pages } from './mapping.ts';
import type { Architecture, CpuFeatures, Limits, OperatingSystem } from './os.ts';
import { linuxCalls, mapStubs, type Stubs } from './stubs.ts';

const PROTECTION: Record<PageAccess, number> = { none: 0, 'read-write': 3, 'read-execute': 5 };
const MAP_PRIVATE_ANONYMOUS = 0x22;
const PROT_READ = 1;
const MAP_SHARED = 1;
const MADV_DONTNEED = 4;
const MADV_HUGEPAGE = 14;
const MADV_POPULATE_WRITE = 23;
/** Of x86-64. */
const SYS_ARCH_PRCTL = 158;
const ARCH_REQ_XCOMP_PERM = 0x1023;
const XFEATURE_XTILEDATA = 18;
/** sched_setattr(2) and sched_getattr(2): of struct sched_attr the version with 48 bytes, and where it has the slice in nanoseconds. */
const SYS_SCHED_ATTR = { x64: { set: 314, get: 315 }, arm64: { set: 274, get: 275 } };
const schedulingBytes = 48;
const sliceAt = 24;
/** Of threads that compute. Those with a shorter one, as is usual, need not wait for them (Linux 6.12 and newer). */
const computingSlice = 20_000_000n;
const SC_PAGESIZE = 30;
const AT_HWCAP = 16;
const AT_HWCAP2 = 26;
const stackBytes = 8 * 2 ** 20;
/** More than sizeof(pthread_attr_t) of glibc and musl. */
const threadAttributeBytes = 128;
/** Cores that a mask has room for; the kernel's own limit is 8192. */
const maskCores = 8192;

export function openLinux(foreign: Foreign, architecture: Architecture): OperatingSystem {
  const libc = foreign.load(null);
  const pageBytes = libc.function('sysconf', ['i32'], 'i64')(SC_PAGESIZE);
  const mmap = libc.function('mmap', ['address', 'i64', 'i32', 'i32', 'i32', 'i64'], 'address');
  const munmap = libc.function('munmap', ['address', 'i64'], 'i32');
  const mprotect = libc.function('mprotect', ['address', 'i64', 'i32'], 'i32');
  const madvise = libc.function('madvise', ['address', 'i64', 'i32'], 'i32');
  const mlock = libc.function('mlock', ['address', 'i64'], 'i32');
  const munlock = libc.function('munlock', ['address', 'i64'], 'i32');
  const syscall = libc.function('syscall', ['i64', 'i64', 'i64', 'i64'], 'i64');
  const schedule = libc.function('syscall', ['i64', 'i64', 'bytes', 'i64', 'i64'], 'i64');
  const getAffinity = libc.function('sched_getaffinity', ['i32', 'i64', 'bytes'], 'i32');
  const initAttributes = libc.function('pthread_attr_init', ['bytes'], 'i32');
  const setStackSize = libc.function('pthread_attr_setstacksize', ['bytes', 'i64'], 'i32');
  const createThread = libc.function('pthread_create', ['bytes', 'bytes', 'address', 'address'], 'i32');
  const joinThread = libc.function('pthread_join', ['address', 'address'], 'i32');
  const tryJoinThread = libc.function('pthread_tryjoin_np', ['address', 'address'], 'i32');
  const pinThread = libc.function('pthread_setaffinity_np', ['address', 'i64', 'bytes'], 'i32');

  function refused(what: string, hint?: string): IngotError {
    const message = `Linux refuses ${what} (errno ${foreign.errno()})`;
    return new IngotError('OutOfMemory', message, { device: 'cpu', ...(hint === undefined ? {} : { hint }) });
  }

  const mapAny = (length: number, access: number, flags: number, descriptor: number) => {
    const address = mmap(0, length, access, flags, descriptor, 0);
    if (address === -1) throw refused(`memory of ${length} bytes`);
    return address;
  };
  const map = (length: number) => mapAny(length, PROTECTION['read-write'], MAP_PRIVATE_ANONYMOUS, -1);
  const owned = (address: number, length: number) => {
    taken.mapping(address, length);
    return address;
  };
  const adviseHuge = (address: number, length: number) => void madvise(address, length, MADV_HUGEPAGE);
  const pages: Pages = {
    pageBytes,
    map: (length) => owned(map(length), length),
    protect(address, length, access) {
      if (mprotect(address, length, PROTECTION[access]) === 0) return;
      if (access !== 'read-execute') throw refused(`to make memory ${access}`);
      throw new IngotError('DeviceLost', `Linux refuses to make memory executable (errno ${foreign.errno()})`, {
        device: 'cpu',
        hint: 'A security policy forbids machine code made at run time; use --device reference.',
      });
    },
    discard(address, length) {
      munlock(address, length);
      madvise(address, length, MADV_DONTNEED);
    },
    unmap(address, length) {
      // First: a thread may be ended between the two, and then the addresses may be another's.
      given(address);
      munmap(address, length);
    },
    adviseHuge,
    prefault(address, length) {
      if (madvise(address, length, MADV_POPULATE_WRITE) === 0) return;
      // Before Linux 5.14: a write to each page does the same, one fault at a time.
      const step = 2 ** 30;
      for (let at = 0; at < length; at += step) {
        const view = new Uint8Array(foreign.view(address + at, Math.min(step, length - at)));
        for (let page = 0; page < view.length; page += pageBytes) view[page] = 0;
      }
    },
    view: foreign.view,
    callable: foreign.callable,
  };

  const { stubs, features } = processor();
  /** What is called by its address here, and what the processor can do. */
  function processor(): { readonly stubs: Stubs; features(): CpuFeatures } {
    if (architecture === 'x64') {
      const stubs = mapStubs(pages, linuxCalls);
      return { stubs, features: () => decodeFeatures(stubs.cpuid) };
    }
    const getAuxiliary = libc.function('getauxval', ['i64'], 'i64');
    return {
      stubs: mapArm64Stubs(pages, linuxArm64Calls),
      features: () => arm64Features(getAuxiliary(AT_HWCAP), getAuxiliary(AT_HWCAP2), readText('/proc/cpuinfo') ?? ''),
    };
  }

  return {
    name: 'linux',
    architecture,
    pageBytes,
    mapMemory: (bytes, options) => mapMemory(pages, bytes, options),
    mapCode: (bytes) => mapCode(pages, bytes),
    startThread(entry, argument, cores) {
      const attributes = new Uint8Array(threadAttributeBytes);
      initAttributes(attributes);
      setStackSize(attributes, stackBytes);
      const handle = new BigUint64Array(1);
      const restoreSlice = lengthenSlice();
      const failed = createThread(new Uint8Array(handle.buffer), attributes, entry, argument);
      restoreSlice();
      if (failed !== 0) {
        throw new IngotError('OutOfMemory', `Linux gives no thread (error ${failed})`, {
          device: 'cpu',
          hint: 'Raise the limit of threads (ulimit -u, pids.max of a control group) or of addresses (ulimit -v), or use fewer (--threads).',
        });
      }
      const thread = Number(handle[0]);
      if (cores !== undefined) {
        const mask = new Uint8Array(maskCores / 8);
        for (const core of cores) mask[core >> 3] |= 1 << (core & 7);
        // Not checked: what the process may use can shrink at any time.
        pinThread(thread, mask.length, mask);
      }
      taken.thread(thread, argument);
      return {
        join() {
          given(thread);
          joinThread(thread, 0);
        },
      };
    },
    futex: stubs.futex,
    yield: stubs.yield,
    ...(stubs.read !== undefined && { read: stubs.read }),
    mapFile(descriptor, bytes) {
      const memory = mapFile(
        pages,
        (length) => owned(mapAny(length, PROT_READ, MAP_SHARED, descriptor), length),
        bytes,
      );
      adviseHuge(memory.address, memory.length);
      return memory;
    },
    load: stubs.load,
    wait: stubs.wait,
    wake: stubs.wake,
    lock(memory) {
      if (mlock(memory.address, memory.length) !== 0) {
        throw refused(`to lock ${memory.length} bytes in memory`, 'Raise the limit of locked memory (ulimit -l).');
      }
    },
    orphans: {
      ended: (handle) => tryJoinThread(handle, 0) === 0,
      unmap: (address, length) => void munmap(address, length),
    },
    shared: {
      map(length) {
        const address = map(length);
        adviseHuge(address, length);
        return address;
      },
      view: foreign.view,
      unmap: (address, length) => void munmap(address, length),
    },
    requestTiles: () =>
      architecture === 'x64' && syscall(SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA, 0) === 0,
    cpuFeatures: features,
    limits: (): Limits => ({
      cores: allowedCores(),
      ...controlGroupLimits(readText),
      nodes: countOf(readText('/sys/devices/system/node/has_memory') ?? '0'),
      hugePages: grantsHugePages(readText),
    }),
  };

  /** Of the calling thread, whose new threads have it from there. Older systems leave it as it is. */
  function lengthenSlice(): () => void {
    const { set, get } = SYS_SCHED_ATTR[architecture];
    const current = new Uint8Array(schedulingBytes);
    if (schedule(get, 0, current, schedulingBytes, 0) !== 0) return () => {};
    const longer = current.slice();
    new DataView(longer.buffer).setBigUint64(sliceAt, computingSlice, true);
    schedule(set, 0, longer, 0, 0);
    return () => void schedule(set, 0, current, 0, 0);
  }

  function allowedCores(): number[] {
    const mask = new Uint8Array(maskCores / 8);
    if (getAffinity(0, mask.length, mask) !== 0) return [0];
    const cores: number[] = [];
    for (let core = 0; core < maskCores; core++) if ((mask[core >> 3] >> (core & 7)) & 1) cores.push(core);
    return cores;
  }
}

/** Whether memory that asks for pages of 2 MiB gets them: the system may refuse all, or this process (PR_SET_THP_DISABLE of prctl(2)). */
export function grantsHugePages(read: ReadText): boolean {
  const isOn = /\[(always|madvise)\]/.test(read('/sys/kernel/mm/transparent_hugepage/enabled') ?? '');
  return isOn && !/^THP_enabled:\s*0$/m.test(read('/proc/self/status') ?? '');
}

/** Of a list of numbers and ranges: '0-1,4' are three. */
function countOf(list: string): number {
  return list
    .trim()
    .split(',')
    .map((part) => part.split('-').map(Number))
    .reduce((sum, [first, last = first]) => sum + last - first + 1, 0);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // not there, or not for us
  }
}
