/** From a path and the name of a device to an engine on this thread, which owns both: the worker's way to open one. */
import { dumpTo } from '../compiler/dump-node.ts';
import { cacheFolder } from '../devices/cpu/cache-folder.ts';
import { matrixShapes, modelClass } from '../devices/cpu/matrix-shapes.ts';
import { modelAreas } from '../devices/cpu/self-test/areas.ts';
import type { WeightShare } from '../devices/cpu/shared-weights.ts';
import type { InstructionSet } from '../devices/cpu/target.ts';
import type { Device } from '../devices/device.ts';
import { type DeviceOptions, openDevice } from '../devices/open-node.ts';
import { parseMesh } from '../ir/mesh.ts';
import type { Program } from '../ir/program.ts';
import type { Model } from '../models/model.ts';
import type { MeshOptions } from '../parallel/mesh-device.ts';
import type { RankGroup } from '../parallel/rank-group.ts';
import type { Engine, EngineOptions, LoadHooks } from './engine.ts';
import { LocalEngine } from './local-engine.ts';
import { type OpenedWeights, openTexts, openWeights } from './open-model-node.ts';
import type { RanksOptions } from './open-ranks-node.ts';
import { type PackOptions, packWeights, type Weights } from './pack-weights.ts';
import { openSlots } from './slots-node.ts';
import { traceSteps } from './step-trace-node.ts';

/** What can be sent to another thread. */
export interface EngineSettings extends EngineOptions {
  /** A GGUF file or a Hugging Face folder. */
  readonly path: string;
  /** 'cpu' or 'reference'; the first that can be used if absent. */
  readonly device?: string;
  /** At most so many; without it all that there are, less one for JavaScript where the model is small. */
  readonly threads?: number;
  /** Of the CPU device: make code for this set; for the best that passed the self-test if absent. */
  readonly instructionSet?: InstructionSet;
  /** Keep weights and cache from being swapped out. */
  readonly mlock?: boolean;
  /** Of the memory that there is, what it may take at most; all of it if absent. */
  readonly memoryShare?: number;
  /** Folder for packed weights, which later starts map instead of packing them; none if absent. */
  readonly weightCache?: string;
  /** Weights that engines in other workers have, too. */
  readonly weightShare?: WeightShare;
  /** Ranks among which the model is divided, 'tensor=2' (ir/mesh.ts). */
  readonly mesh?: string;
  /** The ranks, where they are in other processes; then `threads` are those of each. */
  readonly ranks?: RankGroup;
  /** Folder for the programs before and after each compiler pass. */
  readonly dump?: string;
  /** Bytes on disk for what the KV cache has no room for; none if absent. */
  readonly kvDisk?: number;
  /** File for a line of JSON a step (step-trace.ts). */
  readonly traceSteps?: string;
}

/** Weights of so few bytes lie in caches, and a step is over before JavaScript has prepared the next, unless that has a core of its own. */
const smallBytes = 32 << 20;

interface OpenDeviceOptions
  extends DeviceOptions,
    Pick<EngineSettings, 'mesh' | 'ranks'>,
    Partial<Pick<EngineSettings, 'path' | 'numerics'>>,
    Pick<MeshOptions, 'onProgram'>,
    Pick<RanksOptions, 'onLost'> {}

/** As an engine opens it. @throws IngotError 'Usage', 'DeviceLost'. */
export async function openDeviceFor(
  model: Model,
  name?: string,
  { mesh, ranks, path, numerics, onProgram, onLost, meanwhile, ...options }: OpenDeviceOptions = {},
): Promise<Device> {
  const weights = [...model.weights.values()];
  const bytes = weights.reduce((sum, weight) => sum + weight.bytes.length, 0);
  const areas = modelAreas(weights, numerics === 'fast');
  const of = { areas, modelClass: modelClass(matrixShapes(weights)) };
  const parsed = mesh === undefined ? undefined : parseMesh(mesh);
  if (ranks !== undefined && path !== undefined) {
    const alone = parseMesh('tensor=1');
    const { openRanks } = await import('./open-ranks-node.ts');
    return openRanks(parsed ?? alone, ranks, name, { ...options, ...of, model, path, onProgram, onLost });
  }
  if (parsed !== undefined) {
    const { openMesh } = await import('./open-mesh-node.ts');
    return openMesh(parsed, model, name, { ...options, ...of, onProgram });
  }
  return openDevice(name, { ...options, meanwhile, spareCore: bytes < smallBytes, ...of });
}

/** An engine with all that it stands on, which is closed with it. */
export interface LoadedEngine extends AsyncDisposable {
  readonly engine: Engine;
}

/** @throws IngotError: whatever the file, its architecture, its vocabulary or the device do wrong; nothing stays open. */
export async function loadEngine(settings: EngineSettings, hooks: LoadHooks = {}): Promise<LoadedEngine> {
  const { path, device: deviceName, threads, instructionSet, mlock, memoryShare, mesh, ranks, ...rest } = settings;
  const { weightShare, weightCache, dump, kvDisk, traceSteps: traceFile, ...options } = rest;
  const opened: AsyncDisposable[] = [];
  const close = async () => {
    for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
  };
  try {
    const source = await openWeights(path);
    opened.push(source);
    const { model } = source;
    const onPass = dump === undefined ? {} : { onPass: dumpTo(dump) };
    const onProgram = (rank: number, program: Program) => onPass.onPass?.(`rank-${rank}`, program);
    const slots = kvDisk === undefined ? {} : { slots: (bytes: number) => openSlots(cacheFolder(), kvDisk, bytes) };
    let texts: ReturnType<typeof openTexts> | undefined;
    const readTexts = () => {
      texts ??= openTexts(source);
      return texts;
    };
    // Ranks elsewhere open their own files meanwhile; whoever wants the texts hears of it.
    if (ranks !== undefined) readTexts().catch(() => {});
    const device = await openDeviceFor(model, deviceName, {
      ...{ threads, instructionSet, mlock, memoryShare, weightShare, path, onProgram, onLost: hooks.onLost },
      ...(mesh !== undefined && { mesh }),
      ...(ranks !== undefined && { ranks }),
      ...(options.numerics !== undefined && { numerics: options.numerics }),
      async meanwhile(device) {
        const { tokenizer, templates } = await readTexts();
        await LocalEngine.compileAhead(device, model, tokenizer, { ...options, ...slots, ...templates });
      },
    });
    opened.push(device);
    const early =
      weightCache === undefined ? packEarly(device, model, hooks) : mapEarly(device, source, weightCache, hooks);
    if (early !== undefined) opened.push(early);
    const { tokenizer, templates } = await readTexts();
    const trace = traceFile === undefined ? undefined : traceSteps(traceFile);
    if (trace !== undefined) opened.push({ [Symbol.asyncDispose]: async () => trace[Symbol.dispose]() });
    const onStep = trace === undefined ? {} : { onStep: trace.write };
    const weights = early === undefined ? {} : { weights: early.weights };
    const given = { ...options, ...hooks, ...onPass, ...onStep, ...slots, ...templates, ...weights };
    // Of this thread, other than what the whole process has.
    const javascriptBytes = () => process.memoryUsage().heapUsed;
    const engine = await LocalEngine.load(device, model, tokenizer, { ...given, javascriptBytes });
    opened.push(engine);
    return { engine, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Begins to pack where the device does so by itself, while JavaScript reads the vocabulary and compiles: but not where memory is so
 * scarce that what else is needed may not fit, which is known when the program is compiled.
 */
function packEarly(device: Device, model: Model, hooks: LoadHooks) {
  const bytes = [...model.weights.values()].reduce((sum, weight) => sum + device.packedBytes(weight), 0);
  if (!device.readsFiles || 2 * bytes > device.hardware.memoryBytes) return undefined;
  return begin((early) => packWeights(device, model, early), hooks);
}

/** The same with packed weights of an earlier start, if there are any. */
function mapEarly(device: Device, source: OpenedWeights, folder: string, hooks: LoadHooks) {
  return begin(async (early) => {
    const { cachedWeights } = await import('./weight-cache-node.ts');
    return (await cachedWeights(folder, source, device, early)) ?? packWeights(device, source.model, early);
  }, hooks);
}

/** Weights that will be there; to be disposed of when nobody has a use for them any more. */
function begin(pack: (options: PackOptions) => Promise<Weights>, { signal, onProgress }: LoadHooks) {
  const end = new AbortController();
  const stop = signal === undefined ? end.signal : AbortSignal.any([signal, end.signal]);
  const weights = pack({ signal: stop, ...(onProgress && { onProgress }) });
  // Whoever waits for them hears of it.
  weights.catch(() => {});
  return {
    weights,
    async [Symbol.asyncDispose]() {
      end.abort();
      const packed = await weights.catch((): Weights => new Map());
      for (const buffer of packed.values()) buffer[Symbol.dispose]();
    },
  };
}
