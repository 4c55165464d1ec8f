/**
 * Ops by which the processes of a grid exchange data (https://openxla.org/stablehlo/spec), and the tokens that order them.
 * Which processes belong together is for `ir/process-groups.ts`; what depends on how many they are is taken from the
 * stated result types.
 */
import type { OpName } from '../attributes.ts';
import { sameDim, sameType, type TensorType, type Type, tensor } from '../types.ts';
import {
  check,
  declaredTypes,
  formatTypes,
  isScalarOf,
  type OpFamily,
  type OpRow,
  type OpSite,
  operandCount,
  regionCount,
  scalarRegion,
  tensorOperand,
  tensorOperands,
} from './row.ts';

type Grouped = 'all_gather' | 'all_reduce' | 'all_to_all' | 'collective_broadcast' | 'reduce_scatter';

const token: Type = { kind: 'token' };

/** Every process in one group at most. */
function checkGroups(site: OpSite<Grouped>): void {
  const { replica_groups: groups, channel_id: channel } = site.attributes;
  const ids = groups.flat();
  check(
    site,
    ids.every((id) => Number.isInteger(id) && id >= 0),
    () => `replica_groups name process ${ids.find((id) => !(id >= 0))}`,
  );
  check(site, new Set(ids).size === ids.length, () => 'replica_groups name a process twice');
  check(
    site,
    groups.every((group) => group.length > 0),
    () => 'a group of replica_groups is empty',
  );
  const flat = 'use_global_device_ids' in site.attributes && site.attributes.use_global_device_ids;
  check(site, !flat || channel > 0, () => 'use_global_device_ids needs a channel');
  check(site, !flat || ids.length > 0, () => 'use_global_device_ids needs replica_groups');
}

/** The tensors that a variadic collective stands for, each for itself. */
function inputsOf(site: OpSite<Grouped>): readonly TensorType[] {
  checkGroups(site);
  const inputs = tensorOperands(site);
  check(site, inputs.length > 0, () => 'needs an operand');
  return inputs;
}

function extent(site: OpSite<OpName>, type: TensorType, dim: number, what: string): number {
  const size = type.shape.at(dim);
  check(site, dim >= 0 && size !== undefined, () => `${what} ${dim} is no dimension of ${formatTypes([type])}`);
  check(site, typeof size === 'number', () => `${what} ${dim} is symbolic`);
  return size;
}

/** The stated results, one an input: the same but for the extent of `dim`, of which `fits` says whether it can be. */
function resized(
  site: OpSite<'all_gather' | 'reduce_scatter'>,
  inputs: readonly TensorType[],
  dim: number,
  what: string,
  fits: (from: number, to: number) => boolean,
): readonly TensorType[] {
  const results = declaredTypes(site);
  check(site, results.length === inputs.length, () => `gives ${results.length} results for ${inputs.length} operands`);
  return inputs.map((input, i) => {
    const result = results[i];
    check(site, result.kind === 'tensor', () => `result ${i} is no tensor`);
    const from = extent(site, input, dim, what);
    const others = input.shape.every((size, d) => d === dim || sameDim(size, result.shape[d]));
    check(
      site,
      result.shape.length === input.shape.length && others && fits(from, extent(site, result, dim, what)),
      () => `makes ${formatTypes([result])} of ${formatTypes([input])}`,
    );
    return tensor(input.element, result.shape);
  });
}

/** The region combines two elements of the operands' type into one. */
function checkCombines(site: OpSite<'all_reduce' | 'reduce_scatter'>): void {
  regionCount(site, 1);
  const [region] = site.regions;
  const scalars = [...region.parameters.map(({ type }) => type), ...scalarRegion(site, region, 2)];
  for (const { element } of tensorOperands(site)) {
    check(
      site,
      scalars.length === 3 && scalars.every((type) => isScalarOf(type, element)),
      () => `its region is one of ${formatTypes(scalars)}, not of ${element}`,
    );
  }
}

/** Whether `whole` is a multiple of `part`; of nothing only nothing is. */
const isMultiple = (part: number, whole: number) => (part === 0 ? whole === 0 : whole % part === 0);

const allReduce: OpRow<'all_reduce'> = {
  infer(site) {
    checkCombines(site);
    return inputsOf(site);
  },
};

const allGather: OpRow<'all_gather'> = {
  infer(site) {
    regionCount(site, 0);
    return resized(site, inputsOf(site), site.attributes.all_gather_dim, 'all_gather_dim', isMultiple);
  },
};

const reduceScatter: OpRow<'reduce_scatter'> = {
  infer(site) {
    checkCombines(site);
    operandCount(site, 1);
    const { scatter_dimension: dim } = site.attributes;
    return resized(site, inputsOf(site), dim, 'scatter_dimension', (from, to) => isMultiple(to, from));
  },
};

const allToAll: OpRow<'all_to_all'> = {
  infer(site) {
    regionCount(site, 0);
    const { split_dimension: split, concat_dimension: concat, split_count: count, replica_groups } = site.attributes;
    check(site, Number.isInteger(count) && count > 0, () => `split_count is ${count}`);
    check(
      site,
      replica_groups.every(({ length }) => length === count),
      () => `groups have other sizes than split_count, ${count}`,
    );
    return inputsOf(site).map((input) => {
      const whole = extent(site, input, split, 'split_dimension');
      const joined = extent(site, input, concat, 'concat_dimension');
      check(site, whole % count === 0, () => `dimension ${split} of ${formatTypes([input])} is not ${count} parts`);
      if (split === concat) return input;
      const shape = input.shape.map((size, d) => {
        if (d === split) return whole / count;
        return d === concat ? joined * count : size;
      });
      return tensor(input.element, shape);
    });
  },
};

const collectiveBroadcast: OpRow<'collective_broadcast'> = {
  infer(site) {
    regionCount(site, 0);
    const operands = inputsOf(site);
    if (!site.attributes.has_dynamic_root) return operands;
    const root = operands[operands.length - 1];
    const inputs = operands.slice(0, -1);
    check(
      site,
      inputs.length > 0 && sameType(root, tensor('i32', [inputs.length])),
      () => `its roots are ${formatTypes([root])} for ${inputs.length} operands`,
    );
    return inputs;
  },
};

/** Of pairs of processes, none sends or receives twice. */
function checkPairs(site: OpSite<OpName>, pairs: readonly (readonly [number, number])[]): void {
  for (const side of [0, 1] as const) {
    const ids = pairs.map((pair) => pair[side]);
    check(
      site,
      ids.every((id) => Number.isInteger(id) && id >= 0) && new Set(ids).size === ids.length,
      () => `source_target_pairs name a ${side === 0 ? 'source' : 'target'} twice, or none`,
    );
  }
}

const collectivePermute: OpRow<'collective_permute'> = {
  infer(site) {
    operandCount(site, 1);
    regionCount(site, 0);
    checkPairs(site, site.attributes.source_target_pairs);
    return [tensorOperand(site, 0)];
  },
};

function checkToken(site: OpSite<'recv' | 'send' | 'after_all'>, index: number): void {
  check(site, site.operands.at(index)?.type.kind === 'token', () => `operand ${index} is no token`);
}

const send: OpRow<'send'> = {
  infer(site) {
    check(site, site.operands.length > 0, () => 'needs a token');
    checkPairs(site, site.attributes.source_target_pairs);
    checkToken(site, site.operands.length - 1);
    for (let i = 0; i < site.operands.length - 1; i++) tensorOperand(site, i);
    return [token];
  },
};

const recv: OpRow<'recv'> = {
  infer(site) {
    operandCount(site, 1);
    checkPairs(site, site.attributes.source_target_pairs);
    checkToken(site, 0);
    const results = declaredTypes(site);
    check(
      site,
      results.at(-1)?.kind === 'token' && results.slice(0, -1).every(({ kind }) => kind === 'tensor'),
      () => `gives ${formatTypes(results)}, not tensors and a token`,
    );
    return results;
  },
};

const afterAll: OpRow<'after_all'> = {
  infer(site) {
    site.operands.forEach((_, i) => {
      checkToken(site, i);
    });
    return [token];
  },
};

const id: OpRow<'partition_id' | 'replica_id'> = {
  infer(site) {
    operandCount(site, 0);
    return [tensor('ui32')];
  },
};

export const collective = {
  after_all: afterAll,
  all_gather: allGather,
  all_reduce: allReduce,
  all_to_all: allToAll,
  collective_broadcast: collectiveBroadcast,
  collective_permute: collectivePermute,
  partition_id: id,
  recv,
  reduce_scatter: reduceScatter,
  replica_id: id,
  send,
} satisfies OpFamily<Grouped | 'after_all' | 'collective_permute' | 'partition_id' | 'recv' | 'replica_id' | 'send'>;
