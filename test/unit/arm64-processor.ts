/**
 * Machine code for arm64 on an emulated processor: a little program of our own assembler that qemu-aarch64 runs. It reads
 * requests from one pipe, puts memory where they say with nothing around it, calls functions, and writes memory to another pipe. Of each
 * function it checks that it keeps the registers that AAPCS64 says.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Arm64Assembler } from '../../src/devices/cpu/asm/arm64/assembler.ts';
import { general, place, sp, v, x } from '../../src/devices/cpu/asm/arm64/operands.ts';
import type { InstructionSet } from '../../src/devices/cpu/target.ts';
import type { Call } from './machine.ts';

export interface Region {
  readonly start: number;
  readonly pages: Uint8Array;
}

const emulator = 'qemu-aarch64';
/** Processors that have a set and not the next one. */
const PROCESSORS: Partial<Record<InstructionSet, string>> = { neon: 'cortex-a72', dotprod: 'neoverse-n1', i8mm: 'max' };
const [IMAGE, TABLE] = [0x4000_0000, 0x10000];
const SYSTEM = { read: 63, write: 64, exit: 93, munmap: 215, mmap: 222 } as const;

let present: boolean | undefined;

/** Why code for arm64 cannot be run here. */
export function noArm64(): string | false {
  present ??= spawnSync(emulator, ['--version']).status === 0;
  return !present && `${emulator} is not installed: scripts/setup-tests.sh`;
}

/** The program behind the pipes: x19 what is left of a table, x20 where in it, x21 and x22 arguments of read and write. */
function server(): Uint8Array {
  const a = new Arm64Assembler();
  const call = (number: number) => {
    a.emit('movz', x(8), number);
    a.emit('svc', 0);
  };
  const load = (register: number, value: number) => {
    a.emit('movz', x(register), value & 0xffff);
    a.emit('movk', x(register), value >>> 16, { kind: 'shift', op: 'lsl', amount: 16 });
  };
  const [readAll, writeAll, fail, end] = [a.label(), a.label(), a.label(), a.label()];
  const table = IMAGE + TABLE;
  const again = a.here();
  load(21, table);
  a.emit('movz', x(22), 24);
  a.emit('bl', readAll);
  // Numbers of regions and calls; the function.
  load(20, table);
  a.emit('ldp', x(23), x(24), place(x(20)));
  a.emit('ldr', x(25), place(x(20), 16));
  a.emit('movz', x(1), 24);
  a.emit('madd', x(22), x(23), x(1), x(31));
  a.emit('add', x(22), x(22), x(24), { kind: 'shift', op: 'lsl', amount: 5 });
  a.emit('add', x(21), x(20), 24);
  a.emit('add', x(26), x(20), 24);
  a.emit('bl', readAll);

  const eachRegion = (body: (skip: ReturnType<typeof a.label>) => void) => {
    const [top, done, skip] = [a.label(), a.label(), a.label()];
    a.emit('add', x(20), x(26), 0);
    a.emit('orr', x(19), x(31), x(23));
    a.bind(top);
    a.emit('cbz', x(19), done);
    a.emit('ldp', x(21), x(22), place(x(20)));
    body(skip);
    a.bind(skip);
    a.emit('add', x(20), x(20), 24);
    a.emit('sub', x(19), x(19), 1);
    a.emit('b', top);
    a.bind(done);
  };
  eachRegion(() => {
    a.emit('orr', x(0), x(31), x(21));
    a.emit('orr', x(1), x(31), x(22));
    a.emit('movz', x(2), 7);
    a.emit('movz', x(3), 0x32);
    a.emit('movn', x(4), 0);
    a.emit('movz', x(5), 0);
    call(SYSTEM.mmap);
    a.emit('subs', x(31), x(0), x(21));
    a.emit('b.ne', fail);
    a.emit('bl', readAll);
  });

  // Calls, with all registers that are to be kept holding something.
  const [nextCall, called] = [a.label(), a.label()];
  a.emit('sub', sp, sp, 64);
  a.bind(nextCall);
  a.emit('cbz', x(24), called);
  a.emit('stp', x(20), x(23), place(sp));
  a.emit('stp', x(24), x(25), place(sp, 16));
  a.emit('str', x(26), place(sp, 32));
  a.emit('orr', x(16), x(31), x(25));
  a.emit('ldp', x(0), x(1), place(x(20)));
  a.emit('ldp', x(2), x(3), place(x(20), 16));
  const kept = Array.from({ length: 10 }, (_, i) => i);
  for (const i of kept) a.emit('movz', x(19 + i), 0x1110 + i);
  for (const i of kept.slice(0, 8)) a.emit('fmov', v(8 + i, 'd'), x(19 + i));
  a.emit('add', { ...x(29), sp: true }, sp, 0);
  a.emit('blr', x(16));
  const compare = (register: number, value: number) => {
    a.emit('movz', x(9), value);
    a.emit('subs', x(31), x(register), x(9));
    a.emit('b.ne', fail);
  };
  for (const i of kept) compare(19 + i, 0x1110 + i);
  for (const i of kept.slice(0, 8)) {
    a.emit('fmov', x(10), v(8 + i, 'd'));
    compare(10, 0x1110 + i);
  }
  a.emit('add', { ...x(10), sp: true }, sp, 0);
  a.emit('subs', x(31), x(10), x(29));
  a.emit('b.ne', fail);
  a.emit('ldp', x(20), x(23), place(sp));
  a.emit('ldp', x(24), x(25), place(sp, 16));
  a.emit('ldr', x(26), place(sp, 32));
  a.emit('add', x(20), x(20), 32);
  a.emit('sub', x(24), x(24), 1);
  a.emit('b', nextCall);
  a.bind(called);
  a.emit('add', sp, sp, 64);

  eachRegion((skip) => {
    a.emit('ldr', x(0), place(x(20), 16));
    a.emit('cbz', x(0), skip);
    a.emit('bl', writeAll);
  });
  eachRegion(() => {
    a.emit('orr', x(0), x(31), x(21));
    a.emit('orr', x(1), x(31), x(22));
    call(SYSTEM.munmap);
  });
  a.emit('b', again);

  for (const [label, number, file] of [
    [readAll, SYSTEM.read, 0],
    [writeAll, SYSTEM.write, 1],
  ] as const) {
    const [top, done] = [a.label(), a.label()];
    a.bind(label);
    a.bind(top);
    a.emit('cbz', x(22), done);
    a.emit('movz', x(0), file);
    a.emit('orr', x(1), x(31), x(21));
    a.emit('orr', x(2), x(31), x(22));
    call(number);
    a.emit('subs', x(31), x(0), 0);
    a.emit('b.le', end);
    a.emit('add', x(21), x(21), x(0));
    a.emit('sub', x(22), x(22), x(0));
    a.emit('b', top);
    a.bind(done);
    a.emit('ret');
  }
  a.bind(fail);
  a.emit('brk', 1);
  a.bind(end);
  a.emit('movz', general(0, 64), 0);
  call(SYSTEM.exit);
  return a.assemble().bytes;
}

/** A static program of one segment: ELF-64 (System V ABI, chapter 4 and 5), for EM_AARCH64. */
function program(code: Uint8Array): Uint8Array {
  const head = 120;
  const bytes = new Uint8Array(head + code.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 183, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(IMAGE + head), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 7, true);
  for (const at of [80, 88]) view.setBigUint64(at, BigInt(IMAGE), true);
  view.setBigUint64(96, BigInt(bytes.length), true);
  view.setBigUint64(104, BigInt(TABLE + 0x40000), true);
  view.setBigUint64(112, 4096n, true);
  bytes.set(code, head);
  return bytes;
}

export interface Arm64Processor {
  /** Calls the function at `entry`; what changed in `regions` beyond the first one, the code, is there afterwards. */
  call(entry: number, calls: readonly Call[], regions: readonly Region[]): void;
}

export function startArm64(set: InstructionSet): Arm64Processor {
  let pipes: readonly [to: number, from: number] | undefined;
  const start = () => {
    const folder = mkdtempSync(join(tmpdir(), 'ingot-arm64-'));
    const [image, requests, answers] = ['program', 'requests', 'answers'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(image, program(server()));
    chmodSync(image, 0o700);
    spawnSync('mkfifo', [requests, answers]);
    const words = [
      '-c',
      'exec "$0" -cpu "$1" "$2" < "$3" > "$4"',
      emulator,
      PROCESSORS[set] ?? 'max',
      image,
      requests,
      answers,
    ];
    spawn('sh', words, { stdio: ['ignore', 'ignore', 'inherit'] }).unref();
    const opened = [openSync(requests, 'w'), openSync(answers, 'r')] as const;
    // It has been read when it answers; the folder goes with this process.
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    return opened;
  };
  return {
    call(entry, calls, regions) {
      pipes ??= start();
      const [to, from] = pipes;
      const send = (bytes: Uint8Array) => {
        for (let sent = 0; sent < bytes.length; ) sent += writeSync(to, bytes, sent);
      };
      const words = [
        ...[regions.length, calls.length, entry],
        ...regions.flatMap(({ start, pages }, i) => [start, pages.length, i === 0 ? 0 : 1]),
        ...calls.flatMap(([args, index, count, taken = 0]) => [args, index, count, taken]),
      ];
      send(new Uint8Array(BigUint64Array.from(words, BigInt).buffer));
      for (const { pages } of regions) send(pages);
      for (const { pages } of regions.slice(1)) {
        for (let got = 0; got < pages.length; ) {
          const more = readSync(from, pages, got, pages.length - got, null);
          if (more === 0) {
            pipes = undefined;
            const where = regions.map(({ start, pages }) => `0x${start.toString(16)}+${pages.length}`);
            throw new Error(
              `the emulated processor has stopped: a fault, or a register not kept; memory at ${where.join(', ')}`,
            );
          }
          got += more;
        }
      }
    },
  };
}
