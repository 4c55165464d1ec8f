/** Rules of ops that combine elements. */
import type { BinaryOp } from '../../../ir/attributes.ts';
import type { reduction as rows } from '../../../ir/ops/reduction.ts';
import { plainFold } from '../../../ir/plain-fold.ts';
import type { Op, OpOf } from '../../../ir/program.ts';
import type { Factor } from '../../../ir/sharding-rule.ts';
import { asTensor, sameDim } from '../../../ir/types.ts';
import { foldIdentity } from '../fold-identity.ts';
import { elementwiseRule } from './elementwise.ts';
import { along, dims, type PartitionRow, type PartitionRows, shapeOf } from './row.ts';

const dotGeneral: PartitionRow<'dot_general'> = {
  rule({ operands: [lhs, rhs], attributes: a }) {
    const lhsFree = dims(lhs).filter(
      (d) => !a.lhs_batching_dimensions.includes(d) && !a.lhs_contracting_dimensions.includes(d),
    );
    const rhsFree = dims(rhs).filter(
      (d) => !a.rhs_batching_dimensions.includes(d) && !a.rhs_contracting_dimensions.includes(d),
    );
    const batch = a.lhs_batching_dimensions.length;
    const factors: Factor[] = [
      ...a.lhs_batching_dimensions.map((d, i) => ({ operands: [d, a.rhs_batching_dimensions[i]], results: [i] })),
      ...lhsFree.map((d, i) => ({ operands: [d, undefined], results: [batch + i] })),
      ...rhsFree.map((d, i) => ({ operands: [undefined, d], results: [batch + lhsFree.length + i] })),
      ...a.lhs_contracting_dimensions.map((d, i) => ({
        operands: [d, a.rhs_contracting_dimensions[i]],
        results: [undefined],
        fold: 'add' as const,
      })),
    ];
    return { factors, linear: { kind: 'each', operands: [0, 1] } };
  },
};

/** Folds that a rank can do of its part, of element types whose order of operands does not matter more than rounding. */
function foldOf(op: OpOf<'reduce'>): BinaryOp | undefined {
  const by = op.results.length === 1 ? plainFold(op.regions[0]) : undefined;
  if (by === undefined || by === 'xor') return undefined;
  return foldIdentity(by, asTensor(op.results[0].type).element) === undefined ? undefined : by;
}

const reduce: PartitionRow<'reduce'> = {
  rule(op) {
    const { dimensions } = op.attributes;
    const count = op.results.length;
    const by = foldOf(op);
    let next = 0;
    const factors = dims(op.operands[0]).flatMap((d): Factor[] => {
      const operands = along(op.operands.length, (i) => (i < count ? d : undefined));
      if (!dimensions.includes(d)) {
        const to = next++;
        return [{ operands, results: along(count, () => to) }];
      }
      return by === undefined ? [] : [{ operands, results: [undefined], fold: by }];
    });
    return { factors };
  },
  local({ op, operands, chosen, types, place, regions, b }) {
    const folded = chosen.filter(({ factor }) => factor.fold !== undefined);
    const axes = folded.flatMap(({ operands: [split] }) => split?.axes ?? []);
    const [input, init] = operands;
    const by = foldOf(op);
    // What the fold begins with counts once.
    const { element } = asTensor(input.type);
    const identity = by && foldIdentity(by, element);
    const begin = identity === undefined || place.index(axes) === 0 ? init : b.scalar(element, identity);
    const rest = by === undefined ? operands.slice(1) : [begin];
    return b.op('reduce', [input, ...rest], op.attributes, { regions, types });
  },
};

/** Dimensions over which the window does not move. */
const reduceWindow: PartitionRow<'reduce_window'> = {
  rule({ operands, results, attributes: a }) {
    const still = dims(operands[0]).filter(
      (d) =>
        a.window_dimensions[d] === 1 &&
        a.window_strides[d] === 1 &&
        a.base_dilations[d] === 1 &&
        a.padding[d][0] === 0 &&
        a.padding[d][1] === 0,
    );
    return {
      factors: still.map((d) => ({
        operands: along(operands.length, (i) => (i < results.length ? d : undefined)),
        results: along(results.length, () => d),
      })),
    };
  },
};

const selectAndScatter: PartitionRow<'select_and_scatter'> = {
  rule({ operands: [operand, source], attributes: a }) {
    const still = dims(operand).filter(
      (d) => a.window_dimensions[d] === 1 && sameDim(shapeOf(operand)[d], shapeOf(source)[d]),
    );
    return { factors: still.map((d) => ({ operands: [d, d, undefined], results: [d] })) };
  },
};

const scatter: PartitionRow<'scatter'> = {
  rule({ operands, results, attributes: a }) {
    const count = results.length;
    const [into, indices, updates] = [operands[0], operands[count], operands[count + 1]];
    const dropped = [...a.inserted_window_dims, ...a.input_batching_dims];
    const windows = dims(into).filter((d) => !dropped.includes(d));
    const batchIndices = dims(indices).filter((d) => d !== a.index_vector_dim);
    const batchUpdates = dims(updates).filter((d) => !a.update_window_dims.includes(d));
    const at = (of: number | undefined, index: number | undefined, update: number | undefined): Factor => ({
      operands: along(operands.length, (i) => (i < count ? of : i === count ? index : update)),
      results: along(count, () => of),
    });
    const factors: Factor[] = [];
    windows.forEach((d, i) => {
      const update = a.update_window_dims[i];
      const isWhole = sameDim(shapeOf(into)[d], shapeOf(updates)[update]);
      if (isWhole && !a.scatter_dims_to_operand_dims.includes(d)) factors.push(at(d, undefined, update));
    });
    a.scatter_indices_batching_dims.forEach((d, i) => {
      factors.push(at(a.input_batching_dims[i], d, batchUpdates[batchIndices.indexOf(d)]));
    });
    // Rows by their numbers: each rank changes those that it has, and what lies outside of its rows is dropped.
    for (const d of a.inserted_window_dims) {
      if (a.scatter_dims_to_operand_dims.includes(d)) {
        factors.push({ ...at(d, undefined, undefined), index: count });
      }
    }
    return { factors };
  },
  local({ op, operands, chosen, types, place, regions, b }) {
    const a = op.attributes;
    const count = op.results.length;
    const { element, shape } = asTensor(operands[count].type);
    let indices = operands[count];
    for (const { factor, operands: splits } of chosen) {
      const [split] = splits;
      const [d] = factor.operands;
      if (factor.index === undefined || split === undefined || d === undefined) continue;
      const [{ start }] = place.ranges(split);
      const vector = a.scatter_dims_to_operand_dims.indexOf(d);
      const size = a.scatter_dims_to_operand_dims.length;
      const offsets = b.constant(
        { kind: 'tensor', element, shape: [size] },
        Array.from({ length: size }, (_, i) => (i === vector ? start : 0)),
      );
      const spread =
        a.index_vector_dim < shape.length
          ? b.broadcast(offsets, shape, [a.index_vector_dim])
          : b.full(element, shape, start);
      indices = b.subtract(indices, spread);
    }
    const all = operands.map((value, i) => (i === count ? indices : value));
    return b.op('scatter', all, a, { regions, types });
  },
};

const sort: PartitionRow<'sort'> = {
  rule({ operands, attributes: { dimension } }) {
    const along = dims(operands[0]);
    const sorted = dimension < 0 ? dimension + along.length : dimension;
    const others = along.filter((d) => d !== sorted);
    return { factors: others.map((d) => ({ operands: operands.map(() => d), results: operands.map(() => d) })) };
  },
};

export const reduction: PartitionRows<keyof typeof rows> = {
  dot_general: dotGeneral,
  map: { rule: (op: OpOf<'map'>) => elementwiseRule(op as Op) },
  reduce,
  reduce_window: reduceWindow,
  scatter,
  select_and_scatter: selectAndScatter,
  sort,
};
