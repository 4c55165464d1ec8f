/** A program on one reference device and, partitioned, on several: what both compute. */
import assert from 'node:assert/strict';
import { compile } from '../../src/compiler/compile.ts';
import { localProgram, type RankProgram } from '../../src/compiler/partition/partition.ts';
import { type PlanOptions, planOf } from '../../src/compiler/partition/plan.ts';
import { type Layout, Place } from '../../src/compiler/partition/split.ts';
import type { Communicator, DeviceBuffer } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { type Mesh, meshSize } from '../../src/ir/mesh.ts';
import { isCollective } from '../../src/ir/process-groups.ts';
import type { Program } from '../../src/ir/program.ts';
import { asTensor, type DimValues, maxDim, resolveDim, type TensorType } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { walk } from '../../src/ir/walk.ts';
import { elementClass } from '../../src/numerics/element-types.ts';
import { decodeElements, encodeElements, type HostArray, hostArray } from '../../src/numerics/host-array.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import { generator } from './composites-harness.ts';

export type Numbers = Record<string, readonly number[]>;

/** Elements of a tensor that lie in the layout's ranges, or puts them back where they belong. */
function eachElement(
  shape: readonly number[],
  layout: Layout,
  place: Place,
  visit: (whole: number, own: number) => void,
) {
  const ranges = shape.map((size, d) => {
    const split = layout.splits[d];
    return split === undefined ? [{ start: 0, limit: size }] : place.ranges(split);
  });
  let own = 0;
  const step = (d: number, at: number) => {
    if (d === shape.length) visit(at, own++);
    else for (const { start, limit } of ranges[d]) for (let i = start; i < limit; i++) step(d + 1, at * shape[d] + i);
  };
  step(0, 0);
}

const shapeIn = (type: TensorType, role: string, dims: DimValues) =>
  type.shape.map((dim) => (role === 'input' ? resolveDim(dim, dims) : maxDim(dim)));

/** Values between -1 and 1, or small whole numbers, by seed and name. */
function randomValues(program: Program, seed: number, dims: DimValues, given: Numbers): Map<string, HostArray> {
  return new Map(
    program.parameters.map(({ name, type, role }) => {
      const array = hostArray(
        type.element,
        shapeIn(type, role, dims).reduce((a, b) => a * b, 1),
      );
      const random = generator([...name].reduce((hash, letter) => Math.imul(hash, 31) + letter.charCodeAt(0), seed));
      const isFloat = elementClass(type.element) === 'float';
      for (let i = 0; i < array.length; i++) {
        array[i] = given[name]?.[i] ?? (isFloat ? random() * 2 - 1 : Math.floor(random() * 6));
      }
      return [name, decodeElements(type.element, encodeElements(type.element, array))];
    }),
  );
}

async function run(
  program: Program,
  values: ReadonlyMap<string, HostArray>,
  dims: DimValues,
  communicator?: Communicator,
): Promise<Map<string, HostArray>> {
  await using device = createReferenceDevice();
  const inputs = new Map<string, ArrayBufferView>();
  const kept = new Map<string, DeviceBuffer>();
  for (const { name, type, role } of program.parameters) {
    const array = values.get(name);
    assert.ok(array !== undefined);
    const bytes = encodeElements(type.element, array);
    if (role === 'input') inputs.set(name, bytes);
    else {
      const buffer = await device.allocate(type, role === 'weight' ? 'weights' : 'state');
      device.write(buffer, bytes);
      kept.set(name, buffer);
    }
  }
  using executable = await device.compile(program, (whole) => compile(whole, { verify: true }));
  using bound = await device.bind(executable, kept, kept, communicator);
  const results = await device.wait(device.submit(bound, inputs, dims), Number.POSITIVE_INFINITY);
  const out = new Map<string, HostArray>();
  for (const { name, type } of program.results) {
    const view = results.get(name);
    if (view === undefined) continue;
    out.set(
      name,
      decodeElements(asTensor(type).element, new Uint8Array(view.buffer, view.byteOffset, view.byteLength)),
    );
  }
  for (const { name, type, role } of program.parameters) {
    const buffer = kept.get(name);
    if (role === 'state' && buffer !== undefined)
      out.set(`state ${name}`, decodeElements(type.element, await device.read(buffer)));
  }
  for (const buffer of kept.values()) buffer[Symbol.dispose]();
  return out;
}

export function opsOf(program: Program): readonly string[] {
  return [program.main, ...program.functions.values()].flatMap((func) => [...walk(func)].map((op) => op.name));
}

/** Asserts that all ranks compute what one does, up to `tolerance` times the largest value; the programs of the ranks. */
export async function assertSame(
  program: Program,
  mesh: Mesh,
  {
    dims = {},
    tolerance = 1e-5,
    seed = 1,
    given = {},
    options = {},
  }: { dims?: DimValues; tolerance?: number; seed?: number; given?: Numbers; options?: PlanOptions } = {},
): Promise<readonly RankProgram[]> {
  const plan = planOf(program, mesh, options);
  const ranks = Array.from({ length: meshSize(mesh) }, (_, rank) => localProgram(plan, rank));
  const meetings = ranks.map((rank) => {
    verify(rank.program);
    return [rank.program.main, ...rank.program.functions.values()]
      .flatMap((func) => [...walk(func)])
      .flatMap((op) => (isCollective(op) ? [`${op.name} of ${op.operands.length}`] : []));
  });
  for (const each of meetings) assert.deepEqual(each, meetings[0], 'all ranks meet in the same order');
  const values = randomValues(program, seed, dims, given);
  const expected = await run(program, values, dims);
  const group = createHostGroup(ranks.length);
  const outputs = await Promise.all(
    ranks.map((rank, r) => {
      const place = new Place(mesh, r);
      const own = new Map(
        program.parameters.map(({ name, type, role }, i) => {
          const picked: number[] = [];
          const array = values.get(name);
          eachElement(shapeIn(type, role, dims), rank.parameters[i], place, (at) => picked.push(Number(array?.[at])));
          const part = hostArray(type.element, picked.length);
          part.set(picked as never);
          return [name, part];
        }),
      );
      return run(rank.program, own, dims, group[r]);
    }),
  );
  outputs.forEach((output, r) => {
    for (const [name, array] of output) {
      const whole = expected.get(name);
      assert.ok(whole !== undefined);
      const i = program.parameters.findIndex((parameter) => `state ${parameter.name}` === name);
      const at = program.results.findIndex((result) => result.name === name);
      const layout = i < 0 ? ranks[r].results[at] : ranks[r].parameters[i];
      const shape =
        i < 0
          ? asTensor(program.results[at].type).shape.map((dim) => resolveDim(dim, dims))
          : shapeIn(program.parameters[i].type, 'state', dims);
      const largest = Array.from(whole, Number).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      const compare = (element: number, own: number) => {
        const [a, b] = [Number(array[own]), Number(whole[element])];
        const same = Object.is(a, b) || Math.abs(a - b) <= tolerance * largest;
        assert.ok(same, `${name}[${element}] of rank ${r} is ${a}, not ${b}`);
      };
      let count = 0;
      eachElement(shape, layout, new Place(mesh, r), (whole, own) => {
        compare(whole, own);
        count++;
      });
      assert.equal(array.length, count);
    }
  });
  return ranks;
}
