/** The ranks of a mesh in one process, each a device with threads of its own, as one device. */
import { availableParallelism } from 'node:os';
import { IngotError } from '../base/errors.ts';
import { findSystem, usableProcessors } from '../devices/cpu/os/open.ts';
import type { Device } from '../devices/device.ts';
import { type DeviceOptions, openDevice } from '../devices/open-node.ts';
import { type Mesh, meshSize, refuseOtherAxes } from '../ir/mesh.ts';
import type { Model } from '../models/model.ts';
import { createHostGroup } from '../parallel/host-group.ts';
import { createLocalGroup } from '../parallel/local-group.ts';
import { createMeshDevice, type MeshOptions } from '../parallel/mesh-device.ts';
import { keptDivisions, keptLayouts } from './kept-divisions-node.ts';

/** More of them would only wait for each other. */
const ranksPerProcessor = 4;

/** Ranks share `options.threads`, or the processors that there are. @throws IngotError 'Usage', 'DeviceLost'. */
export async function openMesh(
  mesh: Mesh,
  model: Model,
  name?: string,
  { onProgram, ...options }: DeviceOptions & Pick<MeshOptions, 'onProgram'> = {},
): Promise<Device> {
  refuseOtherAxes(mesh, ['tensor']);
  const size = meshSize(mesh);
  const processors = availableParallelism();
  if (size > ranksPerProcessor * processors) {
    const hint = `--mesh tensor=${ranksPerProcessor * processors} is the nearest that fits`;
    throw new IngotError('Usage', `${size} ranks along 'tensor' are too many for ${processors} processors`, { hint });
  }
  const threads = Math.max(1, Math.floor((options.threads ?? usableProcessors()) / size));
  const devices: Device[] = [];
  try {
    // All ranks compute on what the first found.
    while (devices.length < size) devices.push(await openDevice(devices[0]?.name ?? name, { ...options, threads }));
    const group = openGroup(devices[0].name, size);
    const ranks = devices.map((device, rank) => ({ device, communicator: group.ends[rank] }));
    const kept = { divisions: keptDivisions(mesh), layouts: keptLayouts(mesh, model) };
    return createMeshDevice(mesh, ranks, { group, onProgram, ...kept });
  } catch (error) {
    for (const device of devices) await device[Symbol.asyncDispose]();
    throw error;
  }
}

function openGroup(device: Device['name'], size: number) {
  const found = findSystem();
  if (device === 'cpu' && found.usable) return createLocalGroup(found.system, size);
  return { ends: createHostGroup(size), [Symbol.dispose]() {} };
}
