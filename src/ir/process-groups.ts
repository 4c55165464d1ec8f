/**
 * The grid of processes that a program runs on, and which of them a collective brings together
 * (https://openxla.org/stablehlo/spec, "Parallel execution"). Process `replica * partitions + partition` is the rank that
 * communicators count.
 */
import { IngotError } from '../base/errors.ts';
import type { OpName } from './attributes.ts';
import type { Op, OpOf, Program } from './program.ts';
import { reachable, walk } from './walk.ts';

export interface ProcessGrid {
  readonly replicas: number;
  readonly partitions: number;
}

const collectives = [
  ...(['all_gather', 'all_reduce', 'all_to_all', 'collective_broadcast', 'collective_permute'] as const),
  ...(['recv', 'reduce_scatter', 'send'] as const),
] as const;
type CollectiveName = (typeof collectives)[number];
/** An op that processes carry out together: each of them, in the same order. */
export type Collective = { [N in CollectiveName]: OpOf<N> }[CollectiveName];

export function isCollective(op: { readonly name: OpName }): op is Collective {
  return collectives.some((name) => name === op.name);
}

/** Whether the results are others on other processes, though the operands are the same. */
export function dependsOnProcess(op: Op): boolean {
  return isCollective(op) || op.name === 'partition_id' || op.name === 'replica_id';
}

/**
 * What the program states, else the least grid of one partition that has all replicas which its collectives name. A
 * program without collectives that states nothing has one process.
 */
export function processGrid(program: Program): ProcessGrid {
  if (program.processes !== undefined) return program.processes;
  let replicas = 1;
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      if (isCollective(op)) for (const id of named(op)) replicas = Math.max(replicas, id + 1);
    }
  }
  return { replicas, partitions: 1 };
}

function named(op: Collective): readonly number[] {
  return 'replica_groups' in op.attributes
    ? op.attributes.replica_groups.flat()
    : op.attributes.source_target_pairs.flat();
}

/** The grid for a communicator of `size` ranks. @throws IngotError 'InvalidArgument' if the program is for another number of processes. */
export function gridOf(program: Program, size: number): ProcessGrid {
  const grid = processGrid(program);
  const count = grid.replicas * grid.partitions;
  if (count === size || (count === 1 && program.processes === undefined)) return grid;
  throw new IngotError('InvalidArgument', `the program is for ${count} processes, there are ${size}`);
}

/** Processes that take part in a collective: no others can be those of its program. */
export interface Meeting {
  readonly op: OpName;
  readonly processes: readonly number[];
}

/** Of a program, those that differ. */
export function meetingsOf(program: Program): readonly Meeting[] {
  const grid = processGrid(program);
  const found = new Map<string, Meeting>();
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      const processes = isCollective(op) ? needed(op, grid) : undefined;
      if (processes !== undefined) found.set(processes.join(), { op: op.name, processes });
    }
  }
  return [...found.values()];
}

/** @throws IngotError 'InvalidProgram' if a rank is left out of one of them. */
export function checkMember(meetings: readonly Meeting[], rank: number): void {
  const other = meetings.find(({ processes }) => !processes.includes(rank));
  if (other === undefined) return;
  const { op } = other;
  throw new IngotError('InvalidProgram', `${op} has no group with process ${rank}`, { op });
}

/** Who is not among the targets of a broadcast or permutation gets zeros; all else needs its operand from everybody. */
function needed(op: Collective, grid: ProcessGrid): readonly number[] | undefined {
  if (op.name === 'collective_permute') return undefined;
  if (op.name === 'collective_broadcast' && !op.attributes.has_dynamic_root) return undefined;
  const groups = processGroups(op, grid);
  if (op.name !== 'send' && op.name !== 'recv') return groups.flat();
  const side = op.name === 'send' ? 0 : 1;
  return groups.length === 0 ? undefined : groups.map((pair) => pair[side]);
}

/** How a collective counts: one of the spec's process grouping strategies. */
type Strategy = 'cross_replica' | 'cross_partition' | 'cross_replica_and_partition' | 'flattened_ids';

function strategyOf(op: Collective): Strategy {
  const { channel_id: channel } = op.attributes;
  switch (op.name) {
    case 'all_gather':
    case 'all_reduce':
    case 'reduce_scatter':
      if (channel <= 0) return 'cross_replica';
      return op.attributes.use_global_device_ids ? 'flattened_ids' : 'cross_replica_and_partition';
    case 'all_to_all':
    case 'collective_broadcast':
    case 'collective_permute':
      return channel <= 0 ? 'cross_replica' : 'cross_partition';
    case 'recv':
    case 'send':
      return 'flattened_ids';
    default:
      return op satisfies never;
  }
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Lists of ids (groups, or pairs) as lists of processes. */
function processesOf(strategy: Strategy, lists: readonly (readonly number[])[], { replicas, partitions }: ProcessGrid) {
  switch (strategy) {
    case 'cross_replica':
      return lists.flatMap((ids) => range(partitions).map((p) => ids.map((r) => r * partitions + p)));
    case 'cross_partition':
      return lists.flatMap((ids) => range(replicas).map((r) => ids.map((p) => r * partitions + p)));
    case 'cross_replica_and_partition':
      return lists.map((ids) => range(partitions).flatMap((p) => ids.map((r) => r * partitions + p)));
    case 'flattened_ids':
      return lists;
    default:
      return strategy satisfies never;
  }
}

/**
 * The groups of an op as processes of the grid, or its pairs of source and target. A process may be in none.
 * @throws IngotError 'InvalidProgram' for ids that the grid does not have.
 */
export function processGroups(op: Collective, grid: ProcessGrid): readonly (readonly number[])[] {
  const strategy = strategyOf(op);
  const count = {
    cross_replica: grid.replicas,
    cross_partition: grid.partitions,
    cross_replica_and_partition: grid.replicas,
    flattened_ids: grid.replicas * grid.partitions,
  }[strategy];
  const outside = named(op).find((id) => id >= count);
  if (outside !== undefined) {
    throw new IngotError(
      'InvalidProgram',
      `${op.name} names process ${outside}, the grid is ${grid.replicas} replicas of ${grid.partitions} partitions`,
      { op: op.name },
    );
  }
  if (!('replica_groups' in op.attributes)) return processesOf(strategy, op.attributes.source_target_pairs, grid);
  const { replica_groups: groups } = op.attributes;
  return processesOf(strategy, groups.length === 0 ? [range(count)] : groups, grid);
}

/** The processes that `rank` meets in the op, in the order of the group; undefined if it takes no part. */
export function groupOf(op: Collective, grid: ProcessGrid, rank: number): readonly number[] | undefined {
  return processGroups(op, grid).find((group) => group.includes(rank));
}
