/**
 * Machine code in an emulated processor, of a kind that has just the instructions of a target: the client of emulator.py, and for
 * arm64 of arm64-processor.ts.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type InstructionSet, targets } from '../../src/devices/cpu/target.ts';
import { startArm64 } from './arm64-processor.ts';
import type { Call, Machine, Place } from './machine.ts';

const python = process.env.INGOT_PYTHON ?? 'python3';
const PAGE = 4096;
/** Where the emulator's memory is free, and where it ends. */
const [FREE, SPACE] = [0x200000, 256 << 20];

let importable: boolean | undefined;

/** Why code cannot be emulated here. */
export function noEmulator(): string | false {
  importable ??= spawnSync(python, ['-c', 'import bochscpu'], { stdio: 'ignore' }).status === 0;
  return !importable && `${python} cannot import bochscpu: set INGOT_PYTHON to one that can`;
}

/** One child, asked and answering through two pipes with names, since Node can wait for those without returning to its event loop. */
function startEmulator(set: InstructionSet): { ask(header: object, data: readonly Uint8Array[]): Answer } {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-emulator-'));
  try {
    const [requests, answers] = [join(folder, 'requests'), join(folder, 'answers')];
    spawnSync('mkfifo', [requests, answers]);
    const script = fileURLToPath(new URL('../../../test/unit/emulator.py', import.meta.url));
    const words = ['-c', 'exec "$0" "$1" "$2" < "$3" > "$4"', python, script, set, requests, answers];
    spawn('sh', words, { stdio: ['ignore', 'ignore', 'inherit'] }).unref();
    const [to, from] = [openSync(requests, 'w'), openSync(answers, 'r')];
    return { ask: (header, data) => ask(to, from, header, data) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Answer {
  readonly fault: string | null;
  /** The next bytes of the answer's data, into `bytes`. */
  take(bytes: Uint8Array): void;
}

function ask(to: number, from: number, header: object, data: readonly Uint8Array[]): Answer {
  const send = (bytes: Uint8Array) => {
    for (let sent = 0; sent < bytes.length; ) sent += writeSync(to, bytes, sent);
  };
  const take = (bytes: Uint8Array) => {
    for (let got = 0; got < bytes.length; ) {
      const more = readSync(from, bytes, got, bytes.length - got, null);
      if (more === 0) throw new Error('the emulator has ended: a request takes a minute at most');
      got += more;
    }
    return bytes;
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  send(new Uint8Array(new Uint32Array([text.length]).buffer));
  for (const bytes of [text, ...data]) send(bytes);
  const length = new DataView(take(new Uint8Array(4)).buffer).getUint32(0, true);
  const { fault } = JSON.parse(new TextDecoder().decode(take(new Uint8Array(length)))) as { fault: string | null };
  return { fault, take };
}

/** Memory of the emulator, whole pages, between calls. */
interface Region extends Place {
  readonly start: number;
  readonly pages: Uint8Array;
}

/** Calls code: the first region, then the data, which it may change. */
type Run = (calls: readonly Call[], regions: readonly Region[]) => void;

function runOf(set: InstructionSet): Run {
  if (targets[set].architecture === 'arm64') {
    const processor = startArm64(set);
    return (calls, regions) => processor.call(regions[0]?.start ?? 0, calls, regions);
  }
  const emulator = startEmulator(set);
  return (calls, regions) => {
    const entry = regions[0]?.start;
    const places = regions.map(({ start, pages }) => [start, pages.length, start !== entry]);
    const answer = emulator.ask(
      { entry, calls, regions: places },
      regions.map(({ pages }) => pages),
    );
    for (const { pages } of regions.slice(1)) answer.take(pages);
    if (answer.fault !== null) {
      const where = regions.slice(1).map(({ address, bytes }) => `0x${address.toString(16)}+${bytes.length}`);
      throw new Error(`${answer.fault}; memory at ${where.join(', ')}`);
    }
  };
}

export function emulatedMachine(set: InstructionSet): Machine {
  const run = runOf(set);
  let next = FREE;
  let living = 0;
  const map = (length: number): Region => {
    const pages = new Uint8Array(Math.max(1, Math.ceil(length / PAGE)) * PAGE);
    const start = next;
    next += pages.length + PAGE;
    if (next > SPACE) throw new Error('the emulator has 256 MiB');
    living++;
    const offset = pages.length - length;
    return {
      start,
      pages,
      address: start + offset,
      bytes: pages.subarray(offset),
      [Symbol.dispose]() {
        living--;
        if (living === 0) next = FREE;
      },
    };
  };
  return {
    target: targets[set],
    emulated: true,
    map,
    call(code, calls, places) {
      using program = map(Math.ceil(code.length / PAGE) * PAGE);
      program.pages.set(code);
      run(calls, [program, ...places.map((place) => place as Region)]);
    },
  };
}
