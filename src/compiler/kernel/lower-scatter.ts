/**
 * Ops that write where their data says: scatter, dynamic_update_slice, select_and_scatter. The result starts as a copy of
 * the operand (or of the initial value), unless it is its memory; then the updates are applied in the order of the
 * reference device. Iterations are parallel where their windows cannot meet, or where the program says that no two updates do.
 */
import type { OpOf } from '../../ir/program.ts';
import type { Dim } from '../../ir/types.ts';
import { assigns } from '../fuse.ts';
import { elementType } from './element-row.ts';
import { and, compare, constant, localValue } from './expressions.ts';
import { addIndex, indexConstant, linearIndex } from './index-arithmetic.ts';
import { clampedStart, isStart, lastStart, shapeOf, sliceStart } from './index-maps.ts';
import type { Buffer, Expression } from './language.ts';
import { type KernelParts, loopNest } from './launch.ts';
import { convertParts } from './lower-elementwise.ts';
import { underWindow, type Windows } from './lower-reduce.ts';
import type { Index, Parts, Scope } from './scope.ts';

export function updateSlice(op: OpOf<'dynamic_update_slice'>, [out]: readonly Buffer[], kernel: KernelParts): void {
  const sizes = shapeOf(op.operands[1]);
  loopNest(kernel.scope, sizes, true, (scope, index) => {
    const starts = sliceStart(op, 2, sizes, scope);
    const to = index.map((e, d) => addIndex(e, starts[d]));
    scope.store(out, linearIndex(to, shapeOf(op.results[0])), scope.operand(op, 1, index));
  });
}

/** Loops over updates, and one turn of them. */
interface Updates {
  /** Over what lies apart whatever the indices are. */
  readonly apart: readonly Dim[];
  readonly inOrder: readonly Dim[];
  emit(scope: Scope, apart: Index, inOrder: Index): void;
}

/** Of several ops, whose results are in `outs` one after another, whose loops are the same. */
export function scatterUpdates(ops: readonly OpOf<'scatter'>[], outs: readonly Buffer[], kernel: KernelParts): void {
  let start = 0;
  const updates = ops.map((op) => {
    const own = outs.slice(start, start + op.results.length);
    start += op.results.length;
    return updatesOf(op, own);
  });
  const [{ apart, inOrder }] = updates;
  loopNest(kernel.scope, apart, kernel.straight, (scope, outside) => {
    scope.loops('serial', inOrder, [], (last, within) => {
      for (const { emit } of updates) emit(last, outside, within);
    });
  });
}

/**
 * Window dimensions that no index moves are loops around the updates, whose order matters only within one place: nowhere, if
 * indices are unique, and then updates are written in the order in which they lie.
 */
function updatesOf(op: OpOf<'scatter'>, outs: readonly Buffer[]): Updates {
  const a = op.attributes;
  const arity = op.results.length;
  const inputShape = shapeOf(op.operands[0]);
  const indicesShape = shapeOf(op.operands[arity]);
  const updateShape = shapeOf(op.operands[arity + 1]);
  const kept = inputShape
    .map((_, d) => d)
    .filter((d) => !a.inserted_window_dims.includes(d) && !a.input_batching_dims.includes(d));
  const batchDims = indicesShape.map((_, d) => d).filter((d) => d !== a.index_vector_dim);
  const updateBatchDims = updateShape.map((_, d) => d).filter((d) => !a.update_window_dims.includes(d));
  const extentOf = (d: number): Dim => updateShape[d];
  // Dimensions of the updates: those that lie apart in the result whatever the indices are, and the others in order.
  const isApart = (d: number): boolean => {
    if (a.unique_indices) return true;
    const window = a.update_window_dims.indexOf(d);
    if (window >= 0) return !a.scatter_dims_to_operand_dims.includes(kept[window]);
    return a.scatter_indices_batching_dims.includes(batchDims[updateBatchDims.indexOf(d)]);
  };
  const dims = updateShape.map((_, d) => d);
  const batch = updateBatchDims.filter((d) => !isApart(d));
  const outer = dims.filter(isApart);
  const inner = [...batch, ...a.update_window_dims.filter((d) => !isApart(d))];
  const assign = assigns(op.regions[0], arity);

  const update = (scope: Scope, at: Index): void => {
    const position = updateBatchDims.map((d) => at[d]);
    let whole = constant('i1', 1);
    const place = inputShape.map((dim, d): Expression => {
      const batching = a.input_batching_dims.indexOf(d);
      if (batching >= 0) return position[batchDims.indexOf(a.scatter_indices_batching_dims[batching])];
      const window = kept.indexOf(d);
      const offset = window >= 0 ? at[a.update_window_dims[window]] : indexConstant(0);
      const size = window >= 0 ? updateShape[a.update_window_dims[window]] : 1;
      const mapped = a.scatter_dims_to_operand_dims.indexOf(d);
      if (mapped < 0) return offset;
      const index: Expression[] = [...position];
      if (a.index_vector_dim < indicesShape.length) index.splice(a.index_vector_dim, 0, indexConstant(mapped));
      const [start] = scope.operand(op, arity, index);
      const last = lastStart(dim, size);
      whole = and(whole, isStart(start, last));
      return addIndex(clampedStart(start, last), offset);
    });
    const [where] = scope.bind([whole]);
    const to = linearIndex(place, inputShape);
    const updates = outs.map((_, i) => scope.operand(op, arity + 1 + i, at));
    const results = assign ? updates : combine(scope, to, updates);
    results.forEach((parts, i) => {
      scope.store(outs[i], to, parts, where);
    });
  };

  const combine = (scope: Scope, to: Expression, updates: readonly Parts[]): readonly Parts[] => {
    const region = op.regions[0];
    const args = [...outs.map((out, i) => scope.bindHere(scope.load(out, to, updates[i].length))), ...updates].map(
      (parts, i) => scope.bind(convertParts(parts, elementType(region.parameters[i]))),
    );
    return scope.region(region, args).map((parts, i) => scope.bind(convertParts(parts, elementType(op.results[i]))));
  };

  return {
    apart: outer.map(extentOf),
    inOrder: inner.map(extentOf),
    emit(scope, apart, inOrder) {
      const at: Expression[] = new Array(updateShape.length);
      outer.forEach((d, i) => {
        at[d] = apart[i];
      });
      inner.forEach((d, i) => {
        at[d] = inOrder[i];
      });
      update(scope, at);
    },
  };
}

/** Each source element goes to the element of its window that `select` keeps, where `scatter` folds it in. */
export function selectAndScatter(op: OpOf<'select_and_scatter'>, [out]: readonly Buffer[], kernel: KernelParts): void {
  const a = op.attributes;
  const shape = shapeOf(op.operands[0]);
  const sourceShape = shapeOf(op.operands[1]);
  const ones = shape.map(() => 1);
  const windows: Windows = {
    size: a.window_dimensions,
    strides: a.window_strides,
    low: a.padding.map(([low]) => low),
    baseDilations: ones,
    windowDilations: ones,
  };
  const isApart = (d: number) => windows.size[d] === 1 && windows.strides[d] === 1 && windows.low[d] === 0;
  const dims = sourceShape.map((_, d) => d);
  const [outer, inner] = [dims.filter(isApart), dims.filter((d) => !isApart(d))];
  const [selects, scatters] = op.regions;
  const visit = (scope: Scope, position: Index): void => {
    const element = elementType(op.operands[0]);
    const chosen = scope.variable(indexConstant(-1), 'chosen');
    const best = scope.variables(scope.bindHere(convertParts([constant('i1', 0)], element)), 'best');
    scope.loops('serial', windows.size, [chosen, ...best], (turn, at) => {
      const { index, real } = underWindow(shape, windows, position, at);
      turn.if(real, [chosen, ...best], (found) => {
        const x = found.operand(op, 0, index);
        const keep = (s: Scope) => s.setAll([chosen, ...best], [linearIndex(index, shape), ...x]);
        found.if(compare('LT', localValue(chosen), indexConstant(0)), [chosen, ...best], keep, (second) => {
          const [kept] = second.region(selects, [best.map(localValue), x]);
          second.if(compare('EQ', kept[0], constant('i1', 0)), [chosen, ...best], keep);
        });
      });
    });
    scope.if(compare('GE', localValue(chosen), indexConstant(0)), [], (found) => {
      const value = found.operand(op, 1, position);
      const [to] = found.bindHere([localValue(chosen)]);
      const old = found.bindHere(found.load(out, to, value.length));
      const [folded] = found.region(scatters, [old, value]);
      found.store(out, to, folded);
    });
  };
  loopNest(
    kernel.scope,
    outer.map((d) => sourceShape[d]),
    false,
    (scope, outside) => {
      scope.loops(
        'serial',
        inner.map((d) => sourceShape[d]),
        [],
        (last, within) => {
          const at = dims.map((d) => (outer.includes(d) ? outside[outer.indexOf(d)] : within[inner.indexOf(d)]));
          visit(last, at);
        },
      );
    },
  );
}
