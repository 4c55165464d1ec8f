/**
 * One unit of attention: its queries one after another, then partition by partition of the context the scores, their softmax, the weighted sum of
 * the values, and the merge with the partitions before. Positions come in tiles of 16. How queries are kept and what multiplies
 * them is a matter of the numerics: attention-float-unit.ts, attention-bf16-unit.ts, attention-integer-unit.ts.
 */
import { type Address, at, d, q, RAX, type Register, type Slot, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { type AttentionWriter, type Block, divided, partialOf, type Unit } from './attention-blocks.ts';
import type { PanelSource } from './attention-panels.ts';
import type { Prefetch } from './attention-product.ts';
import { type AttentionShape, type Frame, headBytes, ROWS, scoreRowBytes, TILE, tileEntry } from './attention-shape.ts';
import {
  emitEmpty,
  emitMerge,
  emitResult,
  emitSoftmax,
  type KeepWeight,
  type State,
  stateAt,
} from './attention-softmax.ts';
import { type Count, inSlot } from './writer.ts';

type Writer = AttentionWriter;

/** Positions [start, end) of a partition that the block sees at most, and the number of tiles in the frame's list. */
export interface Part {
  readonly start: Register;
  readonly end: Register;
  readonly tiles: Register;
}

/** A query: its row in the unit, its token in the step and in the block, its head. */
interface Row {
  readonly row: Register;
  readonly token: Register;
  readonly tokenOfBlock: Register;
  readonly head: Register;
}

/** A tile for one head of the pools: slots of this one and of the next two in the list, the first row of the head's queries. */
export interface Tile {
  readonly slot: Register;
  readonly next: Register;
  readonly afterNext: Address;
  readonly column: Register;
  readonly firstRow: Register;
  readonly head: Register;
}

/** A tile from a head of the pools on. */
type SourceOf = (w: Writer, head: Register) => PanelSource;

export abstract class AttentionUnit {
  protected readonly shape: AttentionShape;
  protected readonly frame: Frame;
  readonly #group: number;
  readonly #keyRowBytes: number;
  readonly #valueRowBytes: number;

  constructor(shape: AttentionShape, frame: Frame) {
    this.shape = shape;
    this.frame = frame;
    this.#group = shape.heads / shape.kvHeads;
    this.#keyRowBytes = shape.kvHeads * headBytes(shape.keys, shape.keyDim);
    this.#valueRowBytes = shape.kvHeads * headBytes(shape.values, shape.valueDim);
  }

  /** Once, before the first unit, and behind the last. */
  emitStart(_w: Writer): void {}
  emitEnd(_w: Writer): void {}

  /** Where the queries lie; they are zeros when the copies of those that there are begin. */
  protected abstract readonly queries: { readonly slot: Slot; readonly rowBytes: number };
  protected abstract copyQuery(w: Writer, from: Register, to: Register): void;
  /** The dot products of all rows with the keys of the partition, to the frame's scores. */
  protected abstract emitScores(w: Writer, unit: Unit, part: Part): void;
  /** Where the weights of a row go, if not where its scores were. */
  protected weightsOf(_w: Writer, _row: Register): KeepWeight | undefined {
    return undefined;
  }
  /** The weighted sums of the partition's values, to the frame's `next`. */
  protected abstract emitSums(w: Writer, unit: Unit, part: Part): void;

  /** The results go to `y`, or where `split` is 1 to the partials. */
  emit(w: Writer, unit: Unit, split: Register | undefined): void {
    const { valueDim, heads, sinks } = this.shape;
    const { running, runningStatistics, next, nextStatistics, nextDim } = this.frame;
    const { code } = w;
    this.#loadQueries(w, unit);
    this.#forEachRow(w, unit, ({ row }) =>
      emitEmpty(w, code, valueDim, stateAt(w, runningStatistics, running, valueDim, row)),
    );
    // The partition that this thread most likely takes up next.
    const further = w.value(1);
    if (split !== undefined) w.when(split, 'ne', 0, () => w.set(further, w.threadCount));
    w.forEach(unit.from, unit.to, 1, (p) => {
      this.#partition(w, unit, p, w.sum(p, further));
      this.#forEachRow(w, unit, ({ row }) => {
        const state = stateAt(w, runningStatistics, running, valueDim, row);
        emitMerge(w, code, valueDim, state, stateAt(w, nextStatistics, next, nextDim, row));
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
      else w.when(split, 'e', 0, result, () => this.#keep(w, state, partialOf(w, this.shape, index, unit.from)));
    });
  }

  /** Copies a state. */
  #keep(w: Writer, from: State, to: State): void {
    const code = laneCode(w.m, 8);
    w.m.emit('mov', q(RAX), at(from.statistics));
    w.m.emit('mov', at(to.statistics), q(RAX));
    for (let i = 0; i < 4 * this.shape.valueDim; i += 32) {
      w.m.emit('vmovups', at(to.values, i), view(code.load(32, at(from.values, i)), 256));
    }
  }

  /** Rows of a unit that are queries: heads of the pools, tokens, heads of the group. */
  #forEachRow(w: Writer, { block, head, heads }: Unit, body: (row: Row) => void): void {
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
    const { heads, keyDim, window, bidirectional } = this.shape;
    const { m } = w;
    const { seen } = this.frame;
    const { slot, rowBytes } = this.queries;
    zeroFrom(w, w.addressOf(slot), w.product(w.product(unit.heads, unit.block.rows), rowBytes));
    const source = w.buffer('q');
    const target = w.addressOf(slot);
    this.#forEachRow(w, unit, ({ row, token, head }) => {
      const from = w.sum(source, w.product(w.sum(w.product(token, heads), head), 4 * keyDim));
      this.copyQuery(w, from, w.sum(target, w.product(row, rowBytes)));
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
  #partition(w: Writer, unit: Unit, p: Register, later: Register): void {
    const { frame } = this;
    const start = w.product(p, this.shape.partition);
    const end = w.sum(start, this.shape.partition);
    w.bound(end, 'min', unit.block.last);
    const tiles = this.#listTiles(w, unit.block, start, end, w.product(later, this.shape.partition));
    const part: Part = { start, end, tiles };
    this.#placeSeen(w, unit.block, start);
    this.emitScores(w, unit, part);
    this.#forEachRow(w, unit, ({ row, tokenOfBlock }) => {
      const scores = w.sum(w.addressOf(frame.scores), w.product(row, scoreRowBytes(this.shape)));
      const seen = inSlot(frame.seenHere, 0, tokenOfBlock, 8);
      const statistics = w.addressOf(frame.nextStatistics, row, 8);
      const keep = this.weightsOf(w, row);
      emitSoftmax(w, w.code, this.shape, frame, tiles, { scores, seen, statistics, keep });
    });
    this.emitSums(w, unit, part);
  }

  protected keySource(w: Writer, slot: Register, head: Register): PanelSource {
    const { keys: format, keyDim: dim } = this.shape;
    return this.#source(w, w.buffer('kPool'), { format, dim, rowBytes: this.#keyRowBytes }, slot, head);
  }
  protected valueSource(w: Writer, slot: Register, head: Register): PanelSource {
    const { values: format, valueDim: dim } = this.shape;
    return this.#source(w, w.buffer('vPool'), { format, dim, rowBytes: this.#valueRowBytes }, slot, head);
  }
  #source(w: Writer, pool: Register, lies: Omit<PanelSource, 'from'>, slot: Register, head: Register): PanelSource {
    const from = w.sum(pool, w.product(slot, lies.rowBytes));
    w.change('add', from, w.product(head, headBytes(lies.format, lies.dim)));
    return { ...lies, from };
  }

  /** The tiles of [start, end) that somebody sees and that lie in blocks, and behind them the first again and that at `later`; their number. */
  #listTiles(w: Writer, { first, last, sequence }: Block, start: Register, end: Register, later: Register): Register {
    const { m } = w;
    const position = w.value(first);
    w.bound(position, 'max', start);
    w.change('and', position, -TILE);
    const table = w.sum(w.buffer('blockTable'), w.product(sequence, 4 * this.shape.columns));
    const count = w.value(0);
    w.whileBelow(position, end, TILE, () =>
      this.#whereStored(w, table, position, (slot) => {
        const entry = w.addressOf(this.frame.tiles, w.shift(count, 'shl', 1), 8);
        const column = w.difference(position, start);
        m.emit('mov', at(entry, tileEntry.slot), q(slot));
        m.emit('mov', at(entry, tileEntry.column), d(column));
        storeFloat(w, at(entry, tileEntry.columnFloat), column);
        w.change('add', count, 1);
      }),
    );
    const again = w.value(inSlot(this.frame.tiles, tileEntry.slot));
    const next = w.addressOf(this.frame.tiles, w.shift(count, 'shl', 1), 8);
    m.emit('mov', at(next, tileEntry.slot), q(again));
    const after = w.value(again);
    w.when(later, 'l', last, () => this.#whereStored(w, table, later, (slot) => w.set(after, slot)));
    m.emit('mov', at(next, tileEntry.bytes + tileEntry.slot), q(after));
    return count;
  }

  /** With the slot of a position, if its block is in the table. */
  #whereStored(w: Writer, table: Register, position: Register, body: (slot: Register) => void): void {
    const { blocks, blockSize } = this.shape;
    const id = w.signed(at(table, 0, w.shift(position, 'shr', Math.log2(blockSize)), 4));
    w.when(id, 'ge', 0, () => {
      w.bound(id, 'min', blocks - 1);
      const slot = w.value(position);
      w.change('and', slot, blockSize - 1);
      w.change('add', slot, w.product(id, blockSize));
      body(slot);
    });
  }

  /** What tokens see, from the start of the partition. */
  #placeSeen(w: Writer, { count }: Block, start: Register): void {
    w.forEach(0, count, 1, (i) => {
      const place = w.addressOf(this.frame.seen, w.shift(i, 'shl', 1), 8);
      const here = w.addressOf(this.frame.seenHere, i, 8);
      for (const end of [0, 1]) {
        const position = w.value(at(place, 8 * end));
        w.change('sub', position, start);
        storeFloat(w, at(here, 4 * end), position);
      }
    });
  }

  protected forEachTile(w: Writer, { block, head, heads }: Unit, tiles: Register, body: (tile: Tile) => void): void {
    const entry = w.addressOf(this.frame.tiles);
    const end = w.sum(entry, w.product(tiles, tileEntry.bytes));
    w.whileBelow(entry, end, tileEntry.bytes, () => {
      const slot = w.value(at(entry, tileEntry.slot));
      const next = w.value(at(entry, tileEntry.bytes + tileEntry.slot));
      const column = w.signed(at(entry, tileEntry.column));
      w.forEach(0, heads, 1, (j) => {
        const afterNext = at(entry, 2 * tileEntry.bytes + tileEntry.slot);
        body({ slot, next, afterNext, column, firstRow: w.product(j, block.rows), head: w.sum(head, j) });
      });
    });
  }

  /** Behind the last tile of keys comes the first of the values, which is the next in the list. */
  protected aheadOfKeys(w: Writer, unit: Unit, tile: Tile, panel: Register): Prefetch {
    return this.#ahead(w, unit, tile, panel, this.#keys(tile.next), this.#values(tile.next));
  }
  /** Behind the last tile of values come keys of another partition. */
  protected aheadOfValues(w: Writer, unit: Unit, tile: Tile, panel: Register): Prefetch {
    const later = (w: Writer, head: Register) => this.keySource(w, w.value(tile.afterNext), head);
    return this.#ahead(w, unit, tile, panel, this.#values(tile.next), later);
  }
  #keys(slot: Register): SourceOf {
    return (w, head) => this.keySource(w, slot, head);
  }
  #values(slot: Register): SourceOf {
    return (w, head) => this.valueSource(w, slot, head);
  }

  /** Where to ask for memory while the tile is multiplied: the part of the next one that is as far along as this head. */
  #ahead(
    w: Writer,
    unit: Unit,
    { next, head }: Tile,
    panel: Register,
    usual: SourceOf,
    behindLast: SourceOf,
  ): Prefetch {
    const { format, dim } = usual(w, unit.head);
    const bytes = TILE * headBytes(format, dim);
    const at = w.value(panel);
    const ask = (of: SourceOf) => {
      const source = of(w, unit.head);
      w.when(
        unit.heads,
        'e',
        this.shape.kvHeads,
        () => w.set(at, w.sum(source.from, w.product(head, bytes))),
        () => this.#askForRows(w, unit, source, w.difference(head, unit.head)),
      );
    };
    const first = w.value(inSlot(this.frame.tiles, tileEntry.slot));
    w.when(
      next,
      'ne',
      first,
      () => ask(usual),
      () => ask(behindLast),
    );
    return { at, bytes };
  }

  /** A tile of some heads is no run of memory: the `part`-th of as many parts as there are heads is asked for at once. */
  #askForRows(w: Writer, { heads }: Unit, { format, dim, rowBytes, from }: PanelSource, part: Register): void {
    const [start, end] = [0, 1].map((next) => divided(w, w.product(w.sum(part, next), TILE), heads)) as [
      Register,
      Register,
    ];
    const bytes = w.product(heads, headBytes(format, dim));
    w.forEach(start, end, 1, (position) => {
      const line = w.sum(from, w.product(position, rowBytes));
      const end = w.sum(line, bytes);
      w.whileBelow(line, end, 64, () => w.m.emit('prefetcht0', at(line)));
    });
  }

  /** The rows of one head of the pools, `ROWS` at a time. */
  protected forEachRows(w: Writer, { block }: Unit, firstRow: Register, body: (row: Register) => void): void {
    w.forEach(firstRow, w.sum(firstRow, block.rows), ROWS, body);
  }
}

/** Whole groups of 32 bytes. */
export function zeroFrom(w: Writer, from: Register, bytes: Count): void {
  const zero = laneCode(w.m, 8).zero();
  const end = w.sum(from, bytes);
  w.whileBelow(from, end, 32, () => w.m.emit('vmovups', at(from), view(zero, 256)));
}

function storeFloat(w: Writer, to: ReturnType<typeof at>, x: Register): void {
  const { m } = w;
  const zero = laneCode(m, 4).zero();
  const float = m.register('vec');
  m.emit('vcvtsi2ss', view(float, 128), view(zero, 128), q(x));
  m.emit('vmovss', to, view(float, 128));
}
