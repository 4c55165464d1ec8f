/**
 * What the launches of a list took, thread by thread: the team's code adds ticks of the time stamp counter to records in native
 * memory (team-code.ts), one an entry of the list and thread, so that branches and loops need no more room than anything else.
 */
import { alignUp } from './align.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import { record } from './team-code.ts';

/** The times of one launch, by thread. */
export interface LaunchRecord {
  /** How often it was come to: launches within branches and loops less or more often than the list was run. */
  readonly calls: number;
  /** Seconds in the kernel. */
  readonly busy: readonly number[];
  /** Seconds at the barrier after it. */
  readonly waited: readonly number[];
  /** When it last began, in milliseconds of `performance.now()`. */
  readonly began: readonly number[];
}

export class Records implements Disposable {
  /** Bytes from one thread's records to the next one's. */
  readonly stride: number;
  readonly #threads: number;
  readonly #launches: number;
  readonly #memory: Memory;

  constructor(system: OperatingSystem, threads: number, launches: number) {
    this.#threads = threads;
    this.#launches = launches;
    // Processors fetch cache lines of 64 bytes in pairs.
    this.stride = alignUp(launches * record.bytes, 128);
    this.#memory = system.mapMemory(threads * this.stride, { alignment: 128 });
  }

  get address(): number {
    return this.#memory.address;
  }

  /** What was recorded since the last call. While no run of the list is on. */
  take(clock: TickClock): readonly LaunchRecord[] {
    const secondsPerTick = clock.secondsPerTick();
    const words = new BigUint64Array(this.#memory.bytes().buffer);
    const all = Array.from({ length: this.#launches }, (_, launch): LaunchRecord => {
      const of = (field: number) =>
        Array.from({ length: this.#threads }, (_, thread) =>
          Number(words[(thread * this.stride + launch * record.bytes + field) / 8]),
        );
      const seconds = (field: number) => of(field).map((ticks) => ticks * secondsPerTick);
      const began = of(record.began).map((ticks) => clock.milliseconds(ticks, secondsPerTick));
      return { calls: of(record.calls)[0], busy: seconds(record.busy), waited: seconds(record.waited), began };
    });
    words.fill(0n);
    return all;
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

/** How long a tick of the time stamp counter takes, by the clock of JavaScript: the longer it runs, the better it knows. */
export class TickClock {
  readonly #read: () => bigint;
  readonly #start: Reading;

  /** `clock`: where in the code the function lies that puts the counter into memory. */
  constructor(code: MappedCode, clock: number, memory: Memory, offset: number) {
    const call = code.callable(clock, { takes: ['address'], returns: 'void' });
    const { buffer, byteOffset } = memory.bytes(offset, 8);
    const word = new BigUint64Array(buffer, byteOffset, 1);
    this.#read = () => {
      call(memory.address + offset);
      return word[0];
    };
    this.#start = this.#both();
  }

  /** `performance.now()` when the counter stood at `ticks`. */
  milliseconds(ticks: number, secondsPerTick: number): number {
    const { ticks: start, milliseconds } = this.#start;
    return milliseconds + 1000 * secondsPerTick * (ticks - Number(start));
  }

  secondsPerTick(): number {
    const { ticks, milliseconds } = this.#start;
    for (;;) {
      const now = this.#both();
      const elapsed = now.milliseconds - milliseconds;
      if (elapsed >= leastMilliseconds) return elapsed / 1000 / Number(now.ticks - ticks);
    }
  }

  /** Both clocks at one moment: the pair between whose readings least time went by, since any may be interrupted. */
  #both(): Reading {
    let best: Reading | undefined;
    let shortest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < readings || best === undefined; i++) {
      const before = performance.now();
      const ticks = this.#read();
      const took = performance.now() - before;
      if (took >= shortest) continue;
      shortest = took;
      best = { ticks, milliseconds: before + took / 2 };
    }
    return best;
  }
}

interface Reading {
  readonly ticks: bigint;
  readonly milliseconds: number;
}

const leastMilliseconds = 20;
const readings = 5;
