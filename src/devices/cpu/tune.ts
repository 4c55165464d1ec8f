/** Finds the schedule and the number of threads that are the quickest on this machine for the matrices of a model. */
import { IngotError } from '../../base/errors.ts';
import { median, type SearchOptions, search } from '../tuner.ts';
import type { MatrixShape } from './matrix-shapes.ts';
import type { OperatingSystem } from './os/os.ts';
import { usableThreads } from './os/os.ts';
import { choices, type Schedule } from './schedule.ts';
import { type Target, targetKey } from './target.ts';
import { createTeam, type Team } from './team.ts';
import { type PreparedWork, type Work, Works } from './tune-works.ts';

export interface Tuned {
  readonly schedule: Schedule;
  /** As many as the process may use, or fewer where those are quicker: where two of them share a core, or memory has no more to give. */
  readonly threads: number;
  /** How many times as fast each piece of work is as with the target's own schedule and all threads. */
  readonly gains: readonly { readonly work: string; readonly gain: number }[];
}

/** What is measured first decides more. */
const names = [
  ...[
    'streams',
    'prefetchBytes',
    'prefetch',
    'unpackedTokens',
    'decodedIntegers',
    'decodedFloats',
    'directTokens',
    'sharing',
  ],
  ...[
    'attentionUnits',
    'attentionRows',
    'loopBits',
    'chainVectors',
    'loopVectors',
    'tileSide',
    'stripBytes',
    'streamedBytes',
  ],
] as const satisfies readonly (keyof Schedule)[];

/** What is searched: a schedule and who works by it. */
interface Choice extends Schedule {
  readonly team: Team;
}

/** Pairs of measurements that say what was gained. */
const lastPairs = 9;

/**
 * The target's own schedule and all threads where nothing is quicker.
 * @throws IngotError 'OutOfMemory'; 'DeviceFault' where another schedule has other results, which none may have.
 */
export async function tuneMachine(
  system: OperatingSystem,
  target: Target,
  shapes: readonly MatrixShape[],
  options: SearchOptions,
): Promise<Tuned> {
  const usable = usableThreads(system.limits());
  using teams = new Teams(system, usable);
  using works = new Works(system, teams.all, target, shapes);
  using bench = new Bench(works.list, target);
  const used = new Set(works.list.flatMap((work) => work.choices));
  const isUsed = (work: Work, name: keyof Choice) => name === 'team' || work.choices.includes(name);
  const start: Choice = { ...target.schedule, team: teams.all };
  const found = await search<Choice>(
    {
      start,
      choices: { ...choices, team: teams.list },
      names: [...names.filter((name) => used.has(name)), 'team'],
      measure: (choice, name) => bench.seconds(choice, (work) => isUsed(work, name)),
    },
    options,
  );
  const changed = [...names, 'team' as const].filter((name) => found[name] !== start[name]);
  const gained = (work: Work) => changed.some((name) => isUsed(work, name));
  const some = works.list.filter(gained);
  const pairs = Array.from({ length: changed.length === 0 ? 0 : lastPairs }, (_, i) => {
    const order = i % 2 === 0 ? [start, found] : [found, start];
    const times = order.map((choice) => bench.seconds(choice, gained));
    const [before, after] = i % 2 === 0 ? times : times.toReversed();
    return some.map((_, at) => (before?.[at] ?? 1) / (after?.[at] ?? 1));
  });
  const gains = some.map(({ name }, at) => ({ work: name, gain: median(pairs.map((pair) => pair[at] ?? 1)) }));
  const whole = gains.reduce((sum, { gain }) => sum + Math.log(gain), 0);
  if (whole <= 0) return { schedule: target.schedule, threads: usable, gains: [] };
  const { team, ...schedule } = found;
  return { schedule, threads: team.threads, gains };
}

/** All that a process may use, and fewer: all but one, three quarters, halves. */
export function threadCounts(usable: number): readonly number[] {
  const halves = Array.from({ length: 1 + Math.floor(Math.log2(usable)) }, (_, i) => Math.ceil(usable / 2 ** i));
  return [...new Set([usable, usable - 1, Math.ceil((3 * usable) / 4), ...halves])].filter((count) => count > 0);
}

/** One of all threads and some of fewer; those that do not work sleep. */
class Teams implements Disposable {
  readonly all: Team;
  readonly list: Team[] = [];

  constructor(system: OperatingSystem, usable: number) {
    this.all = createTeam(system, { threads: usable });
    this.list.push(this.all);
    try {
      for (const threads of threadCounts(usable)) {
        if (threads !== usable) this.list.push(createTeam(system, { threads }));
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const team of this.list) team[Symbol.dispose]();
  }
}

/** Works with the code of two choices at a time. */
class Bench implements Disposable {
  readonly #works: readonly Work[];
  readonly #target: Target;
  readonly #digests = new Map<Work, string>();
  readonly #prepared = new Map<string, Map<Work, PreparedWork>>();

  constructor(works: readonly Work[], target: Target) {
    this.#works = works;
    this.#target = target;
  }

  seconds({ team, ...schedule }: Choice, matters: (work: Work) => boolean): readonly number[] {
    const target = { ...this.#target, schedule };
    return this.#works.filter(matters).map((work) => this.#prepare(work, target, team).seconds());
  }

  #prepare(work: Work, target: Target, team: Team): PreparedWork {
    const key = `${targetKey(target)} ${team.threads}`;
    const known = this.#prepared.get(key) ?? new Map<Work, PreparedWork>();
    // The one that was used last goes to the end.
    this.#prepared.delete(key);
    this.#prepared.set(key, known);
    for (const [other, works] of this.#prepared) {
      if (this.#prepared.size <= 2) break;
      for (const prepared of works.values()) prepared[Symbol.dispose]();
      this.#prepared.delete(other);
    }
    const prepared = known.get(work) ?? this.#check(work, target, team);
    known.set(work, prepared);
    return prepared;
  }

  #check(work: Work, target: Target, team: Team): PreparedWork {
    const prepared = work.prepare(target, team);
    prepared.seconds();
    const digest = prepared.digest();
    const expected = this.#digests.get(work) ?? digest;
    this.#digests.set(work, expected);
    if (digest === expected) return prepared;
    prepared[Symbol.dispose]();
    throw new IngotError('DeviceFault', `${work.name} has other results with ${targetKey(target)}`, { device: 'cpu' });
  }

  [Symbol.dispose](): void {
    for (const works of this.#prepared.values()) for (const prepared of works.values()) prepared[Symbol.dispose]();
    this.#prepared.clear();
  }
}
