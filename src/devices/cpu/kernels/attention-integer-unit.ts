/**
 * Attention in numerics `i16` (composites/code_products.ts): queries, and weights times the steps of their values, are words that are multiplied
 * with the codes of keys and values; a step and a minimum come behind the sums of integers.
 */
import { type CodedKv, codeFactorLevels, isCoded } from '../../../numerics/kv-format.ts';
import { alignUp } from '../align.ts';
import { FloatCode } from '../emit/float-code.ts';
import { constantAt, type LaneCode } from '../emit/lane-code.ts';
import { at, type Register, type Slot, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import type { AttentionWriter, Unit } from './attention-blocks.ts';
import { type Header, headersAt } from './attention-codes.ts';
import { emitCodePairs, emitKeyPanel, headerOffset, inOrder, type PanelSource } from './attention-panels.ts';
import { emitProduct } from './attention-product.ts';
import { type AttentionShape, type Frame, ROWS, scoreRowBytes, TILE } from './attention-shape.ts';
import { AttentionUnit, type Part, zeroFrom } from './attention-unit.ts';
import { across, broadcast, storeFirst } from './lanes.ts';
import { inSlot } from './writer.ts';

type Writer = AttentionWriter;

/** f32 [TILE] each, of a tile: what integers or weights are multiplied with, and what is added. */
const headers = { step: 0, minimum: 4 * TILE, bytes: 8 * TILE } as const;
/** Words [TILE] of a row's weights. */
const weightBytes = 2 * TILE;

export class IntegerAttentionUnit extends AttentionUnit {
  /** Words [keyDim], then their scale and their sum. */
  protected readonly queries: { readonly slot: Slot; readonly rowBytes: number };
  readonly #keys: CodedKv;
  readonly #values: CodedKv;
  /** Pairs of words: [keyDim / 2, TILE] of keys or [TILE / 2, valueDim] of values. */
  readonly #panel: Slot;
  readonly #headers: Slot;
  /** Words [rows, TILE] of a head's weights, f32 [rows] their scales, and [ROWS] the inverses of some. */
  readonly #weights: Slot;
  readonly #scales: Slot;
  readonly #inverses: Slot;
  /** f32 [rows, TILE]: sums of weights times minima. */
  readonly #minima: Slot;

  constructor(shape: AttentionShape, frame: Frame) {
    super(shape, frame);
    const { keyDim, valueDim, keys, values } = shape;
    if (!isCoded(keys) || !isCoded(values)) throw new Error('numerics i16 multiply codes');
    [this.#keys, this.#values] = [keys, values];
    const slot = (bytes: number): Slot => ({ bytes, align: 32 });
    const rowBytes = alignUp(2 * keyDim + 8, 32);
    this.queries = { slot: slot(frame.rows * rowBytes), rowBytes };
    this.#panel = slot(2 * TILE * Math.max(keyDim, valueDim));
    this.#headers = slot(headers.bytes);
    this.#weights = slot(frame.rows * weightBytes);
    this.#scales = slot(4 * frame.rows);
    this.#inverses = slot(4 * ROWS);
    this.#minima = slot(4 * TILE * frame.rows);
  }

  protected copyQuery(w: Writer, from: Register, to: Register): void {
    const { keyDim } = this.shape;
    const code = laneCode(w.m, 8);
    const f = new FloatCode(code, 32);
    const load = (i: number) => code.load(32, at(from, 4 * i));
    const largest = f.abs(load(0));
    for (let i = 8; i < keyDim; i += 8) code.change('vpmaxsd', 32, largest, largest, f.abs(load(i)));
    const most = across(code, [largest], ({ code }, a, b) => code.op('vpmaxsd', 32, a, b));
    const { scale, inverse: factor } = scalesOf(w, most, codeFactorLevels(this.#keys, keyDim));
    storeFirst(code, at(to, 2 * keyDim), scale);
    const inverse = code.broadcast(32, factor);
    const sum = code.zero();
    for (let i = 0; i < keyDim; i += 8) {
      const levels = code.op('vcvtps2dq', 32, f.mul(load(i), inverse));
      code.change('vpaddd', 32, sum, sum, levels);
      // In the order of codePairsOfWords.
      const words = code.op('vpand', 32, code.op('vpshufd', 32, levels, 0b11_01_10_00), code.words(32, 0xffff));
      w.m.emit('vmovups', at(to, 2 * i), view(code.packWords(words), 128));
    }
    const all = across(code, [sum], ({ code }, a, b) => code.op('vpaddd', 32, a, b));
    storeFirst(code, at(to, 2 * keyDim + 4), laneCode(w.m, 4).op('vcvtdq2ps', 32, all));
  }

  protected emitScores(w: Writer, unit: Unit, { tiles }: Part): void {
    const { keyDim } = this.shape;
    const { slot, rowBytes } = this.queries;
    const scoreBytes = scoreRowBytes(this.shape);
    this.forEachTile(w, unit, tiles, (tile) => {
      const { column, firstRow, head } = tile;
      const panel = w.addressOf(this.#panel);
      const keys = this.keySource(w, tile.slot, head);
      emitKeyPanel(w, keys, panel, 'codes');
      for (const half of [0, 1]) this.#storeHeaders(w, half, this.#headersOf(w, keys, half));
      const ahead = this.aheadOfKeys(w, unit, tile, panel);
      this.forEachRows(w, unit, firstRow, (row) => {
        w.when(row, 'ne', firstRow, () => w.set(ahead.at, panel));
        const a = w.sum(w.addressOf(slot), w.product(row, rowBytes));
        const c = w.sum(w.addressOf(this.frame.scores, column, 4), w.product(row, scoreBytes));
        emitProduct(w, {
          kind: 'pairs',
          a: { base: a, stride: rowBytes },
          b: { base: panel, stride: 4 * TILE },
          c: { base: c, stride: scoreBytes },
          ...{ count: keyDim / 2, columns: TILE, accumulate: false, ahead },
          result: (code, sum, row, vector) => {
            const f = new FloatCode(code, 32);
            const own = (offset: number) => broadcast(code, at(a, row * rowBytes + 2 * keyDim + offset));
            const codes = f.mul(code.op('vcvtdq2ps', 32, sum), this.#header(code, 'step', vector));
            return f.mul(f.add(codes, f.mul(own(4), this.#header(code, 'minimum', vector))), own(0));
          },
        });
      });
    });
  }

  protected emitSums(w: Writer, unit: Unit, { start, end, tiles }: Part): void {
    const { valueDim } = this.shape;
    const { frame } = this;
    const scoreBytes = scoreRowBytes(this.shape);
    const rows = w.product(unit.heads, unit.block.rows);
    zeroFrom(w, w.addressOf(frame.next), w.product(rows, 4 * valueDim));
    zeroFrom(w, w.addressOf(this.#minima), w.product(rows, 4 * TILE));
    this.forEachTile(w, unit, tiles, (tile) => {
      const { slot, column, firstRow, head } = tile;
      const panel = w.addressOf(this.#panel);
      const valid = w.difference(w.difference(end, start), column);
      const values = this.valueSource(w, slot, head);
      this.#placeHeaders(w, values, valid);
      // Before values are taken apart, which has nothing to wait for, while these do for each other.
      this.forEachRows(w, unit, firstRow, (row) => {
        const weights = w.sum(w.addressOf(frame.scores, column, 4), w.product(row, scoreBytes));
        this.#roundWeights(w, row, w.difference(row, firstRow), weights);
      });
      emitCodePairs(w, values, this.#values, panel);
      const ahead = this.aheadOfValues(w, unit, tile, panel);
      this.forEachRows(w, unit, firstRow, (row) => {
        w.when(row, 'ne', firstRow, () => w.set(ahead.at, panel));
        const rowOfHead = w.difference(row, firstRow);
        const a = w.sum(w.addressOf(this.#weights), w.product(rowOfHead, weightBytes));
        const scales = w.addressOf(this.#scales, rowOfHead, 4);
        const c = w.sum(w.addressOf(frame.next), w.product(row, 4 * valueDim));
        const b = w.value(panel);
        const product = (columns: number) =>
          emitProduct(w, {
            kind: 'pairs',
            a: { base: a, stride: weightBytes },
            b: { base: b, stride: 4 * valueDim },
            c: { base: c, stride: 4 * valueDim },
            ...{ count: TILE / 2, columns, accumulate: false },
            ahead: { at: ahead.at, bytes: Math.ceil((ahead.bytes * columns) / valueDim) },
            result: (code, sum, row, vector) => {
              const f = new FloatCode(code, 32);
              const part = f.mul(code.op('vcvtdq2ps', 32, sum), broadcast(code, at(scales, 4 * row)));
              return f.add(part, at(c, row * 4 * valueDim + 4 * code.lanes * vector));
            },
          });
        const whole = w.sum(c, 4 * (valueDim - (valueDim % 16)));
        w.whileBelow(c, whole, 64, () => {
          product(16);
          w.change('add', b, 64);
        });
        if (valueDim % 16 > 0) product(8);
      });
    });
    this.#addMinima(w, rows);
  }

  /** Step and minimum of eight positions of a tile. */
  #headersOf(w: Writer, source: PanelSource, half: number): Header {
    const places = Array.from({ length: 8 }, (_, i) =>
      at(source.from, (8 * half + i) * source.rowBytes + headerOffset(source)),
    );
    return headersAt(laneCode(w.m, 8), places);
  }
  #storeHeaders(w: Writer, half: number, { step, minimum }: Header): void {
    w.m.emit('vmovups', inSlot(this.#headers, headers.step + 32 * half), view(step, 256));
    w.m.emit('vmovups', inSlot(this.#headers, headers.minimum + 32 * half), view(minimum, 256));
  }
  #header(code: LaneCode, which: 'step' | 'minimum', vector: number) {
    return inSlot(this.#headers, headers[which] + 4 * code.lanes * vector);
  }

  /** Steps and minima of values; zeros from the position `valid` on. */
  #placeHeaders(w: Writer, values: PanelSource, valid: Register): void {
    const code = laneCode(w.m, 8);
    const count = code.broadcast(32, code.fromGeneral(32, valid));
    for (const half of [0, 1]) {
      const { step, minimum } = this.#headersOf(w, values, half);
      const lanes = code.load(
        32,
        constantAt(
          w.m,
          Int32Array.from({ length: 8 }, (_, i) => 8 * half + i),
        ),
      );
      const isValid = code.compareIntegers('GT', 32, true, count, lanes);
      this.#storeHeaders(w, half, {
        step: code.keep(32, isValid, step),
        minimum: code.keep(32, isValid, minimum),
      });
    }
  }

  /** `ROWS` rows of weights of the tile as words; their products with the minima are added up. */
  #roundWeights(w: Writer, row: Register, rowOfHead: Register, weights: Register): void {
    const { m, code } = w;
    const f = new FloatCode(code, 32);
    const minima = w.sum(w.addressOf(this.#minima), w.product(row, 4 * TILE));
    const vectors = Array.from({ length: TILE / code.lanes }, (_, vector) => vector);
    const rows = Array.from({ length: ROWS }, (_, i) =>
      vectors.map((vector) => {
        const weight = code.load(32, at(weights, i * scoreRowBytes(this.shape) + 4 * code.lanes * vector));
        const sums = at(minima, 4 * TILE * i + 4 * code.lanes * vector);
        const minimum = f.mul(weight, this.#header(code, 'minimum', vector));
        m.emit('vmovups', sums, code.view(f.add(minimum, sums), 32));
        return f.mul(weight, this.#header(code, 'step', vector));
      }),
    );
    const { scale, inverse } = scalesOf(w, largestOf(code, rows), codeFactorLevels(this.#values, TILE));
    m.emit('vmovups', at(w.addressOf(this.#scales, rowOfHead, 4)), view(scale, 128));
    m.emit('vmovups', inSlot(this.#inverses), view(inverse, 128));
    const to = w.sum(w.addressOf(this.#weights), w.product(rowOfHead, weightBytes));
    for (const [i, row] of rows.entries()) {
      const factor = broadcast(code, inSlot(this.#inverses, 4 * i));
      const levels = row.map((x) => code.op('vcvtps2dq', 32, f.mul(x, factor)));
      m.emit('vmovups', at(to, weightBytes * i), view(packed(code, levels), 256));
    }
  }

  /** Sums of values in the order of their dimensions, with those of minima. */
  #addMinima(w: Writer, rows: Register): void {
    const { valueDim } = this.shape;
    const code = laneCode(w.m, 8);
    const f = new FloatCode(code, 32);
    w.forEach(0, rows, 1, (row) => {
      const minima = w.sum(w.addressOf(this.#minima), w.product(row, 4 * TILE));
      const parts = [0, 32].map((offset) => code.load(32, at(minima, offset)));
      const sum = code.broadcast(
        32,
        across(code, parts, (f, a, b) => f.add(a, b)),
      );
      const to = w.sum(w.addressOf(this.frame.next), w.product(row, 4 * valueDim));
      const four: Register[] = [];
      let i = 0;
      for (const values of inOrder(code, to, valueDim)) {
        four.push(f.add(values, sum));
        if (four.length < 4 && i + 8 * four.length < valueDim) continue;
        for (const value of four.splice(0)) {
          w.m.emit('vmovups', at(to, 4 * i), view(value, 256));
          i += 8;
        }
      }
    });
  }
}

/** Words of 16 levels, in their order. */
function packed(code: LaneCode, levels: readonly Register[]): Register {
  const [first, second] = levels;
  if (second === undefined) return code.packWords(first);
  return code.op('vpermq', 32, code.op('vpackssdw', 32, first, second), 0b11_01_10_00);
}

/** The largest magnitudes of four rows of 16, a lane each; their bits are compared as integers, of which NaN is the largest. */
function largestOf(code: LaneCode, rows: readonly (readonly Register[])[]): Register {
  const eight = laneCode(code.machine, 8);
  const most = (some: LaneCode, a: Register, b: Register) => some.op('vpmaxsd', 32, a, b);
  const either = (suffix: 'dq' | 'qdq', a: Register, b: Register) =>
    most(eight, eight.op(`vpunpckl${suffix}`, 32, a, b), eight.op(`vpunpckh${suffix}`, 32, a, b));
  const [a, b, c, d] = rows.map((row) => {
    const all = row.map((x) => new FloatCode(code, 32).abs(x)).reduce((a, b) => most(code, a, b));
    return code.lanes === 16 ? most(eight, all, code.upper(32, all, 8)) : all;
  });
  const halves = either('qdq', either('dq', a, b), either('dq', c, d));
  return most(laneCode(code.machine, 4), halves, eight.upper(32, halves, 4));
}

/** Scales of four numbers that are the largest of theirs, and what those are multiplied with to be of so many levels. */
function scalesOf(
  { m }: Writer,
  largest: Register,
  levels: number,
): { readonly scale: Register; readonly inverse: Register } {
  const f = new FloatCode(laneCode(m, 4), 32);
  const exact = f.div(largest, f.number(levels));
  const finite = f.compare('LT', exact, f.number(Number.POSITIVE_INFINITY));
  const normal = f.both(finite, f.compare('GE', exact, f.number(2 ** -126)));
  const scale = f.blend(finite, f.keep(normal, exact), f.load(Number.NaN));
  return { scale, inverse: f.keep(normal, f.div(f.load(1), exact)) };
}
