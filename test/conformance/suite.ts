/**
 * Runs StableHLO's own tests (JAX-made programs and hand-written ones, one MLIR file each) on any device. The checks
 * inside a test function are taken out of the program: what they compare becomes the program's results, and the host
 * compares. So a device needs no calls back into JavaScript.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import { compile } from '../../src/compiler/compile.ts';
import type { Communicator, Device } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseModule, splitModules } from '../../src/ir/mlir/parse.ts';
import type { Func, Op, OpOf, Program, Value } from '../../src/ir/program.ts';
import { rewriteFunc } from '../../src/ir/rewrite.ts';
import { asTensor } from '../../src/ir/types.ts';
import { reachable, walk } from '../../src/ir/walk.ts';
import type { ElementType } from '../../src/numerics/element-types.ts';
import { type Check, compareTensors } from './checks.ts';
import { constantBytes, findProcesses, type Processes, runParallel, runProcesses } from './parallel.ts';

export type Verdict =
  | { readonly status: 'pass' }
  | { readonly status: 'fail'; readonly message: string }
  /** `what`: the op or type that programs or the device do not have. */
  | { readonly status: 'not yet'; readonly what: string };

export interface FileResult {
  /** Path below the data folder. */
  readonly file: string;
  readonly verdict: Verdict;
  /** Ops that the file runs, with the element types that they see. */
  readonly uses: ReadonlyMap<Op['name'], ReadonlySet<ElementType>>;
}

/** All test files below `root`/stablehlo, sorted. */
function testFiles(root: string): string[] {
  return ['testdata', 'tests/interpret'].flatMap((folder) =>
    readdirSync(join(root, 'stablehlo', folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.mlir'))
      .map((name) => `${folder}/${name}`)
      .sort(),
  );
}

export type SuiteResults = ReadonlyMap<string, readonly FileResult[]>;

/** What makes the ends of a group of processes, by the name of the device that they are for. */
export type Groups = Readonly<Record<string, (size: number) => readonly Communicator[]>>;

/** Every file on every device, by the device's name. */
export async function runSuite(
  devices: Readonly<Record<string, () => Device>>,
  root: string,
  groups: Groups = {},
): Promise<SuiteResults> {
  const suite = new Map<string, FileResult[]>();
  for (const [name, create] of Object.entries(devices)) {
    await using device = create();
    const results: FileResult[] = [];
    const several: Several = (processes) => {
      if (groups[name] === undefined) throw unobservable(runParallel);
      return runProcesses(processes, create, groups[name]);
    };
    for (const file of testFiles(root)) results.push(await runFile(device, several, root, file));
    suite.set(name, results);
  }
  return suite;
}

/** Runs processes side by side. */
type Several = (processes: Processes) => ReturnType<typeof runProcesses>;

/** A file passes if all of its test functions do, and fails if one of them does. */
async function runFile(device: Device, several: Several, root: string, file: string): Promise<FileResult> {
  const uses = new Map<Op['name'], Set<ElementType>>();
  const verdicts: Verdict[] = [];
  let tests = 0;
  for (const text of splitModules(readFileSync(join(root, 'stablehlo', file), 'utf8'))) {
    try {
      const { functions } = parseModule(text, file);
      for (const func of functions.values()) {
        const processes = func.parameters.length > 0 ? undefined : findProcesses(func, functions);
        if (processes !== undefined) {
          tests++;
          for (const { program } of processes.ranks) noteUses(program, uses);
          verdicts.push(await runParallelTest(several, func, processes));
          const ranks = processes.ranks.map((rank) => ({ ...rank, program: compile(rank.program, { verify: true }) }));
          verdicts.push(await runParallelTest(several, func, { ...processes, ranks }));
          continue;
        }
        const test = testProgram(func, functions);
        if (test === undefined) continue;
        tests++;
        noteUses(test.program, uses);
        verdicts.push(await runTest(device, func.name, test));
        // What the compiler makes of a program must mean the same.
        const compiled = { ...test, program: compile(test.program, { verify: true }) };
        verdicts.push(await runTest(device, `${func.name}, compiled`, compiled));
      }
    } catch (error) {
      verdicts.push(verdictOf(error));
    }
  }
  const verdict: Verdict =
    verdicts.find(({ status }) => status === 'fail') ??
    verdicts.find(({ status }) => status === 'not yet') ??
    (tests > 0 ? { status: 'pass' } : { status: 'fail', message: 'the file has no test function' });
  return { file, verdict, uses };
}

function verdictOf(error: unknown): Verdict {
  if (isIngotError(error, 'UnsupportedOp')) return { status: 'not yet', what: error.place.op ?? error.message };
  return { status: 'fail', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** A test of several processes, for which the device has no group. */
export function needsGroup(verdict: Verdict): boolean {
  return verdict.status === 'not yet' && verdict.what === runParallel;
}

interface Comparison {
  readonly check: Check;
  readonly actual: Value;
  readonly expected: Value;
}

interface TestProgram {
  readonly program: Program;
  readonly comparisons: readonly Comparison[];
}

/** The function without its checks, returning what they compare; undefined for functions that take values or check nothing. */
function testProgram(func: Func, functions: ReadonlyMap<string, Func>): TestProgram | undefined {
  if (func.parameters.length > 0) return undefined;
  const found = new Map<Op, Comparison>();
  const probes = new Map<string, Value>();
  const copy = rewriteFunc(
    func,
    (op, { operands }) => {
      if (op.name !== 'custom_call') return undefined;
      const { call_target_name: target, extra } = op.attributes;
      if (target === 'interpreter.print') return [];
      if (target === 'interpreter.probe') {
        probes.set(String(extra.probe_id), operands[0]);
        return operands;
      }
      if (target === 'check.expect_serialized_eq') {
        const probed = probes.get(String(extra.probe_id));
        if (probed === undefined || extra.iter !== undefined) throw unobservable(target);
        found.set(op, { check: { kind: 'equal' }, actual: probed, expected: operands[0] });
        return [];
      }
      const check = checkOf(op);
      if (check === undefined) {
        if (/^(check|interpreter)\./.test(target)) throw unobservable(target);
        return undefined;
      }
      found.set(op, { check, actual: operands[0], expected: operands[1] });
      return [];
    },
    new ProgramBuilder(),
  );
  // What gives nothing and checks nothing only has to run.
  if (copy === func && func.results.length > 0) return undefined;
  const comparisons = [...found.values()];
  const results = comparisons.flatMap(({ actual, expected }) => [actual, expected]);
  const main: Func = { ...copy, results };
  return {
    program: {
      main,
      functions: new Map([...functions].filter(([name]) => name !== func.name)),
      parameters: [],
      results: results.map(({ type }, i) => ({ name: String(i), type })),
      aliases: [],
    },
    comparisons,
  };
}

/** What upstream's interpreter does around a program, not in it. */
function unobservable(target: string): IngotError {
  return new IngotError('UnsupportedOp', `${target} cannot be seen from outside a program`, { op: target });
}

function checkOf({ attributes: { call_target_name: target, extra, has_side_effect: fromJax } }: OpOf<'custom_call'>) {
  const number = (name: string, absent: number) => (extra[name] === undefined ? absent : Number(extra[name]));
  switch (target.replace(/_const$/, '')) {
    case 'check.expect_eq':
      return { kind: 'equal' } as const;
    case 'check.expect_almost_eq':
      // Without a tolerance the op means 1e-4, the custom call that JAX-made files use 1e-3.
      return { kind: 'almost equal', tolerance: number('tolerance', fromJax ? 1e-3 : 1e-4) } as const;
    case 'check.expect_close': {
      const [minUlp, maxUlp] = [number('min_ulp_difference', 0), number('max_ulp_difference', 3)];
      return { kind: 'close', minUlp: BigInt(minUlp), maxUlp: BigInt(maxUlp) } as const;
    }
    default:
      return undefined;
  }
}

async function runTest(device: Device, name: string, { program, comparisons }: TestProgram): Promise<Verdict> {
  try {
    using executable = await device.compile(program);
    using bound = await device.bind(executable, new Map(), new Map());
    const results = await device.wait(device.submit(bound, new Map(), {}), Number.POSITIVE_INFINITY);
    const bytes = (i: number) => {
      const view = results.get(String(i));
      if (view === undefined) throw new Error(`result ${i} is missing`);
      return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    };
    for (const [i, { check, actual }] of comparisons.entries()) {
      const difference = compareTensors(check, asTensor(actual.type).element, bytes(2 * i), bytes(2 * i + 1));
      if (difference !== undefined) return { status: 'fail', message: `${name}: ${difference}` };
    }
    return { status: 'pass' };
  } catch (error) {
    return verdictOf(error);
  }
}

/** What the processes have made against the constants that their caller expects. */
async function runParallelTest(several: Several, func: Func, processes: Processes): Promise<Verdict> {
  try {
    const checks = [...walk(func)].flatMap((op) => {
      if (op === processes.call || op.name !== 'custom_call') return [];
      const check = checkOf(op);
      if (check === undefined) throw unobservable(op.attributes.call_target_name);
      return [{ check, operands: op.operands }];
    });
    if (checks.length === 0) throw unobservable('interpreter.print');
    const results = await several(processes);
    for (const [i, { check, operands }] of checks.entries()) {
      const [actual, expected] = operands;
      const bytes = results.get(actual);
      if (bytes === undefined) throw new Error('a check of what no process has made');
      const difference = compareTensors(check, asTensor(actual.type).element, bytes, constantBytes(expected));
      if (difference !== undefined) return { status: 'fail', message: `${func.name}, check ${i}: ${difference}` };
    }
    return { status: 'pass' };
  } catch (error) {
    return verdictOf(error);
  }
}

function noteUses(program: Program, uses: Map<Op['name'], Set<ElementType>>): void {
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      const type = (op.operands[0] ?? op.results[0])?.type;
      if (type?.kind !== 'tensor') continue;
      const elements = uses.get(op.name) ?? new Set();
      uses.set(op.name, elements.add(type.element));
    }
  }
}
