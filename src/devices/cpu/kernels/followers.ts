/**
 * Kernels that follow a product within its launch: the columns of its result that they read together are one group of panels, and
 * behind the last panel of a group, for the same tokens, the thread that has made them runs the kernels on this piece of their work.
 * What the product makes, and what one follower makes for another, is in no memory but the piece's own.
 */

import type { Buffer, Kernel } from '../../../compiler/kernel/language.ts';
import type { Follower, Inner, Pieces, Run, Span } from '../../../compiler/kernel/piece.ts';
import { pieceOf, piecesOf } from '../../../compiler/kernel/piece.ts';
import type { DimSymbol } from '../../../ir/types.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { panelRows } from './packing.ts';

/** The i-th buffer of a follower, where it is memory that a launch names. */
export const followerBuffer = (follower: number, i: number) => `follower${follower}_${i}` as const;

/** What a launch names memory for, in its order. */
export function namedBuffers(followers: readonly Follower[]) {
  return followers.flatMap(({ inner }, follower) =>
    inner.flatMap((id, i) => (id === undefined ? [{ follower, i, name: followerBuffer(follower, i) }] : [])),
  );
}

/** Groups of panels that are alike, one for each piece of the followers' work. */
export interface GroupClass {
  readonly count: number;
  /** Columns of the product from a group to the next. */
  readonly step: number;
  /** Columns of the first group; of a whole number of pairs of panels. */
  readonly runs: readonly Run[];
  /** Of all of its runs. */
  readonly width: number;
  readonly followers: readonly CutFollower[];
  /** Elements that each inner value has for a token of a group, and bytes of one. */
  readonly inner: ReadonlyMap<number, { readonly width: number; readonly bytes: number }>;
}

/** A kernel for one piece, and what a launch names for it. */
export interface CutFollower {
  /** In the list of all. */
  readonly index: number;
  kernel(tokens: number, widthOf: (inner: number) => number): Kernel;
  readonly buffers: readonly CutBuffer[];
}

/** An inner value, or memory whose address moves by so many bytes for a token and a piece. */
export type CutBuffer = { readonly inner: number } | { readonly perToken: number; readonly perPiece: number };

/** Panels that one token takes at once, and units of two panels, reach from no group into the next. */
const columnsTogether = 2 * panelRows;

interface Cut {
  readonly index: number;
  readonly pieces: Pieces;
  readonly inner: ReadonlyMap<number, Buffer>;
}

/** undefined where pieces of the followers' work are not made of groups of panels that have all N columns between them, each once. */
export function groupsOf(
  N: number,
  tokens: DimSymbol,
  followers: readonly Follower[],
): readonly GroupClass[] | undefined {
  const cuts: Cut[] = [];
  for (const [index, { kernel, inner }] of followers.entries()) {
    const pieces = piecesOf(kernel, tokens);
    const own = inner.flatMap((id, i) => (id === undefined ? [] : [[id, kernel.buffers[i] as Buffer] as const]));
    const ofEach = new Map(own);
    if (pieces === undefined || own.length === 0 || ofEach.size < own.length) return undefined;
    cuts.push({ index, pieces, inner: ofEach });
  }
  const classes: GroupClass[] = [];
  for (const together of connected(cuts)) {
    const found = classOf(N, together);
    if (found === undefined) return undefined;
    classes.push(found);
  }
  // The longest first: at the end threads wait for the last of the others.
  return isCovered(N, classes) ? classes.toSorted((a, b) => b.width - a.width) : undefined;
}

/** Followers that read the same columns, or what another makes. */
function connected(cuts: readonly Cut[]): readonly (readonly Cut[])[] {
  let groups: (readonly Cut[])[] = [];
  for (const cut of cuts) {
    const meets = groups.filter((group) => group.some((other) => isShared(cut, other)));
    const joined = [...meets.flat(), cut].toSorted((a, b) => a.index - b.index);
    groups = [...groups.filter((group) => !meets.includes(group)), joined];
  }
  return groups;
}

function isShared(a: Cut, b: Cut): boolean {
  if ([...a.inner.keys()].some((id) => id > 0 && b.inner.has(id))) return true;
  const [spans, others] = [a, b].map(({ inner, pieces }) => {
    const y = inner.get(0);
    const all = y === undefined ? undefined : spansOf(pieces, y);
    return all?.map((span) => widened(span, pieces, y, pieces.columnCount)) ?? [];
  });
  return (spans ?? []).some((x) => (others ?? []).some((y) => x.first <= y.last && y.first <= x.last));
}

function spansOf({ moves, spans }: Pieces, buffer: Buffer): readonly Span[] | undefined {
  const found = (moves.get(buffer)?.indices ?? []).map((index) => spans.get(index));
  const known = found.filter((span) => span !== undefined);
  return known.length === found.length ? known : undefined;
}

/** What a span becomes for so many columns. */
function widened({ first, last }: Span, { moves }: Pieces, buffer: Buffer | undefined, columns: number): Span {
  const perColumn = (buffer && moves.get(buffer)?.perColumn) ?? 0;
  return { first, last: last + (columns - 1) * perColumn };
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

function classOf(N: number, cuts: readonly Cut[]): GroupClass | undefined {
  const finest = cuts.map(({ inner, pieces }) => {
    const y = inner.get(0);
    const perColumn = y === undefined ? columnsTogether : Math.abs(pieces.moves.get(y)?.perColumn ?? 0);
    const least = columnsTogether / gcd(columnsTogether, perColumn);
    return perColumn > 0 && pieces.columnCount % least === 0 ? pieces.columnCount / least : 0;
  });
  const count = finest.reduce(gcd, 0);
  if (count === 0 || finest.includes(0)) return undefined;

  const layouts = new Map<
    number,
    { readonly perToken: number; readonly step: number; readonly runs: readonly Run[] }
  >();
  for (const id of new Set(cuts.flatMap(({ inner }) => [...inner.keys()]))) {
    const uses = cuts.flatMap(({ inner, pieces }) => {
      const buffer = inner.get(id);
      const moves = buffer && pieces.moves.get(buffer);
      if (buffer === undefined || moves === undefined) return [];
      const columns = pieces.columnCount / count;
      const spans = spansOf(pieces, buffer)?.map((span) => widened(span, pieces, buffer, columns));
      const isMade = buffer.access === 'write';
      return [{ spans, perToken: moves.perToken, step: moves.perColumn * columns, isMade }];
    });
    const [{ perToken, step }] = uses as [(typeof uses)[number]];
    const isAlike = uses.every((use) => use.perToken === perToken && use.step === step && use.spans !== undefined);
    if (!isAlike || step <= 0 || uses.some(({ isMade }) => isMade) === (id === 0)) return undefined;
    const runs = runsOf(uses.flatMap(({ spans, isMade }) => (isMade || id === 0 ? (spans ?? []) : [])));
    const isRead = uses.every(({ spans }) => spans?.every((span) => runs.some((run) => isWithin(span, run))));
    const isApart = runs.every(
      ({ start, length }) => start >= 0 && length <= step && start + (count - 1) * step + length <= perToken,
    );
    if (!isRead || !isApart) return undefined;
    layouts.set(id, { perToken, step, runs });
  }
  const y = layouts.get(0);
  if (y === undefined || y.perToken !== N) return undefined;
  const isWhole = y.runs.every(({ start, length }) => start % columnsTogether === 0 && length % columnsTogether === 0);
  if (!isWhole || y.step % columnsTogether !== 0) return undefined;

  const bytesOf = (id: number) => {
    const buffer = cuts.map(({ inner }) => inner.get(id)).find((found) => found !== undefined);
    return buffer === undefined ? 0 : elementBytes(buffer.element);
  };
  return {
    count,
    step: y.step,
    runs: y.runs,
    width: widthOf(y.runs),
    followers: cuts.map(({ index, pieces, inner }) => {
      const columns = pieces.columnCount / count;
      const ids = new Map([...inner].map(([id, buffer]) => [buffer, id]));
      return {
        index,
        kernel: (tokens, innerWidth) => {
          const places = [...ids].map(([buffer, id]): readonly [Buffer, Inner] => {
            const width = innerWidth(id);
            return [buffer, { elements: tokens * width, width, runs: layouts.get(id)?.runs ?? [] }];
          });
          return pieceOf(pieces, columns, new Map(places));
        },
        buffers: pieces.kernel.buffers.map((buffer): CutBuffer => {
          const id = ids.get(buffer);
          if (id !== undefined) return { inner: id };
          const { perToken, perColumn } = pieces.moves.get(buffer) ?? { perToken: 0, perColumn: 0 };
          const bytes = elementBytes(buffer.element);
          return { perToken: perToken * bytes, perPiece: perColumn * columns * bytes };
        }),
      };
    }),
    inner: new Map([...layouts].map(([id, { runs }]) => [id, { width: widthOf(runs), bytes: bytesOf(id) }])),
  };
}

const widthOf = (runs: readonly Run[]) => runs.reduce((sum, { length }) => sum + length, 0);
const isWithin = ({ first, last }: Span, { start, length }: Run) => start <= first && last < start + length;

/** Spans that meet or follow one another are one. */
function runsOf(spans: readonly Span[]): readonly Run[] {
  const runs: Run[] = [];
  let at = 0;
  for (const { first, last } of spans.toSorted((a, b) => a.first - b.first)) {
    const open = runs.at(-1);
    if (open === undefined || first > open.start + open.length) {
      runs.push({ start: first, length: last + 1 - first, at });
    } else {
      runs[runs.length - 1] = { ...open, length: Math.max(open.length, last + 1 - open.start) };
    }
    const added = runs.at(-1);
    at = added === undefined ? 0 : added.at + added.length;
  }
  return runs;
}

/** Whether groups have every column once. */
function isCovered(N: number, classes: readonly GroupClass[]): boolean {
  const seen = new Set<number>();
  let all = 0;
  for (const { count, step, runs, width } of classes) {
    all += count * width;
    for (const { start, length } of runs) {
      for (let i = 0; i < count; i++) {
        for (let at = 0; at < length; at += columnsTogether) seen.add(start + i * step + at);
      }
    }
  }
  return all === N && seen.size * columnsTogether === N;
}
