/** Programs drawn from lists of numbers, of sums over ranks, products and updates of a state, and how one rank runs one. */
import type { Device } from '../../src/devices/device.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { floats, forever, sum } from './collective-program.ts';

export const square = tensor('f32', [4, 4]);

export function stateful(
  size: number,
  body: (b: Builder, x: Value, s: Value) => Readonly<Record<string, Value>>,
): Program {
  const built = new ProgramBuilder().program(
    [
      { name: 'x', type: square, role: 'input' },
      { name: 's', type: square, role: 'state' },
    ],
    (b, { x, s }) => body(b, x, s),
    { s: 's' },
  );
  const program = { ...built, processes: { replicas: 1, partitions: size } };
  verify(program);
  return program;
}

export const dot = (b: Builder, x: Value, y: Value) => b.dot(x, y, { contract: [[1, 0]] });

/** Sums, products and updates of the state in an order that a list of numbers says. */
export function drawn(decisions: readonly number[], size: number): Program {
  return stateful(size, (b, x, s) => {
    const values = [x, b.negate(x)];
    let state = s;
    decisions.forEach((decision, i) => {
      const [one, other] = [values[(decision >> 3) % values.length], values[(decision >> 7) % values.length]];
      const kind = decision % 8;
      if (kind < 3) values.push(b.clamp(b.full('f32', [4, 4], -9), dot(b, one, other), b.full('f32', [4, 4], 9)));
      else if (kind < 5) values.push(sum(b, one, size));
      else if (kind === 5) values.push(dot(b, state, one));
      else if (kind === 6) values.push(b.subtract(one, other));
      else state = b.add(state, b.multiply(one, b.full('f32', [4, 4], i)));
    });
    return { last: values[values.length - 1], total: values.reduce((a, v) => b.add(a, v)), s: state };
  });
}

export const inputOf = (rank: number) => Float32Array.from({ length: 16 }, (_, i) => ((i * 7 + rank * 5) % 11) - 5);

export async function runOn(device: Device, program: Program, end: Parameters<Device['bind']>[3], rank: number) {
  using executable = await device.compile(program);
  using state = await device.allocate(square, 'state');
  device.write(state, inputOf(rank + 3));
  using bound = await device.bind(executable, new Map(), new Map([['s', state]]), end);
  const results = await device.wait(device.submit(bound, new Map([['x', inputOf(rank)]]), {}), forever);
  return [...[...results.values()].map(floats), floats(await device.read(state))];
}
