/**
 * From a program and a mesh to the program of each rank, with StableHLO's collectives in it (GSPMD, Xu et al.,
 * https://arxiv.org/abs/2105.04663). What the program states of shardings is spread over it, what is left open is chosen by cost.
 */
import { type Mesh, meshSize } from '../../ir/mesh.ts';
import type { Parameter, Program, Value } from '../../ir/program.ts';
import { asTensor } from '../../ir/types.ts';
import { joinSums } from './join-sums.ts';
import { LocalFunctions, Localizer } from './localize.ts';
import { type Layout, Place, wholeSplits } from './split.ts';

/** The program of one rank. */
export interface RankProgram {
  readonly program: Program;
  /** How each parameter lies, in the order of the program's. */
  readonly parameters: readonly Layout[];
  /** How each result lies. */
  readonly results: readonly Layout[];
}

/** A dimension of a parameter that was split though nothing was stated of it. */
export interface Choice {
  readonly parameter: string;
  readonly dim: number;
  readonly axis: string;
}

/** How the values of a program lie on a mesh. */
export interface Plan {
  readonly program: Program;
  readonly mesh: Mesh;
  readonly choices: readonly Choice[];
  splitsOf(value: Value): Layout['splits'];
}

/**
 * `made`: of the same rank, for other plans. Results are whole on every rank, but those of
 * which something is stated, and a state's memory, which lies as the state does.
 */
export function localProgram({ program, mesh, splitsOf }: Plan, rank: number, made?: LocalFunctions): RankProgram {
  const localizer = new Localizer(made ?? new LocalFunctions(program, new Place(mesh, rank)), splitsOf);
  const { main } = program;
  const results = main.results.map((value, i) => {
    const alias = program.aliases.find(({ result }) => result === i);
    if (alias !== undefined) return splitsOf(main.parameters[alias.parameter]);
    if (program.results[i].sharding !== undefined) return splitsOf(main.results[i]);
    return wholeSplits(value);
  });
  const { func } = localizer.func(main, results);
  const functions = new Map(localizer.functions);
  functions.delete(func.name);
  return {
    program: joinSums({
      ...program,
      main: func,
      functions,
      parameters: program.parameters.map((parameter, i): Parameter => {
        return { ...parameter, type: asTensor(func.parameters[i].type) };
      }),
      results: program.results.map(({ name }, i) => ({ name, type: func.results[i].type })),
      processes: { replicas: 1, partitions: meshSize(mesh) },
    }),
    parameters: main.parameters.map((value) => ({ splits: splitsOf(value) })),
    results: results.map((splits) => ({ splits })),
  };
}
