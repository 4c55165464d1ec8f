/**
 * The inputs of a step (composites/step.ts), of the requests that are in it. They lie in arrays that stay: those of one answer are as long in
 * one step as in the next, and what JavaScript makes anew between two steps a device waits for.
 */
import { type StepLimits, windowInput } from '../composites/step.ts';
import type { SamplingParameters } from './sampling.ts';
import type { CachedSequence, StepEntry } from './sequence.ts';

type Entry = StepEntry<CachedSequence>;
type Values = Int32Array | Uint32Array | Float32Array;

export class StepInputs {
  /** By the names of the program's inputs; good until the next step is filled in. */
  readonly named = new Map<string, Values>();
  readonly #limits: StepLimits;

  constructor(limits: StepLimits) {
    this.#limits = limits;
  }

  /** What of a sequence is computed, and from where in the cache. `rowsOf`: how many of its last tokens have rows of logits. The step's dimensions. */
  fill(entries: readonly Entry[], rowsOf: (entry: Entry) => number): { readonly T: number; S: number; R: number } {
    const { blockSize, blocksPerSequence } = this.#limits;
    const S = entries.length;
    let [T, R] = [0, 0];
    for (const entry of entries) {
      T += entry.count;
      R += rowsOf(entry);
    }
    const tokens = this.#integers('tokens', T);
    const positions = this.#integers('positions', T);
    const sequence = this.#integers('sequence', T);
    const slots = this.#integers('slots', T);
    const qStart = this.#integers('qStart', S);
    const qLen = this.#integers('qLen', S);
    const ctxLen = this.#integers('ctxLen', S);
    const blockTable = this.#integers('blockTable', S * blocksPerSequence).fill(-1);
    const logitRows = this.#integers('logitRows', R);
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
    this.#limits.windows?.forEach(({ window }, w) => {
      const table = this.#integers(windowInput('blockTable', window), S * blocksPerSequence).fill(-1);
      const own = this.#integers(windowInput('slots', window), T);
      const places = entries.map(({ windowTables = [] }) => windowTables[w] ?? []);
      for (const [s, blocks] of places.entries()) table.set(blocks, s * blocksPerSequence);
      for (let t = 0; t < T; t++) own[t] = slotIn(places[sequence[t]], positions[t], blockSize);
    });
    return { T, S, R };
  }

  /** How each entry that samples does so. */
  fillSampling(entries: readonly Entry[], sampling: readonly SamplingParameters[]): void {
    const { maxBias } = this.#limits;
    const R = entries.reduce((sum, { samples }) => sum + (samples ? 1 : 0), 0);
    const temperatures = this.#floats('temperature', R);
    const topKs = this.#integers('topK', R);
    const topPs = this.#floats('topP', R);
    const minPs = this.#floats('minP', R);
    const seeds = this.#array('seed', 2 * R, (length) => new Uint32Array(length));
    const drawPositions = this.#integers('drawPosition', R);
    const countRows = this.#integers('countRow', R);
    const penalties = this.#floats('penalties', 3 * R);
    const biasRows = this.#integers('biasRow', maxBias).fill(-1);
    const biasTokens = this.#integers('biasToken', maxBias);
    const biasValues = this.#floats('biasValue', maxBias);
    let [row, bias] = [0, 0];
    for (const [s, { sequence, start, count, samples }] of entries.entries()) {
      if (!samples) continue;
      const { temperature, topK, topP, minP, seed, logitBias } = sampling[s];
      temperatures[row] = temperature;
      topKs[row] = topK;
      topPs[row] = topP;
      minPs[row] = minP;
      seeds[2 * row] = Number(seed & 0xffffffffn);
      seeds[2 * row + 1] = Number(seed >> 32n);
      drawPositions[row] = start + count;
      countRows[row] = sequence.row ?? 0;
      penalties[3 * row] = sampling[s].repetitionPenalty;
      penalties[3 * row + 1] = sampling[s].frequencyPenalty;
      penalties[3 * row + 2] = sampling[s].presencePenalty;
      for (const [token, value] of logitBias) {
        biasRows[bias] = row;
        biasTokens[bias] = token;
        biasValues[bias++] = value;
      }
      row++;
    }
  }

  #integers(name: string, length: number): Int32Array {
    return this.#array(name, length, (of) => new Int32Array(of));
  }

  #floats(name: string, length: number): Float32Array {
    return this.#array(name, length, (of) => new Float32Array(of));
  }

  /** What was there is there still, if it is as long. */
  #array<A extends Values>(name: string, length: number, make: (length: number) => A): A {
    const known = this.named.get(name);
    // One name has one kind of numbers.
    if (known?.length === length) return known as A;
    const made = make(length);
    this.named.set(name, made);
    return made;
  }
}

/** Where the blocks of a table have a position. */
function slotIn(table: readonly number[], position: number, blockSize: number): number {
  return table[Math.floor(position / blockSize)] * blockSize + (position % blockSize);
}
