/**
 * A mesh: ranks in a grid with named axes, as Shardy (https://openxla.org/shardy/sharding_representation) and JAX have it.
 * Ranks are numbered row by row, the last axis fastest.
 */
import { IngotError } from '../base/errors.ts';

export interface MeshAxis {
  readonly name: string;
  readonly size: number;
  /** What each index along it takes of a split, in proportion, where ranks differ in memory; alike if absent. */
  readonly shares?: readonly number[];
}

/** Ingot's own meshes have the axes of `modelAxes`; imported programs bring any name. */
export interface Mesh {
  readonly axes: readonly MeshAxis[];
}

const modelAxes: readonly string[] = ['data', 'pipeline', 'tensor', 'expert', 'sequence'];
/** More ranks than anybody has. */
const maxRanks = 1 << 20;

export function meshSize({ axes }: Mesh): number {
  return axes.reduce((product, { size }) => product * size, 1);
}

/** @throws IngotError 'InvalidProgram' if the mesh has no such axis. */
export function axisNamed({ axes }: Mesh, name: string): MeshAxis {
  const axis = axes.find((each) => each.name === name);
  if (axis !== undefined) return axis;
  throw new IngotError('InvalidProgram', `the mesh has no axis '${name}'`, {
    hint: `its axes are ${axes.map((each) => each.name).join(', ') || 'none'}`,
  });
}

/** Engines that each have the whole model, and a part of the requests. */
export function replicaCount({ axes }: Mesh): number {
  return axes.find(({ name }) => name === 'data')?.size ?? 1;
}

/** @throws IngotError 'Usage' for a mesh with ranks along another axis than those, along which a run divides something. */
export function refuseOtherAxes({ axes }: Mesh, divided: readonly string[]): void {
  const other = axes.find(({ name, size }) => size > 1 && !divided.includes(name));
  if (other === undefined) return;
  const hint = `tensor divides a model among ranks${divided.includes('data') ? ', data the requests' : ''}`;
  throw new IngotError('Usage', `a run has no ranks along '${other.name}'`, { hint });
}

/** Ranks along all of the axes together. */
export function sizeAlong(mesh: Mesh, axes: readonly string[]): number {
  return axes.reduce((product, name) => product * axisNamed(mesh, name).size, 1);
}

/** The rank's place on each axis, by name. */
function coordinates({ axes }: Mesh, rank: number): ReadonlyMap<string, number> {
  const places = new Map<string, number>();
  let rest = rank;
  for (const { name, size } of axes.toReversed()) {
    places.set(name, rest % size);
    rest = Math.floor(rest / size);
  }
  return places;
}

/** The rank's number among those that differ from it along the axes alone, the first axis slowest. */
export function indexAlong(mesh: Mesh, axes: readonly string[], rank: number): number {
  const places = coordinates(mesh, rank);
  return axes.reduce((index, name) => index * axisNamed(mesh, name).size + (places.get(name) ?? 0), 0);
}

type Groups = readonly (readonly number[])[];
const knownGroups = new WeakMap<Mesh, Map<string, Groups>>();

/** The ranks in groups that differ along the axes alone, each in the order of `indexAlong`. */
export function groupsAlong(mesh: Mesh, axes: readonly string[]): Groups {
  const known = knownGroups.get(mesh) ?? new Map<string, Groups>();
  knownGroups.set(mesh, known);
  const groups = known.get(axes.join()) ?? makeGroups(mesh, axes);
  known.set(axes.join(), groups);
  return groups;
}

function makeGroups(mesh: Mesh, axes: readonly string[]): Groups {
  const others = mesh.axes.map(({ name }) => name).filter((name) => !axes.includes(name));
  const groups = Array.from({ length: sizeAlong(mesh, others) }, () => new Array<number>(sizeAlong(mesh, axes)));
  for (let rank = 0; rank < meshSize(mesh); rank++) {
    groups[indexAlong(mesh, others, rank)][indexAlong(mesh, axes, rank)] = rank;
  }
  return groups;
}

/** @throws IngotError 'InvalidProgram' for axes without ranks, names that occur twice, shares that do not fit. */
export function verifyMesh(mesh: Mesh): void {
  const names = new Set<string>();
  for (const { name, size, shares } of mesh.axes) {
    const fail = (message: string): never => {
      throw new IngotError('InvalidProgram', `mesh axis '${name}' ${message}`);
    };
    if (names.has(name)) fail('occurs twice');
    names.add(name);
    if (!Number.isSafeInteger(size) || size < 1) fail(`has ${size} ranks`);
    if (shares === undefined) continue;
    if (shares.length !== size) fail(`has ${size} ranks and ${shares.length} shares`);
    if (!shares.every((share) => Number.isFinite(share) && share > 0)) fail('has a share that is not above 0');
  }
  if (meshSize(mesh) > maxRanks) throw new IngotError('InvalidProgram', `the mesh has more than ${maxRanks} ranks`);
}

/**
 * `tensor=2,data=4`; `tensor=3:1` has two ranks, of which the first takes three parts of four of each split.
 * @throws IngotError 'Usage'.
 */
export function parseMesh(text: string): Mesh {
  const axes = text.split(',').map((part): MeshAxis => {
    const [, name, sizes] = /^([a-z]+)=(\d+(?::\d+)*)$/.exec(part) ?? [];
    if (name === undefined || sizes === undefined || !modelAxes.includes(name)) {
      throw new IngotError('Usage', `'${part}' is no axis of a mesh`, {
        hint: `such as tensor=2, or tensor=3:1 for ranks that take three parts and one; axes are ${modelAxes.join(', ')}`,
      });
    }
    const numbers = sizes.split(':').map(Number);
    return numbers.length === 1 ? { name, size: numbers[0] } : { name, size: numbers.length, shares: numbers };
  });
  const mesh = { axes };
  try {
    verifyMesh(mesh);
  } catch (error) {
    if (error instanceof IngotError) throw new IngotError('Usage', error.message, { cause: error });
    throw error;
  }
  return mesh;
}

export function formatMesh({ axes }: Mesh): string {
  return axes.map(({ name, size, shares }) => `${name}=${shares?.join(':') ?? size}`).join(',');
}
