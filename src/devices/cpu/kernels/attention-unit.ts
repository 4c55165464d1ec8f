/**
 * One unit of attention: its queries one after another, then partition by partition of the context the scores, their softmax, the weighted sum of
 * the values, and the merge with the partitions before. Positions come in tiles of 16: a tile of keys or values is made f32 once
 * for all queries that need it.
 */
import { at, d, q, RAX, type Register, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { type AttentionWriter, type Block, partialOf, type Unit } from './attention-blocks.ts';
import { emitKeyPanel, emitValuePanel, type PanelSource } from './attention-panels.ts';
import { emitProduct, type Prefetch } from './attention-product.ts';
import { type AttentionShape, type Frame, headBytes, ROWS, scoreRowBytes, TILE, tileEntry } from './attention-shape.ts';
import { emitEmpty, emitMerge, emitResult, emitSoftmax, type State, stateAt } from './attention-softmax.ts';
import { inSlot } from './writer.ts';

type Writer = AttentionWriter;

export class AttentionUnit {
  readonly #shape: AttentionShape;
  readonly #frame: Frame;
  readonly #group: number;
  readonly #keyRowBytes: number;
  readonly #valueRowBytes: number;

  constructor(shape: AttentionShape, frame: Frame) {
    this.#shape = shape;
    this.#frame = frame;
    this.#group = shape.heads / shape.kvHeads;
    this.#keyRowBytes = shape.kvHeads * headBytes(shape.keys, shape.keyDim);
    this.#valueRowBytes = shape.kvHeads * headBytes(shape.values, shape.valueDim);
  }

  /** The results go to `y`, or where `split` is 1 to the partials. */
  emit(w: Writer, unit: Unit, split: Register | undefined): void {
    const { valueDim, heads, sinks } = this.#shape;
    const { running, runningStatistics, next, nextStatistics } = this.#frame;
    const { code } = w;
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
      else w.when(split, 'e', 0, result, () => this.#keep(w, state, partialOf(w, this.#shape, index, unit.from)));
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
        emitProduct(w, {
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
          emitProduct(w, {
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
    const { keys: format, keyDim: dim } = this.#shape;
    return this.#source(w, w.buffer('kPool'), { format, dim, rowBytes: this.#keyRowBytes }, slot, head);
  }
  #valueSource(w: Writer, slot: Register, head: Register): PanelSource {
    const { values: format, valueDim: dim } = this.#shape;
    return this.#source(w, w.buffer('vPool'), { format, dim, rowBytes: this.#valueRowBytes }, slot, head);
  }
  #source(w: Writer, pool: Register, lies: Omit<PanelSource, 'from'>, slot: Register, head: Register): PanelSource {
    const from = w.sum(pool, w.product(slot, lies.rowBytes));
    w.change('add', from, w.product(head, headBytes(lies.format, lies.dim)));
    return { ...lies, from };
  }

  /**
   * Where to ask for memory while the tile is multiplied: the part of the next tile that is as far along as this head. Memory
   * is fast in ascending order only, so a unit that has not all heads, whose tiles are no run of bytes, asks for nothing.
   */
  #ahead(w: Writer, unit: Unit, next: PanelSource, head: Register, panel: Register): Prefetch {
    const bytes = TILE * headBytes(next.format, next.dim);
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

function storeFloat(w: Writer, to: ReturnType<typeof at>, x: Register): void {
  const { m } = w;
  const zero = laneCode(m, 4).zero();
  const float = m.register('vec');
  m.emit('vcvtsi2ss', view(float, 128), view(zero, 128), q(x));
  m.emit('vmovss', to, view(float, 128));
}
