/**
 * Shardings as GSPMD writes them (https://arxiv.org/abs/2105.04663; `mhlo.sharding` of what JAX exports without Shardy): a grid of tiles
 * and the order of devices in it, `{devices=[2,1,4]<=[8] last_tile_dim_replicate}`. They know no names of axes: a mesh is the coarsest
 * one in which all of a module's can be said.
 */
import { IngotError } from '../../base/errors.ts';
import type { Mesh } from '../mesh.ts';
import type { Sharding } from '../sharding.ts';

/** On arguments, results and custom calls. */
export const tilesAttribute = 'mhlo.sharding';

interface Tiles {
  /** How many tiles along each dimension, the last one of copies where `replicates`. Empty: every device has all. */
  readonly tiles: readonly number[];
  readonly replicates: boolean;
  /** Devices in order form a grid of this shape; its dimensions in this order are the tiles, row by row. */
  readonly shape: readonly number[];
  readonly order: readonly number[];
}

function unsupported(text: string): never {
  throw new IngotError('UnsupportedOp', `the sharding ${text} is not supported`, { op: tilesAttribute });
}

const numbers = (list: string): readonly number[] => list.split(',').map(Number);
const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

/** @throws IngotError 'UnsupportedOp' for values on one device, manual parts, and lists of devices in an order of their own. */
function parseTiles(text: string): Tiles {
  if (text === '{replicated}') return { tiles: [], replicates: false, shape: [], order: [] };
  const pattern = /^\{devices=\[([\d,]+)\](?:<=\[([\d,]+)\](?:T\(([\d,]+)\))?|([\d,]+))( last_tile_dim_replicate)?\}$/;
  const [, tileList, shapeList, orderList, devices, replicates] = pattern.exec(text) ?? unsupported(text);
  const tiles = numbers(tileList);
  const count = product(tiles);
  if (devices !== undefined && !numbers(devices).every((device, i) => device === i)) unsupported(text);
  const shape = shapeList === undefined ? [count] : numbers(shapeList);
  const order = orderList === undefined ? shape.map((_, i) => i) : numbers(orderList);
  const isOrder = order.length === shape.length && order.every((_, i) => order.includes(i));
  if (product(shape) !== count || !isOrder || count < 1) unsupported(text);
  return { tiles, replicates: replicates !== undefined, shape, order };
}

/** Two lists of factors with one product, cut at each other's borders: the factors of each entry of the first. */
function refine(from: readonly number[], to: readonly number[], text: string): readonly (readonly number[])[] {
  const rest = [...to];
  return from.map((size) => {
    const parts: number[] = [];
    for (let left = size; left > 1; ) {
      const next = rest.shift() ?? unsupported(text);
      if (next === 1) continue;
      const part = left % next === 0 ? next : left;
      if (next % part !== 0) unsupported(text);
      if (next !== part) rest.unshift(next / part);
      parts.push(part);
      left /= part;
    }
    return parts;
  });
}

/** The mesh in which all of the shardings can be said; undefined where they say nothing. @throws IngotError 'UnsupportedOp'. */
export function meshOfTiles(texts: readonly string[]): Mesh | undefined {
  /** Products of the sizes of the last axes. */
  const borders = new Set<number>([1]);
  for (const text of texts) {
    const { tiles, shape, order } = parseTiles(text);
    const factors = refine(
      order.map((d) => shape[d]),
      tiles,
      text,
    );
    const sizes = shape.flatMap((_, d) => factors[order.indexOf(d)]);
    sizes.toReversed().reduce((border, size) => {
      borders.add(border * size);
      return border * size;
    }, 1);
  }
  const sorted = [...borders].sort((a, b) => a - b);
  if (sorted.length === 1) return undefined;
  const sizes = sorted.slice(1).map((border, i) => border / sorted[i]);
  if (!sizes.every(Number.isInteger)) unsupported(texts.join(' beside '));
  return { axes: sizes.toReversed().map((size, i) => ({ name: `axis_${i}`, size })) };
}

/** What the text says of a value of `rank` dimensions. @throws IngotError 'UnsupportedOp'. */
export function shardingOfTiles(text: string, mesh: Mesh, rank: number): Sharding {
  const { tiles, replicates, shape, order } = parseTiles(text);
  if (tiles.length === 0) {
    return { dims: Array.from({ length: rank }, () => ({ axes: [], open: false })), replicated: [] };
  }
  if (tiles.length !== rank + (replicates ? 1 : 0)) unsupported(text);
  const left = mesh.axes.map(({ name, size }) => ({ name, size }));
  const take = (axes: { name: string; size: number }[], size: number) => {
    const taken: typeof axes = [];
    while (product(taken.map((axis) => axis.size)) < size) taken.push(axes.shift() ?? unsupported(text));
    if (product(taken.map((axis) => axis.size)) !== size) unsupported(text);
    return taken;
  };
  const perShape = shape.map((size) => take(left, size));
  const ordered = order.flatMap((d) => perShape[d]);
  const perTile = tiles.map((size) => take(ordered, size).map(({ name }) => name));
  const dims = perTile.slice(0, rank).map((axes) => ({ axes, open: false }));
  return { dims, replicated: perTile.slice(rank).flat() };
}
