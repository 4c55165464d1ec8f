/**
 * Commands on ranks in several processes: of those that `mpirun` has started the first is the front, and the others work for it;
 * under `ingot launch` this process is the front, and starts them.
 */
import type { Command } from 'commander';
import { type Mesh, meshSize, parseMesh, refuseOtherAxes } from '../ir/mesh.ts';
import { launchedRank } from '../parallel/mpi-abi.ts';
import type { Ranks } from '../parallel/rank-group.ts';
import type { RankWorld, WorldOptions } from '../parallel/rank-world.ts';
import { usageError } from './failure.ts';

interface RankFlags {
  readonly mesh?: string;
  readonly numerics: string;
  readonly kv: string;
}

interface Launch {
  /** How many; as many as the mesh has if absent. */
  readonly ranks: number | undefined;
  /** A host for each rank; none where all are here. */
  hostsOf(ranks: number): readonly string[];
}

let launch: Launch | undefined;
const open: AsyncDisposable[] = [];

/** The next command has its ranks started. */
export function launchRanks(how: Launch): void {
  launch = how;
}

/** When the command has ended, however it did. */
export async function leaveRanks(): Promise<void> {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
}

/** Before a command that opens an engine. Of ranks that are not the front it does not return. */
export async function joinRanks(_: Command, command: Command): Promise<void> {
  const { mesh, ...others } = command.opts<RankFlags>();
  const groups = launch === undefined ? await joinStarted(mesh, others) : await startGroups(launch, mesh);
  if (groups !== undefined) command.setOptionValue('groups', groups);
}

async function startGroups(launch: Launch, text: string | undefined): Promise<readonly Ranks[]> {
  if (text === undefined) throw usageError('it is not said how ranks divide the model', '--mesh tensor=2');
  const mesh = parseMesh(text);
  const size = meshSize(mesh);
  refuseOther(mesh, launch.ranks ?? size);
  const { hostIdentity } = await import('../parallel/rank-world.ts');
  const { LaunchedRanks } = await import('../parallel/launched-ranks.ts');
  const { version } = await factsOf(text);
  const ranks = groupSize(mesh);
  const { startAhead } = await import('../engine/workers-node.ts');
  startAhead();
  const hosts = launch.hostsOf(size);
  const ingot = [process.execPath, process.argv[1], 'rank', '--mesh', text, '--front', hostIdentity()];
  return Array.from({ length: size / ranks }, (_, i) => {
    const group = new LaunchedRanks({
      ...{ ranks, version, hosts: hosts.slice(i * ranks, (i + 1) * ranks) },
      command: (epoch) => [...ingot, '--epoch', String(epoch)],
    });
    open.push(group);
    return group;
  });
}

async function joinStarted(
  text: string | undefined,
  { numerics, kv }: Omit<RankFlags, 'mesh'>,
): Promise<readonly Ranks[] | undefined> {
  const started = launchedRank(process.env);
  if (started === undefined) return undefined;
  const mesh = text === undefined ? undefined : parseMesh(text);
  try {
    if (mesh !== undefined) refuseOther(mesh, started.size);
    else if (started.size > 1) {
      const hint = `--mesh tensor=${started.size} divides the model among them`;
      throw usageError(`${started.size} ranks were started, and none is told what to do`, hint);
    }
  } catch (error) {
    // The first says it for all, if no other has failed before: launchers end all ranks with the first that fails.
    if (started.rank > 0) process.exit();
    throw error;
  }
  if (text === undefined || mesh === undefined) return undefined;
  const join = async () => {
    const facts = { ...(await factsOf(text)), numerics, 'format of keys and values': kv };
    return joinWorld({ epoch: 0, groupSize: groupSize(mesh), facts });
  };
  if (started.rank > 0) {
    const { serveRank } = await import('../engine/rank-node.ts');
    await serveRank(join);
    process.exit();
  }
  const { startAhead } = await import('../engine/workers-node.ts');
  startAhead();
  const world = await join();
  const { openFront } = await import('../parallel/front.ts');
  const front = await openFront(world);
  open.push(front);
  return front.groups;
}

/** @throws IngotError as `RankWorld.join`, 'Usage' where no machine code runs. */
export async function joinWorld(options: WorldOptions): Promise<RankWorld> {
  const { RankWorld } = await import('../parallel/rank-world.ts');
  const { findSystem } = await import('../devices/cpu/os/open.ts');
  const found = findSystem();
  if (!found.usable) throw usageError(`ranks need machine code: ${found.reason}`);
  return RankWorld.join(found.system, process.env, options);
}

/** Ranks that divide one model. */
function groupSize(mesh: Mesh): number {
  return meshSize(mesh) / (mesh.axes.find(({ name }) => name === 'data')?.size ?? 1);
}

/** What ranks must have in common to compute the same. */
export async function factsOf(mesh: string) {
  const { createRequire } = await import('node:module');
  const { findSystem } = await import('../devices/cpu/os/open.ts');
  const { usableTargets } = await import('../devices/cpu/target.ts');
  const { version } = createRequire(import.meta.url)('ingot/package.json') as { version: string };
  const found = findSystem();
  const set = found.usable ? usableTargets(found.system.cpuFeatures()).at(-1)?.name : undefined;
  return { version, mesh, 'instruction set': set ?? 'none' };
}

/** @throws IngotError 'Usage' for a mesh of other axes, or of another size than the number of ranks, with the nearest one that fits. */
function refuseOther(mesh: Mesh, ranks: number): void {
  refuseOtherAxes(mesh, ['data', 'tensor']);
  const size = meshSize(mesh);
  if (size === ranks) return;
  // Rather more or fewer replicas than another division of the model.
  const axes = [...mesh.axes].sort((a, b) => Number(b.name === 'data') - Number(a.name === 'data'));
  const fitting = axes.find((axis) => ranks % (size / axis.size) === 0);
  if (fitting === undefined) {
    const hint = `--mesh tensor=${ranks} has as many, or start ${size}`;
    throw usageError(`the mesh has ${size} ranks, and ${ranks} were started`, hint);
  }
  const count = ranks / (size / fitting.size);
  const axisText = (axis: (typeof axes)[number]) => `${axis.name}=${axis === fitting ? count : axis.size}`;
  throw usageError(
    `the mesh has ${size} ranks, and ${ranks} were started: '${fitting.name}' is ${fitting.size}, not ${count}`,
    `--mesh ${mesh.axes.map(axisText).join(',')} has as many, or start ${size}`,
  );
}
