/** A self-test that is a program: run by the device, and by the evaluator of the loop language or whoever else knows the answer. */
import { memoryBytes } from '../../../base/bytes.ts';
import { isIngotError } from '../../../base/errors.ts';
import { inlineComposites } from '../../../compiler/inline.ts';
import { planProgram } from '../../../compiler/kernel/plan.ts';
import { PlanRun } from '../../../compiler/kernel/run-plan.ts';
import type { Program } from '../../../ir/program.ts';
import { asTensor, type DimValues, resolveShape, staticShape } from '../../../ir/types.ts';
import { type ElementType, elementBytes, elementClass } from '../../../numerics/element-types.ts';
import { decodeElements } from '../../../numerics/host-array.ts';
import type { Device } from '../../device.ts';
import { commonArea } from './areas.ts';

export interface SelfTest {
  /** Names the kernel to a user: 'quantized_dot q4_0 i8'. */
  readonly name: string;
  /** Which kernels it tries (areas.ts). */
  readonly area: string;
  /** What is wrong; undefined if nothing is. */
  run(device: Device): Promise<string | undefined>;
}

export interface ProgramTest {
  readonly name: string;
  readonly area?: string;
  readonly program: Program;
  /** Of weights that have a format: as a file holds them. */
  readonly weights?: Readonly<Record<string, Uint8Array>>;
  readonly runs: readonly Run[];
  /** How many units in the last place an element may be away. */
  readonly ulp?: number;
  /** How far a float may be away, whatever its size. */
  readonly absolute?: number;
}

interface Run {
  readonly inputs: Readonly<Record<string, ArrayBufferView>>;
  readonly dims?: DimValues;
  /** Of every result, for programs that the evaluator cannot run. */
  readonly expected?: Readonly<Record<string, ArrayBufferView>>;
}

/** Programs that the device refuses have no code that could be wrong. */
export function programTest(test: ProgramTest): SelfTest & ProgramTest {
  return {
    ...test,
    area: test.area ?? commonArea,
    async run(device) {
      const { program, weights = {}, runs } = test;
      const owned: Disposable[] = [];
      const own = <T extends Disposable>(thing: T): T => {
        owned.push(thing);
        return thing;
      };
      try {
        const executable = own(await device.compile(program));
        const packed = new Map(
          await Promise.all(
            program.parameters
              .filter(({ role }) => role === 'weight')
              .map(async ({ name, type, format = 'f32' }) => {
                const weight = { name, format, shape: staticShape(type), bytes: memoryBytes(weights[name]) };
                return [name, own(await device.pack(weight))] as const;
              }),
          ),
        );
        const bound = own(await device.bind(executable, packed, new Map()));
        for (const { inputs, dims = {}, expected } of runs) {
          const ticket = device.submit(bound, new Map(Object.entries(inputs)), dims);
          const results = await device.wait(ticket, performance.now() + 10_000);
          const right = expected ?? evaluate(program, inputs, dims);
          for (const { name, type } of program.results) {
            const made = results.get(name);
            if (made === undefined) return `there is no ${name}`;
            const wrong = difference(asTensor(type).element, bytesOf(made), bytesOf(right[name]), test);
            if (wrong !== undefined) return `${name}${wrong}`;
          }
        }
        return undefined;
      } catch (error) {
        if (isIngotError(error, 'UnsupportedOp')) return undefined;
        throw error;
      } finally {
        for (const thing of owned.toReversed()) thing[Symbol.dispose]();
      }
    },
  };
}

const bytesOf = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function evaluate(program: Program, inputs: Run['inputs'], dims: DimValues): Readonly<Record<string, ArrayBufferView>> {
  const plan = planProgram(inlineComposites(program, () => false));
  const run = new PlanRun(plan, dims);
  const frame = new Uint8Array(plan.main.frameBytes);
  run.inputs(frame, []).forEach((place, i) => {
    place?.bytes.set(bytesOf(inputs[program.parameters[i].name]), place.offset);
  });
  const places = run.run(frame, []);
  return Object.fromEntries(
    program.results.flatMap(({ name, type }, i) => {
      const { element, shape } = asTensor(type);
      const length = resolveShape(shape, dims).reduce((product, size) => product * size, elementBytes(element));
      const place = places[i];
      return place === undefined ? [] : [[name, place.bytes.slice(place.offset, place.offset + length)] as const];
    }),
  );
}

/** '[3] is 1, not 2' for the first element that differs. */
function difference(
  element: ElementType,
  made: Uint8Array,
  right: Uint8Array,
  { ulp = 0, absolute = 0 }: Pick<ProgramTest, 'ulp' | 'absolute'>,
): string | undefined {
  const [actual, expected] = [made, right].map((bytes) => decodeElements(element, bytes));
  const isFloat = elementClass(element) === 'float';
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i], expected[i]];
    if (Object.is(a, e)) continue;
    if (isFloat && Math.abs(Number(a) - Number(e)) <= Math.max(absolute, ulp * spacing(element, Number(e)))) continue;
    return `[${i}] is ${a}, not ${e}`;
  }
  return undefined;
}

/** Distance of a number to the next of its type, f32 or f64. */
function spacing(element: ElementType, value: number): number {
  const [bits, smallest] = element === 'f64' ? [52, -1022] : [23, -126];
  return 2 ** (Math.max(smallest, Math.floor(Math.log2(Math.abs(value)))) - bits);
}
