/**
 * Tests of several processes: a function without parameters that calls `interpreter.run_parallel`, of which every process
 * becomes a program on a device of its own, and the calling function what compares their results.
 */
import { IngotError } from '../../src/base/errors.ts';
import type { Communicator, Device } from '../../src/devices/device.ts';
import { type Attribute, isListAttribute } from '../../src/ir/attributes.ts';
import { Builder, createFunc, ProgramBuilder } from '../../src/ir/build.ts';
import { literalArray } from '../../src/ir/literal.ts';
import type { Func, OpOf, Program, Value } from '../../src/ir/program.ts';
import { copyBody } from '../../src/ir/rewrite.ts';
import { maxElements } from '../../src/ir/types.ts';
import { definedBy, walk } from '../../src/ir/walk.ts';
import { encodeElements } from '../../src/numerics/host-array.ts';

export interface Processes {
  readonly call: OpOf<'custom_call'>;
  /** By rank: a program, and the bytes of its inputs by name. */
  readonly ranks: readonly { readonly program: Program; readonly inputs: ReadonlyMap<string, Uint8Array> }[];
}

export const runParallel = 'interpreter.run_parallel';

/** The processes that a function starts; undefined if it starts none. */
export function findProcesses(func: Func, functions: ReadonlyMap<string, Func>): Processes | undefined {
  const call = [...walk(func)].find(
    (op): op is OpOf<'custom_call'> => op.name === 'custom_call' && op.attributes.call_target_name === runParallel,
  );
  if (call === undefined) return undefined;
  const rows = list(call.attributes.extra.programs).map(list);
  const processes = { replicas: rows.length, partitions: rows[0]?.length ?? 0 };
  let next = 0;
  const ranks = rows.flat().map((name) => {
    const entry = functions.get(String(name).slice(1));
    if (entry === undefined) throw new Error(`there is no function ${name}`);
    const operands = call.operands.slice(next, next + entry.parameters.length);
    next += entry.parameters.length;
    const inputs = new Map<string, Uint8Array>();
    operands.forEach((value, i) => {
      if (value.type.kind === 'tensor') inputs.set(`arg${i}`, constantBytes(value));
    });
    return { program: { ...programOf(entry, functions), processes }, inputs };
  });
  return { call, ranks };
}

function list(value: Attribute | undefined): readonly Attribute[] {
  if (value === undefined || !isListAttribute(value)) throw new Error('run_parallel needs lists of programs');
  return value;
}

export function constantBytes(value: Value): Uint8Array {
  const literal = definedBy(value, 'constant')?.attributes.value;
  if (literal === undefined) throw new IngotError('UnsupportedOp', `${runParallel} of what is no constant`);
  return encodeElements(literal.type.element, literalArray(literal, maxElements(literal.type)));
}

/** Tokens are made inside of it, and not returned. */
function programOf(func: Func, functions: ReadonlyMap<string, Func>): Program {
  const builder = new ProgramBuilder(functions);
  const given = func.parameters.flatMap(({ type }, i) => (type.kind === 'tensor' ? [{ name: `arg${i}`, type }] : []));
  const main = createFunc(
    `${func.name} alone`,
    given.map(({ type }) => type),
    (values) => {
      const b = new Builder(builder);
      const own = [...values];
      const mapped = new Map(
        func.parameters.map((value) => {
          const stand = value.type.kind === 'tensor' ? own.shift() : b.op('after_all', [], {})[0];
          return [value, stand as Value] as const;
        }),
      );
      const results = copyBody(func, b, mapped);
      return { body: b.body, results: results.filter(({ type }) => type.kind === 'tensor') };
    },
  );
  return {
    main,
    functions: new Map([...functions].filter(([, { results }]) => results.length > 0)),
    parameters: given.map((parameter) => ({ ...parameter, role: 'input' })),
    results: main.results.map(({ type }, i) => ({ name: String(i), type })),
    aliases: [],
  };
}

/** The results of `call`, those that are tokens left out. */
export async function runProcesses(
  { call, ranks }: Processes,
  create: () => Device,
  group: (size: number) => readonly Communicator[],
): Promise<ReadonlyMap<Value, Uint8Array>> {
  const communicators = group(ranks.length);
  const outputs = await Promise.all(
    ranks.map(async ({ program, inputs }, rank) => {
      await using device = create();
      using executable = await device.compile(program);
      using bound = await device.bind(executable, new Map(), new Map(), communicators[rank]);
      const results = await device.wait(device.submit(bound, inputs, {}), Number.POSITIVE_INFINITY);
      return program.results.map(({ name }) => {
        const view = results.get(name);
        if (view === undefined) throw new Error(`result ${name} of rank ${rank} is missing`);
        return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      });
    }),
  );
  const tensors = call.results.filter(({ type }) => type.kind === 'tensor');
  const flat = outputs.flat();
  return new Map(tensors.map((value, i) => [value, flat[i]]));
}
