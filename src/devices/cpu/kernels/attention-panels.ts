/** Tiles of keys and values from the pools as f32: keys with positions as lanes, values as they lie. */
import type { LaneCode } from '../emit/lane-code.ts';
import { at, type Register, view } from '../emit/machine.ts';
import { transposed } from '../emit/transposed.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { type PoolElement, TILE } from './attention-shape.ts';
import type { KernelWriter } from './writer.ts';

export interface PanelSource {
  readonly element: PoolElement;
  /** Of one head. */
  readonly dim: number;
  /** From a position to the next. */
  readonly rowBytes: number;
  /** The first element of the tile. */
  readonly from: Register;
}

/** [TILE, dim] at `from` to f32 [dim, TILE] at `to`. */
export function emitKeyPanel<B extends string>(
  w: KernelWriter<B>,
  { element, dim, rowBytes, from }: PanelSource,
  to: Register,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  // Four words of each of eight positions at a time; a word is a pair of bf16, which is taken apart behind the transposition.
  const pairs = element === 'bf16';
  const perTurn = pairs ? 8 : 4;
  const turnBytes = element === 'f32' ? 16 : element === 'bf16' ? 16 : 8;
  const quad = (address: ReturnType<typeof at>): Register => {
    const x = m.register('vec');
    if (element === 'f16') m.emit('vcvtph2ps', view(x, 128), address);
    else m.emit('vmovups', view(x, 128), address);
    return x;
  };
  const source = w.value(from);
  const target = w.value(to);
  const end = w.sum(to, 4 * TILE * dim);
  const highHalf = pairs ? code.constant(32, 0xffff0000) : undefined;
  w.whileBelow(target, end, 4 * TILE * perTurn, () => {
    for (const half of [0, 1]) {
      const rows = [0, 1, 2, 3].map((row) => {
        const [low, high] = [8 * half + row, 8 * half + row + 4].map((position) => at(source, position * rowBytes));
        const x = quad(low);
        if (element === 'f16') m.emit('vinsertf128', view(x, 256), view(x, 256), view(quad(high), 128), 1);
        else m.emit('vinsertf128', view(x, 256), view(x, 256), high, 1);
        return x;
      });
      transposed(m, rows).forEach((column, i) => {
        const store = (d: number, x: Register) => m.emit('vmovups', at(target, 4 * TILE * d + 32 * half), view(x, 256));
        if (highHalf === undefined) store(i, column);
        else {
          store(2 * i, code.op('vpslld', 32, column, 16));
          store(2 * i + 1, code.op('vpand', 32, column, highHalf));
        }
      });
    }
    w.change('add', source, turnBytes);
  });
}

/** `valid` positions of [TILE, dim] at `from` to f32 at `to`, zeros for the others: what lies there may be no number. */
export function emitValuePanel<B extends string>(
  w: KernelWriter<B>,
  { element, dim, rowBytes, from }: PanelSource,
  to: Register,
  valid: Register,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const source = w.value(from);
  const target = w.value(to);
  const validEnd = w.sum(to, w.product(valid, 4 * dim));
  const end = w.sum(to, 4 * dim * TILE);
  const each = (write: (i: number, to: ReturnType<typeof at>) => void) => {
    for (let i = 0; i < dim; i += 8) write(i, at(target, 4 * i));
  };
  w.whileBelow(target, validEnd, 4 * dim, () => {
    each((i, to) => m.emit('vmovups', to, view(widened(code, element, source, i), 256)));
    w.change('add', source, rowBytes);
  });
  const zero = code.zero();
  w.whileBelow(target, end, 4 * dim, () => each((_, to) => m.emit('vmovups', to, view(zero, 256))));
}

/** Elements `i` to `i` + 7. */
function widened(code: LaneCode, element: PoolElement, source: Register, i: number): Register {
  switch (element) {
    case 'f32':
      return code.load(32, at(source, 4 * i));
    case 'f16':
      return code.op('vcvtph2ps', 32, at(source, 2 * i));
    case 'bf16':
      return code.op('vpslld', 32, code.op('vpmovzxwd', 32, at(source, 2 * i)), 16);
    default:
      return element satisfies never;
  }
}
