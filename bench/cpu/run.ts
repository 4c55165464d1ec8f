/**
 * `npm run bench -- cpu`: every row of the comparison with llama.cpp and onnxruntime-node, one after the other, with models that it makes and deletes.
 * The table goes to standard output, and between the marks in docs/results.md where it is whole.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { throwIfAborted } from '../../src/base/errors.ts';
import { packedBytes, packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import { measureMachine } from '../../src/devices/cpu/measure.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { usableTargets } from '../../src/devices/cpu/target.ts';
import { processorName } from '../../src/devices/open-node.ts';
import { openForRunning } from '../../src/engine/open-model-node.ts';
import { createFile } from '../../src/formats/atomic-write-node.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { onnxLlama1b, writeOnnxModel } from '../onnx-model.ts';
import { drawnShape, randomModelOf, shapes } from '../random-model.ts';
import { type Comparison, compareSpeed, compareStart, type Place } from './compare.ts';
import { findPeer, hasOnnx, installPeers, llamaPackage, onnxPackage } from './peer.ts';
import { type ModelFile, type Row, rows, type SpeedRow } from './rows.ts';
import { type FileFacts, heading, type Machine, tableLine } from './table.ts';

export interface CpuBenchOptions {
  readonly peer?: string;
  readonly installPeers?: boolean;
  readonly threads?: number;
  readonly rounds: number;
  readonly seed?: number;
  /** Rows that have all of these words; the table is not written then. */
  readonly only: readonly string[];
}

interface Outcome {
  readonly row: Row;
  readonly compared: Comparison | string;
  readonly facts: FileFacts;
}

/** @throws IngotError 'Aborted', and Error where there is no llama.cpp, or no room for a model. */
export async function benchCpu(options: CpuBenchOptions, signal: AbortSignal): Promise<void> {
  const begin = performance.now();
  const found = findSystem();
  if (!found.usable) throw new Error(found.reason);
  const { system } = found;
  const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
  try {
    const peers = options.installPeers ? installPeers(folder) : (options.peer ?? process.env.INGOT_LLAMA_CPP ?? '');
    const llama = findPeer(peers);
    const threads = options.threads ?? availableParallelism();
    const shape = drawnShape(options.seed ?? Math.floor(Math.random() * 1e6));
    const wanted = rows.filter((row) => {
      const words = `${row.work} ${row.model.shape} ${row.model.type} ${row.kind === 'speed' ? row.kv : ''}`;
      return options.only.every((word) => words.includes(word));
    });
    let machine = await measured(system);
    const outcomes: Outcome[] = [];
    for (const group of grouped(wanted, ({ model }) => `${model.shape} ${model.type}`)) {
      const path = join(folder, 'model.gguf');
      await makeModel(path, group[0].model, shape, signal);
      const facts = await factsOf(path);
      machine = better(machine, await measured(system));
      for (const part of partsOf(group)) {
        throwIfAborted(signal);
        say(part.map((row) => `${row.work}, ${row.model.shape} ${row.model.type}`).join('; '));
        const place = {
          path,
          llama,
          onnx: { folder: peers, path: `${path}.onnx` },
          threads,
          rounds: options.rounds,
          signal,
        };
        for (const [row, compared] of await compareAll(part, place, system)) {
          outcomes.push({ row, compared, facts });
          say(`  ${tableLine(row, compared, machine, facts)}`);
        }
      }
      rmSync(path);
    }
    const minutes = (performance.now() - begin) / 60000;
    const text = [
      `${processorName()}, ${threads} threads; llama.cpp as ${llamaPackage.replace('@', ' ')} brings it, the faster of flash attention on and off, keys and`,
      `values in F16. Medians of ${options.rounds} turns, the best behind them; tokens a second. The floor: ${(machine.bytes / 1e9).toFixed(1)} GB/s read, ${(machine.operations / 1e9).toFixed(0)} GOP/s of integers,`,
      `measured in the same run. Drawn: ${shape.name}. It took ${minutes.toFixed(0)} minutes.`,
      '',
      ...heading,
      ...outcomes.map(({ row, compared, facts }) => tableLine(row, compared, machine, facts)),
    ].join('\n');
    console.log(text);
    if (options.only.length === 0) writeTable(text);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function say(text: string): void {
  console.error(text);
}

async function measured(system: OperatingSystem): Promise<Machine> {
  const { figures } = await measureMachine(system);
  const best = (of: string) => Math.max(...figures.filter((figure) => figure.of === of).map(({ all }) => all));
  return { bytes: best('read'), operations: best('i8') };
}

/** What else the machine does can only slow it. */
function better(one: Machine, other: Machine): Machine {
  return { bytes: Math.max(one.bytes, other.bytes), operations: Math.max(one.operations, other.operations) };
}

function grouped<T>(all: readonly T[], keyOf: (one: T) => string): readonly (readonly T[])[] {
  const groups = new Map<string, T[]>();
  for (const one of all) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one]);
  return [...groups.values()];
}

/** Rows of a model that are measured together: the same work in several settings, and the memory that prompts take. */
function partsOf(rows: readonly Row[]): readonly (readonly Row[])[] {
  return grouped(rows, (row) => {
    switch (row.kind) {
      case 'start':
        return 'start';
      case 'memory':
        return 'llama.cpp prompt';
      case 'speed':
        return `${row.peer} ${row.test.kind === 'prefill' ? 'prompt' : row.work}${row.set ?? ''}`;
      default:
        return row satisfies never;
    }
  });
}

async function compareAll(
  part: readonly Row[],
  place: Place,
  system: OperatingSystem,
): Promise<readonly (readonly [Row, Comparison | string])[]> {
  const speeds = part.filter((row) => row.kind === 'speed');
  const why = speeds.map((row) => unmeasurable(row, place, system)).find((reason) => reason !== undefined);
  if (why !== undefined) return part.map((row) => [row, why]);
  if (speeds.some(({ peer }) => peer === 'onnxruntime-node') && !existsSync(place.onnx.path)) {
    writeOnnxModel(place.onnx.path, onnxLlama1b);
  }
  const compared = speeds.length > 0 ? await compareSpeed(speeds, place) : [await compareStart(place)];
  // Of a prompt in two numerics, the last is the exact one.
  return part.map((row) => [row, compared[row.kind === 'speed' ? speeds.indexOf(row) : compared.length - 1]]);
}

/** @throws Error where the disk has no room for it. */
async function makeModel(
  path: string,
  { shape, type }: ModelFile,
  drawn: ReturnType<typeof drawnShape>,
  signal: AbortSignal,
): Promise<void> {
  const layout = layoutGguf(randomModelOf(shape === 'drawn' ? drawn : { name: shape, ...shapes[shape] }, type, 1));
  const { bavail, bsize } = statfsSync(dirname(path));
  if (bavail * bsize < 1.1 * layout.length) throw new Error(`${dirname(path)} has no room for ${layout.length} bytes`);
  await using file = await createFile(path, { length: layout.length, overwrite: existsSync(path) });
  await layout.writeTo(file, signal);
  await file.commit();
}

async function factsOf(path: string): Promise<FileFacts> {
  await using opened = await openForRunning(path);
  const { weights } = opened.model;
  const head = weights.get('output.weight') ?? weights.get('token_embd.weight');
  const matrices = [...weights.values()].filter(({ shape }) => shape.length > 1);
  return {
    head: head?.format ?? '',
    packedBytes: matrices.reduce((sum, { format, shape }) => sum + packedBytes(packedFormat(format), shape), 0),
  };
}

function unmeasurable({ set, peer }: SpeedRow, { onnx }: Place, system: OperatingSystem): string | undefined {
  if (peer === 'onnxruntime-node' && !hasOnnx(onnx.folder)) return `${onnxPackage} is not installed beside llama.cpp`;
  if (set === undefined) return undefined;
  const usable = usableTargets(system.cpuFeatures());
  return usable.some(({ name }) => name === set) ? undefined : `the processor lacks ${set}`;
}

const [from, to] = ['<!-- npm run bench -- cpu -->', '<!-- end -->'];

function writeTable(text: string): void {
  const path = new URL('../../../docs/results.md', import.meta.url);
  const before = readFileSync(path, 'utf8');
  const [start, end] = [before.indexOf(from), before.indexOf(to)];
  if (start < 0 || end < start) throw new Error(`docs/results.md lacks ${from} and ${to}`);
  writeFileSync(path, `${before.slice(0, start + from.length)}\n${text}\n${before.slice(end)}`);
}
