/** What the CPU device asks of the operating system: memory, machine code, threads, limits. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import { eax, edx, esi, indexed, ptr, r12, rax, rdi, rsi, rsp, sized } from '../../src/devices/cpu/asm/operands.ts';
import { sharedCode } from '../../src/devices/cpu/machine-code.ts';
import { controlGroupLimits } from '../../src/devices/cpu/os/cgroup.ts';
import { type CpuidRegisters, decodeFeatures, featureNames } from '../../src/devices/cpu/os/cpuid.ts';
import { grantsHugePages } from '../../src/devices/cpu/os/linux.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { type OperatingSystem, usableThreads } from '../../src/devices/cpu/os/os.ts';
import { tryMachineCode } from '../../src/devices/cpu/os/try-machine-code.ts';
import { accessAt, mappings, processStatus } from './cpu-support.ts';

const found = findSystem();
const skip =
  process.platform !== 'linux' || !/^(x64|arm64)$/.test(process.arch) ? 'needs Linux on x86-64 or arm64' : false;
test('machine code can be used here', { skip }, () => assert.ok(found.usable, found.usable ? '' : found.reason));

function system(): OperatingSystem {
  assert.ok(found.usable);
  return found.system;
}

function assemble(write: (a: Assembler) => void): Uint8Array {
  const a = new Assembler();
  write(a);
  return sharedCode(a, process.arch === 'arm64' ? 'arm64' : 'x64').bytes;
}

/** Runs a script in a process of its own, where `system` is found. In the JavaScript of the oldest Node: no `using`. */
function runScript(script: string, ...flags: string[]) {
  const open = JSON.stringify(new URL('../../src/devices/cpu/os/open.js', import.meta.url).href);
  const text = `import { findSystem } from ${open};\nconst { system } = findSystem();\n${script}`;
  return spawnSync(process.execPath, [...flags, '--input-type=module', '-e', text], { encoding: 'utf8' });
}

const invalid = { name: 'IngotError', code: 'InvalidArgument' };
const adds = () =>
  assemble((a) => {
    a.emit('lea', rax, { ...ptr(rdi), index: rsi });
    a.emit('ret');
  });

const residentBytes = () => processStatus('VmRSS') * 1024;

test('memory is zeroed, aligned and writable', { skip }, () => {
  for (const options of [{}, { huge: true }, { prefault: true }, { huge: true, prefault: true }, { guarded: true }]) {
    using memory = system().mapMemory(3 << 20, options);
    assert.equal(memory.address % 64, 0);
    const bytes = memory.bytes();
    assert.equal(bytes.length, 3 << 20);
    assert.ok(bytes.every((byte) => byte === 0));
    bytes.fill(7);
    assert.deepEqual([...memory.bytes(100, 3)], [7, 7, 7]);
  }
});

test('huge memory begins at a huge page; prefaulted memory is there before it is used', { skip }, () => {
  using huge = system().mapMemory(5 << 20, { huge: true });
  assert.equal(huge.address % 2 ** 21, 0);
  const before = residentBytes();
  using prefaulted = system().mapMemory(64 << 20, { prefault: true });
  assert.ok(residentBytes() - before > 60 << 20);
  using lazy = system().mapMemory(64 << 20);
  assert.ok(residentBytes() - before < 80 << 20);
  assert.notEqual(lazy.address, prefaulted.address);
});

test('wrong sizes, alignments and ranges are refused', { skip }, () => {
  for (const bytes of [0, -1, 1.5, Number.NaN, 2 ** 60]) assert.throws(() => system().mapMemory(bytes), invalid);
  for (const alignment of [0, 3, 8192]) assert.throws(() => system().mapMemory(64, { alignment }), invalid);
  const more = () => {
    // Where the system promises any memory, addresses run out: there are 2^47.
    using _half = system().mapMemory(2 ** 46);
    using _rest = system().mapMemory(2 ** 46);
  };
  assert.throws(more, { name: 'IngotError', code: 'OutOfMemory' });
  assert.throws(() => system().mapCode(new Uint8Array(0)), invalid);
  using memory = system().mapMemory(100);
  for (const [offset, length] of [
    [0, 101],
    [100, 1],
    [-1, 1],
    [0.5, 1],
    [0, -1],
    [101, 0],
  ]) {
    assert.throws(() => memory.bytes(offset, length), invalid);
  }
  assert.equal(memory.bytes(100).length, 0);
  using code = system().mapCode(adds());
  assert.throws(() => code.callable(-1, { takes: [], returns: 'void' }), invalid);
  assert.throws(() => code.callable(code.length, { takes: [], returns: 'void' }), invalid);
});

test('freed memory goes back to the system, and a forgotten view of it is harmless', { skip }, () => {
  const before = residentBytes();
  const memory = system().mapMemory(64 << 20);
  const view = memory.bytes().fill(1);
  assert.ok(residentBytes() - before > 60 << 20);
  memory[Symbol.dispose]();
  assert.ok(residentBytes() - before < 16 << 20);
  assert.equal(view[1000], 0);
  view[1000] = 1;
  assert.throws(() => memory.bytes(), invalid);
  assert.throws(() => memory.hold(), invalid);
  memory[Symbol.dispose](); // twice is harmless
  // Without views the addresses go at once.
  const unseen = system().mapMemory(1 << 20);
  assert.equal(accessAt(unseen.address), 'rw-p');
  unseen[Symbol.dispose]();
  assert.equal(accessAt(unseen.address), undefined);
});

test('the addresses of freed memory go when the last view of it is collected', { skip }, () => {
  const { stdout, stderr } = runScript(
    `
    import { readFileSync } from 'node:fs';
    import { setTimeout as sleep } from 'node:timers/promises';
    const megabytes = () => Number(/^VmSize:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
    function use() {
      const memory = system.mapMemory(2 ** 30);
      memory.bytes().fill(1, 0, 100);
      memory.bytes(10, 10).fill(1);
      memory[Symbol.dispose]();
    }
    const before = megabytes();
    for (let i = 0; i < 4; i++) use();
    const after = megabytes();
    for (let i = 0; i < 5; i++) { gc(); await sleep(10); }
    console.log(JSON.stringify([after - before, megabytes() - before]));`,
    '--expose-gc',
  );
  assert.equal(stderr, '');
  const [held, left] = JSON.parse(stdout);
  assert.ok(held > 4000, `${held} MiB while views are there`);
  assert.ok(left < 500, `${left} MiB after they are collected`);
});

test('a thread that ends leaves no addresses behind, though it collects no views', { skip }, () => {
  const { stdout, stderr } = runScript(
    `
    import { unmapAll } from ${JSON.stringify(new URL('../../src/devices/cpu/os/mapping.js', import.meta.url).href)};
    import { readFileSync } from 'node:fs';
    const gigabytes = () => Number(/^VmSize:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 2 ** 20;
    const executable = () => readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((line) => line.includes('r-xp 00000000 00:00 0')).length;
    const before = gigabytes();
    const code = executable();
    for (let i = 0; i < 4; i++) {
      const memory = system.mapMemory(2 ** 30);
      memory.bytes().fill(1, 0, 100);
      memory[Symbol.dispose]();
    }
    const held = gigabytes() - before;
    unmapAll();
    console.log(JSON.stringify([held, gigabytes() - before, executable() - code]));`,
  );
  assert.equal(stderr, '');
  const [held, left, code] = JSON.parse(stdout);
  assert.ok(code < 0, 'the code of what every system needs is there still');
  assert.ok(held > 3.9, `${held} GiB while views are there`);
  assert.ok(left < 0.5, `${left} GiB at the end`);
});

test('held memory outlives its owner', { skip }, () => {
  const memory = system().mapMemory(4096);
  const hold = memory.hold();
  memory[Symbol.dispose]();
  assert.equal(accessAt(memory.address), 'rw-p');
  hold[Symbol.dispose]();
  hold[Symbol.dispose]();
  assert.equal(accessAt(memory.address), undefined);
});

test('guarded memory lies between inaccessible pages and ends at the second', { skip }, () => {
  for (const [bytes, alignment] of [
    [1, 1],
    [4095, 1],
    [4096, 64],
    [100, 64],
    [10000, 32],
  ]) {
    using memory = system().mapMemory(bytes, { guarded: true, alignment });
    assert.equal(memory.address % alignment, 0);
    memory.bytes().fill(1);
    const end = memory.address + memory.length;
    const guard = mappings().find(({ start, access }) => start >= end && access === '---p');
    assert.ok(guard !== undefined && guard.start - end < alignment, `${bytes} bytes end ${end}`);
    assert.equal(accessAt(Math.floor(memory.address / 4096) * 4096 - 1), '---p');
  }
});

test('a step over the end of guarded memory ends the process', { skip }, () => {
  const pokes = assemble((a) => {
    a.emit('mov', sized(ptr(rdi), 8), 1);
    a.emit('ret');
  });
  const child = runScript(`
    const memory = system.mapMemory(1000, { guarded: true, alignment: 1 });
    const poke = system.mapCode(Uint8Array.of(${pokes.join()})).callable(0, { takes: ['address'], returns: 'void' });
    poke(memory.address + 999);
    console.log('inside');
    poke(memory.address + 1000);
    console.log('outside');`);
  assert.equal(child.stdout, 'inside\n');
  assert.equal(child.signal, 'SIGSEGV');
});

test('machine code is called, and never writable and executable at once', { skip }, () => {
  using code = system().mapCode(adds());
  const add = code.callable(0, { takes: ['i64', 'i64'], returns: 'i64' });
  assert.equal(add(2, 3), 5);
  assert.equal(add(-(2 ** 40), 1), 1 - 2 ** 40);
  assert.equal(accessAt(code.address), 'r-xp');
});

test("no mapping of a process without V8's compiler is writable and executable", { skip }, () => {
  const { stdout, stderr } = runScript(
    `
    import { readFileSync } from 'node:fs';
    const code = [1, 2, 3].map((n) => system.mapCode(Uint8Array.of(${adds().join()})));
    const add = code[0].callable(0, { takes: ['i64', 'i64'], returns: 'i64' });
    system.startThread(system.futex.wake, system.mapMemory(4).address).join();
    const access = readFileSync('/proc/self/maps', 'utf8').split('\\n').map((line) => line.split(' ')[1] ?? '');
    console.log(add(1, 2), access.filter((a) => a === 'r-xp').length > 3, access.filter((a) => a.startsWith('rwx')).length);`,
    '--jitless',
    '--no-expose-wasm',
  );
  assert.equal(stderr, '');
  assert.equal(stdout, '3 true 0\n');
});

test('code that is freed is gone, and its functions say so', { skip }, () => {
  const code = system().mapCode(adds());
  const add = code.callable(0, { takes: ['i64', 'i64'], returns: 'i64' });
  code[Symbol.dispose]();
  assert.equal(accessAt(code.address), undefined);
  assert.throws(() => add(1, 2), invalid);
  assert.throws(() => code.callable(0, { takes: [], returns: 'void' }), invalid);
});

test('threads run machine code and are joined', { skip }, () => {
  // 1000 additions of one to the word at the argument, atomically.
  using code = system().mapCode(
    assemble((a) => {
      a.emit('mov', eax, 1000);
      const again = a.here();
      a.emit('lock inc', sized(ptr(rdi), 32));
      a.emit('dec', eax);
      a.emit('jnz', again);
      a.emit('ret');
    }),
  );
  using memory = system().mapMemory(4);
  const before = processStatus('Threads');
  const { cores } = system().limits();
  const threads = [undefined, cores, cores.slice(-1)].map((cores) =>
    system().startThread(code.address, memory.address, cores),
  );
  for (const thread of threads) thread.join();
  assert.equal(new Int32Array(memory.bytes().buffer)[0], 3000);
  assert.equal(processStatus('Threads'), before);
});

test('a thread has a stack of 8 MiB', { skip }, () => {
  // Writes a word 7.9 MiB below its first frame.
  using code = system().mapCode(
    assemble((a) => {
      a.emit('mov', rax, -Math.floor(7.9 * 2 ** 20));
      a.emit('push', r12);
      a.emit('mov', r12, 1);
      a.emit('mov', indexed(rsp, rax), r12);
      a.emit('pop', r12);
      a.emit('ret');
    }),
  );
  system().startThread(code.address, 0).join();
});

test('a word wakes threads that sleep on it', { skip }, async () => {
  const { futex } = system();
  // Sleeps until the word at the argument is not 0, then adds one to the next word.
  using code = system().mapCode(
    assemble((a) => {
      a.emit('push', r12);
      a.emit('mov', r12, rdi);
      const again = a.here();
      const woken = a.label();
      a.emit('cmp', sized(ptr(r12), 32), 0);
      a.emit('jne', woken);
      a.emit('mov', rdi, r12);
      a.emit('xor', esi, esi);
      a.emit('mov', edx, 60e6);
      a.emit('mov', rax, BigInt(futex.wait));
      a.emit('call', rax);
      a.emit('jmp', again);
      a.bind(woken);
      a.emit('lock inc', sized(ptr(r12, 4), 32));
      a.emit('pop', r12);
      a.emit('ret');
    }),
  );
  using memory = system().mapMemory(8);
  const words = new Int32Array(memory.bytes().buffer);
  const threads = [1, 2, 3].map(() => system().startThread(code.address, memory.address));
  await sleep(30);
  assert.equal(words[1], 0);
  Atomics.store(words, 0, 1);
  system().wake(memory.address);
  for (const thread of threads) thread.join();
  assert.equal(words[1], 3);
});

test('JavaScript waits on a word for as long as it says, or not at all', { skip }, () => {
  using memory = system().mapMemory(4);
  const milliseconds = (expected: number, microseconds: number) => {
    const start = performance.now();
    system().wait(memory.address, expected, microseconds);
    return performance.now() - start;
  };
  assert.ok(milliseconds(0, 30_000) >= 29);
  assert.ok(milliseconds(1, 10e6) < 5000);
});

test('memory is locked, or the limit is named', { skip }, () => {
  using memory = system().mapMemory(1 << 16);
  try {
    system().lock(memory);
    assert.ok(processStatus('VmLck') >= 64);
  } catch (error) {
    assert.match(String(error), /locks? 65536 bytes/);
  }
});

test('features are those that Linux names', { skip }, () => {
  const { names, model } = system().cpuFeatures();
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  const flags = new Set(/^flags\s*: (.*)$/m.exec(info)?.[1].split(' '));
  assert.ok(flags.has('sse2') && names.has('sse2'));
  for (const name of featureNames) assert.equal(names.has(name), flags.has(name), name);
  assert.equal(model, /^model name\s*: (.*)$/m.exec(info)?.[1].trim());
});

test('a trial in another process says that machine code runs, and what there is', { skip }, () => {
  const trial = tryMachineCode();
  assert.ok(trial.runs, trial.runs ? '' : trial.reason);
  assert.deepEqual(trial.features, [...system().cpuFeatures().names].sort());
  assert.equal(trial.threads, usableThreads(system().limits()));
});

test('a feature counts only where the system keeps its registers', () => {
  /** A processor that has everything. */
  const source = (xcr0: number, ecx1 = -1) => ({
    cpuid(leaf: number): CpuidRegisters {
      if (leaf === 0) return { eax: 0x20, ebx: 0, ecx: 0, edx: 0 };
      if (leaf === 0x80000000) return { eax: -0x80000000 + 8, ebx: 0, ecx: 0, edx: 0 };
      if (leaf === 0x1d) return { eax: 1, ebx: (8 << 16) | 64, ecx: 16, edx: 0 };
      return { eax: -1, ebx: -1, ecx: leaf === 1 ? ecx1 : -1, edx: -1 };
    },
    xgetbv: () => xcr0,
  });
  const has = (xcr0: number, ecx1?: number) => {
    const { names } = decodeFeatures(source(xcr0, ecx1));
    return ['sse2', 'avx2', 'avx512f', 'amx_tile'].filter((name) => names.has(name));
  };
  assert.deepEqual(has(0), ['sse2']);
  assert.deepEqual(has(0x7), ['sse2', 'avx2']);
  assert.deepEqual(has(0xe7), ['sse2', 'avx2', 'avx512f']);
  assert.deepEqual(has(0x602e7), ['sse2', 'avx2', 'avx512f', 'amx_tile']);
  assert.deepEqual(has(0x602e7, ~(1 << 27)), ['sse2'], 'without OSXSAVE there is no XCR0');
  assert.deepEqual(decodeFeatures(source(0x602e7)).tiles, { tiles: 8, rows: 16, bytesPerRow: 64 });
});

const v2 = '31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';
const v1 =
  '33 32 0:30 /docker/ab /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n' +
  '34 32 0:31 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n';
const groups: readonly { what: string; files: Record<string, string>; limits: object }[] = [
  { what: 'no control groups', files: {}, limits: {} },
  {
    what: 'version 2: the least of all groups around',
    files: {
      '/proc/self/mountinfo': v2,
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/a/cpu.max': '150000 100000\n',
      '/sys/fs/cgroup/a/b/cpu.max': '400000 100000\n',
      '/sys/fs/cgroup/a/memory.max': '1000000\n',
      '/sys/fs/cgroup/a/memory.current': '500000\n',
      '/sys/fs/cgroup/a/memory.stat': 'anon 1\ninactive_file 100000\n',
      '/sys/fs/cgroup/a/b/memory.max': 'max\n',
    },
    limits: { quota: 1.5, memory: { limit: 1000000, used: 400000 } },
  },
  {
    what: 'version 1 in a container without a namespace',
    files: {
      '/proc/self/mountinfo': v1,
      '/proc/self/cgroup': '4:memory:/docker/ab/c\n3:cpu,cpuacct:/docker/ab\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '200000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      '/sys/fs/cgroup/memory/c/memory.limit_in_bytes': '5000\n',
      '/sys/fs/cgroup/memory/c/memory.usage_in_bytes': '1000\n',
    },
    limits: { quota: 2, memory: { limit: 5000, used: 1000 } },
  },
  {
    what: 'no limits, and a group outside of the mount',
    files: {
      '/proc/self/mountinfo': v2 + v1,
      '/proc/self/cgroup': '4:memory:/elsewhere\n3:cpu,cpuacct:/docker/abc\n0::/../x\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      '/sys/fs/cgroup/cpu.max': 'garbage',
    },
    limits: {},
  },
];
for (const { what, files, limits } of groups) {
  test(`control groups, ${what}`, () => {
    assert.deepEqual(
      controlGroupLimits((path) => files[path]),
      limits,
    );
  });
}

test('huge pages are refused by the system or to the process, or granted', () => {
  const granted = (enabled: string, status?: string) =>
    grantsHugePages((path) => (path === '/proc/self/status' ? status : enabled));
  assert.ok(granted('always [madvise] never\n', 'VmRSS:\t1 kB\nTHP_enabled:\t1\nThreads:\t1\n'));
  // Before Linux 5.0 nothing is said of the process.
  assert.ok(granted('[always] madvise never\n'));
  assert.ok(!granted('always madvise [never]\n', 'THP_enabled:\t1\n'));
  assert.ok(!granted('[always] madvise never\n', 'VmRSS:\t1 kB\nTHP_enabled:\t0\nThreads:\t1\n'));
  assert.ok(!grantsHugePages(() => undefined));
});

test('threads follow cores and quota', { skip }, () => {
  const cores = [0, 1, 2, 3];
  assert.equal(usableThreads({ cores }), 4);
  assert.equal(usableThreads({ cores, quota: 2.9 }), 2);
  assert.equal(usableThreads({ cores, quota: 0.3 }), 1);
  assert.equal(usableThreads({ cores, quota: 8 }), 4);
  const limits = system().limits();
  assert.ok(limits.cores.length >= 1);
  assert.equal(limits.cores.length, new Set(limits.cores).size);
  const enabled = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8');
  assert.equal(limits.hugePages, !enabled.includes('[never]'));
});
