/** What the tests of sampling on the CPU device share: rows of every kind, and what the decomposition says of them as lowered loops on the same device. */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { sample } from '../../src/composites/sample.ts';
import { type StepLimits, samplingInputs, samplingState } from '../../src/composites/step.ts';
import type { Device } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { openCpu } from '../conformance/devices.ts';
import { generator, integer, normal } from './composites-harness.ts';

export const limits: StepLimits = {
  ...{ maxTokens: 8, maxSequences: 4, maxRows: 20, blockSize: 16, blockCount: 1, blocksPerSequence: 1 },
  maxBias: 12,
};
const inputs = samplingInputs(limits);
export const [R] = inputs[0].type.shape;

function programOf(V: number) {
  const parameters: readonly Parameter[] = [
    ...inputs,
    { name: 'logits', type: tensor('f32', [R, V]), role: 'input' },
    { name: 'counts', type: samplingState(limits, V)[1].type, role: 'input' },
  ];
  return new ProgramBuilder().program(parameters, (b, values) => ({ ...sample(b, values.logits, values) }));
}

export interface Sampled {
  readonly ids: Int32Array;
  readonly logprobs: Float32Array;
}
export type Inputs = ReadonlyMap<string, ArrayBufferView>;

let device: Device | undefined;
after(() => device?.[Symbol.asyncDispose]());

/** On the device, with the kernels of composites whose names are given. */
export async function onDevice(V: number, ...kernels: readonly string[]) {
  device ??= openCpu(2);
  const on = device;
  const program = programOf(V);
  const bound = await on.bind(
    await on.compile(inlineComposites(program, ({ attributes }) => kernels.includes(attributes.name))),
    new Map(),
    new Map(),
  );
  return async (given: Inputs, rows: number): Promise<Sampled> => {
    const results = await on.wait(on.submit(bound, given, { R: rows }), Number.POSITIVE_INFINITY);
    const view = (name: string) => results.get(name) ?? assert.fail();
    return {
      ids: new Int32Array(view('ids').buffer, view('ids').byteOffset, rows),
      logprobs: new Float32Array(view('logprobs').buffer, view('logprobs').byteOffset, rows),
    };
  };
}

/** Rows of every kind: greedy and drawn, with and without each filter, penalties, biases; logits with ties and infinities. */
export function makeInputs(V: number, rows: number, seed: number): Inputs {
  const random = generator(seed);
  const pick = <T>(...values: readonly T[]): T => values[integer(random, values.length)] as T;
  const each = <T>(make: () => T) => Array.from({ length: rows }, make);
  const logits = each(() => {
    const kind = pick('wide', 'ties', 'flat', 'steep', 'holes');
    return normal(random, V, kind === 'steep' ? 40 : kind === 'flat' ? 1e-3 : 3).map((x) => {
      if (kind === 'ties') return Math.round(x);
      if (kind === 'holes' && random() < 0.5) return Number.NEGATIVE_INFINITY;
      return x;
    });
  }).flat();
  const temperature = each(() => pick(0, 0.3, 0.8, 1, 2));
  const topK = each(() => pick(0, 1, 2, 5, 40, V - 1, V, V + 7, integer(random, V) + 1));
  const topP = each(() => pick(1, 1 - 2 ** -24, 0.999, 0.95, 0.5, 0, -1)).map((p, row) =>
    p < 0 ? border(logits.slice(row * V, (row + 1) * V), temperature[row] || 1, topK[row] as number, random) : p,
  );
  const bias = Array.from({ length: limits.maxBias }, () => [
    integer(random, rows + 4) - 2,
    integer(random, V + 2) - 1,
  ]);
  return new Map<string, ArrayBufferView>([
    ['logits', Float32Array.from(logits)],
    ['temperature', Float32Array.from(temperature)],
    ['topK', Int32Array.from(topK)],
    ['topP', Float32Array.from(topP)],
    ['minP', Float32Array.from(each(() => pick(0, 0.05, 0.5, 1)))],
    ['seed', Uint32Array.from({ length: 2 * rows }, () => integer(random, 2 ** 32))],
    ['drawPosition', Int32Array.from(each(() => integer(random, 5000)))],
    ['countRow', Int32Array.from(each(() => integer(random, limits.maxSequences + 2) - 1))],
    ['penalties', Float32Array.from(each(() => pick([1, 0, 0], [1, 0, 0], [1.3, 0, 0], [0.7, 0.2, -0.4])).flat())],
    ['biasRow', Int32Array.from(bias, ([row]) => (random() < 0.5 ? -1 : (row as number)))],
    ['biasToken', Int32Array.from(bias, ([, token]) => token as number)],
    ['biasValue', Float32Array.from(bias, () => pick(5, -5, -100, Number.NEGATIVE_INFINITY))],
    [
      'counts',
      Int32Array.from({ length: limits.maxSequences * 2 * V }, () => (random() < 0.1 ? integer(random, 5) : 0)),
    ],
  ]);
}

/** A top-p so near to the share of some tokens that the rounding of their sum decides. */
export function border(logits: readonly number[], temperature: number, topK: number, random: () => number): number {
  const first = Math.max(...logits);
  const weights = logits.map((x) => Math.exp((x - first) / temperature)).sort((a, b) => b - a);
  const kept = weights.slice(0, topK > 0 ? topK : weights.length);
  const sum = (list: readonly number[]) => list.reduce((total, x) => total + x, 0);
  const few = kept.slice(0, 1 + integer(random, Math.min(kept.length, 8)));
  return Math.fround(sum(few) / sum(kept) + (integer(random, 5) - 2) * 2 ** -25);
}

export function assertSame(actual: Sampled, expected: Sampled, what: string): void {
  assert.deepEqual(actual.ids, expected.ids, what);
  const bits = ({ logprobs }: Sampled) => new Int32Array(logprobs.buffer, logprobs.byteOffset, logprobs.length);
  assert.deepEqual(bits(actual), bits(expected), what);
}
