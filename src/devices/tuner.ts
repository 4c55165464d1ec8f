/**
 * The search for the quickest of many ways to do the same work: coordinate descent from a start. A candidate is measured in turn
 * with the best so far, so that whatever else the machine does slows both, and takes its place only where it is quicker by more
 * than those pairs scatter.
 */

export interface Space<S> {
  readonly start: S;
  /** Of each coordinate, neighbours side by side. */
  readonly choices: { readonly [K in keyof S]: readonly S[K][] };
  /** Coordinates that are searched, in this order. */
  readonly names: readonly (keyof S)[];
  /** Seconds of each piece of work that a coordinate matters to. */
  measure(point: S, name: keyof S): readonly number[];
}

export interface SearchOptions {
  /** By `performance.now()`; what was found until then counts. */
  readonly deadline: number;
  /** The same at once. */
  readonly signal?: AbortSignal;
  readonly onTrial?: () => void;
}

/** Pairs of measurements: fewest and most; and what a gain has to be at least, however little they scatter. */
const [leastPairs, mostPairs] = [7, 15];
const leastGain = 0.01;

export async function search<S extends object>(space: Space<S>, options: SearchOptions): Promise<S> {
  const { choices, names } = space;
  let best = space.start;
  let changes = 0;
  /** Changes at the time when a coordinate was last searched. */
  const searched = new Map<keyof S, number>();
  const isOver = () => options.signal?.aborted === true || performance.now() > options.deadline;
  const tries = async (name: keyof S, value: S[keyof S] | undefined): Promise<boolean> => {
    if (value === undefined) return false;
    const candidate = { ...best, [name]: value };
    // Lets Ctrl-C through.
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (isOver()) return false;
    const quicker = isQuicker(space, name, candidate, best);
    options.onTrial?.();
    if (!quicker) return false;
    best = candidate;
    changes++;
    return true;
  };
  while (names.some((name) => searched.get(name) !== changes) && !isOver()) {
    for (const name of names) {
      if (searched.get(name) === changes) continue;
      const values = choices[name];
      const from = values.indexOf(best[name]);
      if (typeof best[name] === 'number') {
        for (const step of [1, -1]) {
          let at = from + step;
          while (await tries(name, values[at])) at += step;
          if (at !== from + step) break;
        }
      } else {
        for (const value of values) if (value !== best[name]) await tries(name, value);
      }
      searched.set(name, changes);
    }
  }
  return best;
}

/** Whether work is done faster by a candidate: twice, since chance wins once in a while. */
function isQuicker<S>(space: Space<S>, name: keyof S, candidate: S, best: S): boolean {
  space.measure(candidate, name);
  return wins(space, name, candidate, best) && wins(space, name, candidate, best);
}

function wins<S>({ measure }: Space<S>, name: keyof S, candidate: S, best: S): boolean {
  const ratios: number[] = [];
  while (ratios.length < mostPairs) {
    const pair = ratios.length % 2 === 0 ? [best, candidate] : [candidate, best];
    const times = pair.map((point) => measure(point, name));
    const [ours, theirs] = ratios.length % 2 === 0 ? times : times.toReversed();
    ratios.push(Math.exp(mean((ours ?? []).map((seconds, i) => Math.log(seconds / (theirs?.[i] ?? seconds))))));
    if (ratios.length < leastPairs) continue;
    const { middle, error } = estimate(ratios);
    if (middle - error > 1 + leastGain) return true;
    if (middle + error < 1 + leastGain) return false;
  }
  return false;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

/** The median, and three standard errors of it by the median of deviations, which a few interrupted measurements do not move. */
function estimate(values: readonly number[]) {
  const middle = median(values);
  const deviation = 1.4826 * median(values.map((value) => Math.abs(value - middle)));
  return { middle, error: (3 * 1.2533 * deviation) / Math.sqrt(values.length) };
}
