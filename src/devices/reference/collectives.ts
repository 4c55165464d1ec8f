/**
 * Collectives as StableHLO's specification has them: every process of a group sends its operand to the others, and each
 * computes its result from all of them, in the order of the group. A run is left at an exchange, and goes on with what the
 * others have sent; who has nobody to exchange with is not left.
 */

import { type Collective, groupOf, type ProcessGrid, processGroups } from '../../ir/process-groups.ts';
import type { Op, OpOf } from '../../ir/program.ts';
import {
  decodeElements,
  encodeElements,
  type HostArray,
  hostArray,
  numbersPerElement,
} from '../../numerics/host-array.ts';
import { type Frame, type ScalarRegion, type Shaped, stridesOf } from './kernel.ts';
import { copyElement, stridedCopy } from './strided.ts';

/** `peer` undefined: whoever is at the other end of the channel. */
interface Message {
  readonly peer: number | undefined;
  readonly channel: number;
}

/** What one process does at once; the answer is what it receives, in this order. */
export interface Exchange {
  readonly sends: readonly (Message & { readonly bytes: Uint8Array })[];
  readonly receives: readonly Message[];
}

/** Work that is left at exchanges. */
export type Suspended<R = void> = Generator<Exchange, R, readonly Uint8Array[]>;

/** The process that runs. */
export interface Process {
  readonly rank: number;
  readonly grid: ProcessGrid;
}

export interface CollectiveSite<C extends Collective> {
  readonly op: C;
  readonly inputs: readonly Shaped[];
  readonly outputs: readonly Shaped[];
  scalarRegion(index: number): ScalarRegion;
}

/** Fills new arrays for the results; nothing but operands and messages is needed. */
type CollectiveKernel = (operands: readonly HostArray[], frame: Frame, process: Process) => Suspended<HostArray[]>;

function* exchange({ sends, receives }: Exchange): Suspended<readonly Uint8Array[]> {
  return sends.length + receives.length === 0 ? [] : yield { sends, receives };
}

/** Channel of all that is no `send` or `recv`: the order of the program tells them apart. */
const ordered = 0;

/** What each process of the group brings, its own included. */
function* gather(own: HostArray, { element }: Shaped, group: readonly number[], rank: number): Suspended<HostArray[]> {
  const peers = group.filter((id) => id !== rank);
  const bytes = peers.length === 0 ? new Uint8Array() : encodeElements(element, own);
  const received = yield* exchange({
    sends: peers.map((peer) => ({ peer, channel: ordered, bytes })),
    receives: peers.map((peer) => ({ peer, channel: ordered })),
  });
  return group.map((id) => (id === rank ? own : decodeElements(element, received[peers.indexOf(id)])));
}

function member(op: Collective, { rank, grid }: Process): { group: readonly number[]; position: number } {
  // Whoever is in none was refused when the program was bound.
  const group = groupOf(op, grid, rank) ?? [rank];
  return { group, position: group.indexOf(rank) };
}

/** Each element of the first with that of the second, and so on: in the order of the group. */
function fold(parts: readonly HostArray[], region: ScalarRegion, out: Shaped, frame: Frame): HostArray {
  const result = hostArray(out.element, out.count);
  const width = numbersPerElement(out.element);
  const [left, right] = region.parameters;
  region.enter(frame);
  for (let i = 0; i < out.count; i++) {
    copyElement(width, left, 0, parts[0], i);
    for (let p = 1; p < parts.length; p++) {
      copyElement(width, right, 0, parts[p], i);
      region.run();
      copyElement(width, left, 0, region.results[0], 0);
    }
    copyElement(width, result, i, left, 0);
  }
  return result;
}

/** The part of a tensor at `index` of `count` along a dimension, into one along another. */
function copyPart(
  { element, shape }: Shaped,
  from: { readonly array: HostArray; readonly dim: number; readonly index: number; readonly count: number },
  to: { readonly array: HostArray; readonly shape: readonly number[]; readonly dim: number; readonly at: number },
): void {
  const part = shape.map((extent, d) => (d === from.dim ? extent / from.count : extent));
  const [source, target] = [stridesOf(shape), stridesOf(to.shape)];
  const copy = stridedCopy(element, part, target, source);
  copy(to.array, to.at * part[to.dim] * target[to.dim], from.array, from.index * part[from.dim] * source[from.dim]);
}

/** One operand after another. */
function each(site: CollectiveSite<Collective>, one: (i: number) => CollectiveKernel): CollectiveKernel {
  const kernels = site.outputs.map((_, i) => one(i));
  return function* (operands, frame, process) {
    const results: HostArray[] = [];
    for (const [i, kernel] of kernels.entries()) results.push(...(yield* kernel([operands[i]], frame, process)));
    return results;
  };
}

function allGather(site: CollectiveSite<OpOf<'all_gather'>>): CollectiveKernel {
  const { all_gather_dim: dim } = site.op.attributes;
  return each(
    site,
    (i) =>
      function* ([own], _, process) {
        const { group } = member(site.op, process);
        const [input, output] = [site.inputs[i], site.outputs[i]];
        const parts = yield* gather(own, input, group, process.rank);
        const array = hostArray(output.element, output.count);
        parts.forEach((part, at) => {
          copyPart(input, { array: part, dim, index: 0, count: 1 }, { array, shape: output.shape, dim, at });
        });
        return [array];
      },
  );
}

function allReduce(site: CollectiveSite<OpOf<'all_reduce'>>): CollectiveKernel {
  const region = site.scalarRegion(0);
  return each(
    site,
    (i) =>
      function* ([own], frame, process) {
        const { group } = member(site.op, process);
        const parts = yield* gather(own, site.inputs[i], group, process.rank);
        return [fold(parts, region, site.outputs[i], frame)];
      },
  );
}

function reduceScatter(site: CollectiveSite<OpOf<'reduce_scatter'>>): CollectiveKernel {
  const region = site.scalarRegion(0);
  const { scatter_dimension: dim } = site.op.attributes;
  const [input] = site.inputs;
  const [output] = site.outputs;
  return function* ([own], frame, process) {
    const { group, position } = member(site.op, process);
    const parts = yield* gather(own, input, group, process.rank);
    const mine = parts.map((part) => {
      const array = hostArray(output.element, output.count);
      const from = { array: part, dim, index: position, count: group.length };
      copyPart(input, from, { array, shape: output.shape, dim, at: 0 });
      return array;
    });
    return [fold(mine, region, output, frame)];
  };
}

function allToAll(site: CollectiveSite<OpOf<'all_to_all'>>): CollectiveKernel {
  const { split_dimension: split, concat_dimension: concat, split_count: count } = site.op.attributes;
  return each(
    site,
    (i) =>
      function* ([own], _, process) {
        const { group, position } = member(site.op, process);
        const [input, output] = [site.inputs[i], site.outputs[i]];
        const parts = yield* gather(own, input, group, process.rank);
        const array = hostArray(output.element, output.count);
        parts.forEach((part, at) => {
          const from = { array: part, dim: split, index: position, count };
          copyPart(input, from, { array, shape: output.shape, dim: concat, at });
        });
        return [array];
      },
  );
}

/** From one to another, to each at most one; zeros where nobody sends. */
function moved({ element, count }: Shaped, pairsOf: (grid: ProcessGrid) => readonly (readonly number[])[]) {
  return function* ([own]: readonly HostArray[], _: Frame, { rank, grid }: Process): Suspended<HostArray[]> {
    const pairs = pairsOf(grid);
    const source = pairs.find(([, target]) => target === rank)?.[0];
    const targets = pairs.flatMap(([from, target]) => (from === rank && target !== rank ? [target] : []));
    const bytes = targets.length === 0 ? new Uint8Array() : encodeElements(element, own);
    const received = yield* exchange({
      sends: targets.map((peer) => ({ peer, channel: ordered, bytes })),
      receives: source === undefined || source === rank ? [] : [{ peer: source, channel: ordered }],
    });
    if (source === undefined) return [hostArray(element, count)];
    return [source === rank ? own.slice() : decodeElements(element, received[0])];
  };
}

/** Each operand from the member of the group that its root names. */
function dynamicBroadcast(site: CollectiveSite<OpOf<'collective_broadcast'>>): CollectiveKernel {
  return function* (operands, _, process) {
    const { group } = member(site.op, process);
    const roots = operands[operands.length - 1];
    const results: HostArray[] = [];
    for (const [i, own] of operands.slice(0, -1).entries()) {
      const parts = yield* gather(own, site.inputs[i], group, process.rank);
      const root = Math.min(Math.max(Number(roots[i]), 0), parts.length - 1);
      results.push(parts[root].slice());
    }
    return results;
  };
}

/** The other end of a channel, where pairs name it. */
function peerOf({ op }: CollectiveSite<OpOf<'recv'> | OpOf<'send'>>, { rank }: Process): Message {
  const { channel_id: channel, source_target_pairs: pairs } = op.attributes;
  const [mine, other] = op.name === 'send' ? [0, 1] : [1, 0];
  return { peer: pairs.find((ids) => ids[mine] === rank)?.[other], channel };
}

function send(site: CollectiveSite<OpOf<'send'>>): CollectiveKernel {
  return function* (operands, _, process) {
    const to = peerOf(site, process);
    const sends = operands.slice(0, -1).map((array, i) => {
      return { ...to, bytes: encodeElements(site.inputs[i].element, array) };
    });
    yield* exchange({ sends, receives: [] });
    return [];
  };
}

function recv(site: CollectiveSite<OpOf<'recv'>>): CollectiveKernel {
  return function* (_operands, _frame, process) {
    const from = peerOf(site, process);
    const received = yield* exchange({ sends: [], receives: site.outputs.map(() => from) });
    return site.outputs.map(({ element }, i) => decodeElements(element, received[i]));
  };
}

/** What an op does; tensors alone are in `inputs` and `outputs`, tokens are not. */
export function collectiveKernel(site: CollectiveSite<Collective>): CollectiveKernel {
  const { op, ...rest } = site;
  switch (op.name) {
    case 'all_gather':
      return allGather({ op, ...rest });
    case 'all_reduce':
      return allReduce({ op, ...rest });
    case 'reduce_scatter':
      return reduceScatter({ op, ...rest });
    case 'all_to_all':
      return allToAll({ op, ...rest });
    case 'collective_broadcast':
      if (op.attributes.has_dynamic_root) return dynamicBroadcast({ op, ...rest });
      return each(site, (i) =>
        moved(site.outputs[i], (grid) =>
          processGroups(op, grid).flatMap((group) => group.map((target) => [group[0], target])),
        ),
      );
    case 'collective_permute':
      return moved(site.outputs[0], (grid) => processGroups(op, grid));
    case 'send':
      return send({ op, ...rest });
    case 'recv':
      return recv({ op, ...rest });
    default:
      return op satisfies never;
  }
}

/** What `partition_id` and `replica_id` are. */
export function processId(op: Op & { name: 'partition_id' | 'replica_id' }, { rank, grid }: Process): number {
  return op.name === 'partition_id' ? rank % grid.partitions : Math.floor(rank / grid.partitions);
}
