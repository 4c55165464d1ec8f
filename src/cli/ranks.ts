/** Commands on ranks in several processes: the first that `mpirun` has started is the front, the others work for it. */
import type { Command } from 'commander';
import type { Front } from '../engine/front-node.ts';
import { type Mesh, meshSize, parseMesh } from '../ir/mesh.ts';
import type { Facts } from '../parallel/agree.ts';
import { launchedRank } from '../parallel/mpi-abi.ts';
import { exitCodes, usageError } from './failure.ts';

interface RankFlags {
  readonly mesh?: string;
  readonly numerics: string;
  readonly kv: string;
}

let front: Front | undefined;

/** Before a command that opens an engine. Of ranks that are not the front it does not return. */
export async function joinRanks(_: Command, command: Command): Promise<void> {
  const started = launchedRank(process.env);
  if (started === undefined) return;
  const { mesh: text, numerics, kv } = command.opts<RankFlags>();
  const mesh = text === undefined ? undefined : parseMesh(text);
  try {
    if (mesh !== undefined) refuseOther(mesh, started.size);
    else if (started.size > 1) {
      const hint = `--mesh tensor=${started.size} divides the model among them`;
      throw usageError(`${started.size} ranks were started, and none is told what to do`, hint);
    }
  } catch (error) {
    // The first says it for all.
    if (started.rank > 0) process.exit(exitCodes.usage);
    throw error;
  }
  if (text === undefined || mesh === undefined) return;
  const { RankWorld } = await import('../parallel/rank-world.ts');
  const { findSystem } = await import('../devices/cpu/os/open.ts');
  const found = findSystem();
  if (!found.usable) throw usageError(`ranks need machine code: ${found.reason}`);
  const facts = { ...(await factsOf(text)), numerics, 'format of keys and values': kv };
  const world = await RankWorld.join(found.system, process.env, { epoch: 0, groupSize: groupSize(mesh), facts });
  if (world.rank > 0) {
    const { serveRank } = await import('../engine/rank-node.ts');
    await serveRank(world);
    process.exit();
  }
  const { openFront } = await import('../engine/front-node.ts');
  front = await openFront(world);
  command.setOptionValue('groups', front.groups);
}

/** When the command has ended, however it did. */
export async function leaveRanks(): Promise<void> {
  await front?.[Symbol.asyncDispose]();
}

/** Ranks that divide one model. */
function groupSize(mesh: Mesh): number {
  return meshSize(mesh) / (mesh.axes.find(({ name }) => name === 'data')?.size ?? 1);
}

/** What ranks must have in common to compute the same. */
async function factsOf(mesh: string): Promise<Facts> {
  const { createRequire } = await import('node:module');
  const { findSystem } = await import('../devices/cpu/os/open.ts');
  const { usableTargets } = await import('../devices/cpu/target.ts');
  const { version } = createRequire(import.meta.url)('ingot/package.json') as { version: string };
  const found = findSystem();
  const set = found.usable ? usableTargets(found.system.cpuFeatures()).at(-1)?.name : undefined;
  return { version, mesh, 'instruction set': set ?? 'none' };
}

/** @throws IngotError 'Usage' for a mesh of another size than the number of ranks, with the nearest one that fits. */
function refuseOther(mesh: Mesh, ranks: number): void {
  const size = meshSize(mesh);
  if (size === ranks) return;
  // Rather more or fewer replicas than another division of the model.
  const axes = [...mesh.axes].sort((a, b) => Number(b.name === 'data') - Number(a.name === 'data'));
  const fitting = axes.find((axis) => ranks % (size / axis.size) === 0);
  const text = (changed: (typeof axes)[number], count: number) =>
    mesh.axes.map((axis) => `${axis.name}=${axis === changed ? count : axis.size}`).join(',');
  if (fitting === undefined) {
    const hint = `--mesh tensor=${ranks} has as many, or start ${size}`;
    throw usageError(`the mesh has ${size} ranks, and ${ranks} were started`, hint);
  }
  const count = ranks / (size / fitting.size);
  const message = `the mesh has ${size} ranks, and ${ranks} were started: '${fitting.name}' is ${fitting.size}, not ${count}`;
  throw usageError(message, `--mesh ${text(fitting, count)} has as many, or start ${size}`);
}
