/**
 * Dimensions that are split in the same proportions: what they ask of the points at which they are cut, and the points.
 */
import { axisNamed, type Mesh, sizeAlong } from '../../ir/mesh.ts';
import { type Range, type Split, splitOf } from './split.ts';

/** A dimension, or a part of one that is split for itself. */
export interface Segment {
  readonly size: number;
  /** Where there are too few of its elements for the ranks, several have the same one. */
  readonly shared: boolean;
}

/** What is asked of one segment. */
export interface Demand extends Segment {
  /** Elements that stay together. */
  readonly unit: number;
  /** Multiples at which it pays to cut. */
  readonly aligned: number;
}

/** Where ranks begin and end, in units of which the whole has `units`. */
interface Cut {
  readonly units: number;
  /** Of these the shared segments have; fewer where ranks have elements in common. */
  readonly shared: number;
  readonly ranges: readonly Range[];
}

/** Cuts at multiples that pay are taken where the largest part grows by less than this share. */
const worthAligning = 1 / 8;

export class Share {
  readonly axes: readonly string[];
  readonly #mesh: Mesh;
  readonly #demands: Demand[] = [];
  readonly #stated: readonly number[] | undefined;
  #same: Share | undefined;
  #cut: Cut | undefined;
  /** What the cut has made of segments: most dimensions are alike, and have as many parts as there are ranks. */
  readonly #splits = new Map<string, Split | undefined>();

  /** `stated`: the elements of each rank, of a dimension whose size is their sum. */
  constructor(mesh: Mesh, axes: readonly string[], stated?: readonly number[]) {
    this.#mesh = mesh;
    this.axes = axes;
    this.#stated = stated;
  }

  /** The one that stands for this and all that were united with it. */
  get root(): Share {
    return this.#same === undefined ? this : this.#same.root;
  }

  get #ranks(): number {
    return sizeAlong(this.#mesh, this.axes);
  }

  /** Adds demands; false, and nothing added, where no cut would meet them all. */
  demand(demands: readonly Demand[]): boolean {
    if (this.#solve([...this.#demands, ...demands]) === undefined) return false;
    this.#demands.push(...demands);
    this.#cut = undefined;
    this.#splits.clear();
    return true;
  }

  /** Makes one of two; false where no cut would meet the demands of both. */
  unite(other: Share): boolean {
    if (other === this) return true;
    if (other.axes.join() !== this.axes.join() || other.#stated?.join() !== this.#stated?.join()) return false;
    if (!this.demand(other.#demands)) return false;
    other.#same = this;
    return true;
  }

  /** The split of a dimension of these segments. */
  split(segments: readonly Segment[]): Split | undefined {
    const key = segments.map(({ size, shared }) => `${size} ${shared}`).join();
    if (!this.#splits.has(key)) this.#splits.set(key, this.#make(segments));
    return this.#splits.get(key);
  }

  #make(segments: readonly Segment[]): Split | undefined {
    this.#cut ??= this.#solve(this.#demands);
    if (this.#cut === undefined) return undefined;
    const { units, shared, ranges } = this.#cut;
    const parts = ranges.map(({ start, limit }) => {
      let offset = 0;
      return segments.map((segment): Range => {
        // In steps of what belongs to one shared element.
        const steps = segment.shared ? shared : units;
        const step = segment.size / steps;
        const range = {
          start: offset + Math.floor((start * steps) / units) * step,
          limit: offset + Math.ceil((limit * steps) / units) * step,
        };
        offset += segment.size;
        return range;
      });
    });
    return splitOf(this.axes, parts);
  }

  #solve(demands: readonly Demand[]): Cut | undefined {
    if (this.#stated !== undefined) return this.#statedCut(this.#stated, demands);
    const ranks = this.#ranks;
    const common = coarsest(demands);
    if (demands.length === 0 || ranks <= common) return this.#alignedCut(common, demands);
    // Too few shared elements: some ranks have the same one, each some of what belongs to it.
    const fine = demands.filter(({ shared }) => !shared);
    if (fine.length === demands.length || fine.length === 0) return undefined;
    const units = coarsest(fine);
    const perElement = units / common;
    if (!Number.isInteger(perElement)) return undefined;
    const owner = Array.from({ length: ranks }, (_, rank) => Math.floor((rank * common) / ranks));
    const ranges: Range[] = [];
    for (let element = 0; element < common; element++) {
      const members = owner.filter((each) => each === element).length;
      if (members > perElement) return undefined;
      ranges.push(...divide(perElement, this.#shares(ranges.length, members)).map(moved(element * perElement)));
    }
    return { units, shared: common, ranges };
  }

  #statedCut(stated: readonly number[], demands: readonly Demand[]): Cut | undefined {
    const units = stated.reduce((a, b) => a + b, 0);
    const points = stated.map((_, i) => stated.slice(0, i + 1).reduce((a, b) => a + b, 0));
    const fits = demands.every(({ size, unit }) =>
      points.every((point) => Number.isInteger((point * size) / units / unit)),
    );
    return fits
      ? { units, shared: units, ranges: points.map((limit, i) => ({ start: limit - stated[i], limit })) }
      : undefined;
  }

  #alignedCut(units: number, demands: readonly Demand[]): Cut {
    const shares = this.#shares(0, this.#ranks);
    const plain = divide(units, shares);
    const step = Math.max(1, ...demands.map(({ size, aligned }) => alignedUnits(size / units, aligned)));
    const steps = Math.ceil(units / step);
    if (step === 1 || steps < shares.length) return { units, shared: units, ranges: plain };
    const ranges = divide(steps, shares).map(({ start, limit }) => ({
      start: start * step,
      limit: Math.min(limit * step, units),
    }));
    return largest(ranges) <= largest(plain) * (1 + worthAligning)
      ? { units, shared: units, ranges }
      : { units, shared: units, ranges: plain };
  }

  /** Of `count` ranks from the first on, what each takes, in proportion. */
  #shares(first: number, count: number): readonly number[] {
    const axes = this.axes.map((name) => axisNamed(this.#mesh, name));
    return Array.from({ length: count }, (_, i) => {
      let index = first + i;
      let share = 1;
      for (const { size, shares } of axes.toReversed()) {
        share *= shares?.[index % size] ?? 1;
        index = Math.floor(index / size);
      }
      return share;
    });
  }
}

const moved =
  (by: number) =>
  ({ start, limit }: Range): Range => ({ start: start + by, limit: limit + by });

const largest = (ranges: readonly Range[]) => Math.max(...ranges.map(({ start, limit }) => limit - start));

/** The most equal parts that leave all units whole. */
function coarsest(demands: readonly Demand[]): number {
  return demands.reduce((common, { size, unit }) => gcd(common, size % unit === 0 ? size / unit : 1), 0);
}

/** Units of `size` elements that make a multiple of `aligned` elements. */
function alignedUnits(size: number, aligned: number): number {
  return Number.isInteger(size) ? aligned / gcd(size, aligned) : 1;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** `units` in proportion to the shares, each at least one. */
function divide(units: number, shares: readonly number[]): readonly Range[] {
  const total = shares.reduce((a, b) => a + b, 0);
  let start = 0;
  let passed = 0;
  return shares.map((share, i) => {
    passed += share;
    const left = shares.length - i - 1;
    const wanted = Math.ceil((units * passed) / total - 1e-9);
    const limit = Math.min(Math.max(wanted, start + 1), units - left);
    const range = { start, limit };
    start = limit;
    return range;
  });
}
