/**
 * The inputs of a step (composites/step.ts), of the requests that are in it. They lie in arrays that stay: those of one answer are as long in
 * one step as in the next, and what JavaScript makes anew between two steps a device waits for.
 */
import { type StepLimits, windowInput } from '../composites/step.ts';
import type { SamplingParameters } from './sampling.ts';
import type { CachedSequence, StepEntry } from './sequence.ts';

type Entry = StepEntry<CachedSequence>;

/** A step's dimensions. */
interface Dims {
  readonly T: number;
  readonly S: number;
  readonly R: number;
}

export class StepInputs {
  /** The bytes of the arrays, by the names of the program's inputs; good until the next step is filled in. */
  readonly named = new Map<string, Uint8Array>();
  readonly #limits: StepLimits;
  readonly #samples: boolean;
  #dims: Dims = { T: 0, S: 0, R: 0 };
  #arrays: Arrays;

  /** @param samples whether the program does. */
  constructor(limits: StepLimits, samples: boolean) {
    this.#limits = limits;
    this.#samples = samples;
    this.#arrays = makeArrays(limits, this.#dims);
  }

  /** What of each sequence is computed, and where its blocks lie. `rowsOf`: how many of its last tokens have rows of logits. */
  fill(entries: readonly Entry[], rowsOf: (entry: Entry) => number): Dims {
    const { blockSize, blocksPerSequence, windows } = this.#limits;
    const S = entries.length;
    let [T, R] = [0, 0];
    for (const entry of entries) {
      T += entry.count;
      R += rowsOf(entry);
    }
    this.#resize({ T, S, R });
    const { tokens, positions, sequence, slots, qStart, qLen, ctxLen, blockTable, logitRows } = this.#arrays.step;
    blockTable.fill(-1);
    let [at, row] = [0, 0];
    for (let s = 0; s < S; s++) {
      const { sequence: of, start, count } = entries[s];
      qStart[s] = at;
      qLen[s] = count;
      ctxLen[s] = start + count;
      blockTable.set(of.blocks, s * blocksPerSequence);
      for (let last = rowsOf(entries[s]); last > 0; last--) logitRows[row++] = at + count - last;
      for (let position = start; position < start + count; position++, at++) {
        tokens[at] = of.tokens[position];
        positions[at] = position;
        sequence[at] = s;
        slots[at] = slotIn(of.blocks, position, blockSize);
      }
    }
    windows?.forEach((_, w) => {
      const { blockTable: table, slots: own } = this.#arrays.windows[w];
      const places = entries.map(({ windowTables = [] }) => windowTables[w] ?? []);
      table.fill(-1);
      for (const [s, blocks] of places.entries()) table.set(blocks, s * blocksPerSequence);
      for (let t = 0; t < T; t++) own[t] = slotIn(places[sequence[t]], positions[t], blockSize);
    });
    return this.#dims;
  }

  /** How those of the same entries sample that do; each has one row. */
  fillSampling(entries: readonly Entry[], sampling: readonly SamplingParameters[]): void {
    const { temperature, topK, topP, minP, seed, drawPosition, countRow, penalties, ...biases } = this.#arrays.sampling;
    const { biasRow, biasToken, biasValue } = biases;
    biasRow.fill(-1);
    let [row, bias] = [0, 0];
    for (let s = 0; s < entries.length; s++) {
      const { sequence, start, count, samples } = entries[s];
      if (!samples) continue;
      const how = sampling[s];
      temperature[row] = how.temperature;
      topK[row] = how.topK;
      topP[row] = how.topP;
      minP[row] = how.minP;
      seed[2 * row] = Number(how.seed & 0xffffffffn);
      seed[2 * row + 1] = Number(how.seed >> 32n);
      drawPosition[row] = start + count;
      countRow[row] = sequence.row ?? 0;
      penalties[3 * row] = how.repetitionPenalty;
      penalties[3 * row + 1] = how.frequencyPenalty;
      penalties[3 * row + 2] = how.presencePenalty;
      for (const [token, value] of how.logitBias) {
        biasRow[bias] = row;
        biasToken[bias] = token;
        biasValue[bias++] = value;
      }
      row++;
    }
  }

  #resize(dims: Dims): void {
    const { T, S, R } = this.#dims;
    if (dims.T === T && dims.S === S && dims.R === R) return;
    this.#dims = dims;
    this.#arrays = makeArrays(this.#limits, dims);
    const { step, windows, sampling } = this.#arrays;
    const name = (input: string, { buffer }: Int32Array | Uint32Array | Float32Array) =>
      this.named.set(input, new Uint8Array(buffer));
    for (const [input, values] of Object.entries({ ...step, ...(this.#samples && sampling) })) name(input, values);
    this.#limits.windows?.forEach(({ window }, w) => {
      name(windowInput('blockTable', window), windows[w].blockTable);
      name(windowInput('slots', window), windows[w].slots);
    });
  }
}

type Arrays = ReturnType<typeof makeArrays>;

function makeArrays({ blocksPerSequence, maxBias, windows = [] }: StepLimits, { T, S, R }: Dims) {
  return {
    step: {
      tokens: new Int32Array(T),
      positions: new Int32Array(T),
      sequence: new Int32Array(T),
      slots: new Int32Array(T),
      qStart: new Int32Array(S),
      qLen: new Int32Array(S),
      ctxLen: new Int32Array(S),
      blockTable: new Int32Array(S * blocksPerSequence),
      logitRows: new Int32Array(R),
    },
    windows: windows.map(() => ({ blockTable: new Int32Array(S * blocksPerSequence), slots: new Int32Array(T) })),
    sampling: {
      temperature: new Float32Array(R),
      topK: new Int32Array(R),
      topP: new Float32Array(R),
      minP: new Float32Array(R),
      seed: new Uint32Array(2 * R),
      drawPosition: new Int32Array(R),
      countRow: new Int32Array(R),
      penalties: new Float32Array(3 * R),
      biasRow: new Int32Array(maxBias),
      biasToken: new Int32Array(maxBias),
      biasValue: new Float32Array(maxBias),
    },
  };
}

/** Where the blocks of a table have a position. */
function slotIn(table: readonly number[], position: number, blockSize: number): number {
  return table[Math.floor(position / blockSize)] * blockSize + (position % blockSize);
}
