/** Finds the schedule that is the quickest on this machine for the matrices of a model. */
import { IngotError } from '../../base/errors.ts';
import { median, type SearchOptions, search } from '../tuner.ts';
import type { MatrixShape } from './matrix-shapes.ts';
import type { OperatingSystem } from './os/os.ts';
import { usableThreads } from './os/os.ts';
import { choices, type Schedule } from './schedule.ts';
import { type Target, targetKey } from './target.ts';
import { createTeam } from './team.ts';
import { type PreparedWork, type Work, Works } from './tune-works.ts';

export interface Tuned {
  readonly schedule: Schedule;
  /** How many times as fast each piece of work is as with the target's own schedule. */
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
  ...['attentionUnits', 'attentionRows', 'loopBits', 'tileSide', 'stripBytes', 'streamedBytes'],
] as const satisfies readonly (keyof Schedule)[];

/** Pairs of measurements that say what was gained. */
const lastPairs = 9;

/**
 * The target's own schedule where nothing is quicker.
 * @throws IngotError 'OutOfMemory'; 'DeviceFault' where another schedule has other results, which none may have.
 */
export async function tuneMachine(
  system: OperatingSystem,
  target: Target,
  shapes: readonly MatrixShape[],
  options: SearchOptions,
): Promise<Tuned> {
  using team = createTeam(system, { threads: usableThreads(system.limits()) });
  using works = new Works(system, team, target, shapes);
  using bench = new Bench(works.list, target);
  const used = new Set(works.list.flatMap((work) => work.choices));
  const found = await search(
    {
      start: target.schedule,
      choices,
      names: names.filter((name) => used.has(name)),
      measure: (schedule, name) => bench.seconds(schedule, (work) => work.choices.includes(name)),
    },
    options,
  );
  const changed = names.filter((name) => found[name] !== target.schedule[name]);
  const gained = (work: Work) => work.choices.some((choice) => changed.some((name) => name === choice));
  const some = works.list.filter(gained);
  const pairs = Array.from({ length: changed.length === 0 ? 0 : lastPairs }, (_, i) => {
    const order = i % 2 === 0 ? [target.schedule, found] : [found, target.schedule];
    const times = order.map((schedule) => bench.seconds(schedule, gained));
    const [before, after] = i % 2 === 0 ? times : times.toReversed();
    return some.map((_, at) => (before?.[at] ?? 1) / (after?.[at] ?? 1));
  });
  const gains = some.map(({ name }, at) => ({ work: name, gain: median(pairs.map((pair) => pair[at] ?? 1)) }));
  const whole = gains.reduce((sum, { gain }) => sum + Math.log(gain), 0);
  return whole > 0 ? { schedule: found, gains } : { schedule: target.schedule, gains: [] };
}

/** Works with the code of two schedules at a time. */
class Bench implements Disposable {
  readonly #works: readonly Work[];
  readonly #target: Target;
  readonly #digests = new Map<Work, string>();
  readonly #prepared = new Map<string, Map<Work, PreparedWork>>();

  constructor(works: readonly Work[], target: Target) {
    this.#works = works;
    this.#target = target;
  }

  seconds(schedule: Schedule, matters: (work: Work) => boolean): readonly number[] {
    const target = { ...this.#target, schedule };
    return this.#works.filter(matters).map((work) => this.#prepare(work, target).seconds());
  }

  #prepare(work: Work, target: Target): PreparedWork {
    const key = targetKey(target);
    const known = this.#prepared.get(key) ?? new Map<Work, PreparedWork>();
    // The one that was used last goes to the end.
    this.#prepared.delete(key);
    this.#prepared.set(key, known);
    for (const [other, works] of this.#prepared) {
      if (this.#prepared.size <= 2) break;
      for (const prepared of works.values()) prepared[Symbol.dispose]();
      this.#prepared.delete(other);
    }
    const prepared = known.get(work) ?? this.#check(work, target);
    known.set(work, prepared);
    return prepared;
  }

  #check(work: Work, target: Target): PreparedWork {
    const prepared = work.prepare(target);
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
