/** Ranks of a program that are one device together, each with a part of the model: how they are reached, as plain data. */
import type { Communicator } from '../devices/device.ts';

/** A process that serves as a rank (`rank-server.ts`). */
export interface RankAddress {
  readonly kind: 'process';
  /** Host and process, for messages. */
  readonly name: string;
  /** Ranks of one host share its memory: `hostIdentity`. */
  readonly host: string;
  /** Addresses of its host, any of which may be the one that is reached. */
  readonly hosts: readonly string[];
  /** Ports: for the device, and for the question whether it is alive, which another thread answers. */
  readonly devicePort: number;
  readonly pulsePort: number;
  /** What whoever connects has to know, in hexadecimal digits. */
  readonly secret: string;
  /** That it has for itself. */
  readonly threads: number;
}

/** The process that asks is a rank itself. */
export interface OwnRank {
  readonly kind: 'here';
  /** A native one: plain numbers, which hold in every thread. */
  readonly communicator: Communicator;
  readonly host: string;
  readonly threads: number;
}

export interface RankGroup {
  readonly epoch: number;
  /** In their order. */
  readonly ranks: readonly (RankAddress | OwnRank)[];
}

/** The ranks of one replica. */
export interface Ranks {
  /** Why they are opened once, and no others in their place when they are lost. */
  readonly once?: string;
  /** With a higher epoch each time. @throws IngotError 'RankLost' where they do not come. */
  open(epoch: number, signal?: AbortSignal): Promise<RankGroup>;
}
