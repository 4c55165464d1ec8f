/** Opens a model: in a worker thread, or in several of them, each with the model and a part of the requests (`data` of a mesh). */
import { availableParallelism } from 'node:os';
import { IngotError } from '../base/errors.ts';
import { usableProcessors } from '../devices/cpu/os/open.ts';
import { formatMesh, parseMesh, replicaCount } from '../ir/mesh.ts';
import type { Ranks } from '../parallel/rank-group.ts';
import type { Engine, LoadHooks } from './engine.ts';
import type { EngineSettings } from './load-node.ts';
import { openWorker } from './open-worker-node.ts';
import type { ReplicaSource } from './replica.ts';
import { openReplicas, type ReplicasOptions } from './replicas.ts';
import { sharesWeights, WeightShelf } from './weight-shelf-node.ts';
import type { Workers } from './workers-node.ts';

type Settings = Omit<EngineSettings, 'path' | 'ranks'>;

export interface OpenOptions extends Settings, Omit<LoadHooks, 'onLost'> {
  /** The ranks of each replica, where they are in other processes. */
  readonly groups?: readonly Ranks[];
  /** Threads that others have had, and will have; each starts and ends with its engine if absent. */
  readonly workers?: Workers;
}

/**
 * A model from a GGUF file or a Hugging Face folder, ready to generate. Disposing of the engine ends its workers; an engine that
 * is idle does not keep the process alive.
 * @throws IngotError: whatever the file, its architecture, its vocabulary or the device do wrong, 'Aborted'.
 */
export async function openEngine(path: string, options: OpenOptions = {}): Promise<Engine> {
  const [only, ...others] = sourcesOf(path, options).sources;
  if (others.length > 0) return openReplicated(path, options);
  const { signal, onProgress } = options;
  return only.open(1, { ...(signal && { signal }), ...(onProgress && { onProgress }) });
}

/** The same, of engines that are opened again where they are lost, and whose requests go on: of one, too. */
export async function openReplicated(
  path: string,
  { onReplica, ...options }: OpenOptions & Pick<ReplicasOptions, 'onReplica'> = {},
): Promise<Engine> {
  const { signal, onProgress, queue = Number.POSITIVE_INFINITY } = options;
  const { sources, sequences, shelf } = sourcesOf(path, options);
  return openReplicas(sources, {
    ...(shelf && { shelf }),
    ...{ sequences, queue },
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
    ...(onReplica && { onReplica }),
  });
}

/** How each engine is opened, and how many requests it computes together. What is there for all is divided among them. */
function sourcesOf(path: string, { signal, onProgress, groups, workers, mesh: text, queue, ...settings }: OpenOptions) {
  const mesh = parseMesh(text ?? 'data=1');
  const data = mesh.axes.find(({ name }) => name === 'data');
  const count = replicaCount(mesh);
  if (data?.shares !== undefined) throw usage('replicas are alike: data has no shares', count);
  const inner = formatMesh({ axes: mesh.axes.filter((axis) => axis !== data) });
  const share = (all: number) => Math.ceil(all / count);
  const { sequences = 1, cacheTokens, kvDisk, traceSteps, dump, ...others } = settings;
  if (traceSteps !== undefined && count > 1) throw usage('--trace-steps is for one engine', 1);
  const own: Settings = {
    ...others,
    // One alone refuses by itself.
    ...(count === 1 && { ...(queue !== undefined && { queue }), ...(traceSteps !== undefined && { traceSteps }) }),
    ...(inner !== '' && { mesh: inner }),
    sequences: share(sequences),
    ...(cacheTokens !== undefined && { cacheTokens: share(cacheTokens) }),
    ...(kvDisk !== undefined && { kvDisk: share(kvDisk) }),
    ...(groups === undefined && shareOfMachine(count, settings.threads)),
  };
  const shelf = count > 1 && groups === undefined && sharesWeights ? new WeightShelf(count) : undefined;
  const sources = Array.from({ length: count }, (_, i): ReplicaSource => {
    const group = groups?.[i];
    return {
      ...(group?.once !== undefined && { once: group.once }),
      async open(epoch, hooks) {
        const ranks = await group?.open(epoch, hooks.signal);
        const weightShare = shelf?.lend();
        return openWorker(path, {
          ...own,
          ...(weightShare !== undefined && {
            weightShare,
            onGone: (isFree) => shelf?.giveBack(weightShare, isFree),
          }),
          // What they dump is the same.
          ...(dump !== undefined && i === 0 && { dump }),
          ...(ranks !== undefined && { ranks }),
          ...(workers !== undefined && { workers }),
          // Later the others have the memory that they need.
          ...(epoch > 1 && { memoryShare: 1 }),
          ...hooks,
        });
      },
    };
  });
  return { sources, shelf, sequences: share(sequences) };
}

function shareOfMachine(count: number, wanted?: number): Pick<Settings, 'threads' | 'memoryShare'> {
  if (count === 1) return wanted === undefined ? {} : { threads: wanted };
  const processors = availableParallelism();
  if (count > processors) throw usage(`${count} replicas are too many for ${processors} processors`, processors);
  return { threads: Math.max(1, Math.floor((wanted ?? usableProcessors()) / count)), memoryShare: 1 / count };
}

function usage(message: string, count: number): IngotError {
  return new IngotError('Usage', message, { hint: `such as data=${count}` });
}
