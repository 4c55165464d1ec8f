/**
 * A program: StableHLO operations in SSA form, immutable once built. Passes make new programs (`rewrite.ts`).
 */
import type { ByteSource } from '../base/bytes.ts';
import type { OpAttributes, OpName } from './attributes.ts';
import type { Mesh } from './mesh.ts';
import type { Sharding } from './sharding.ts';
import type { TensorType, Type } from './types.ts';

/** SSA value: result `index` of an op, or parameter `index` of a region. Compared by identity. */
export interface Value {
  readonly type: Type;
  readonly owner: Op | Region;
  readonly index: number;
}

/** Attributes are StableHLO's, named as its specification names them; `attributes.ts` types them per op. */
export type Op = { [N in OpName]: OpOf<N> }[OpName];
export interface OpOf<N extends OpName> {
  readonly kind: 'op';
  /** StableHLO's own name without the dialect: 'dot_general', 'composite', 'call' ... */
  readonly name: N;
  readonly operands: readonly Value[];
  readonly attributes: OpAttributes[N];
  readonly regions: readonly Region[];
  readonly results: readonly Value[];
  /** Where it came from: line of imported text, or the model part that built it. For messages only. */
  readonly location?: string;
}

/** A block: parameters, ops in order of execution, and the values it returns. */
export interface Region {
  readonly kind: 'region';
  readonly parameters: readonly Value[];
  readonly body: readonly Op[];
  readonly results: readonly Value[];
}

export interface Func extends Region {
  readonly name: string;
}

/**
 * Constant data in memory layout (little endian; a whole byte for i1 and sub-byte types). `splat`: `data` holds one
 * element that fills the tensor. Above 64 KiB a program holds a `ByteSource`, read when first needed.
 */
export interface Literal {
  readonly type: TensorType;
  readonly data: Uint8Array | ByteSource;
  readonly splat: boolean;
}

/**
 * `input`: written before each submit. `weight`: bound once, read only, may be packed. `state`: bound once, updated in
 * place, never copied (KV pools, last sampled ids, token counts).
 */
export interface Parameter {
  readonly name: string;
  readonly type: TensorType;
  readonly role: 'input' | 'weight' | 'state';
  /** Weights: the block format in which the file stores it ('q8_0' ...); `type` is the logical shape with element f32. */
  readonly format?: string;
  /** How it lies on the program's mesh. */
  readonly sharding?: Sharding;
}

/** Functions in SSA form, immutable: what a device compiles. */
export interface Program {
  readonly main: Func;
  /** One function per distinct layer; `call` instantiates it. Decompositions of composites live here too. */
  readonly functions: ReadonlyMap<string, Func>;
  /** Of `main`, in its order. */
  readonly parameters: readonly Parameter[];
  /** Of `main`, in its order. */
  readonly results: readonly { readonly name: string; readonly type: Type; readonly sharding?: Sharding }[];
  /** Result i MUST be state parameter p's memory. Planning that cannot honour this throws 'StateWouldCopy'. */
  readonly aliases: readonly { readonly result: number; readonly parameter: number }[];
  /** The grid that it is one process of (`process-groups.ts`); what its collectives name if absent. */
  readonly processes?: { readonly replicas: number; readonly partitions: number };
  /** What its shardings speak of. */
  readonly mesh?: Mesh;
}

/** A pass is a pure function; the verifier runs on its result in tests. */
export type Pass = (program: Program) => Program;

/** The function that a call or a composite's decomposition names; undefined if the program has none of that name. */
export function findFunction(program: Program, name: string): Func | undefined {
  return program.main.name === name ? program.main : program.functions.get(name);
}
