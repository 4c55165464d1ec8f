/**
 * The products of the CPU device against the machine's limits, measured in the same run: `node dist/bench/products.js`, for
 * every instruction set that the processor has, or for those cases that have all words of the command line: `q4_0 i8 amx`.
 * Decode is one token through weights larger than the caches, in packed bytes a second beside what a loop that only reads them
 * gets; prefill is 128 tokens or as many as the command line says, in operations a second; packing is in bytes of the file.
 * Each figure is the best of several rounds.
 */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { activationsKernel, activationsOf } from '../src/devices/cpu/kernels/activations.ts';
import { writeD } from '../src/devices/cpu/kernels/blocks.ts';
import { isIntegerFormat, levels } from '../src/devices/cpu/kernels/levels.ts';
import { packRowsKernel } from '../src/devices/cpu/kernels/pack-rows.ts';
import { packedBytes, packedFormat, panelRows } from '../src/devices/cpu/kernels/packing.ts';
import { quantizedDotKernel } from '../src/devices/cpu/kernels/quantized-dot.ts';
import { readKernel } from '../src/devices/cpu/limit-kernels.ts';
import type { MappedCode } from '../src/devices/cpu/os/os.ts';
import { usableTargets } from '../src/devices/cpu/target.ts';
import { createTeam, type Launch, type Team } from '../src/devices/cpu/team.ts';
import type { DotNumerics } from '../src/numerics/dot.ts';
import { blockFormat } from '../src/numerics/quant/formats.ts';
import { system } from './system.ts';

const [N, K] = [8192, 2048];
const words = process.argv.slice(2);
const prefillTokens = Number(words.find((word) => /^\d+$/.test(word)) ?? 128);
const only = words.filter((word) => !/^\d+$/.test(word));
const weightBytes = 256 * 2 ** 20;
const roundsMilliseconds = 700;

const integers = Object.keys(levels);
const cases: readonly (readonly [string, DotNumerics])[] = [
  ...integers.map((format) => [format, 'i8'] as const),
  ['f16', 'f32'],
  ['bf16', 'f32'],
  ['f32', 'f32'],
  ['q8_0', 'f32'],
  ...integers.map((format) => [format, 'bf16'] as const),
  ['bf16', 'bf16'],
];

/** Blocks of arguments in one memory, and launches of a kernel with each of them. */
function launches(code: MappedCode, blocks: readonly (readonly number[])[]): Launch[] {
  const stride = 64;
  const memory = system.mapMemory(stride * blocks.length);
  const longs = new BigUint64Array(memory.bytes().buffer);
  return blocks.map((words, i) => {
    longs.set(words.map(BigInt), (i * stride) / 8);
    return { kind: 'kernel', code, offset: 0, argument: { memory, offset: i * stride } };
  });
}

/** Seconds of the best round of each list; rounds alternate, so that all see the same neighbours. */
function best(team: Team, all: readonly (readonly Launch[])[]): number[] {
  const lists = all.map((one) => team.list(one));
  const least = lists.map(() => Number.POSITIVE_INFINITY);
  const end = performance.now() + all.length * roundsMilliseconds;
  do {
    for (const [i, list] of lists.entries()) {
      const start = performance.now();
      team.wait(team.submit(list), start + 60_000);
      least[i] = Math.min(least[i] as number, (performance.now() - start) / 1000);
    }
  } while (performance.now() < end);
  for (const list of lists) list[Symbol.dispose]();
  return least;
}

/** Rows of random blocks, as a file has them: those of a panel, repeated. */
function fillRows(format: string, rows: Uint8Array): void {
  const { blockSize, blockBytes } = blockFormat(format);
  const panel = rows.subarray(0, ((panelRows * K) / blockSize) * blockBytes);
  for (let at = 0; at < panel.length; at += blockBytes) {
    const block = panel.subarray(at, at + blockBytes);
    for (let i = 0; i < blockBytes; i++) block[i] = Math.random() * 256;
    if (isIntegerFormat(format)) writeD(format, block, -6);
  }
  for (let at = panel.length; at < rows.length; at += panel.length) rows.set(panel, at);
}

console.log(
  `${system.cpuFeatures().model.trim()}, ${availableParallelism()} of ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}`,
);
console.log(`weights [${N}, ${K}], ${weightBytes / 2 ** 20} MiB or less; decode 1 token, prefill ${prefillTokens}`);
console.log('format  numerics set    threads   read GB/s   decode GB/s   share   prefill GFLOP/s   pack GB/s');

using memory = system.mapMemory(weightBytes + 4096, { huge: true, prefault: true });
using x = system.mapMemory(4 * prefillTokens * K);
using prepared = system.mapMemory(8 * prefillTokens * K);
using y = system.mapMemory(4 * prefillTokens * N);
new Float32Array(x.bytes().buffer).forEach((_, i, all) => {
  all[i] = Math.random() - 0.5;
});
const weights = memory.bytes();
const usable = usableTargets(system.cpuFeatures()).filter(({ name }) => name !== 'amx' || system.requestTiles());

for (const [name, numerics, target] of cases.flatMap(([name, numerics]) =>
  usable.map((target) => [name, numerics, target] as const),
)) {
  if (!only.every((word) => [name, numerics, target.name].includes(word))) continue;
  const format = packedFormat(name);
  const bytes = packedBytes(format, [N, K]);
  const layers = Math.floor(weightBytes / bytes);
  const { blockSize, blockBytes } = blockFormat(name);
  using rows = system.mapMemory(((N * K) / blockSize) * blockBytes);
  fillRows(name, rows.bytes());
  using pack = system.mapCode(packRowsKernel(format, K).bytes);
  const tokens = { sym: 'T', max: prefillTokens } as const;
  const dot = quantizedDotKernel({ format: name, numerics, tokens, N, K, bias: false }, target);
  using code = system.mapCode(dot.bytes);
  using read = system.mapCode(readKernel().assemble().bytes);
  const activations = activationsOf(format, numerics, target);
  const input = activations.kind === 'plain' ? x : prepared;
  if (activations.kind !== 'plain') {
    using prepare = system.mapCode(activationsKernel(activations, prefillTokens, K).bytes);
    using team = createTeam(system, { threads: 1 });
    using list = team.list(launches(prepare, [[x.address, prepared.address]]));
    team.wait(team.submit(list), performance.now() + 60_000);
  }
  for (const threads of new Set([1, Math.min(2, availableParallelism())])) {
    using team = createTeam(system, { threads });
    const [packSeconds] = best(team, [launches(pack, [[rows.address, memory.address, N]])]) as [number];
    for (let layer = 1; layer < layers; layer++) weights.copyWithin(layer * bytes, 0, bytes);
    const dots = (tokens: number, count: number) =>
      launches(
        code,
        Array.from({ length: count }, (_, layer) => [input.address, memory.address + layer * bytes, y.address, tokens]),
      );
    const [readSeconds, decodeSeconds] = best(team, [
      launches(read, [[memory.address, layers * bytes]]),
      dots(1, layers),
    ]) as [number, number];
    const [prefillSeconds] = best(team, [dots(prefillTokens, 1)]) as [number];
    const rate = (seconds: number) => (layers * bytes) / seconds / 1e9;
    console.log(
      [
        name.padEnd(7),
        numerics.padEnd(8),
        target.name.padEnd(7),
        String(threads).padStart(7),
        rate(readSeconds).toFixed(1).padStart(11),
        rate(decodeSeconds).toFixed(1).padStart(13),
        `${((100 * readSeconds) / decodeSeconds).toFixed(0)}%`.padStart(7),
        ((2 * prefillTokens * N * K) / prefillSeconds / 1e9).toFixed(0).padStart(17),
        (rows.length / packSeconds / 1e9).toFixed(1).padStart(12),
      ].join(' '),
    );
  }
}
