/** Programs of several processes that tests share, their inputs, and how one rank runs one. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Communicator, Device } from '../../src/devices/device.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Program, Value } from '../../src/ir/program.ts';
import { type DimValues, tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';

const T = { sym: 'T', max: 4096 } as const;
export const forever = Number.POSITIVE_INFINITY;

type Body = (b: Builder, x: Value) => Readonly<Record<string, Value>>;

/** A program of x, f32 [T, 4], for `partitions` processes. */
export function programOf(partitions: number, body: Body): Program {
  const program = new ProgramBuilder().program(
    [{ name: 'x', type: tensor('f32', [T, 4]), role: 'input' }],
    (b, { x }) => body(b, x),
  );
  const whole = { ...program, processes: { replicas: 1, partitions } };
  verify(whole);
  return whole;
}

function everybody(size: number) {
  const all = Array.from({ length: size }, (_, i) => i);
  return { replica_groups: [all], channel_id: 1, use_global_device_ids: true };
}

export function sum(b: Builder, x: Value, size: number): Value {
  const { kind } = x.type;
  assert.equal(kind, 'tensor');
  const region = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.add(l, r)]);
  return b.op('all_reduce', [x], everybody(size), { regions: [region] })[0];
}

/** Every collective there is, over symbolic rows. */
export function everyCollective(size: number): Program {
  return programOf(size, (b, x) => {
    const add = b.region([tensor('f32'), tensor('f32')], (inner, l, r) => [inner.add(l, r)]);
    const wide = b.concatenate(
      Array.from({ length: size }, (_, i) => b.multiply(x, b.full('f32', [T, 4], i + 1))),
      1,
    );
    const groups = everybody(size);
    const types = [tensor('f32', [T, 4])];
    const alike = { replica_groups: groups.replica_groups, channel_id: 1 };
    const gathered = b.op('all_gather', [x], { ...groups, all_gather_dim: 1 }, { types: [wide.type] })[0];
    const options = { regions: [add], types };
    const all = { ...alike, split_dimension: 1, concat_dimension: 1, split_count: size };
    const pairs = Array.from({ length: size }, (_, i) => [i, (i + 1) % size] as const);
    // What no exchange needs is computed while one is under way.
    const turned = b.dot(
      x,
      b.constant(
        tensor('f32', [4, 4]),
        Float32Array.from({ length: 16 }, (_, i) => i - 7.5),
      ),
      {
        contract: [[1, 0]],
      },
    );
    return {
      turned,
      sum: sum(b, x, size),
      gathered,
      scattered: b.op('reduce_scatter', [wide], { ...groups, scatter_dimension: 1 }, options)[0],
      swapped: b.op('all_to_all', [wide], all)[0],
      first: b.op('collective_broadcast', [x], { ...alike, has_dynamic_root: false })[0],
      next: b.op('collective_permute', [x], { source_target_pairs: pairs, channel_id: 1 })[0],
    };
  });
}

export type Floats = Readonly<Record<string, Float32Array>>;

/** One rank. */
export async function runRank(
  device: Device,
  end: Communicator,
  program: Program,
  x: Float32Array,
  dims: DimValues,
): Promise<Floats> {
  using executable = await device.compile(program);
  using bound = await device.bind(executable, new Map(), new Map(), end);
  const results = await device.wait(device.submit(bound, new Map([['x', x]]), dims), forever);
  return Object.fromEntries([...results].map(([name, view]) => [name, floats(view)]));
}

export function floats(view: ArrayBufferView): Float32Array {
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer);
}

/** Values whose sums depend on the order. */
export const inputOf = (tokens: number) => (rank: number) =>
  Float32Array.from({ length: tokens * 4 }, (_, i) => Math.fround(Math.sin(rank * 7 + i) * 10 ** ((rank + i) % 5)));

/** What stands for the bits of results between processes. */
export function digests(results: Floats): Readonly<Record<string, string>> {
  const digest = (values: Float32Array) => createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
  return Object.fromEntries(Object.entries(results).map(([name, values]) => [name, digest(values)]));
}
