/**
 * Attention in numerics `bf16` as composites/paged_attention.ts and numerics/dot.ts say it, number by number. Functions of one number
 * are the device's, which an emitted loop and a kernel compute alike.
 */
import assert from 'node:assert/strict';
import type { Device } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { tensor } from '../../src/ir/types.ts';
import { dotNumerics } from '../../src/numerics/dot.ts';
import { elementBytes } from '../../src/numerics/element-types.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { decodeKv, isCoded, kvRow } from '../../src/numerics/kv-format.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { type Case, type Inputs, scale } from './cpu-attention-harness.ts';

const f = Math.fround;
const NOTHING = Number.NEGATIVE_INFINITY;
type Elementwise = (x: readonly number[]) => Promise<readonly number[]>;

async function elementwise(device: Device, name: 'exponential' | 'tanh'): Promise<Elementwise> {
  const type = tensor('f32', [{ sym: 'T', max: 1 << 16 }]);
  const program = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => ({
    y: b.unary(name, x),
  }));
  const bound = await device.bind(await device.compile(program), new Map(), new Map());
  return async (x) => {
    const ticket = device.submit(bound, new Map([['x', Float32Array.from(x)]]), { T: x.length });
    const y = (await device.wait(ticket, Number.POSITIVE_INFINITY)).get('y') ?? assert.fail();
    return [...new Float32Array(y.buffer, y.byteOffset, x.length)];
  };
}

/** Products with `x`. */
function dotWith(x: Float32Array): (row: Float32Array) => number {
  const product = dotNumerics.bf16(x, blockFormat('f32'));
  return (row) => product(new Uint8Array(row.buffer, row.byteOffset, row.byteLength));
}

/** Computes each answer once. */
function once<T>(compute: (i: number) => T): (i: number) => T {
  const known = new Map<number, T>();
  return (i) => {
    const value = known.get(i) ?? compute(i);
    known.set(i, value);
    return value;
  };
}

/** The values of heads in a pool. */
function poolOf({ pool, kvHeads }: Case, given: ArrayBufferView | undefined, dim: number) {
  assert.ok(given !== undefined);
  const bytes = new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  const { element, length } = kvRow(pool, dim);
  const size = length * elementBytes(element);
  const rowOf = once((i) => {
    const row = bytes.subarray(i * size, (i + 1) * size);
    return isCoded(pool) ? decodeKv(pool, row, dim) : Float32Array.from(decodeElements(element, row) as Float32Array);
  });
  return (slot: number, head: number): Float32Array => rowOf(slot * kvHeads + head);
}

/** In 16 lanes and a tree. */
function sumOf(weights: Float32Array): number {
  const lanes = new Float32Array(16);
  for (const [i, weight] of weights.entries()) lanes[i % 16] = (lanes[i % 16] as number) + weight;
  for (let half = 8; half >= 1; half /= 2) {
    for (let i = 0; i < half; i++) lanes[i] = (lanes[i] as number) + (lanes[i + half] as number);
  }
  return lanes[0] as number;
}

/** A softmax under way. */
interface Softmax {
  readonly max: number;
  readonly sum: number;
  readonly values: readonly number[];
}

const finite = (max: number) => (max === NOTHING ? 0 : max);

async function merged(exp: Elementwise, running: readonly Softmax[], next: readonly Softmax[]): Promise<Softmax[]> {
  const most = running.map(({ max }, i) => Math.max(max, (next[i] as Softmax).max));
  const factors = (of: readonly Softmax[]) => exp(of.map(({ max }, i) => f(max - finite(most[i] as number))));
  const [old, fresh] = [await factors(running), await factors(next)];
  return running.map((row, i) => {
    const { max, sum, values } = next[i] as Softmax;
    if (max === NOTHING) return row;
    const both = (a: number, b: number) => f(f(a * (old[i] as number)) + f(b * (fresh[i] as number)));
    return {
      max: most[i] as number,
      sum: both(row.sum, sum),
      values: values.map((value, d) => both(row.values[d] as number, value)),
    };
  });
}

export async function bf16Attention(device: Device): Promise<(c: Case, inputs: Inputs) => Promise<Float32Array>> {
  const [exp, tanh] = [await elementwise(device, 'exponential'), await elementwise(device, 'tanh')];
  return async (c, inputs) => {
    const { heads, kvHeads, keyDim, valueDim, blockSize, partition, columns = 12, window, softCap } = c;
    const ints = (name: string) => [...(inputs.get(name) as Int32Array)];
    const [positions, owners, lengths, table] = ['positions', 'sequence', 'ctxLen', 'blockTable'].map(
      ints,
    ) as number[][];
    const [q, sinks] = [inputs.get('q') as Float32Array, inputs.get('sinks') as Float32Array];
    const [keys, values] = [poolOf(c, inputs.get('kPool'), keyDim), poolOf(c, inputs.get('vPool'), valueDim)];
    const nothing: Softmax = { max: NOTHING, sum: 0, values: new Array<number>(valueDim).fill(0) };
    /** A row for each token and head. */
    const rows = positions.flatMap((position, t) =>
      Array.from({ length: heads }, (_, head) => ({
        ...{ position, sequence: owners[t] as number, head, pooled: Math.floor((head * kvHeads) / heads) },
        dot: dotWith(q.subarray((t * heads + head) * keyDim, (t * heads + head + 1) * keyDim)),
      })),
    );
    const slotOf = (sequence: number, p: number) => {
      if (sequence < 0 || p >= Math.min(lengths[sequence] as number, columns * blockSize)) return undefined;
      const id = table[sequence * columns + Math.floor(p / blockSize)] as number;
      return id < 0 ? undefined : id * blockSize + (p % blockSize);
    };

    let running: readonly Softmax[] = rows.map(() => nothing);
    for (let start = 0; start < columns * blockSize; start += partition) {
      const places = Array.from({ length: partition }, (_, i) => start + i);
      const scores = rows.map(({ position, sequence, pooled, dot }) =>
        places.map((p) => {
          const slot = slotOf(sequence, p);
          const hidden = (!c.bidirectional && p > position) || (window !== undefined && p <= position - window);
          return slot === undefined || hidden ? NOTHING : f(dot(keys(slot, pooled)) * f(scale));
        }),
      );
      if (softCap !== undefined) {
        const capped = await tanh(scores.flat().map((x) => f(x / softCap)));
        for (const [i, row] of scores.entries()) {
          for (const [j, x] of row.entries()) {
            if (x !== NOTHING) row[j] = f((capped[i * partition + j] as number) * softCap);
          }
        }
      }
      const most = scores.map((row) => Math.max(...row));
      const weights = await exp(scores.flatMap((row, i) => row.map((x) => f(x - finite(most[i] as number)))));
      /** Of a sequence and a head of the pools, each dimension of all values. */
      const columnsOf = once((i) => {
        const stored = places.map((p) => {
          const slot = slotOf(Math.floor(i / kvHeads), p);
          return slot === undefined ? new Float32Array(valueDim) : values(slot, i % kvHeads);
        });
        return nothing.values.map((_, d) => Float32Array.from(stored, (row) => row[d] as number));
      });
      const next = rows.map(({ sequence, pooled }, i): Softmax => {
        if (most[i] === NOTHING) return nothing;
        const own = Float32Array.from(weights.slice(i * partition, (i + 1) * partition));
        const sums = columnsOf(sequence * kvHeads + pooled).map(dotWith(own));
        return { max: most[i] as number, sum: sumOf(own), values: sums };
      });
      running = await merged(exp, running, next);
    }
    if (c.sinks) {
      const sink = rows.map(({ head }) => ({ ...nothing, max: sinks[head] as number, sum: 1 }));
      running = await merged(exp, running, sink);
    }
    return Float32Array.from(
      running.flatMap(({ sum, values }) => values.map((value) => f(value * f(1 / (sum === 0 ? 1 : sum))))),
    );
  };
}
