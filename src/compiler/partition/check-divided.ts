/** Refuses meshes on which ranks would have nothing for themselves: each would hold and compute all of a program. */
import { IngotError } from '../../base/errors.ts';
import { formatMesh, type Mesh } from '../../ir/mesh.ts';
import { asTensor, maxDim } from '../../ir/types.ts';
import type { Plan } from './partition.ts';
import { planOf } from './plan.ts';

/** The axis along which splits are chosen. */
const axis = 'tensor';

/** @throws IngotError 'Usage' where nothing lies in parts along 'tensor', naming the nearest smaller size with which something does. */
export function checkDivided(plan: Plan): void {
  const { program, mesh } = plan;
  const size = mesh.axes.find(({ name }) => name === axis)?.size ?? 1;
  if (size === 1 || isDivided(plan)) return;
  const extents = program.main.parameters.flatMap(({ type }) => asTensor(type).shape.map(maxDim));
  const tooMany = Math.min(size, 1 + Math.max(...extents));
  const largest = mostRanks(tooMany, (ranks) => isDivided(planOf(program, withSize(mesh, ranks))));
  const hint =
    largest === 1
      ? 'it runs on one rank alone'
      : `--mesh ${formatMesh(withSize(mesh, largest))} is the nearest that fits`;
  throw new IngotError('Usage', `nothing of the model is worth dividing among ${size} ranks along '${axis}'`, { hint });
}

function isDivided({ program, splitsOf }: Plan): boolean {
  return program.main.parameters.some((value) => splitsOf(value).some((split) => split?.axes.includes(axis)));
}

/** By halving: what is enough for some ranks is enough for fewer. */
function mostRanks(limit: number, fits: (ranks: number) => boolean): number {
  let [most, tooMany] = [1, limit];
  while (tooMany - most > 1) {
    const ranks = Math.floor((most + tooMany) / 2);
    if (fits(ranks)) most = ranks;
    else tooMany = ranks;
  }
  return most;
}

function withSize({ axes }: Mesh, size: number): Mesh {
  return { axes: axes.map((each) => (each.name === axis ? { name: axis, size } : each)) };
}
