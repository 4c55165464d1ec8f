/** Ops that combine elements: products, reductions, windows, scatters and sorts. */
import type { OpName } from '../attributes.ts';
import { type Dim, sameDim, sameShape, type TensorType, tensor } from '../types.ts';
import {
  check,
  declaredTensor,
  formatTypes,
  isScalarOf,
  type OpFamily,
  type OpRow,
  type OpSite,
  operandCount,
  regionCount,
  scalarRegion,
  tensorOperands,
} from './row.ts';
import { checkDims } from './shape.ts';

const dotGeneral: OpRow<'dot_general'> = {
  infer(site) {
    operandCount(site, 2);
    const [lhs, rhs] = tensorOperands(site);
    const {
      lhs_batching_dimensions: lhsBatch,
      rhs_batching_dimensions: rhsBatch,
      lhs_contracting_dimensions: lhsContract,
      rhs_contracting_dimensions: rhsContract,
    } = site.attributes;
    checkDims(site, [...lhsBatch, ...lhsContract], lhs.shape.length, 'lhs dimensions');
    checkDims(site, [...rhsBatch, ...rhsContract], rhs.shape.length, 'rhs dimensions');
    const agree = (a: readonly number[], b: readonly number[]) =>
      a.length === b.length && a.every((dim, i) => sameDim(lhs.shape[dim], rhs.shape[b[i]]));
    check(site, agree(lhsBatch, rhsBatch), () => `batch dimensions differ: ${formatTypes([lhs, rhs])}`);
    check(site, agree(lhsContract, rhsContract), () => `contracted dimensions differ: ${formatTypes([lhs, rhs])}`);
    const free = (type: TensorType, batch: readonly number[], contract: readonly number[]) =>
      type.shape.filter((_, i) => !batch.includes(i) && !contract.includes(i));
    const shape = [
      ...lhsBatch.map((dim) => lhs.shape[dim]),
      ...free(lhs, lhsBatch, lhsContract),
      ...free(rhs, rhsBatch, rhsContract),
    ];
    // The element type of the result may be wider than that of the operands; it is the writer's to say.
    const element = site.declared === undefined ? lhs.element : declaredTensor(site).element;
    return [tensor(element, shape)];
  },
};

/** Inputs and as many initial values; both halves. */
function inputsAndInits<N extends OpName>(site: OpSite<N>): { inputs: readonly TensorType[]; count: number } {
  const types = tensorOperands(site);
  const count = types.length / 2;
  check(site, count >= 1 && Number.isInteger(count), () => 'needs as many initial values as inputs');
  const inputs = types.slice(0, count);
  for (const input of inputs) {
    check(site, sameShape(input.shape, inputs[0].shape), () => `inputs differ in shape: ${formatTypes(inputs)}`);
  }
  for (const init of types.slice(count)) {
    check(site, init.shape.length === 0, () => 'initial values must be scalars');
  }
  return { inputs, count };
}

const reduce: OpRow<'reduce'> = {
  infer(site) {
    regionCount(site, 1);
    const { inputs, count } = inputsAndInits(site);
    checkDims(site, site.attributes.dimensions, inputs[0].shape.length, 'dimensions');
    const shape = inputs[0].shape.filter((_, i) => !site.attributes.dimensions.includes(i));
    const returned = scalarRegion(site, site.regions[0], 2 * count);
    check(site, returned.length === count, () => 'its region returns a wrong number of values');
    return returned.map(({ element }) => tensor(element, shape));
  },
};

/** Extent of one dimension after a window has moved over it. */
function windowExtent(
  extent: number,
  base: number,
  [low, high]: readonly [number, number],
  size: number,
  dilation: number,
  stride: number,
): number {
  const padded = low + (extent === 0 ? 0 : (extent - 1) * base + 1) + high;
  const window = size === 0 ? 0 : (size - 1) * dilation + 1;
  return padded === 0 || window > padded ? 0 : Math.floor((padded - window) / stride) + 1;
}

const reduceWindow: OpRow<'reduce_window'> = {
  infer(site) {
    regionCount(site, 1);
    const { inputs, count } = inputsAndInits(site);
    const a = site.attributes;
    const rank = inputs[0].shape.length;
    for (const list of [a.window_dimensions, a.window_strides, a.base_dilations, a.window_dilations]) {
      check(site, list.length === rank && list.every((n) => n > 0), () => `windows need ${rank} positive entries`);
    }
    check(site, a.padding.length === rank, () => `padding needs ${rank} entries`);
    const shape = inputs[0].shape.map((dim, i): Dim => {
      const [low, high] = a.padding[i];
      if (typeof dim !== 'number') {
        check(
          site,
          a.window_dimensions[i] === 1 && a.window_strides[i] === 1 && a.base_dilations[i] === 1 && low + high === 0,
          () => `a window moves over symbolic dimension ${i}`,
        );
        return dim;
      }
      return windowExtent(
        dim,
        a.base_dilations[i],
        [low, high],
        a.window_dimensions[i],
        a.window_dilations[i],
        a.window_strides[i],
      );
    });
    const returned = scalarRegion(site, site.regions[0], 2 * count);
    check(site, returned.length === count, () => 'its region returns a wrong number of values');
    return returned.map(({ element }) => tensor(element, shape));
  },
};

const selectAndScatter: OpRow<'select_and_scatter'> = {
  infer(site) {
    operandCount(site, 3);
    regionCount(site, 2);
    const [operand, source, init] = tensorOperands(site);
    check(site, init.shape.length === 0, () => 'the initial value must be a scalar');
    check(site, source.element === operand.element, () => `element types differ: ${formatTypes([operand, source])}`);
    const [selected] = scalarRegion(site, site.regions[0], 2);
    check(site, selected !== undefined && isScalarOf(selected, 'i1'), () => 'its first region must return one i1');
    const [scattered] = scalarRegion(site, site.regions[1], 2);
    check(site, scattered !== undefined, () => 'its second region returns nothing');
    return [tensor(scattered.element, operand.shape)];
  },
};

const map: OpRow<'map'> = {
  infer(site) {
    regionCount(site, 1);
    const inputs = tensorOperands(site);
    check(site, inputs.length > 0, () => 'needs inputs');
    for (const input of inputs) {
      check(site, sameShape(input.shape, inputs[0].shape), () => `inputs differ in shape: ${formatTypes(inputs)}`);
    }
    const [returned] = scalarRegion(site, site.regions[0], inputs.length);
    check(site, returned !== undefined, () => 'its region returns nothing');
    return [tensor(returned.element, inputs[0].shape)];
  },
};

const scatter: OpRow<'scatter'> = {
  infer(site) {
    regionCount(site, 1);
    const types = tensorOperands(site);
    const count = (types.length - 1) / 2;
    check(site, count >= 1 && Number.isInteger(count), () => 'needs inputs, indices and as many updates');
    const inputs = types.slice(0, count);
    const indices = types[count];
    const updates = types.slice(count + 1);
    const a = site.attributes;
    const rank = inputs[0].shape.length;
    checkDims(site, a.inserted_window_dims, rank, 'inserted_window_dims');
    checkDims(site, a.input_batching_dims, rank, 'input_batching_dims');
    checkDims(site, a.scatter_dims_to_operand_dims, rank, 'scatter_dims_to_operand_dims');
    checkDims(site, a.update_window_dims, updates[0].shape.length, 'update_window_dims');
    check(
      site,
      a.update_window_dims.length === rank - a.inserted_window_dims.length - a.input_batching_dims.length,
      () => 'update_window_dims do not fit the input',
    );
    check(
      site,
      a.index_vector_dim >= 0 && a.index_vector_dim <= indices.shape.length,
      () => 'index_vector_dim is out of range',
    );
    const vector = a.index_vector_dim === indices.shape.length ? 1 : indices.shape[a.index_vector_dim];
    check(
      site,
      vector === a.scatter_dims_to_operand_dims.length,
      () => 'scatter_dims_to_operand_dims do not fit the index vectors',
    );
    const batch = indices.shape.filter((_, i) => i !== a.index_vector_dim);
    const updateBatch = updates[0].shape.filter((_, i) => !a.update_window_dims.includes(i));
    check(site, sameShape(batch, updateBatch), () => `indices and updates differ: ${formatTypes(types.slice(count))}`);
    for (const type of inputs) check(site, sameShape(type.shape, inputs[0].shape), () => 'inputs differ in shape');
    for (const type of updates) check(site, sameShape(type.shape, updates[0].shape), () => 'updates differ in shape');
    const returned = scalarRegion(site, site.regions[0], 2 * count);
    check(site, returned.length === count, () => 'its region returns a wrong number of values');
    return returned.map(({ element }, i) => tensor(element, inputs[i].shape));
  },
};

const sort: OpRow<'sort'> = {
  infer(site) {
    regionCount(site, 1);
    const inputs = tensorOperands(site);
    check(site, inputs.length > 0, () => 'needs inputs');
    for (const input of inputs) {
      check(site, sameShape(input.shape, inputs[0].shape), () => `inputs differ in shape: ${formatTypes(inputs)}`);
    }
    const rank = inputs[0].shape.length;
    const { dimension } = site.attributes;
    check(site, dimension >= -rank && dimension < Math.max(rank, 1), () => `dimension ${dimension} is out of range`);
    const [less] = scalarRegion(site, site.regions[0], 2 * inputs.length);
    check(site, less !== undefined && isScalarOf(less, 'i1'), () => 'its region must return one i1');
    return inputs;
  },
};

export const reduction = {
  dot_general: dotGeneral,
  map,
  reduce,
  reduce_window: reduceWindow,
  scatter,
  select_and_scatter: selectAndScatter,
  sort,
} satisfies OpFamily<'dot_general' | 'map' | 'reduce' | 'reduce_window' | 'scatter' | 'select_and_scatter' | 'sort'>;
