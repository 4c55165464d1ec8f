/**
 * An image with addresses: launches whose arguments lie in native memory. What depends on the dimensions of a run, and where its
 * large results go, is patched into those before each submission.
 */
import type { DimSymbol } from '../../ir/types.ts';
import { ExchangeTables, exchangeFacts, finishFacts, type Membership } from './exchange-tables.ts';
import type { Layout, Spot } from './image.ts';
import type { CostOf } from './link.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import type { Profiler, RunFacts } from './profile.ts';
import type { LargeResults } from './results.ts';
import type { Launch, LaunchList, Team, Word } from './team.ts';

/** Launches of a binding in native memory. */
export interface Instance extends Disposable {
  readonly list: LaunchList;
  /** Before a submission, while none of this instance is running; `results`: memory of those that have their own. */
  begin(run: RunFacts, results: LargeResults): void;
  /** After each run. */
  end(): void;
}

export interface InstanceMemory {
  readonly code: MappedCode;
  readonly constants: Memory;
  readonly arena: Memory;
  /** Of main's weights and states, by index. */
  readonly parameters: readonly (Memory | undefined)[];
}

/** `costs`: of each entry; needed where the profiler records. */
export function instantiate(
  system: OperatingSystem,
  team: Team,
  membership: Membership,
  { entries }: Layout,
  { code, constants, arena, parameters }: InstanceMemory,
  profiler: Profiler,
  costs: readonly (CostOf | undefined)[],
): Instance {
  const memoryOf = (spot: Spot): Memory | undefined => {
    switch (spot.base) {
      case 'arena':
        return arena;
      case 'constants':
        return constants;
      case 'parameter':
        return parameters[spot.index];
      case 'result':
        return undefined; // of a run
      default:
        return spot satisfies never;
    }
  };
  const wordAt = (spot: Spot): Word => {
    const memory = memoryOf(spot);
    if (memory === undefined) throw new Error('a launch uses memory that nobody gives');
    return { memory, offset: spot.offset };
  };
  const words = entries.reduce((sum, entry) => sum + (entry.kind === 'kernel' ? entry.args.length : 0), 0);
  const block = system.mapMemory(Math.max(8, 8 * words));
  const longs = new BigUint64Array(block.bytes().buffer as ArrayBuffer);
  /** Words that hold a dimension, and what it was in the latest run. */
  const dimWords = new Map<DimSymbol, { value: number; readonly at: number[] }>();
  /** Words that hold an address in a result of its own memory. */
  const resultWords: { readonly at: number; readonly index: number; readonly offset: number }[] = [];
  const wordsOf = (sym: DimSymbol) => {
    const known = dimWords.get(sym) ?? { value: 0, at: [] };
    dimWords.set(sym, known);
    return known;
  };
  const meets = entries.some(({ kind }) => kind === 'exchange');
  const addressOf = (spot: Spot) => {
    const { memory, offset } = wordAt(spot);
    return memory.address + offset;
  };
  const exchanges = meets ? new ExchangeTables(system, team, entries, membership, addressOf) : undefined;
  let at = 0;
  const launches = entries.map((entry): Launch => {
    if (entry.kind === 'jump') {
      const { to, test } = entry;
      if (test === undefined) return { kind: 'jump', to };
      const word = wordAt(test.at);
      if (test.equals === undefined) return { kind: 'jumpIfZero', to, word };
      return { kind: 'jumpUnlessEqual', to, word, value: test.equals };
    }
    if (entry.kind === 'exchange' || entry.kind === 'finish') {
      if (exchanges === undefined) throw new Error('an exchange without a table');
      const { code, whole, start, finish } = team.exchange;
      const table = exchanges.offset(entry.kind === 'finish' ? entries[entry.of] : entry);
      const argument = { memory: exchanges.memory, offset: table };
      if (entry.kind === 'finish') return { kind: 'kernel', code, offset: finish, argument };
      return { kind: 'kernel', code, offset: entry.starts ? start : whole, argument, passing: entry.starts };
    }
    const argument = { memory: block, offset: 8 * at };
    for (const arg of entry.args) {
      if ('sym' in arg) {
        wordsOf(arg.sym).at.push(at);
      } else if (arg.base === 'result') {
        resultWords.push({ at, index: arg.index, offset: arg.offset });
      } else {
        const { memory, offset } = wordAt(arg);
        longs[at] = BigInt(memory.address + offset);
      }
      at++;
    }
    return { kind: 'kernel', code, offset: entry.kernel.offset, argument };
  });
  const held = [arena, constants, ...parameters.filter((memory) => memory !== undefined)];
  const list = team.list(launches, held, profiler.records);
  const facts = entries.map((entry, i) => {
    const cost = costs[i];
    if (entry.kind === 'exchange') return exchangeFacts(entry, membership);
    if (entry.kind === 'finish') return finishFacts;
    return entry.kind === 'kernel' && cost !== undefined ? { kernel: entry.kernel.name, cost } : undefined;
  });
  const recording = profiler.records ? profiler.recording(list, facts) : undefined;
  return {
    list,
    begin(run, results) {
      for (const { at, index, offset } of resultWords) longs[at] = BigInt((results[index]?.address ?? 0) + offset);
      for (const [sym, holder] of dimWords) {
        const value = run.dims[sym] ?? 0;
        // Thousands of words, and from one token to the next they stay.
        if (value !== holder.value) for (const index of holder.at) longs[index] = BigInt(value);
        holder.value = value;
      }
      exchanges?.begin(run.dims);
      recording?.begin(run);
    },
    end: () => recording?.end(),
    [Symbol.dispose]() {
      recording?.[Symbol.dispose]();
      list[Symbol.dispose]();
      exchanges?.[Symbol.dispose]();
      block[Symbol.dispose]();
    },
  };
}
