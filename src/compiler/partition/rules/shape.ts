/** Rules of ops that make or move elements. */
import type { Builder } from '../../../ir/build.ts';
import { literal, literalArray } from '../../../ir/literal.ts';
import type { shape as rows } from '../../../ir/ops/shape.ts';
import type { Value } from '../../../ir/program.ts';
import type { Factor } from '../../../ir/sharding-rule.ts';
import { asTensor, type Dim, sameDim, staticShape, type TensorType } from '../../../ir/types.ts';
import { numbersPerElement } from '../../../numerics/host-array.ts';
import type { Range } from '../split.ts';
import { dims, operandSplit, type PartitionRow, type PartitionRows, rankOf, resultSplit, shapeOf } from './row.ts';

/** Of one operand and one result. */
const pair = (operand: number | undefined, result: number | undefined): Factor => ({
  operands: [operand],
  results: [result],
});

const linearInFirst = { kind: 'each', operands: [0] } as const;

/** The limits of symbolic dimensions are the dimensions themselves, so only numbers change with the rank. */
function extents(shape: readonly Dim[], chosen: (d: number) => number | undefined): readonly Dim[] {
  return shape.map((dim, d) => chosen(d) ?? dim);
}

const broadcast: PartitionRow<'broadcast_in_dim'> = {
  rule({ operands: [operand], results: [result], attributes: { broadcast_dimensions: to } }) {
    const [from, shape] = [shapeOf(operand), shapeOf(result)];
    const spread = (i: number) => from[i] === 1 && shape[to[i]] !== 1;
    return {
      factors: shape.map((_, d) => {
        const i = to.indexOf(d);
        return pair(i < 0 || spread(i) ? undefined : i, d);
      }),
      linear: linearInFirst,
    };
  },
};

/** Groups of dimensions that have the same elements before and after; their first ones of more than one element. */
function reshapeFactors(from: readonly Dim[], to: readonly Dim[]): Factor[] {
  const factors: Factor[] = [];
  let [i, j] = [0, 0];
  while (i < from.length && j < to.length) {
    if (from[i] === 1) i++;
    else if (to[j] === 1) j++;
    else {
      factors.push(pair(i, j));
      const [a, b] = [from[i++], to[j++]];
      if (typeof a !== 'number' || typeof b !== 'number') continue;
      let [left, right] = [a, b];
      while (left !== right) {
        const next = left < right ? from[i++] : to[j++];
        if (typeof next !== 'number') break;
        if (left < right) left *= next;
        else right *= next;
      }
    }
  }
  return factors;
}

const reshape: PartitionRow<'reshape'> = {
  rule: ({ operands: [operand], results: [result] }) => ({
    factors: reshapeFactors(shapeOf(operand), shapeOf(result)),
    linear: linearInFirst,
  }),
};

const transpose: PartitionRow<'transpose'> = {
  rule: ({ attributes: { permutation } }) => ({
    factors: permutation.map((from, to) => pair(from, to)),
    linear: linearInFirst,
  }),
};

/** Elements that a rank has before `point`. */
function localPoint(ranges: readonly Range[], point: number): number {
  return ranges.reduce((sum, { start, limit }) => sum + Math.max(0, Math.min(limit, point) - start), 0);
}

const slice: PartitionRow<'slice'> = {
  rule({ operands: [operand], attributes: { start_indices: starts, limit_indices: limits, strides } }) {
    const factors = shapeOf(operand).flatMap((dim, d): Factor[] => {
      const limit = limits[d];
      if (strides[d] !== 1) return [];
      if (starts[d] === 0 && sameDim(limit, dim)) return [pair(d, d)];
      return typeof limit === 'number' ? [{ ...pair(d, d), part: { start: starts[d], limit } }] : [];
    });
    return { factors, linear: linearInFirst };
  },
  local({ op, operands, chosen, place, b }) {
    const { start_indices: starts, limit_indices: limits, strides } = op.attributes;
    const point = (d: number, at: Dim): Dim => {
      const split = operandSplit(chosen, 0, d);
      return split === undefined || typeof at !== 'number' ? at : localPoint(place.ranges(split), at);
    };
    return b.op('slice', operands, {
      start_indices: starts.map((at, d) => Number(point(d, at))),
      limit_indices: limits.map((at, d) => point(d, at)),
      strides,
    });
  },
};

const concatenate: PartitionRow<'concatenate'> = {
  rule({ operands, attributes: { dimension } }) {
    return {
      factors: dims(operands[0]).map((d) => ({
        operands: operands.map(() => d),
        results: [d],
        ...(d === dimension && { joined: true }),
      })),
      linear: { kind: 'all', operands: [...operands.keys()] },
    };
  },
};

const constant: PartitionRow<'constant'> = {
  rule: ({ results: [result] }) => ({ factors: dims(result).map((d) => ({ operands: [], results: [d] })) }),
  local({ op, types, chosen, place, b }) {
    const { value } = op.attributes;
    const type = asTensor(types[0]);
    if (value.splat) return [b.literal({ ...value, type })];
    if (!(value.data instanceof Uint8Array)) {
      // It is elsewhere, and is read as a whole.
      const all = b.literal(value);
      return [takeParts(all, (d) => resultRanges(d))];
    }
    function resultRanges(d: number): readonly Range[] | undefined {
      const split = resultSplit(chosen, 0, d);
      return split && place.ranges(split);
    }
    function takeParts(all: Value, ranges: (d: number) => readonly Range[] | undefined): Value {
      return staticShape(asTensor(all.type)).reduce((rest, _, d) => {
        const own = ranges(d);
        return own === undefined
          ? rest
          : b.concatenate(
              own.map(({ start, limit }) => b.slice(rest, d, start, limit)),
              d,
            );
      }, all);
    }
    return [b.literal(literal(type, elementsOf(value.type, literalArray(value, 0), resultRanges)))];
  },
};

/** The elements in the ranges of a tensor's dimensions, row by row. */
function elementsOf(
  type: TensorType,
  all: ArrayLike<number | bigint>,
  ranges: (d: number) => readonly Range[] | undefined,
): ArrayLike<number | bigint> {
  const shape = staticShape(type);
  const width = numbersPerElement(type.element);
  const picked: (number | bigint)[] = [];
  const visit = (d: number, at: number) => {
    if (d === shape.length) {
      for (let i = 0; i < width; i++) picked.push(all[at * width + i]);
      return;
    }
    for (const { start, limit } of ranges(d) ?? [{ start: 0, limit: shape[d] }]) {
      for (let i = start; i < limit; i++) visit(d + 1, at * shape[d] + i);
    }
  };
  visit(0, 0);
  return picked;
}

const iota: PartitionRow<'iota'> = {
  rule: ({ results: [result] }) => ({ factors: dims(result).map((d) => ({ operands: [], results: [d] })) }),
  local({ op, types, chosen, place, b }) {
    const { iota_dimension: d } = op.attributes;
    const type = asTensor(types[0]);
    const split = resultSplit(chosen, 0, d);
    if (split === undefined) return b.op('iota', [], op.attributes, { types: [type] });
    const parts = place.ranges(split).map(({ start, limit }) => {
      const shape = extents(type.shape, (each) => (each === d ? limit - start : undefined));
      const own = b.iota(type.element, shape, d);
      return start === 0 ? own : b.add(own, b.full(type.element, shape, start));
    });
    return [b.concatenate(parts, d)];
  },
};

const pad: PartitionRow<'pad'> = {
  rule({ operands: [operand], attributes: a }) {
    const plain = dims(operand).filter(
      (d) => a.edge_padding_low[d] === 0 && a.edge_padding_high[d] === 0 && a.interior_padding[d] === 0,
    );
    return { factors: plain.map((d) => ({ operands: [d, undefined], results: [d] })) };
  },
};

const reverse: PartitionRow<'reverse'> = {
  rule: ({ operands: [operand], attributes: { dimensions } }) => ({
    factors: dims(operand)
      .filter((d) => !dimensions.includes(d))
      .map((d) => pair(d, d)),
    linear: linearInFirst,
  }),
};

const dynamicSlice: PartitionRow<'dynamic_slice'> = {
  rule: ({ operands, attributes: { slice_sizes: sizes } }) => ({
    factors: shapeOf(operands[0]).flatMap((dim, d): Factor[] =>
      sameDim(dim, sizes[d]) ? [{ operands: [d, ...operands.slice(1).map(() => undefined)], results: [d] }] : [],
    ),
    linear: linearInFirst,
  }),
  local: ({ operands, types: [type], b }) => b.op('dynamic_slice', operands, { slice_sizes: asTensor(type).shape }),
};

const dynamicUpdateSlice: PartitionRow<'dynamic_update_slice'> = {
  rule({ operands }) {
    const [into, update, ...starts] = operands;
    return {
      factors: shapeOf(into).flatMap((dim, d): Factor[] =>
        sameDim(dim, shapeOf(update)[d]) ? [{ operands: [d, d, ...starts.map(() => undefined)], results: [d] }] : [],
      ),
    };
  },
};

const gather: PartitionRow<'gather'> = {
  rule({ operands: [operand, indices], results: [result], attributes: a }) {
    const collapsed = [...a.collapsed_slice_dims, ...a.operand_batching_dims];
    const offsets = dims(operand).filter((d) => !collapsed.includes(d));
    const batchIndices = dims(indices).filter((d) => d !== a.index_vector_dim);
    const batchResults = dims(result).filter((d) => !a.offset_dims.includes(d));
    const factors: Factor[] = [];
    offsets.forEach((d, i) => {
      const isWhole = sameDim(a.slice_sizes[d], shapeOf(operand)[d]);
      if (isWhole && !a.start_index_map.includes(d)) {
        factors.push({ operands: [d, undefined], results: [a.offset_dims[i]] });
      }
    });
    batchIndices.forEach((d, i) => {
      const batching = a.start_indices_batching_dims.indexOf(d);
      const of = batching < 0 ? undefined : a.operand_batching_dims[batching];
      factors.push({ operands: [of, d], results: [batchResults[i]] });
    });
    // Rows by their numbers: each rank takes those that it has.
    for (const d of a.collapsed_slice_dims) {
      if (a.start_index_map.includes(d) && a.slice_sizes[d] === 1) {
        factors.push({ operands: [d, undefined], results: [undefined], fold: 'add', index: 1 });
      }
    }
    return { factors, linear: linearInFirst };
  },
  local({ op, operands: [operand, indices], types, chosen, place, b }) {
    const a = op.attributes;
    const type = asTensor(types[0]);
    const { shape } = asTensor(operand.type);
    const slice_sizes = a.slice_sizes.map((size, d) =>
      operandSplit(chosen, 0, d) === undefined || size === 1 ? size : shape[d],
    );
    const split = chosen.find(({ factor }) => factor.index !== undefined);
    const [rows] = split?.operands ?? [];
    const d = split?.factor.operands[0];
    if (rows === undefined || d === undefined) return b.op('gather', [operand, indices], { ...a, slice_sizes });
    const [range] = place.ranges(rows);
    const vector = a.start_index_map.indexOf(d);
    const all = asTensor(op.operands[0].type).shape[d];
    const { shifted, inside } = shiftIndices(b, indices, range, Number(all), a.index_vector_dim, vector);
    const [taken] = b.op('gather', [operand, shifted], { ...a, slice_sizes });
    const batch = type.shape.flatMap((_, i) => (a.offset_dims.includes(i) ? [] : [i]));
    const zero = b.full(type.element, type.shape, 0);
    return [b.select(b.broadcast(inside, type.shape, batch), taken, zero)];
  },
};

/**
 * Indices of which those at place `vector` count from the rank's first row on, within its rows, and which of them lay there.
 * Those outside of all rows clamp first, as they do in the whole op.
 */
function shiftIndices(
  b: Builder,
  indices: Value,
  { start, limit }: Range,
  all: number,
  vectorDim: number,
  vector: number,
): { shifted: Value; inside: Value } {
  const { element, shape } = asTensor(indices.type);
  const isVector = vectorDim < shape.length;
  const column = isVector ? b.slice(indices, vectorDim, vector, vector + 1) : indices;
  const columnShape = asTensor(column.type).shape;
  const number = (value: number) => b.full(element, columnShape, value);
  const clamped = b.clamp(number(0), column, number(all - 1));
  const inside = b.and(b.compare('GE', clamped, number(start)), b.compare('LT', clamped, number(limit)));
  const own = b.subtract(b.clamp(number(start), clamped, number(limit - 1)), number(start));
  const rows = shape.filter((_, d) => d !== vectorDim);
  if (!isVector) return { shifted: own, inside };
  const count = Number(shape[vectorDim]);
  const columns = [
    ...(vector > 0 ? [b.slice(indices, vectorDim, 0, vector)] : []),
    own,
    ...(vector + 1 < count ? [b.slice(indices, vectorDim, vector + 1, count)] : []),
  ];
  return { shifted: b.concatenate(columns, vectorDim), inside: b.reshape(inside, rows) };
}

/** `ids` less the first of a rank's rows, within them; and which of them lie there. For composites that take rows. */
export function ownRows(b: Builder, ids: Value, range: Range, all: number): { shifted: Value; inside: Value } {
  return shiftIndices(b, ids, range, all, rankOf(ids), 0);
}

export const shape: PartitionRows<keyof typeof rows> = {
  broadcast_in_dim: broadcast,
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
};
