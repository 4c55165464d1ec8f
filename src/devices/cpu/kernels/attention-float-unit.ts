/** Attention in numerics `f32`: tiles of keys and values are made f32 once for all queries that need them. */
import { at, type Register, type Slot, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import type { AttentionWriter, Unit } from './attention-blocks.ts';
import { emitKeyPanel, emitValuePanel } from './attention-panels.ts';
import { emitProduct } from './attention-product.ts';
import { type AttentionShape, type Frame, scoreRowBytes, TILE } from './attention-shape.ts';
import { AttentionUnit, type Part, zeroFrom } from './attention-unit.ts';

type Writer = AttentionWriter;

export class FloatAttentionUnit extends AttentionUnit {
  protected readonly queries: { readonly slot: Slot; readonly rowBytes: number };
  /** f32 of a tile: [keyDim, TILE] of keys or [TILE, valueDim] of values. */
  readonly #panel: Slot;

  constructor(shape: AttentionShape, frame: Frame) {
    super(shape, frame);
    const { keyDim, valueDim } = shape;
    this.queries = { slot: { bytes: 4 * frame.rows * keyDim, align: 32 }, rowBytes: 4 * keyDim };
    this.#panel = { bytes: 4 * TILE * Math.max(keyDim, valueDim), align: 32 };
  }

  protected copyQuery(w: Writer, from: Register, to: Register): void {
    const code = laneCode(w.m, 8);
    for (let i = 0; i < this.queries.rowBytes; i += 32) {
      w.m.emit('vmovups', at(to, i), view(code.load(32, at(from, i)), 256));
    }
  }

  protected emitScores(w: Writer, unit: Unit, { tiles }: Part): void {
    const { keyDim } = this.shape;
    const scoreBytes = scoreRowBytes(this.shape);
    this.forEachTile(w, unit, tiles, (tile) => {
      const { slot, column, firstRow, head } = tile;
      const panel = w.addressOf(this.#panel);
      emitKeyPanel(w, this.keySource(w, slot, head), panel, 'f32');
      const ahead = this.aheadOfKeys(w, unit, tile, panel);
      this.forEachRows(w, unit, firstRow, (row) => {
        w.when(row, 'ne', firstRow, () => w.set(ahead.at, panel));
        const a = w.sum(w.addressOf(this.queries.slot), w.product(row, 4 * keyDim));
        const c = w.sum(w.addressOf(this.frame.scores, column, 4), w.product(row, scoreBytes));
        emitProduct(w, {
          kind: 'floats',
          a: { base: a, stride: 4 * keyDim },
          b: { base: panel, stride: 4 * TILE },
          c: { base: c, stride: scoreBytes },
          ...{ count: keyDim, columns: TILE, accumulate: false, ahead },
        });
      });
    });
  }

  protected emitSums(w: Writer, unit: Unit, { start, end, tiles }: Part): void {
    const { valueDim } = this.shape;
    const { frame } = this;
    const scoreBytes = scoreRowBytes(this.shape);
    zeroFrom(w, w.addressOf(frame.next), w.product(w.product(unit.heads, unit.block.rows), 4 * valueDim));
    this.forEachTile(w, unit, tiles, (tile) => {
      const { slot, column, firstRow, head } = tile;
      const panel = w.addressOf(this.#panel);
      const valid = w.difference(w.difference(end, start), column);
      w.bound(valid, 'min', TILE);
      emitValuePanel(w, this.valueSource(w, slot, head), panel, valid);
      const ahead = this.aheadOfValues(w, unit, tile, panel);
      this.forEachRows(w, unit, firstRow, (row) => {
        w.when(row, 'ne', firstRow, () => w.set(ahead.at, panel));
        const a = w.sum(w.addressOf(frame.scores, column, 4), w.product(row, scoreBytes));
        const c = w.sum(w.addressOf(frame.next), w.product(row, 4 * valueDim));
        const b = w.value(panel);
        const product = (columns: number) =>
          emitProduct(w, {
            kind: 'floats',
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
}
