/**
 * Attention in numerics `bf16`: queries, keys, weights and values are pairs of bf16, products are those of numerics/dot.ts over steps
 * of 32 dimensions, or of 32 positions that begin at multiples of 32 in the partition. Scores, softmax and merges are those of `f32`;
 * the sum of the weights is that of the weights before they are rounded.
 */
import { alignUp } from '../align.ts';
import { at, q, type Register, type Slot, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import type { Target } from '../target.ts';
import { type PairProducts, pairProductsOf } from './attention-bf16-products.ts';
import type { AttentionWriter, Unit } from './attention-blocks.ts';
import { emitKeyPanel, emitValuePairs } from './attention-panels.ts';
import { type AttentionShape, type Frame, STEP, scoreRowBytes, TILE, tileEntry } from './attention-shape.ts';
import type { KeepWeight } from './attention-softmax.ts';
import { AttentionUnit, type Part, zeroFrom } from './attention-unit.ts';
import { bf16Bits } from './bf16-pairs.ts';
import { roundedRowBytes } from './round-activations.ts';
import { inSlot } from './writer.ts';

type Writer = AttentionWriter;

/** Columns [from, to) of a partition in whole steps. */
interface Columns {
  readonly from: Register;
  readonly to: Register;
}

export class Bf16AttentionUnit extends AttentionUnit {
  protected readonly queries: { readonly slot: Slot; readonly rowBytes: number };
  readonly #set: Target['name'];
  readonly #products: PairProducts;
  /** Pairs [keyDim / 2, TILE] of keys, zeros up to a whole step. */
  readonly #keys: Slot;
  /** Pairs [partition / 2, nextDim] of values; what is beyond `valueDim` goes into sums that nobody reads. */
  readonly #values: Slot;
  /** bf16 [rows, partition]. */
  readonly #weights: Slot;
  readonly #weightRowBytes: number;
  /** The slot in the pools of each tile of the partition, i64, or -1. */
  readonly #slots: Slot;

  constructor(shape: AttentionShape, frame: Frame, { name }: Target) {
    super(shape, frame);
    this.#set = name;
    this.#products = pairProductsOf(name);
    const { keyDim } = shape;
    const partition = alignUp(shape.partition, STEP);
    const slot = (bytes: number): Slot => ({ bytes, align: 64 });
    const rowBytes = roundedRowBytes('bf16', keyDim);
    this.queries = { slot: slot(frame.rows * rowBytes), rowBytes };
    this.#weightRowBytes = roundedRowBytes('bf16', partition);
    this.#weights = slot(frame.rows * this.#weightRowBytes);
    this.#keys = slot(2 * TILE * alignUp(keyDim, STEP));
    this.#values = slot(2 * partition * frame.nextDim);
    this.#slots = slot((8 * partition) / TILE);
  }

  override emitStart(w: Writer): void {
    this.#products.emitStart(w);
    const { keyDim } = this.shape;
    const missing = alignUp(keyDim, STEP) - keyDim;
    if (missing > 0) zeroFrom(w, w.sum(w.addressOf(this.#keys), 2 * TILE * keyDim), 2 * TILE * missing);
  }
  override emitEnd(w: Writer): void {
    this.#products.emitEnd(w);
  }

  protected copyQuery(w: Writer, from: Register, to: Register): void {
    const code = laneCode(w.m, 8);
    for (let i = 0; i < this.shape.keyDim; i += 8) {
      const words = code.packWords(bf16Bits(code, code.load(32, at(from, 4 * i))));
      w.m.emit('vmovups', at(to, 2 * i), view(words, 128));
    }
  }

  protected emitScores(w: Writer, unit: Unit, part: Part): void {
    this.#clearWeights(w, unit, part);
    const stride = scoreRowBytes(this.shape);
    const { slot, rowBytes } = this.queries;
    this.forEachTile(w, unit, part.tiles, ({ slot: first, column, firstRow, head }) => {
      const panel = w.addressOf(this.#keys);
      emitKeyPanel(w, this.keySource(w, first, head), panel, 'pairs');
      this.#products.emit(w, {
        a: { base: w.sum(w.addressOf(slot), w.product(firstRow, rowBytes)), stride: rowBytes },
        b: { base: panel, stride: 4 * TILE },
        c: { base: w.sum(w.addressOf(this.frame.scores, column, 4), w.product(firstRow, stride)), stride },
        ...{ rows: unit.block.rows, columns: 1, steps: Math.ceil(this.shape.keyDim / STEP) },
      });
    });
  }

  protected override weightsOf(w: Writer, row: Register): KeepWeight {
    const { m } = w;
    const base = w.sum(w.addressOf(this.#weights), w.product(row, this.#weightRowBytes));
    return (code, weight, column, vector) => {
      const to = at(base, 2 * code.lanes * vector, column, 2);
      if (this.#set === 'amx') {
        // The low half of the result is of the last operand.
        const words = m.register('vec');
        m.emit('vcvtne2ps2bf16', view(words, 512), view(weight, 512), view(weight, 512));
        m.emit('vmovups', to, view(words, 256));
      } else m.emit('vmovups', to, code.halfView(code.packWords(bf16Bits(code, weight))));
    };
  }

  protected emitSums(w: Writer, unit: Unit, part: Part): void {
    const { frame } = this;
    const { nextDim } = frame;
    const columns = this.#columns(w, unit, part);
    this.#placeTiles(w, part, columns);
    const steps = w.shift(w.difference(columns.to, columns.from), 'shr', Math.log2(STEP));
    w.forEach(0, unit.heads, 1, (j) => {
      const head = w.sum(unit.head, j);
      const firstRow = w.product(j, unit.block.rows);
      const panel = w.addressOf(this.#values);
      const target = w.value(panel);
      w.forEach(columns.from, columns.to, TILE, (column) => {
        const slot = w.value(inSlot(this.#slots, 0, w.shift(column, 'shr', Math.log2(TILE)), 8));
        const valid = w.difference(w.difference(part.end, part.start), column);
        w.bound(valid, 'min', TILE);
        w.when(slot, 'l', 0, () => w.set(valid, 0));
        emitValuePairs(w, this.valueSource(w, slot, head), target, 4 * nextDim, valid);
        w.change('add', target, 2 * TILE * nextDim);
      });
      const weights = w.addressOf(this.#weights, columns.from, 2);
      this.#products.emit(w, {
        a: { base: w.sum(weights, w.product(firstRow, this.#weightRowBytes)), stride: this.#weightRowBytes },
        b: { base: panel, stride: 4 * nextDim },
        c: { base: w.sum(w.addressOf(frame.next), w.product(firstRow, 4 * nextDim)), stride: 4 * nextDim },
        ...{ rows: unit.block.rows, columns: nextDim / TILE, steps },
      });
    });
  }
  /** What some row sees. */
  #columns(w: Writer, { block }: Unit, { start, end }: Part): Columns {
    const from = w.value(block.first);
    w.bound(from, 'max', start);
    w.change('sub', from, start);
    w.change('and', from, -STEP);
    const to = w.difference(end, start);
    w.change('add', to, STEP - 1);
    w.change('and', to, -STEP);
    w.bound(to, 'max', from);
    return { from, to };
  }

  /** Nobody writes the weights of columns that have no tile. */
  #clearWeights(w: Writer, unit: Unit, part: Part): void {
    const { from, to } = this.#columns(w, unit, part);
    w.when(w.product(part.tiles, TILE), 'ne', w.difference(to, from), () =>
      zeroFrom(w, w.addressOf(this.#weights), w.product(w.product(unit.heads, unit.block.rows), this.#weightRowBytes)),
    );
  }

  #placeTiles(w: Writer, { tiles }: Part, { from, to }: Columns): void {
    const { m } = w;
    const place = (column: Register) => inSlot(this.#slots, 0, w.shift(column, 'shr', Math.log2(TILE)), 8);
    const none = w.value(-1);
    w.forEach(from, to, TILE, (column) => m.emit('mov', place(column), q(none)));
    const entry = w.addressOf(this.frame.tiles);
    w.whileBelow(entry, w.sum(entry, w.product(tiles, tileEntry.bytes)), tileEntry.bytes, () => {
      m.emit('mov', place(w.signed(at(entry, tileEntry.column))), q(w.value(at(entry, tileEntry.slot))));
    });
  }
}
