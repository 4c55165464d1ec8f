/**
 * A team of native threads that runs launch lists. JavaScript submits a list (one call, no system call while the threads are
 * still spinning) and waits for it, or does other things meanwhile. The submitting thread is not a member: it sleeps while it
 * waits, or prepares the next list. Nothing ever calls back into JavaScript.
 *
 * A kernel is `void kernel(arguments, u32 thread index, u32 thread count)` in the convention of os/os.ts. It must leave MXCSR
 * and the upper halves of vector registers as it found them, release AMX tiles, and return in well under a second: a list is
 * stopped at barriers only.
 */
import { IngotError } from '../../base/errors.ts';
import { assembleExchange } from './exchange-code.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import { usableThreads } from './os/os.ts';
import { type LaunchRecord, Records, TickClock } from './records.ts';
import { assembleTeam, control, entry, jumps, ringSlots, slot, threadBlock } from './team-code.ts';

/** A word of native memory that kernels read or write. */
export interface Word {
  readonly memory: Memory;
  readonly offset: number;
}

/** What the team does, in order. */
export type Launch = KernelLaunch | Jump;

/** One call of a kernel by every thread of the team. All return from it before any begins the next, unless it is `passing`. */
export interface KernelLaunch {
  readonly kind: 'kernel';
  readonly code: MappedCode;
  /** Where the kernel begins in its code. */
  readonly offset: number;
  /** What the kernel gets the address of. */
  readonly argument: Word;
  /** Threads go on from it to the next launch without meeting. There is one. */
  readonly passing?: boolean;
}

/** Goes on at launch `to` of the list (its length = the end): always, if a byte is 0, or unless an i32 is `value`. */
export type Jump =
  | { readonly kind: 'jump'; readonly to: number }
  | { readonly kind: 'jumpIfZero'; readonly to: number; readonly word: Word }
  | { readonly kind: 'jumpUnlessEqual'; readonly to: number; readonly word: Word; readonly value: number };

/** Launches in native memory, for any number of submissions. Disposing it waits for the last of them. */
export interface LaunchList extends Disposable {
  readonly length: number;
  /** What each launch took since this was last asked; none where the list is not recorded. While no run of it is on. */
  records(): readonly LaunchRecord[];
}

/** The number of a submission: 1, 2, 3 ... */
export type TeamTicket = number;

/** `stopped`: the list was left at one of its barriers, because of `abort` or an earlier deadline. `timeout`: this deadline. */
export type Outcome = 'done' | 'stopped' | 'timeout';

export interface ExchangeKernels {
  readonly code: MappedCode;
  readonly whole: number;
  readonly start: number;
  readonly finish: number;
}

export interface Team extends Disposable {
  readonly threads: number;
  /** Address of the control block (team-code.ts). */
  readonly control: number;
  /** What meets other processes: the offsets of three kernels (exchange-code.ts). */
  readonly exchange: ExchangeKernels;
  /** Lists, since it began. */
  readonly submitted: number;
  /** Ticks of the time stamp counter in some time. */
  ticks(milliseconds: number): number;
  /**
   * Puts launches into native memory. The list holds their code and memory, and `keeps`: what the arguments point to. With
   * `recorded` each launch is timed, which costs it some 100 cycles.
   * @throws IngotError 'InvalidArgument' for an offset outside of code or memory, or what is freed.
   */
  list(launches: readonly Launch[], keeps?: readonly (Memory | MappedCode)[], recorded?: boolean): LaunchList;
  /** Starts a list, after those submitted before. @throws IngotError 'InvalidArgument' when 16 lists are not done yet. */
  submit(list: LaunchList): TeamTicket;
  /** Whether a list has ended, without waiting. */
  ended(ticket: TeamTicket): boolean;
  /** As `wait`, but stops nothing: whether the list has ended when it did, or when `deadline` passes. */
  sleep(ticket: TeamTicket, deadline: number): boolean;
  /**
   * Blocks the calling JavaScript thread until a list has ended, in native calls of 100 ms at most. When `deadline` (in
   * milliseconds of `performance.now()`) passes, stops all that is submitted, and returns when the threads are quiet. Tells of the 16 latest submissions.
   * @throws IngotError 'DeviceLost' when a kernel does not return even then; the team cannot be used any more.
   */
  wait(ticket: TeamTicket, deadline: number): Outcome;
  /** Stops all that is submitted, at the next barrier of each list. Does not wait. */
  abort(): void;
}

const spinMicroseconds = 50;
const sliceMilliseconds = 100;

export interface TeamOptions {
  readonly threads: number;
  /** How long a kernel may take to return once its list is to stop. */
  readonly graceMilliseconds?: number;
}

export function createTeam(system: OperatingSystem, options: TeamOptions): Team {
  return new NativeTeam(system, options);
}

function invalid(message: string): IngotError {
  return new IngotError('InvalidArgument', message, { device: 'cpu' });
}

class NativeTeam implements Team {
  readonly threads: number;
  readonly #system: OperatingSystem;
  readonly #grace: number;
  readonly #code: MappedCode;
  readonly #memory: Memory;
  readonly #longs: BigUint64Array<ArrayBuffer>;
  readonly #joins: (() => void)[] = [];
  readonly #wakeTeam: (control: number) => number;
  readonly #awaitTeam: (control: number, lists: number, microseconds: number, spins: number) => number;
  readonly #waiterSpins: number;
  /** What the threads may still use; let go when they are joined, and never if one is lost. */
  readonly #holds: Disposable[];
  /** It begins with the team: who asks for the length of a tick waits until enough of them have gone by. */
  readonly clock: TickClock;
  #exchange: ExchangeKernels | undefined;
  #submitted = 0;
  #state: 'open' | 'disposed' | 'lost' = 'open';

  constructor(system: OperatingSystem, { threads, graceMilliseconds = 10_000 }: TeamOptions) {
    if (!Number.isInteger(threads) || threads < 1 || threads > 1024) throw invalid(`a team of ${threads} threads`);
    this.#system = system;
    this.threads = threads;
    this.#grace = graceMilliseconds;
    const { code, thread, submit, wait, spin, clock } = assembleTeam(threads, system.futex, system.architecture);
    this.#code = system.mapCode(code.bytes);
    this.#memory = system.mapMemory(control.bytes + threads * threadBlock.bytes, { alignment: 128 });
    this.#longs = new BigUint64Array(this.#memory.bytes().buffer as ArrayBuffer);
    this.#holds = [this.#code.hold(), this.#memory.hold()];
    const { address } = this.#memory;
    this.#wakeTeam = this.#code.callable(submit, { takes: ['address'], returns: 'void' });
    this.#awaitTeam = this.#code.callable(wait, { takes: ['address', 'i64', 'u32', 'i32'], returns: 'i32' });
    this.clock = new TickClock(this.#code, clock, this.#memory, control.clock);

    const limits = system.limits();
    const spare = usableThreads(limits) - threads;
    const turns = spinTurns((count) =>
      this.#code.callable(spin, { takes: ['address', 'u32'], returns: 'void' })(address, count),
    );
    // Spinning pays only where it takes no core from a thread that works.
    this.#set(control.spins, spare >= 0 ? turns : 0);
    this.#waiterSpins = spare > 0 ? turns : 0;

    for (let index = 0; index < threads; index++) {
      const block = control.bytes + index * threadBlock.bytes;
      this.#set(block + threadBlock.control, address);
      this.#set(block + threadBlock.index, index);
      try {
        const cores = coresOf(index, threads, limits.cores);
        const { join } = system.startThread(this.#code.address + thread, address + block, cores);
        this.#joins.push(join);
      } catch (error) {
        this[Symbol.dispose]();
        throw error;
      }
    }
  }

  list(launches: readonly Launch[], keeps: readonly (Memory | MappedCode)[] = [], recorded = false): LaunchList {
    this.#checkOpen();
    return new NativeList(this, this.#system, launches, keeps, recorded);
  }

  ticks(milliseconds: number): number {
    return Math.round(milliseconds / 1000 / this.clock.secondsPerTick());
  }

  get control(): number {
    return this.#memory.address;
  }

  get exchange(): ExchangeKernels {
    if (this.#exchange === undefined) {
      const { code, ...offsets } = assembleExchange(this.#system.yield, this.#system.architecture);
      this.#exchange = { code: this.#system.mapCode(code.bytes), ...offsets };
      this.#holds.push(this.#exchange.code.hold());
    }
    return this.#exchange;
  }

  get submitted(): number {
    return this.#submitted;
  }

  submit(list: LaunchList): TeamTicket {
    this.#checkOpen();
    if (!(list instanceof NativeList) || list.team !== this) throw invalid('a list that another team has made');
    this.#enqueue(list.range());
    list.latest = this.#submitted;
    return this.#submitted;
  }

  ended(ticket: TeamTicket): boolean {
    return this.#get(control.done) >= ticket;
  }

  wait(ticket: TeamTicket, deadline: number): Outcome {
    if (ticket > this.#submitted || ticket <= this.#submitted - ringSlots) {
      throw invalid(`run ${ticket} is none of the latest ${ringSlots}, which end with ${this.#submitted}`);
    }
    const inTime = this.ended(ticket) || this.sleep(ticket, deadline);
    if (!inTime) this.#stop();
    const stopped = this.#get(control.ring + ((ticket - 1) % ringSlots) * slot.bytes + slot.stopped) !== 0;
    return stopped ? (inTime ? 'stopped' : 'timeout') : 'done';
  }

  abort(): void {
    if (this.#state === 'open') this.#set(control.abortThrough, this.#submitted);
  }

  [Symbol.dispose](): void {
    if (this.#state !== 'open') return;
    if (this.#joins.length > 0) {
      this.#stop();
      // A list without a first entry ends the threads.
      this.#enqueue({ first: 0, end: 0, records: 0, recordStride: 0 });
      for (const join of this.#joins) join();
    }
    this.#state = 'disposed';
    for (const hold of this.#holds) hold[Symbol.dispose]();
    this.#code[Symbol.dispose]();
    this.#exchange?.code[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  #enqueue(range: ListRange): void {
    if (this.#submitted - this.#get(control.done) >= ringSlots) {
      throw invalid(`${ringSlots} runs are submitted and not done: wait for one of them`);
    }
    const at = control.ring + (this.#submitted % ringSlots) * slot.bytes;
    this.#set(at + slot.first, range.first);
    this.#set(at + slot.end, range.end);
    this.#set(at + slot.stopped, 0);
    this.#set(at + slot.records, range.records);
    this.#set(at + slot.recordStride, range.recordStride);
    this.#submitted++;
    this.#wakeTeam(this.#memory.address);
  }

  sleep(ticket: TeamTicket, deadline: number): boolean {
    for (;;) {
      const left = deadline - performance.now();
      const microseconds = Math.ceil(Math.max(0, Math.min(left, sliceMilliseconds)) * 1000);
      if (this.#awaitTeam(this.#memory.address, ticket, microseconds, left > 0 ? this.#waiterSpins : 0) !== 0)
        return true;
      if (left <= 0) return false;
    }
  }

  /** Stops all lists, and returns when all threads are quiet. */
  #stop(): void {
    this.abort();
    if (this.sleep(this.#submitted, performance.now() + this.#grace)) return;
    this.#state = 'lost';
    const at = (index: number) => this.#get(control.bytes + index * threadBlock.bytes + threadBlock.at);
    const busy = Array.from({ length: this.threads }, (_, index) => index).filter((index) => at(index) !== 0);
    throw new IngotError('DeviceLost', `a kernel does not return (threads ${busy.join(', ')} of ${this.threads})`, {
      device: 'cpu',
      hint: 'The process has to be started again: native code cannot be interrupted.',
    });
  }

  /** Waits for a run whose memory is to go. False where it never ends, so that the memory has to stay. */
  settle(ticket: TeamTicket): boolean {
    if (this.#state === 'disposed' || this.ended(ticket)) return true;
    if (this.#state === 'lost') return false;
    if (!this.sleep(ticket, performance.now() + this.#grace)) this.#stop();
    return true;
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw invalid(`a team that is ${this.#state}`);
  }

  #get(at: number): number {
    return Number(Atomics.load(this.#longs, at / 8));
  }

  #set(at: number, value: number): void {
    Atomics.store(this.#longs, at / 8, BigInt(value));
  }
}

/** Of native memory: addresses of the first entry, behind the last one, and of the records (0: none). */
interface ListRange {
  readonly first: number;
  readonly end: number;
  readonly records: number;
  readonly recordStride: number;
}

class NativeList implements LaunchList {
  readonly length: number;
  readonly team: NativeTeam;
  latest: TeamTicket = 0;
  readonly #memory: Memory;
  readonly #records: Records | undefined;
  readonly #holds: Disposable[] = [];
  #disposed = false;

  constructor(
    team: NativeTeam,
    system: OperatingSystem,
    launches: readonly Launch[],
    keeps: readonly (Memory | MappedCode)[],
    recorded: boolean,
  ) {
    this.team = team;
    this.length = launches.length;
    launches.forEach((launch, index) => {
      checkLaunch(launch, index, launches.length);
    });
    const used = new Set([...launches.flatMap(touched), ...keeps]);
    this.#memory = system.mapMemory(Math.max(1, launches.length) * entry.bytes);
    try {
      for (const one of used) this.#holds.push(one.hold());
      if (recorded && launches.length > 0) this.#records = new Records(system, team.threads, launches.length);
    } catch (error) {
      this.#free();
      throw error;
    }
    const longs = new BigUint64Array(this.#memory.bytes().buffer);
    const addressOf = ({ memory, offset }: Word) => BigInt(memory.address + offset);
    launches.forEach((launch, index) => {
      const write = (field: keyof typeof entry, value: bigint) => {
        longs[(index * entry.bytes + entry[field]) / 8] = value;
      };
      switch (launch.kind) {
        case 'kernel':
          write('code', BigInt(launch.code.address + launch.offset));
          write('argument', addressOf(launch.argument));
          write('value', launch.passing ? 1n : 0n);
          return;
        case 'jump':
          write('code', BigInt(jumps.always));
          break;
        case 'jumpIfZero':
          write('code', BigInt(jumps.ifZero));
          write('argument', addressOf(launch.word));
          break;
        case 'jumpUnlessEqual':
          write('code', BigInt(jumps.unlessEqual));
          write('argument', addressOf(launch.word));
          write('value', BigInt(launch.value >>> 0));
          break;
        default:
          launch satisfies never;
      }
      write('target', BigInt(this.#memory.address + launch.to * entry.bytes));
    });
  }

  range(): ListRange {
    if (this.#disposed) throw invalid('a list that is freed');
    const first = this.#memory.address;
    const { address = 0, stride = 0 } = this.#records ?? {};
    return { first, end: first + this.length * entry.bytes, records: address, recordStride: stride };
  }

  records(): readonly LaunchRecord[] {
    return this.#records?.take(this.team.clock) ?? [];
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    const settled = this.team.settle(this.latest);
    this.#disposed = true;
    if (settled) this.#free();
  }

  #free(): void {
    this.#records?.[Symbol.dispose]();
    for (const hold of this.#holds) hold[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}

function touched(launch: Launch): readonly (Memory | MappedCode)[] {
  switch (launch.kind) {
    case 'kernel':
      return [launch.code, launch.argument.memory];
    case 'jump':
      return [];
    case 'jumpIfZero':
    case 'jumpUnlessEqual':
      return [launch.word.memory];
    default:
      return launch satisfies never;
  }
}

function checkLaunch(launch: Launch, index: number, count: number): void {
  const inside = (at: number, length: number) => Number.isInteger(at) && at >= 0 && at < length;
  const checkWord = ({ memory, offset }: Word) => {
    if (!inside(offset, memory.length)) {
      throw invalid(`launch ${index}: a word at ${offset} of ${memory.length} bytes`);
    }
  };
  if (launch.kind !== 'kernel') {
    if (!inside(launch.to, count + 1)) throw invalid(`launch ${index}: a jump to ${launch.to} of ${count} launches`);
    if (launch.kind !== 'jump') checkWord(launch.word);
    return;
  }
  const { code, offset } = launch;
  if (!inside(offset, code.length))
    throw invalid(`launch ${index}: a kernel at ${offset} of ${code.length} bytes of code`);
  checkWord(launch.argument);
  if (launch.passing && index === count - 1) throw invalid(`launch ${index}: nothing is behind it to pass on to`);
}

/**
 * Each thread has its own part of the cores, so that the scheduler cannot put two on one core, as it does with threads that wake
 * each other (measured on two cores: a barrier takes 20 us instead of 0.1). One thread, or more than there are cores, run anywhere.
 */
function coresOf(index: number, threads: number, cores: readonly number[]): readonly number[] | undefined {
  if (threads === 1 || threads > cores.length) return undefined;
  const edge = (part: number) => Math.floor((part * cores.length) / threads);
  return cores.slice(edge(index), edge(index + 1));
}

/** Turns of the spinning loop in the time that a thread spins: PAUSE takes 10 to 140 cycles. The quickest of a few tries counts. */
function spinTurns(spin: (turns: number) => void): number {
  const turns = 1000;
  let best = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 4; attempt++) {
    const start = performance.now();
    spin(turns);
    best = Math.min(best, performance.now() - start);
  }
  return Math.round((turns * spinMicroseconds) / 1000 / Math.max(best, 0.001));
}
