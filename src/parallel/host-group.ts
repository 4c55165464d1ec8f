/**
 * Ranks on one JavaScript thread, for devices whose runs are left at collectives (the reference device): mailboxes of
 * bytes, one for every pair of ranks and channel.
 */
import { IngotError } from '../base/errors.ts';
import type { Communicator } from '../devices/device.ts';

export interface GroupOptions {
  readonly epoch?: number;
  /** How long a rank waits for a message of another before it gives that one up. */
  readonly patienceMilliseconds?: number;
}

/**
 * What a peer may take to answer, unless somebody says otherwise: what is late is only that. Who is lost is found out sooner, by its
 * pulse (pulse.ts); ranks of one process are lost together.
 */
export const defaultPatience = 30_000;

interface Waiter {
  take(bytes: Uint8Array): void;
}

/** Messages that nobody has taken, or takers that wait for one. */
class Mailbox {
  readonly #messages: Uint8Array[] = [];
  readonly #waiters: Waiter[] = [];

  put(bytes: Uint8Array): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#messages.push(bytes);
    else waiter.take(bytes);
  }

  /** The next message; undefined when it has not come in time. */
  take(milliseconds: number): Promise<Uint8Array | undefined> {
    const message = this.#messages.shift();
    if (message !== undefined) return Promise.resolve(message);
    return new Promise((resolve) => {
      const waiter: Waiter = {
        take: (bytes) => {
          clearTimeout(timer);
          resolve(bytes);
        },
      };
      const timer = setTimeout(
        () => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          resolve(undefined);
        },
        Math.max(0, milliseconds),
      );
      this.#waiters.push(waiter);
    });
  }
}

/** The ends of a group of `size` ranks, by rank. */
export function createHostGroup(size: number, options: GroupOptions = {}): readonly Communicator[] {
  const { epoch = 0, patienceMilliseconds = defaultPatience } = options;
  const boxes = new Map<string, Mailbox>();
  const box = (from: number | undefined, to: number | undefined, channel: number): Mailbox => {
    // Whoever names no peer meets whoever names none: the channel is all that they have in common.
    const key = from === undefined || to === undefined ? `${channel}` : `${from} ${to} ${channel}`;
    const found = boxes.get(key) ?? new Mailbox();
    boxes.set(key, found);
    return found;
  };
  return Array.from({ length: size }, (_, rank): Communicator => {
    return {
      rank,
      size,
      epoch,
      transport: {
        kind: 'host',
        send(peer, channel, bytes) {
          box(peer === undefined ? undefined : rank, peer, channel).put(bytes.slice());
        },
        async receive(peer, channel, deadline) {
          const left = deadline - performance.now();
          const bytes = await box(peer, peer === undefined ? undefined : rank, channel).take(
            Math.min(left, patienceMilliseconds),
          );
          if (bytes !== undefined) return bytes;
          const who = peer === undefined ? `nobody on channel ${channel}` : `rank ${peer}`;
          if (left <= patienceMilliseconds) {
            throw new IngotError('DeadlineExceeded', `the deadline passed while rank ${rank} waited for ${who}`);
          }
          throw new IngotError('RankLost', `${who} has sent nothing to rank ${rank} for ${patienceMilliseconds} ms`);
        },
      },
    };
  });
}
