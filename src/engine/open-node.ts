/** Opens a model: in a worker thread, or in several of them that share the machine, each with a copy of the model (`data` of a mesh). */
import { availableParallelism } from 'node:os';
import { IngotError } from '../base/errors.ts';
import { formatMesh, parseMesh } from '../ir/mesh.ts';
import type { Engine } from './engine.ts';
import type { EngineSettings } from './load-node.ts';
import { type OpenOptions, openWorker } from './open-worker-node.ts';
import type { ReplicaSource } from './replica.ts';
import { openReplicas, type ReplicasOptions } from './replicas.ts';

export type { OpenOptions } from './open-worker-node.ts';

/**
 * A model from a GGUF file or a Hugging Face folder, ready to generate. Disposing of the engine ends its workers; an engine that
 * is idle does not keep the process alive.
 * @throws IngotError: whatever the file, its architecture, its vocabulary or the device do wrong, 'Aborted'.
 */
export async function openEngine(path: string, options: OpenOptions = {}): Promise<Engine> {
  const { count } = replicasOf(options);
  if (count > 1) return openReplicated(path, options);
  const { groups = [], ...settings } = options;
  const ranks = await groups[0]?.(1, options.signal);
  return openWorker(path, { ...settings, ...(ranks && { ranks }) });
}

/** The same, of engines that are opened again where they are lost, and whose requests go on: of one, too. */
export function openReplicated(
  path: string,
  { signal, onProgress, onReplica, groups, ...settings }: OpenOptions & Pick<ReplicasOptions, 'onReplica'> = {},
): Promise<Engine> {
  const { count, own } = replicasOf({ ...settings, ...(groups && { groups }) });
  if (settings.traceSteps !== undefined && count > 1) throw usage('--trace-steps is for one engine', 1);
  const sources = Array.from({ length: count }, (_, i): ReplicaSource => {
    // What they dump is the same.
    const { dump, ...others } = own;
    const given = { ...others, ...(dump !== undefined && i === 0 && { dump }) };
    return {
      // Later the others have what they need.
      async open(epoch, hooks) {
        const ranks = await groups?.[i]?.(epoch, hooks.signal);
        return openWorker(path, { ...given, ...(epoch > 1 && { memoryShare: 1 }), ...(ranks && { ranks }), ...hooks });
      },
    };
  });
  return openReplicas(sources, {
    sequences: own.sequences ?? 1,
    queue: settings.queue ?? Number.POSITIVE_INFINITY,
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
    ...(onReplica && { onReplica }),
  });
}

type Settings = Omit<EngineSettings, 'path' | 'ranks'>;

/** How many replicas a mesh has, and what each of them is given of what is there for all. */
function replicasOf({ mesh: text, queue: _, groups, ...settings }: Settings & Pick<OpenOptions, 'groups'>): {
  count: number;
  own: Settings;
} {
  if (text === undefined) return { count: 1, own: settings };
  const mesh = parseMesh(text);
  const data = mesh.axes.find(({ name }) => name === 'data');
  const count = data?.size ?? 1;
  if (data?.shares !== undefined) throw usage('replicas are alike: data has no shares', count);
  const processors = availableParallelism();
  const here = groups === undefined;
  if (here && count > processors)
    throw usage(`${count} replicas are too many for ${processors} processors`, processors);
  const inner = formatMesh({ axes: mesh.axes.filter((axis) => axis !== data) });
  const { sequences = 1, cacheTokens, kvDisk, threads = processors } = settings;
  const share = (all: number) => Math.ceil(all / count);
  const own = {
    ...settings,
    ...(inner !== '' && { mesh: inner }),
    sequences: share(sequences),
    ...(cacheTokens !== undefined && { cacheTokens: share(cacheTokens) }),
    ...(kvDisk !== undefined && { kvDisk: share(kvDisk) }),
    ...(here && count > 1 && { threads: Math.max(1, Math.floor(threads / count)), memoryShare: 1 / count }),
  };
  return { count, own };
}

function usage(message: string, count: number): IngotError {
  return new IngotError('Usage', message, { hint: `such as data=${count}` });
}
