/** Ranks in several processes as one device: the one here, if there is one, and those that serve at their addresses. */
import { IngotError } from '../base/errors.ts';
import type { Device } from '../devices/device.ts';
import { type DeviceOptions, openDevice } from '../devices/open-node.ts';
import { bundledModel } from '../hub/find-model.ts';
import { nameOfCached } from '../hub/name.ts';
import { type Mesh, meshSize } from '../ir/mesh.ts';
import type { Model } from '../models/model.ts';
import { createMeshDevice, type MeshOptions, type MeshRank } from '../parallel/mesh-device.ts';
import type { RankGroup } from '../parallel/rank-group.ts';
import type { RankSettings } from '../parallel/rank-messages.ts';
import { openRemoteDevice, type RemoteDevice } from '../parallel/remote-device.ts';
import { keptDivisions, keptLayouts } from './kept-divisions-node.ts';
import { modelDigest } from './model-digest-node.ts';

export interface RanksOptions extends DeviceOptions, Pick<MeshOptions, 'onProgram'> {
  readonly model: Model;
  /** Where the model is here. */
  readonly path: string;
  /** Called once, when the device is lost with one of its ranks. */
  readonly onLost?: ((error: IngotError) => void) | undefined;
}

/**
 * The ranks open their own file of the model, before any weight is read.
 * @throws IngotError 'RankLost'; 'InvalidArgument' for ranks that have another model; what a rank says of its file and its device.
 */
export async function openRanks(
  mesh: Mesh,
  { epoch, ranks }: RankGroup,
  name: string | undefined,
  { model, path, onProgram, onLost, ...options }: RanksOptions,
): Promise<Device> {
  if (ranks.length !== meshSize(mesh)) {
    throw new IngotError('InvalidArgument', `a mesh of ${meshSize(mesh)} ranks is given ${ranks.length}`);
  }
  const remote = new Map<number, RemoteDevice>();
  let lost = false;
  const lose = (error: IngotError) => {
    if (!lost) onLost?.(error);
    lost = true;
  };
  const named = path === bundledModel ? undefined : (nameOfCached(path) ?? path);
  const open = async (rank: number): Promise<MeshRank> => {
    const each = ranks[rank];
    const threads = options.threads ?? each.threads;
    if (each.kind === 'here') {
      return { device: await openDevice(name, { ...options, threads }), communicator: each.communicator };
    }
    const settings: RankSettings = {
      ...{ threads, mlock: options.mlock ?? false },
      ...(named !== undefined && { model: named }),
      ...(name !== undefined && { device: name }),
    };
    const results = rank === 0;
    const device = await openRemoteDevice(each, { epoch, settings, results, onLost: lose });
    remote.set(rank, device);
    return { device };
  };
  const opened = await Promise.allSettled(ranks.map((_, rank) => open(rank)));
  const devices = opened.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  try {
    for (const outcome of opened) if (outcome.status === 'rejected') throw outcome.reason;
    const digest = await modelDigest(model);
    for (const [rank, { digest: theirs }] of remote) {
      if (theirs === digest) continue;
      const hint = 'Every rank reads a file of its own: give all of them the same one.';
      throw new IngotError('InvalidArgument', `rank ${rank} has another model than ${path}`, { hint });
    }
    const memory = new Map(ranks.map(({ host }, rank) => [host, devices[rank].device.hardware.memoryBytes]));
    const memoryBytes = [...memory.values()].reduce((sum, bytes) => sum + bytes, 0);
    const kept = { divisions: keptDivisions(mesh), layouts: keptLayouts(mesh, model) };
    return createMeshDevice(mesh, devices, { runsEnd: true, memoryBytes, onProgram, ...kept });
  } catch (error) {
    for (const { device } of devices) await device[Symbol.asyncDispose]();
    throw error;
  }
}
