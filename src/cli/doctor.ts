/** `ingot doctor`: what this machine has, what Ingot will use of it, and why. */
import { existsSync } from 'node:fs';
import { availableParallelism, cpus, platform, release, totalmem } from 'node:os';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { IngotError } from '../base/errors.ts';
import { explainChoices } from '../devices/cpu/choices.ts';
import { chooseTarget } from '../devices/cpu/device.ts';
import { anyModel } from '../devices/cpu/matrix-shapes.ts';
import { type Measurements, recallMeasurements } from '../devices/cpu/measurements.ts';
import { findSystem } from '../devices/cpu/os/open.ts';
import { type OperatingSystem, usableThreads } from '../devices/cpu/os/os.ts';
import { type MachineCodeTrial, tryMachineCode } from '../devices/cpu/os/try-machine-code.ts';
import { describeVerdict, selfTest, type Verdict } from '../devices/cpu/self-test/self-test.ts';
import { whyNot } from '../devices/cpu/target.ts';
import { describeChanges, recallTunings } from '../devices/cpu/tunings.ts';
import { availableMemory, chosenDevice, deviceRows, processorName } from '../devices/open-node.ts';
import type { KeptWeights } from '../engine/weight-cache-node.ts';
import { bundledModel } from './bundled-model.ts';
import { withInterrupt } from './interrupt.ts';
import { formatFigure, measureAndRemember } from './measure.ts';
import { formatBytes, formatThreads } from './report.ts';

interface DoctorOptions {
  readonly measure?: boolean;
  readonly weightCache?: string;
  readonly json?: boolean;
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .summary('show what this machine has and what Ingot uses')
    .option('--measure', 'measure memory and arithmetic again, in a few seconds, and remember what comes out')
    .option('--weight-cache <folder>', 'show what is kept there, and whether it is used')
    .option('--json', 'print one JSON object')
    .action(async (options: DoctorOptions) => {
      const { weightCache } = options;
      const packed = weightCache === undefined ? null : { folder: weightCache, files: await keptIn(weightCache) };
      const findings = { ...(await examine(options.measure ? await withInterrupt(measure) : undefined)), packed };
      if (options.json) console.log(JSON.stringify(findings, undefined, 2));
      else print(findings);
    });
}

/** Loaded for those who ask. */
async function keptIn(folder: string): Promise<readonly KeptWeights[]> {
  const { keptWeights } = await import('../engine/weight-cache-node.ts');
  return keptWeights(folder);
}

async function measure(signal: AbortSignal): Promise<Measurements> {
  const found = findSystem();
  if (!found.usable) throw new IngotError('DeviceLost', `there is nothing to measure: ${found.reason}`);
  return await measureAndRemember(found.system, signal);
}

/** @param measured just now: what cannot be remembered is shown all the same. */
async function examine(measured: Measurements | undefined) {
  const machineCode = tryMachineCode();
  const found = findSystem();
  const tested = machineCode.runs && found.usable ? await testKernels(found.system) : [];
  return {
    node: process.versions.node,
    platform: `${platform()} ${release()} ${process.arch}`,
    processor: processorName(),
    cores: cpus().length,
    usableCores: availableParallelism(),
    memoryBytes: totalmem(),
    availableBytes: availableMemory(),
    machineCode,
    measured: measured ?? (found.usable ? recallMeasurements(found.system) : undefined) ?? null,
    tuned: machineCode.runs && found.usable && whyNot(found.system) === undefined ? tunings(found.system) : [],
    selfTest: tested,
    devices: Object.entries(deviceRows).map(([name, { what, whyNot }]) => ({ name, what, whyNot: whyNot() ?? null })),
    chosen: chosenBecause(machineCode, tested, found),
    uses: { device: chosenDevice(), threads: machineCode.runs && chosenDevice() === 'cpu' ? machineCode.threads : 1 },
    bundledModel: existsSync(bundledModel) ? bundledModel : null,
  };
}

/** Nothing where no code runs: then the devices say why. */
function chosenBecause(
  trial: MachineCodeTrial,
  verdicts: readonly Verdict[],
  found: ReturnType<typeof findSystem>,
): readonly string[] {
  if (!trial.runs || !found.usable) return [];
  const { system } = found;
  const features = system.cpuFeatures();
  const grantsTiles = features.names.has('amx_tile') && system.requestTiles();
  const { limits } = trial;
  return explainChoices({
    features,
    grantsTiles,
    verdicts,
    limits,
    cores: cpus().length,
    availableBytes: availableMemory(),
  });
}

/** Remembered failures are tried again: whoever asks the doctor may have cured them. */
async function testKernels(system: OperatingSystem): Promise<readonly Verdict[]> {
  const { verdicts } = await selfTest(system);
  return verdicts.every(({ passed }) => passed) ? verdicts : (await selfTest(system, { again: true })).verdicts;
}

/** Instruction sets that decide which code is made. */
const instructionSets = (
  process.arch === 'arm64'
    ? 'asimd asimddp i8mm bf16 sve'
    : 'avx2 fma f16c avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16'
).split(' ');

function printMachineCode(found: MachineCodeTrial): void {
  if (!found.runs) {
    console.log(`Code       cannot be run: ${found.reason}`);
    return;
  }
  const has = instructionSets.filter((name) => found.features.includes(name));
  const lacks = instructionSets.filter((name) => !found.features.includes(name));
  console.log(
    `Code       runs; ${has.join(' ') || 'no vector instructions'}${lacks.length > 0 ? `; not ${lacks.join(' ')}` : ''}`,
  );
  const { cores, quota, memory, hugePages } = found.limits;
  const share = quota === undefined ? 'no quota' : `a quota of ${Number(quota.toFixed(2))}`;
  const limit =
    memory === undefined ? '' : `, ${formatBytes(memory.used)} of ${formatBytes(memory.limit)} memory taken`;
  console.log(
    `Limits     ${cores.length} cores, ${share}: ${formatThreads(found.threads)}${limit}; huge pages: ${hugePages ? 'yes' : 'no'}`,
  );
}

function printMeasured(measured: Measurements | null): void {
  if (measured === null) {
    console.log('Measured   nothing yet: ingot doctor --measure');
    return;
  }
  console.log(`Measured   ${measured.taken.slice(0, 16).replace('T', ' ')} UTC, ${formatThreads(measured.threads)}:`);
  for (const figure of measured.figures) console.log(`           ${formatFigure(figure)}`);
}

/** What `ingot tune` found, by class of models. */
function tunings(system: OperatingSystem) {
  const target = chooseTarget(system);
  const usual = { schedule: target.schedule, threads: usableThreads(system.limits()) };
  return [...recallTunings(system, usual.threads, target)].map(([of, recalled]) =>
    recalled.kind === 'unused'
      ? { of, unused: recalled.reason }
      : { of, ...recalled.tuning, changes: describeChanges(usual, recalled.tuning) },
  );
}

function printTuned(found: ReturnType<typeof tunings>): void {
  if (found.length === 0) console.log('Tuned      nothing yet: ingot tune');
  for (const one of found) {
    const models = one.of === anyModel ? 'any model' : `models of ${one.of}`;
    if ('unused' in one) console.log(`Tuned      for ${models}, not used: ${one.unused}`);
    else console.log(`Tuned      for ${models}: ${one.changes || 'what is usual is the fastest'}`);
  }
}

interface PackedFolder {
  readonly folder: string;
  readonly files: readonly KeptWeights[];
}

function printPacked({ folder, files }: PackedFolder): void {
  const bytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const count = files.length === 1 ? '1 file' : `${files.length} files`;
  console.log(`Packed     ${folder}: ${files.length === 0 ? 'nothing yet' : `${count}, ${formatBytes(bytes)}`}`);
  for (const { path, bytes, model, stale } of files) {
    const of = model === null ? '' : ` of ${model}`;
    const state = stale === null ? 'is used' : `is not used: ${stale}`;
    console.log(`           ${basename(path)}, ${formatBytes(bytes)}${of}, ${state}`);
  }
}

function print(found: Awaited<ReturnType<typeof examine>> & { readonly packed: PackedFolder | null }): void {
  console.log(`Node.js    ${found.node}`);
  console.log(`System     ${found.platform}`);
  console.log(`Processor  ${found.processor}, ${found.usableCores} of ${found.cores} cores usable`);
  console.log(`Memory     ${formatBytes(found.availableBytes)} available of ${formatBytes(found.memoryBytes)}`);
  printMachineCode(found.machineCode);
  for (const verdict of found.selfTest) console.log(`Self-test  ${describeVerdict(verdict)}`);
  printMeasured(found.measured);
  printTuned(found.tuned);
  for (const { name, what, whyNot } of found.devices) {
    console.log(`Device     ${name}: ${what}${whyNot === null ? '' : `; cannot be used: ${whyNot}`}`);
  }
  if (found.packed !== null) printPacked(found.packed);
  const { device, threads } = found.uses;
  for (const [i, reason] of found.chosen.entries()) console.log(`${i === 0 ? 'Chosen' : '      '}     ${reason}`);
  console.log(`Uses       device ${device}, ${formatThreads(threads)}`);
  console.log(`Model      ${found.bundledModel ?? 'the bundled model is missing: install Ingot again'}`);
}
