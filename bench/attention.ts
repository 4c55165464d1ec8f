/**
 * `paged_attention` on the CPU device against the machine's limits: `node dist/bench/attention.js [--latent] [--inlined]`. Decode is one token
 * of the 1B shape (`--latent`: of DeepSeek-V2-Lite where it keeps vectors) through the pools of 16 layers, in bytes of keys and values a
 * second beside what a loop that only reads gets in the same run; prefill is a prompt, in operations a second that causality leaves. Numerics take
 * turns: f32, i16 where keys and values are coded, and in prefill bf16. Each figure is the best of several runs.
 */
import { inlineComposites } from '../src/compiler/inline.ts';
import { type AttentionNumerics, pagedAttention } from '../src/composites/paged_attention.ts';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import { readKernel } from '../src/devices/cpu/limit-kernels.ts';
import { createTeam } from '../src/devices/cpu/team.ts';
import type { Device } from '../src/devices/device.ts';
import { ProgramBuilder } from '../src/ir/build.ts';
import type { Parameter, Value } from '../src/ir/program.ts';
import { tensor } from '../src/ir/types.ts';
import { encodeElements } from '../src/numerics/host-array.ts';
import { encodeKv, isCoded, type KvFormat, kvFormats, kvRow } from '../src/numerics/kv-format.ts';
import { system } from './system.ts';

const latent = process.argv.includes('--latent');
const [heads, kvHeads, keyDim, valueDim] = latent ? ([16, 1, 576, 512] as const) : ([32, 8, 64, 64] as const);
const [blockSize, layers] = [16, 16];
const [decodeDepth, prefillTokens] = [4096, 256];
/** Sequences that begin alike. */
const [sharers, sharedDepth] = [16, 2048];
const inlined = process.argv.includes('--inlined');
const milliseconds = 1500;

interface Load {
  readonly tokens: number;
  readonly context: number;
  readonly count: number;
  /** So many, of the same context and with the same blocks, have the tokens. */
  readonly sequences?: number;
  readonly numerics?: AttentionNumerics;
}

/** A program of `count` attentions, each over pools of its own, whose results feed each other. */
async function prepare(device: Device, pool: KvFormat, { tokens, context, count, sequences = 1, numerics }: Load) {
  const columns = context / blockSize;
  const each = tokens / sequences;
  const inputs: Parameter[] = [
    { name: 'q', type: tensor('f32', [tokens, heads, keyDim]), role: 'input' },
    { name: 'positions', type: tensor('i32', [tokens]), role: 'input' },
    { name: 'sequence', type: tensor('i32', [tokens]), role: 'input' },
    { name: 'ctxLen', type: tensor('i32', [sequences]), role: 'input' },
    { name: 'blockTable', type: tensor('i32', [sequences, columns]), role: 'input' },
  ];
  const dims = [keyDim, valueDim];
  const pools = Array.from({ length: 2 * count }, (_, i): Parameter => {
    const { element, length } = kvRow(pool, dims[i % 2] as number);
    return { name: `pool.${i}`, type: tensor(element, [context, kvHeads, length]), role: 'state' };
  });
  const built = new ProgramBuilder().program([...inputs, ...pools], (b, values) => {
    let q: Value = values.q;
    for (let layer = 0; layer < count; layer++) {
      const { positions, sequence, ctxLen, blockTable } = values;
      const [kPool, vPool] = [values[`pool.${2 * layer}`], values[`pool.${2 * layer + 1}`]];
      const operands = { q, kPool, vPool, positions, sequence, ctxLen, blockTable };
      const coded = isCoded(pool) ? pool : undefined;
      const y = pagedAttention(b, operands, { scale: 1 / Math.sqrt(keyDim), blockSize, kv: coded, numerics });
      q = keyDim === valueDim ? y : b.concatenate([y, b.slice(q, 2, valueDim, keyDim)], 2);
    }
    return { y: q };
  });
  const program = inlined ? inlineComposites(built, () => false) : built;
  const executable = await device.compile(program);
  const state = new Map();
  const values = dims.map((dim) => poolBytes(pool, context * kvHeads, dim));
  for (const [i, { name, type }] of pools.entries()) {
    const buffer = await device.allocate(type, 'state');
    device.write(buffer, values[i % 2] as Uint8Array);
    state.set(name, buffer);
  }
  const bound = await device.bind(executable, new Map(), state);
  const random = (length: number) => Float32Array.from({ length }, () => 4 * (Math.random() - 0.5));
  const given = new Map<string, ArrayBufferView>([
    ['q', random(tokens * heads * keyDim)],
    ['positions', Int32Array.from({ length: tokens }, (_, i) => context - each + (i % each))],
    ['sequence', Int32Array.from({ length: tokens }, (_, i) => Math.floor(i / each))],
    ['ctxLen', new Int32Array(sequences).fill(context)],
    ['blockTable', Int32Array.from({ length: sequences * columns }, (_, i) => ((i % columns) * 5 + 3) % columns)],
  ]);
  return {
    bytes: values.reduce((sum, { length }) => sum + count * length, 0),
    run: async () => {
      const start = performance.now();
      await device.wait(device.submit(bound, given, {}), Number.POSITIVE_INFINITY);
      return (performance.now() - start) / 1000;
    },
    [Symbol.dispose]() {
      bound[Symbol.dispose]();
      for (const buffer of state.values()) buffer[Symbol.dispose]();
    },
  };
}

function poolBytes(pool: KvFormat, rows: number, dim: number): Uint8Array {
  const random = (length: number) => Float32Array.from({ length }, () => Math.random() + Math.random() - 1);
  if (!isCoded(pool)) return encodeElements(pool, random(rows * dim));
  return new Uint8Array(Buffer.concat(Array.from({ length: rows }, () => encodeKv(pool, random(dim)))));
}

/** Reads memory of its own that is larger than the caches, with as many threads. */
function prepareRead(threads: number) {
  const bytes = 128 * 2 ** 20;
  const memory = system.mapMemory(bytes, { huge: true, prefault: true });
  const argument = system.mapMemory(64);
  new BigUint64Array(argument.bytes().buffer, argument.bytes().byteOffset, 2).set([
    BigInt(memory.address),
    BigInt(bytes),
  ]);
  const code = system.mapCode(readKernel().assemble().bytes);
  const team = createTeam(system, { threads });
  const list = team.list([{ kind: 'kernel', code, offset: 0, argument: { memory: argument, offset: 0 } }]);
  return {
    bytes,
    run: async () => {
      const start = performance.now();
      team.wait(team.submit(list), Number.POSITIVE_INFINITY);
      return (performance.now() - start) / 1000;
    },
    [Symbol.dispose]() {
      list[Symbol.dispose]();
      team[Symbol.dispose]();
      for (const one of [code, argument, memory]) one[Symbol.dispose]();
    },
  };
}

/** Seconds of the best run of each; they alternate, so that all see the same neighbours. */
async function best(...runs: readonly (() => Promise<number>)[]): Promise<number[]> {
  const least = runs.map(() => Number.POSITIVE_INFINITY);
  const end = performance.now() + milliseconds;
  do for (const [i, run] of runs.entries()) least[i] = Math.min(least[i] as number, await run());
  while (performance.now() < end);
  return least;
}

await using device = createCpuDevice(system);
console.log(`${device.hardware.name.trim()}, ${device.hardware.threads} threads${inlined ? ', inlined' : ''}`);
const only = process.argv.slice(2).filter((word) => !word.startsWith('-'));
for (const pool of kvFormats) {
  if (only.length > 0 && !only.includes(pool)) continue;
  const exact: readonly (AttentionNumerics | undefined)[] = isCoded(pool) ? [undefined, 'i16'] : [undefined];
  const nameOf = (numerics: AttentionNumerics | undefined) => `${pool.padEnd(5)} ${numerics ?? 'f32'}`;
  /** The best of each numerics, in turn, and of a read where that is asked for. */
  const measure = async (load: Load, all: typeof exact, read?: () => Promise<number>) => {
    const prepared = await Promise.all(all.map((numerics) => prepare(device, pool, { ...load, numerics })));
    const times = await best(...prepared.map(({ run }) => run), ...(read === undefined ? [] : [read]));
    for (const one of prepared) one[Symbol.dispose]();
    return { bytes: prepared[0]?.bytes ?? 0, times };
  };
  {
    using read = prepareRead(device.hardware.threads);
    const load = { tokens: 1, context: decodeDepth, count: layers };
    const { bytes, times } = await measure(load, exact, read.run);
    const rate = (bytes: number, time = 0) => `${(bytes / time / 1e9).toFixed(1)} GB/s`;
    for (const [i, numerics] of exact.entries()) {
      const seconds = times[i] ?? 0;
      console.log(
        `${nameOf(numerics)} decode at ${decodeDepth}, ${layers} layers: ${(1000 * seconds).toFixed(2)} ms, ${rate(bytes, seconds)}; read ${rate(read.bytes, times.at(-1))}`,
      );
    }
  }
  const shared = await measure({ tokens: sharers, sequences: sharers, context: sharedDepth, count: layers }, exact);
  for (const [i, numerics] of exact.entries()) {
    console.log(
      `${nameOf(numerics)} decode of ${sharers} that share ${sharedDepth}, ${layers} layers: ${(1000 * (shared.times[i] ?? 0)).toFixed(1)} ms`,
    );
  }
  const all = [...exact, 'bf16' as const];
  const prefill = await measure({ tokens: prefillTokens, context: prefillTokens, count: 1 }, all);
  const flops = prefillTokens * (prefillTokens + 1) * heads * (keyDim + valueDim);
  for (const [i, numerics] of all.entries()) {
    const seconds = prefill.times[i] ?? 0;
    console.log(
      `${nameOf(numerics)} prefill of ${prefillTokens}, one layer: ${(1000 * seconds).toFixed(2)} ms, ${(flops / seconds / 1e9).toFixed(1)} GFLOP/s`,
    );
  }
}
