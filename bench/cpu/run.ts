/**
 * `npm run bench -- cpu`: every row of the comparison with llama.cpp, one after the other, with models that it makes and deletes.
 * The table goes to standard output, and between the marks in docs/results.md where it is whole.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { packedBytes, packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import { measureMachine } from '../../src/devices/cpu/measure.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { usableTargets } from '../../src/devices/cpu/target.ts';
import { processorName } from '../../src/devices/open-node.ts';
import { openForRunning } from '../../src/engine/open-model-node.ts';
import { createFile } from '../../src/formats/atomic-write-node.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { drawnShape, randomModelOf, shapes } from '../random-model.ts';
import { type Comparison, compare } from './compare.ts';
import { findPeer, installPeer, peerPackage } from './peer.ts';
import { type ModelFile, type Row, rows } from './rows.ts';
import { type FileFacts, heading, type Machine, tableLine } from './table.ts';

export interface CpuBenchOptions {
  readonly peer?: string;
  readonly installPeer?: boolean;
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

export async function benchCpu(options: CpuBenchOptions): Promise<void> {
  const begin = performance.now();
  const found = findSystem();
  if (!found.usable) throw new Error(found.reason);
  const { system } = found;
  const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
  try {
    const peer = options.installPeer
      ? installPeer(folder)
      : findPeer(options.peer ?? process.env.INGOT_LLAMA_CPP ?? '');
    const threads = options.threads ?? availableParallelism();
    const shape = drawnShape(options.seed ?? Math.floor(Math.random() * 1e6));
    const wanted = rows.filter((row) => {
      const words = `${row.work} ${row.model.shape} ${row.model.type} ${row.kind === 'speed' ? row.kv : ''}`;
      return options.only.every((word) => words.includes(word));
    });
    const before = await measured(system);
    const outcomes: Outcome[] = [];
    for (const group of groupedByModel(wanted)) {
      const path = join(folder, 'model.gguf');
      await makeModel(path, group[0].model, shape);
      const facts = await factsOf(path);
      for (const row of group) {
        const why = unmeasurable(row, system);
        say(`${row.work}, ${row.model.shape} ${row.model.type}${why === undefined ? '' : `: ${why}`}`);
        const compared = why ?? (await compare(row, { path, peer, threads, rounds: options.rounds }));
        outcomes.push({ row, compared, facts });
        say(`  ${tableLine(row, compared, before, facts)}`);
      }
      rmSync(path);
    }
    const after = await measured(system);
    const machine = {
      bytes: Math.max(before.bytes, after.bytes),
      operations: Math.max(before.operations, after.operations),
    };
    const minutes = (performance.now() - begin) / 60000;
    const text = [
      `${processorName()}, ${threads} threads; llama.cpp as ${peerPackage.replace('@', ' ')} brings it, the faster of flash attention on and off, keys and`,
      `values in F16. Medians of ${options.rounds} turns, the best behind them; tokens a second. The floor: ${(machine.bytes / 1e9).toFixed(1)} GB/s read, ${(machine.operations / 1e9).toFixed(0)} GOP/s of integers,`,
      `measured in the same run. Drawn: ${shape.name}. It took ${minutes.toFixed(0)} minutes.`,
      '',
      ...heading,
      ...outcomes.map(({ row, compared, facts }) => tableLine(row, compared, machine, facts)),
      '',
      'transformers.js and onnxruntime-node were not measured: they want ONNX files, which nothing here makes.',
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

function groupedByModel(all: readonly Row[]): readonly (readonly Row[])[] {
  const groups = new Map<string, Row[]>();
  for (const row of all) {
    const key = `${row.model.shape} ${row.model.type}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()];
}

/** @throws Error where the disk has no room for it. */
async function makeModel(
  path: string,
  { shape, type }: ModelFile,
  drawn: ReturnType<typeof drawnShape>,
): Promise<void> {
  const layout = layoutGguf(randomModelOf(shape === 'drawn' ? drawn : { name: shape, ...shapes[shape] }, type, 1));
  const { bavail, bsize } = statfsSync(dirname(path));
  if (bavail * bsize < 1.1 * layout.length) throw new Error(`${dirname(path)} has no room for ${layout.length} bytes`);
  await using file = await createFile(path, { length: layout.length, overwrite: existsSync(path) });
  await layout.writeTo(file);
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

function unmeasurable(row: Row, system: OperatingSystem): string | undefined {
  if (row.kind !== 'speed' || row.set === undefined) return undefined;
  const { set } = row;
  const usable = usableTargets(system.cpuFeatures());
  if (usable.at(-1)?.name === set) return `the processor has no more than ${set}: the other rows are that`;
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
