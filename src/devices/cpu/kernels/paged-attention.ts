/**
 * `paged_attention` (composites/paged_attention.ts), with the bits of its decomposition. Consecutive tokens of one sequence
 * make a block; a unit of work is a block and some heads of the pools. It takes the context in partitions, each in tiles of
 * 16 positions: keys of a tile are transposed once for all queries that need them, then scores, softmax, values, merge.
 *
 * Steps of few tokens are divided by partitions too, and their results merged by a second kernel, in the same order. Threads
 * share the units by the number of scores in them. How the work is divided changes no bits.
 */
import type { EmittedKernel } from '../emit/abi.ts';
import { at, d, q, RAX, type Register, view } from '../emit/machine.ts';
import { ScalarIntegers } from '../emit/scalar-integers.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { emitKeyPanel, emitValuePanel, type PanelSource } from './attention-panels.ts';
import { emitProduct, type Prefetch } from './attention-product.ts';
import {
  type AttentionShape,
  canSplit,
  elementSize,
  type Frame,
  frameOf,
  partial,
  partialBytes,
  partitionsOf,
  ROWS,
  scoreRowBytes,
  splitTokens,
  TILE,
  tileEntry,
} from './attention-shape.ts';
import { emitEmpty, emitMerge, emitResult, emitSoftmax, type State, stateAt } from './attention-softmax.ts';
import { inSlot, KernelWriter } from './writer.ts';

type Buffer = 'q' | 'kPool' | 'vPool' | 'positions' | 'sequence' | 'ctxLen' | 'blockTable' | 'sinks' | 'partials' | 'y';
type Writer = KernelWriter<Buffer>;

/** In the order in which the kernels take them. */
export function attentionBuffers(shape: AttentionShape): readonly Buffer[] {
  const inputs = ['q', 'kPool', 'vPool', 'positions', 'sequence', 'ctxLen', 'blockTable'] as const;
  return [
    ...inputs,
    ...(shape.sinks ? ['sinks' as const] : []),
    ...(canSplit(shape) ? ['partials' as const] : []),
    'y',
  ];
}

/** The kernels of one attention: they run one after the other. */
export function attentionKernels(shape: AttentionShape): readonly { name: string; make(): EmittedKernel }[] {
  const attend = { name: 'paged_attention', make: () => new Attention(shape).attend() };
  const merge = { name: 'paged_attention_merge', make: () => new Attention(shape).merge() };
  return canSplit(shape) ? [attend, merge] : [attend];
}

/** Consecutive tokens of one sequence. */
interface Block {
  readonly start: Register;
  readonly count: Register;
  /** Row of the block table. */
  readonly sequence: Register;
  /** Positions that a token of it sees: [first, last). */
  readonly first: Register;
  readonly last: Register;
  /** Partitions [from, to) that these lie in. */
  readonly from: Register;
  readonly to: Register;
  /** Rows of queries for one head of the pools, whole groups of `ROWS`. */
  readonly rows: Register;
}

/** A block, partitions [from, to) of it, and heads of the pools. */
interface Unit {
  readonly block: Block;
  readonly from: Register;
  readonly to: Register;
  readonly head: Register;
  readonly heads: Register;
}

class Attention {
  readonly #shape: AttentionShape;
  readonly #frame: Frame;
  readonly #group: number;
  readonly #keyRowBytes: number;
  readonly #valueRowBytes: number;

  constructor(shape: AttentionShape) {
    this.#shape = shape;
    this.#frame = frameOf(shape);
    this.#group = shape.heads / shape.kvHeads;
    this.#keyRowBytes = shape.kvHeads * shape.keyDim * elementSize[shape.keys];
    this.#valueRowBytes = shape.kvHeads * shape.valueDim * elementSize[shape.values];
  }

  #writer(name: string): Writer {
    const { tokens, sequences } = this.#shape;
    return new KernelWriter(name, attentionBuffers(this.#shape), [tokens, sequences]);
  }

  attend(): EmittedKernel {
    const { kvHeads } = this.#shape;
    const w = this.#writer('paged_attention');
    const total = w.value(1);
    this.#forEachBlock(w, ({ first, last, rows }) => {
      w.change('add', total, w.product(w.difference(last, first), w.product(rows, kvHeads)));
    });
    const [mine, end] = [0, 1].map((next) => {
      return divided(w, w.product(total, w.sum(w.threadIndex, next)), w.threadCount);
    }) as [Register, Register];
    // At least two units a thread, so that all end at about the same time.
    const wanted = divided(w, total, w.product(w.threadCount, 2));
    const done = w.value(0);
    const split = this.#isSplit(w);
    this.#forEachBlock(w, (block) => {
      const most = divided(w, w.value(this.#frame.rows), block.rows);
      const from = w.value(block.from);
      w.loop((leave) => {
        const to = w.value(block.to);
        if (split !== undefined) w.when(split, 'ne', 0, () => w.m.emit('lea', q(to), at(from, 1)));
        const span = this.#span(w, block, from, to);
        // Neighbouring heads lie side by side: the more of them, the longer the runs in memory.
        const perHead = w.product(span, block.rows);
        const heads = divided(w, w.sum(wanted, w.shift(perHead, 'shr', 1)), w.sum(perHead, 1));
        w.bound(heads, 'min', most);
        w.bound(heads, 'max', 1);
        w.forEach(0, kvHeads, heads, (head) => {
          const some = w.difference(kvHeads, head);
          w.bound(some, 'min', heads);
          w.when(done, 'ge', mine, () =>
            w.when(done, 'l', end, () => this.#unit(w, { block, from, to, head, heads: some }, split)),
          );
          w.change('add', done, w.product(perHead, some));
        });
        w.set(from, to);
        w.when(from, 'ge', block.to, leave);
      });
    });
    return w.finish();
  }

  /** Merges the partitions of every row. */
  merge(): EmittedKernel {
    const { tokens, heads, valueDim, sinks } = this.#shape;
    const w = this.#writer('paged_attention_merge');
    const code = laneCode(w.m, 8);
    const all = w.dim(tokens);
    const { running, runningStatistics } = this.#frame;
    const row = w.product(all, heads);
    const [from, to] = [0, 1].map((next) => divided(w, w.product(row, w.sum(w.threadIndex, next)), w.threadCount)) as [
      Register,
      Register,
    ];
    const split = this.#isSplit(w);
    if (split !== undefined) w.when(split, 'e', 0, () => w.set(to, 0));
    w.forEach(from, to, 1, (row) => {
      const token = divided(w, row, w.value(heads));
      const head = w.difference(row, w.product(token, heads));
      const block = this.#block(w, token, w.value(1));
      const state = stateAt(w, runningStatistics, running, valueDim, w.value(0));
      emitEmpty(w, code, valueDim, state);
      w.forEach(block.from, block.to, 1, (p) => emitMerge(w, code, valueDim, state, this.#partial(w, row, p)));
      const result = w.sum(w.buffer('y'), w.product(row, 4 * valueDim));
      emitResult(w, code, valueDim, state, sinks ? at(w.buffer('sinks'), 0, head, 4) : undefined, result);
    });
    return w.finish();
  }

  /** 1 where partitions are units of their own, else 0; undefined where they never are. */
  #isSplit(w: Writer): Register | undefined {
    if (!canSplit(this.#shape)) return undefined;
    const split = w.value(1);
    const tokens = w.dim(this.#shape.tokens);
    w.when(typeof tokens === 'number' ? w.value(tokens) : tokens, 'g', splitTokens, () => w.set(split, 0));
    return split;
  }

  #partial(w: Writer, row: Register, p: Register): State {
    const index = w.sum(w.product(row, partitionsOf(this.#shape)), p);
    const statistics = w.sum(w.buffer('partials'), w.product(index, partialBytes(this.#shape)));
    return { statistics, values: w.sum(statistics, partial.values) };
  }

  #forEachBlock(w: Writer, body: (block: Block) => void): void {
    const tokens = w.dim(this.#shape.tokens);
    const most = Math.max(1, Math.floor(this.#frame.rows / this.#group));
    const token = w.value(0);
    const step = w.value(0);
    w.whileBelow(token, tokens, step, () => {
      const left = w.difference(tokens, token);
      w.bound(left, 'min', most);
      const block = this.#block(w, token, left);
      body(block);
      w.set(step, block.count);
    });
  }

  /** The block that begins at `start`, of `most` tokens or fewer. */
  #block(w: Writer, start: Register, most: Register): Block {
    const { columns, blockSize, partition, window, sequences, bidirectional } = this.#shape;
    const [positions, owners] = [w.buffer('positions'), w.buffer('sequence')];
    const owner = w.signed(at(owners, 0, start, 4));
    const lowest = w.signed(at(positions, 0, start, 4));
    const last = w.value(lowest);
    const count = w.value(1);
    w.loop((leave) => {
      w.when(count, 'ge', most, leave);
      const next = w.sum(start, count);
      const other = w.signed(at(owners, 0, next, 4));
      w.when(other, 'ne', owner, leave);
      const position = w.signed(at(positions, 0, next, 4));
      w.bound(lowest, 'min', position);
      w.bound(last, 'max', position);
      w.change('add', count, 1);
    });
    // A sequence below 0 has no keys, one behind the last counts as that.
    const sequence = w.value(owner);
    w.bound(sequence, 'max', 0);
    w.bound(sequence, 'min', w.difference(w.dim(sequences), 1));
    const length = w.signed(at(w.buffer('ctxLen'), 0, sequence, 4));
    w.bound(length, 'min', columns * blockSize);
    w.when(owner, 'l', 0, () => w.set(length, 0));
    w.change('add', last, 1);
    if (bidirectional) w.set(last, length);
    w.bound(last, 'min', length);
    const first = w.value(0);
    if (window !== undefined) {
      w.set(first, w.difference(lowest, window - 1));
      w.bound(first, 'max', 0);
    }
    w.when(last, 'le', first, () => {
      w.set(first, 0);
      w.set(last, 0);
    });
    const size = w.value(partition);
    const from = divided(w, first, size);
    const to = divided(w, w.sum(last, partition - 1), size);
    const rows = w.product(count, this.#group);
    w.change('add', rows, ROWS - 1);
    w.change('and', rows, -ROWS);
    return { start, count, sequence, first, last, from, to, rows };
  }

  /** Positions that a block sees in partitions [from, to). */
  #span(w: Writer, block: Block, from: Register, to: Register): Register {
    const { partition } = this.#shape;
    const start = w.product(from, partition);
    w.bound(start, 'max', block.first);
    const end = w.product(to, partition);
    w.bound(end, 'min', block.last);
    w.change('sub', end, start);
    w.bound(end, 'max', 0);
    return end;
  }

  #unit(w: Writer, unit: Unit, split: Register | undefined): void {
    const { valueDim, heads, sinks } = this.#shape;
    const { running, runningStatistics, next, nextStatistics } = this.#frame;
    const code = laneCode(w.m, 8);
    this.#loadQueries(w, unit);
    this.#forEachRow(w, unit, ({ row }) =>
      emitEmpty(w, code, valueDim, stateAt(w, runningStatistics, running, valueDim, row)),
    );
    w.forEach(unit.from, unit.to, 1, (p) => {
      this.#partition(w, unit, p);
      this.#forEachRow(w, unit, ({ row }) => {
        const state = stateAt(w, runningStatistics, running, valueDim, row);
        emitMerge(w, code, valueDim, state, stateAt(w, nextStatistics, next, valueDim, row));
      });
    });
    this.#forEachRow(w, unit, ({ row, token, head }) => {
      const state = stateAt(w, runningStatistics, running, valueDim, row);
      const index = w.sum(w.product(token, heads), head);
      const result = () => {
        const y = w.sum(w.buffer('y'), w.product(index, 4 * valueDim));
        emitResult(w, code, valueDim, state, sinks ? at(w.buffer('sinks'), 0, head, 4) : undefined, y);
      };
      if (split === undefined) result();
      else w.when(split, 'e', 0, result, () => this.#keep(w, state, this.#partial(w, index, unit.from)));
    });
  }

  /** Copies a state. */
  #keep(w: Writer, from: State, to: State): void {
    const code = laneCode(w.m, 8);
    w.m.emit('mov', q(RAX), at(from.statistics));
    w.m.emit('mov', at(to.statistics), q(RAX));
    for (let i = 0; i < 4 * this.#shape.valueDim; i += 32) {
      w.m.emit('vmovups', at(to.values, i), view(code.load(32, at(from.values, i)), 256));
    }
  }

  /** Rows of a unit that are queries: heads of the pools, tokens, heads of the group. */
  #forEachRow(
    w: Writer,
    { block, head, heads }: Unit,
    body: (row: { row: Register; token: Register; tokenOfBlock: Register; head: Register }) => void,
  ): void {
    w.forEach(0, heads, 1, (j) => {
      const row = w.product(j, block.rows);
      const firstHead = w.product(w.sum(head, j), this.#group);
      w.forEach(0, block.count, 1, (tokenOfBlock) => {
        const token = w.sum(block.start, tokenOfBlock);
        const end = w.sum(firstHead, this.#group);
        w.forEach(firstHead, end, 1, (head) => {
          body({ row, token, tokenOfBlock, head });
          w.change('add', row, 1);
        });
      });
    });
  }

  /** Queries of the unit one after another, zeros where rows fill up; and what each token sees. */
  #loadQueries(w: Writer, unit: Unit): void {
    const { heads, keyDim, window, bidirectional } = this.#shape;
    const { m } = w;
    const code = laneCode(m, 8);
    const { queries, seen } = this.#frame;
    const zero = code.zero();
    const all = w.addressOf(queries);
    const end = w.sum(all, w.product(w.product(unit.heads, unit.block.rows), 4 * keyDim));
    w.whileBelow(all, end, 32, () => m.emit('vmovups', at(all), view(zero, 256)));
    const source = w.buffer('q');
    const target = w.addressOf(queries);
    this.#forEachRow(w, unit, ({ row, token, head }) => {
      const from = w.sum(source, w.product(w.sum(w.product(token, heads), head), 4 * keyDim));
      const to = w.sum(target, w.product(row, 4 * keyDim));
      for (let i = 0; i < 4 * keyDim; i += 32) m.emit('vmovups', at(to, i), view(code.load(32, at(from, i)), 256));
    });
    w.forEach(0, unit.block.count, 1, (i) => {
      const position = w.signed(at(w.buffer('positions'), 0, w.sum(unit.block.start, i), 4));
      const place = w.addressOf(seen, w.shift(i, 'shl', 1), 8);
      const first = w.value(0);
      if (window !== undefined) {
        w.set(first, w.difference(position, window - 1));
        w.bound(first, 'max', 0);
      }
      const last = bidirectional ? w.value(unit.block.last) : w.sum(position, 1);
      w.bound(last, 'min', unit.block.last);
      m.emit('mov', at(place), q(first));
      m.emit('mov', at(place, 8), q(last));
    });
  }

  /** The results of one partition go to `next`. */
  #partition(w: Writer, unit: Unit, p: Register): void {
    const { keyDim, valueDim, partition } = this.#shape;
    const { m } = w;
    const frame = this.#frame;
    const code = laneCode(m, 8);
    const start = w.product(p, partition);
    const scoreBytes = scoreRowBytes(this.#shape);
    const end = w.sum(start, partition);
    w.bound(end, 'min', unit.block.last);
    const tiles = this.#listTiles(w, unit.block, start, end);
    this.#placeSeen(w, unit.block, start);

    this.#forEachTile(w, unit, tiles, ({ slot, next, column, firstRow, head }) => {
      const panel = w.addressOf(frame.panel);
      emitKeyPanel(w, this.#keySource(w, slot, head), panel);
      const ahead = this.#ahead(w, unit, this.#keySource(w, next, unit.head), head, panel);
      this.#forEachRows(w, unit, firstRow, (row) => {
        w.when(row, 'ne', firstRow, () => w.set(ahead.at, panel));
        const a = w.sum(w.addressOf(frame.queries), w.product(row, 4 * keyDim));
        const c = w.sum(w.addressOf(frame.scores, column, 4), w.product(row, scoreBytes));
        emitProduct(w, code, {
          a: { base: a, stride: 4 * keyDim },
          b: { base: panel, stride: 4 * TILE },
          c: { base: c, stride: scoreBytes },
          ...{ count: keyDim, columns: TILE, accumulate: false, ahead },
        });
      });
    });

    this.#forEachRow(w, unit, ({ row, tokenOfBlock }) => {
      const scores = w.sum(w.addressOf(frame.scores), w.product(row, scoreBytes));
      const seen = inSlot(frame.seenHere, 0, tokenOfBlock, 8);
      emitSoftmax(w, code, this.#shape, frame, tiles, {
        scores,
        seen,
        statistics: w.addressOf(frame.nextStatistics, row, 8),
      });
    });

    const zero = code.zero();
    const values = w.addressOf(frame.next);
    const valuesEnd = w.sum(values, w.product(w.product(unit.heads, unit.block.rows), 4 * valueDim));
    w.whileBelow(values, valuesEnd, 32, () => m.emit('vmovups', at(values), view(zero, 256)));
    this.#forEachTile(w, unit, tiles, ({ slot, next, column, firstRow, head }) => {
      const panel = w.addressOf(frame.panel);
      const valid = w.difference(w.difference(end, start), column);
      w.bound(valid, 'min', TILE);
      emitValuePanel(w, this.#valueSource(w, slot, head), panel, valid);
      const ahead = this.#ahead(w, unit, this.#valueSource(w, next, unit.head), head, panel);
      this.#forEachRows(w, unit, firstRow, (row) => {
        w.when(row, 'ne', firstRow, () => w.set(ahead.at, panel));
        const a = w.sum(w.addressOf(frame.scores, column, 4), w.product(row, scoreBytes));
        const c = w.sum(w.addressOf(frame.next), w.product(row, 4 * valueDim));
        const b = w.value(panel);
        const product = (columns: number) =>
          emitProduct(w, code, {
            a: { base: a, stride: scoreBytes },
            b: { base: b, stride: 4 * valueDim },
            c: { base: c, stride: 4 * valueDim },
            ...{ count: TILE, columns, accumulate: true },
            ahead: { at: ahead.at, bytes: Math.ceil((ahead.bytes * columns) / valueDim) },
          });
        const whole = w.sum(c, 4 * (valueDim - (valueDim % 16)));
        w.whileBelow(c, whole, 64, () => {
          product(16);
          w.change('add', b, 64);
        });
        if (valueDim % 16 > 0) product(8);
      });
    });
  }

  #keySource(w: Writer, slot: Register, head: Register): PanelSource {
    const { keys: element, keyDim: dim } = this.#shape;
    return this.#source(w, w.buffer('kPool'), { element, dim, rowBytes: this.#keyRowBytes }, slot, head);
  }
  #valueSource(w: Writer, slot: Register, head: Register): PanelSource {
    const { values: element, valueDim: dim } = this.#shape;
    return this.#source(w, w.buffer('vPool'), { element, dim, rowBytes: this.#valueRowBytes }, slot, head);
  }
  #source(w: Writer, pool: Register, lies: Omit<PanelSource, 'from'>, slot: Register, head: Register): PanelSource {
    const from = w.sum(pool, w.product(slot, lies.rowBytes));
    w.change('add', from, w.product(head, lies.dim * elementSize[lies.element]));
    return { ...lies, from };
  }

  /**
   * Where to ask for memory while the tile is multiplied: the part of the next tile that is as far along as this head. Memory
   * is fast in ascending order only, so a unit that has not all heads, whose tiles are no run of bytes, asks for nothing.
   */
  #ahead(w: Writer, unit: Unit, next: PanelSource, head: Register, panel: Register): Prefetch {
    const bytes = TILE * next.dim * elementSize[next.element];
    const at = w.value(panel);
    w.when(unit.heads, 'e', this.#shape.kvHeads, () => w.set(at, w.sum(next.from, w.product(head, bytes))));
    return { at, bytes };
  }

  /** The tiles of [start, end) that somebody sees and that lie in blocks; their number. */
  #listTiles(w: Writer, { first, sequence }: Block, start: Register, end: Register): Register {
    const { m } = w;
    const { blocks, blockSize, columns } = this.#shape;
    const position = w.value(first);
    w.bound(position, 'max', start);
    w.change('and', position, -TILE);
    const table = w.sum(w.buffer('blockTable'), w.product(sequence, 4 * columns));
    const count = w.value(0);
    w.whileBelow(position, end, TILE, () => {
      const id = w.signed(at(table, 0, w.shift(position, 'shr', Math.log2(blockSize)), 4));
      w.when(id, 'ge', 0, () => {
        w.bound(id, 'min', blocks - 1);
        const slot = w.value(position);
        w.change('and', slot, blockSize - 1);
        w.change('add', slot, w.product(id, blockSize));
        const entry = w.addressOf(this.#frame.tiles, w.shift(count, 'shl', 1), 8);
        const column = w.difference(position, start);
        m.emit('mov', at(entry, tileEntry.slot), q(slot));
        m.emit('mov', at(entry, tileEntry.column), d(column));
        storeFloat(w, at(entry, tileEntry.columnFloat), column);
        w.change('add', count, 1);
      });
    });
    const next = w.addressOf(this.#frame.tiles, w.shift(count, 'shl', 1), 8);
    const first_ = w.value(inSlot(this.#frame.tiles, tileEntry.slot));
    m.emit('mov', at(next, tileEntry.slot), q(first_));
    return count;
  }

  /** What tokens see, from the start of the partition. */
  #placeSeen(w: Writer, { count }: Block, start: Register): void {
    w.forEach(0, count, 1, (i) => {
      const place = w.addressOf(this.#frame.seen, w.shift(i, 'shl', 1), 8);
      const here = w.addressOf(this.#frame.seenHere, i, 8);
      for (const end of [0, 1]) {
        const position = w.value(at(place, 8 * end));
        w.change('sub', position, start);
        storeFloat(w, at(here, 4 * end), position);
      }
    });
  }

  #forEachTile(
    w: Writer,
    { block, head, heads }: Unit,
    tiles: Register,
    body: (tile: { slot: Register; next: Register; column: Register; firstRow: Register; head: Register }) => void,
  ): void {
    const entry = w.addressOf(this.#frame.tiles);
    const end = w.sum(entry, w.product(tiles, tileEntry.bytes));
    w.whileBelow(entry, end, tileEntry.bytes, () => {
      const slot = w.value(at(entry, tileEntry.slot));
      const next = w.value(at(entry, tileEntry.bytes + tileEntry.slot));
      const column = w.signed(at(entry, tileEntry.column));
      w.forEach(0, heads, 1, (j) => {
        body({ slot, next, column, firstRow: w.product(j, block.rows), head: w.sum(head, j) });
      });
    });
  }

  /** The rows of one head of the pools, `ROWS` at a time. */
  #forEachRows(w: Writer, { block }: Unit, firstRow: Register, body: (row: Register) => void): void {
    w.forEach(firstRow, w.sum(firstRow, block.rows), ROWS, body);
  }
}

const divided = (w: Writer, a: Register, b: Register) => new ScalarIntegers(w.m).divideIndex('divide', a, b);

function storeFloat(w: Writer, to: ReturnType<typeof at>, x: Register): void {
  const { m } = w;
  const zero = laneCode(m, 4).zero();
  const float = m.register('vec');
  m.emit('vcvtsi2ss', view(float, 128), view(zero, 128), q(x));
  m.emit('vmovss', to, view(float, 128));
}
