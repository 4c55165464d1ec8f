/**
 * sort: a merge sort of positions, always stable, with the comparisons of the reference device in its order, so that a
 * comparator that is no order gives the same result. Lines along the sorted dimension are independent.
 */
import type { OpOf } from '../../ir/program.ts';
import { asTensor, type Dim, maxElements } from '../../ir/types.ts';
import { and, binary, compare, convert, localValue, or, select } from './expressions.ts';
import { addIndex, dimIndex, indexConstant, linearIndex, scaleIndex } from './index-arithmetic.ts';
import { shapeOf } from './index-maps.ts';
import type { Buffer, Expression } from './language.ts';
import { type KernelParts, loopNest } from './launch.ts';
import type { Index, Scope } from './scope.ts';

function sortedDimension(op: OpOf<'sort'>): number {
  const { dimension } = op.attributes;
  return dimension < 0 ? dimension + shapeOf(op.operands[0]).length : dimension;
}

export function sortLines(op: OpOf<'sort'>, outs: readonly Buffer[], kernel: KernelParts): void {
  const shape = shapeOf(op.operands[0]);
  const sorted = sortedDimension(op);
  const extent: Dim = shape.length === 0 ? 1 : shape[sorted];
  const lines = shape.filter((_, d) => d !== sorted);
  const count = maxElements(asTensor(op.operands[0].type));
  // Two orders of the positions of each line: one is read, one is made.
  const orders = kernel.scratch('order', 'i32', 2 * count);
  const zero = indexConstant(0);
  const n = dimIndex(extent);
  const minimum = (a: Expression, b: Expression) => binary('minimum', a, b);

  loopNest(kernel.scope, lines, false, (nest, line) => {
    const scope = nest;
    const at = (position: Expression): Index => {
      if (shape.length === 0) return [];
      return [...line.slice(0, sorted), position, ...line.slice(sorted)];
    };
    const lineStart = shape.length === 0 ? zero : linearIndex([...line, zero], [...lines, extent]);
    /** Where position `i` of the line stands in one of the orders. */
    const slot = (order: Expression, i: Expression) => addIndex(addIndex(lineStart, order), i);
    const loaded = (s: Scope, order: Expression, i: Expression) =>
      convert(s.here({ kind: 'load', type: 'i32', buffer: orders, index: slot(order, i) }), 'index');

    scope.loop('serial', extent, [], (s, i) => s.store(orders, slot(zero, i), [convert(i, 'i32')]));
    const from = scope.variable(zero, 'from');
    const to = scope.variable(indexConstant(count), 'to');
    const width = scope.variable(indexConstant(1), 'width');
    scope.while(
      [from, to, width],
      () => compare('LT', localValue(width), n),
      (pass) => {
        const low = pass.variable(zero, 'low');
        pass.while(
          [low],
          () => compare('LT', localValue(low), n),
          (run) => {
            const middle = localValue(run.variable(minimum(addIndex(localValue(low), localValue(width)), n), 'middle'));
            const high = localValue(
              run.variable(minimum(addIndex(localValue(low), scaleIndex(localValue(width), 2)), n), 'high'),
            );
            const i = run.variable(localValue(low), 'i');
            const j = run.variable(middle, 'j');
            const k = run.variable(localValue(low), 'k');
            run.while(
              [i, j, k],
              () => compare('LT', localValue(k), high),
              (merge) => {
                const last = addIndex(n, indexConstant(-1));
                const left = loaded(merge, localValue(from), minimum(localValue(i), last));
                const right = loaded(merge, localValue(from), minimum(localValue(j), last));
                const [[less]] = merge.region(
                  op.regions[0],
                  op.operands.flatMap((_, operand) =>
                    [right, left].map((position) => merge.operand(op, operand, at(position))),
                  ),
                );
                const takeRight = merge.here(
                  or(compare('GE', localValue(i), middle), and(compare('LT', localValue(j), high), less)),
                );
                const taken = select(takeRight, right, left);
                merge.store(orders, slot(localValue(to), localValue(k)), [convert(taken, 'i32')]);
                merge.set(j, addIndex(localValue(j), convert(takeRight, 'index')));
                merge.set(
                  i,
                  addIndex(localValue(i), addIndex(indexConstant(1), scaleIndex(convert(takeRight, 'index'), -1))),
                );
                merge.set(k, addIndex(localValue(k), indexConstant(1)));
              },
            );
            run.set(low, addIndex(localValue(low), scaleIndex(localValue(width), 2)));
          },
        );
        pass.setAll([from, to], [localValue(to), localValue(from)]);
        pass.set(width, scaleIndex(localValue(width), 2));
      },
    );
    scope.loop('serial', extent, [], (s, i) => {
      const source = loaded(s, localValue(from), i);
      outs.forEach((out, operand) => {
        s.store(out, linearIndex(at(i), shape), s.operand(op, operand, at(source)));
      });
    });
  });
}
