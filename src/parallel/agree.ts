/**
 * What ranks must have in common before a program runs on them, and before weights are read: each tells the others, and all
 * refuse with the reason if two differ. Facts are short texts by name: version, digest of the program, mesh, numerics, processor features.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { IngotError } from '../base/errors.ts';
import { openForeign } from '../devices/cpu/os/foreign.ts';
import type { OperatingSystem } from '../devices/cpu/os/os.ts';
import type { Communicator, NativeTransport } from '../devices/device.ts';

export type Facts = Readonly<Record<string, string>>;

/** Of a message; facts that are longer are refused by the rank that has them. */
const messageBytes = 4096;
const requestBytes = 64;
const channel = 0;

/**
 * @throws IngotError 'InvalidArgument' naming the rank and what differs, 'RankLost' for one that says nothing until `deadline`
 * (milliseconds of `performance.now()`).
 */
export async function agree(
  system: OperatingSystem,
  communicator: Communicator,
  facts: Facts,
  deadline: number,
): Promise<void> {
  const { rank, epoch } = communicator;
  const own: Facts = { epoch: String(epoch), ...facts };
  for (const [peer, theirs] of (await tellAll(system, communicator, own, deadline)).entries()) {
    for (const [name, value] of Object.entries(own)) {
      if (theirs[name] === value) continue;
      throw new IngotError(
        'InvalidArgument',
        `rank ${peer} differs from rank ${rank} in its ${name}: ${theirs[name] ?? 'none'}, not ${value}`,
        { hint: 'All ranks run the same version on the same model, with the same options.' },
      );
    }
  }
}

/** What every rank tells the others, by rank. @throws IngotError 'RankLost' for one that says nothing until `deadline`. */
export async function tellAll<T extends object>(
  system: OperatingSystem,
  { rank, size, transport }: Communicator,
  own: T,
  deadline: number,
): Promise<readonly T[]> {
  if (transport.kind !== 'native')
    throw new IngotError('InvalidArgument', 'ranks of one thread have nothing to agree on');
  const bytes = new TextEncoder().encode(JSON.stringify(own));
  if (bytes.length >= messageBytes) throw new IngotError('InvalidArgument', `facts of ${bytes.length} bytes`);
  const peers = Array.from({ length: size }, (_, i) => i).filter((i) => i !== rank);
  const told = await exchangeAll(system, transport, peers, bytes, deadline);
  const all = told.map((theirs) => JSON.parse(new TextDecoder().decode(theirs.subarray(0, theirs.indexOf(0)))) as T);
  return all.toSpliced(rank, 0, own);
}

/** What each peer sends, while each gets `own`. After a failure the memory stays: what is under way may still reach it. */
async function exchangeAll(
  system: OperatingSystem,
  transport: NativeTransport,
  peers: readonly number[],
  own: Uint8Array,
  deadline: number,
): Promise<readonly Uint8Array[]> {
  const memory = system.mapMemory((peers.length + 1) * messageBytes + 2 * peers.length * requestBytes);
  memory.bytes(0, own.length).set(own);
  const { callable } = openForeign();
  const post = { takes: ['address', 'i64', 'i64', 'address', 'i64', 'address'], returns: 'i32' } as const;
  const [isend, irecv] = [callable(transport.isend, post), callable(transport.irecv, post)];
  const test = callable(transport.test, { takes: ['address', 'address'], returns: 'i32' });
  const cancel = callable(transport.cancel, { takes: ['address', 'address'], returns: 'void' });
  const requestsAt = memory.address + (peers.length + 1) * messageBytes;
  const open = new Map<number, number>();
  peers.forEach((peer, i) => {
    const [from, to] = [requestsAt + 2 * i * requestBytes, requestsAt + (2 * i + 1) * requestBytes];
    const at = memory.address + (i + 1) * messageBytes;
    for (const [request, refused] of [
      [from, irecv(transport.context, peer, channel, at, messageBytes, from)],
      [to, isend(transport.context, peer, channel, memory.address, messageBytes, to)],
    ]) {
      if (refused !== 0) throw lost(peer);
      open.set(request, peer);
    }
  });
  while (open.size > 0) {
    for (const [request, peer] of open) {
      const through = test(transport.context, request);
      if (through !== 0) open.delete(request);
      if (through < 0) throw lost(peer);
    }
    if (open.size > 0 && performance.now() > deadline) {
      const [[, peer]] = open;
      for (const [request] of open) cancel(transport.context, request);
      throw lost(peer);
    }
    if (open.size > 0) await pause(1);
  }
  const all = peers.map((_, i) => memory.bytes((i + 1) * messageBytes, messageBytes).slice());
  memory[Symbol.dispose]();
  return all;
}

function lost(peer: number): IngotError {
  return new IngotError('RankLost', `rank ${peer} does not say what it runs`);
}
