/** What the tests of composites share: programs run on the reference device, numbers from a seeded generator. */
import assert from 'node:assert/strict';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { asTensor, type DimValues, type TensorType } from '../../src/ir/types.ts';
import { decodeElements, encodeElements, hostArray } from '../../src/numerics/host-array.ts';

export type Numbers = ArrayLike<number>;

/** Compiles once; the function that comes back runs it with values for every parameter, row-major. */
export async function compile<const N extends string>(
  types: Readonly<Record<N, TensorType>>,
  body: (b: Builder, values: Readonly<Record<N, Value>>) => Readonly<Record<string, Value>>,
): Promise<(values: Readonly<Record<N, Numbers>>, dims?: DimValues) => Promise<Record<string, number[]>>> {
  const names = Object.keys(types) as N[];
  const parameters = names.map((name) => ({ name, type: types[name], role: 'input' }) satisfies Parameter);
  const program = new ProgramBuilder().program(parameters, (b, values) =>
    body(b, values as Readonly<Record<N, Value>>),
  );
  const device = createReferenceDevice();
  const bound = await device.bind(await device.compile(program), new Map(), new Map());
  return async (values, dims = {}) => {
    const inputs = new Map<string, ArrayBufferView>();
    for (const name of names) {
      const { element } = types[name];
      const array = hostArray(element, values[name].length);
      for (let i = 0; i < array.length; i++) array[i] = values[name][i];
      inputs.set(name, encodeElements(element, array));
    }
    const results = await device.wait(device.submit(bound, inputs, dims), Number.POSITIVE_INFINITY);
    const out: Record<string, number[]> = {};
    for (const { name, type } of program.results) {
      const view = results.get(name);
      assert(view !== undefined, `no result ${name}`);
      const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      out[name] = Array.from(decodeElements(asTensor(type).element, bytes), Number);
    }
    return out;
  };
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` f32 values, roughly normal. */
export function normal(random: () => number, count: number, deviation = 1): number[] {
  return Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return Math.fround(deviation * radius * Math.cos(2 * Math.PI * random()));
  });
}

export function integer(random: () => number, limit: number): number {
  return Math.floor(random() * limit);
}

/** Every element within `tolerance`, relative above 1 and absolute below. */
export function assertClose(actual: Numbers, expected: Numbers, tolerance: number, what = 'element'): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    const allowed = tolerance * Math.max(1, Math.abs(expected[i]));
    const error = Math.abs(actual[i] - expected[i]);
    assert(error <= allowed, `${what} ${i} is ${actual[i]}, not ${expected[i]}`);
  }
}

/** Bit for bit: tells -0 from 0 and NaN from numbers. */
export function assertSameBits(actual: readonly number[], expected: readonly number[], what = 'element'): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    assert(Object.is(actual[i], expected[i]), `${what} ${i} is ${actual[i]}, not ${expected[i]}`);
  }
}
