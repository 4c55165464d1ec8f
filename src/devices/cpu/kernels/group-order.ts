/**
 * The order of a product with followers (followers.ts). Panels of a group follow one another for the same tokens, and make a tile of
 * results in memory at rsp; threads take whole groups. Chunks of one group follow each other, so that its panels stay in a cache; where
 * panels are decoded, all groups of one chunk.
 */
import { IngotError } from '../../../base/errors.ts';
import type { Follower } from '../../../compiler/kernel/piece.ts';
import { alignUp } from '../align.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  indexed,
  type Label,
  type Mem,
  offset,
  ptr,
  r9,
  r10,
  r11,
  r13,
  r14,
  rax,
  rbp,
  rcx,
  rdi,
  rdx,
  sized,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { emitKernel } from '../emit/emit.ts';
import type { Target } from '../target.ts';
import {
  type CutBuffer,
  type CutFollower,
  followerBuffer,
  type GroupClass,
  groupsOf,
  namedBuffers,
} from './followers.ts';
import type { Frame } from './frame.ts';
import { emitIncluded, includedBytes } from './included.ts';
import { panelRows } from './packing.ts';
import { denseRows } from './panel-results.ts';
import type { Products } from './products.ts';
import type { DotLayout, DotShape, Order } from './quantized-dot.ts';

/** A class of groups among the units of one chunk. */
interface Place {
  readonly groups: GroupClass;
  /** Units before it, and of one of its groups. */
  readonly base: number;
  readonly units: number;
}

/** Words of the tile: the number of its group in the class, its first token, and how many there are. */
const [groupWord, tokenWord, countWord, headBytes] = [0, 8, 16, 64];

/** @throws IngotError 'InvalidArgument' for followers whose work does not come in groups of panels. */
export function followedOrder<B extends string>(
  { N, tokens, residual }: Pick<DotShape, 'N' | 'tokens' | 'residual'>,
  followers: readonly Follower[],
  { panels, together, chunk }: DotLayout,
  { unpacked }: Products,
  target: Target,
) {
  const classes = typeof tokens === 'number' || residual === true ? undefined : groupsOf(N, tokens.sym, followers);
  if (classes === undefined) throw new IngotError('InvalidArgument', 'these kernels cannot follow a product');
  const all = panels / together;
  let base = 0;
  const places = classes.map((groups): Place => {
    const units = groups.width / (panelRows * together);
    const place = { groups, base, units };
    base += groups.count * units;
    return place;
  });

  // Of all classes alike: the head, arguments of one follower, and the inner values.
  const widths = new Map<number, number>();
  const bytes = new Map<number, number>();
  for (const { inner } of classes) {
    for (const [id, value] of inner) {
      widths.set(id, Math.max(value.width, widths.get(id) ?? 0));
      bytes.set(id, value.bytes);
    }
  }
  const widthOf = (id: number) => widths.get(id) ?? 0;
  const kernels = new Map<CutFollower, EmittedKernel>();
  for (const { followers: cut } of classes) {
    for (const follower of cut) kernels.set(follower, emitKernel(follower.kernel(chunk, widthOf), target));
  }
  const included = [...kernels.values()];
  let ownBytes = headBytes + alignUp(Math.max(...included.map(includedBytes)), 64);
  const tiles = new Map<number, number>();
  for (const [id, width] of widths) {
    tiles.set(id, ownBytes);
    ownBytes += alignUp(chunk * width * (bytes.get(id) ?? 0), 64);
  }
  const tileAt = (own: Mem, id: number) => offset(own, tiles.get(id) ?? 0);

  /** For the unit in rax, what `emit` writes for its class: with its group in rax, its chunk in rdx, and its number within the group in r10. */
  const emitByClass = (a: Assembler, emit: (place: Place, done: Label) => void) => {
    const done = a.label();
    if (unpacked !== undefined) {
      a.emit('xor', rdx, rdx);
      a.emit('mov', r9, all);
      a.emit('div', r9);
      a.emit('mov', r11, rax);
      a.emit('mov', rax, rdx);
    }
    for (const [i, place] of places.entries()) {
      const next = a.label();
      const after = places[i + 1];
      if (after !== undefined && unpacked !== undefined) {
        a.emit('cmp', rax, after.base);
        a.emit('jae', next);
      } else if (after !== undefined) {
        a.emit('imul', r11, r14, after.base);
        a.emit('cmp', rax, r11);
        a.emit('jae', next);
      }
      if (place.base > 0 && unpacked !== undefined) {
        a.emit('sub', rax, place.base);
      } else if (place.base > 0) {
        a.emit('imul', r11, r14, place.base);
        a.emit('sub', rax, r11);
      }
      a.emit('xor', rdx, rdx);
      a.emit('mov', r9, place.units);
      a.emit('div', r9);
      a.emit('mov', r10, rdx);
      if (unpacked === undefined) {
        a.emit('xor', rdx, rdx);
        a.emit('div', r14);
      } else {
        a.emit('mov', rdx, r11);
      }
      emit(place, done);
      if (after !== undefined) a.emit('jmp', done);
      a.bind(next);
    }
    a.bind(done);
  };

  /** A word of a follower's arguments to rax. Changes rcx. */
  const emitBuffer = ({ a, address }: Frame<B>, own: Mem, follower: CutFollower, i: number, buffer: CutBuffer) => {
    if ('inner' in buffer) {
      a.emit('lea', rax, tileAt(own, buffer.inner));
      return;
    }
    a.emit('mov', rax, address(followerBuffer(follower.index, i) as B));
    for (const [word, by] of [
      [groupWord, buffer.perPiece],
      [tokenWord, buffer.perToken],
    ] as const) {
      if (by === 0) continue;
      a.emit('mov', rcx, sized(offset(own, word), 64));
      a.emit('imul', rcx, rcx, by);
      a.emit('add', rax, rcx);
    }
  };

  const order: Order<B> = {
    rows: (a) => denseRows(a, widthOf(0)),
    ownBytes,
    emitUnlessNext(a, otherwise) {
      a.emit('test', rdx, 1);
      a.emit('jne', otherwise);
    },
    emitStart({ a, loadTokens }) {
      loadTokens(rax);
      a.emit('add', rax, chunk - 1);
      a.emit('shr', rax, Math.log2(chunk));
      a.emit('mov', r14, rax);
      a.emit('imul', rax, rax, all);
    },
    emitUnitOf({ a }) {
      a.emit('mov', r13, rax);
      emitByClass(a, () => {});
      a.emit('mov', rax, r13);
      a.emit('sub', rax, r10);
    },
    emitFind({ a }) {
      emitByClass(a, ({ groups: { step, runs } }, done) => {
        a.emit('imul', rax, rax, step / panelRows);
        a.emit('imul', r10, r10, panelRows * together);
        for (const [i, { start, at }] of runs.entries()) {
          const next = a.label();
          const after = runs[i + 1];
          if (after !== undefined) {
            a.emit('cmp', r10, after.at);
            a.emit('jae', next);
          }
          a.emit('mov', r11, r10);
          a.emit('shr', r11, Math.log2(panelRows));
          a.emit('lea', rax, indexed(rax, r11, 1, (start - at) / panelRows));
          if (after !== undefined) a.emit('jmp', done);
          a.bind(next);
        }
      });
    },
    emitRow({ a }, own) {
      a.emit('mov', rdx, rax);
      a.emit('shl', r10, 2);
      a.emit('lea', r11, tileAt(own, 0));
      a.emit('add', r10, r11);
    },
    emitAfter(frame, own) {
      const { a, unit, loadTokens } = frame;
      const word = (at: number) => sized(offset(own, at), 64);
      a.emit('mov', rax, unit);
      emitByClass(a, ({ groups, units }, done) => {
        a.emit('cmp', r10, units - 1);
        a.emit('jne', done);
        a.emit('mov', word(groupWord), rax);
        a.emit('shl', rdx, Math.log2(chunk));
        a.emit('mov', word(tokenWord), rdx);
        a.emit('mov', rdi, ptr(rbp));
        loadTokens(rax);
        a.emit('sub', rax, rdx);
        a.emit('mov', rcx, chunk);
        a.emit('cmp', rax, rcx);
        a.emit('cmova', rax, rcx);
        a.emit('mov', word(countWord), rax);
        for (const follower of groups.followers) {
          const kernel = kernels.get(follower) as EmittedKernel;
          a.emit('mov', rdi, ptr(rbp));
          emitIncluded(a, kernel, offset(own, headBytes), (i) => {
            const buffer = follower.buffers[i];
            if (buffer === undefined) a.emit('mov', rax, word(countWord));
            else emitBuffer(frame, own, follower, i, buffer);
          });
        }
      });
    },
  };
  return {
    order,
    buffers: namedBuffers(followers).map(({ name }) => name as B),
    stackBytes: Math.max(...included.map(({ stackBytes }) => stackBytes)),
  };
}
