/** What the tests of compiler passes share: a program's numbers on the reference device, and texts of its ops. */
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import type { Program } from '../../src/ir/program.ts';
import { asTensor, type DimValues, maxElements, resolveShape } from '../../src/ir/types.ts';
import { walk } from '../../src/ir/walk.ts';
import { elementClass } from '../../src/numerics/element-types.ts';
import { decodeElements, encodeElements, hostArray } from '../../src/numerics/host-array.ts';
import { generator } from './composites-harness.ts';

/** Values at which rules of algebra go wrong. */
const floats = [0, -0, 1, -1, 0.5, -2.25, 3, 1e-40, 65520, -1e30, Number.POSITIVE_INFINITY];

export type Values = Record<string, readonly (number | bigint)[]>;

/**
 * Runs once: results and final state by name. Parameters are filled by seed and name, so that programs with different
 * parameters agree on those they share; `given` has the values of others.
 */
export async function execute(
  program: Program,
  seed: number,
  dims: DimValues = { T: 2 },
  given: Values = {},
  device: Device = createReferenceDevice(),
): Promise<Values> {
  const inputs = new Map<string, ArrayBufferView>();
  const kept = new Map<string, Awaited<ReturnType<typeof device.allocate>>>();
  for (const { name, type, role } of program.parameters) {
    const count = role === 'input' ? resolveShape(type.shape, dims).reduce((a, b) => a * b, 1) : maxElements(type);
    const array = hostArray(type.element, count);
    const isFloat = elementClass(type.element) === 'float';
    const random = generator([...name].reduce((hash, letter) => Math.imul(hash, 31) + letter.charCodeAt(0), seed));
    for (let i = 0; i < array.length; i++) {
      array[i] =
        given[name] !== undefined
          ? given[name][i]
          : isFloat
            ? floats[Math.floor(random() * floats.length)]
            : Math.floor(random() * 6) - 1;
    }
    const bytes = encodeElements(type.element, array);
    if (role === 'input') inputs.set(name, bytes);
    else {
      const buffer = await device.allocate(type, role === 'weight' ? 'weights' : 'state');
      device.write(buffer, bytes);
      kept.set(name, buffer);
    }
  }
  const bound = await device.bind(await device.compile(program), kept, kept);
  const results = await device.wait(device.submit(bound, inputs, dims), Number.POSITIVE_INFINITY);
  const out: Values = {};
  for (const [name, view] of results) {
    const { element } = asTensor(program.results.find((result) => result.name === name)?.type ?? { kind: 'token' });
    out[name] = [...decodeElements(element, new Uint8Array(view.buffer, view.byteOffset, view.byteLength))];
  }
  for (const { name, type, role } of program.parameters) {
    const buffer = kept.get(name);
    if (role !== 'state' || buffer === undefined) continue;
    out[`state ${name}`] = [...decodeElements(type.element, await device.read(buffer))];
  }
  return out;
}

/** Names of the ops of main and of the functions that it reaches, regions included. */
export function opNames(program: Program): readonly string[] {
  return [program.main, ...program.functions.values()].flatMap((func) => [...walk(func)].map((op) => op.name));
}
