/**
 * `quantized_dot` and `joined_dot`: y [T, N] = x [T, K] times the rows of a packed weight [N, K], or of several (+ bias [N])
 * (+ what it is added to [T, N]), in the numerics of numerics/dot.ts, bit for bit. The generator walks panels of 16 rows and chunks of tokens; a row of the tables of products
 * multiplies one tile as it lies, or decodes some of a panel first, for many tokens (unpacked-dot.ts).
 *
 * A unit of work is a panel and a chunk of tokens. Chunks of one panel follow each other, so that the panel comes from
 * memory once and then from a cache, and few threads share a panel even where it is the only one. Where panels are
 * decoded, all panels of one chunk follow each other: then it is the activations that stay in a cache.
 */
import type { Follower } from '../../../compiler/kernel/piece.ts';
import type { Dim } from '../../../ir/types.ts';
import type { DotNumerics } from '../../../numerics/dot.ts';
import { alignUp } from '../align.ts';
import type { Assembler } from '../asm/assembler.ts';
import {
  type Gp,
  type Label,
  type Mem,
  offset,
  ptr,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  rax,
  rbp,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  type Vec,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import type { Schedule } from '../schedule.ts';
import type { Target } from '../target.ts';
import { activationRowBytes, activationsOf } from './activations.ts';
import type { followerBuffer } from './followers.ts';
import { buildKernel, type Frame, loadPattern } from './frame.ts';
import { followedOrder } from './group-order.ts';
import { type PackedFormat, packedFormat, panelBytes, panelRows, tileSize } from './packing.ts';
import { denseRows, emitForPanel, emitResults, type ResultRows } from './panel-results.ts';
import { emitPrefetch } from './prefetch.ts';
import { constantOf, type Product, tileAt } from './product.ts';
import { type Products, productsOf } from './products.ts';
import { emitUnpackedDot, emitUnpackedResults, unpackedBytes } from './unpacked-dot.ts';

export interface DotShape {
  readonly format: string;
  readonly numerics: DotNumerics;
  readonly tokens: Dim;
  /** Rows of all matrices. */
  readonly N: number;
  readonly K: number;
  readonly bias: boolean;
  /** Rows of each of several matrices, whole panels of a unit. */
  readonly matrices?: readonly number[] | undefined;
  readonly residual?: boolean | undefined;
  /** What is done with the result, which then is in no memory. Without a residual, for tokens of a symbolic number. */
  readonly followers?: readonly Follower[] | undefined;
}

/** Bytes of weights that may be asked for at a time. */
const burst = 1024;

/** Where the units of a kind of product are. Registers are those that `dotKernel` lists. */
export interface Units<B extends string> {
  readonly name: string;
  readonly buffers: readonly B[];
  readonly bias: boolean;
  readonly emitResidual?: ((a: Assembler) => void) | undefined;
  /** Amount of work to rax, as `buildKernel` wants it. */
  emitStart(frame: Frame<B>, own: Mem): void;
  emitUnitOf?(frame: Frame<B>): void;
  /** r12, r13, r10, rsi, rdx, where there is a bias r9, and r14 as `rows` wants it. May change rax, rcx, rdi and r11. */
  emitPlace(frame: Frame<B>, own: Mem): void;
  rows(a: Assembler, own: Mem): ResultRows;
  /** Memory at rsp that is its own, `own` of `emitStart`, `rows` and `emitAfter`. */
  readonly ownBytes?: number;
  /** Behind a unit, or two at once: `unit` is the last of them. May change every register that a body may, vectors of constants included. */
  emitAfter?(frame: Frame<B>, own: Mem): void;
  /** Goes to `otherwise` where the next unit need not be one more panel of the same token, if this one is not the last. */
  emitUnlessNext?(a: Assembler, otherwise: Label): void;
}

/** Which panel and which tokens a unit is, and where its results go. */
export interface Order<B extends string>
  extends Pick<Units<B>, 'emitStart' | 'emitUnitOf' | 'rows' | 'ownBytes' | 'emitAfter' | 'emitUnlessNext'> {
  /** Of the unit: its panel to rax, its chunk to rdx, and to r10 what `emitRow` wants. May change r9 to r11, r12 and r13. */
  emitFind(frame: Frame<B>): void;
  /** r10 as `rows` wants it, for panel rax from token rdx on, and the panel to rdx. May change rax and r11. */
  emitRow(frame: Frame<B>, own: Mem): void;
}

/** What `Units` need to know of the product. */
export interface DotLayout {
  readonly format: PackedFormat;
  /** Bytes of a token's activations. */
  readonly tokenBytes: number;
  readonly panels: number;
  /** Panels of a unit. */
  readonly together: number;
  /** Tokens of a unit at most. */
  readonly chunk: number;
  /** Panels that are read by turns where there is one token. */
  readonly streams: number;
}

export function dotLayout(
  { format: name, numerics, N, K }: Pick<DotShape, 'format' | 'numerics' | 'N' | 'K'>,
  target: Target,
) {
  const format = packedFormat(name);
  const panels = Math.ceil(N / panelRows);
  const products = productsOf(format, numerics, target, { panels, K });
  const layout: DotLayout = {
    format,
    panels,
    tokenBytes: activationRowBytes(activationsOf(format, numerics, target), K),
    together: products.unpacked?.panels ?? 1,
    chunk: products.unpacked?.chunk ?? target.schedule.directTokens,
    // Tiles that are large enough to be streams of their own are read more slowly by turns.
    streams: panels > 1 && tileSize(format).bytes <= burst ? target.schedule.streams : 1,
  };
  return { products, layout };
}

/** The buffers of the i-th of several matrices, and of its bias. */
export const weightBuffer = (i: number) => (i === 0 ? ('weight' as const) : (`weight${i}` as const));
export const biasBuffer = (i: number) => (i === 0 ? ('bias' as const) : (`bias${i}` as const));

type DotBuffer =
  | 'x'
  | ReturnType<typeof weightBuffer>
  | ReturnType<typeof biasBuffer>
  | 'residual'
  | 'y'
  | ReturnType<typeof followerBuffer>;

/**
 * Buffers: x, weights (packed), biases f32 [N] if there are any, residual f32 [T, N] if there is one, y f32 [T, N], or else what followers
 * want (`namedBuffers`). `x` are the activations that `activationsOf` says.
 * @throws IngotError 'UnsupportedOp' for a pair of format and numerics without a kernel.
 */
export function quantizedDotKernel(shape: DotShape, target: Target): EmittedKernel {
  const { numerics, N, K, bias, matrices = [N], residual = false, followers } = shape;
  const { products, layout } = dotLayout(shape, target);
  const { format, tokenBytes, chunk } = layout;
  /** The first panel of each matrix. */
  const starts = matrices.map((_, i) => matrices.slice(0, i).reduce((sum, rows) => sum + rows / panelRows, 0));
  const buffers: readonly DotBuffer[] = [
    'x',
    ...matrices.map((_, i) => weightBuffer(i)),
    ...(bias ? matrices.map((_, i) => biasBuffer(i)) : []),
    ...(residual ? (['residual'] as const) : []),
    ...(followers === undefined ? (['y'] as const) : []),
  ];
  const following = followers && followedOrder<DotBuffer>(shape, followers, layout, products, target);
  const order = following?.order ?? panelOrder<DotBuffer>(N, layout, products, starts);
  const all = [...buffers, ...(following?.buffers ?? [])];
  const last = followers?.at(-1)?.kernel.name;
  const kernel = dotKernel<DotBuffer>(shape, products, layout, target.schedule, {
    ...order,
    name: [
      `quantized_dot_${format}_${numerics}_${matrices.join('+')}x${K}${residual ? '_add' : ''}`,
      ...(last === undefined ? [] : ['then', last]),
    ].join('_'),
    buffers: all,
    bias,
    ...(residual && {
      emitResidual(a) {
        a.emit('mov', rdi, ptr(rbp));
        a.emit('mov', rax, ptr(rdi, 8 * all.indexOf('residual')));
        a.emit('sub', rax, ptr(rdi, 8 * all.indexOf('y')));
        a.emit('mov', rdi, rax);
      },
    }),
    emitPlace(frame, own) {
      const { a, unit, address, loadTokens } = frame;
      a.emit('mov', rdi, ptr(rbp));
      a.emit('mov', rax, unit);
      order.emitFind(frame);
      a.emit('shl', rdx, Math.log2(chunk));
      loadTokens(rsi);
      a.emit('sub', rsi, rdx);
      a.emit('mov', rcx, chunk);
      a.emit('cmp', rsi, rcx);
      a.emit('cmova', rsi, rcx);

      a.emit('mov', r12, address('weight'));
      if (bias) a.emit('mov', r9, address('bias'));
      a.emit('mov', rcx, rax);
      const found = a.label();
      for (const [i, start] of starts.entries()) {
        if (i === 0) continue;
        a.emit('cmp', rax, start);
        a.emit('jb', found);
        a.emit('mov', r12, address(weightBuffer(i)));
        if (bias) a.emit('mov', r9, address(biasBuffer(i)));
        a.emit('lea', rcx, ptr(rax, -start));
      }
      a.bind(found);
      if (bias) {
        a.emit('mov', r11, rcx);
        a.emit('shl', r11, 6);
        a.emit('add', r9, r11);
      }
      a.emit('imul', rcx, rcx, panelBytes(format, K));
      a.emit('add', r12, rcx);
      a.emit('imul', r13, rdx, tokenBytes);
      a.emit('add', r13, address('x'));
      order.emitRow(frame, own);
    },
  });
  return { ...kernel, stackBytes: kernel.stackBytes + (following?.stackBytes ?? 0) };
}

/** Chunks of one panel follow each other; where panels are decoded, all panels of one chunk. */
function panelOrder<B extends string>(
  N: number,
  layout: DotLayout,
  { unpacked }: Products,
  starts: readonly number[],
): Order<B | 'y'> {
  const { panels, together, chunk } = layout;
  return {
    rows: (a) => denseRows(a, N),
    emitUnlessNext(a, otherwise) {
      if (unpacked === undefined) {
        a.emit('cmp', r14, 1);
        a.emit('jne', otherwise);
      }
      for (const start of starts.slice(1)) {
        a.emit('cmp', rdx, start - 1);
        a.emit('je', otherwise);
      }
    },
    emitStart({ a, loadTokens }) {
      loadTokens(rax);
      a.emit('add', rax, chunk - 1);
      a.emit('shr', rax, Math.log2(chunk));
      a.emit('mov', r14, rax);
      a.emit('imul', rax, rax, Math.ceil(panels / together));
    },
    emitFind({ a }) {
      a.emit('xor', rdx, rdx);
      if (unpacked === undefined) {
        a.emit('div', r14);
      } else {
        a.emit('mov', rcx, Math.ceil(panels / together));
        a.emit('div', rcx);
        a.emit('xchg', rax, rdx);
        emitPanelOf(a, layout, rax);
      }
    },
    emitRow({ a, address }) {
      a.emit('imul', r10, rdx, 4 * N);
      a.emit('add', r10, address('y'));
      a.emit('mov', rdx, rax);
      a.emit('shl', rax, 6);
      a.emit('add', r10, rax);
    },
  };
}

/** From the number of some panels that are one unit to the number of their first. Changes rcx. */
export function emitPanelOf(a: Assembler, { panels, together }: DotLayout, register: Gp): void {
  if (together === 1) return;
  // The last panels may be done twice, with the same results.
  a.emit('imul', register, register, together);
  a.emit('mov', rcx, panels - together);
  a.emit('cmp', register, rcx);
  a.emit('cmova', register, rcx);
}

/** A product whose units are where `units` says. */
export function dotKernel<B extends string>(
  { tokens: T, N, K }: Pick<DotShape, 'tokens' | 'N' | 'K'>,
  { direct, unpacked }: Products,
  { format, tokenBytes, panels, streams }: DotLayout,
  schedule: Schedule,
  units: Units<B>,
): EmittedKernel {
  const { name, buffers, bias, emitResidual, emitPlace } = units;
  const { size, bytes } = tileSize(format);
  const isLarge = bytes > burst;
  const walk = { format, K, N, rowBytes: tokenBytes, bias, emitResidual, panels };
  const productBytes = alignUp(
    Math.max(
      direct === undefined || direct.inRegisters ? 0 : 64 * Math.max(streams, ...direct.tokens),
      unpacked === undefined ? 0 : unpackedBytes(unpacked, K),
    ),
    64,
  );
  const own = ptr(rsp, productBytes);

  // Of the unit: r12 panel, r13 activations of the next token, r10 its results, r9 bias, rsi tokens left, rdx panel's number.
  // Of the loop over k: rax tile, rcx activations, r8 end of the whole rounds. rdi and r11 loops in a tile.
  return buildKernel(
    {
      name,
      buffers,
      tokens: T,
      sharing: schedule.sharing,
      stackBytes: productBytes + (units.ownBytes ?? 0),
    },
    (frame) => {
      unpacked?.emitStart?.(frame.a);
      units.emitStart(frame, own);
    },
    (frame) => {
      const { a } = frame;
      const rows = units.rows(a, own);
      emitPlace(frame, own);
      const done = a.label();
      if (direct !== undefined && streams > 1) emitTwoPanels(frame, direct, rows, done);
      if (unpacked !== undefined) {
        const least = direct === undefined ? 1 : (unpacked.tokens.at(-1) as number);
        const few = a.label();
        if (direct !== undefined) {
          a.emit('cmp', rsi, unpacked.least);
          a.emit('jb', few);
          a.emit('and', rsi, -least);
        }
        loadConstants(a, unpacked);
        emitUnpackedDot(a, unpacked, walk);
        emitPlace(frame, own);
        if (direct !== undefined) a.emit('and', rsi, -least);
        emitUnpackedResults(a, unpacked, walk, rows);
        if (direct !== undefined) {
          a.emit('mov', r8, rsi);
          emitPlace(frame, own);
          a.emit('sub', rsi, r8);
          a.emit('imul', rax, r8, tokenBytes);
          a.emit('add', r13, rax);
          rows.emitNext(r8);
          a.bind(few);
        }
      }
      if (direct !== undefined) emitDirect(a, direct, rows);
      a.bind(done);
      units.emitAfter?.(frame, own);
    },
    ({ a }) => unpacked?.emitEnd?.(a),
    units.emitUnitOf,
  );

  /** This unit and the next at once, where they are panels of one token. */
  function emitTwoPanels({ a, unit, end }: Frame<B>, product: Product, rows: ResultRows, done: Label): void {
    const one = a.label();
    a.emit('cmp', rsi, 1);
    a.emit('jne', one);
    a.emit('cmp', rdx, panels - 1);
    a.emit('jae', one);
    a.emit('lea', rax, ptr(unit, 1));
    a.emit('cmp', rax, end);
    a.emit('jae', one);
    units.emitUnlessNext?.(a, one);
    loadConstants(a, product);
    emitTokens(a, product, 1, rows, 2);
    a.emit('inc', unit);
    a.emit('jmp', done);
    a.bind(one);
  }

  function emitDirect(a: Assembler, product: Product, rows: ResultRows): void {
    loadConstants(a, product);
    for (const tokens of product.tokens) {
      const fewer = a.label();
      a.emit('cmp', rsi, tokens);
      a.emit('jb', fewer);
      const more = a.here();
      emitTokens(a, product, tokens, rows);
      a.emit('add', r13, tokens * tokenBytes);
      rows.emitNext(tokens);
      a.emit('sub', rsi, tokens);
      a.emit('cmp', rsi, tokens);
      a.emit('jae', more);
      a.bind(fewer);
    }
  }

  /** The results of `tokens` tokens and one panel, or one token and two. */
  function emitTokens(a: Assembler, product: Product, tokens: number, results: ResultRows, count: 1 | 2 = 1): void {
    const { parts, register } = product.vectors;
    const numbers = Array.from({ length: count }, (_, i) => i);
    const accumulator = (token: number, part: number): Vec | Mem =>
      product.inRegisters ? register(parts.length * token + part) : ptr(rsp, 64 * token + 32 * part);
    const zero = register(0);
    a.comment(`${tokens} tokens`);
    a.emit('vxorps', zero, zero, zero);
    for (let token = 0; token < tokens * count; token++) {
      for (const part of parts) {
        const acc = accumulator(token, part);
        if (acc.kind === 'mem') a.emit('vmovaps', acc, zero);
        else a.emit('vxorps', acc, acc, acc);
      }
    }
    a.emit('mov', rax, r12);
    a.emit('mov', rcx, r13);
    const xTileBytes = tokenBytes / (K / size);
    const panelAt = (number: number) => number * panelBytes(format, K);
    const ahead = { ...schedule, prefetchBytes: schedule.prefetchBytes / count };
    const emitTile = (index: number, k: number, number: number) =>
      product.emit(
        tileAt(a, {
          tokens,
          size: k,
          weightAt: index * bytes + panelAt(number),
          first: number,
          xAt: (token) => token * tokenBytes + index * xTileBytes,
          ...(isLarge && {
            emitNext: ({ weight }) => emitPrefetch(a, ahead, (at) => ptr(rax, at), weight),
            emitLast: (looped) => emitPrefetch(a, ahead, (at) => ptr(rax, looped + at), bytes - looped),
          }),
        }),
      );

    const { unroll } = product;
    const rounds = Math.floor(K / (unroll * size));
    if (rounds > 0) {
      a.emit('lea', r8, ptr(rax, rounds * unroll * bytes));
      a.align(32);
      const next = a.here();
      for (const number of numbers) {
        const at = (bytes: number) => ptr(rax, bytes + panelAt(number));
        if (!isLarge) emitPrefetch(a, ahead, at, unroll * bytes);
      }
      for (let index = 0; index < unroll; index++) for (const number of numbers) emitTile(index, size, number);
      a.emit('add', rax, unroll * bytes);
      a.emit('add', rcx, unroll * xTileBytes);
      a.emit('cmp', rax, r8);
      a.emit('jb', next);
    }
    const rest = K - rounds * unroll * size;
    for (let k = 0; k < rest; k += size) {
      for (const number of numbers) emitTile(k / size, Math.min(size, rest - k), number);
    }

    emitResidual?.(a);
    emitForPanel(a, N, rdx, panels - count, (rows) => {
      for (const number of numbers) {
        const at = 4 * panelRows * number;
        emitResults(a, product.vectors, number === count - 1 ? rows : panelRows, {
          tokens,
          ...(bias && { bias: ptr(r9, at) }),
          ...(emitResidual && { residual: rdi }),
          value: (token, part) => accumulator(number + token, part),
          to: (token) => offset(results.to(token), at),
        });
      }
    });
  }
}

function loadConstants(a: Assembler, { constants, vectors }: Pick<Product, 'constants' | 'vectors'>): void {
  for (const [i, pattern] of constants.entries()) loadPattern(a, constantOf(vectors, i), pattern);
}
