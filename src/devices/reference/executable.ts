/** A compiled program: its constants, and its specialisations for the dimension values that runs have brought. */
import { literalArray } from '../../ir/literal.ts';
import type { Literal, Program, Value } from '../../ir/program.ts';
import { type DimSymbol, type DimValues, maxElements } from '../../ir/types.ts';
import { reachable, walk } from '../../ir/walk.ts';
import { type HostArray, hostArray } from '../../numerics/host-array.ts';
import type { Executable } from '../device.ts';
import { type Constants, Specialised } from './interpret.ts';
import { Aliases } from './ownership.ts';

/** Specialisations that an executable keeps. */
const keptSpecialisations = 16;

export class ReferenceExecutable implements Executable {
  readonly program: Program;
  readonly scratchBytes: number;
  readonly #aliases: Aliases;
  readonly #constants: Constants;
  readonly #specialised = new Map<string, Specialised>();
  readonly #bounds: ReadonlyMap<DimSymbol, number>;
  disposed = false;

  constructor(program: Program, constants: Constants) {
    this.program = program;
    this.#constants = constants;
    this.#aliases = new Aliases(program);
    this.#bounds = dimBounds(program);
    // Decoding is the run to expect: this also finds what is not supported.
    this.specialise(Object.fromEntries([...this.#bounds].map(([sym, max]) => [sym, Math.min(1, max)])));
    this.scratchBytes = this.#make(Object.fromEntries(this.#bounds)).main.region.peakBytes;
  }

  specialise(dims: DimValues): Specialised {
    const key = [...this.#bounds.keys()].map((sym) => dims[sym]).join();
    const known = this.#specialised.get(key);
    const specialised = known ?? this.#make(dims);
    // The map's order is the order of last use.
    this.#specialised.delete(key);
    this.#specialised.set(key, specialised);
    const [oldest] = this.#specialised.keys();
    if (this.#specialised.size > keptSpecialisations) this.#specialised.delete(oldest);
    return specialised;
  }

  #make(dims: DimValues): Specialised {
    const { parameters, aliases } = this.program;
    const owned = parameters.map(
      ({ role }, i) => role === 'input' || (role === 'state' && aliases.some(({ parameter }) => parameter === i)),
    );
    return new Specialised(this.program, this.#aliases, this.#constants, dims, owned);
  }

  [Symbol.dispose](): void {
    this.disposed = true;
    this.#specialised.clear();
  }
}

/** Upper bounds of the symbolic dimensions that a program has. */
function dimBounds(program: Program): Map<DimSymbol, number> {
  const bounds = new Map<DimSymbol, number>();
  const enter = ({ type }: Value) => {
    if (type.kind !== 'tensor') return;
    for (const dim of type.shape) if (typeof dim !== 'number') bounds.set(dim.sym, dim.max);
  };
  for (const func of reachable(program)) {
    func.parameters.forEach(enter);
    for (const op of walk(func)) op.results.forEach(enter);
  }
  return bounds;
}

/** Decodes all constants; those that lie in files are read now. A splat is spread when its extent is known. */
export async function readConstants(program: Program): Promise<Constants> {
  const constants = new Map<Literal, (count: number) => HostArray>();
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      if (op.name !== 'constant' || constants.has(op.attributes.value)) continue;
      constants.set(op.attributes.value, await constantArray(op.attributes.value));
    }
  }
  return constants;
}

async function constantArray(value: Literal): Promise<(count: number) => HostArray> {
  const { type, data, splat } = value;
  const read: Literal = { type, splat, data: data instanceof Uint8Array ? data : await data.read(0, data.length) };
  if (splat) {
    const one = literalArray(read, 1);
    return (count) => {
      const array = hostArray(type.element, count);
      if (one.length === 1) return array.fill(one[0] as never);
      for (let i = 0; i < array.length; i++) array[i] = one[i % 2];
      return array;
    };
  }
  const array = literalArray(read, maxElements(type));
  return () => array;
}
