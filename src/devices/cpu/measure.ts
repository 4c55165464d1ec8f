/**
 * What this machine's memory and arithmetic can do, measured with the kernels of limit-kernels.ts by one thread and by as many as
 * a team has. The best of several rounds, and of several ways to read, counts: what else the machine does can only slow them.
 */
import { freemem } from 'node:os';
import { throwIfAborted } from '../../base/errors.ts';
import type { ElementType } from '../../numerics/element-types.ts';
import { type ArithmeticKernel, arithmeticKernels, copyKernel, type Reading, readKernel } from './limit-kernels.ts';
import { loopCode } from './machine-code.ts';
import type { Architecture, MappedCode, Memory, OperatingSystem } from './os/os.ts';
import { usableThreads } from './os/os.ts';
import { createTeam, type Launch, type LaunchList, type Team } from './team.ts';

/** A rate a second, of one thread and of all. */
export interface Figure {
  readonly name: string;
  /** Bytes read; bytes read and written; or operations on numbers of a type. */
  readonly of: 'read' | 'copy' | ElementType;
  readonly one: number;
  readonly all: number;
}

export interface Measured {
  readonly threads: number;
  readonly figures: readonly Figure[];
}

/** Larger than any cache, and a small part of what is free. */
const mostBytes = 512 << 20;
const roundMilliseconds = 15;
const bandwidthMilliseconds = 1200;
const arithmeticMilliseconds = 150;

const readings = ([1, 2, 4] as const).flatMap((streams): readonly Reading[] => [
  { streams, prefetch: 'none', prefetchBytes: 0 },
  { streams, prefetch: 'prefetcht0', prefetchBytes: 2048 },
  { streams, prefetch: 'prefetchnta', prefetchBytes: 4096 },
]);

/** What is measured of arithmetic: what the processor has, in the widest registers. */
function* arithmetic(
  architecture: Architecture,
  features: ReadonlySet<string>,
): Generator<[string, ElementType, ArithmeticKernel]> {
  if (architecture === 'arm64') {
    yield ['f32 multiply, then add', 'f32', arithmeticKernels.multiplyAdd(256)];
    yield ['f32 fused multiply-add', 'f32', arithmeticKernels.fused(256)];
    if (features.has('asimddp')) yield ['i8 SDOT', 'i8', arithmeticKernels.dpbssd(256)];
    else yield ['i8 widening multiply', 'i8', arithmeticKernels.maddubs(256)];
    return;
  }
  const bits = features.has('avx512bw') ? 512 : 256;
  yield ['f32 multiply, then add', 'f32', arithmeticKernels.multiplyAdd(bits)];
  if (features.has('fma')) yield ['f32 fused multiply-add', 'f32', arithmeticKernels.fused(bits)];
  yield ['i8 VPMADDUBSW', 'i8', arithmeticKernels.maddubs(bits)];
  if (features.has('avx512_vnni')) yield ['i8 VPDPBUSD', 'i8', arithmeticKernels.dpbusd(bits)];
  else if (features.has('avx_vnni')) yield ['i8 VPDPBUSD', 'i8', arithmeticKernels.vexDpbusd()];
  if (features.has('amx_int8')) yield ['i8 tiles', 'i8', arithmeticKernels.tilesI8()];
  if (features.has('amx_bf16')) yield ['bf16 tiles', 'bf16', arithmeticKernels.tilesBf16()];
}

/**
 * Takes a few seconds; `onFigure` sees each figure as it comes.
 * @throws IngotError 'Aborted', 'OutOfMemory'.
 */
export async function measureMachine(
  system: OperatingSystem,
  onFigure: (figure: Figure) => void = () => {},
  signal?: AbortSignal,
): Promise<Measured> {
  const { architecture } = system;
  const { names } = system.cpuFeatures();
  const tiles = names.has('amx_tile') && system.requestTiles();
  const features = new Set([...names].filter((name) => tiles || !name.startsWith('amx')));
  const threads = usableThreads(system.limits());
  using one = createTeam(system, { threads: 1 });
  using all = createTeam(system, { threads });
  const figures: Figure[] = [];
  const add = async (name: string, of: Figure['of'], rate: (team: Team) => number) => {
    // Lets Ctrl-C through.
    await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(signal);
    const single = rate(one);
    const figure = { name, of, one: single, all: threads === 1 ? single : rate(all) };
    figures.push(figure);
    onFigure(figure);
  };

  {
    const bytes = Math.min(mostBytes, 2 ** Math.floor(Math.log2(freeBytes(system) / 4)));
    using memory = system.mapMemory(bytes, { huge: true, prefault: true });
    using copy = system.mapCode(loopCode(copyKernel(), architecture, features).bytes);
    const { address } = memory;
    const rate = (code: MappedCode, words: readonly number[], milliseconds: number) => (team: Team) => {
      using list = listOf(system, team, code, words);
      return bytes / best(team, list, milliseconds);
    };
    // Which way is the quickest differs from processor to processor.
    await add('read memory', 'read', (team) => {
      const rates = readings.map((reading) => {
        using code = system.mapCode(loopCode(readKernel(reading), architecture, features).bytes);
        return rate(code, [address, bytes], bandwidthMilliseconds / readings.length)(team);
      });
      return Math.max(...rates);
    });
    await add('copy memory', 'copy', rate(copy, [address, address + bytes / 2, bytes / 2], bandwidthMilliseconds));
  }
  for (const [name, of, { source, operations }] of arithmetic(architecture, features)) {
    using code = system.mapCode(loopCode(source, architecture, features).bytes);
    await add(name, of, (team) => {
      const seconds = (turns: number, milliseconds: number) => {
        using list = listOf(system, team, code, [turns]);
        return best(team, list, milliseconds);
      };
      let turns = 1000;
      while (seconds(turns, 0) < roundMilliseconds / 2000) turns *= 2;
      return (team.threads * turns * operations) / seconds(turns, arithmeticMilliseconds);
    });
  }
  return { threads, figures };
}

function freeBytes(system: OperatingSystem): number {
  const { memory } = system.limits();
  return Math.min(freemem(), memory === undefined ? Number.POSITIVE_INFINITY : memory.limit - memory.used);
}

/** One launch with its arguments, which live as long as the list. */
function listOf(system: OperatingSystem, team: Team, code: MappedCode, words: readonly number[]): LaunchList {
  using memory: Memory = system.mapMemory(8 * words.length);
  new BigUint64Array(memory.bytes().buffer).set(words.map(BigInt));
  const launch: Launch = { kind: 'kernel', code, offset: 0, argument: { memory, offset: 0 } };
  return team.list([launch]);
}

/** Seconds of the quickest run of a list, within so many milliseconds; at least once. */
function best(team: Team, list: LaunchList, milliseconds: number): number {
  const end = performance.now() + milliseconds;
  let least = Number.POSITIVE_INFINITY;
  do {
    const start = performance.now();
    team.wait(team.submit(list), Number.POSITIVE_INFINITY);
    least = Math.min(least, (performance.now() - start) / 1000);
  } while (performance.now() < end);
  return least;
}
