/** What one process does in the exchanges of a binding, as tables in native memory for `exchange-code.ts`. */
import { IngotError } from '../../base/errors.ts';
import type { Cost } from '../../compiler/cost.ts';
import { transfersOf } from '../../compiler/exchange.ts';
import type { ProcessGrid } from '../../ir/process-groups.ts';
import type { DimSymbol } from '../../ir/types.ts';
import type { Communicator, NativeTransport } from '../device.ts';
import { alignUp } from './align.ts';
import { fill, head, lostPeer, message } from './exchange-code.ts';
import type { Entry, Region, Spot } from './image.ts';
import type { Memory, OperatingSystem } from './os/os.ts';
import type { LaunchFacts, RunFacts } from './profile.ts';
import type { Team } from './team.ts';

/** A process of the grid, and how it reaches the others; alone it reaches nobody. */
export interface Membership {
  readonly rank: number;
  readonly grid: ProcessGrid;
  readonly transport: NativeTransport | undefined;
}

/** @throws IngotError 'InvalidArgument' for a transport that native code cannot use. */
export function membership(grid: ProcessGrid, communicator: Communicator | undefined): Membership {
  if (communicator === undefined) return { rank: 0, grid, transport: undefined };
  const { rank, transport } = communicator;
  if (transport.kind === 'native') return { rank, grid, transport };
  throw new IngotError('InvalidArgument', 'the communicator has no transport for native code', { device: 'cpu' });
}

/** Who is lost of the other processes, as an error. */
export function lostRank(system: OperatingSystem, { rank, transport }: Membership): IngotError | undefined {
  if (transport === undefined) return undefined;
  const word = system.load(transport.lost);
  if (word === 0) return undefined;
  const who = word === lostPeer(-1) ? 'the other end of a channel' : `rank ${word - lostPeer(0)}`;
  const message = `rank ${rank} has lost ${who}: it is dead, stopped, or does something else`;
  return new IngotError('RankLost', message, { device: 'cpu' });
}

type ExchangeEntry = Extract<Entry, { kind: 'exchange' }>;

/** What a process does in an exchange, for the profile: the bytes that it moves, and of these those that go to others. */
export function exchangeFacts(
  { exchange, starts, operands, results }: ExchangeEntry,
  { rank, grid }: Membership,
): LaunchFacts {
  const { sends, receives, counts } = transfersOf(exchange, rank, grid.partitions, results.length);
  const moved = counts.length > 0 ? results : [...operands, ...results];
  const sent = sends.map(({ index }) => operands[index]);
  const bytesOf = (regions: readonly Region[], { dims }: RunFacts) =>
    regions.reduce((sum, { bytes, rows }) => sum + (rows === undefined ? bytes : bytes * (dims[rows] ?? 0)), 0);
  return {
    kernel: `exchange (${exchange.kind}${starts ? ', start' : ''})`,
    cost: (run): Cost => ({ bytes: bytesOf(moved, run), operations: 0, element: 'i8' }),
    ...(sends.length + receives.length > 0 && { sent: (run: RunFacts) => bytesOf(sent, run) }),
  };
}

/** The second half of an exchange, whose bytes are those of the first. */
export const finishFacts: LaunchFacts = {
  kernel: 'exchange (finish)',
  cost: () => ({ bytes: 0, operations: 0, element: 'i8' }),
  sent: () => 0,
};

/** A word of the tables that holds the bytes of so many rows, or, as if they had one each, their number. */
interface RowWord {
  readonly sym: DimSymbol;
  readonly index: number;
  readonly bytes: number;
}

const spinMilliseconds = 0.05;
/** What a rank waits for others that nobody asks whether it is alive: it is cut off from those who would tell it that one is lost. */
const aloneMilliseconds = 2000;
/** In front of the tables: a word for who has nobody to lose, and is not alone. */
const first = 64;

export class ExchangeTables implements Disposable {
  readonly memory: Memory;
  readonly #rows: RowWord[] = [];
  readonly #longs: BigUint64Array;
  readonly #offsets = new Map<Entry, number>();

  /** `address`: of a place in the memory of the binding. */
  constructor(
    system: OperatingSystem,
    team: Team,
    entries: readonly Entry[],
    { rank, grid, transport }: Membership,
    address: (spot: Spot) => number,
  ) {
    const planned = entries.flatMap((entry) => {
      if (entry.kind !== 'exchange') return [];
      const transfers = transfersOf(entry.exchange, rank, grid.partitions, entry.results.length);
      const { sends, receives, copies, zeros, numbers, counts } = transfers;
      const fills = copies.length + zeros.length + numbers.length + counts.length;
      // Numbers stand behind all else.
      const numbersAt = head.bytes + (sends.length + receives.length) * message.bytes + fills * fill.bytes;
      return [
        { entry, transfers, fills, numbersAt, bytes: alignUp(numbersAt + 8 * (numbers.length + counts.length), 128) },
      ];
    });
    this.memory = system.mapMemory(planned.reduce((sum, { bytes }) => sum + bytes, first));
    this.#longs = new BigUint64Array(this.memory.bytes().buffer as ArrayBuffer);
    const set = (at: number, value: number) => {
      this.#longs[at / 8] = BigInt.asUintN(64, BigInt(value));
    };
    const setLength = (at: number, { bytes, rows }: Region) => {
      if (rows === undefined) set(at, bytes);
      else this.#rows.push({ sym: rows, index: at / 8, bytes });
    };
    const patience = transport?.patienceMilliseconds ?? 0;
    const ticks = {
      spin: transport?.crowded ? 0 : team.ticks(spinMilliseconds),
      patience: team.ticks(patience),
      alone: team.ticks(Math.min(patience, aloneMilliseconds)),
    };
    let table = first;
    for (const { entry, transfers, fills, numbersAt, bytes } of planned) {
      this.#offsets.set(entry, table);
      const { channel, sends, receives, copies, zeros, numbers, counts } = transfers;
      set(table + head.control, team.control);
      set(table + head.context, transport?.context ?? 0);
      set(table + head.isend, transport?.isend ?? 0);
      set(table + head.irecv, transport?.irecv ?? 0);
      set(table + head.test, transport?.test ?? 0);
      set(table + head.cancel, transport?.cancel ?? 0);
      set(table + head.lost, transport?.lost ?? this.memory.address);
      set(table + head.alone, transport?.alone ?? this.memory.address);
      set(table + head.spin, ticks.spin);
      set(table + head.patience, ticks.patience);
      set(table + head.alonePatience, ticks.alone);
      set(table + head.messages, sends.length + receives.length);
      set(table + head.fills, fills);
      let at = table + head.bytes;
      // What is received is posted first, so that it can come without a detour.
      for (const [received, list, regions] of [
        [1, receives, entry.results],
        [0, sends, entry.operands],
      ] as const) {
        for (const { peer, index } of list) {
          set(at + message.received, received);
          set(at + message.peer, peer ?? -1);
          set(at + message.channel, channel);
          set(at + message.address, address(regions[index].spot));
          setLength(at + message.length, regions[index]);
          at += message.bytes;
        }
      }
      for (const { from, to } of copies) {
        set(at + fill.to, address(entry.results[to].spot));
        set(at + fill.from, address(entry.operands[from].spot));
        setLength(at + fill.length, entry.results[to]);
        at += fill.bytes;
      }
      for (const to of zeros) {
        set(at + fill.to, address(entry.results[to].spot));
        setLength(at + fill.length, entry.results[to]);
        at += fill.bytes;
      }
      const rowsOf = ({ from, to }: { readonly from: number; readonly to: number }) => {
        const { rows: sym } = entry.operands[from];
        if (sym === undefined) throw new Error('rows of what has no symbolic ones are counted');
        return { to, sym };
      };
      for (const [i, number] of [...numbers, ...counts.map(rowsOf)].entries()) {
        const { to } = number;
        if ('value' in number) set(table + numbersAt + 8 * i, number.value);
        else this.#rows.push({ sym: number.sym, index: (table + numbersAt + 8 * i) / 8, bytes: 1 });
        set(at + fill.to, address(entry.results[to].spot));
        set(at + fill.from, this.memory.address + table + numbersAt + 8 * i);
        setLength(at + fill.length, entry.results[to]);
        at += fill.bytes;
      }
      table += bytes;
    }
  }

  /** Where the table of an entry lies in the memory. */
  offset(entry: Entry): number {
    return this.#offsets.get(entry) ?? 0;
  }

  /** Before a run. */
  begin(dims: Readonly<Partial<Record<DimSymbol, number>>>): void {
    for (const { sym, index, bytes } of this.#rows) this.#longs[index] = BigInt(bytes * (dims[sym] ?? 0));
  }

  [Symbol.dispose](): void {
    this.memory[Symbol.dispose]();
  }
}
