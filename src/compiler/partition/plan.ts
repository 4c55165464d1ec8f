/**
 * Decides how the values of a program lie on a mesh: first as the program states, in order of priority (Shardy's user
 * priorities), then, along axes that may be chosen for, by what a rank's program would cost. No names count, only the graph.
 */
import { IngotError } from '../../base/errors.ts';
import { type Mesh, meshSize, sizeAlong, verifyMesh } from '../../ir/mesh.ts';
import { parseSharding } from '../../ir/mlir/sharding-text.ts';
import { shardingOfTiles, tilesAttribute } from '../../ir/mlir/tile-sharding.ts';
import { isCollective } from '../../ir/process-groups.ts';
import type { Op, Program, Value } from '../../ir/program.ts';
import { isConstraint, type Sharding, verifySharding } from '../../ir/sharding.ts';
import { asTensor, maxBytes } from '../../ir/types.ts';
import type { Hardware } from '../cost.ts';
import { LocalFunctions } from './localize.ts';
import { localProgram, type Plan } from './partition.ts';
import { Propagation } from './propagate.ts';
import { rankCost, rankSeconds } from './rank-cost.ts';
import { Share } from './share.ts';
import { type Layout, Place } from './split.ts';
import { opsOf, splitFunctions, type Ties, tiesOf } from './ties.ts';

export interface PlanOptions {
  /** Axes along which to split what nothing is stated of; 'tensor' if absent. */
  readonly chosen?: readonly string[];
  /** What costs are counted by. */
  readonly hardware?: Hardware;
}

/** Only ratios count here. Latency is left out: a mesh is wished for even where a step is short. */
const planning: Hardware = {
  name: 'planning',
  memoryBytes: Number.POSITIVE_INFINITY,
  threads: 1,
  readBytesPerSecond: 20e9,
  operationsPerSecond: { f32: 200e9 },
  link: { bytesPerSecond: 20e9, latencySeconds: 0 },
};

/** What is said of a value. */
interface Statement {
  readonly value: Value;
  readonly sharding: Sharding;
}

/** A split that may be chosen. */
interface Candidate {
  readonly value: Value;
  readonly dim: number;
  readonly axis: string;
}

/** @throws IngotError 'InvalidProgram' for meshes and statements that do not fit, or a program that has collectives already. */
export function planOf(
  program: Program,
  mesh: Mesh,
  { chosen = ['tensor'], hardware = planning }: PlanOptions = {},
): Plan {
  verifyMesh(mesh);
  const ties = tiesOf(program);
  const statements = statementsOf(program, mesh);
  for (const { value, sharding } of statements) verifySharding(mesh, asTensor(value.type), sharding);
  const planWith = (candidates: readonly Candidate[]): { plan: Plan; spread: Propagation } => {
    const spread = propagate(mesh, ties, statements, candidates);
    const known = new Map<Value, Layout['splits']>();
    const splitsOf: Plan['splitsOf'] = (value) => {
      let splits = known.get(value);
      if (splits === undefined) {
        splits = spread.splitsOf(value);
        known.set(value, splits);
      }
      return splits;
    };
    return { plan: { program, mesh, splitsOf }, spread };
  };
  if (meshSize(mesh) === 1) return planWith([]).plan;
  const axes = chosen.filter((name) => mesh.axes.some((axis) => axis.name === name && axis.size > 1));
  return planWith(chooseSplits(program, mesh, axes, planWith, hardware)).plan;
}

/** Closed dimensions of statements, and splits in their order. */
function propagate(
  mesh: Mesh,
  ties: Ties,
  statements: readonly Statement[],
  candidates: readonly Candidate[],
): Propagation {
  const closed = new Map(
    statements.map(({ value, sharding }) => [
      value,
      new Set(sharding.dims.flatMap(({ open }, d) => (open ? [] : [d]))),
    ]),
  );
  const spread = new Propagation(ties, closed);
  const stated = statements.flatMap(({ value, sharding }) =>
    sharding.dims.flatMap(({ axes, extents, priority = 0 }, dim) =>
      axes.length === 0 || sizeAlong(mesh, axes) === 1
        ? []
        : [{ value, dim, priority, share: new Share(mesh, axes, extents) }],
    ),
  );
  for (const priority of [...new Set(stated.map((each) => each.priority))].sort((a, b) => a - b)) {
    for (const seed of stated) if (seed.priority === priority) spread.seed(seed);
    spread.spread();
  }
  for (const { value, dim, axis } of candidates) {
    if (spread.seed({ value, dim, share: new Share(mesh, [axis]) })) spread.spread();
  }
  return spread;
}

/** Of parameters, results and constraints. */
function statementsOf(program: Program, mesh: Mesh): readonly Statement[] {
  const statements: Statement[] = [];
  program.parameters.forEach(({ sharding }, i) => {
    if (sharding !== undefined) statements.push({ value: program.main.parameters[i], sharding });
  });
  for (const func of splitFunctions(program)) {
    for (const op of opsOf(func)) {
      if (isCollective(op)) {
        throw new IngotError('InvalidProgram', `a program with ${op.name} in it is one rank's already`, {
          op: op.name,
        });
      }
      const sharding = constraintOf(op, mesh);
      if (sharding !== undefined) statements.push({ value: op.results[0], sharding });
    }
  }
  program.results.forEach(({ sharding }, i) => {
    const value = program.main.results[i];
    if (sharding !== undefined && !statements.some((other) => other.value === value))
      statements.push({ value, sharding });
  });
  return statements;
}

function constraintOf(op: Op, mesh: Mesh): Sharding | undefined {
  if (op.name !== 'custom_call' || !isConstraint(op)) return undefined;
  const { sharding, [tilesAttribute]: tiles, backend_config: config } = op.attributes.extra;
  if (typeof sharding === 'string') return parseSharding(sharding);
  if (typeof tiles !== 'string') return undefined;
  const stated = shardingOfTiles(tiles, mesh, asTensor(op.results[0].type).shape.length);
  const free = /unspecified_dims=\[([\d,]+)\]/.exec(String(config))?.[1].split(',') ?? [];
  return { ...stated, dims: stated.dims.map((dim, d) => ({ ...dim, open: free.includes(String(d)) })) };
}

/**
 * Each split alone first: those that save most for what they make ranks send. Then one after another, as long as the program
 * gets cheaper.
 */
function chooseSplits(
  program: Program,
  mesh: Mesh,
  axes: readonly string[],
  planWith: (candidates: readonly Candidate[]) => { plan: Plan; spread: Propagation },
  hardware: Hardware,
): readonly Candidate[] {
  const made = new LocalFunctions(program, new Place(mesh, 0));
  const cost = (plan: Plan) => rankSeconds(rankCost(localProgram(plan, 0, made).program), hardware);
  const whole = cost(planWith([]).plan);
  let chosen: readonly Candidate[] = [];
  for (const axis of axes) {
    const before = chosen;
    const alone = candidatesOf(program, mesh, axis, (each) => planWith([...before, each]).spread);
    const rated = alone
      .map((each) => {
        const { computing, communicating } = cost(planWith([...before, each]).plan);
        const saved = whole.computing - computing;
        return { each, saved, rate: saved / Math.max(communicating - whole.communicating, Number.MIN_VALUE) };
      })
      .filter(({ saved }) => saved > 0)
      .toSorted((a, b) => b.rate - a.rate || b.saved - a.saved);
    const total = (candidates: readonly Candidate[]) => {
      const { computing, communicating } = cost(planWith(candidates).plan);
      return computing + communicating;
    };
    let best = total(chosen);
    for (const { each } of rated) {
      const next = total([...chosen, each]);
      if (next >= best) continue;
      best = next;
      chosen = [...chosen, each];
    }
  }
  return chosen;
}

/** Dimensions of weights and states, of all that split each other one: the first of the largest. */
function candidatesOf(
  program: Program,
  mesh: Mesh,
  axis: string,
  spreadOf: (candidate: Candidate) => Propagation,
): readonly Candidate[] {
  const ranks = sizeAlong(mesh, [axis]);
  const kept = program.parameters.some(({ role }) => role === 'weight');
  const values = program.main.parameters
    .filter((_, i) => !kept || program.parameters[i].role !== 'input')
    .toSorted((a, b) => maxBytes(asTensor(b.type)) - maxBytes(asTensor(a.type)));
  const seen: Propagation[] = [];
  const candidates: Candidate[] = [];
  for (const value of values) {
    asTensor(value.type).shape.forEach((size, dim) => {
      if (typeof size !== 'number' || size < ranks || seen.some((spread) => spread.has(value, dim))) return;
      const candidate = { value, dim, axis };
      const spread = spreadOf(candidate);
      if (!spread.has(value, dim)) return;
      seen.push(spread);
      candidates.push(candidate);
    });
  }
  return candidates;
}
