/** Ops that make or move elements and compute none. */
import { elementBytes } from '../../numerics/element-types.ts';
import type { OpName } from '../attributes.ts';
import { type Dim, maxElements, sameDim, sameShape, type TensorType, tensor } from '../types.ts';
import {
  check,
  checkClass,
  declaredTensor,
  formatTypes,
  type OpFamily,
  type OpRow,
  type OpSite,
  operandCount,
  tensorOperand,
  tensorOperands,
} from './row.ts';

/** Distinct dimensions of a tensor of this rank. */
export function checkDims<N extends OpName>(
  site: OpSite<N>,
  dims: readonly number[],
  rank: number,
  what: string,
): void {
  check(
    site,
    new Set(dims).size === dims.length && dims.every((d) => Number.isInteger(d) && d >= 0 && d < rank),
    () => `${what} [${dims}] are not distinct dimensions of a tensor of rank ${rank}`,
  );
}

const constant: OpRow<'constant'> = {
  infer(site) {
    operandCount(site, 0);
    const { type, data, splat } = site.attributes.value;
    const bytes = elementBytes(type.element) * (splat ? 1 : maxElements(type));
    check(site, data.length === bytes, () => `has ${data.length} bytes of data where its type needs ${bytes}`);
    check(
      site,
      splat || type.shape.every((dim) => typeof dim === 'number'),
      () => 'with a symbolic dimension must be a splat',
    );
    return [type];
  },
};

const iota: OpRow<'iota'> = {
  infer(site) {
    operandCount(site, 0);
    const type = declaredTensor(site);
    checkClass(site, type.element, 'FSUC');
    const dim = type.shape.at(site.attributes.iota_dimension);
    check(site, site.attributes.iota_dimension >= 0 && dim !== undefined, () => 'iota_dimension is out of range');
    check(site, typeof dim === 'number', () => 'cannot count along a symbolic dimension: positions are inputs');
    return [type];
  },
};

const reshape: OpRow<'reshape'> = {
  infer(site) {
    operandCount(site, 1);
    const from = tensorOperand(site, 0);
    const to = declaredTensor(site);
    const symbolic = (type: TensorType) => type.shape.filter((dim) => typeof dim !== 'number');
    check(
      site,
      from.element === to.element && maxElements(from) === maxElements(to) && sameShape(symbolic(from), symbolic(to)),
      () => `changes the number of elements: ${formatTypes([from, to])}`,
    );
    return [to];
  },
};

const transpose: OpRow<'transpose'> = {
  infer(site) {
    operandCount(site, 1);
    const type = tensorOperand(site, 0);
    const { permutation } = site.attributes;
    check(site, permutation.length === type.shape.length, () => 'permutation and rank differ');
    checkDims(site, permutation, type.shape.length, 'permutation');
    return [
      tensor(
        type.element,
        permutation.map((d) => type.shape[d]),
      ),
    ];
  },
};

const broadcastInDim: OpRow<'broadcast_in_dim'> = {
  infer(site) {
    operandCount(site, 1);
    const from = tensorOperand(site, 0);
    const to = declaredTensor(site);
    const dims = site.attributes.broadcast_dimensions;
    check(site, dims.length === from.shape.length, () => 'broadcast_dimensions and operand rank differ');
    checkDims(site, dims, to.shape.length, 'broadcast_dimensions');
    check(
      site,
      from.element === to.element && from.shape.every((dim, i) => dim === 1 || sameDim(dim, to.shape[dims[i]])),
      () => `operand does not broadcast: ${formatTypes([from, to])} along [${dims}]`,
    );
    return [to];
  },
};

const slice: OpRow<'slice'> = {
  infer(site) {
    operandCount(site, 1);
    const type = tensorOperand(site, 0);
    const { start_indices: starts, limit_indices: limits, strides } = site.attributes;
    const rank = type.shape.length;
    check(
      site,
      starts.length === rank && limits.length === rank && strides.length === rank,
      () => `start_indices, limit_indices and strides must have ${rank} entries`,
    );
    const shape = type.shape.map((dim, i): Dim => {
      const limit = limits[i];
      if (typeof dim !== 'number' || typeof limit !== 'number') {
        check(
          site,
          sameDim(dim, limit) && starts[i] === 0 && strides[i] === 1,
          () => `symbolic dimension ${i} must be taken whole`,
        );
        return dim;
      }
      check(
        site,
        starts[i] >= 0 && starts[i] <= limit && limit <= dim && strides[i] > 0,
        () => `range ${starts[i]}:${limit}:${strides[i]} does not fit dimension ${i} of extent ${dim}`,
      );
      return Math.ceil((limit - starts[i]) / strides[i]);
    });
    return [tensor(type.element, shape)];
  },
};

function checkStartIndices<N extends OpName>(site: OpSite<N>, starts: readonly TensorType[], rank: number): void {
  check(site, starts.length === rank, () => `needs ${rank} start indices, has ${starts.length}`);
  for (const start of starts) {
    check(site, start.shape.length === 0, () => 'start indices must be scalars');
    checkClass(site, start.element, 'SU');
  }
}

const dynamicSlice: OpRow<'dynamic_slice'> = {
  infer(site) {
    const [type, ...starts] = tensorOperands(site);
    check(site, type !== undefined, () => 'needs an operand');
    checkStartIndices(site, starts, type.shape.length);
    const sizes = site.attributes.slice_sizes;
    check(
      site,
      sizes.length === type.shape.length && sizes.every((size, i) => fits(size, type.shape[i])),
      () => `slice_sizes do not fit ${formatTypes([type])}`,
    );
    return [tensor(type.element, sizes)];
  },
};

/** Of a symbolic dimension the whole, or one element (a row); of a number any part. */
function fits(size: Dim, dim: Dim): boolean {
  if (typeof size !== 'number' || typeof dim !== 'number') return size === 1 || sameDim(size, dim);
  return size >= 0 && size <= dim;
}

const dynamicUpdateSlice: OpRow<'dynamic_update_slice'> = {
  infer(site) {
    const [type, update, ...starts] = tensorOperands(site);
    check(site, update !== undefined, () => 'needs an operand and its update');
    checkStartIndices(site, starts, type.shape.length);
    check(
      site,
      update.element === type.element &&
        update.shape.length === type.shape.length &&
        update.shape.every((size, i) => fits(size, type.shape[i]) || typeof size !== 'number'),
      () => `update does not fit: ${formatTypes([type, update])}`,
    );
    return [type];
  },
};

const pad: OpRow<'pad'> = {
  infer(site) {
    operandCount(site, 2);
    const [type, value] = tensorOperands(site);
    check(site, value.shape.length === 0 && value.element === type.element, () => 'padding value must be one element');
    const { edge_padding_low: low, edge_padding_high: high, interior_padding: interior } = site.attributes;
    const rank = type.shape.length;
    check(
      site,
      low.length === rank && high.length === rank && interior.length === rank && interior.every((n) => n >= 0),
      () => `padding must have ${rank} entries, interior ones not negative`,
    );
    const shape = type.shape.map((dim, i): Dim => {
      if (typeof dim !== 'number') {
        check(site, low[i] === 0 && high[i] === 0 && interior[i] === 0, () => `pads symbolic dimension ${i}`);
        return dim;
      }
      const extent = low[i] + dim + Math.max(dim - 1, 0) * interior[i] + high[i];
      check(site, extent >= 0, () => `dimension ${i} becomes negative`);
      return extent;
    });
    return [tensor(type.element, shape)];
  },
};

const concatenate: OpRow<'concatenate'> = {
  infer(site) {
    const types = tensorOperands(site);
    check(site, types.length > 0, () => 'needs operands');
    const { dimension } = site.attributes;
    const [first] = types;
    checkDims(site, [dimension], first.shape.length, 'dimension');
    let extent = 0;
    for (const type of types) {
      const dim = type.shape[dimension];
      check(site, typeof dim === 'number', () => 'joins along a symbolic dimension');
      check(
        site,
        type.element === first.element &&
          type.shape.length === first.shape.length &&
          type.shape.every((d, i) => i === dimension || sameDim(d, first.shape[i])),
        () => `operands do not join along ${dimension}: ${formatTypes([first, type])}`,
      );
      extent += dim;
    }
    return [
      tensor(
        first.element,
        first.shape.map((dim, i) => (i === dimension ? extent : dim)),
      ),
    ];
  },
};

const reverse: OpRow<'reverse'> = {
  infer(site) {
    operandCount(site, 1);
    const type = tensorOperand(site, 0);
    checkDims(site, site.attributes.dimensions, type.shape.length, 'dimensions');
    return [type];
  },
};

const gather: OpRow<'gather'> = {
  infer(site) {
    operandCount(site, 2);
    const [operand, indices] = tensorOperands(site);
    checkClass(site, indices.element, 'SU');
    const a = site.attributes;
    const rank = operand.shape.length;
    checkDims(site, a.collapsed_slice_dims, rank, 'collapsed_slice_dims');
    checkDims(site, a.operand_batching_dims, rank, 'operand_batching_dims');
    checkDims(site, a.start_index_map, rank, 'start_index_map');
    check(
      site,
      a.slice_sizes.length === rank && a.slice_sizes.every((size, i) => fits(size, operand.shape[i])),
      () => `slice_sizes do not fit ${formatTypes([operand])}`,
    );
    check(
      site,
      a.index_vector_dim >= 0 && a.index_vector_dim <= indices.shape.length,
      () => 'index_vector_dim is out of range',
    );
    const vector = a.index_vector_dim === indices.shape.length ? 1 : indices.shape[a.index_vector_dim];
    check(site, vector === a.start_index_map.length, () => 'start_index_map does not fit the index vectors');
    check(
      site,
      a.operand_batching_dims.length === a.start_indices_batching_dims.length,
      () => 'batching dimensions of operand and indices differ in number',
    );
    const batch = indices.shape.filter((_, i) => i !== a.index_vector_dim);
    const offsets = a.slice_sizes.filter(
      (_, i) => !a.collapsed_slice_dims.includes(i) && !a.operand_batching_dims.includes(i),
    );
    for (const i of [...a.collapsed_slice_dims, ...a.operand_batching_dims]) {
      const size = a.slice_sizes[i];
      check(site, typeof size === 'number' && size <= 1, () => `slice size of collapsed dimension ${i} is not 1`);
    }
    check(site, a.offset_dims.length === offsets.length, () => 'offset_dims do not fit the slices');
    const shape: Dim[] = [];
    for (let i = 0, b = 0; i < batch.length + offsets.length; i++) {
      const at = a.offset_dims.indexOf(i);
      shape.push(at >= 0 ? offsets[at] : batch[b++]);
    }
    check(site, !shape.includes(undefined as never), () => 'offset_dims are out of range');
    return [tensor(operand.element, shape)];
  },
};

export const shape = {
  broadcast_in_dim: broadcastInDim,
  concatenate,
  constant,
  dynamic_slice: dynamicSlice,
  dynamic_update_slice: dynamicUpdateSlice,
  gather,
  iota,
  pad,
  reshape,
  reverse,
  slice,
  transpose,
} satisfies OpFamily<
  | 'broadcast_in_dim'
  | 'concatenate'
  | 'constant'
  | 'dynamic_slice'
  | 'dynamic_update_slice'
  | 'gather'
  | 'iota'
  | 'pad'
  | 'reshape'
  | 'reverse'
  | 'slice'
  | 'transpose'
>;
