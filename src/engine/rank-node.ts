/** A process as a rank for a front elsewhere, from when the ranks have joined until the front is gone. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Communicator } from '../devices/device.ts';
import { giveUp, setAlone } from '../parallel/mpi.ts';
import { PulseAnswers } from '../parallel/pulse.ts';
import type { RankAddress } from '../parallel/rank-group.ts';
import { listenForFronts } from '../parallel/rank-link.ts';
import type { RankWorld } from '../parallel/rank-world.ts';
import { inheritedOptions } from './workers-node.ts';

/** What the worker is told. */
export interface RankWork {
  readonly communicator: Communicator;
  readonly listen: string | undefined;
  readonly secret: string;
  readonly epoch: number;
}

/** A front that has not come by then never does. */
const comingMilliseconds = 60_000;
/** What the worker may take to give its memory back. */
const endingMilliseconds = 8000;

/** `join` may block: the worker starts meanwhile. `onReady` gets the rank, and the addresses of all. */
export async function serveRank(
  join: () => Promise<RankWorld>,
  onReady: (rank: number, addresses: readonly (RankAddress | null)[]) => void = () => {},
): Promise<void> {
  const worker = new Worker(new URL('./rank-worker-node.js', import.meta.url), {
    name: 'ingot rank',
    ...inheritedOptions(),
  });
  const ended = once(worker, 'exit');
  const world = await joined(join, worker);
  const { communicator, threads, host } = world;
  const { epoch } = communicator;
  const { listen, hosts } = world.addresses;
  const secret = randomBytes(32).toString('hex');
  const work: RankWork = { communicator, listen, secret, epoch };
  worker.postMessage(work);
  const [devicePort] = (await once(worker, 'message')) as [number];
  let fronts = 0;
  let leave: () => void = () => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  const timer = setTimeout(() => leave(), comingMilliseconds);
  // A front that is gone has closed its device, or has died: then a run may wait for it.
  using answers = new PulseAnswers({
    onLost: (rank) => giveUp(communicator, rank),
    onSilence: (isSilent) => setAlone(communicator, isSilent),
  });
  const pulse = await listenForFronts(listen, secret, { purpose: 'pulse', epoch }, (link) => {
    clearTimeout(timer);
    fronts++;
    answers.answer(link, () => {
      if (--fronts === 0) leave();
    });
  });
  const name = `rank ${world.rank} (${hostname()}, process ${process.pid})`;
  const own: RankAddress = { kind: 'process', name, host, hosts, devicePort, pulsePort: pulse.port, secret, threads };
  onReady(world.rank, await world.introduce(own));
  await left;
  pulse.close();
  worker.postMessage('left');
  const late = setTimeout(() => worker.terminate(), endingMilliseconds);
  await ended;
  clearTimeout(late);
  await world.leave();
}

/** Where ranks cannot join, nothing is left behind. */
async function joined(join: () => Promise<RankWorld>, worker: Worker): Promise<RankWorld> {
  try {
    return await join();
  } catch (error) {
    await worker.terminate();
    throw error;
  }
}
