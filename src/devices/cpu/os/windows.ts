/**
 * Windows on x86-64 and arm64. Written from Microsoft's documents of VirtualAlloc, VirtualProtect, CreateThread, WaitOnAddress,
 * IsProcessorFeaturePresent and of the x64 and ARM64 calling conventions. NOT RUN YET: nobody has tried this file on Windows; its code
 * for arm64 was run in an emulator, with other functions in the place of the system's.
 *
 * On x86-64 code follows the System V convention (os.ts), so what the system or koffi calls is a bridge before it. On arm64 the
 * conventions agree: x18, which is the system's, is named by no code.
 */
import { availableParallelism, cpus } from 'node:os';
import { IngotError } from '../../../base/errors.ts';
import { place, sp, w, x } from '../asm/arm64/operands.ts';
import { Assembler } from '../asm/assembler.ts';
import { eax, ecx, edx, esi, ptr, r8, r8d, r9, r9d, rax, rcx, rdi, rdx, rsi, rsp, xmm } from '../asm/operands.ts';
import { type Arm64SystemCode, loadTarget, mapArm64Stubs, tailCall } from './arm64-stubs.ts';
import { decodeFeatures } from './cpuid.ts';
import type { Foreign } from './foreign.ts';
import { mapCode, mapMemory, type PageAccess, type Pages } from './mapping.ts';
import type { Architecture, CpuFeatures, OperatingSystem } from './os.ts';
import { mapStubs, type Stubs, type SystemCode } from './stubs.ts';

const PROTECTION: Record<PageAccess, number> = { none: 0x01, 'read-write': 0x04, 'read-execute': 0x20 };
const MEM_RESERVE_COMMIT = 0x3000;
const MEM_RELEASE = 0x8000;
const INFINITE = 0xffffffff;
const pageBytes = 4096;
/** All of it at once: code does not touch a big frame page after page, as this system's stacks grow. */
const stackBytes = 8 * 2 ** 20;

/** IsProcessorFeaturePresent's numbers (winnt.h), by the names that Linux has for them. */
const FEATURES: readonly (readonly [number: number, names: readonly string[]])[] = [
  [34, ['atomics']],
  [43, ['asimddp']],
  [66, ['i8mm']],
  [67, ['fphp', 'asimdhp']],
  [68, ['bf16']],
];

export function openWindows(foreign: Foreign, architecture: Architecture): OperatingSystem {
  const kernel = foreign.load('kernel32.dll');
  const synchronization = foreign.load('api-ms-win-core-synch-l1-2-0.dll');
  const virtualAlloc = kernel.function('VirtualAlloc', ['address', 'i64', 'u32', 'u32'], 'address');
  const virtualFree = kernel.function('VirtualFree', ['address', 'i64', 'u32'], 'i32');
  const virtualProtect = kernel.function('VirtualProtect', ['address', 'i64', 'u32', 'bytes'], 'i32');
  const virtualLock = kernel.function('VirtualLock', ['address', 'i64'], 'i32');
  const discardMemory = kernel.function('DiscardVirtualMemory', ['address', 'i64'], 'u32');
  const currentProcess = kernel.function('GetCurrentProcess', [], 'address');
  const flushInstructions = kernel.function('FlushInstructionCache', ['address', 'address', 'i64'], 'i32');
  const createThread = kernel.function(
    'CreateThread',
    ['address', 'i64', 'address', 'address', 'u32', 'address'],
    'address',
  );
  const setAffinity = kernel.function('SetThreadAffinityMask', ['address', 'i64'], 'i64');
  const waitForObject = kernel.function('WaitForSingleObject', ['address', 'u32'], 'u32');
  const closeHandle = kernel.function('CloseHandle', ['address'], 'i32');
  const lastError = kernel.function('GetLastError', [], 'u32');
  const hasFeature = kernel.function('IsProcessorFeaturePresent', ['u32'], 'i32');

  function refused(what: string): IngotError {
    return new IngotError('OutOfMemory', `Windows refuses ${what} (error ${lastError()})`, { device: 'cpu' });
  }

  const pages: Pages = {
    pageBytes,
    map(length) {
      const address = virtualAlloc(0, length, MEM_RESERVE_COMMIT, PROTECTION['read-write']);
      if (address === 0) throw refused(`memory of ${length} bytes`);
      return address;
    },
    protect(address, length, access) {
      if (virtualProtect(address, length, PROTECTION[access], new Uint8Array(4)) === 0) {
        if (access !== 'read-execute') throw refused(`to make memory ${access}`);
        throw new IngotError('DeviceLost', `Windows refuses to make memory executable (error ${lastError()})`, {
          device: 'cpu',
          hint: 'A security policy forbids machine code made at run time; use --device reference.',
        });
      }
      if (access === 'read-execute') flushInstructions(currentProcess(), address, length);
    },
    discard: (address, length) => void discardMemory(address, length),
    unmap: (address) => void virtualFree(address, 0, MEM_RELEASE),
    adviseHuge() {}, // large pages need a privilege that users do not have
    prefault() {}, // committed pages come at first use
    view: foreign.view,
    callable(address, signature) {
      if (architecture === 'arm64') return foreign.callable(address, signature);
      if (signature.takes.some((type) => type === 'f32' || type === 'f64') || signature.takes.length > 6) {
        throw new IngotError('InvalidArgument', 'the bridge of Windows takes up to six integers', { device: 'cpu' });
      }
      return foreign.callable(bridge(address), signature);
    },
  };

  const bridges = new Map<number, number>();
  /** Address of a function of Windows' convention that calls the one at `target`. One page each; there are a handful. */
  function bridge(target: number): number {
    if (architecture === 'arm64') return target;
    let address = bridges.get(target);
    if (address === undefined) {
      address = mapCode(pages, bridgeCode(target)).address;
      bridges.set(target, address);
    }
    return address;
  }
  const { stubs, features } = processor();
  function processor(): { readonly stubs: Stubs; features(): CpuFeatures } {
    const wait = synchronization.address('WaitOnAddress');
    const wake = synchronization.address('WakeByAddressAll');
    const yieldTo = kernel.address('SwitchToThread');
    if (architecture === 'x64') {
      const stubs = mapStubs(pages, waitOnAddressCode(wait, wake, yieldTo));
      return { stubs, features: () => decodeFeatures(stubs.cpuid) };
    }
    return {
      stubs: mapArm64Stubs(pages, waitOnAddressArm64Code(wait, wake, yieldTo)),
      features: () => ({
        model: cpus()[0]?.model ?? 'arm64 processor',
        names: new Set(['fp', 'asimd', ...FEATURES.flatMap(([number, names]) => (hasFeature(number) ? names : []))]),
        withheld: [],
      }),
    };
  }

  return {
    name: 'windows',
    architecture,
    pageBytes,
    mapMemory: (bytes, options) => mapMemory(pages, bytes, options),
    mapCode: (bytes) => mapCode(pages, bytes),
    startThread(entry, argument, cores) {
      const thread = createThread(0, stackBytes, bridge(entry), argument, 0, 0);
      if (thread === 0) throw refused('a thread');
      // A mask reaches the 64 cores of one group, of which a number holds 53.
      const mask = (cores ?? []).filter((core) => core < 53).reduce((sum, core) => sum + 2 ** core, 0);
      if (mask > 0) setAffinity(thread, mask);
      return {
        join() {
          waitForObject(thread, INFINITE);
          closeHandle(thread);
        },
      };
    },
    futex: stubs.futex,
    yield: stubs.yield,
    load: stubs.load,
    wait: stubs.wait,
    wake: stubs.wake,
    lock(memory) {
      if (virtualLock(memory.address, memory.length) === 0) throw refused(`to lock ${memory.length} bytes in memory`);
    },
    requestTiles: () => architecture === 'x64', // Windows 11 enables tiles for every process; cpuFeatures says whether there are any
    cpuFeatures: features,
    limits: () => ({ cores: Array.from({ length: availableParallelism() }, (_, core) => core), hugePages: false }),
  };
}

/** Saves what Windows' functions keep and System V's do not (rdi, rsi, xmm6 to xmm15), and moves the arguments. */
function bridgeCode(target: number): Uint8Array {
  const a = new Assembler();
  const saved = Array.from({ length: 10 }, (_, index) => ({ register: xmm(6 + index), at: ptr(rsp, 16 * index) }));
  const frame = 168;
  const stackArgument = frame + 2 * 8 + 8 + 32; // pushes, return address, the callee's home space
  a.emit('push', rdi);
  a.emit('push', rsi);
  a.emit('sub', rsp, frame);
  for (const { register, at } of saved) a.emit('vmovups', at, register);
  a.emit('mov', rdi, rcx);
  a.emit('mov', rsi, rdx);
  a.emit('mov', rdx, r8);
  a.emit('mov', rcx, r9);
  a.emit('mov', r8, ptr(rsp, stackArgument));
  a.emit('mov', r9, ptr(rsp, stackArgument + 8));
  a.emit('mov', rax, BigInt(target));
  a.emit('call', rax);
  for (const { register, at } of saved) a.emit('vmovups', register, at);
  a.emit('add', rsp, frame);
  a.emit('pop', rsi);
  a.emit('pop', rdi);
  a.emit('ret');
  return a.assemble().bytes;
}

/** BOOL WaitOnAddress(address, address of expected, bytes, milliseconds), void WakeByAddressAll(address). */
function waitOnAddressCode(wait: number, wake: number, yieldTo: number): SystemCode {
  const frame = 56; // home space of 32 bytes, the expected value, and what keeps rsp at a multiple of 16
  return {
    wait(a) {
      a.emit('sub', rsp, frame);
      a.emit('mov', ptr(rsp, 32), esi);
      a.emit('mov', eax, edx);
      a.emit('xor', edx, edx);
      a.emit('mov', ecx, 1000);
      a.emit('div', ecx);
      a.emit('mov', r9d, eax);
      a.emit('mov', rcx, rdi);
      // The address of the expected value, its size, and the call.
      a.emit('mov', r8d, 4);
      a.emit('lea', rdx, ptr(rsp, 32));
      a.emit('mov', rax, BigInt(wait));
      a.emit('call', rax);
      a.emit('add', rsp, frame);
      a.emit('ret');
    },
    wake(a) {
      a.emit('sub', rsp, frame);
      a.emit('mov', rcx, rdi);
      a.emit('mov', rax, BigInt(wake));
      a.emit('call', rax);
      a.emit('add', rsp, frame);
      a.emit('ret');
    },
    yield(a) {
      a.emit('sub', rsp, frame);
      a.emit('mov', rax, BigInt(yieldTo));
      a.emit('call', rax);
      a.emit('add', rsp, frame);
      a.emit('ret');
    },
  };
}

/** The same. */
export function waitOnAddressArm64Code(wait: number, wake: number, yieldTo: number): Arm64SystemCode {
  const [link, expected] = [0, 8];
  return {
    wait(a) {
      a.emit('sub', sp, sp, 16);
      a.emit('str', x(30), place(sp, link));
      a.emit('str', w(1), place(sp, expected));
      a.emit('movz', w(3), 1000);
      a.emit('udiv', w(3), w(2), w(3));
      a.emit('movz', x(2), 4);
      a.emit('add', x(1), sp, expected);
      a.emit('blr', loadTarget(a, wait));
      a.emit('ldr', x(30), place(sp, link));
      a.emit('add', sp, sp, 16);
      a.emit('ret');
    },
    wake: (a) => tailCall(a, wake),
    yield: (a) => tailCall(a, yieldTo),
  };
}
